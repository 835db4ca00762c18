#pragma once
// Means with their intervals, one below the other: which differences are more than chance.

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "graft/evaluate/curve_picture.hpp"
#include "graft/evaluate/intervals.hpp"
#include "graft/evaluate/svg.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `interval_picture`.
struct IntervalPictureOptions {
  std::string title = "", x_name = "";
  bool zero = false;   ///< 0 is on the axis, with a line: of differences
  double scale = 1;    ///< what numbers are multiplied by: 100 for percent
  double width = 700;  ///< pixels
};

/// Each mean as a dot with its 95 % interval as a line, over one axis, in the order of the list. Throws ValueError for
/// no intervals, numbers that are not finite, or no room beside the names.
GRAFT_ONCE Svg interval_picture(std::span<const std::pair<std::string, Interval>> rows,
                                const IntervalPictureOptions& o = {}, Site site = Site::current()) {
  const char* op = "interval_picture";
  if (rows.empty()) fail(op, "of no intervals", {}, site);
  double low = o.zero ? 0 : std::numeric_limits<double>::infinity(), high = o.zero ? 0 : -low, names = 0;
  for (const auto& [name, interval] : rows) {
    const double from = o.scale * interval.low(), to = o.scale * interval.high();
    if (!(std::abs(from) < 1e300 && std::abs(to) < 1e300))
      fail(op, {"the interval of '", name, "' is ", interval.mean, " +- ", interval.ci95}, {}, site);
    low = std::min({low, from, to});
    high = std::max({high, from, to});
    names = std::max(names, detail::text_width(name, 13));
  }
  const detail::Axis axis = detail::linear_axis(low, high, 4);
  constexpr double kLine = 26;
  const double left = 20 + names, top = 10 + detail::title_height(o.title);
  const double right = o.width - 10 - std::max(14.0, detail::text_width(axis.labels.back(), 13) / 2);
  const double bottom = top + kLine * static_cast<double>(rows.size());
  if (!(right > left + 40)) fail(op, {"no room beside the names on a sheet ", o.width, " wide"}, {}, site);
  const auto x_of = [&](double x) { return left + (right - left) * (x - axis.low) / (axis.high - axis.low); };

  Svg picture(o.width, bottom + (o.x_name.empty() ? 28 : 48), o.title, site);
  detail::draw_title(picture, o.title, 12, site);
  const auto upright = [&](double x, const char* colour) {
    picture.add("path", {{"d", SvgPath(site).move(x_of(x), top).line(x_of(x), bottom).text()}, {"stroke", colour}});
  };
  for (const double tick : axis.ticks) upright(tick, "#ddd");
  if (o.zero) upright(0, "#444");
  picture.open({{"text-anchor", "middle"}});
  for (std::size_t i = 0; i < axis.ticks.size(); ++i)
    picture.add("text", {{"x", x_of(axis.ticks[i])}, {"y", bottom + 18}}, axis.labels[i]);
  if (!o.x_name.empty()) picture.add("text", {{"x", (left + right) / 2}, {"y", bottom + 38}}, o.x_name);
  picture.close();
  double y = top + kLine / 2;
  for (const auto& [name, interval] : rows) {
    picture.add("text", {{"x", left - 10}, {"y", y + 4.5}, {"text-anchor", "end"}}, name);
    const double from = x_of(o.scale * interval.low()), to = x_of(o.scale * interval.high());
    picture.add(
        "path",
        {{"d", SvgPath(site).move(from, y).line(to, y).text()}, {"stroke", class_colour(0)}, {"stroke-width", 2.5}});
    picture.add("circle", {{"cx", x_of(o.scale * interval.mean)}, {"cy", y}, {"r", 4.5}, {"fill", class_colour(0)}});
    y += kLine;
  }
  return picture;
}
GRAFT_HELD(Svg interval_picture<>(std::span<const std::pair<std::string, Interval>>, const IntervalPictureOptions&,
                                  Site))

}  // namespace GRAFT_ABI
}  // namespace graft
