#pragma once
// Images changed at random, so that training sees more of them: affine maps, and elastic distortions as of Simard,
// Steinkraus, Platt, "Best practices for convolutional neural networks applied to visual document analysis", ICDAR
// 2003.

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "graft/core/options.hpp"
#include "graft/core/parallel.hpp"
#include "graft/core/random.hpp"
#include "graft/core/tensor.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How far images are changed; everything at 0 leaves them as they are. Each is drawn uniformly from -limit to limit.
struct AugmentOptions {
  double degrees = 0;  ///< turn about the middle
  double scale = 0;    ///< size as a share: 0.1 is from 0.9 to 1.1
  double shear = 0;    ///< pixels to the side a pixel down
  double shift = 0;    ///< pixels, down and to the side
  double alpha = 0;    ///< of the elastic displacement field, in pixels; Simard et al.: 34 for images of 29 pixels
  double sigma = 4;    ///< deviation in pixels of the Gaussian that smooths it

  /// False where every limit is 0.
  bool changes() const { return degrees != 0 || scale != 0 || shear != 0 || shift != 0 || alpha != 0; }
};

namespace detail {

/// Numbers uniform in (-alpha, alpha), smoothed along both axes by a Gaussian whose weights sum to 1, 0 outside:
/// [height, width].
inline std::vector<double> displacements(Index height, Index width, const AugmentOptions& o, const Random& random) {
  std::vector<double> field(static_cast<std::size_t>(height * width)), smooth(field.size());
  for (std::size_t i = 0; i < field.size(); ++i) field[i] = o.alpha * random.uniform(i, -1, 1);
  // Beyond three deviations a weight is below a ninetieth of the middle one; beyond the image there is nothing.
  const auto reach = static_cast<Index>(std::min(std::ceil(3 * o.sigma), static_cast<double>(std::max(height, width))));
  std::vector<double> weights;
  double total = 0;
  for (Index d = -reach; d <= reach; ++d) {
    const double at = static_cast<double>(d) / o.sigma;
    weights.push_back(std::exp(-0.5 * at * at));
    total += weights.back();
  }
  const auto along = [&](const std::vector<double>& from, std::vector<double>& to, Index lines, Index length,
                         Index line_step, Index step) {
    for (Index line = 0; line < lines; ++line)
      for (Index i = 0; i < length; ++i) {
        double sum = 0;
        for (Index d = -reach; d <= reach; ++d)
          if (i + d >= 0 && i + d < length)
            sum += weights[static_cast<std::size_t>(d + reach)] *
                   from[static_cast<std::size_t>(line * line_step + (i + d) * step)];
        to[static_cast<std::size_t>(line * line_step + i * step)] = sum / total;
      }
  };
  along(field, smooth, height, width, width, 1);
  along(smooth, field, width, height, 1, width);
  return field;
}

/// One image [height, width, channels], read between its pixels; 0 outside.
inline void distort(const float* from, float* to, Index height, Index width, Index channels, const AugmentOptions& o,
                    const Random& random) {
  const double angle = random.uniform(0, -o.degrees, o.degrees) * std::numbers::pi / 180;
  const double size = 1 + random.uniform(1, -o.scale, o.scale), shear = random.uniform(2, -o.shear, o.shear);
  const double down = random.uniform(3, -o.shift, o.shift), right = random.uniform(4, -o.shift, o.shift);
  // A new pixel is looked up where the map takes it from: moved back, turned back, sheared back, made larger or
  // smaller.
  const double c = std::cos(angle) / size, s = std::sin(angle) / size;
  const double middle_y = 0.5 * static_cast<double>(height - 1), middle_x = 0.5 * static_cast<double>(width - 1);
  std::vector<double> by_y, by_x;
  if (o.alpha > 0) {
    by_y = displacements(height, width, o, random.stream("down"));
    by_x = displacements(height, width, o, random.stream("right"));
  }
  const auto pixel = [&](Index y, Index x, Index channel) {
    return y >= 0 && y < height && x >= 0 && x < width ? static_cast<double>(from[(y * width + x) * channels + channel])
                                                       : 0.0;
  };
  for (Index y = 0; y < height; ++y)
    for (Index x = 0; x < width; ++x) {
      const auto at = static_cast<std::size_t>(y * width + x);
      const double v = static_cast<double>(y) - middle_y - down, u = static_cast<double>(x) - middle_x - right;
      const double turned_v = c * v - s * u, turned_u = s * v + c * u - shear * turned_v;
      // All is 0 from a pixel outside on, so no place need be further off.
      const double source_y =
          std::clamp(middle_y + turned_v + (o.alpha > 0 ? by_y[at] : 0), -2.0, static_cast<double>(height + 1));
      const double source_x =
          std::clamp(middle_x + turned_u + (o.alpha > 0 ? by_x[at] : 0), -2.0, static_cast<double>(width + 1));
      const auto y0 = static_cast<Index>(std::floor(source_y)), x0 = static_cast<Index>(std::floor(source_x));
      const double fy = source_y - static_cast<double>(y0), fx = source_x - static_cast<double>(x0);
      for (Index k = 0; k < channels; ++k)
        to[static_cast<Index>(at) * channels + k] =
            static_cast<float>((1 - fy) * ((1 - fx) * pixel(y0, x0, k) + fx * pixel(y0, x0 + 1, k)) +
                               fy * ((1 - fx) * pixel(y0 + 1, x0, k) + fx * pixel(y0 + 1, x0 + 1, k)));
    }
}

}  // namespace detail

/// Images [n, height, width, channels], each turned, resized, sheared, moved and bent by its own draw: image i depends
/// on stream i of `random` alone. A value is read between pixels (bilinear), outside there is 0. The images come back
/// as they are, bit for bit, where every limit is 0. Carries no gradient. Throws ShapeError, and ValueError for a limit
/// below 0, a scale of 1 or more, or a sigma that is not positive.
GRAFT_ONCE Tensor<> augment(const Tensor<>& images, const AugmentOptions& o, const Random& random,
                            Site site = Site::current()) {
  using detail::Range;
  const char* op = "augment";
  if (images.rank() != 4)
    fail<ShapeError>(op, "expected images [n, height, width, channels]", {{"images", images.shape()}}, site);
  for (const auto& [name, value] : {std::pair("degrees", o.degrees),
                                    {"scale", o.scale},
                                    {"shear", o.shear},
                                    {"shift", o.shift},
                                    {"alpha", o.alpha}})
    detail::check_option<float>(op, name, value, Range::not_negative, site);
  detail::check_option<float>(op, "sigma", o.sigma, Range::positive, site);
  if (o.scale >= 1) fail(op, {"scale is ", o.scale, ", expected less than 1"}, {}, site);
  if (!o.changes()) return images;
  const Index n = images.size(0), height = images.size(1), width = images.size(2), channels = images.size(3);
  const Index each = height * width * channels;
  std::vector<float> changed(static_cast<std::size_t>(n * each));
  const float* const from = std::data(host(images));
  parallel_tasks(n, [&](Index i) {
    detail::distort(from + i * each, std::data(changed) + i * each, height, width, channels, o,
                    random.stream(static_cast<std::uint64_t>(i)));
  });
  return from_vector(std::move(changed), images.shape());
}
GRAFT_HELD(Tensor<> augment<>(const Tensor<>&, const AugmentOptions&, const Random&, Site))

}  // namespace GRAFT_ABI
}  // namespace graft
