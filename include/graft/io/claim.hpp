#pragma once
// A folder that one process at a time writes into.

#include <signal.h>
#include <sys/file.h>

#include <cstdlib>
#include <string>

#include "graft/io/file.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// A claim on an existing folder, held until the object is gone or the process has ended, however it ended: a file
/// FOLDER/in-use that holds the owner's process number and is locked. Where the file system knows no locks, a claim
/// counts as long as its owner lives. Not copyable.
class FolderClaim {
 public:
  /// Errors: FileError if another process, or another claim of this one, holds the folder, or it cannot be written.
  explicit FolderClaim(const std::string& folder) : path_(folder + "/in-use") {
    for (;;) {
      file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
      if (file_ < 0) fail_file(folder, {"cannot write into it: ", std::strerror(errno)});
      const bool locked = ::flock(file_, LOCK_EX | LOCK_NB) == 0, held = !locked && errno == EWOULDBLOCK;
      const pid_t owner = written_owner();
      if (held || (!locked && owner > 0 && ::kill(owner, 0) == 0)) {
        ::close(file_);
        fail_file(folder, {"is in use by process ", owner, "; wait for its end or choose another folder"});
      }
      // Between opening and locking, the owner may have ended and taken its file away.
      struct stat opened, named;
      if (::fstat(file_, &opened) == 0 && ::stat(path_.c_str(), &named) == 0 && opened.st_ino == named.st_ino) break;
      ::close(file_);
    }
    const std::string text = detail::as_text(::getpid()) + "\n";
    if (::ftruncate(file_, 0) != 0 || ::pwrite(file_, text.data(), text.size(), 0) < 0) {
      const int reason = errno;
      give_up();
      fail_file(folder, {"cannot write into it: ", std::strerror(reason)});
    }
  }
  ~FolderClaim() { give_up(); }
  FolderClaim(const FolderClaim&) = delete;
  FolderClaim& operator=(const FolderClaim&) = delete;

 private:
  pid_t written_owner() const {
    char text[24] = {};
    return ::pread(file_, text, sizeof text - 1, 0) > 0 ? static_cast<pid_t>(std::atol(text)) : 0;
  }
  void give_up() {
    ::unlink(path_.c_str());  // while it is locked, so that nobody else's claim can be meant
    ::close(file_);
  }

  std::string path_;
  int file_ = -1;
};

}  // namespace GRAFT_ABI
}  // namespace graft
