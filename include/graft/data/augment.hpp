#pragma once
// Images changed at random, so that training sees more of them: affine maps, and elastic distortions as of Simard,
// Steinkraus, Platt, "Best practices for convolutional neural networks applied to visual document analysis", ICDAR
// 2003.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <span>
#include <vector>

#include "graft/core/options.hpp"
#include "graft/core/parallel.hpp"
#include "graft/core/random.hpp"
#include "graft/core/tensor.hpp"
#include "graft/ops/matmul.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How far images are changed; everything at 0 leaves them as they are. But for `mirror` and `sigma` each is a limit:
/// drawn uniformly from -limit to limit.
struct AugmentOptions {
  double degrees = 0;  ///< turn about the middle
  double scale = 0;    ///< size as a share: 0.1 is from 0.9 to 1.1
  double shear = 0;    ///< pixels to the side a pixel down
  double shift = 0;    ///< pixels, down and to the side
  double mirror = 0;   ///< the share of images that are mirrored, left to right
  double alpha = 0;    ///< of the elastic displacement field, in pixels; Simard et al.: 34 for images of 29 pixels
  double sigma = 4;    ///< deviation in pixels of the Gaussian that smooths it

  /// False where every limit is 0.
  bool changes() const { return degrees != 0 || scale != 0 || shear != 0 || shift != 0 || mirror != 0 || alpha != 0; }
};

namespace detail {

/// The matrix that smooths `length` numbers by a Gaussian, 0 outside of them: [length, length], g(row - column) with
/// the weights g at all distances that count summing to 1.
inline Tensor<> smoothing(Index length, double sigma) {
  const auto weight = [&](Index d) { return std::exp(-0.5 * std::pow(static_cast<double>(d) / sigma, 2)); };
  // Beyond three deviations a weight is below a ninetieth of the middle one; beyond the image there is nothing.
  const auto reach = static_cast<Index>(std::min(std::ceil(3 * sigma), static_cast<double>(length)));
  double total = 0;
  for (Index d = -reach; d <= reach; ++d) total += weight(d);
  return generate({length, length}, [&](Index i, Index j) {
    return static_cast<float>(std::abs(i - j) > reach ? 0 : weight(i - j) / total);
  });
}

/// How far each pixel of each group's images is read from its place, down and to the side: numbers uniform in (-alpha,
/// alpha), smoothed along both axes, [groups, 2, height, width]. Those of group i depend on stream `groups[i]` alone.
inline Tensor<> displacements(std::span<const std::int64_t> groups, Index height, Index width, const AugmentOptions& o,
                              const Random& random) {
  const Index n = std::ssize(groups);
  std::vector<float> noise(static_cast<std::size_t>(2 * n * height * width));
  const std::span<float> all(noise);
  parallel_tasks(n, [&](Index i) {
    const Random own = random.stream(static_cast<std::uint64_t>(groups[i])).stream("displacements");
    const std::span<float> field =
        all.subspan(static_cast<std::size_t>(2 * i * height * width), static_cast<std::size_t>(2 * height * width));
    for (std::size_t k = 0; k < field.size(); ++k) field[k] = static_cast<float>(own.uniform(k, -o.alpha, o.alpha));
  });
  return matmul(matmul(smoothing(height, o.sigma), from_vector(std::move(noise), {n, 2, height, width})),
                smoothing(width, o.sigma));
}

/// One image [height, width, channels], read between its pixels; 0 outside. `displaced` [2, height, width] or null.
inline void distort(const float* from, float* to, Index height, Index width, Index channels, const AugmentOptions& o,
                    const float* displaced, const Random& random) {
  const double angle = random.uniform(0, -o.degrees, o.degrees) * std::numbers::pi / 180;
  const double size = 1 + random.uniform(1, -o.scale, o.scale), shear = random.uniform(2, -o.shear, o.shear);
  const double down = random.uniform(3, -o.shift, o.shift), right = random.uniform(4, -o.shift, o.shift);
  const double side = random.uniform(5) < o.mirror ? -1 : 1;
  // A new pixel is looked up where the map takes it from: moved back, turned back, sheared back, made larger or
  // smaller.
  const double c = std::cos(angle) / size, s = std::sin(angle) / size;
  const double middle_y = 0.5 * static_cast<double>(height - 1), middle_x = 0.5 * static_cast<double>(width - 1);
  const auto pixel = [&](Index y, Index x, Index channel) {
    return y >= 0 && y < height && x >= 0 && x < width ? static_cast<double>(from[(y * width + x) * channels + channel])
                                                       : 0.0;
  };
  for (Index y = 0; y < height; ++y)
    for (Index x = 0; x < width; ++x) {
      const Index at = y * width + x;
      const double v = static_cast<double>(y) - middle_y - down, u = static_cast<double>(x) - middle_x - right;
      const double turned_v = c * v - s * u, turned_u = s * v + c * u - shear * turned_v;
      // All is 0 from a pixel outside on, so no place need be further off.
      const double by_y = displaced ? static_cast<double>(displaced[at]) : 0,
                   by_x = displaced ? static_cast<double>(displaced[height * width + at]) : 0;
      const double source_y = std::clamp(middle_y + turned_v + by_y, -2.0, static_cast<double>(height + 1));
      const double source_x = std::clamp(middle_x + side * turned_u + by_x, -2.0, static_cast<double>(width + 1));
      const auto y0 = static_cast<Index>(std::floor(source_y)), x0 = static_cast<Index>(std::floor(source_x));
      const double fy = source_y - static_cast<double>(y0), fx = source_x - static_cast<double>(x0);
      for (Index k = 0; k < channels; ++k)
        to[at * channels + k] =
            static_cast<float>((1 - fy) * ((1 - fx) * pixel(y0, x0, k) + fx * pixel(y0, x0 + 1, k)) +
                               fy * ((1 - fx) * pixel(y0 + 1, x0, k) + fx * pixel(y0 + 1, x0 + 1, k)));
    }
}

}  // namespace detail

/// Images [n, height, width, channels], each mirrored, turned, resized, sheared, moved and bent by the draw of its
/// group [n], any numbers: all of a group are changed alike, as stream `group` of `random` says. A value is read
/// between pixels (bilinear), outside there is 0. The images come back as they are, bit for bit, where every limit is
/// 0. Carries no gradient. Throws ShapeError, and ValueError for a limit below 0, a scale of 1 or more, a share above
/// 1, or a sigma that is not positive.
GRAFT_ONCE Tensor<> augment(const Tensor<>& images, const Tensor<std::int64_t>& groups, const AugmentOptions& o,
                            const Random& random, Site site = Site::current()) {
  using detail::Range;
  const char* op = "augment";
  if (images.rank() != 4 || groups.rank() != 1 || groups.size(0) != images.size(0))
    fail<ShapeError>(op, "expected images [n, height, width, channels] and groups [n]",
                     {{"images", images.shape()}, {"groups", groups.shape()}}, site);
  for (const auto& [name, value] : {std::pair("degrees", o.degrees),
                                    {"scale", o.scale},
                                    {"shear", o.shear},
                                    {"shift", o.shift},
                                    {"mirror", o.mirror},
                                    {"alpha", o.alpha}})
    detail::check_option<float>(op, name, value, Range::not_negative, site);
  detail::check_option<float>(op, "sigma", o.sigma, Range::positive, site);
  if (o.scale >= 1) fail(op, {"scale is ", o.scale, ", expected less than 1"}, {}, site);
  if (o.mirror > 1) fail(op, {"mirror is ", o.mirror, ", expected at most 1"}, {}, site);
  if (!o.changes()) return images;
  const Index n = images.size(0), height = images.size(1), width = images.size(2), channels = images.size(3);
  const Index each = height * width * channels;
  const std::span<const std::int64_t> group = host(groups);
  std::vector<std::int64_t> distinct(group.begin(), group.end());  // a group's displacements are made once
  std::sort(distinct.begin(), distinct.end());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  const Tensor<> fields = o.alpha > 0 ? detail::displacements(distinct, height, width, o, random) : Tensor<>();
  std::vector<float> changed(static_cast<std::size_t>(n * each));
  const float *const from = std::data(host(images)), *const displaced = o.alpha > 0 ? std::data(host(fields)) : nullptr;
  parallel_tasks(n, [&](Index i) {
    const Index place = std::lower_bound(distinct.begin(), distinct.end(), group[i]) - distinct.begin();
    detail::distort(from + i * each, std::data(changed) + i * each, height, width, channels, o,
                    displaced ? displaced + 2 * place * height * width : nullptr,
                    random.stream(static_cast<std::uint64_t>(group[i])));
  });
  return from_vector(std::move(changed), images.shape());
}
GRAFT_HELD(Tensor<> augment<>(const Tensor<>&, const Tensor<std::int64_t>&, const AugmentOptions&, const Random&, Site))

/// The same, each image by a draw of its own: image i depends on stream i of `random` alone.
GRAFT_ONCE Tensor<> augment(const Tensor<>& images, const AugmentOptions& o, const Random& random,
                            Site site = Site::current()) {
  const Index n = images.rank() > 0 ? images.size(0) : 0;
  return augment(images, generate({n}, [](Index i) -> std::int64_t { return i; }), o, random, site);
}
GRAFT_HELD(Tensor<> augment<>(const Tensor<>&, const AugmentOptions&, const Random&, Site))

}  // namespace GRAFT_ABI
}  // namespace graft
