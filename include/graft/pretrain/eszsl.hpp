#pragma once
// An embarrassingly simple approach to zero-shot learning. Romera-Paredes, Torr, ICML 2015: the map V between items and
// attributes that minimises
//   |X V S' - Y|^2 + gamma |V S'|^2 + lambda |X V|^2 + gamma lambda |V|^2
// over items X [items, width], signatures S [seen classes, attributes] and targets Y, 1 for an item's class and -1 for
// the others, is
//   V = (X'X + gamma I)^-1 X'Y S (S'S + lambda I)^-1.
// Formula as the catalogue of methods has it; the paper was not read.

#include <cmath>
#include <utility>
#include <vector>

#include "graft/common/needs.hpp"
#include "graft/common/zero_shot.hpp"
#include "graft/ops/linalg.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `eszsl`.
struct EszslOptions {
  double gamma = 1;    ///< regularises in the space of the items; chosen from 10^-3 .. 10^3 by `choose_eszsl`
  double lambda = 1;   ///< in that of the attributes
  double others = -1;  ///< the target for classes other than an item's; some reimplementations take 0
  static constexpr DataNeeds needs{.second_modality = true, .derivatives = 0};
};

namespace detail {

/// What V is made of, without the ridges: X'X, X'Y S and S'S.
template <class T>
struct EszslSums {
  Tensor<T> xx, xys, ss;

  EszslSums(const Tensor<T>& x, const Tensor<std::int64_t>& labels, const ZeroShotClasses<T>& classes, double others,
            Site site) {
    const Tensor<T> s = classes.seen_signatures();
    const T other = static_cast<T>(others);
    const Tensor<T> y = other + (T(1) - other) * one_hot<T>(classes.seen_labels(labels, site), s.size(0));
    xx = matmul(x, x, {.transpose_a = true});
    xys = matmul(matmul(x, y, {.transpose_a = true}), s);
    ss = matmul(s, s, {.transpose_a = true});
  }
  Compatibility<T> map(double gamma, double lambda, Site site) const {
    const auto with_ridge = [](const Tensor<T>& squares, double ridge) {
      return squares + static_cast<T>(ridge) * eye<T>(squares.size(0));
    };
    const Tensor<T> left = cholesky_solve(with_ridge(xx, gamma), xys, site);
    return Compatibility<T>(transpose(cholesky_solve(with_ridge(ss, lambda), transpose(left), site)));
  }
};

}  // namespace detail

/// The map of training items [items, width] with labels [items] among all classes; it scores the signatures of any. A
/// solution in closed form, differentiable in items and signatures. Throws ShapeError, IndexError for a label out of
/// range, ValueError for an item of an unseen class, for negative options, and where gamma or lambda is lost beside the
/// squares of items or signatures, so that a system is not positive definite: with 0 they have to be of full rank.
template <Real T>
Compatibility<T> eszsl(const Tensor<T>& x, const Tensor<std::int64_t>& labels, const ZeroShotClasses<T>& classes,
                       const EszslOptions& o = {}, Site site = Site::current()) {
  detail::check_zero_shot_items("eszsl", x, labels, site);
  detail::check_option<T>("eszsl", "gamma", o.gamma, detail::Range::not_negative, site);
  detail::check_option<T>("eszsl", "lambda", o.lambda, detail::Range::not_negative, site);
  detail::check_option<T>("eszsl", "others", o.others, detail::Range::finite, site);
  const Named here("eszsl", site);
  return detail::EszslSums<T>(x, labels, classes, o.others, site).map(o.gamma, o.lambda, site);
}

/// How `choose_eszsl` chooses.
struct EszslChoiceOptions {
  int lowest = -3, highest = 3;  ///< exponents of ten that gamma and lambda are tried at
  double others = -1;            ///< as of `EszslOptions`
  Index folds = 5;               ///< each seen class is held out in one of them
};

/// What was chosen, with the accuracy on the classes that were held out.
struct EszslChoice {
  EszslOptions options;
  double accuracy = 0;  ///< the mean over folds of the mean accuracy of a held-out class among those of its fold
};

/// The pair of gamma and lambda that is best on seen classes held out from training: unseen classes are not looked at.
/// The first of equals, smallest gamma first. Works in double. A fold has two classes or more, so there may be fewer
/// folds. Throws as `eszsl` does, ValueError for options out of range and for fewer than four seen classes with items.
template <Real T>
EszslChoice choose_eszsl(const Tensor<T>& x, const Tensor<std::int64_t>& labels, const ZeroShotClasses<T>& classes,
                         const Random& random, const EszslChoiceOptions& o = {}, Site site = Site::current()) {
  detail::check_zero_shot_items("choose_eszsl", x, labels, site);
  if (o.lowest > o.highest || o.lowest < -30 || o.highest > 30 || o.folds < 2)
    fail("choose_eszsl", {"exponents ", o.lowest, " to ", o.highest, ", ", o.folds, " folds"}, {}, site);
  const Named here("choose_eszsl", site);
  const Tensor<double> items = cast<double>(x), s = cast<double>(classes.seen_signatures());
  const Tensor<std::int64_t> of = classes.seen_labels(labels, site);
  const auto own = host(of);
  List<Index> counts(classes.seen_classes());
  for (const std::int64_t label : own) ++counts[label];
  std::vector<Index> with_items;
  for (const Index c : random.permutation(classes.seen_classes()))
    if (counts[c] > 0) with_items.push_back(c);
  const Index usable = std::ssize(with_items), folds = std::min(o.folds, usable / 2);
  if (folds < 2) fail("choose_eszsl", {usable, " seen classes have items, expected 4 or more"}, {}, site);
  const Index tries = o.highest - o.lowest + 1;
  List<double> found(tries * tries);
  for (Index fold = 0; fold < folds; ++fold) {
    List<Index> place(classes.seen_classes(), -1);  // among those held out, -1 of a class to train on
    List<std::int64_t> held, held_items, kept_items;
    for (Index i = fold; i < usable; i += folds) {
      const Index c = with_items[static_cast<std::size_t>(i)];
      place[c] = held.size();
      held.push_back(c);
    }
    for (std::size_t i = 0; i < own.size(); ++i)
      (place[own[i]] < 0 ? kept_items : held_items).push_back(static_cast<std::int64_t>(i));
    const Tensor<std::int64_t> train = from_vector(kept_items), test = from_vector(held_items);
    const Tensor<double> test_items = gather(items, test), test_signatures = gather(s, from_vector(held));
    const ZeroShotClasses<double> rest(s, from_vector(place) < 0, site);
    const detail::EszslSums<double> sums(gather(items, train), gather(of, train), rest, o.others, site);
    for (Index g = 0; g < tries; ++g)
      for (Index l = 0; l < tries; ++l) {
        const Compatibility<double> map = sums.map(std::pow(10.0, static_cast<double>(o.lowest + g)),
                                                   std::pow(10.0, static_cast<double>(o.lowest + l)), site);
        const Tensor<std::int64_t> answers = argmax(map(test_items, test_signatures), 1);
        const auto answer = host(answers);
        for (Index i = 0; i < held_items.size(); ++i) {
          const Index c = own[static_cast<std::size_t>(held_items[i])];
          if (answer[static_cast<std::size_t>(i)] == place[c])
            found[g * tries + l] += 1.0 / static_cast<double>(counts[c] * held.size() * folds);
        }
      }
  }
  Index best = 0;
  for (Index i = 1; i < found.size(); ++i)
    if (found[i] > found[best] * (1 + 1e-12)) best = i;
  return {{std::pow(10.0, static_cast<double>(o.lowest + best / tries)),
           std::pow(10.0, static_cast<double>(o.lowest + best % tries)), o.others},
          found[best]};
}

}  // namespace GRAFT_ABI
}  // namespace graft
