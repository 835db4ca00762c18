#pragma once
// Placeholders whose targets are made from the unlabelled items themselves: what was hidden of them (He, Chen, Xie, Li,
// Dollar, Girshick, "Masked autoencoders are scalable vision learners", CVPR 2022), how they were turned (Gidaris,
// Singh, Komodakis, "Unsupervised representation learning by predicting image rotations", ICLR 2018), which other view
// is theirs (van den Oord, Li, Vinyals, "Representation learning with contrastive predictive coding", 2018), which
// cluster they fall in (Caron, Bojanowski, Joulin, Douze, "Deep clustering for unsupervised learning of visual
// features", ECCV 2018), and themselves (Baldi, Hornik, "Neural networks and principal component analysis", Neural
// Networks 1989).

#include <cmath>

#include "graft/common/few_shot.hpp"
#include "graft/common/kmeans.hpp"
#include "graft/common/marked_places.hpp"
#include "graft/common/needs.hpp"
#include "graft/common/placeholder_samples.hpp"
#include "graft/common/quarter_turns.hpp"
#include "graft/model/init.hpp"
#include "graft/ops/prototypes.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `hide_places`.
struct HidePlacesOptions {
  double rate = 0.75;  ///< share of an item's places, in [0, 1]; that of He et al. for patches of images
  double fill = 0;     ///< number in the place of what is hidden
  static constexpr DataNeeds needs{.labels = false, .unlabelled = true};
};

/// Items of which places are hidden.
template <class T = float>
struct HiddenPlaces {
  Tensor<T> seen;       ///< as the items
  Tensor<bool> hidden;  ///< [items, places]
};

/// Hides round(rate places) places of every item, drawn uniformly from stream i of `random` for item i: features of
/// items [items, places], whole tokens of items [items, places, width]. At rate 0 the items come back as they are.
/// Throws ShapeError, ValueError for options out of range.
template <Real T>
HiddenPlaces<T> hide_places(const Tensor<T>& items, const Random& random, const HidePlacesOptions& o = {},
                            Site site = Site::current()) {
  const char* op = "hide_places";
  if (items.rank() != 2 && items.rank() != 3)
    fail<ShapeError>(op, "expected items [items, places] or [items, places, width]", {{"items", items.shape()}}, site);
  if (!(o.rate >= 0 && o.rate <= 1)) fail(op, {"rate is ", o.rate, ", expected in [0, 1]"}, {}, site);
  detail::check_option<T>(op, "fill", o.fill, detail::Range::finite, site);
  const Index count = items.size(0), places = items.size(1);
  const auto each = static_cast<Index>(std::lround(o.rate * static_cast<double>(places)));
  if (each == 0) return {items, zeros<bool>({count, places})};
  const Tensor<bool> mask = detail::marked_places(count, places, each, random);
  return {where(items.rank() == 3 ? unsqueeze(mask, 2) : mask, static_cast<T>(o.fill), items), mask};
}

/// The mean of (answer - item)^2 over the numbers at the hidden places, 0 if there are none: answers and items of one
/// shape [items, places] or [items, places, width], `hidden` [items, places]. Shape []. Items are constants; places
/// that were seen have no gradient. Throws ShapeError.
template <Real T>
Tensor<T> hidden_places_loss(const Tensor<T>& answers, const Tensor<T>& items, const Tensor<bool>& hidden,
                             Site site = Site::current()) {
  if (!(answers.shape() == items.shape()) || (items.rank() != 2 && items.rank() != 3) ||
      !(hidden.shape() == Shape{items.size(0), items.size(1)}))
    fail<ShapeError>("hidden_places_loss", "expected answers and items of one shape, and hidden [items, places]",
                     {{"answers", answers.shape()}, {"items", items.shape()}, {"hidden", hidden.shape()}}, site);
  const Index width = items.rank() == 3 ? items.size(2) : 1;
  const Tensor<bool> mask = items.rank() == 3 ? unsqueeze(hidden, 2) : hidden;
  const Index numbers = std::max<Index>(count_nonzero(hidden).item() * width, 1);
  return sum(where(mask, square(answers - items.detach()), T(0))) / static_cast<T>(numbers);
}

/// Images [n, size, size, channels] turned by 0 to 3 quarters, each as a sample whose target is the turn: items [4 n,
/// ...], targets [4 n, 4] for a head of its own. Throws ShapeError, ValueError without images.
template <Real T>
PlaceholderSamples<T> rotation_placeholders(const Tensor<T>& images, Site site = Site::current()) {
  if (images.rank() != 4 || images.size(1) != images.size(2))
    fail<ShapeError>("rotation_placeholders", "expected images [n, size, size, channels]", {{"images", images.shape()}},
                     site);
  const LabelledSet<T> turned = quarter_turns(images, site);
  const PlaceholderSamples<T> samples{turned.x, one_hot<T>(turned.y, 4)};
  detail::check_placeholders("rotation_placeholders", samples, site);
  return samples;
}

/// The cross-entropy of finding each item's second view among those of all items, by cosines: CE(scale u v^T, i), u and
/// v the unit rows of model(view(x, r1)) and model(view(x, r2)), [items, width]: shape []. `view(items, random)` makes
/// a view; the two are drawn from the context's streams "first view" and "second view". One item alone has loss 0.
/// Throws ShapeError, ValueError for a scale that is not positive.
template <class M, Real T, class View>
Tensor<T> contrastive_pair_loss(const M& model, const Tensor<T>& items, View view, double scale, ContextRef context,
                                Site site = Site::current()) {
  const char* op = "contrastive_pair_loss";
  detail::check_option<T>(op, "scale", scale, detail::Range::positive, site);
  if (items.rank() < 2 || items.size(0) == 0)
    fail<ShapeError>(op, "expected items [items, ...]", {{"items", items.shape()}}, site);
  const Named here(op, site);
  const Tensor<T> first = answer_of(model, view(items, context->stream("first view")), context);
  const Tensor<T> second = answer_of(model, view(items, context->stream("second view")), context);
  return cross_entropy(static_cast<T>(scale) * cosine_similarities(first, second, site),
                       arange<std::int64_t>(items.size(0)), {}, site);
}

/// Items [items, ...], each with the number of its cluster among `clusters` as target, the clusters being those of
/// `features` [items, width] by `kmeans`. Numbers of clusters mean nothing from one call to the next: Caron et al.
/// start the head anew. Throws ShapeError, ValueError as `kmeans`.
template <Real T>
PlaceholderSamples<T> cluster_placeholders(const Tensor<T>& items, const Tensor<T>& features, Index clusters,
                                           const Random& random, Site site = Site::current()) {
  const Named here("cluster_placeholders", site);
  const KMeans<T> found = kmeans(features, clusters, random, 300, site);
  const PlaceholderSamples<T> samples{items, one_hot<T>(found.labels, clusters)};
  detail::check_placeholders("cluster_placeholders", samples, site);
  return samples;
}

/// A linear autoencoder: items less their mean -> code -> items. Its least loss is the sum of the variances of all
/// principal components but the first `code`, and there the decoder spans these.
template <class T = float>
struct LinearAutoencoder {
  Tensor<T> encoder;  ///< [code, width]
  Tensor<T> decoder;  ///< [width, code]
  GRAFT_FIELDS(encoder, decoder)
  static constexpr DataNeeds needs{.labels = false, .unlabelled = true};

  LinearAutoencoder() = default;
  /// Weights normal with deviation 1 / sqrt(width). Throws ValueError unless 1 <= code <= width.
  LinearAutoencoder(Index width, Index code, const Random& random, Site site = Site::current()) {
    if (code < 1 || code > width) fail("LinearAutoencoder", {"a code of ", code, " for width ", width}, {}, site);
    const double scale = 1 / std::sqrt(static_cast<double>(width));
    encoder = scaled_normal<T>({code, width}, scale, random.stream("encoder"), site);
    decoder = scaled_normal<T>({width, code}, scale, random.stream("decoder"), site);
  }

  /// Codes [items, code] of items [items, width].
  Tensor<T> operator()(const Tensor<T>& items, Site site = Site::current()) const {
    return code_of(centred(items, site));
  }
  /// mean_i |c_i - decoder encoder c_i|^2, c = items less their mean: shape []. Throws ShapeError.
  Tensor<T> loss(const Tensor<T>& items, Site site = Site::current()) const {
    const Tensor<T> c = centred(items, site);
    return sum(square(c - matmul(code_of(c), decoder, {.transpose_b = true}))) / static_cast<T>(items.size(0));
  }

 private:
  Tensor<T> centred(const Tensor<T>& items, Site site) const {
    if (items.rank() != 2 || items.size(0) == 0 || !encoder.defined() || items.size(1) != encoder.size(1))
      fail<ShapeError>("LinearAutoencoder", "expected items [items, width] of the width that it was made for",
                       {{"items", items.shape()}, {"encoder", encoder.defined() ? encoder.shape() : Shape{0}}}, site);
    return detail::less_mean(items, items);
  }
  Tensor<T> code_of(const Tensor<T>& c) const { return matmul(c, encoder, {.transpose_b = true}); }
};

}  // namespace GRAFT_ABI
}  // namespace graft
