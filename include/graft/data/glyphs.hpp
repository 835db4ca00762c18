#pragma once
// A procedural stand-in for handwriting: characters of alphabets that nobody has seen, drawn by people who do not
// exist. glyph_alphabets.hpp makes the characters; a drawing repeats a character's strokes with motor noise, an affine
// change and a smooth warp, and renders them anti-aliased. Every drawing depends on (seed, alphabet, character, drawer)
// only, through named random streams, so the images have the same bits on any number of threads.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/list.hpp"
#include "graft/core/parallel.hpp"
#include "graft/data/characters.hpp"
#include "graft/data/glyph_alphabets.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What `make_glyphs` makes.
struct GlyphOptions {
  Index alphabets = 30;
  Index test_alphabets = 8;   ///< the last ones; all their characters have split 1
  Index characters_min = 20;  ///< characters of an alphabet, uniform in [min, max]
  Index characters_max = 30;
  Index drawers = 20;  ///< drawings of each character
  std::uint64_t seed = 1;
  double variation = 1;  ///< scale of everything that tells two drawings of one character apart; 0: equal drawings
};

namespace detail {

inline constexpr int kGlyphPixels = 28;

/// How one person writes one alphabet: changes that all their drawings share.
struct GlyphHand {
  double slant, rotation, width, height, pen;
};

inline GlyphHand glyph_hand(Random stream, double variation) {
  Draws draws(stream);
  GlyphHand hand;
  hand.slant = 0.10 * variation * draws.normal();
  hand.rotation = 0.05 * variation * draws.normal();
  hand.width = std::exp(0.08 * variation * draws.normal());
  hand.height = std::exp(0.08 * variation * draws.normal());
  hand.pen = std::exp(0.10 * variation * draws.normal());
  return hand;
}

/// A smooth displacement of the plane: two waves of low frequency for each direction.
class SmoothWarp {
 public:
  SmoothWarp(Draws& draws, double amplitude) {
    for (Wave& wave : waves_) {
      const double angle = draws.uniform(0, 2 * std::numbers::pi), frequency = draws.uniform(1.2, 3.2);
      wave.direction = {frequency * std::cos(angle), frequency * std::sin(angle)};
      wave.phase = draws.uniform(0, 2 * std::numbers::pi);
      wave.amplitude = draws.normals(amplitude);
    }
  }
  Point operator()(Point p) const {
    Point moved = p;
    for (const Wave& wave : waves_)
      moved = moved + std::sin(wave.direction.x * p.x + wave.direction.y * p.y + wave.phase) * wave.amplitude;
    return moved;
  }

 private:
  struct Wave {
    Point direction, amplitude;
    double phase;
  };
  std::array<Wave, 3> waves_;
};

using Polyline = std::vector<Point>;

/// Points of the cardinal spline through `points`, about two pixels apart; tension 0 gives straight pieces.
inline Polyline spline(const std::vector<Point>& points, double smoothness) {
  const auto last = static_cast<std::ptrdiff_t>(points.size()) - 1;
  const auto point = [&](std::ptrdiff_t i) {
    return points[static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(i, 0, last))];
  };
  Polyline line{points.front()};
  for (std::ptrdiff_t i = 0; i < last; ++i) {
    const Point start = point(i), end = point(i + 1);
    const Point leave = 0.5 * smoothness * (end - point(i - 1)), arrive = 0.5 * smoothness * (point(i + 2) - start);
    const int pieces = 1 + static_cast<int>(5 * length(end - start));
    for (int k = 1; k <= pieces; ++k) {
      const double t = static_cast<double>(k) / pieces, t2 = t * t, t3 = t2 * t;
      line.push_back((2 * t3 - 3 * t2 + 1) * start + (t3 - 2 * t2 + t) * leave + (3 * t2 - 2 * t3) * end +
                     (t3 - t2) * arrive);
    }
  }
  return line;
}

/// The lines of one drawing in pixels, from the top left corner of the image.
inline std::vector<Polyline> trace_glyph(const Glyph& glyph, const GlyphStyle& style, const GlyphHand& hand,
                                         Random stream, double variation) {
  Draws draws(stream);
  const double rotation = hand.rotation + 0.06 * variation * draws.normal();
  const double slant = style.slant + hand.slant + 0.06 * variation * draws.normal();
  const double half = 0.5 * kGlyphPixels * style.size;
  const double width = half * style.aspect * hand.width * std::exp(0.08 * variation * draws.normal());
  const double height = half * hand.height * std::exp(0.08 * variation * draws.normal());
  const Point shift = draws.normals(1.0 * variation);
  const SmoothWarp warp(draws, 0.06 * variation);
  const double c = std::cos(rotation), s = std::sin(rotation);

  std::vector<Polyline> lines;
  Point low{1e9, 1e9}, high{-1e9, -1e9};
  for (const GlyphStroke& stroke : glyph) {
    // Motor noise: the stroke as a whole, then each of its control points.
    Point centre;
    for (const Point& p : stroke) centre = centre + (1.0 / static_cast<double>(stroke.size())) * p;
    const Point offset = draws.normals(0.05 * variation);
    const double scale = std::exp(0.08 * variation * draws.normal()), turn = 0.08 * variation * draws.normal();
    std::vector<Point> points;
    for (const Point& p : stroke) {
      const Point arm = scale * (p - centre);
      points.push_back(centre + offset + Point{arm.x - turn * arm.y, arm.y + turn * arm.x} +
                       draws.normals(0.03 * variation));
    }
    Polyline line = spline(points, style.smoothness);
    for (Point& p : line) {
      const Point w = warp(p);
      const Point upright{width * w.x - slant * height * w.y, height * w.y};
      p = Point{c * upright.x - s * upright.y, s * upright.x + c * upright.y} + shift;
      low = {std::min(low.x, p.x), std::min(low.y, p.y)};
      high = {std::max(high.x, p.x), std::max(high.y, p.y)};
    }
    lines.push_back(std::move(line));
  }
  // Nobody writes over the edge of the paper.
  const double room = 0.5 * kGlyphPixels - 1.5;
  const double shrink = std::min(1.0, 2 * room / std::max({high.x - low.x, high.y - low.y, 1.0}));
  const Point corner = shrink * low, opposite = shrink * high;
  const auto inside = [&](double from, double to) { return std::max(-room - from, 0.0) + std::min(room - to, 0.0); };
  const Point move =
      Point{inside(corner.x, opposite.x), inside(corner.y, opposite.y)} + Point{0.5 * kGlyphPixels, 0.5 * kGlyphPixels};
  for (Polyline& line : lines)
    for (Point& p : line) p = shrink * p + move;
  return lines;
}

/// Draws lines with a round pen of `width` pixels. The coverage of a pixel is taken from its centre's distance to the
/// nearest line, linear over one pixel at the pen's edge.
inline void render_lines(const std::vector<Polyline>& lines, double width, std::uint8_t* image) {
  std::array<float, kGlyphPixels * kGlyphPixels> ink{};
  const float radius = 0.5f * static_cast<float>(width), reach = radius + 0.5f;
  const auto pixel = [](float v) { return static_cast<int>(std::clamp(v, 0.f, static_cast<float>(kGlyphPixels))); };
  for (const Polyline& line : lines)
    for (std::size_t i = 0; i + 1 < line.size(); ++i) {
      const auto ax = static_cast<float>(line[i].x), ay = static_cast<float>(line[i].y);
      const float dx = static_cast<float>(line[i + 1].x) - ax, dy = static_cast<float>(line[i + 1].y) - ay;
      const float squared = std::max(dx * dx + dy * dy, 1e-12f);
      const int left = pixel(std::min(ax, ax + dx) - reach), right = pixel(std::max(ax, ax + dx) + reach + 1);
      const int top = pixel(std::min(ay, ay + dy) - reach), bottom = pixel(std::max(ay, ay + dy) + reach + 1);
      for (int y = top; y < bottom; ++y)
        for (int x = left; x < right; ++x) {
          const float px = static_cast<float>(x) + 0.5f - ax, py = static_cast<float>(y) + 0.5f - ay;
          const float t = std::clamp((px * dx + py * dy) / squared, 0.f, 1.f);
          const float ex = px - t * dx, ey = py - t * dy;
          const float coverage = std::clamp(reach - std::sqrt(ex * ex + ey * ey), 0.f, 1.f);
          float& target = std::data(ink)[y * kGlyphPixels + x];
          target = std::max(target, coverage);
        }
    }
  for (std::size_t i = 0; i < ink.size(); ++i) image[i] = static_cast<std::uint8_t>(std::lround(255 * ink[i]));
}

/// A character as its alphabet's model would draw it, blurred by a box of 5 x 5 pixels and of unit length: what two
/// characters must differ in.
inline std::vector<float> glyph_outline(const Glyph& glyph, const GlyphStyle& style) {
  std::array<std::uint8_t, kGlyphPixels * kGlyphPixels> image;
  render_lines(trace_glyph(glyph, style, glyph_hand(Random(), 0), Random(), 0), style.pen, std::data(image));
  std::vector<float> blurred;
  double squares = 0;
  for (int y = 0; y < kGlyphPixels; ++y)
    for (int x = 0; x < kGlyphPixels; ++x) {
      float sum = 0;
      for (int v = std::max(y - 2, 0); v <= std::min(y + 2, kGlyphPixels - 1); ++v)
        for (int u = std::max(x - 2, 0); u <= std::min(x + 2, kGlyphPixels - 1); ++u)
          sum += std::data(image)[v * kGlyphPixels + u];
      blurred.push_back(sum);
      squares += static_cast<double>(sum) * sum;
    }
  for (float& value : blurred) value /= static_cast<float>(std::sqrt(squares));
  return blurred;
}

/// The characters of one alphabet, each unlike the ones before it.
inline std::vector<Glyph> alphabet_glyphs(const GlyphStyle& style, Random stream, Index count) {
  constexpr double alike = 0.85;  // cosine of two outlines above which a reader would take one for the other
  std::vector<Glyph> glyphs;
  std::vector<std::vector<float>> outlines;
  for (Index i = 0; i < count; ++i) {
    Draws draws(stream.stream(static_cast<std::uint64_t>(i)));
    double least = 2;
    Glyph best;
    std::vector<float> best_outline;
    for (int attempt = 0; attempt < 40 && least > alike; ++attempt) {
      Glyph glyph = compose_glyph(style, glyphs, draws);
      std::vector<float> outline = glyph_outline(glyph, style);
      double nearest = 0;
      for (const auto& other : outlines) {
        double cosine = 0;
        for (std::size_t p = 0; p < outline.size(); ++p) cosine += static_cast<double>(outline[p]) * other[p];
        nearest = std::max(nearest, cosine);
      }
      if (nearest < least) {
        least = nearest;
        best = std::move(glyph);
        best_outline = std::move(outline);
      }
    }
    glyphs.push_back(std::move(best));
    outlines.push_back(std::move(best_outline));
  }
  return glyphs;
}

/// Throws ValueError for options out of range.
inline void check_glyph_options(const char* op, const GlyphOptions& options) {
  const auto range = [op](const char* name, Index value, Index low, Index high) {
    if (value < low || value > high) fail(op, {name, " is ", value, ", expected ", low, " to ", high});
  };
  range("alphabets", options.alphabets, 1, 10000);
  range("test_alphabets", options.test_alphabets, 0, options.alphabets);
  range("characters_min", options.characters_min, 1, 1000);
  range("characters_max", options.characters_max, options.characters_min, 1000);
  range("drawers", options.drawers, 1, 10000);
  if (!(options.variation >= 0 && options.variation <= 2))
    fail(op, {"variation is ", options.variation, ", expected 0 to 2"});
}

inline Random alphabet_stream(const GlyphOptions& options, Index alphabet) {
  return Random(options.seed).stream("glyphs", alphabet);
}

/// The characters that are drawn, with the style of each alphabet.
struct GlyphSet {
  List<GlyphStyle> styles;
  List<Index> first_character;  // of each alphabet, and the number of all
  List<Glyph> glyphs;
};
inline GlyphSet glyph_set(const GlyphOptions& options) {
  GlyphSet set;
  Index characters = 0;
  for (Index a = 0; a < options.alphabets; ++a) {
    set.first_character.push_back(characters);
    characters +=
        options.characters_min +
        alphabet_stream(options, a).stream("characters").below(0, options.characters_max - options.characters_min + 1);
  }
  set.first_character.push_back(characters);
  set.styles = List<GlyphStyle>(options.alphabets);
  set.glyphs = List<Glyph>(characters);
  parallel_tasks(options.alphabets, [&](Index a) {
    const Random own = alphabet_stream(options, a);
    set.styles[a] = glyph_style(own.stream("style"));
    auto made =
        alphabet_glyphs(set.styles[a], own.stream("character"), set.first_character[a + 1] - set.first_character[a]);
    std::move(made.begin(), made.end(), set.glyphs.begin() + set.first_character[a]);
  });
  return set;
}

}  // namespace detail

/// Makes images [characters * drawers, 28, 28] of generated handwriting, ordered by character and then by drawer, with
/// whole alphabets held out (`split`). The first alphabets, characters and drawings of a larger set are those of a
/// smaller.
///
/// How hard the default is: given one drawing of each of five characters, the one nearest in pixels (Euclidean
/// distance) is of the right character for 0.59 of drawings by another person where the five are of any held-out
/// alphabets, and for 0.55 within one alphabet. On the 172 characters of split 1 of Omniglot's background set the same
/// has 0.40 and 0.38. Errors: ValueError for options out of range.
GRAFT_ONCE CharacterImages make_glyphs(const GlyphOptions& options = {}) {
  detail::check_glyph_options("make_glyphs", options);
  const detail::GlyphSet set = detail::glyph_set(options);
  CharacterImages data;
  for (Index a = 0; a < options.alphabets; ++a) {
    const Index count = set.first_character[a + 1] - set.first_character[a];
    data.alphabet_names.push_back("glyphs_" + detail::as_text(a));
    data.character_alphabet.insert(data.character_alphabet.end(), static_cast<std::size_t>(count), a);
    data.split.insert(data.split.end(), static_cast<std::size_t>(count),
                      a >= options.alphabets - options.test_alphabets);
  }
  const Index characters = data.character_count();
  for (Index c = 0; c < characters; ++c)
    for (Index d = 0; d < options.drawers; ++d) {
      data.character_id.push_back(c);
      data.alphabet_id.push_back(data.character_alphabet[static_cast<std::size_t>(c)]);
      data.drawer_id.push_back(d);
    }

  constexpr Index pixels = detail::kGlyphPixels * detail::kGlyphPixels;
  data.images.resize(static_cast<std::size_t>(data.image_count() * pixels));
  parallel_tasks(characters, [&](Index c) {
    const Index a = data.character_alphabet[static_cast<std::size_t>(c)];
    const detail::GlyphStyle& style = set.styles[a];
    const auto in_alphabet = static_cast<std::uint64_t>(c - set.first_character[a]);
    for (Index d = 0; d < options.drawers; ++d) {
      const auto drawer = static_cast<std::uint64_t>(d);
      const detail::GlyphHand hand =
          detail::glyph_hand(detail::alphabet_stream(options, a).stream("hand").stream(drawer), options.variation);
      const auto lines = detail::trace_glyph(
          set.glyphs[c], style, hand,
          detail::alphabet_stream(options, a).stream("drawing").stream(in_alphabet).stream(drawer), options.variation);
      detail::render_lines(lines, style.pen * hand.pen, std::data(data.images) + (c * options.drawers + d) * pixels);
    }
  });
  return data;
}
GRAFT_HELD(CharacterImages make_glyphs<>(const GlyphOptions&))

}  // namespace GRAFT_ABI
}  // namespace graft
