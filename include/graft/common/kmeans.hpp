#pragma once
// k-means. Lloyd, "Least squares quantization in PCM", IEEE Transactions on Information Theory 1982; first centres by
// Arthur, Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007.

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "graft/common/checks.hpp"
#include "graft/core/list.hpp"
#include "graft/ops/arithmetic.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What `kmeans` finds.
template <class T = float>
struct KMeans {
  Tensor<T> centres;            ///< [clusters, width]
  Tensor<std::int64_t> labels;  ///< [items]: the cluster of each item
  List<double> costs;           ///< sum_i |x_i - its centre|^2 of every round, which never rises
};

namespace detail {

/// Lloyd's rounds on the host, in double.
class Clusters {
 public:
  Clusters(List<double> x, Index items, Index width, Index clusters)
      : x_(std::move(x)),
        items_(items),
        width_(width),
        clusters_(clusters),
        centres_(clusters * width),
        labels_(items),
        distances_(items) {}

  /// The first centre is any item, the next ones are drawn by the square of the distance to the nearest centre before;
  /// of items that lie on centres all, the first.
  void start(const Random& random) {
    List<double> nearest(items_, std::numeric_limits<double>::infinity());
    Index chosen = random.below(0, items_);
    for (Index k = 0; k < clusters_; ++k) {
      for (Index w = 0; w < width_; ++w) centres_[k * width_ + w] = x_[chosen * width_ + w];
      double total = 0;
      for (Index i = 0; i < items_; ++i) total += nearest[i] = std::min(nearest[i], squared_distance(i, k));
      const double drawn = random.uniform(static_cast<std::uint64_t>(k) + 1) * total;
      double sum = 0;
      chosen = 0;
      for (Index i = 0; i < items_; ++i) {
        if (nearest[i] > 0) chosen = i;
        sum += nearest[i];
        if (nearest[i] > 0 && sum > drawn) break;
      }
    }
  }

  /// Gives every item to its nearest centre, the first of equals, and every cluster that is left without items the one
  /// that is furthest from its centre, the first of equals, of those in clusters of two or more. Returns the cost.
  double assign() {
    List<Index> members(clusters_);
    for (Index i = 0; i < items_; ++i) {
      distances_[i] = std::numeric_limits<double>::infinity();
      for (Index k = 0; k < clusters_; ++k)
        if (const double d = squared_distance(i, k); d < distances_[i]) {
          distances_[i] = d;
          labels_[i] = k;
        }
      ++members[labels_[i]];
    }
    for (Index k = 0; k < clusters_; ++k) {
      if (members[k] > 0) continue;
      Index furthest = -1;
      for (Index i = 0; i < items_; ++i)
        if (members[labels_[i]] > 1 && (furthest < 0 || distances_[i] > distances_[furthest])) furthest = i;
      --members[labels_[furthest]];
      labels_[furthest] = k;
      distances_[furthest] = 0;
      ++members[k];
    }
    double cost = 0;
    for (const double d : distances_) cost += d;
    return cost;
  }

  /// Moves every centre to the mean of its items, of which each cluster has one.
  void move() {
    centres_.assign(static_cast<std::size_t>(clusters_ * width_), 0.0);
    List<double> members(clusters_);
    for (Index i = 0; i < items_; ++i) {
      const double share = 1 / ++members[labels_[i]];
      for (Index w = 0; w < width_; ++w) {
        double& centre = centres_[labels_[i] * width_ + w];
        centre += share * (x_[i * width_ + w] - centre);
      }
    }
  }

  const List<double>& centres() const { return centres_; }
  const List<std::int64_t>& labels() const { return labels_; }
  void set_labels(const List<std::int64_t>& labels) { labels_ = labels; }

 private:
  double squared_distance(Index i, Index k) const {
    double sum = 0;
    for (Index w = 0; w < width_; ++w) {
      const double gap = x_[i * width_ + w] - centres_[k * width_ + w];
      sum += gap * gap;
    }
    return sum;
  }

  List<double> x_;
  Index items_, width_, clusters_;
  List<double> centres_;
  List<std::int64_t> labels_;
  List<double> distances_;
};

}  // namespace detail

/// Clusters of items x [items, width]: first centres by k-means++, then rounds of "every item to its nearest centre,
/// every centre to the mean of its items" until the cost no longer falls, `rounds` at most (300 as in scikit-learn). A
/// cluster without items takes the item that is furthest from its centre. Ties go to the lower number, so that the
/// result depends on x and `random` alone. Distances are sums of squared differences in double: a common part of all
/// items costs no accuracy. Carries no gradient. Throws ShapeError, ValueError for fewer items than clusters, no
/// clusters or rounds, and numbers that are not finite or too large to be squared.
template <Real T>
KMeans<T> kmeans(const Tensor<T>& x, Index clusters, const Random& random, Index rounds = 300,
                 Site site = Site::current()) {
  const char* op = "kmeans";
  if (x.rank() != 2) fail<ShapeError>(op, "expected items [items, width]", {{"x", x.shape()}}, site);
  detail::check_count(op, "clusters", clusters, 1, site);
  detail::check_count(op, "rounds", rounds, 1, site);
  const Index items = x.size(0), width = x.size(1);
  if (items < clusters) fail(op, {clusters, " clusters of ", items, " items"}, {{"x", x.shape()}}, site);
  List<double> numbers;
  for (const T number : host(x)) {
    if (!(std::abs(static_cast<double>(number)) < 1e150))
      fail(op, {"an item has the number ", static_cast<double>(number)}, {{"x", x.shape()}}, site);
    numbers.push_back(static_cast<double>(number));
  }
  detail::Clusters found(std::move(numbers), items, width, clusters);
  found.start(random);
  KMeans<T> result;
  result.costs.push_back(found.assign());
  for (Index round = 1; round < rounds && result.costs.back() > 0; ++round) {
    const List<std::int64_t> labels = found.labels();
    found.move();
    const double cost = found.assign();
    if (!(cost < result.costs.back())) {
      found.set_labels(labels);
      break;
    }
    result.costs.push_back(cost);
  }
  found.move();  // the means of the last clusters
  result.labels = from_vector(found.labels());
  result.centres = cast<T>(from_vector(found.centres(), {clusters, width}));
  return result;
}

}  // namespace GRAFT_ABI
}  // namespace graft
