#pragma once
// The alphabets of `make_glyphs`: what an alphabet's characters have in common, and how characters are composed. After
// the generative account of handwriting of Lake, Salakhutdinov and Tenenbaum (Science 2015): an alphabet has a small
// inventory of stroke shapes, and a character puts a few of them into relation, free or starting on an earlier stroke.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

#include "graft/core/random.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// Position in a character's own frame: x to the right, y down, ink mostly within [-1, 1].
struct Point {
  double x = 0, y = 0;
  friend Point operator+(Point a, Point b) { return {a.x + b.x, a.y + b.y}; }
  friend Point operator-(Point a, Point b) { return {a.x - b.x, a.y - b.y}; }
  friend Point operator*(double s, Point a) { return {s * a.x, s * a.y}; }
};
inline double length(Point a) { return std::sqrt(a.x * a.x + a.y * a.y); }

/// Takes the numbers of one stream in turn.
class Draws {
 public:
  explicit Draws(Random stream) : stream_(stream) {}
  double uniform(double low, double high) { return stream_.uniform(next_++, low, high); }
  bool chance(double probability) { return uniform(0, 1) < probability; }
  Index below(Index bound) { return stream_.below(next_++, bound); }
  /// Standard normal, cut at three deviations: one wild point would make a drawing unreadable.
  double normal() {
    next_ += next_ & 1;  // a normal number takes a whole pair of the stream
    const double value = stream_.normal(next_);
    next_ += 2;
    return std::clamp(value, -3.0, 3.0);
  }
  Point normals(double scale) {
    const double x = normal();
    return {scale * x, scale * normal()};
  }
  template <class T>
  const T& pick(const std::vector<T>& values) {
    return values[static_cast<std::size_t>(below(static_cast<Index>(values.size())))];
  }

 private:
  Random stream_;
  std::uint64_t next_ = 0;
};

/// A stroke shape from (0, 0) to (1, 0) as control points.
struct StrokeShape {
  std::vector<Point> points;
  double shortest = 0.7;  // least distance of its ends at which a pen can still draw it
};

/// Control points of one stroke in the character's frame.
using GlyphStroke = std::vector<Point>;
using Glyph = std::vector<GlyphStroke>;

/// What all characters of an alphabet have in common.
struct GlyphStyle {
  double smoothness = 1;  // 0: straight pieces between control points, 1: rounded (tension of the cardinal spline)
  double pen = 1;         // pen width in pixels
  double slant = 0;       // shear: dx per dy
  double size = 0.8, aspect = 1;           // half height of a large character; width over height
  std::array<double, 4> stroke_weights{};  // how likely a character has 1, 2, 3, 4 strokes
  double attached = 0.5;                   // chance that a stroke starts on an earlier one
  double aligned = 0.5;                    // chance that a stroke is turned upright or level
  double derived = 0;                      // chance that a character is an earlier one mirrored, or with a stroke more
  double dotted = 0;                       // chance of one or two dots
  std::vector<Point> anchors;              // where strokes like to start and end
  std::vector<StrokeShape> inventory;      // the stroke shapes of the alphabet
  Glyph common;  // strokes that every character has: a head line, a stem, a base line; mostly none
};

enum class StrokeKind { line, arc, wave, hook, angle, zigzag, cup, step, curl, spiral, circle, triangle, diamond };

/// Control points of a kind of stroke; `b` is its height over the distance of its ends, `s` where along it the turn is.
inline StrokeShape stroke_shape(StrokeKind kind, double b, double s) {
  switch (kind) {
    case StrokeKind::line:
      return {{{0, 0}, {1, 0}}};
    case StrokeKind::arc:
      return {{{0, 0}, {0.14, 0.6 * b}, {s, b}, {0.86, 0.6 * b}, {1, 0}}};
    case StrokeKind::wave:
      return {{{0, 0}, {0.25, 0.6 * b}, {0.5, 0}, {0.75, -0.6 * b}, {1, 0}}};
    case StrokeKind::hook:
      return {{{0, 0}, {0.55, 0}, {0.95, 0.08 * b}, {1.05, 0.45 * b}, {0.8, 0.7 * b}}};
    case StrokeKind::angle:
      return {{{0, 0}, {s, b}, {1, 0}}};
    case StrokeKind::zigzag:
      return {{{0, 0}, {0.33, 0.5 * b}, {0.66, -0.5 * b}, {1, 0}}, 0.9};
    case StrokeKind::cup:
      return {{{0, 0}, {0, 0.9 * b}, {1, 0.9 * b}, {1, 0}}};
    case StrokeKind::step:
      return {{{0, 0}, {s, 0}, {s, 0.8 * b}, {1, 0.8 * b}}};
    case StrokeKind::curl:
      return {{{0, 0}, {0.5, 0.05}, {0.85, 0.4 * b}, {0.6, 0.8 * b}, {0.35, 0.4 * b}, {1, 0}}, 1.1};
    case StrokeKind::spiral:
      return {{{0, 0}, {0.45, 0.8 * b}, {1, 0.1}, {0.6, -0.5 * b}, {0.35, 0.05}}, 1.2};
    case StrokeKind::circle: {
      StrokeShape circle;
      for (int i = 0; i < 7; ++i) {
        const double angle = std::numbers::pi * (1 + i / 3.0);
        circle.points.push_back({0.5 + 0.5 * std::cos(angle), b * std::sin(angle)});
      }
      return circle;
    }
    case StrokeKind::triangle:
      return {{{0, 0}, {1, 0}, {s, 1.2 * b}, {0, 0}}, 0.9};
    case StrokeKind::diamond:
      return {{{0, 0}, {s, b}, {1, 0}, {s, -b}, {0, 0}}, 0.9};
  }
  return {};
}

/// Where the strokes of an alphabet start and end.
inline std::vector<Point> anchor_layout(Draws& draws) {
  std::vector<Point> anchors;
  switch (draws.below(5)) {
    case 0:  // the nine points of a square
      for (double y : {-1.0, 0.0, 1.0})
        for (double x : {-1.0, 0.0, 1.0}) anchors.push_back({x, y});
      break;
    case 1:  // two tall columns
      for (double y : {-1.0, -0.3, 0.3, 1.0})
        for (double x : {-0.7, 0.7}) anchors.push_back({x, y});
      break;
    case 2:  // a ring and its centre
      for (int i = 0; i < 6; ++i)
        anchors.push_back({std::sin(i * std::numbers::pi / 3), -std::cos(i * std::numbers::pi / 3)});
      anchors.push_back({0, 0});
      break;
    case 3:  // three rows between a head line and a base line
      for (double y : {-0.75, 0.1, 0.9})
        for (double x : {-0.9, -0.3, 0.3, 0.9}) anchors.push_back({x, y});
      break;
    default:  // points of the alphabet's own, kept apart
      for (int attempt = 0; attempt < 200 && anchors.size() < 8; ++attempt) {
        const Point candidate{draws.uniform(-1, 1), draws.uniform(-1, 1)};
        bool apart = true;
        for (const Point& other : anchors) apart = apart && length(candidate - other) > 0.55;
        if (apart) anchors.push_back(candidate);
      }
  }
  return anchors;
}

inline GlyphStyle glyph_style(Random stream) {
  using K = StrokeKind;
  Draws draws(stream);
  GlyphStyle style;
  // Three families of writing: cut into something hard, written round, and a mixture.
  const std::vector<K> cut = {K::line, K::line, K::angle,    K::angle,  K::zigzag,
                              K::cup,  K::step, K::triangle, K::diamond};
  const std::vector<K> written = {K::line, K::arc, K::arc, K::wave, K::hook, K::cup, K::curl, K::circle, K::spiral};
  const Index family = draws.below(3);
  style.smoothness = family == 0 ? 0 : draws.uniform(0.7, 1.1);
  style.pen = draws.uniform(1.1, 1.9);
  style.slant = draws.chance(0.6) ? 0 : draws.uniform(-0.35, 0.35);
  style.size = draws.uniform(0.6, 0.85);
  style.aspect = draws.uniform(0.7, 1.1);
  const double complexity = draws.uniform(0, 1);
  style.stroke_weights = {0.5 * (1 - complexity), 0.6, 0.2 + 0.4 * complexity, 0.3 * complexity * complexity};
  style.attached = draws.uniform(0.3, 0.95);
  style.aligned = draws.uniform(0.2, 0.9);
  style.derived = draws.chance(0.5) ? draws.uniform(0.2, 0.5) : 0;
  style.dotted = draws.chance(0.25) ? draws.uniform(0.2, 0.5) : 0;
  style.anchors = anchor_layout(draws);
  const Index shapes = 3 + draws.below(4);
  for (Index i = 0; i < shapes; ++i) {
    const bool straight = family == 0 || (family == 2 && draws.chance(0.5));
    const K kind = draws.pick(straight ? cut : written);
    const double bulge = draws.uniform(0.3, 0.8);  // named, because the order of arguments' evaluation is open
    style.inventory.push_back(stroke_shape(kind, bulge, draws.uniform(0.3, 0.7)));
  }
  const std::array<GlyphStroke, 3> lines = {{
      {{-1, -0.85}, {1, -0.85}},  // a head line
      {{-0.6, -1}, {-0.6, 1}},    // a stem
      {{-1, 0.85}, {1, 0.85}},    // a base line
  }};
  const Index common = draws.below(9);
  if (common < 3) style.common = {lines[static_cast<std::size_t>(common)]};
  return style;
}

/// Lays a stroke shape from `from` to `to`, mirrored across the line between them if `flipped`.
inline GlyphStroke place_stroke(const StrokeShape& shape, Point from, Point to, bool flipped) {
  const Point along = to - from, across = (flipped ? -1.0 : 1.0) * Point{-along.y, along.x};
  GlyphStroke stroke;
  for (const Point& p : shape.points) stroke.push_back(from + p.x * along + p.y * across);
  return stroke;
}

/// One more stroke for `glyph`, which does not repeat one that it has.
inline GlyphStroke next_stroke(const GlyphStyle& style, const Glyph& glyph, bool alone, Draws& draws) {
  GlyphStroke stroke;
  for (int attempt = 0; attempt < 20; ++attempt) {
    const StrokeShape& shape = draws.pick(style.inventory);
    const Point from =
        !glyph.empty() && draws.chance(style.attached) ? draws.pick(draws.pick(glyph)) : draws.pick(style.anchors);
    Point to = draws.pick(style.anchors);
    if (draws.chance(style.aligned)) {
      const bool upright = std::abs(to.x - from.x) < std::abs(to.y - from.y);
      (upright ? to.x : to.y) = upright ? from.x : from.y;
    }
    stroke = place_stroke(shape, from, to, draws.chance(0.5));
    bool fresh = length(to - from) >= (alone ? 1.3 : shape.shortest);  // one stroke alone fills the character
    for (const GlyphStroke& other : glyph) {
      const Point a = other.front(), b = other.back();
      fresh = fresh && std::min(length(a - from) + length(b - to), length(a - to) + length(b - from)) > 0.4;
    }
    if (fresh) break;
  }
  return stroke;
}

inline GlyphStroke dot(Point at) { return {at, at + Point{0.06, 0.06}}; }

/// Moves and scales the strokes from `first` on so that they fit the frame.
inline void fit_glyph(Glyph& glyph, std::size_t first) {
  Point low{1e9, 1e9}, high{-1e9, -1e9};
  for (std::size_t i = first; i < glyph.size(); ++i)
    for (const Point& p : glyph[i]) {
      low = {std::min(low.x, p.x), std::min(low.y, p.y)};
      high = {std::max(high.x, p.x), std::max(high.y, p.y)};
    }
  const Point centre = 0.5 * (low + high);
  const double extent = 0.5 * std::max({high.x - low.x, high.y - low.y, 0.2});
  const double scale = std::clamp(extent, 0.8, 1.0) / extent;
  // Where every character has a head line or a stem, what hangs on it keeps some of its place.
  const Point keep = (first > 0 ? 0.5 : 0.0) * centre;
  for (std::size_t i = first; i < glyph.size(); ++i)
    for (Point& p : glyph[i]) p = scale * (p - centre) + keep;
}

/// Composes a character from the alphabet's inventory, or derives it from an `earlier` one.
inline Glyph compose_glyph(const GlyphStyle& style, const std::vector<Glyph>& earlier, Draws& draws) {
  Glyph glyph = style.common;
  const std::size_t first = glyph.size();
  if (!earlier.empty() && draws.chance(style.derived)) {
    glyph = draws.pick(earlier);
    const Index change = draws.below(4);
    if (change == 0) {
      glyph.push_back(next_stroke(style, glyph, false, draws));
      fit_glyph(glyph, first);
    } else if (change == 1) {
      glyph.push_back(dot(draws.pick(style.anchors)));
    } else {
      for (std::size_t i = first; i < glyph.size(); ++i)
        for (Point& p : glyph[i]) (change == 2 ? p.x : p.y) *= -1;
    }
    return glyph;
  }
  double total = 0;
  for (double weight : style.stroke_weights) total += weight;
  double left = draws.uniform(0, total);
  std::size_t strokes = 1;
  for (; strokes < 4 && left >= style.stroke_weights[strokes - 1]; ++strokes) left -= style.stroke_weights[strokes - 1];
  for (std::size_t i = 0; i < strokes; ++i)
    glyph.push_back(next_stroke(style, glyph, strokes == 1 && first == 0, draws));
  fit_glyph(glyph, first);
  if (draws.chance(style.dotted)) {
    const Point at = draws.pick(style.anchors);
    glyph.push_back(dot(at));
    if (draws.chance(0.5)) glyph.push_back(dot(at + Point{0.5, 0}));
  }
  return glyph;
}

}  // namespace detail

}  // namespace GRAFT_ABI
}  // namespace graft
