#pragma once
// Files read and written whole, on POSIX calls. A reader knows the real length before anything is allocated; a writer
// fills a temporary file in the same folder, which takes the target's name only when every byte is on the disk.
// Whatever graft writes, it writes with `OutputFile`. Every failure is a FileError of one line: "graft: FILE: reason".

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/errors.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Throws FileError "graft: path: reason".
template <class E = FileError>
[[noreturn, gnu::cold, gnu::noinline]] void fail_file(const std::string& path, std::initializer_list<Piece> reason) {
  std::string text = "graft: " + path + ": ";
  detail::append_pieces(text, reason);
  throw E(text);
}
template <class E = FileError>
[[noreturn]] void fail_file(const std::string& path, Piece reason) {
  fail_file<E>(path, {reason});
}

namespace detail {

/// `text` in single quotes as one printable line: names inside a damaged file may hold anything.
inline std::string in_quotes(const std::string& text) {
  std::string line = "'";
  for (std::size_t i = 0; i < text.size() && i < 80; ++i)
    line += static_cast<unsigned char>(text[i]) < 0x20 || text[i] == 0x7F ? '?' : text[i];
  return line + (text.size() > 80 ? "...'" : "'");
}

/// The part of `path` up to its last slash, "./" if it has none, and the part after it.
inline std::pair<std::string, std::string> split_path(const std::string& path) {
  const auto slash = path.find_last_of('/');
  if (slash == std::string::npos) return {"./", path};
  return {path.substr(0, slash + 1), path.substr(slash + 1)};
}

/// N for a path that names this process's open descriptor N (/dev/fd/N), else -1.
inline int named_descriptor(const std::string& path) {
  for (const char* folder : {"/dev/fd/", "/proc/self/fd/"}) {
    const std::size_t length = std::strlen(folder), digits = path.size() - std::min(length, path.size());
    if (path.compare(0, length, folder) != 0 || digits < 1 || digits > 6) continue;
    int number = 0;
    bool numeric = true;
    for (std::size_t i = length; i < path.size(); ++i) {
      numeric = numeric && path[i] >= '0' && path[i] <= '9';
      number = 10 * number + (path[i] - '0');
    }
    if (numeric) return number;
  }
  return -1;
}

/// The file that `path` leads to by its symbolic links; it may be one that does not exist yet. /dev/stdout ends at the
/// descriptor that it names.
inline std::string follow_links(const std::string& path) {
  std::string at = path;
  char target[4096];
  for (int links = 0; links < 40; ++links) {
    if (named_descriptor(at) >= 0) return at;
    const ssize_t length = ::readlink(at.c_str(), target, sizeof target);
    if (length < 0) return at;
    if (length == 0 || length == sizeof target) break;
    const std::string next(target, static_cast<std::size_t>(length));
    at = next[0] == '/' ? next : split_path(at).first + next;
  }
  fail_file(path, "is a link that leads nowhere");
}

}  // namespace detail

/// True if both paths lead to one file, whatever links and folders they name it by. Of files that do not exist yet: if
/// they would be made at the same place.
inline bool same_file(const std::string& a, const std::string& b) {
  const std::string first = detail::follow_links(a), second = detail::follow_links(b);
  const auto equal = [](const std::string& x, const std::string& y) {
    struct stat of_x, of_y;
    return ::stat(x.c_str(), &of_x) == 0 && ::stat(y.c_str(), &of_y) == 0 && of_x.st_dev == of_y.st_dev &&
           of_x.st_ino == of_y.st_ino;
  };
  if (::access(first.c_str(), F_OK) == 0 || ::access(second.c_str(), F_OK) == 0) return equal(first, second);
  const auto [folder_a, name_a] = detail::split_path(first);
  const auto [folder_b, name_b] = detail::split_path(second);
  return name_a == name_b && equal(folder_a, folder_b);
}

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
/// destroyed before that leaves nothing behind. A file that is replaced keeps its permissions; of a symbolic link the
/// file that it leads to is replaced. What is no regular file (a device, a pipe, /dev/stdout) cannot be replaced: it is
/// written into as the bytes come.
class OutputFile {
 public:
  /// Errors: the folder is missing or cannot be written, the target is a directory or does not let itself be opened.
  explicit OutputFile(std::string path) : path_(std::move(path)), target_(detail::follow_links(path_)) {
    struct stat status {};
    const bool exists = ::stat(target_.c_str(), &status) == 0;
    direct_ = cannot_be_replaced(target_, exists, status);
    if (exists && S_ISDIR(status.st_mode)) fail_file(path_, "is a directory");
    if (direct_) {
      std::fflush(stdout);  // what was printed before comes first
      const int descriptor = detail::named_descriptor(target_);
      file_ = descriptor >= 0 ? ::fcntl(descriptor, F_DUPFD_CLOEXEC, 3)
                              : ::open(target_.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY);
      if (file_ < 0) fail_file(path_, {"cannot write it: ", std::strerror(errno)});
      return;
    }
    // The name is this process's and this writer's own; O_EXCL keeps it from following anybody else's link.
    static std::atomic<unsigned> counter{0};
    for (int attempt = 0; attempt < 100 && file_ < 0; ++attempt) {
      temporary_ = target_ + ".tmp-" + detail::as_text(::getpid()) + "-" + detail::as_text(counter.fetch_add(1));
      file_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (file_ < 0 && errno != EEXIST) break;
    }
    if (file_ < 0) fail_file(path_, {"cannot write into its folder: ", std::strerror(errno)});
    if (exists) ::fchmod(file_, status.st_mode & 0777);
  }
  ~OutputFile() {
    if (file_ >= 0) ::close(file_);
    if (!committed_ && !direct_) ::unlink(temporary_.c_str());
  }
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  /// Throws FileError now if a writer of `path` could not be made later: to be called before the work whose result it
  /// is. Leaves everything as it is; a pipe is not opened, since its reader would take that for the end.
  static void check(const std::string& path) {
    const std::string target = detail::follow_links(path);
    struct stat status {};
    const bool exists = ::stat(target.c_str(), &status) == 0;
    if (!cannot_be_replaced(target, exists, status)) {
      const OutputFile probe(path);
      return;
    }
    const int descriptor = detail::named_descriptor(target);
    const int flags = descriptor < 0 ? 0 : ::fcntl(descriptor, F_GETFL);
    const bool read_only = descriptor >= 0 && flags >= 0 && (flags & O_ACCMODE) == O_RDONLY;
    if (read_only) errno = EBADF;
    if (flags < 0 || read_only || (descriptor < 0 && ::access(target.c_str(), W_OK) != 0))
      fail_file(path, {"cannot write it: ", std::strerror(errno)});
  }

  /// Appends `count` bytes. Errors: a full or failing disk, a pipe that nobody reads.
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
    // Pipes and most devices keep nothing that could be made durable, and say so.
    if (::fsync(file_) != 0 && !(direct_ && errno != EIO && errno != ENOSPC))
      fail_file(path_, {"cannot write it: ", std::strerror(errno)});
    const int closed = ::close(file_);
    file_ = -1;
    if (closed != 0) fail_file(path_, {"cannot write it: ", std::strerror(errno)});
    if (direct_) return;
    if (std::rename(temporary_.c_str(), target_.c_str()) != 0)
      fail_file(path_, {"cannot rename the finished file to it: ", std::strerror(errno)});
    committed_ = true;
    // The new name itself becomes durable with its folder. Some file systems refuse to sync folders; the file is whole
    // under its name either way, so that is no error.
    const int handle = ::open(detail::split_path(target_).first.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (handle < 0) return;
    ::fsync(handle);
    ::close(handle);
  }

 private:
  static bool cannot_be_replaced(const std::string& target, bool exists, const struct stat& status) {
    if (detail::named_descriptor(target) >= 0) return true;
    return exists && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode);
  }

  std::string path_, target_, temporary_;
  int file_ = -1;
  bool direct_ = false, committed_ = false;
};

/// Sends what was printed to standard output on its way. Throws FileError when it cannot be written (a full disk, a
/// closed pipe), or could not before.
inline void flush_output() {
  errno = 0;
  if (std::fflush(stdout) != 0 || std::ferror(stdout))
    fail_file("standard output", {"cannot write it: ", std::strerror(errno ? errno : EIO)});
}

/// The lines of a text file, without their line ends and without empty lines at the end. Errors: FileError.
inline std::vector<std::string> read_lines(const std::string& path) {
  std::vector<std::string> lines(1);
  for (char c : InputFile(path).read_text()) {
    if (c == '\n')
      lines.emplace_back();
    else if (c != '\r')
      lines.back() += c;
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

/// Writes `text` to a file, as `OutputFile` does.
inline void write_text(const std::string& path, const std::string& text) {
  OutputFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace GRAFT_ABI
}  // namespace graft
