#pragma once
// Figures of several objectives at once: what a set of points dominates, and how far it is from a known front. All
// objectives are to be small: losses; give accuracies as 1 - accuracy or with a minus.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "graft/core/tensor.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// Rows of a matrix, as points.
using Points = std::vector<const double*>;

/// The numbers of points in double, and where each begins.
struct PointTable {
  std::vector<double> numbers;
  Points rows;
  Index objectives = 0;
};
/// Throws ShapeError unless `points` is [points, objectives] with an objective or more, ValueError for a number that is
/// not finite.
template <Real T>
PointTable point_table(const char* op, const char* name, const Tensor<T>& points, Site site) {
  if (points.rank() != 2 || points.size(1) < 1)
    fail<ShapeError>(op, {"expected ", name, " [points, objectives]"}, {{name, points.shape()}}, site);
  PointTable table;
  table.objectives = points.size(1);
  for (const T x : host(points)) {
    if (!std::isfinite(x)) {
      const auto at = static_cast<Index>(table.numbers.size()) / table.objectives;
      fail(op, {"point ", at, " of ", name, " holds ", x}, {{name, points.shape()}}, site);
    }
    table.numbers.push_back(static_cast<double>(x));
  }
  for (Index i = 0; i < points.size(0); ++i) table.rows.push_back(std::data(table.numbers) + i * table.objectives);
  return table;
}

/// Whether a is nowhere larger than b in its first `objectives` numbers.
inline bool nowhere_larger(const double* a, const double* b, Index objectives) {
  return std::equal(a, a + objectives, b, [](double x, double y) { return x <= y; });
}

/// The volume that is dominated in the first `objectives` numbers by `points`, all of them below the reference there:
/// slabs along the last of these objectives, each as thick as two neighbours there are apart and as large as what all
/// points before it dominate in the others (dimension sweep: Fonseca, Paquete, Lopez-Ibanez, CEC 2006).
inline double dominated_volume(Points points, const double* reference, Index objectives) {
  const Index last = objectives - 1;
  std::sort(points.begin(), points.end(), [=](const double* a, const double* b) { return a[last] < b[last]; });
  if (objectives == 1) return points.empty() ? 0 : reference[0] - points[0][0];
  double volume = 0;
  if (objectives == 2) {
    double left = reference[0];
    for (const double* p : points) {
      if (p[0] >= left) continue;
      volume += (left - p[0]) * (reference[1] - p[1]);
      left = p[0];
    }
    return volume;
  }
  Points front;  // of the points so far, without the last objective
  double area = 0;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const double* p = points[i];
    if (std::none_of(front.begin(), front.end(), [&](const double* q) { return nowhere_larger(q, p, last); })) {
      std::erase_if(front, [&](const double* q) { return nowhere_larger(p, q, last); });
      front.push_back(p);
      area = dominated_volume(front, reference, last);
    }
    volume += area * ((i + 1 < points.size() ? points[i + 1][last] : reference[last]) - p[last]);
  }
  return volume;
}

/// The mean over `from` of the Euclidean distance to the nearest of `to`.
inline double mean_distance(const PointTable& from, const PointTable& to) {
  double sum = 0;
  for (const double* p : from.rows) {
    double nearest = std::numeric_limits<double>::infinity();
    for (const double* q : to.rows) {
      double squares = 0;
      for (Index i = 0; i < from.objectives; ++i) squares += (p[i] - q[i]) * (p[i] - q[i]);
      nearest = std::min(nearest, squares);
    }
    sum += std::sqrt(nearest);
  }
  return sum / static_cast<double>(from.rows.size());
}

/// The points and the front of a distance. Throws ShapeError unless both are of the same objectives, ValueError for no
/// points in one of them or a number that is not finite.
template <Real T>
double distance_between(const char* op, const Tensor<T>& points, const Tensor<T>& front, bool from_front, Site site) {
  const PointTable own = point_table(op, "points", points, site), known = point_table(op, "front", front, site);
  if (own.objectives != known.objectives)
    fail<ShapeError>(op, "points and front differ in objectives",
                     {{"points", points.shape()}, {"front", front.shape()}}, site);
  if (own.rows.empty() || known.rows.empty())
    fail(op, "no points", {{"points", points.shape()}, {"front", front.shape()}}, site);
  return from_front ? mean_distance(known, own) : mean_distance(own, known);
}

}  // namespace detail

/// The places, rising, of the points that no other dominates: is nowhere larger than, and somewhere smaller. Equal
/// points stay together. `points` [points, objectives]. Throws ShapeError, ValueError for a number that is not finite.
template <Real T>
Tensor<std::int64_t> non_dominated(const Tensor<T>& points, Site site = Site::current()) {
  const detail::PointTable table = detail::point_table("non_dominated", "points", points, site);
  std::vector<std::int64_t> places;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const double* p = table.rows[i];
    const auto dominates = [&](const double* q) {
      return detail::nowhere_larger(q, p, table.objectives) && !detail::nowhere_larger(p, q, table.objectives);
    };
    if (std::none_of(table.rows.begin(), table.rows.end(), dominates)) places.push_back(static_cast<std::int64_t>(i));
  }
  return from_vector(places);
}

/// The volume of what lies between some point and the reference, { y : p <= y <= reference for a point p }, exactly
/// (Zitzler, Thiele, PPSN 1998). `points` [points, objectives], `reference` [objectives], the worst values that count:
/// a point that is not below it in every objective adds nothing; no points, volume 0. A sweep for two objectives, a
/// recursion over slabs for more; its time grows as points^(objectives - 1), so it is for a handful of objectives.
/// Throws ShapeError, ValueError for a number that is not finite.
template <Real T>
double hypervolume(const Tensor<T>& points, const Tensor<T>& reference, Site site = Site::current()) {
  const char* op = "hypervolume";
  const detail::PointTable table = detail::point_table(op, "points", points, site);
  if (reference.rank() != 1 || reference.size(0) != table.objectives)
    fail<ShapeError>(op, "expected reference [objectives]",
                     {{"points", points.shape()}, {"reference", reference.shape()}}, site);
  std::vector<double> worst;
  for (const T x : host(reference)) {
    if (!std::isfinite(x)) fail(op, {"reference holds ", x}, {}, site);
    worst.push_back(static_cast<double>(x));
  }
  detail::Points below;
  for (const double* p : table.rows)
    if (std::equal(p, p + table.objectives, worst.begin(), [](double x, double y) { return x < y; }))
      below.push_back(p);
  return detail::dominated_volume(below, std::data(worst), table.objectives);
}

/// IGD: the mean over the points of a known front of the distance to the nearest of `points`; 0 if all of the front is
/// reached (Coello Coello, Reyes Sierra, MICAI 2004). `points` [points, objectives], `front` [many, objectives], spread
/// evenly. Throws ShapeError, ValueError for no points or a number that is not finite.
template <Real T>
double inverted_generational_distance(const Tensor<T>& points, const Tensor<T>& front, Site site = Site::current()) {
  return detail::distance_between("inverted_generational_distance", points, front, true, site);
}

/// GD: the mean over `points` of the distance to the nearest point of a known front (Van Veldhuizen, Lamont 1998, with
/// the mean of distances instead of the root of the sum of squares); 0 if all lie on it, however little of it they
/// cover. `points` [points, objectives], `front` [many, objectives]. Throws as `inverted_generational_distance`.
template <Real T>
double generational_distance(const Tensor<T>& points, const Tensor<T>& front, Site site = Site::current()) {
  return detail::distance_between("generational_distance", points, front, false, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
