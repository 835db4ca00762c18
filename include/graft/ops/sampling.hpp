#pragma once
// Draws from distributions that tensors describe. A draw is a choice, not a function with a slope: no gradient flows.

#include <cmath>
#include <limits>

#include "graft/core/random.hpp"
#include "graft/ops/layout.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// For every row of x [..., classes] the first class at which the running sum of weight(number, the row's largest)
/// passes a uniform part of the whole sum.
template <class T, class Weight>
Tensor<std::int64_t> draw_classes(const Tensor<T>& x, const Random& random, Weight weight) {
  const Index classes = x.size(-1);
  const Tensor<std::int64_t> drawn = fresh<std::int64_t>(x.shape().without(x.rank() - 1));
  parallel_for(drawn.count(), 1 + 4096 / classes, [&](Index begin, Index end) {
    for (Index row = begin; row < end; ++row) {
      const T* numbers = x.data() + row * classes;
      double largest = static_cast<double>(numbers[0]), total = 0, sum = 0;
      for (Index c = 1; c < classes; ++c) largest = std::fmax(largest, static_cast<double>(numbers[c]));
      for (Index c = 0; c < classes; ++c) total += weight(static_cast<double>(numbers[c]), largest);
      const double part = random.uniform(static_cast<std::uint64_t>(row)) * total;
      Index chosen = -1;
      for (Index c = 0; c < classes && sum <= part; ++c) {
        const double share = weight(static_cast<double>(numbers[c]), largest);
        sum += share;
        if (share > 0) chosen = c;
      }
      writable(drawn)[row] = chosen;
    }
  });
  return drawn;
}
/// Throws unless every row has numbers, all of them `fine`, and one that is above `least`.
template <class T, class Fine>
void check_distribution(const char* op, const char* name, const Tensor<T>& x, double least, Fine fine, Site site) {
  if (x.rank() < 1 || x.size(-1) < 1)
    fail<ShapeError>(op, {name, " need a last axis of one class or more"}, {{name, x.shape()}}, site);
  const Index classes = x.size(-1);
  bool possible = false;
  for (Index i = 0; i < x.count(); ++i) {
    const double number = static_cast<double>(x.data()[i]);
    if (!fine(number)) fail(op, {"the number at place ", i, " is ", number}, {{name, x.shape()}}, site);
    possible = (i % classes > 0 && possible) || number > least;
    if (i % classes == classes - 1 && !possible)
      fail(op, {"no class of row ", i / classes, " is possible"}, {{name, x.shape()}}, site);
  }
}

}  // namespace detail

/// A class for every row of probabilities [..., classes] -> [...], drawn with draw i of `random` for row i. Rows need
/// not add up to 1: they are weights, 0 or more. Throws ShapeError, ValueError for a number that is negative or not
/// finite and for a row of zeros.
template <Real T>
Tensor<std::int64_t> categorical(const Tensor<T>& probabilities, const Random& random, Site site = Site::current()) {
  detail::check_distribution(
      "categorical", "probabilities", probabilities, 0,
      [](double p) { return p >= 0 && p < std::numeric_limits<double>::infinity(); }, site);
  return detail::draw_classes(probabilities, random, [](double p, double largest) { return p / largest; });
}

/// The same with probabilities softmax(logits), logits [..., classes]; a class of -inf is never drawn. Throws
/// ShapeError, ValueError for a NaN or +inf and for a row of nothing but -inf.
template <Real T>
Tensor<std::int64_t> categorical_from_logits(const Tensor<T>& logits, const Random& random,
                                             Site site = Site::current()) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  detail::check_distribution(
      "categorical_from_logits", "logits", logits, -kInfinity, [](double l) { return l < kInfinity; }, site);
  return detail::draw_classes(logits, random, [](double l, double largest) { return std::exp(l - largest); });
}

}  // namespace GRAFT_ABI
}  // namespace graft
