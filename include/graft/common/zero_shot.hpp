#pragma once
// What zero-shot methods share: classes that are told of by a vector each, of which only some have items to train on,
// and the bilinear score of an item and such a vector.

#include <cmath>

#include "graft/core/list.hpp"
#include "graft/core/options.hpp"
#include "graft/model/fields.hpp"
#include "graft/model/init.hpp"
#include "graft/ops/compare.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/matmul.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Classes by their signatures, attributes or vectors of descriptions, and which of them training may see. Labels count
/// among all classes; training takes them among the seen ones, which keep their order.
template <class T = float>
struct ZeroShotClasses {
  Tensor<T> signatures;  ///< [classes, attributes]
  Tensor<bool> seen;     ///< [classes]

  /// Throws ShapeError unless there is a signature of an attribute or more for each class, ValueError where one holds a
  /// NaN or an infinity or no class is seen.
  ZeroShotClasses(const Tensor<T>& of_classes, const Tensor<bool>& seen_classes, Site site = Site::current())
      : signatures(of_classes), seen(seen_classes), numbers_(seen_classes.count(), -1) {
    if (signatures.rank() != 2 || signatures.size(1) < 1 || !(seen.shape() == Shape{signatures.size(0)}))
      fail<ShapeError>("ZeroShotClasses", "expected signatures [classes, attributes] and seen [classes]",
                       {{"signatures", signatures.shape()}, {"seen", seen.shape()}}, site);
    Index place = 0;
    for (const T value : host(signatures)) {
      if (!std::isfinite(value))
        fail("ZeroShotClasses",
             {"attribute ", place % signatures.size(1), " of class ", place / signatures.size(1), " is ", value}, {},
             site);
      ++place;
    }
    Index at = 0, next = 0;
    for (const bool is_seen : host(seen)) {
      if (is_seen) numbers_[at] = next++;
      ++at;
    }
    if (next == 0) fail("ZeroShotClasses", {"none of ", at, " classes is seen"}, {}, site);
    places_ = nonzero(seen);
  }

  Index classes() const { return signatures.size(0); }
  Index seen_classes() const { return places_.size(0); }
  Index attributes() const { return signatures.size(1); }
  /// Numbers of the seen classes, [seen classes].
  const Tensor<std::int64_t>& seen_places() const { return places_; }
  /// [seen classes, attributes]
  Tensor<T> seen_signatures() const { return gather(signatures, places_); }
  /// Labels [items] of training items, counted among the seen classes. Throws IndexError for one out of range,
  /// ValueError for an item of an unseen class.
  Tensor<std::int64_t> seen_labels(const Tensor<std::int64_t>& labels, Site site = Site::current()) const {
    List<std::int64_t> among(labels.count());
    Index item = 0;
    for (const std::int64_t label : host(labels)) {
      if (label < 0 || label >= classes())
        fail<IndexError>("ZeroShotClasses", {"item ", item, " has label ", label, " of ", classes(), " classes"}, {},
                         site);
      if (numbers_[label] < 0)
        fail("ZeroShotClasses", {"training item ", item, " is of class ", label, ", which is unseen"}, {}, site);
      among[item++] = numbers_[label];
    }
    return from_vector(among, labels.shape());
  }

 private:
  Tensor<std::int64_t> places_;
  List<std::int64_t> numbers_;  // of each class among the seen ones, -1 of an unseen one
};

/// Scores x W s' [items, classes] of items [items, width] and signatures [classes, attributes] of any classes.
template <class T = float>
struct Compatibility {
  Tensor<T> weight;  ///< W [width, attributes]
  GRAFT_FIELDS(weight)

  Compatibility() = default;
  explicit Compatibility(Tensor<T> w) : weight(std::move(w)) {}
  /// Normal with deviation 1 / sqrt(width). Throws ValueError for sizes below 1.
  Compatibility(Index width, Index attributes, const Random& random, Site site = Site::current()) {
    if (width < 1 || attributes < 1)
      fail("Compatibility", {"of ", width, " numbers and ", attributes, " attributes"}, {}, site);
    weight = scaled_normal<T>({width, attributes}, 1 / std::sqrt(static_cast<double>(width)), random, site);
  }

  /// Throws ShapeError for another width or number of attributes.
  Tensor<T> operator()(const Tensor<T>& x, const Tensor<T>& signatures, Site site = Site::current()) const {
    if (x.rank() != 2 || x.size(1) != weight.size(0) || signatures.rank() != 2 || signatures.size(1) != weight.size(1))
      fail<ShapeError>("Compatibility",
                       {"expected items [items, ", weight.size(0), "] and signatures [classes, ", weight.size(1), "]"},
                       {{"x", x.shape()}, {"signatures", signatures.shape()}}, site);
    return matmul(matmul(x, weight, {}, site), signatures, {.transpose_b = true}, site);
  }
};

namespace detail {

/// Throws ShapeError unless there are items [items, ...] with a label each, one or more.
template <class T>
void check_zero_shot_items(const char* op, const Tensor<T>& x, const Tensor<std::int64_t>& labels, Site site) {
  if (x.rank() != 2 || x.size(0) == 0 || !(labels.shape() == Shape{x.size(0)}))
    fail<ShapeError>(op, "expected items [items, width], one or more, and labels [items]",
                     {{"items", x.shape()}, {"labels", labels.shape()}}, site);
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
