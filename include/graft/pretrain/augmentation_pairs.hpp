#pragma once
// Two views of each image tell each other from all others of the batch. Chen, Kornblith, Norouzi, Hinton, "A simple
// framework for contrastive learning of visual representations" (SimCLR), ICML 2020. Views are changes of
// data/augment.hpp, which suit drawings; the authors' crops and colours are for photographs.

#include <limits>
#include <vector>

#include "graft/common/needs.hpp"
#include "graft/common/pretext.hpp"
#include "graft/core/options.hpp"
#include "graft/data/augment.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/elementwise.hpp"
#include "graft/ops/losses.hpp"
#include "graft/ops/matmul.hpp"
#include "graft/ops/statistics.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The loss NT-Xent of views a_i and b_i of item i, [items, width] each: the mean over all 2N views z of
///   -ln(e^(z . z' / t) / sum over the other 2N - 1 views y of e^(z . y / t)),
/// rows over their norms, z' the other view of z's item, t the temperature: shape []. 0 for one item, ln(2N - 1) when
/// all views are alike. An item that occurs twice is its own negative. Throws ShapeError, ValueError for a temperature
/// that is not positive.
template <Real T>
Tensor<T> nt_xent(const Tensor<T>& a, const Tensor<T>& b, double temperature = 0.5, Site site = Site::current()) {
  if (a.rank() != 2 || !(a.shape() == b.shape()) || a.size(0) == 0)
    fail<ShapeError>("nt_xent", "expected two views [items, width] of one item or more",
                     {{"a", a.shape()}, {"b", b.shape()}}, site);
  detail::check_option<T>("nt_xent", "temperature", temperature, detail::Range::positive, site);
  const Index items = a.size(0), views = 2 * items;
  const Tensor<T> z = unit_rows(concat(std::vector{a, b}, 0, site), site);
  const Tensor<T> scores = matmul(z, z, {.transpose_b = true}, site) * (1 / temperature);
  const Tensor<bool> itself = generate({views, views}, [](Index i, Index j) { return i == j; });
  const auto partner = generate({views}, [items, views](Index i) { return (i + items) % views; });
  return cross_entropy(where(itself, -std::numeric_limits<T>::infinity(), scores), partner, {}, site);
}

/// Two changed copies of images [n, height, width, channels].
struct ViewPair {
  Tensor<> first, second;
};

/// Draws them by streams of their own: with all limits 0 both are the images, bit for bit. No gradient goes to the
/// images. Throws as `augment`.
inline ViewPair view_pair(const Tensor<>& images, const AugmentOptions& views, const Random& random,
                          Site site = Site::current()) {
  return {augment(images, views, random.stream("first"), site), augment(images, views, random.stream("second"), site)};
}

/// Options of `ContrastivePretext`.
struct ContrastiveOptions {
  Index projection = 128;    ///< numbers of the projection that the loss looks at; the authors'
  double temperature = 0.5;  ///< the authors' best for small images (CIFAR-10); for ImageNet they take 0.1
  /// Moderate, for drawings of 28 pixels; not from the paper.
  AugmentOptions views = {.degrees = 15, .scale = 0.2, .shear = 0.2, .shift = 2};
};

/// The task for any encoder of images, seen through a projection fc2(relu(fc1(h))), which is thrown away after
/// training: pretext(encoder, images, context) is `nt_xent` of the projections of a `view_pair`. All views are encoded
/// as one batch.
struct ContrastivePretext {
  Linear<> fc1, fc2;  ///< width -> width -> projection
  ContrastiveOptions options;
  GRAFT_FIELDS(fc1, fc2)
  GRAFT_CONFIG(options)
  static constexpr DataNeeds needs{.labels = false, .unlabelled = true};

  ContrastivePretext() = default;
  /// For embeddings of `width` numbers; initial values of `Linear`. Throws ValueError for a projection of no numbers
  /// and a temperature that is not positive.
  ContrastivePretext(Index width, const Random& random, const ContrastiveOptions& o = {}, Site site = Site::current())
      : options(o) {
    if (width < 1 || o.projection < 1)
      fail("ContrastivePretext", {"a projection of ", width, " to ", o.projection, " numbers"}, {}, site);
    detail::check_option<float>("ContrastivePretext", "temperature", o.temperature, detail::Range::positive, site);
    fc1 = Linear<>(width, width, random.stream("fc1"), {}, site);
    fc2 = Linear<>(width, o.projection, random.stream("fc2"), {}, site);
  }

  /// `encoder(images, context)` or `encoder(images)` -> [items, width]; images [n, height, width, channels], the views
  /// from the context's stream "views". Shape []. Throws as `nt_xent` and `augment`.
  template <class Encoder>
  Tensor<> operator()(const Encoder& encoder, const Tensor<>& images, ContextRef context,
                      Site site = Site::current()) const {
    const Named here("ContrastivePretext", site);
    const ViewPair views = view_pair(images, options.views, context->stream("views"), site);
    const Tensor<> both = concat(std::vector{views.first, views.second}, 0, site);
    const Tensor<> seen = detail::encoded_items("ContrastivePretext", encoder, both, fc1.weight.size(1), context, site);
    const Tensor<> z = fc2(relu(fc1(seen, site)), site);
    const Index n = images.size(0);
    return nt_xent(slice(z, 0, 0, n, 1, site), slice(z, 0, n, 2 * n, 1, site), options.temperature, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
