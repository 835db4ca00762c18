// Published BERT models: config.json, and after a zero byte model.safetensors. Without one, the bytes are config.json.

#include "graft/io/published.hpp"

#include <cstdlib>
#include <filesystem>

#include "target.hpp"

namespace {

/// A folder of two files, for as long as it lives.
struct ModelFolder {
  std::string path;
  fuzz::MemoryFile config, weights;
  ModelFolder(std::string_view config_bytes, std::string_view weight_bytes)
      : path((std::filesystem::temp_directory_path() / "graft-XXXXXX").string()),
        config(config_bytes),
        weights(weight_bytes) {
    if (!::mkdtemp(path.data())) throw std::runtime_error("no temporary folder");
    std::filesystem::create_symlink(config.path(), path + "/config.json");
    std::filesystem::create_symlink(weights.path(), path + "/model.safetensors");
  }
  ~ModelFolder() { std::filesystem::remove_all(path); }
  ModelFolder(const ModelFolder&) = delete;
  ModelFolder& operator=(const ModelFolder&) = delete;
};

}  // namespace

FUZZ_TARGET(published) {
  const std::size_t cut = bytes.find('\0');
  if (cut == std::string_view::npos) {
    const fuzz::MemoryFile config(bytes);
    return fuzz::reads(config.path(), [&] { graft::read_bert_config(config.path()); });
  }
  const ModelFolder folder(bytes.substr(0, cut), bytes.substr(cut + 1));
  return fuzz::reads(folder.path, [&] {
    const graft::Bert<> bert = graft::load_bert(folder.path);
    const graft::BertOptions sizes = graft::read_bert_config(folder.path + "/config.json");
    fuzz::require(bert.word_embeddings.weight.shape() == graft::Shape{sizes.vocabulary, sizes.width},
                  "the model has the sizes of its configuration");
  });
}
