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

/// The sizes of a BERT-type encoder from its config.json. Errors: FileError for a file that is missing, above 1 MiB, no
/// JSON, lacks a size or holds one that is no positive number, holds heads that do not divide the width, a dropout
/// outside [0, 1) or an epsilon that is not positive, and for a model of another kind (activation, positions).
inline BertOptions read_bert_config(const std::string& path) {
  const InputFile file(path);
  // Parsed JSON takes up to a hundred times the memory of its text.
  if (file.size() > 1 << 20) fail_file(path, {"has ", file.size(), " bytes, a configuration at most 2^20"});
  const auto config = nlohmann::json::parse(file.read_text(), nullptr, false);
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
  BertOptions options{.vocabulary = size("vocab_size"),
                      .width = size("hidden_size"),
                      .depth = size("num_hidden_layers"),
                      .heads = size("num_attention_heads"),
                      .hidden = size("intermediate_size"),
                      .positions = size("max_position_embeddings"),
                      .types = size("type_vocab_size"),
                      .dropout = number("hidden_dropout_prob", 0.1),
                      .eps = number("layer_norm_eps", 1e-12)};
  if (options.width % options.heads != 0)
    fail_file(path, {options.heads, " heads do not divide 'hidden_size', ", options.width});
  if (!(options.dropout >= 0 && options.dropout < 1))
    fail_file(path, {"'hidden_dropout_prob' is ", options.dropout, ", outside [0, 1)"});
  if (!(options.eps > 0)) fail_file(path, {"'layer_norm_eps' is ", options.eps, ", expected a positive number"});
  return options;
}

/// The encoder in a folder that holds config.json and model.safetensors. `prefix` as of `load_weights`: "bert" for
/// files of models that hold the encoder under that name. Errors: FileError as of `read_bert_config`,
/// `read_safetensors` and `load_weights`; before memory is taken, for a model that is far larger than the file of its
/// weights.
template <Real T = float>
Bert<T> load_bert(const std::string& folder, const std::string& prefix = "") {
  const BertOptions options = read_bert_config(folder + "/config.json");
  const ArrayFile file = read_safetensors(folder + "/model.safetensors");
  // In doubles, which no product of sizes exceeds. A little too many is for load_weights to say, array by array.
  const auto real = [](Index size) { return static_cast<double>(size); };
  const double width = real(options.width), hidden = real(options.hidden);
  const double rows = real(options.vocabulary) + real(options.positions) + real(options.types);
  const double numbers = rows * width + real(options.depth) * (4 * width * width + 2 * width * hidden);
  double held = 0;
  for (const auto& [name, array] : file.arrays) held += real(array.shape.count());
  if (numbers > 2 * held + (1 << 16))
    fail_file(file.path, {"holds ", held, " numbers, a model of the sizes in config.json has ", numbers});
  Bert<T> bert(Random(0), options);
  load_weights(file, bert, {.prefix = prefix, .names = bert_names(), .ignore = bert_ignored()});
  return bert;
}

}  // namespace GRAFT_ABI
}  // namespace graft
