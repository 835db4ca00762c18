#pragma once
// The ten digits drawn as data/glyphs.hpp draws: a stand-in for handwritten digits where there is no file of them.

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "graft/data/glyphs.hpp"
#include "graft/data/item_set.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What `draw_digits` draws.
struct DrawnDigitOptions {
  Index each = 200;      ///< drawings of each digit
  Index size = 28;       ///< pixels a side
  double pen = 2.4;      ///< width in pixels of 28 a side
  double slant = 0.1;    ///< pixels to the right a pixel up
  double variation = 1;  ///< scale of everything that tells two drawings of a digit apart; 0: equal drawings
  std::uint64_t seed = 1;
};

namespace detail {

/// The strokes of a digit; those of 1, 4 and 7 are straight.
inline Glyph digit_glyph(Index digit) {
  switch (digit) {
    case 0:
      return {
          {{0, -1}, {-0.55, -0.65}, {-0.7, 0}, {-0.55, 0.65}, {0, 1}, {0.55, 0.65}, {0.7, 0}, {0.55, -0.65}, {0, -1}}};
    case 1:
      return {{{-0.35, -0.6}, {0.05, -1}, {0.05, 1}}};
    case 2:
      return {{{-0.6, -0.55}, {-0.3, -0.95}, {0.3, -0.95}, {0.6, -0.5}, {0.3, 0.1}, {-0.6, 0.95}},
              {{-0.6, 0.95}, {0.65, 0.95}}};
    case 3:
      return {{{-0.5, -0.8}, {0.1, -1}, {0.55, -0.6}, {0.1, -0.1}, {-0.1, -0.1}},
              {{-0.1, -0.1}, {0.3, -0.05}, {0.6, 0.45}, {0.1, 1}, {-0.55, 0.75}}};
    case 4:
      return {{{0.3, 1}, {0.3, -1}, {-0.65, 0.35}, {0.7, 0.35}}};
    case 5:
      return {{{0.55, -0.95}, {-0.4, -0.95}},
              {{-0.4, -0.95}, {-0.5, -0.15}},
              {{-0.5, -0.15}, {0.1, -0.3}, {0.6, 0.25}, {0.2, 0.9}, {-0.55, 0.85}}};
    case 6:
      return {{{0.45, -0.95}, {-0.3, -0.4}, {-0.6, 0.4}, {-0.1, 1}, {0.5, 0.6}, {0.35, 0.05}, {-0.2, 0}, {-0.55, 0.4}}};
    case 7:
      return {{{-0.6, -0.9}, {0.6, -0.9}, {-0.1, 1}}};
    case 8:
      return {{{0.05, -0.05},
               {-0.45, -0.5},
               {0, -1},
               {0.45, -0.5},
               {-0.05, 0},
               {-0.55, 0.5},
               {0, 1},
               {0.55, 0.5},
               {0.05, -0.05}}};
    default:
      return {{{0.5, -0.5}, {0.1, -1}, {-0.5, -0.6}, {-0.35, -0.1}, {0.2, -0.05}, {0.5, -0.5}, {0.45, 0.2}, {0.2, 1}}};
  }
}

}  // namespace detail

/// Drawings of the ten digits as items [size, size, 1] with ink in [0, 1], `each` of "digit 0", then of "digit 1" and
/// so on: bright on dark, as `load_digits` reads them. A drawing depends on (seed, digit, number) alone, and each is by
/// another hand. Throws ValueError for options out of range.
inline ItemSet draw_digits(const DrawnDigitOptions& options = {}, Site site = Site::current()) {
  const char* op = "draw_digits";
  if (options.each < 1 || options.size < 1)
    fail(op, {options.each, " drawings of each digit, ", options.size, " pixels a side"}, {}, site);
  for (const auto& [name, value] :
       {std::pair("pen", options.pen), std::pair("slant", options.slant), std::pair("variation", options.variation)})
    detail::check_option<double>(op, name, value, detail::Range::finite, site);
  if (!(options.pen > 0) || options.variation < 0 || options.variation > 2)
    fail(op, {"pen is ", options.pen, ", variation ", options.variation, ", expected above 0, and 0 to 2"}, {}, site);
  constexpr Index pixels = detail::kGlyphPixels * detail::kGlyphPixels;
  std::vector<std::uint8_t> images(static_cast<std::size_t>(10 * options.each * pixels));
  parallel_jobs(10 * options.each, [&](Index i) {
    const Index digit = i / options.each;
    const Random own = Random(options.seed).stream("digit", digit).stream("drawing", i % options.each);
    const bool straight = digit == 1 || digit == 4 || digit == 7;
    detail::GlyphStyle style;
    style.smoothness = straight ? 0 : 1;
    style.size = 0.75;
    style.aspect = 0.8;
    style.slant = -options.slant;  // of a frame whose y points down
    const detail::GlyphHand hand = detail::glyph_hand(own.stream("hand"), options.variation);
    const auto lines =
        detail::trace_glyph(detail::digit_glyph(digit), style, hand, own.stream("motion"), options.variation);
    detail::render_lines(lines, options.pen * hand.pen, std::data(images) + i * pixels);
  });
  std::vector<std::string> names;
  for (int digit = 0; digit < 10; ++digit) names.push_back("digit " + std::to_string(digit));
  const Index each = options.each;
  const Tensor<std::int64_t> labels = generate({10 * each}, [each](Index i) -> std::int64_t { return i / each; });
  return image_items(images, detail::kGlyphPixels, detail::kGlyphPixels, options.size, labels, names, "drawn digits",
                     site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
