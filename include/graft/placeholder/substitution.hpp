#pragma once
// Substitution: a part of every item of the main task is taken from an item of a source task. With the main task as its
// own source, on images, it is CutMix: Yun, Han, Oh, Chun, Choe, Yoo, "CutMix: regularization strategy to train strong
// classifiers with localizable features", ICCV 2019. Of other sources there is no paper that we know of.

#include <algorithm>
#include <cmath>

#include "graft/common/marked_places.hpp"
#include "graft/common/needs.hpp"
#include "graft/common/source_plan.hpp"
#include "graft/ops/compare.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What a model is to say of an item of which a part was substituted: both tasks' answers, each by its share (`soft`),
/// or the main task's (`hide`), to which the rest must do.
enum class SubstitutionTarget { soft, hide };

/// Items of which a part was substituted.
template <class T = float>
struct Substituted {
  Tensor<T> x;         ///< as the main items
  Tensor<bool> taken;  ///< [items, places] or [items, height, width]: what is the source's
  double share = 0;    ///< of the places, the same for all items
  static constexpr DataNeeds needs{.domains = true};
};

namespace detail {

/// The sides of the box in an image of height x width whose area is nearest to rho of it and whose shape is nearest to
/// the image's: sides of about sqrt(rho) of the image's, as in CutMix.
struct Box {
  Index height = 0, width = 0;
};
inline Box box_of(double rho, Index height, Index width) {
  const double area = rho * static_cast<double>(height) * static_cast<double>(width);
  if (std::lround(area) == 0) return {};
  const double side = std::sqrt(rho) * static_cast<double>(height);
  Box best;
  double best_gap = 0;
  for (Index h = 1; h <= height; ++h) {
    const auto w = std::clamp<Index>(std::lround(area / static_cast<double>(h)), 1, width);
    // A pixel of area weighs as much as a pixel of height.
    const double gap = std::abs(static_cast<double>(h * w) - area) + std::abs(static_cast<double>(h) - side);
    if (best.height == 0 || gap < best_gap) {
      best = {h, w};
      best_gap = gap;
    }
  }
  return best;
}

/// A box anywhere in each image, by stream i of `random` for image i: `shape` [items, height, width], true there.
inline Tensor<bool> marked_boxes(const Shape& shape, const Box& box, const Random& random) {
  const Index height = shape[1], width = shape[2];
  List<std::int64_t> marked(shape.count());
  for (Index i = 0; i < shape[0]; ++i) {
    const Random own = random.stream(static_cast<std::uint64_t>(i));
    const Index top = own.below(0, height - box.height + 1), left = own.below(1, width - box.width + 1);
    for (Index y = top; y < top + box.height; ++y)
      for (Index x = left; x < left + box.width; ++x) marked[(i * height + y) * width + x] = 1;
  }
  return from_vector(marked, shape) == 1;
}

}  // namespace detail

/// (1 - B) x + B s for main items x and source items s of one shape: B is 1 at
///   round(rho places) features of every item, for items [items, places],
///   round(rho places) whole tokens, for [items, places, width],
///   one box of about rho of the pixels, for images [items, height, width, channels], whole and anywhere within (CutMix
///   lets boxes stick out, and so takes less than rho of some).
/// drawn from stream i of `random` for item i. `share` is what was taken, |B| / places. At rho 0, or where it rounds to
/// nothing, x itself; at 1 s. Gradients pass to both. Throws ShapeError, ValueError for no items and a rho outside [0,
/// 1].
template <Real T>
Substituted<T> substitute(const Tensor<T>& main, const Tensor<T>& source, double rho, const Random& random,
                          Site site = Site::current()) {
  const char* op = "substitute";
  detail::check_share(op, "rho", rho, site);
  if (main.rank() < 2 || main.rank() > 4 || !(main.shape() == source.shape()))
    fail<ShapeError>(
        op, "expected main and source items of one shape, [items, places(, width)] or [items, height, width, channels]",
        {{"main", main.shape()}, {"source", source.shape()}}, site);
  if (main.count() == 0) fail(op, "there are no items", {{"main", main.shape()}}, site);
  const bool images = main.rank() == 4;
  const Index items = main.size(0), places = images ? main.size(1) * main.size(2) : main.size(1);
  const Shape shape = images ? Shape{items, main.size(1), main.size(2)} : Shape{items, places};
  const detail::Box box = images ? detail::box_of(rho, main.size(1), main.size(2)) : detail::Box{};
  const auto each =
      images ? box.height * box.width : static_cast<Index>(std::lround(rho * static_cast<double>(places)));
  if (each == 0) return {main, zeros<bool>(shape), 0};
  const Tensor<bool> mask =
      images ? detail::marked_boxes(shape, box, random) : detail::marked_places(items, places, each, random);
  return {where(main.rank() == 2 ? mask : unsqueeze(mask, -1), source, main), mask,
          static_cast<double>(each) / static_cast<double>(places)};
}

/// (1 - share) l + share l_s for the losses of the main and the source targets, or l alone of `hide`: of one shape, []
/// or [items]. At share 0 the main loss bit for bit. Throws ShapeError, ValueError for a share outside [0, 1].
template <Real T>
Tensor<T> substituted_loss(const Tensor<T>& main, const Tensor<T>& source, double share,
                           SubstitutionTarget target = SubstitutionTarget::soft, Site site = Site::current()) {
  const char* op = "substituted_loss";
  detail::check_share(op, "share", share, site);
  if (!(main.shape() == source.shape()))
    fail<ShapeError>(op, "expected losses of one shape", {{"main", main.shape()}, {"source", source.shape()}}, site);
  if (share == 0 || target == SubstitutionTarget::hide) return main;
  return (1 - share) * main + share * source;
}

}  // namespace GRAFT_ABI
}  // namespace graft
