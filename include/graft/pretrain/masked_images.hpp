#pragma once
// Masked image modelling: most patches of an image are hidden and drawn from the rest. He, Chen, Xie, Li, Dollar,
// Girshick, "Masked autoencoders are scalable vision learners" (MAE), CVPR 2022: share of patches, targets and loss. In
// the form of Xie et al., "SimMIM: a simple framework for masked image modeling", CVPR 2022: the encoder sees the whole
// image, a learned token in the place of hidden patches, and one linear layer draws; so any encoder of images will do.
// With noise in the place of masks, a denoising autoencoder: Vincent, Larochelle, Bengio, Manzagol, ICML 2008.

#include <algorithm>
#include <cmath>

#include "graft/common/needs.hpp"
#include "graft/common/pretext.hpp"
#include "graft/core/list.hpp"
#include "graft/core/options.hpp"
#include "graft/model/init.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/compare.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How images are hidden and compared; the defaults are MAE's, but for the patch, which is 16 of 224 pixels there.
struct MaskedImageOptions {
  Index patch = 4;          ///< height and width of a patch in pixels, which must divide those of the images
  double rate = 0.75;       ///< share of the patches that are hidden, rounded up to whole patches
  double noise = 0;         ///< deviation of normal noise on the pixels that are seen
  bool everywhere = false;  ///< the loss is of all patches, as a denoising autoencoder's, not of the hidden ones alone
  bool normalise = false;   ///< targets are patches less their mean, over their deviation; MAE: a little better
  bool per_patch = false;   ///< the encoder gives a vector a patch, [n, patches, width], not one an image
  static constexpr DataNeeds needs{.labels = false, .unlabelled = true};
};

/// Images with hidden patches.
template <class T = float>
struct MaskedImages {
  Tensor<T> seen;       ///< as the images
  Tensor<bool> hidden;  ///< [n, patches]
};

namespace detail {

inline void check_masked_images(const char* op, const Shape& images, const MaskedImageOptions& o, Site site) {
  if (images.rank() != 4)
    fail<ShapeError>(op, "expected images [n, height, width, channels]", {{"images", images}}, site);
  if (o.patch < 1 || images[1] % o.patch != 0 || images[2] % o.patch != 0)
    fail(op, {"patches of ", o.patch, " do not tile images of ", images[1], " x ", images[2]}, {{"images", images}},
         site);
  if (!(o.rate >= 0 && o.rate <= 1)) fail(op, {"rate is ", o.rate, ", expected a share of 1"}, {}, site);
  check_option<double>(op, "noise", o.noise, Range::not_negative, site);
}

}  // namespace detail

/// Images [n, height, width, channels] as patches [n, patches, patch patch channels], row by row, each row by row.
/// Throws ShapeError, ValueError for patches that do not tile the images.
template <class T>
Tensor<T> patches_of(const Tensor<T>& images, Index patch, Site site = Site::current()) {
  detail::check_masked_images("patches_of", images.shape(), {.patch = patch}, site);
  const Index n = images.size(0), rows = images.size(1) / patch, columns = images.size(2) / patch,
              each = images.size(3);
  const Tensor<T> parts = permute(reshape(images, {n, rows, patch, columns, patch, each}), {0, 1, 3, 2, 4, 5}, site);
  return reshape(parts, {n, rows * columns, patch * patch * each});
}

/// Hides the same number of patches in every image [n, height, width, channels], those of image i by stream i of
/// `random`: `token` [patch, patch, channels] stands there. Noise, if any, comes first, by a stream of its own. At rate
/// and noise 0 the images stay as they are, bit for bit. Throws ShapeError, ValueError for patches that do not tile the
/// images, a rate outside [0, 1], noise below 0.
template <Real T>
MaskedImages<T> mask_images(const Tensor<T>& images, const Tensor<T>& token, const Random& random,
                            const MaskedImageOptions& o = {}, Site site = Site::current()) {
  const char* op = "mask_images";
  detail::check_masked_images(op, images.shape(), o, site);
  const Index n = images.size(0), height = images.size(1), width = images.size(2), channels = images.size(3);
  if (!(token.shape() == Shape{o.patch, o.patch, channels}))
    fail<ShapeError>(op, "expected a token [patch, patch, channels]",
                     {{"images", images.shape()}, {"token", token.shape()}}, site);
  const Index columns = width / o.patch, patches = height / o.patch * columns;
  const auto kept = static_cast<Index>(std::floor(static_cast<double>(patches) * (1 - o.rate)));
  Tensor<T> seen = images;
  if (o.noise > 0) seen = seen + static_cast<T>(o.noise) * randn<T>(images.shape(), random.stream("noise"));
  List<char> hidden(n * patches);
  const Random places = random.stream("patches");
  for (Index i = 0; i < n && kept < patches; ++i)
    for (const Index at : places.stream(static_cast<std::uint64_t>(i)).permutation(patches, patches - kept))
      hidden[i * patches + at] = 1;
  const auto is_hidden = [&](Index i, Index at) { return hidden[i * patches + at] != 0; };
  if (kept < patches) {
    const Tensor<bool> pixels = generate({n, height, width, 1}, [&](Index i, Index y, Index x, Index) {
      return is_hidden(i, y / o.patch * columns + x / o.patch);
    });
    const Tensor<T> tile = broadcast_to(reshape(token, {1, o.patch, 1, o.patch, channels}),
                                        {height / o.patch, o.patch, columns, o.patch, channels}, site);
    seen = where(pixels, reshape(tile, {1, height, width, channels}), seen, site);
  }
  return {seen, generate({n, patches}, is_hidden)};
}

/// The mean over hidden patches of the mean squared error of their pixels, 0 if none is hidden: `drawn` [n, patches,
/// patch patch channels], `hidden` [n, patches], shape []. What is drawn at other patches gets no gradient, but with
/// `everywhere`. Normalised targets are divided by the root of the unbiased variance + 1e-6. Throws ShapeError,
/// ValueError for patches that do not tile the images.
template <Real T>
Tensor<T> masked_image_loss(const Tensor<T>& drawn, const Tensor<T>& images, const Tensor<bool>& hidden,
                            const MaskedImageOptions& o = {}, Site site = Site::current()) {
  const char* op = "masked_image_loss";
  detail::check_masked_images(op, images.shape(), o, site);
  Tensor<T> targets = patches_of(images, o.patch, site);
  const Index pixels = targets.size(2);
  if (!(drawn.shape() == targets.shape()) || !(hidden.shape() == Shape{targets.size(0), targets.size(1)}))
    fail<ShapeError>(op, "expected drawn [n, patches, pixels] and hidden [n, patches] of the images",
                     {{"drawn", drawn.shape()}, {"hidden", hidden.shape()}, {"patches", targets.shape()}}, site);
  if (o.normalise) {
    const Tensor<T> centred = targets - mean(targets, {2}, true);
    const Tensor<T> variance = sum(square(centred), {2}, true) / static_cast<T>(std::max<Index>(pixels - 1, 1));
    targets = centred / sqrt(variance + 1e-6);
  }
  const Tensor<T> errors = mean(square(drawn - targets), {2});
  const Tensor<bool> counted = o.everywhere ? ones<bool>(hidden.shape()) : hidden;
  const auto marks = host(counted);
  const auto count = static_cast<Index>(std::count(marks.begin(), marks.end(), true));
  return sum(where(counted, errors, 0)) / static_cast<T>(std::max<Index>(count, 1));
}

/// The task with token and decoder of its own, for any encoder of images: pretext(encoder, images, context) is
/// `masked_image_loss` of decoder(encoder(seen)). After training the encoder is what one keeps. A denoising
/// autoencoder:
/// {.rate = 0, .noise = 0.5, .everywhere = true}.
template <class T = float>
struct MaskedImagePretext {
  Tensor<T> token;    ///< [patch, patch, channels]
  Linear<T> decoder;  ///< width -> the pixels of an image, or of a patch
  MaskedImageOptions options;
  GRAFT_FIELDS(token, decoder)
  GRAFT_CONFIG(options)
  static constexpr DataNeeds needs{.labels = false, .unlabelled = true};

  MaskedImagePretext() = default;
  /// For images [n, height, columns, channels] and embeddings of `width` numbers; the token is normal with deviation
  /// 0.02. Throws as `mask_images`.
  MaskedImagePretext(const Shape& image, Index width, const Random& random, const MaskedImageOptions& o = {},
                     Site site = Site::current())
      : options(o) {
    const char* op = "MaskedImagePretext";
    if (image.rank() != 3 || width < 1)
      fail<ShapeError>(op, {"expected an image [height, width, channels] and embeddings, got ", width, " numbers"},
                       {{"image", image}}, site);
    detail::check_masked_images(op, {1, image[0], image[1], image[2]}, o, site);
    token = scaled_normal<T>({o.patch, o.patch, image[2]}, 0.02, random.stream("token"), site);
    const Index pixels = o.per_patch ? o.patch * o.patch * image[2] : image.count();
    decoder = Linear<T>(width, pixels, random.stream("decoder"), {}, site);
  }

  /// `encoder(images, context)` or `encoder(images)` -> [n, width], with `per_patch` [n, patches, width], patches row
  /// by row; images [n, height, width, channels], what is hidden by the context's stream "masks". Shape []. Throws
  /// ShapeError.
  template <class Encoder>
  Tensor<T> operator()(const Encoder& encoder, const Tensor<T>& images, ContextRef context,
                       Site site = Site::current()) const {
    const char* op = "MaskedImagePretext";
    const Named here(op, site);
    const MaskedImages<T> masked = mask_images(images, token, context->stream("masks"), options, site);
    const Tensor<T> drawn =
        decoder(detail::encoded_items(op, encoder, masked.seen, decoder.weight.size(1), context, site), site);
    if (drawn.count() != images.count())
      fail<ShapeError>(op, "the decoder does not draw as many numbers as the images have",
                       {{"drawn", drawn.shape()}, {"images", images.shape()}}, site);
    if (options.per_patch)
      return masked_image_loss(reshape(drawn, {images.size(0), masked.hidden.size(1), decoder.weight.size(0)}), images,
                               masked.hidden, options, site);
    return masked_image_loss(patches_of(reshape(drawn, images.shape()), options.patch, site), images, masked.hidden,
                             options, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
