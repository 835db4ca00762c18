#pragma once
// Sentences as vectors, for programs that learn on top of a published encoder.

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "graft/core/parallel.hpp"
#include "graft/io/published.hpp"
#include "graft/io/wordpiece.hpp"
#include "program.hpp"

namespace examples {

/// A published encoder in a folder (config.json, vocab.txt, model.safetensors), frozen.
class SentenceEncoder {
 public:
  explicit SentenceEncoder(const std::string& folder)
      : words_(folder + "/vocab.txt"),
        bert_(load_bert(folder)),
        longest_(std::min(read_bert_config(folder + "/config.json").positions, Index{128})) {}

  /// Vectors [texts, width] of texts, of which the first 128 tokens are read. Throws Stopped after Ctrl-C.
  Tensor<> operator()(const std::vector<std::string>& texts) const {
    constexpr std::size_t batch = 32;
    std::vector<Tensor<>> parts((texts.size() + batch - 1) / batch);
    parallel_tasks(std::ssize(parts), [&](Index i) {
      if (stop_requested(Program::stop())) throw Stopped("graft: stopped while sentences were encoded");
      const std::size_t at = batch * static_cast<std::size_t>(i), count = std::min(texts.size() - at, batch);
      const TokenBatch tokens = words_.encode(std::span(texts).subspan(at, count), longest_);
      parts[i] = sentence_vectors(bert_(tokens.ids, tokens.mask, Context()), tokens.mask);
    });
    return concat(parts, 0);
  }

 private:
  WordPiece words_;
  Bert<> bert_;
  Index longest_;
};

}  // namespace examples
