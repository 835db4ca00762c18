#pragma once
// How good a space is to look things up in: the mean reciprocal rank of what is looked for, and hubness, the tendency
// of some items to be near everything (Radovanovic, Nanopoulos, Ivanovic, "Hubs in space", JMLR 2010), which spoils
// maps from items to classes by ridge regression (Shigeto, Suzuki, Hara, Shimbo, Matsumoto, "Ridge regression, hubness,
// and zero-shot learning", ECML PKDD 2015). How alike two spaces are is `linear_cka`, evaluate/cka.hpp. Formulas as the
// catalogue of methods has them; the papers were not read.

#include <algorithm>
#include <cmath>

#include "graft/core/list.hpp"
#include "graft/core/tensor.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The mean over queries of 1 / rank of the right one, by scores [queries, items] and places [queries]. Items of the
/// same score rank before it, so that equal scores find nothing (scikit-learn's label_ranking_average_precision_score).
/// Throws ShapeError, IndexError for a place out of range, ValueError for no queries and a NaN.
template <Real T>
double mean_reciprocal_rank(const Tensor<T>& scores, const Tensor<std::int64_t>& right, Site site = Site::current()) {
  const char* op = "mean_reciprocal_rank";
  if (scores.rank() != 2 || !(right.shape() == Shape{scores.size(0)}))
    fail<ShapeError>(op, "expected scores [queries, items] and places [queries]",
                     {{"scores", scores.shape()}, {"right", right.shape()}}, site);
  if (right.count() == 0) fail(op, "of no queries", {}, site);
  const T* row = std::data(host(scores));
  const Index items = scores.size(1);
  double total = 0;
  for (const std::int64_t place : host(right)) {
    if (place < 0 || place >= items) fail<IndexError>(op, {"place ", place, " of ", items, " items"}, {}, site);
    Index rank = 0;
    for (Index i = 0; i < items; ++i) {
      if (row[i] != row[i]) fail(op, {"a score of item ", i, " is not a number"}, {}, site);
      rank += row[i] >= row[place];
    }
    total += 1 / static_cast<double>(rank);
    row += items;
  }
  return total / static_cast<double>(right.count());
}

/// How often each item is among the k of highest score of a query, [items], by scores [queries, items]; the first of
/// equals. The counts add up to k times the queries. Throws ShapeError, ValueError unless 1 <= k <= items, and for a
/// NaN.
template <Real T>
Tensor<std::int64_t> k_occurrences(const Tensor<T>& scores, Index k, Site site = Site::current()) {
  if (scores.rank() != 2)
    fail<ShapeError>("k_occurrences", "expected scores [queries, items]", {{"scores", scores.shape()}}, site);
  const Index queries = scores.size(0), items = scores.size(1);
  if (k < 1 || k > items) fail("k_occurrences", {k, " of ", items, " items"}, {}, site);
  List<std::int64_t> counts(items);
  List<Index> order(items);
  const T* row = std::data(host(scores));
  for (Index q = 0; q < queries; ++q, row += items) {
    for (Index i = 0; i < items; ++i) {
      if (row[i] != row[i]) fail("k_occurrences", {"a score of query ", q, " is not a number"}, {}, site);
      order[i] = i;
    }
    std::partial_sort(order.begin(), order.begin() + k, order.end(),
                      [&](Index a, Index b) { return row[a] > row[b] || (row[a] == row[b] && a < b); });
    for (Index i = 0; i < k; ++i) ++counts[order[i]];
  }
  return from_vector(counts);
}

/// The skewness of `k_occurrences`: the mean of ((n - mean) / deviation)^3 over items, 0 if all occur alike. The
/// larger, the more of the answers are a few hubs. Throws as `k_occurrences` does.
template <Real T>
double hubness(const Tensor<T>& scores, Index k = 10, Site site = Site::current()) {
  if (scores.rank() != 2)
    fail<ShapeError>("hubness", "expected scores [queries, items]", {{"scores", scores.shape()}}, site);
  if (k < 1 || k > scores.size(1)) fail("hubness", {"k is ", k, " of ", scores.size(1), " items"}, {}, site);
  const Tensor<std::int64_t> counts = k_occurrences(scores, k, site);
  const double items = static_cast<double>(counts.count());
  const double expected = static_cast<double>(k * scores.size(0)) / items;
  double second = 0, third = 0;
  for (const std::int64_t count : host(counts)) {
    const double off = static_cast<double>(count) - expected;
    second += off * off / items;
    third += off * off * off / items;
  }
  return second > 0 ? third / (second * std::sqrt(second)) : 0;
}

}  // namespace GRAFT_ABI
}  // namespace graft
