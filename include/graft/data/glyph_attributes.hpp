#pragma once
// Attributes of the characters of `make_glyphs`, computed from the strokes that draw them: what a person would say of a
// character, "two strokes that cross, one of them curved, the same on the left and on the right".

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "graft/data/attributed_items.hpp"
#include "graft/data/glyphs.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What every character of a set has, 0 or 1.
struct GlyphAttributes {
  std::vector<std::string> names;  ///< [attributes]
  Tensor<> of_character;           ///< [characters, attributes]
};

namespace detail {

inline constexpr std::array<const char*, 22> kGlyphAttributes{"one stroke",
                                                              "two strokes",
                                                              "three strokes or more",
                                                              "a dot",
                                                              "a straight line",
                                                              "a curved stroke",
                                                              "a corner",
                                                              "a closed stroke",
                                                              "strokes cross",
                                                              "an end on a stroke",
                                                              "ends meet",
                                                              "separate parts",
                                                              "an upright line",
                                                              "a level line",
                                                              "a line rising to right",
                                                              "a line falling to right",
                                                              "left as right",
                                                              "top as bottom",
                                                              "turned half as it was",
                                                              "tall",
                                                              "wide",
                                                              "most ink in the upper half"};

/// Judges the lines of one character. Lengths are in halves of the larger side of the box around it, y goes down.
class GlyphJudge {
 public:
  explicit GlyphJudge(const std::vector<Polyline>& lines) {
    Point low{1e9, 1e9}, high{-1e9, -1e9};
    for (const Polyline& line : lines)
      for (const Point& p : line) {
        low = {std::min(low.x, p.x), std::min(low.y, p.y)};
        high = {std::max(high.x, p.x), std::max(high.y, p.y)};
      }
    const double scale = 2 / std::max({high.x - low.x, high.y - low.y, 1e-9});
    const Point centre = 0.5 * (low + high);
    box_ = scale * (high - low);
    for (const Polyline& line : lines) {
      Polyline moved;
      for (const Point& p : line) moved.push_back(scale * (p - centre));
      (length_of(moved) < 0.3 ? dots_ : strokes_).push_back(std::move(moved));
    }
  }

  std::array<bool, 22> answers() const {
    const auto count = strokes_.size();
    const auto any = [&](auto question) { return std::any_of(strokes_.begin(), strokes_.end(), question); };
    std::array<bool, 22> a{count == 1, count == 2, count >= 3, !dots_.empty()};
    a[4] = any([](const Polyline& s) { return bend(s).all < 0.25; });
    a[5] = any([](const Polyline& s) { return bend(s).smooth > 0.8; });
    a[6] = any([](const Polyline& s) { return bend(s).sharpest > 0.9; });
    a[7] = any([](const Polyline& s) { return length_of(s) > 1 && length(s.front() - s.back()) < 0.15; });
    std::vector<std::size_t> part(count);  // strokes that touch have the same number
    for (std::size_t i = 0; i < count; ++i) part[i] = i;
    for (std::size_t i = 0; i < count; ++i)
      for (std::size_t j = 0; j < i; ++j) {
        const Touch touch = touch_of(strokes_[i], strokes_[j]);
        a[8] |= touch.cross;
        a[9] |= touch.end_on_stroke;
        a[10] |= touch.ends_meet;
        if (touch.cross || touch.end_on_stroke || touch.ends_meet)
          std::replace(part.begin(), part.end(), std::size_t{part[i]}, std::size_t{part[j]});
      }
    a[11] = std::any_of(part.begin(), part.end(), [&](std::size_t p) { return p != part[0]; });
    constexpr double degree = std::numbers::pi / 180;
    a[12] = along(90 * degree, 20 * degree) > 0.9;
    a[13] = along(0, 20 * degree) > 0.9;
    a[14] = along(135 * degree, 20 * degree) > 0.7;  // y goes down
    a[15] = along(45 * degree, 20 * degree) > 0.7;
    a[16] = is_like([](Point p) { return Point{-p.x, p.y}; });
    a[17] = is_like([](Point p) { return Point{p.x, -p.y}; });
    a[18] = is_like([](Point p) { return Point{-p.x, -p.y}; });
    a[19] = box_.y > 1.35 * box_.x;
    a[20] = box_.x > 1.35 * box_.y;
    double above = 0, all = 0;
    each_piece([&](Point from, Point to) {
      const double piece = length(to - from);
      all += piece;
      above += (from.y + to.y < 0) * piece;
    });
    a[21] = above > 0.57 * all;
    return a;
  }

 private:
  static double length_of(const Polyline& line) {
    double sum = 0;
    for (std::size_t i = 0; i + 1 < line.size(); ++i) sum += length(line[i + 1] - line[i]);
    return sum;
  }
  /// Turns along a stroke, in radians: all of them, the sharpest over a short way, and those of the rest that go on in
  /// one direction.
  struct Bend {
    double all = 0, sharpest = 0, smooth = 0;
  };
  static Bend bend(const Polyline& line) {
    std::vector<double> turns, at;
    double way = 0;
    for (std::size_t i = 0; i + 2 < line.size(); ++i) {
      const Point u = line[i + 1] - line[i], v = line[i + 2] - line[i + 1];
      way += length(u);
      if (length(u) < 1e-9 || length(v) < 1e-9) continue;
      turns.push_back(std::atan2(u.x * v.y - u.y * v.x, u.x * v.x + u.y * v.y));
      at.push_back(way);
    }
    Bend result;
    double run = 0;
    for (std::size_t i = 0; i < turns.size(); ++i) {
      result.all += std::abs(turns[i]);
      double here = 0;
      for (std::size_t j = i; j < turns.size() && at[j] - at[i] < 0.12; ++j) here += turns[j];
      result.sharpest = std::max(result.sharpest, std::abs(here));
      if (std::abs(turns[i]) > 0.7 || run * turns[i] < 0) run = 0;  // a corner, or the other way round
      if (std::abs(turns[i]) <= 0.7) run += turns[i];
      result.smooth = std::max(result.smooth, std::abs(run));
    }
    return result;
  }
  struct Touch {
    bool cross = false, end_on_stroke = false, ends_meet = false;
  };
  static Touch touch_of(const Polyline& a, const Polyline& b) {
    constexpr double near = 0.12;
    Touch touch;
    const auto is_end = [](const Polyline& line, Point p) {
      return length(p - line.front()) < 2 * near || length(p - line.back()) < 2 * near;
    };
    for (const Point& p : {a.front(), a.back()})
      for (const Point& q : {b.front(), b.back()}) touch.ends_meet |= length(p - q) < near;
    const auto on = [&](Point p, const Polyline& line) {
      for (std::size_t i = 0; i + 1 < line.size(); ++i) {
        const Point along = line[i + 1] - line[i], arm = p - line[i];
        const double squared = std::max(along.x * along.x + along.y * along.y, 1e-12);
        const double t = std::clamp((arm.x * along.x + arm.y * along.y) / squared, 0.0, 1.0);
        const Point foot = line[i] + t * along;
        if (length(p - foot) < near && !is_end(line, foot)) return true;
      }
      return false;
    };
    for (const Point& p : {a.front(), a.back()}) touch.end_on_stroke |= on(p, b);
    for (const Point& p : {b.front(), b.back()}) touch.end_on_stroke |= on(p, a);
    for (std::size_t i = 0; i + 1 < a.size(); ++i)
      for (std::size_t j = 0; j + 1 < b.size(); ++j) {
        const Point u = a[i + 1] - a[i], v = b[j + 1] - b[j], w = b[j] - a[i];
        const double det = u.x * v.y - u.y * v.x;
        if (std::abs(det) < 1e-12) continue;
        const double s = (w.x * v.y - w.y * v.x) / det, t = (w.x * u.y - w.y * u.x) / det;
        if (s < 0 || s > 1 || t < 0 || t > 1) continue;
        const Point meet = a[i] + s * u;
        touch.cross |= !is_end(a, meet) && !is_end(b, meet);
      }
    return touch;
  }
  template <class F>
  void each_piece(F visit) const {
    for (const auto* lines : {&strokes_, &dots_})
      for (const Polyline& line : *lines)
        for (std::size_t i = 0; i + 1 < line.size(); ++i) visit(line[i], line[i + 1]);
  }
  /// The longest way that a stroke goes on in a direction, or against it, up to `tolerance`.
  double along(double direction, double tolerance) const {
    double best = 0;
    for (const Polyline& line : strokes_) {
      double run = 0;
      for (std::size_t i = 0; i + 1 < line.size(); ++i) {
        const Point u = line[i + 1] - line[i];
        const double angle = std::remainder(std::atan2(u.y, u.x) - direction, std::numbers::pi);
        run = std::abs(angle) < tolerance ? run + length(u) : 0;
        best = std::max(best, run);
      }
    }
    return best;
  }
  /// Whether nearly all ink is where ink is after the map.
  template <class F>
  bool is_like(F map) const {
    std::vector<Point> ink;
    each_piece([&](Point from, Point to) {
      const int pieces = 1 + static_cast<int>(length(to - from) / 0.05);
      for (int k = 0; k < pieces; ++k) ink.push_back(from + (static_cast<double>(k) / pieces) * (to - from));
    });
    std::size_t found = 0;
    for (const Point& p : ink) {
      const Point image = map(p);
      found += std::any_of(ink.begin(), ink.end(), [&](Point q) { return length(q - image) < 0.2; });
    }
    return static_cast<double>(found) > 0.9 * static_cast<double>(ink.size());
  }

  std::vector<Polyline> strokes_, dots_;
  Point box_;
};

}  // namespace detail

/// The attributes of the characters that `make_glyphs` makes with the same options, in their order: numbers of strokes
/// and dots, straight lines, curves and corners, where strokes meet, directions of lines, symmetries and proportions,
/// of a character as its alphabet's model draws it, without anybody's hand. Errors: ValueError for options out of
/// range.
inline GlyphAttributes glyph_attributes(const GlyphOptions& options = {}) {
  detail::check_glyph_options("glyph_attributes", options);
  const detail::GlyphSet set = detail::glyph_set(options);
  constexpr Index attributes = std::ssize(detail::kGlyphAttributes);
  List<float> all(set.glyphs.size() * attributes);
  parallel_tasks(options.alphabets, [&](Index a) {
    for (Index c = set.first_character[a]; c < set.first_character[a + 1]; ++c) {
      const auto lines =
          detail::trace_glyph(set.glyphs[c], set.styles[a], detail::glyph_hand(Random(), 0), Random(), 0);
      Index m = c * attributes;
      for (const bool has : detail::GlyphJudge(lines).answers()) all[m++] = has;
    }
  });
  return {{detail::kGlyphAttributes.begin(), detail::kGlyphAttributes.end()},
          from_vector(all, {set.glyphs.size(), attributes})};
}

/// Drawings [items, 28, 28, 1], ink 1, whose classes are the combinations of attributes that their characters have:
/// characters with the same attributes are one class, so that a signature names its class. Errors: ValueError for
/// options out of range.
inline AttributedItems attributed_glyphs(const GlyphOptions& options = {}) {
  const GlyphAttributes attributes = glyph_attributes(options);
  const AttributeCombinations combinations = attribute_combinations(attributes.of_character);
  const CharacterImages images = make_glyphs(options);
  AttributedItems result;
  result.source = "the generated characters";
  List<float> ink(static_cast<Index>(images.images.size()));
  for (Index i = 0; i < ink.size(); ++i) ink[i] = static_cast<float>(images.images[static_cast<std::size_t>(i)]) / 255;
  result.x = from_vector(ink, {images.image_count(), images.height, images.width, 1});
  result.labels = gather(combinations.of, from_vector(images.character_id));
  result.signatures = combinations.signatures;
  result.attribute_names = attributes.names;
  for (Index c = 0; c < result.classes(); ++c) result.class_names.push_back("combination " + std::to_string(c));
  return result;
}

}  // namespace GRAFT_ABI
}  // namespace graft
