#pragma once
// Model soups: one model whose weights are the mean of those of several. Wortsman et al., "Model soups: averaging
// weights of multiple fine-tuned models improves accuracy without increasing inference time", ICML 2022. DiWA: Rame et
// al., "Diverse weight averaging for out-of-distribution generalization", NeurIPS 2022: the same means of runs that
// differ in all their options, chosen on the training domains. Compared with the authors' code.
//
// The members must have started from the same weights (a pre-trained model, and for a new head one probe that all
// share): weights of models that were trained from different ones have no meaning in common, and their mean has none.
// A soup of batch norms needs `with_batch_statistics`.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "graft/common/needs.hpp"
#include "graft/common/weight_average.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What a soup needs besides its members: labelled items to choose by.
struct SoupOptions {
  static constexpr DataNeeds needs{.derivatives = 0};
};

/// A soup and what went into it.
template <Model M>
struct Soup {
  M model;
  std::vector<Index> members;  ///< places in the list of models, in the order in which they were added
  double score = 0;            ///< of the soup, where members were chosen by one
};

/// The mean of all models; what is no parameter is the last one's. Throws ValueError without models, ShapeError that
/// names the parameter whose shapes differ.
template <Model M>
M uniform_soup(const std::vector<M>& models, Site site = Site::current()) {
  if (models.empty()) fail("uniform_soup", "there are no models", {}, site);
  const Recording off(false);
  M mean = detach(models[0]);
  for (std::size_t i = 1; i < models.size(); ++i)
    mean = detail::moved_towards("uniform_soup", mean, models[i], 1 / static_cast<double>(i + 1), site);
  return mean;
}

namespace detail {

/// The greedy choice for a method of the name `op`.
template <class M, class Score>
Soup<M> chosen_soup(const char* op, const std::vector<M>& models, Score score, Site site) {
  if (models.empty()) fail(op, "there are no models", {}, site);
  const Recording off(false);
  for (const M& model : models) check_same_shapes(op, models[0], model, site);
  const auto score_of = [&](const M& model, const char* what, std::size_t i) {
    const double value = score(model);
    if (std::isnan(value)) fail(op, {"the score of ", what, " ", static_cast<Index>(i), " is not a number"}, {}, site);
    return value;
  };
  std::vector<double> scores;
  std::vector<Index> order;
  for (std::size_t i = 0; i < models.size(); ++i) {
    scores.push_back(score_of(models[i], "model", i));
    order.push_back(static_cast<Index>(i));
  }
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) {
    return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
  });
  const auto best = static_cast<std::size_t>(order[0]);
  Soup<M> soup{detach(models[best]), {order[0]}, scores[best]};
  for (std::size_t i = 1; i < order.size(); ++i) {
    const double share = 1 / static_cast<double>(soup.members.size() + 1);
    const M with = moved_towards(op, soup.model, models[static_cast<std::size_t>(order[i])], share, site);
    const double value = score_of(with, "the soup with model", static_cast<std::size_t>(order[i]));
    if (!(value >= soup.score)) continue;
    soup.model = detach(with);
    soup.members.push_back(order[i]);
    soup.score = value;
  }
  return soup;
}

}  // namespace detail

/// Greedy soup: from the best model on, each in the order of falling score(model) is added to the mean if the mean's
/// own score does not fall by it. A higher score is better: accuracy on held-out items, or minus a loss. It is never
/// below that of the best member; of equal ones the earlier comes first. Throws ValueError without models and for a
/// score that is NaN, ShapeError that names the parameter whose shapes differ.
template <Model M, class Score>
Soup<M> greedy_soup(const std::vector<M>& models, Score score, Site site = Site::current()) {
  return detail::chosen_soup("greedy_soup", models, score, site);
}

/// Which models DiWA takes: all of a search over options, or those that a greedy choice adds. The authors find both
/// equally good where there are many.
enum class DiwaSelection { uniform, restricted };

/// DiWA: the soup of the models of a search over options. `score(model)`, higher is better, is the accuracy on
/// held-out items of the training domains. Throws as `greedy_soup`.
template <Model M, class Score>
Soup<M> diwa_soup(const std::vector<M>& models, Score score, DiwaSelection selection = DiwaSelection::restricted,
                  Site site = Site::current()) {
  if (selection == DiwaSelection::restricted) return detail::chosen_soup("diwa_soup", models, score, site);
  if (models.empty()) fail("diwa_soup", "there are no models", {}, site);
  for (const M& model : models) detail::check_same_shapes("diwa_soup", models[0], model, site);
  Soup<M> soup{uniform_soup(models, site), {}, 0};
  for (std::size_t i = 0; i < models.size(); ++i) soup.members.push_back(static_cast<Index>(i));
  soup.score = score(soup.model);
  return soup;
}

/// How differently two models err, the measure of diversity that DiWA's authors use (from memory of the paper): items
/// that one of them alone gets wrong over items that both do; infinite where there are none of the latter, NaN where
/// nobody errs. All [items]. Throws ShapeError.
inline double ratio_error(const Tensor<std::int64_t>& first, const Tensor<std::int64_t>& second,
                          const Tensor<std::int64_t>& labels, Site site = Site::current()) {
  if (labels.rank() != 1 || !(first.shape() == labels.shape()) || !(second.shape() == labels.shape()))
    fail<ShapeError>("ratio_error", "expected two predictions and a label for each item",
                     {{"first", first.shape()}, {"second", second.shape()}, {"labels", labels.shape()}}, site);
  const auto a = host(first), b = host(second), y = host(labels);
  double alone = 0, both = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    alone += (a[i] != y[i]) != (b[i] != y[i]);
    both += a[i] != y[i] && b[i] != y[i];
  }
  return alone / both;
}

}  // namespace GRAFT_ABI
}  // namespace graft
