#pragma once
// The folder in which a program keeps the checkpoints of its training runs, one file each.

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "graft/io/checkpoint.hpp"
#include "graft/io/claim.hpp"
#include "graft/protocol/transport.hpp"
#include "graft/train/identity.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Checkpoints of named training runs, FOLDER/NAME.npz: none of them is replaced by another run than the one that it
/// belongs to. The folder is claimed for as long as the object lives.
class Checkpoints {
 public:
  /// No folder: nothing is saved.
  Checkpoints() = default;

  /// Before any work: makes the folder if need be and claims it. Without `resume` none of the runs may have a
  /// checkpoint there yet; with it at least one must, and those that have must be of the same identity. Errors:
  /// FileError that says what is in the way, or what the checkpoint was made from and is no longer. Of several `ranks`
  /// rank 0 claims the folder and writes; the others read the same files there, so all must see them.
  Checkpoints(const std::string& folder, bool resume, const Identity& identity, const std::vector<std::string>& names,
              Transport* ranks = nullptr)
      : folder_(folder), identity_(identity.text()) {
    open(resume, identity, names, leads(ranks));
  }

  /// The checkpoint of a run; "" without a folder.
  std::string file(const std::string& name) const { return folder_.empty() ? "" : folder_ + "/" + name + ".npz"; }
  /// The identity that is saved with it.
  const std::string& identity() const { return identity_; }

 private:
  GRAFT_ONCE void open(bool resume, const Identity& identity, const std::vector<std::string>& names, bool writes) {
    std::error_code error;
    if (resume && !std::filesystem::is_directory(folder_, error))
      fail_file(folder_, "there is no such folder to resume from");
    if (writes) {
      std::filesystem::create_directories(folder_, error);
      if (error) fail_file(folder_, {"cannot make the checkpoint folder: ", error.message()});
      claim_ = std::make_shared<FolderClaim>(folder_);
    }
    bool any = false;
    for (const std::string& name : names) {
      const std::string path = file(name);
      if (writes) OutputFile::check(path);
      if (::access(path.c_str(), F_OK) != 0) continue;
      any = true;
      if (!resume) fail_file(path, "exists; continue it with --resume or choose another folder");
      const Metadata metadata = read_checkpoint_metadata(path);
      const auto found = metadata.find("identity");
      const auto* before = found == metadata.end() ? nullptr : std::get_if<std::string>(&found->second);
      if (!before) fail_file(path, "is a checkpoint, but not one of a training run");
      const std::string difference = identity.difference(*before);
      if (!difference.empty()) fail_file(path, {"was made with other options or data: ", difference});
    }
    if (resume && !any)
      fail_file(folder_, {"holds no checkpoint to resume from (", file(names.empty() ? "NAME" : names[0]), ")"});
  }

  std::string folder_, identity_;
  std::shared_ptr<FolderClaim> claim_;
};
GRAFT_HELD(void Checkpoints::open<>(bool, const Identity&, const std::vector<std::string>&, bool))

}  // namespace GRAFT_ABI
}  // namespace graft
