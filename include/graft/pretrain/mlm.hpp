#pragma once
// Masked language modelling. Devlin, Chang, Lee, Toutanova, "BERT: pre-training of deep bidirectional transformers for
// language understanding", NAACL 2019, section 3.1; masks drawn anew each time as in RoBERTa (Liu et al. 2019).

#include "graft/common/needs.hpp"
#include "graft/core/list.hpp"
#include "graft/core/options.hpp"
#include "graft/ops/losses.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How tokens are masked; the defaults are BERT's.
struct MaskTokensOptions {
  double rate = 0.15;        ///< chance that a token is chosen
  double masked = 0.8;       ///< share of the chosen that become `mask_token`
  double random = 0.1;       ///< share that become any token from `first_random` on; the rest stay as they are
  Index mask_token = 103;    ///< [MASK] of BERT's vocabulary
  Index vocabulary = 30522;  ///< tokens there are
  Index first_random = 0;    ///< tokens before are not drawn, where a vocabulary begins with special ones
  static constexpr DataNeeds needs{.labels = false, .unlabelled = true};
};

/// Tokens that are to be foretold: what the model sees, and what stood there.
struct MaskedTokens {
  Tensor<std::int64_t> seen;     ///< as the tokens
  Tensor<std::int64_t> targets;  ///< the token where one was chosen, else -1
};

/// Chooses tokens [batch, time] where `maskable` [batch, time] is true (not at special tokens and padding). Every token
/// is drawn alone, by its place. Throws ShapeError, ValueError for shares outside [0, 1], IndexError for a mask token
/// outside the vocabulary.
inline MaskedTokens mask_tokens(const Tensor<std::int64_t>& tokens, const Tensor<bool>& maskable, const Random& random,
                                const MaskTokensOptions& o = {}, Site site = Site::current()) {
  if (!(tokens.shape() == maskable.shape()))
    fail<ShapeError>("mask_tokens", "expected tokens and maskable of one shape",
                     {{"tokens", tokens.shape()}, {"maskable", maskable.shape()}}, site);
  const auto share = [](double x) { return x >= 0 && x <= 1; };
  if (!share(o.rate) || !share(o.masked) || !share(o.random) || o.masked + o.random > 1)
    fail("mask_tokens", {"rate ", o.rate, ", masked ", o.masked, ", random ", o.random, ", expected shares of 1"}, {},
         site);
  if (o.mask_token < 0 || o.mask_token >= o.vocabulary || o.first_random < 0 || o.first_random >= o.vocabulary)
    fail<IndexError>("mask_tokens",
                     {"mask_token ", o.mask_token, ", first_random ", o.first_random, " of ", o.vocabulary, " tokens"},
                     {}, site);
  const auto all = host(tokens);
  const auto may = host(maskable);
  const Random choice = random.stream("choice"), kind = random.stream("kind"), word = random.stream("word");
  List<std::int64_t> seen, targets;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const bool chosen = may[i] && choice.uniform(i) < o.rate;
    const double drawn = kind.uniform(i);
    targets.push_back(chosen ? all[i] : -1);
    if (chosen && drawn < o.masked)
      seen.push_back(o.mask_token);
    else if (chosen && drawn < o.masked + o.random)
      seen.push_back(o.first_random + word.below(i, o.vocabulary - o.first_random));
    else
      seen.push_back(all[i]);
  }
  return {from_vector(seen, tokens.shape()), from_vector(targets, tokens.shape())};
}

/// The mean cross-entropy at the chosen places, 0 if there is none: scores [batch, time, vocabulary], targets [batch,
/// time], -1 where nothing is to be foretold. Shape []. Throws ShapeError, IndexError for another target out of range.
template <Real T>
Tensor<T> mlm_loss(const Tensor<T>& scores, const Tensor<std::int64_t>& targets, Site site = Site::current()) {
  if (scores.rank() < 1 || !(scores.shape().without(scores.rank() - 1) == targets.shape()))
    fail<ShapeError>("mlm_loss", "expected scores [..., vocabulary] and targets [...]",
                     {{"scores", scores.shape()}, {"targets", targets.shape()}}, site);
  Index chosen = 0;
  for (const std::int64_t target : host(targets)) chosen += target != -1;
  const Tensor<T> total = cross_entropy(scores, targets, {.reduction = Reduction::sum, .ignore_index = -1}, site);
  return total / static_cast<T>(std::max<Index>(chosen, 1));
}

}  // namespace GRAFT_ABI
}  // namespace graft
