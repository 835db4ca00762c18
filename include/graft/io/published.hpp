#pragma once
// Published models out of the folders that they come in: sizes from config.json, weights from model.safetensors, under
// the names of the Python library transformers.

#include <nlohmann/json.hpp>
#include <string>

#include "graft/io/safetensors.hpp"
#include "graft/io/weights.hpp"
#include "graft/nn/bert.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The sizes of a BERT-type encoder from its config.json. Errors: FileError for a file that is missing, no JSON, lacks a
/// size or holds one that is no positive number, and for a model of another kind (activation, positions).
inline BertOptions read_bert_config(const std::string& path) {
  const auto config = nlohmann::json::parse(InputFile(path).read_text(), nullptr, false);
  if (!config.is_object()) fail_file(path, "is no JSON object");
  const auto size = [&](const char* name) {
    const auto found = config.find(name);
    if (found == config.end() || !found->is_number_unsigned() || found->get<std::uint64_t>() - 1 >= 1u << 30)
      fail_file(path, {"has no size '", name, "' between 1 and 2^30"});
    return found->get<Index>();
  };
  const auto number = [&](const char* name, double otherwise) {
    const auto found = config.find(name);
    if (found == config.end()) return otherwise;
    if (!found->is_number()) fail_file(path, {"'", name, "' is no number"});
    return found->get<double>();
  };
  const auto expect = [&](const char* name, const char* value) {
    const auto found = config.find(name);
    if (found != config.end() && *found != value) fail_file(path, {"'", name, "' is not '", value, "'"});
  };
  expect("hidden_act", "gelu");
  expect("position_embedding_type", "absolute");
  return {.vocabulary = size("vocab_size"),
          .width = size("hidden_size"),
          .depth = size("num_hidden_layers"),
          .heads = size("num_attention_heads"),
          .hidden = size("intermediate_size"),
          .positions = size("max_position_embeddings"),
          .types = size("type_vocab_size"),
          .dropout = number("hidden_dropout_prob", 0.1),
          .eps = number("layer_norm_eps", 1e-12)};
}

/// The encoder in a folder that holds config.json and model.safetensors. `prefix` as of `load_weights`: "bert" for files
/// of models that hold the encoder under that name. Errors: FileError as of `read_bert_config`, `read_safetensors` and
/// `load_weights`.
template <Real T = float>
Bert<T> load_bert(const std::string& folder, const std::string& prefix = "") {
  const BertOptions options = read_bert_config(folder + "/config.json");
  const ArrayFile file = read_safetensors(folder + "/model.safetensors");
  Bert<T> bert(Random(0), options);
  load_weights(file, bert, {.prefix = prefix, .names = bert_names(), .ignore = bert_ignored()});
  return bert;
}

}  // namespace GRAFT_ABI
}  // namespace graft
