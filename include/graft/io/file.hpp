#pragma once
// Files read and written whole, on POSIX calls. A reader knows the real length before anything is allocated; a writer
// fills a temporary file in the same folder, which takes the target's name only when every byte is on the disk.
// Every failure is a FileError of one line: "graft: FILE: reason".

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string>

#include "graft/core/errors.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Throws FileError "graft: path: reason".
[[noreturn, gnu::cold, gnu::noinline]] inline void fail_file(const std::string& path,
                                                             std::initializer_list<Piece> reason) {
  std::string text = "graft: " + path + ": ";
  detail::append_pieces(text, reason);
  throw FileError(text);
}
[[noreturn]] inline void fail_file(const std::string& path, Piece reason) { fail_file(path, {reason}); }

namespace detail {

/// `text` in single quotes as one printable line: names inside a damaged file may hold anything.
inline std::string in_quotes(const std::string& text) {
  std::string line = "'";
  for (std::size_t i = 0; i < text.size() && i < 80; ++i)
    line += static_cast<unsigned char>(text[i]) < 0x20 || text[i] == 0x7F ? '?' : text[i];
  return line + (text.size() > 80 ? "...'" : "'");
}

}  // namespace detail

/// A regular file opened for reading. Not copyable; `read` may be called from several threads.
class InputFile {
 public:
  /// Errors: missing, not permitted, a directory, not a regular file.
  explicit InputFile(std::string path) : path_(std::move(path)) {
    // A pipe would block here until somebody writes: O_NONBLOCK lets it open, and be refused below.
    file_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file_ < 0) fail_file(path_, {"cannot open it: ", std::strerror(errno)});
    struct stat status;
    const bool known = ::fstat(file_, &status) == 0;
    if (known && S_ISREG(status.st_mode)) {
      size_ = static_cast<Index>(status.st_size);
      return;
    }
    ::close(file_);
    fail_file(path_, known && S_ISDIR(status.st_mode) ? "is a directory" : "is not a regular file");
  }
  ~InputFile() { ::close(file_); }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::string& path() const { return path_; }
  /// Length in bytes when the file was opened.
  Index size() const { return size_; }

  /// Fills `out` with `count` bytes from `offset` on. Errors: the file ends before, a failing device.
  void read(Index offset, void* out, Index count) const {
    if (offset < 0 || count < 0 || offset > size_ || count > size_ - offset) fail_file(path_, "is truncated");
    char* to = static_cast<char*>(out);
    while (count > 0) {
      const ssize_t got = ::pread(file_, to, static_cast<std::size_t>(count), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) fail_file(path_, {"cannot read it: ", std::strerror(errno)});
      if (got == 0) fail_file(path_, "is truncated");
      to += got;
      offset += got;
      count -= got;
    }
  }

  /// The whole content as text.
  std::string read_text() const {
    std::string text(static_cast<std::size_t>(size_), '\0');
    read(0, text.data(), size_);
    return text;
  }

 private:
  std::string path_;
  int file_ = -1;
  Index size_ = 0;
};

/// A file being written. Until `commit` returns, the file of that name, if there is one, is as it was; a writer that is
/// destroyed before that leaves nothing behind.
class OutputFile {
 public:
  /// Errors: the folder is missing or cannot be written, the target is a directory.
  explicit OutputFile(std::string path) : path_(std::move(path)) {
    struct stat status;
    if (::stat(path_.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) fail_file(path_, "is a directory");
    // The name is this process's and this writer's own; O_EXCL keeps it from following anybody else's link.
    static std::atomic<unsigned> counter{0};
    for (int attempt = 0; attempt < 100 && file_ < 0; ++attempt) {
      temporary_ = path_ + ".tmp-" + detail::as_text(::getpid()) + "-" + detail::as_text(counter.fetch_add(1));
      file_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (file_ < 0 && errno != EEXIST) break;
    }
    if (file_ < 0) fail_file(path_, {"cannot write into its folder: ", std::strerror(errno)});
  }
  ~OutputFile() {
    if (file_ >= 0) ::close(file_);
    if (!committed_) ::unlink(temporary_.c_str());
  }
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  /// Appends `count` bytes. Errors: a full or failing disk.
  void write(const void* data, Index count) {
    const char* from = static_cast<const char*>(data);
    while (count > 0) {
      const ssize_t put = ::write(file_, from, static_cast<std::size_t>(count));
      if (put < 0 && errno == EINTR) continue;
      if (put <= 0) fail_file(path_, {"cannot write it: ", std::strerror(put < 0 ? errno : EIO)});
      from += put;
      count -= put;
    }
  }
  void write(const std::string& text) { write(text.data(), static_cast<Index>(text.size())); }

  /// Makes the bytes durable and gives the file its name, in one step for every reader. Call once, at the end.
  void commit() {
    if (::fsync(file_) != 0) fail_file(path_, {"cannot write it: ", std::strerror(errno)});
    const int closed = ::close(file_);
    file_ = -1;
    if (closed != 0) fail_file(path_, {"cannot write it: ", std::strerror(errno)});
    if (std::rename(temporary_.c_str(), path_.c_str()) != 0)
      fail_file(path_, {"cannot rename the finished file to it: ", std::strerror(errno)});
    committed_ = true;
    // The new name itself becomes durable with its folder. Some file systems refuse to sync folders; the file is whole
    // under its name either way, so that is no error.
    const auto slash = path_.find_last_of('/');
    const std::string folder = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
    const int handle = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (handle < 0) return;
    ::fsync(handle);
    ::close(handle);
  }

 private:
  std::string path_, temporary_;
  int file_ = -1;
  bool committed_ = false;
};

}  // namespace GRAFT_ABI
}  // namespace graft
