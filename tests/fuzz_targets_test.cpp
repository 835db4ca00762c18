// The fuzz targets, without libFuzzer, over their corpora: what is named read-* is read, what is named refused-* is
// refused, in one line that names the file and without the memory that it claims. tests/long.sh runs them for longer.

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "fuzz/attributed_items.cpp"
#include "fuzz/characters.cpp"
#include "fuzz/checkpoint.cpp"
#include "fuzz/csv.cpp"
#include "fuzz/digits.cpp"
#include "fuzz/few_shot_vectors.cpp"
#include "fuzz/graph_labels.cpp"
#include "fuzz/labelled_text.cpp"
#include "fuzz/multilabel_items.cpp"
#include "fuzz/node_labels.cpp"
#include "fuzz/npy.cpp"
#include "fuzz/npz.cpp"
#include "fuzz/published.cpp"
#include "fuzz/runs.cpp"
#include "fuzz/safetensors.cpp"
#include "fuzz/wordpiece.cpp"
#include "graft/evaluate/machine.hpp"

namespace {

/// Stems of what is in a folder, in order; of files, or of folders.
std::vector<std::string> names_in(const std::string& folder, bool folders) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.is_directory() == folders && entry.path().extension() != ".hpp")
      names.push_back(folders ? entry.path().filename() : entry.path().stem());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

TEST_CASE("fuzz targets read or refuse each file of their corpora as its name says", "[io][fuzz]") {
  const std::string folder = GRAFT_TESTS "/fuzz";
  std::vector<std::string> names;
  for (const fuzz::Target& target : fuzz::targets()) names.push_back(target.name);
  std::sort(names.begin(), names.end());
  CHECK(names == names_in(folder, false));
  CHECK(names == names_in(folder + "/corpus", true));

  for (const fuzz::Target& target : fuzz::targets()) {
    int read = 0, refused = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder + "/corpus/" + target.name)) {
      const std::string file = entry.path().filename(), bytes = bytes_of(entry.path());
      INFO(target.name << "/" << file);
      const graft::Index before = graft::peak_bytes();
      const bool is_read = target.run(bytes);
      CHECK(is_read == (file.compare(0, 5, "read-") == 0));
      CHECK(is_read != (file.compare(0, 8, "refused-") == 0));
      CHECK(graft::peak_bytes() - before < 256 << 20);
      ++(is_read ? read : refused);
    }
    INFO(target.name);
    CHECK(read > 0);
    CHECK(refused > 0);
  }
}
