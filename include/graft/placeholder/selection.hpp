#pragma once
// Which items of a pool become placeholders, chosen in a feature space: the farthest from what is chosen (k-center
// greedy: Sener, Savarese, "Active learning for convolutional neural networks: a core-set approach", ICLR 2018;
// Gonzalez 1985), the most central of k groups (k-medoids by PAM: Kaufman, Rousseeuw 1987), or those whose mean stays
// nearest to that of all (herding: Welling, ICML 2009, as Rebuffi et al., "iCaRL", CVPR 2017, choose exemplars).

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "graft/common/checks.hpp"
#include "graft/common/needs.hpp"
#include "graft/core/list.hpp"
#include "graft/core/parallel.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Chosen items.
struct Selection {
  static constexpr DataNeeds needs{.labels = false, .unlabelled = true, .derivatives = 0};
  Tensor<std::int64_t> items;  ///< [count], in the order in which they were chosen; places among the pool
  double figure = 0;           ///< what the choice makes small: see the functions
};

namespace detail {

/// The rows of features less the first of them, so that an offset costs no digits, in double.
struct HostPoints {
  Index items = 0, width = 0;
  List<double> numbers;

  template <class T>
  HostPoints(const char* op, const Tensor<T>& features, Site site) {
    if (features.rank() != 2)
      fail<ShapeError>(op, "expected features [items, width]", {{"features", features.shape()}}, site);
    items = features.size(0);
    width = features.size(1);
    if (items == 0) fail(op, "the source of placeholders has no items", {{"features", features.shape()}}, site);
    const auto all = host(features);
    numbers = List<double>(items * width);
    for (Index i = 0; i < items * width; ++i) {
      const T number = all[static_cast<std::size_t>(i)];
      if (!std::isfinite(number))
        fail(op, {"item ", i / width, " holds ", static_cast<double>(number)}, {{"features", features.shape()}}, site);
      numbers[i] = static_cast<double>(number) - static_cast<double>(all[static_cast<std::size_t>(i % width)]);
    }
  }

  double operator()(Index item, Index k) const { return numbers[item * width + k]; }
  double squared_distance(Index i, Index j) const {
    double sum = 0;
    for (Index k = 0; k < width; ++k) sum += ((*this)(i, k) - (*this)(j, k)) * ((*this)(i, k) - (*this)(j, k));
    return sum;
  }
  List<double> mean() const {
    List<double> result(width);
    for (Index i = 0; i < items; ++i)
      for (Index k = 0; k < width; ++k) result[k] += (*this)(i, k) / static_cast<double>(items);
    return result;
  }
};
inline void check_selected(const char* op, Index count, const HostPoints& points, Site site) {
  if (count < 1 || count > points.items) fail(op, {count, " items to choose, expected 1 to ", points.items}, {}, site);
}
/// The place of the least number of `values` that `may` allows; the first of equal ones. There is one.
template <class May>
Index least(const List<double>& values, const May& may) {
  Index best = -1;
  for (Index i = 0; i < values.size(); ++i)
    if (may(i) && (best < 0 || values[i] < values[best])) best = i;
  return best;
}

}  // namespace detail

/// Algorithm 1 of Sener and Savarese: `count` items one after another, each the one farthest, by Euclidean distance,
/// from the nearest of those chosen or `taken` (places of the pool that are there already: labelled items, say). Where
/// nothing is taken the first is the item nearest to the mean. The figure is the radius, the largest distance of an
/// item from the nearest one chosen or taken: where nothing is taken, at most twice that of the best choice of as many.
/// An item is chosen twice, never; equal distances go to the first. `features` [items, width]. Throws ShapeError,
/// IndexError for a taken place out of range, ValueError for no items, numbers that are not finite, and a count below 1
/// or above the items that are not taken.
template <Real T>
Selection k_center_greedy(const Tensor<T>& features, Index count, const std::vector<Index>& taken = {},
                          Site site = Site::current()) {
  const char* op = "k_center_greedy";
  const detail::HostPoints points(op, features, site);
  detail::check_selected(op, count, points, site);
  const Index items = points.items;
  List<double> nearest(items, std::numeric_limits<double>::infinity());  // squared distance to what is chosen
  List<char> out(items);
  const auto take = [&](Index item) {
    out[item] = 1;
    parallel_for(items, 1 + 65536 / (points.width + 1), [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) nearest[i] = std::min(nearest[i], points.squared_distance(i, item));
    });
  };
  for (const Index item : taken) {
    if (item < 0 || item >= items) fail<IndexError>(op, {"taken item ", item, " of ", items}, {}, site);
    take(item);
  }
  const auto free = [&](Index i) { return out[i] == 0; };
  if (count > std::count(out.begin(), out.end(), 0))
    fail(op, {count, " items to choose of ", std::count(out.begin(), out.end(), 0), " that are not taken"}, {}, site);
  List<std::int64_t> chosen;
  if (taken.empty()) {
    const List<double> centre = points.mean();
    List<double> away(items);
    for (Index i = 0; i < items; ++i)
      for (Index k = 0; k < points.width; ++k) away[i] += (points(i, k) - centre[k]) * (points(i, k) - centre[k]);
    chosen.push_back(detail::least(away, free));
    take(static_cast<Index>(chosen.back()));
  }
  List<double> near(items);
  while (chosen.size() < count) {
    for (Index i = 0; i < items; ++i) near[i] = -nearest[i];
    chosen.push_back(detail::least(near, free));
    take(static_cast<Index>(chosen.back()));
  }
  return {from_vector(chosen), std::sqrt(*std::max_element(nearest.begin(), nearest.end()))};
}

/// Options of `k_medoids`.
struct MedoidOptions {
  Index swaps = 1000;  ///< at most
};

/// PAM: `count` medoids of `features` [items, width] that make the sum of the Euclidean distances of all items to their
/// nearest medoid small, the figure. BUILD takes the item that lowers the sum most, one after another; SWAP replaces a
/// medoid by the item for which the sum falls most, until no replacement lowers it (a local optimum) or `swaps` are
/// done. Memory and time of a step grow as items^2. Throws as `k_center_greedy`.
template <Real T>
Selection k_medoids(const Tensor<T>& features, Index count, const MedoidOptions& o = {}, Site site = Site::current()) {
  const char* op = "k_medoids";
  const detail::HostPoints points(op, features, site);
  detail::check_selected(op, count, points, site);
  detail::check_count(op, "swaps", o.swaps, 0, site);
  const Index items = points.items;
  List<double> distances(items * items);
  parallel_for(items, 1 + 65536 / (items * (points.width + 1)), [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i)
      for (Index j = 0; j < items; ++j) distances[i * items + j] = std::sqrt(points.squared_distance(i, j));
  });
  const auto d = [&](Index i, Index j) { return distances[i * items + j]; };
  List<std::int64_t> medoids;
  List<char> out(items);
  /// The distances of item i to its nearest medoid, and to the nearest one but medoid `without`.
  const auto to_nearest = [&](Index i, Index without) {
    double best = std::numeric_limits<double>::infinity();
    for (Index m = 0; m < medoids.size(); ++m)
      if (m != without) best = std::min(best, d(i, static_cast<Index>(medoids[m])));
    return best;
  };
  /// For every item that is no medoid, the sum where it is one too; `rest` are the distances to the other medoids.
  List<double> sums(items), rest(items);
  const auto sums_with = [&] {
    parallel_for(items, 1 + 65536 / items, [&](Index begin, Index end) {
      for (Index c = begin; c < end; ++c) {
        double sum = 0;
        for (Index i = 0; i < items; ++i) sum += std::min(rest[i], d(c, i));
        sums[c] = sum;
      }
    });
  };
  const auto free = [&](Index i) { return out[i] == 0; };
  double cost = 0;
  while (medoids.size() < count) {
    for (Index i = 0; i < items; ++i) rest[i] = to_nearest(i, -1);
    sums_with();
    medoids.push_back(detail::least(sums, free));
    out[static_cast<Index>(medoids[medoids.size() - 1])] = 1;
    cost = sums[static_cast<Index>(medoids[medoids.size() - 1])];
  }
  for (Index swap = 0; swap < o.swaps && count < items; ++swap) {
    Index medoid = -1, item = -1;
    double best = cost * (1 - 1e-12);  // a swap that gains a rounding error could be undone for ever
    for (Index m = 0; m < count; ++m) {
      for (Index i = 0; i < items; ++i) rest[i] = to_nearest(i, m);
      sums_with();
      const Index candidate = detail::least(sums, free);
      if (sums[candidate] >= best) continue;
      best = sums[candidate];
      medoid = m;
      item = candidate;
    }
    if (medoid < 0) break;
    out[static_cast<Index>(medoids[medoid])] = 0;
    out[item] = 1;
    medoids[medoid] = item;
    cost = best;
  }
  return {from_vector(medoids), cost};
}

/// Herding: p_k = argmin over the items that are left of |mu - (x + p_1 + .. + p_(k-1)) / k|, mu the mean of `features`
/// [items, width]: every first part of the list has a mean near mu. The figure is that distance at the end, 0 but for
/// rounding where all are chosen. (iCaRL puts features on the unit sphere first: give `unit_rows`.) Throws as
/// `k_center_greedy`.
template <Real T>
Selection herding(const Tensor<T>& features, Index count, Site site = Site::current()) {
  const char* op = "herding";
  const detail::HostPoints points(op, features, site);
  detail::check_selected(op, count, points, site);
  const List<double> mean = points.mean();
  List<double> sum(points.width), away(points.items);
  List<char> out(points.items);
  List<std::int64_t> chosen;
  double figure = 0;
  while (chosen.size() < count) {
    const auto many = static_cast<double>(chosen.size() + 1);
    parallel_for(points.items, 1 + 65536 / (points.width + 1), [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) {
        double squares = 0;
        for (Index k = 0; k < points.width; ++k) {
          const double off = mean[k] - (sum[k] + points(i, k)) / many;
          squares += off * off;
        }
        away[i] = squares;
      }
    });
    const Index best = detail::least(away, [&](Index i) { return out[i] == 0; });
    out[best] = 1;
    for (Index k = 0; k < points.width; ++k) sum[k] += points(best, k);
    chosen.push_back(best);
    figure = std::sqrt(away[best]);
  }
  return {from_vector(chosen), figure};
}

}  // namespace GRAFT_ABI
}  // namespace graft
