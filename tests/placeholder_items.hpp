#pragma once
// What rows of the method table of placeholder/ share: items, labels and a linear model.

#include <limits>

#include "graft/data/episodes.hpp"
#include "graft/graft.hpp"

namespace placeholder_items {

using namespace graft;
using Numbers = Tensor<double>;
using Labels = Tensor<std::int64_t>;
constexpr double kInfinity = std::numeric_limits<double>::infinity(), kNaN = std::numeric_limits<double>::quiet_NaN();

inline Numbers normal(const Shape& shape, std::uint64_t seed) { return randn<double>(shape, Random(seed)); }
/// A linear classifier with its weights as a matrix [width, classes].
template <class T>
struct Scores {
  Tensor<T> weight;
  GRAFT_FIELDS(weight)
  Tensor<T> operator()(const Tensor<T>& x) const { return matmul(x, weight); }
};
inline LabelledSet<double> some_set(Index items = 6, std::uint64_t seed = 1) {
  return {normal({items, 4}, seed), generate({items}, [](Index i) { return i % 3; })};
}

}  // namespace placeholder_items
