#pragma once
// Prototypes refined by unlabelled items. Ren, Triantafillou, Ravi, Snell, Swersky, Tenenbaum, Larochelle, Zemel,
// "Meta-learning for semi-supervised few-shot classification", ICLR 2018. Formulas and defaults as in the authors'
// code.

#include "graft/common/transductive.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/softmax.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// Prototypes [ways, width]: `steps` times, from the support's means on, the mean of the support items of a class and
/// of the unlabelled items, these weighted by assign(prototypes) [items, ways]. The plain means when nothing is
/// unlabelled.
template <class T, class Assign>
Tensor<T> refined_prototypes(const Episode<T>& episode, int steps, const Assign& assign, Site site) {
  const auto& [support, labels] = episode.support;
  Tensor<T> classes = prototypes(support, labels, episode.ways, site);
  if (!episode.unlabelled.defined() || episode.unlabelled.size(0) == 0) return classes;
  const Tensor<T> items = concat<T>({support, episode.unlabelled}, 0, site), known = one_hot<T>(labels, episode.ways);
  for (int step = 0; step < steps; ++step)
    classes = weighted_means(items, concat<T>({known, assign(classes)}, 0, site), site);
  return classes;
}

}  // namespace detail

/// Options of `SoftKMeans`; the defaults are the authors'.
struct SoftKMeansOptions {
  int steps = 1;                     ///< refinements
  bool constant_assignments = true;  ///< in training no gradient flows through the assignments of unlabelled items
};

/// Logits of the queries: minus the squared distances to prototypes that unlabelled items u take part in,
///   z_ik = softmax_k(-|u_i - c_k|^2),  c_k <- (sum of support items of class k + sum_i z_ik u_i) / (n_k + sum_i z_ik).
/// Without unlabelled items a prototypical network, bit for bit.
struct SoftKMeans {
  SoftKMeansOptions options;
  GRAFT_FIELDS()
  GRAFT_CONFIG(options)
  static constexpr Needs needs{.sees = Sees::unlabelled};

  /// Logits [queries, ways] of an episode of embeddings. Throws ShapeError, IndexError and ValueError for other
  /// episodes, ValueError for negative steps.
  template <Real T>
  Tensor<T> operator()(const Episode<T>& episode, ContextRef, Site site = Site::current()) const {
    detail::check_count("SoftKMeans", "steps", options.steps, 0, site);
    detail::check_embedded("SoftKMeans", episode, site);
    const Named here("SoftKMeans", site);
    const auto assign = [&](const Tensor<T>& classes) {
      const Tensor<T> z = softmax(-squared_distances(episode.unlabelled, classes, site), 1, site);
      return options.constant_assignments ? z.detach() : z;
    };
    return -squared_distances(episode.query.x, detail::refined_prototypes(episode, options.steps, assign, site), site);
  }
};

/// Five numbers that describe how far the items are from each class, distances [items, ways] -> [ways, 5]: smallest,
/// largest, variance, skewness and excess kurtosis of the distances of a class over their mean. A mean or a variance of
/// 0 counts as 1. Throws ShapeError unless there are items.
template <Real T>
Tensor<T> distance_statistics(const Tensor<T>& distances, Site site = Site::current()) {
  if (distances.rank() != 2 || distances.size(0) == 0)
    fail<ShapeError>("distance_statistics", "expected distances [items, ways] of one item or more",
                     {{"distances", distances.shape()}}, site);
  const auto or_one = [](const Tensor<T>& x) { return where(x == 0, 1, x); };
  const Tensor<T> d = distances / or_one(mean(distances, {0}, true));
  const Tensor<T> gap = d - mean(d, {0}, true), variance = mean(square(gap), {0});
  const Tensor<T> scale = or_one(variance);
  return stack<T>({min(d, {0}), max(d, {0}), variance, mean(gap * square(gap), {0}) / (scale * sqrt(scale)),
                   mean(square(square(gap)), {0}) / square(scale) - 3},
                  1, site);
}

/// Options of `MaskedSoftKMeans`; the defaults are the authors'.
struct MaskedSoftKMeansOptions {
  int steps = 1;      ///< refinements
  Index hidden = 20;  ///< of the perceptron that sets the thresholds
};

/// Soft k-means that leaves out distractors, items of none of the classes. An unlabelled item counts for a class by
/// what part of it lies within a threshold,
///   d_ik = |u_i - c_k|^2 / (mean over i of |u_i - c_k|^2),  m_ik = sigmoid(-gamma_k (d_ik - beta_k)),
///   c_k <- (sum of support items of class k + sum_i z_ik m_ik u_i) / (n_k + sum_i z_ik m_ik),
/// with z as in `SoftKMeans` and log beta_k, log gamma_k = linear2(tanh(linear1(statistics of class k))), see
/// `distance_statistics`, of the distances to the first prototypes; no gradient flows through the statistics. The
/// authors' perceptron has a third output for thresholds that grow from step to step, which one step never uses; there
/// is none here. Without unlabelled items a prototypical network, bit for bit.
template <class T = float>
struct MaskedSoftKMeans {
  Linear<T> linear1, linear2;  ///< 5 -> hidden -> 2
  MaskedSoftKMeansOptions options;
  GRAFT_FIELDS(linear1, linear2)
  GRAFT_CONFIG(options)
  static constexpr Needs needs{.sees = Sees::unlabelled};

  MaskedSoftKMeans() = default;
  /// Weights normal with deviation 0.01, biases 0: both thresholds are about 1 at first.
  explicit MaskedSoftKMeans(const Random& random, const MaskedSoftKMeansOptions& o = {}, Site site = Site::current())
      : options(o) {
    detail::check_count("MaskedSoftKMeans", "steps", o.steps, 0, site);
    detail::check_count("MaskedSoftKMeans", "hidden", o.hidden, 1, site);
    linear1.weight = scaled_normal<T>({o.hidden, 5}, 0.01, random.stream("linear1"));
    linear2.weight = scaled_normal<T>({2, o.hidden}, 0.01, random.stream("linear2"));
    linear1.bias = zeros<T>({o.hidden});
    linear2.bias = zeros<T>({2});
  }

  /// Logits [queries, ways] of an episode of embeddings. Throws ShapeError, IndexError and ValueError for other
  /// episodes.
  Tensor<T> operator()(const Episode<T>& episode, ContextRef, Site site = Site::current()) const {
    detail::check_embedded("MaskedSoftKMeans", episode, site);
    const Named here("MaskedSoftKMeans", site);
    Tensor<T> beta, gamma;  // [1, ways]
    const auto assign = [&](const Tensor<T>& classes) {
      const Tensor<T> d = squared_distances(episode.unlabelled, classes, site), average = mean(d, {0}, true);
      if (!beta.defined()) {
        const Tensor<T> thresholds = exp(linear2(tanh(linear1(distance_statistics(d.detach(), site), site)), site));
        beta = reshape(slice(thresholds, 1, 0, 1), {1, episode.ways});
        gamma = reshape(slice(thresholds, 1, 1, 2), {1, episode.ways});
      }
      return softmax(-d, 1, site) * sigmoid(gamma * (beta - d / where(average == 0, 1, average)));
    };
    return -squared_distances(episode.query.x, detail::refined_prototypes(episode, options.steps, assign, site), site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
