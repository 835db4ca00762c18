#pragma once
// Text from a language model: what may come next, and drawing it token after token on a cache of keys and values.
// top-k: Fan, Lewis, Dauphin, "Hierarchical neural story generation", ACL 2018; top-p, or nucleus sampling: Holtzman,
// Buys, Du, Forbes, Choi, "The curious case of neural text degeneration", ICLR 2020.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <optional>
#include <span>
#include <vector>

#include "graft/nn/gpt.hpp"
#include "graft/ops/sampling.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How a token is chosen by its score. The three act in this order, as in the transformers library.
struct SamplingOptions {
  double temperature = 1;  ///< scores are divided by it; 0: greedy, the first of the tokens with the highest score
  Index top_k = 0;         ///< only the k tokens of the highest scores, the first of equal ones; 0: all
  double top_p = 1;        ///< of these, the fewest of the highest probabilities that make up p together, at least one
};

/// Options of `generate_tokens`.
struct GenerateOptions {
  Index tokens = 100;  ///< how many come after the prompt, at most
  SamplingOptions sampling = {};
  std::optional<std::int64_t> stop = {};  ///< a text ends with this token
};

namespace detail {

inline void check_sampling(const char* op, const SamplingOptions& o, Site site) {
  check_option<double>(op, "temperature", o.temperature, Range::not_negative, site);
  if (o.top_k < 0) fail(op, {"top_k is ", o.top_k, ", expected 0 or more"}, {}, site);
  if (!(o.top_p > 0 && o.top_p <= 1)) fail(op, {"top_p is ", o.top_p, ", expected above 0 and at most 1"}, {}, site);
}

/// The probabilities of one row of scores. Throws ValueError for a NaN or an infinite highest score.
template <class T>
std::vector<T> row_probabilities(const char* op, std::span<const T> scores, const SamplingOptions& o, Site site) {
  for (const T score : scores)
    if (std::isnan(score)) fail(op, "a score is a NaN", {}, site);
  const auto highest = static_cast<double>(*std::max_element(scores.begin(), scores.end()));
  if (!std::isfinite(highest)) fail(op, {"the highest score is ", highest}, {}, site);
  const std::size_t most = o.temperature == 0 ? 1 : o.top_k == 0 ? scores.size() : static_cast<std::size_t>(o.top_k);
  const std::size_t count = std::min(most, scores.size());
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto before = [&](std::size_t i, std::size_t j) {
    return scores[i] != scores[j] ? scores[i] > scores[j] : i < j;
  };
  if (count < scores.size() || o.top_p < 1)
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(), before);
  order.resize(count);
  std::vector<double> weights;
  double total = 0, sum = 0;
  for (const std::size_t token : order) {
    const double below = static_cast<double>(scores[token]) - highest;
    weights.push_back(order.size() == 1 ? 1 : std::exp(below / o.temperature));
    total += weights.back();
  }
  std::size_t kept = 0;
  const bool all = o.top_p == 1;  // also those too small to change a sum
  while (kept < order.size() && (all || kept == 0 || sum < o.top_p * total)) sum += weights[kept++];
  std::vector<T> probabilities(scores.size(), T(0));
  for (std::size_t i = 0; i < kept; ++i) probabilities[order[i]] = static_cast<T>(weights[i] / sum);
  return probabilities;
}

template <class T>
Tensor<T> token_probabilities(const char* op, const Tensor<T>& scores, const SamplingOptions& options, Site site) {
  check_sampling(op, options, site);
  if (scores.rank() != 2 || scores.shape()[1] == 0)
    fail<ShapeError>(op, "expected scores [rows, vocabulary]", {{"scores", scores.shape()}}, site);
  const auto width = static_cast<std::size_t>(scores.shape()[1]);
  std::vector<T> all;
  for (std::size_t begin = 0; begin < host(scores).size(); begin += width) {
    const std::vector<T> row = row_probabilities(op, host(scores).subspan(begin, width), options, site);
    all.insert(all.end(), row.begin(), row.end());
  }
  return from_vector(all, scores.shape(), site);
}

}  // namespace detail

/// The probabilities with which `sample_tokens` draws: softmax(scores / temperature) over the tokens that top_k and
/// top_p leave, 0 for all others. scores [rows, vocabulary] -> the same shape. Throws ValueError for options out of
/// range, and for scores of which one is a NaN or the highest is infinite.
template <Real T>
Tensor<T> token_probabilities(const Tensor<T>& scores, const SamplingOptions& options = {},
                              Site site = Site::current()) {
  return detail::token_probabilities("token_probabilities", scores, options, site);
}

/// A token for every row of scores [rows, vocabulary], drawn by `token_probabilities`: [rows]. Row i takes draw i of
/// `random`. Throws as that does.
template <Real T>
Tensor<std::int64_t> sample_tokens(const Tensor<T>& scores, const Random& random, const SamplingOptions& options = {},
                                   Site site = Site::current()) {
  return categorical(detail::token_probabilities("sample_tokens", scores, options, site), random, site);
}

/// Texts that go on from prompts of one length: prompt [batch, time] -> [batch, time + made], where made is the number
/// of tokens asked for, or less when all texts have ended; behind its end a text repeats the stop token. Token n draws
/// from random.stream(n), so that the same `Random` gives the same texts. Throws ShapeError for an empty prompt, and
/// for more tokens than the model takes.
template <Real T, Integer I>
Tensor<I> generate_tokens(const Gpt<T>& model, const Tensor<I>& prompt, const Random& random,
                          const GenerateOptions& options = {}, Site site = Site::current()) {
  const char* op = "generate_tokens";
  detail::check_sampling(op, options.sampling, site);
  if (options.tokens < 0) fail(op, {"tokens is ", options.tokens, ", expected 0 or more"}, {}, site);
  if (prompt.rank() != 2 || prompt.shape()[0] == 0 || prompt.shape()[1] == 0)
    fail<ShapeError>(op, "expected a prompt [batch, time] of at least one token", {{"prompt", prompt.shape()}}, site);
  const Index batch = prompt.shape()[0], longest = model.options.longest;
  if (prompt.shape()[1] + options.tokens > longest)
    fail<ShapeError>(op, {options.tokens, " tokens after the prompt are more than the model's ", longest, " in all"},
                     {{"prompt", prompt.shape()}}, site);
  TransformerCache<T> cache;
  std::vector<Tensor<I>> parts{prompt};
  std::vector<bool> ended(static_cast<std::size_t>(batch), false);
  Tensor<I> latest = prompt;
  for (Index n = 0; n < options.tokens; ++n) {
    const Tensor<std::int64_t> drawn = sample_tokens(
        model.last_step(latest, cache, site), random.stream(static_cast<std::uint64_t>(n)), options.sampling, site);
    if (n == 0) cache.reserve(prompt.shape()[1] + options.tokens, site);
    std::vector<I> next;
    for (std::size_t row = 0; row < ended.size(); ++row) {
      next.push_back(static_cast<I>(ended[row] ? *options.stop : host(drawn)[row]));
      ended[row] = ended[row] || (options.stop && host(drawn)[row] == *options.stop);
    }
    latest = from_vector(next, {batch, 1}, site);
    parts.push_back(latest);
    if (std::all_of(ended.begin(), ended.end(), [](bool e) { return e; })) break;
  }
  return concat(parts, 1, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
