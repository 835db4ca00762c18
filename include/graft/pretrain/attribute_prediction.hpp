#pragma once
// Classes by predicted attributes. Lampert, Nickisch, Harmeling, "Attribute-based classification for zero-shot visual
// object categorization", TPAMI 2014: direct attribute prediction (DAP) learns a classifier of each attribute, indirect
// (IAP) one of the seen classes, whose posteriors say how likely an attribute is. Both answer
//   argmax_c  prod_m  p(a_m = s_cm | x) / p(a_m = s_cm)
// for the signature s_c of class c; here in logs. Formula as the catalogue of methods has it; the paper was not read.

#include <algorithm>
#include <cmath>

#include "graft/common/needs.hpp"
#include "graft/common/zero_shot.hpp"
#include "graft/ops/elementwise.hpp"
#include "graft/ops/losses.hpp"
#include "graft/ops/statistics.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What DAP and IAP need: attributes of the classes besides labels.
struct AttributePrediction {
  static constexpr DataNeeds needs{.second_modality = true};
};

namespace detail {

/// Log odds beyond this count as this much: an attribute that is sure leaves the sum over attributes finite, and one
/// that contradicts it outweighs all doubts.
inline constexpr double kSureLogOdds = 1e4;

/// Throws ValueError unless all signatures are shares of 1, ShapeError unless they are [classes, attributes].
template <class T>
void check_attributes(const char* op, const Tensor<T>& signatures, Index attributes, Site site) {
  if (signatures.rank() != 2 || signatures.size(1) != attributes)
    fail<ShapeError>(op, {"expected signatures [classes, ", attributes, "]"}, {{"signatures", signatures.shape()}},
                     site);
  Index place = 0;
  for (const T value : host(signatures)) {
    if (!(value >= 0 && value <= 1))
      fail(op, {"attribute ", place % attributes, " of class ", place / attributes, " is ", value, ", expected 0 to 1"},
           {}, site);
    ++place;
  }
}

}  // namespace detail

/// The mean of each attribute over the seen classes, [attributes]; 1/2 for one that all of them have, or none, of which
/// they do not say how rare it is. A prior for `dap_scores`. Throws ValueError for signatures outside [0, 1].
template <class T>
Tensor<T> attribute_priors(const ZeroShotClasses<T>& classes, Site site = Site::current()) {
  detail::check_attributes("attribute_priors", classes.signatures, classes.attributes(), site);
  const Tensor<T> means = mean(classes.seen_signatures(), {0});
  return where((means > 0) && (means < 1), means, T(0.5));
}

/// The mean binary cross-entropy of attribute logits [items, attributes] with the attributes of the items' classes:
/// what trains the classifiers of DAP. `labels` [items] count among all classes. Throws ShapeError, IndexError for a
/// label out of range, ValueError for an item of an unseen class and for signatures outside [0, 1].
template <Real T>
Tensor<T> attribute_loss(const Tensor<T>& logits, const Tensor<std::int64_t>& labels, const ZeroShotClasses<T>& classes,
                         Site site = Site::current()) {
  detail::check_zero_shot_items("attribute_loss", logits, labels, site);
  if (logits.size(1) != classes.attributes())
    fail<ShapeError>("attribute_loss", {"expected logits [items, ", classes.attributes(), "]"},
                     {{"logits", logits.shape()}}, site);
  detail::check_attributes("attribute_loss", classes.signatures, classes.attributes(), site);
  return binary_cross_entropy_with_logits(logits, gather(classes.seen_signatures(), classes.seen_labels(labels, site)),
                                          {}, site);
}

/// DAP's scores [items, classes]: sum_m s_cm (ln p(a_m|x) - ln p(a_m)) + (1 - s_cm) (ln p(not a_m|x) - ln p(not a_m)).
/// `logits` [items, attributes] are the attributes' log odds given the item, cut off at +-1e4; `signatures`
/// [classes, attributes] are 0 or 1 (what lies between weighs both); `priors` [attributes] are p(a_m), empty: 1/2. An
/// attribute of logit 0 then adds the same to all classes. Throws ShapeError, ValueError for signatures outside [0, 1]
/// and priors outside (0, 1).
template <Real T>
Tensor<T> dap_scores(const Tensor<T>& logits, const Tensor<T>& signatures, const Tensor<T>& priors = {},
                     Site site = Site::current()) {
  if (logits.rank() != 2)
    fail<ShapeError>("dap_scores", "expected logits [items, attributes]", {{"logits", logits.shape()}}, site);
  const Index attributes = logits.size(1);
  detail::check_attributes("dap_scores", signatures, attributes, site);
  if (priors.defined()) {
    if (!(priors.shape() == Shape{attributes}))
      fail<ShapeError>("dap_scores", {"expected priors [", attributes, "]"}, {{"priors", priors.shape()}}, site);
    Index m = 0;
    for (const T prior : host(priors)) {
      if (!(prior > 0 && prior < 1))
        fail("dap_scores", {"the prior of attribute ", m, " is ", prior, ", expected one in (0, 1)"}, {}, site);
      ++m;
    }
  }
  // ln p = -softplus(-l) and ln (1 - p) = -softplus(l) differ by l.
  const Named here("dap_scores", site);
  constexpr T sure = static_cast<T>(detail::kSureLogOdds);
  Tensor<T> odds = minimum(maximum(logits, -sure), sure), rest = -sum(softplus(odds), {1}, true);
  if (priors.defined()) {
    odds = odds - log(priors / (T(1) - priors));
    rest = rest - sum(log(T(1) - priors));
  } else {
    rest = rest + static_cast<T>(std::log(2.0)) * static_cast<T>(attributes);
  }
  return matmul(odds, signatures, {.transpose_b = true}, site) + rest;
}

/// IAP's log odds [items, attributes] of the attributes: p(a_m|x) = sum_k p(a_m|k) p(k|x) over the seen classes k, of
/// logits [items, seen classes] and signatures [seen classes, attributes]. An attribute that all seen classes have, or
/// none, is sure: its odds are cut off at +-1e4. Throws ShapeError, ValueError for signatures outside [0, 1].
template <Real T>
Tensor<T> iap_attributes(const Tensor<T>& logits, const Tensor<T>& signatures, Site site = Site::current()) {
  if (logits.rank() != 2 || signatures.rank() != 2 || logits.size(1) != signatures.size(0))
    fail<ShapeError>("iap_attributes",
                     "expected logits [items, seen classes] and signatures [seen classes, attributes]",
                     {{"logits", logits.shape()}, {"signatures", signatures.shape()}}, site);
  detail::check_attributes("iap_attributes", signatures, signatures.size(1), site);
  const Named here("iap_attributes", site);
  // Shares of the largest class: sums of numbers that are not negative, each as exact as the logits are.
  const Tensor<T> shares = softmax(logits);
  const Tensor<T> has = matmul(shares, signatures, {}, site), lacks = matmul(shares, T(1) - signatures, {}, site);
  const auto log_of = [](const Tensor<T>& p) {
    const Tensor<bool> none = p == 0;
    return where(none, static_cast<T>(-detail::kSureLogOdds), log(where(none, T(1), p)));
  };
  return log_of(has) - log_of(lacks);
}

/// IAP's scores [items, classes] of all classes, by logits [items, seen classes]: `dap_scores` of `iap_attributes`.
template <Real T>
Tensor<T> iap_scores(const Tensor<T>& logits, const ZeroShotClasses<T>& classes, const Tensor<T>& priors = {},
                     Site site = Site::current()) {
  const Named here("iap_scores", site);
  return dap_scores(iap_attributes(logits, classes.seen_signatures(), site), classes.signatures, priors, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
