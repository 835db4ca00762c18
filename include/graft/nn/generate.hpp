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

namespace graft {
inline namespace GRAFT_ABI {

/// How a token is chosen by its score. The three act in this order, as in the transformers library.
struct SamplingOptions {
  double temperature = 1;  ///< scores are divided by it; 0: greedy, the first of the tokens with the highest score
  Index top_k = 0;         ///< only the k tokens of the highest scores, the first of equal ones; 0: all
  double top_p = 1;        ///< of these, the fewest of the highest probabilities that make up p together, at least one
};

/// Options of `generate`.
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

/// The probabilities of one row of scores, and its tokens: first those that may be drawn, from the most probable on
/// where some may not.
template <class T>
class TokenOdds {
 public:
  /// Throws ValueError for a NaN or an infinite highest score.
  TokenOdds(const char* op, std::span<const T> scores, const SamplingOptions& o, Site site)
      : order_(scores.size()), probabilities_(scores.size(), 0.0) {
    const auto of = [&](Index token) { return scores[static_cast<std::size_t>(token)]; };
    for (const T score : scores)
      if (std::isnan(score)) fail(op, "a score is a NaN", {}, site);
    std::iota(order_.begin(), order_.end(), Index{0});
    const Index count = static_cast<Index>(scores.size());
    kept_ = o.temperature == 0 ? 1 : o.top_k == 0 ? count : std::min(o.top_k, count);
    const auto before = [&](Index a, Index b) { return of(a) != of(b) ? of(a) > of(b) : a < b; };
    if (kept_ < count || o.top_p < 1) std::partial_sort(order_.begin(), order_.begin() + kept_, order_.end(), before);
    const auto highest = static_cast<double>(*std::max_element(scores.begin(), scores.end()));
    if (!std::isfinite(highest)) fail(op, {"the highest score is ", highest}, {}, site);
    double total = 0;
    for (Index i = 0; i < kept_; ++i) {
      const auto below = static_cast<double>(of(order_[static_cast<std::size_t>(i)])) - highest;
      total += probability(i) = kept_ == 1 ? 1 : std::exp(below / o.temperature);
    }
    double sum = 0;
    Index needed = 0;
    while (needed < kept_ && (needed == 0 || sum < o.top_p * total)) sum += probability(needed++);
    for (Index i = needed; i < kept_; ++i) probability(i) = 0;
    kept_ = needed;
    for (Index i = 0; i < kept_; ++i) probability(i) /= sum;
  }

  const std::vector<double>& probabilities() const { return probabilities_; }
  /// The token at `place` in [0, 1) of the probabilities laid out one after another.
  Index at(double place) {
    for (Index i = 0; i + 1 < kept_; ++i) {
      place -= probability(i);
      if (place < 0) return order_[static_cast<std::size_t>(i)];
    }
    return order_[static_cast<std::size_t>(kept_ - 1)];
  }

 private:
  double& probability(Index i) { return probabilities_[static_cast<std::size_t>(order_[static_cast<std::size_t>(i)])]; }
  std::vector<Index> order_;
  std::vector<double> probabilities_;  // by token
  Index kept_;
};

/// Calls use(odds, row) for every row of scores [rows, vocabulary].
template <class T, class Use>
void for_each_odds(const char* op, const Tensor<T>& scores, const SamplingOptions& options, Site site, Use use) {
  check_sampling(op, options, site);
  if (scores.rank() != 2 || scores.shape()[1] == 0)
    fail<ShapeError>(op, "expected scores [rows, vocabulary]", {{"scores", scores.shape()}}, site);
  const auto width = static_cast<std::size_t>(scores.shape()[1]);
  for (Index row = 0; row < scores.shape()[0]; ++row) {
    TokenOdds<T> odds(op, host(scores).subspan(static_cast<std::size_t>(row) * width, width), options, site);
    use(odds, row);
  }
}

}  // namespace detail

/// The probabilities with which `sample_tokens` draws: softmax(scores / temperature) over the tokens that top_k and
/// top_p leave, 0 for all others. scores [rows, vocabulary] -> the same shape. Throws ValueError for options out of
/// range, and for scores of which one is a NaN or the highest is infinite.
template <Real T>
Tensor<T> token_probabilities(const Tensor<T>& scores, const SamplingOptions& options = {},
                              Site site = Site::current()) {
  std::vector<T> all;
  detail::for_each_odds("token_probabilities", scores, options, site, [&](auto& odds, Index) {
    for (const double p : odds.probabilities()) all.push_back(static_cast<T>(p));
  });
  return from_vector(all, scores.shape(), site);
}

/// A token for every row of scores [rows, vocabulary], drawn by `token_probabilities`: [rows]. Row i takes draw i of
/// `random`. Throws as that does.
template <Real T>
Tensor<std::int64_t> sample_tokens(const Tensor<T>& scores, const Random& random, const SamplingOptions& options = {},
                                   Site site = Site::current()) {
  std::vector<std::int64_t> tokens;
  detail::for_each_odds("sample_tokens", scores, options, site, [&](auto& odds, Index row) {
    tokens.push_back(odds.at(random.uniform(static_cast<std::uint64_t>(row))));
  });
  return from_vector(tokens, site);
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
