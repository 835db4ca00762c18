#include "graft/data/glyph_attributes.hpp"

#include <set>
#include <string>

#include "catch.hpp"
#include "few_glyphs.hpp"
#include "graft/graft.hpp"

using namespace graft;
using detail::Glyph;
using detail::Point;

namespace {

using Names = std::set<std::string>;

/// What is said of strokes given by their points, straight between them or, with smoothness 1, round.
Names said_of(const Glyph& glyph, double smoothness = 0) {
  std::vector<detail::Polyline> lines;
  for (const auto& stroke : glyph) lines.push_back(detail::spline(stroke, smoothness));
  const auto answers = detail::GlyphJudge(lines).answers();
  Names names;
  for (std::size_t i = 0; i < answers.size(); ++i)
    if (answers[i]) names.insert(detail::kGlyphAttributes[i]);
  return names;
}

}  // namespace

TEST_CASE("attributes of characters that everybody knows", "[data]") {
  CHECK(said_of({{{-1, 0}, {1, 0}}, {{0, -1}, {0, 1}}}) ==  // a plus
        Names{"two strokes", "a straight line", "strokes cross", "an upright line", "a level line", "left as right",
              "top as bottom", "turned half as it was"});
  CHECK(said_of({{{-1, -1}, {1, 1}}, {{-1, 1}, {1, -1}}}) ==  // a cross
        Names{"two strokes", "a straight line", "strokes cross", "a line rising to right", "a line falling to right",
              "left as right", "top as bottom", "turned half as it was"});
  CHECK(said_of({{{-1, -1}, {1, -1}}, {{0, -1}, {0, 1}}}) ==  // T
        Names{"two strokes", "a straight line", "an end on a stroke", "an upright line", "a level line",
              "left as right", "most ink in the upper half"});
  CHECK(said_of({{{-0.6, -1}, {-0.6, 1}, {0.6, 1}}}) ==  // L in one stroke
        Names{"one stroke", "a corner", "an upright line", "a level line", "tall"});
  CHECK(said_of({{{-0.6, -1}, {-0.6, 1}}, {{-0.6, 1}, {0.6, 1}}}) ==  // L in two
        Names{"two strokes", "a straight line", "ends meet", "an upright line", "a level line", "tall"});
  CHECK(said_of({{{-1, -0.3}, {1, -0.3}}, {{-1, 0.3}, {1, 0.3}}}) ==  // =
        Names{"two strokes", "a straight line", "separate parts", "a level line", "left as right", "top as bottom",
              "turned half as it was", "wide"});
  CHECK(said_of({{{0, -0.2}, {0, 1}}, {{0, -1}, {0.05, -1}}}) ==  // i
        Names{"one stroke", "a straight line", "a dot", "an upright line", "left as right", "tall"});
  CHECK(said_of({{{-1, -1}, {1, -1}, {-1, 1}, {1, 1}}}) ==  // Z
        Names{"one stroke", "a corner", "a level line", "a line rising to right", "turned half as it was"});
  CHECK(said_of({{{0, -1}, {1, 1}, {-1, 1}, {0, -1}}}) ==  // a triangle, its sides 63 degrees steep
        Names{"one stroke", "a corner", "a closed stroke", "a level line", "a line rising to right",
              "a line falling to right", "left as right"});
  std::vector<Point> ring;
  for (int i = 0; i <= 12; ++i)
    ring.push_back({std::cos(i * std::numbers::pi / 6), std::sin(i * std::numbers::pi / 6)});
  CHECK(said_of({ring}, 1) == Names{"one stroke", "a curved stroke", "a closed stroke", "left as right",
                                    "top as bottom", "turned half as it was"});
  const std::vector<Point> half(ring.begin(), ring.begin() + 7);  // a bowl, open at the top: y goes down
  CHECK(said_of({half}, 1) == Names{"one stroke", "a curved stroke", "left as right", "wide"});
}

TEST_CASE("attributes do not depend on place, size and the order of strokes", "[data]") {
  const Glyph plus = {{{-1, 0}, {1, 0}}, {{0, -1}, {0, 1}}, {{0.5, 0.5}, {0.9, 0.9}, {0.5, 0.9}}};
  Glyph moved = plus;
  for (auto& stroke : moved)
    for (Point& p : stroke) p = 7 * p + Point{30, -4};
  std::swap(moved[0], moved[2]);
  CHECK(said_of(moved) == said_of(plus));
}

TEST_CASE("every character of a set has its attributes, those of the smaller set first", "[data]") {
  const GlyphAttributes some = glyph_attributes(few_glyphs());
  const CharacterImages images = make_glyphs(few_glyphs());
  CHECK(some.of_character.shape() == Shape{images.character_count(), 22});
  CHECK(some.names.size() == 22);
  for (const float value : host(some.of_character)) CHECK((value == 0 || value == 1));
  for (Index c = 0; c < images.character_count(); ++c)  // exactly one number of strokes, unless there are dots alone
    CHECK(some.of_character.at({c, 0}) + some.of_character.at({c, 1}) + some.of_character.at({c, 2}) <= 1);
  GlyphOptions more = few_glyphs();
  more.alphabets = 6;
  more.drawers = 1;
  const Tensor<> all = glyph_attributes(more).of_character;
  CHECK(same_bits(slice(all, 0, 0, images.character_count()), some.of_character));
  set_threads(1);
  CHECK(same_bits(glyph_attributes(few_glyphs()).of_character, some.of_character));
  set_threads(0);
}

TEST_CASE("every attribute is in some characters of the default set and not in others", "[data]") {
  const GlyphAttributes all = glyph_attributes();
  const Tensor<> share = mean(all.of_character, {0});
  for (Index m = 0; m < 22; ++m) {
    INFO(all.names[m]);
    CHECK(share.at({m}) > 0.03);
    CHECK(share.at({m}) < 0.9);
  }
}

TEST_CASE("drawings with the combination of their character's attributes as class", "[data]") {
  const AttributedItems items = attributed_glyphs(few_glyphs());
  const GlyphAttributes attributes = glyph_attributes(few_glyphs());
  const CharacterImages images = make_glyphs(few_glyphs());
  CHECK(items.x.shape() == Shape{images.image_count(), 28, 28, 1});
  CHECK(items.x.at({5, 14, 14, 0}) == static_cast<float>(images.image(5)[14 * 28 + 14]) / 255);
  CHECK(items.class_names.size() == static_cast<std::size_t>(items.classes()));
  CHECK(items.attribute_names == attributes.names);
  for (Index i = 0; i < images.image_count(); ++i) {
    const Index c = images.character_id[i];
    for (Index m = 0; m < 22; ++m)
      CHECK(items.signatures.at({items.labels.at({i}), m}) == attributes.of_character.at({c, m}));
  }
}

TEST_CASE("attributes of impossible glyph options are refused", "[data]") {
  GlyphOptions options = few_glyphs();
  options.alphabets = 0;
  CHECK_THROWS_WITH(glyph_attributes(options), contains("glyph_attributes: alphabets is 0"));
  CHECK_THROWS_AS(attributed_glyphs(options), ValueError);
}
