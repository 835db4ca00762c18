#pragma once
// Matrices as maps of colours: what each query attends to, which class is taken for which.

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/tensor.hpp"
#include "graft/evaluate/curve_picture.hpp"
#include "graft/evaluate/svg.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `map_picture`. Lists that are empty give numbers instead of names.
struct MapPictureOptions {
  std::string title = "", row_name = "query", column_name = "key";
  std::vector<std::string> maps = {};                ///< what stands over each map, e.g. its head
  std::vector<std::string> rows = {}, columns = {};  ///< tokens
  std::optional<double> low = {},
                        high = {};  ///< what the ends of the scale stand for; else 0, or less, and the largest
  double width = 700;               ///< pixels, at most
  bool diverging = false;           ///< red to blue, by default about 0: of numbers with a sign
  bool gaps = false;                ///< NaN is a grey cell, not an error
};

namespace detail {

/// Every so many labels of that size there is room for one.
inline Index label_stride(double cell, double size) {
  return std::max<Index>(1, static_cast<Index>(std::ceil(size / cell)));
}

/// Where the maps stand on the sheet.
struct MapPlan {
  static constexpr double kGap = 18, kScale = 62, kLabel = 11;
  Index maps, rows, columns, a_line;  // a_line: maps side by side
  double cell_w, cell_h, left, above, below, top;
  bool upright;  // names of columns, which stand level where they fit

  double x(Index map) const { return left + static_cast<double>(map % a_line) * (width() + kGap); }
  double y(Index map) const { return top + above + static_cast<double>(map / a_line) * (above + height() + below); }
  double width() const { return cell_w * static_cast<double>(columns); }
  double height() const { return cell_h * static_cast<double>(rows); }
  double right() const { return x(a_line - 1) + width(); }
  double bottom() const { return y(maps - 1) + height() + below; }
};

template <class T>
MapPlan map_plan(const Tensor<T>& maps, const MapPictureOptions& o) {
  const int rank = maps.rank();
  MapPlan plan{rank == 3 ? maps.size(0) : 1, maps.size(rank - 2), maps.size(rank - 1), 1, 0, 0, 0, 0, 0, 0, true};
  const auto widest = [](const std::vector<std::string>& names, Index count) {
    double width = names.empty() ? text_width(as_text(count), MapPlan::kLabel) : 0;
    for (const std::string& name : names) width = std::max(width, text_width(name, MapPlan::kLabel));
    return width;
  };
  plan.left = widest(o.rows, plan.rows) + 8 + (o.row_name.empty() ? 8 : 26);
  plan.above = o.maps.empty() ? 6 : 22;
  plan.top = title_height(o.title) + 4;
  // As many maps side by side as leave cells of 12 pixels, or all.
  const double room = o.width - plan.left - MapPlan::kScale;
  const double columns = static_cast<double>(plan.columns), rows = static_cast<double>(plan.rows);
  plan.a_line =
      std::clamp(static_cast<Index>((room + MapPlan::kGap) / (12 * columns + MapPlan::kGap)), Index{1}, plan.maps);
  const Index lines = (plan.maps + plan.a_line - 1) / plan.a_line;
  plan.a_line = (plan.maps + lines - 1) / lines;
  const double a_line = static_cast<double>(plan.a_line);
  const double w = std::clamp((room - (a_line - 1) * MapPlan::kGap) / (a_line * columns), 0.1, 36.0);
  const double h = std::clamp(600 / rows, 0.1, 36.0), side = std::min(w, h);
  plan.cell_w = side >= 6 ? side : std::min(w, 6.0);
  plan.cell_h = side >= 6 ? side : std::min(h, 6.0);
  if (plan.rows == plan.columns) plan.cell_w = plan.cell_h = side;
  const double name = widest(o.columns, plan.columns);
  plan.upright = name > plan.cell_w - 2;
  plan.below = (plan.upright ? name : MapPlan::kLabel) + (o.column_name.empty() ? 14 : 32);
  return plan;
}

/// The colour of a level in 0 .. 100, grey below.
inline std::string level_colour(int level, bool diverging) {
  if (level < 0) return "#ddd";
  return diverging ? diverging_colour(0.01 * level) : ramp_colour(0.01 * level);
}

/// The cells of one map, a unit wide and high: one path for each colour, equal neighbours of a row as one piece.
template <class T>
void draw_cells(Svg& picture, const T* values, Index rows, Index columns, double low, double high, bool diverging) {
  std::map<int, std::string> paths;
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0, end = 0; j < columns; j = end) {
      const auto level = [&](Index column) {
        const double share = (static_cast<double>(values[i * columns + column]) - low) / (high - low);
        if (std::isnan(share)) return -1;
        return static_cast<int>(std::lround(100 * std::clamp(share, 0.0, 1.0)));
      };
      const int own = level(j);
      for (end = j + 1; end < columns && level(end) == own;) ++end;
      paths[own] += "M" + as_text(j) + " " + as_text(i) + "h" + as_text(end - j) + "v1h-" + as_text(end - j) + "z";
    }
  for (const auto& [level, path] : paths) picture.add("path", {{"fill", level_colour(level, diverging)}, {"d", path}});
}

template <class T>
void check_maps(const Tensor<T>& maps, const MapPictureOptions& o, Site site) {
  const char* op = "map_picture";
  const int rank = maps.rank();
  if ((rank != 2 && rank != 3) || maps.count() == 0)
    fail<ShapeError>(op, "expected a matrix [rows, columns], or [maps, rows, columns], that is not empty",
                     {{"maps", maps.shape()}}, site);
  const auto check_names = [&](const char* what, const std::vector<std::string>& names, Index count) {
    if (!names.empty() && static_cast<Index>(names.size()) != count)
      fail<ShapeError>(op, {names.size(), " names of ", what}, {{"maps", maps.shape()}}, site);
  };
  check_names("maps", o.maps, rank == 3 ? maps.size(0) : 1);
  check_names("rows", o.rows, maps.size(rank - 2));
  check_names("columns", o.columns, maps.size(rank - 1));
  const Index columns = maps.size(rank - 1), rows = maps.size(rank - 2);
  Index place = 0;
  for (const T value : host(maps)) {
    if (!std::isfinite(value) && !(o.gaps && std::isnan(value)))
      fail(op, {"row ", place / columns % rows, ", column ", place % columns, " is ", value}, {{"maps", maps.shape()}},
           site);
    ++place;
  }
  for (const std::optional<double>& end : {o.low, o.high})
    if (end && !std::isfinite(*end)) fail(op, {"an end of the scale is ", *end}, {}, site);
}

}  // namespace detail

/// A matrix [rows, columns] as cells, the darker the larger, row 0 on top, with its scale; of attention, a row is a
/// query. Or several, [maps, rows, columns], side by side on one scale: the heads of a layer. A cell takes about ten
/// bytes of the file. Throws ShapeError for another rank, an empty one or names that are not as many as there are
/// rows, columns or maps, ValueError for numbers that are not finite, but for the NaN of `gaps`, or a scale that does
/// not rise.
template <Real T>
Svg map_picture(const Tensor<T>& maps, const MapPictureOptions& o = {}, Site site = Site::current()) {
  detail::check_maps(maps, o, site);
  double smallest = std::numeric_limits<double>::infinity(), largest = -smallest;
  for (const T value : host(maps)) {
    if (std::isnan(value)) continue;
    smallest = std::min(smallest, static_cast<double>(value));
    largest = std::max(largest, static_cast<double>(value));
  }
  if (o.diverging && smallest <= largest) {
    largest = std::max(largest, -smallest);
    smallest = -largest;
  }
  const double low = o.low.value_or(std::min(0.0, smallest));
  const double high = o.high.value_or(largest > low ? largest : low + 1);
  if (!(high > low && std::isfinite(high - low)))
    fail("map_picture", {"the scale goes from ", low, " to ", high}, {}, site);

  const detail::MapPlan plan = detail::map_plan(maps, o);
  const double width = std::max(plan.right() + detail::MapPlan::kScale, 28 + detail::text_width(o.title, 15));
  Svg picture(width, plan.bottom() + 4, o.title, site);
  detail::draw_title(picture, o.title, 12, site);
  for (Index m = 0; m < plan.maps; ++m) {
    const double x = plan.x(m), y = plan.y(m), middle = x + plan.width() / 2;
    if (!o.maps.empty())
      picture.add("text", {{"x", middle}, {"y", y - 7}, {"text-anchor", "middle"}},
                  o.maps[static_cast<std::size_t>(m)]);
    const auto at = [](double a, double b) {
      return detail::svg_number(a, 2, {}) + " " + detail::svg_number(b, 2, {});
    };
    picture.open({{"transform", "translate(" + at(x, y) + ") scale(" + at(plan.cell_w, plan.cell_h) + ")"},
                  {"shape-rendering", "crispEdges"}});
    detail::draw_cells(picture, std::data(host(maps)) + m * plan.rows * plan.columns, plan.rows, plan.columns, low,
                       high, o.diverging);
    picture.close();
    picture.add(
        "rect",
        {{"x", x}, {"y", y}, {"width", plan.width()}, {"height", plan.height()}, {"fill", "none"}, {"stroke", "#999"}});
    const auto name = [](const std::vector<std::string>& names, Index i) {
      return names.empty() ? detail::as_text(i) : names[static_cast<std::size_t>(i)];
    };
    picture.open({{"font-size", detail::MapPlan::kLabel}, {"text-anchor", "end"}});
    for (Index i = 0; m % plan.a_line == 0 && i < plan.rows; i += detail::label_stride(plan.cell_h, 12))
      picture.add("text", {{"x", x - 5}, {"y", y + plan.cell_h * (static_cast<double>(i) + 0.5) + 4}}, name(o.rows, i));
    picture.close();
    picture.open({{"font-size", detail::MapPlan::kLabel}, {"text-anchor", plan.upright ? "end" : "middle"}});
    for (Index j = 0; j < plan.columns; j += detail::label_stride(plan.cell_w, 12)) {
      const double place = x + plan.cell_w * (static_cast<double>(j) + 0.5), below = y + plan.height();
      if (plan.upright)
        picture.add("text", {{"transform", "translate(" + at(place + 4, below + 5) + ") rotate(-90)"}},
                    name(o.columns, j));
      else
        picture.add("text", {{"x", place}, {"y", below + 14}}, name(o.columns, j));
    }
    picture.close();
    picture.open({{"text-anchor", "middle"}});
    if (!o.column_name.empty())
      picture.add("text", {{"x", middle}, {"y", y + plan.height() + plan.below - 8}}, o.column_name);
    if (m % plan.a_line == 0 && !o.row_name.empty())
      picture.add("text", {{"transform", "translate(" + at(17, y + plan.height() / 2) + ") rotate(-90)"}}, o.row_name);
    picture.close();
  }

  // The scale: a bar of its colours, and round numbers beside it.
  const double x = plan.right() + 14, top = plan.y(0), tall = std::clamp(plan.height(), 60.0, 240.0);
  constexpr int kSteps = 40;
  picture.open({{"shape-rendering", "crispEdges"}});
  for (int i = 0; i < kSteps; ++i)
    picture.add("rect",
                {{"x", x},
                 {"y", top + tall * (kSteps - 1 - i) / kSteps},
                 {"width", 10},
                 {"height", tall / kSteps + 0.5},
                 {"fill", o.diverging ? diverging_colour((i + 0.5) / kSteps) : ramp_colour((i + 0.5) / kSteps)}});
  picture.close();
  picture.open({{"font-size", detail::MapPlan::kLabel}});
  const detail::Axis axis = detail::linear_axis(low, high, 4);
  for (std::size_t i = 0; i < axis.ticks.size(); ++i)
    if (const double share = (axis.ticks[i] - low) / (high - low); share > -1e-6 && share < 1 + 1e-6)
      picture.add("text", {{"x", x + 14}, {"y", top + tall * (1 - share) + 4}}, axis.labels[i]);
  picture.close();
  return picture;
}
GRAFT_HELD(Svg map_picture(const Tensor<double>&, const MapPictureOptions&, Site))
GRAFT_HELD(Svg map_picture(const Tensor<float>&, const MapPictureOptions&, Site))

}  // namespace GRAFT_ABI
}  // namespace graft
