#pragma once
// Digits of several domains: coloured so that colour and label go together, but not in every domain in the same way,
// and turned by several angles. Arjovsky, Bottou, Gulrajani, Lopez-Paz, "Invariant risk minimization", arXiv
// 1907.02893; Ghifary, Kleijn, Zhang, Balduzzi, "Domain generalization for object recognition with multi-task
// autoencoders", ICCV 2015; both as in Gulrajani, Lopez-Paz, "In search of lost domain generalization", ICLR 2021.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/options.hpp"
#include "graft/data/domain_data.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// Throws unless there are images [n, height, width, channels], `channels` of them if above 0, with a label each.
inline void check_images(const char* op, const LabelledSet<>& set, Index channels, Site site) {
  const auto& [x, y] = set;
  const bool given = x.defined() && y.defined();
  if (!given || x.rank() != 4 || (channels > 0 && x.size(3) != channels) || !(y.shape() == Shape{x.size(0)}))
    fail<ShapeError>(op, {"expected images [n, height, width, ", channels > 0 ? channels : 1, "] and labels [n]"},
                     {{"images", given ? x.shape() : Shape{0}}, {"labels", given ? y.shape() : Shape{0}}}, site);
}

/// The items of each of some domains: all are dealt out in a random order, one after another, so that sizes differ by
/// one at most. Throws ValueError for fewer items than domains.
inline std::vector<std::vector<std::int64_t>> deal(const char* op, Index items, std::size_t domains,
                                                   const Random& random, Site site) {
  if (domains == 0 || items < static_cast<Index>(domains))
    fail(op, {items, " items for ", domains, " domains"}, {}, site);
  std::vector<std::vector<std::int64_t>> hands(domains);
  std::size_t next = 0;
  for (const Index item : random.permutation(items)) hands[next++ % domains].push_back(item);
  return hands;
}

}  // namespace detail

/// How `coloured_digits` colours; the defaults are the authors'.
struct ColouredDigitOptions {
  double label_flip = 0.25;                           ///< share of items whose label is not that of their digit
  std::vector<double> colour_flip = {0.1, 0.2, 0.9};  ///< a domain each: share of items whose colour is not that of
                                                      ///< their label
};

/// Coloured digits. An image is of label 1 if its digit is 5 or above, else 0, and the other label with probability
/// `label_flip`; its colour is the label, and the other one with the domain's `colour_flip`. The ink is put into the
/// channel of the colour, 0 or 1, the other channel is 0: [n, height, width, 1] -> [n, height, width, 2]. Digits tell
/// 75 % of the labels in every domain, colours 90 %, 80 % and 10 %, so that who trusts in colours fails in the third.
/// The images are dealt out to the domains, which are called "90% colour" and so on. (The authors take every second
/// pixel of 28 x 28; load the digits at 14.) Throws ShapeError, ValueError for a share outside [0, 1], no domains, or
/// fewer images than domains.
inline DomainData coloured_digits(const LabelledSet<>& digits, const Random& random,
                                  const ColouredDigitOptions& options = {}, Site site = Site::current()) {
  const char* op = "coloured_digits";
  detail::check_images(op, digits, 1, site);
  for (const double share : options.colour_flip)
    if (!(share >= 0 && share <= 1)) fail(op, {"colour_flip is ", share, ", expected 0 to 1"}, {}, site);
  if (!(options.label_flip >= 0 && options.label_flip <= 1))
    fail(op, {"label_flip is ", options.label_flip, ", expected 0 to 1"}, {}, site);
  const auto ink = host(digits.x);
  const auto labels = host(digits.y);
  const Index pixels = digits.x.size(1) * digits.x.size(2);
  DomainData data;
  data.classes = 2;
  const auto hands = detail::deal(op, digits.x.size(0), options.colour_flip.size(), random.stream("deal"), site);
  for (std::size_t e = 0; e < hands.size(); ++e) {
    std::vector<std::int64_t> y;
    std::vector<float> x(hands[e].size() * static_cast<std::size_t>(2 * pixels));
    auto to = x.begin();
    for (const std::int64_t item : hands[e]) {
      const auto number = static_cast<std::uint64_t>(item);
      const bool label = (labels[number] >= 5) != (random.stream("labels").uniform(number) < options.label_flip);
      const bool colour = label != (random.stream("colours").uniform(number) < options.colour_flip[e]);
      y.push_back(label);
      for (Index p = 0; p < pixels; ++p, to += 2) to[colour] = ink[static_cast<std::size_t>(item * pixels + p)];
    }
    char name[64];
    std::snprintf(name, sizeof name, "%g%% colour", 100 - 100 * options.colour_flip[e]);
    data.names.push_back(name);
    data.domains.push_back(
        {from_vector(std::move(x), {std::ssize(hands[e]), digits.x.size(1), digits.x.size(2), 2}), from_vector(y)});
  }
  return data;
}

/// Images [n, height, width, channels] turned about their middle, counter-clockwise, by bilinear interpolation; 0 from
/// outside. Throws ShapeError, ValueError for an angle that is not finite.
inline Tensor<> turned_images(const Tensor<>& images, double degrees, Site site = Site::current()) {
  if (!images.defined() || images.rank() != 4)
    fail<ShapeError>("turned_images", "expected images [n, height, width, channels]",
                     {{"images", images.defined() ? images.shape() : Shape{0}}}, site);
  detail::check_option<double>("turned_images", "degrees", degrees, detail::Range::finite, site);
  if (degrees == 0) return images;
  const Index height = images.size(1), width = images.size(2), channels = images.size(3);
  const double angle = degrees * std::numbers::pi / 180, c = std::cos(angle), s = std::sin(angle);
  const double middle_x = 0.5 * static_cast<double>(width - 1), middle_y = 0.5 * static_cast<double>(height - 1);
  const auto from = host(images);
  std::vector<float> turned(from.size());
  const Index each = height * width * channels;
  for (Index row = 0; row < height; ++row)
    for (Index column = 0; column < width; ++column) {
      const double x = static_cast<double>(column) - middle_x, y = static_cast<double>(row) - middle_y;
      const double source_x = middle_x + c * x - s * y, source_y = middle_y + s * x + c * y;
      // Where a turn by a right angle rounds off a pixel's middle, it is that pixel.
      const double left = std::floor(source_x + 1e-9), top = std::floor(source_y + 1e-9);
      for (int corner = 0; corner < 4; ++corner) {
        const Index u = static_cast<Index>(left) + (corner & 1), v = static_cast<Index>(top) + (corner >> 1);
        if (u < 0 || v < 0 || u >= width || v >= height) continue;
        const double right_share = std::max(source_x - left, 0.0), lower_share = std::max(source_y - top, 0.0);
        const auto share = static_cast<float>((corner & 1 ? right_share : 1 - right_share) *
                                              (corner >> 1 ? lower_share : 1 - lower_share));
        for (Index n = 0; n < images.size(0); ++n)
          for (Index k = 0; k < channels; ++k)
            turned[static_cast<std::size_t>(n * each + (row * width + column) * channels + k)] +=
                share * from[static_cast<std::size_t>(n * each + (v * width + u) * channels + k)];
      }
    }
  return from_vector(std::move(turned), images.shape());
}

/// Rotated digits: the images are dealt out to as many domains as there are angles, and turned by the domain's. The
/// defaults are DomainBed's. Throws ShapeError, ValueError for an angle that is not finite, no angles, or fewer images
/// than angles.
inline DomainData rotated_digits(const LabelledSet<>& digits, const Random& random,
                                 const std::vector<double>& degrees = {0, 15, 30, 45, 60, 75},
                                 Site site = Site::current()) {
  detail::check_images("rotated_digits", digits, 0, site);
  DomainData data;
  for (const std::int64_t label : host(digits.y)) data.classes = std::max(data.classes, Index{label} + 1);
  const auto hands = detail::deal("rotated_digits", digits.x.size(0), degrees.size(), random.stream("deal"), site);
  for (std::size_t e = 0; e < hands.size(); ++e) {
    const Tensor<std::int64_t> items = from_vector(hands[e]);
    char name[64];
    std::snprintf(name, sizeof name, "%g degrees", degrees[e]);
    data.names.push_back(name);
    data.domains.push_back({turned_images(gather(digits.x, items), degrees[e], site), gather(digits.y, items)});
  }
  return data;
}

}  // namespace GRAFT_ABI
}  // namespace graft
