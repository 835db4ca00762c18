#pragma once
// Curves over one axis: how training went, how a figure depends on a setting.

#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "graft/evaluate/svg.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Points (x, y) that a line joins in their order.
struct Curve {
  std::string name;
  std::vector<double> x, y;
};

/// Options of `curve_picture`.
struct CurvePictureOptions {
  std::string title = "", x_name = "step", y_name = "";
  bool log_x = false, log_y = false;  ///< a logarithmic axis
  double width = 700, height = 400;   ///< pixels
};

namespace detail {

/// One axis: from where to where it goes, and what is written beside it. On a logarithmic one all are log10 of values.
struct Axis {
  double low = 0, high = 1;
  std::vector<double> ticks;
  std::vector<std::string> labels;
};

/// `value`, of which multiples of `step` are to be told apart.
inline std::string tick_label(double value, double step) {
  if (std::abs(value) < 1e-9 * step) return "0";
  const double size = std::abs(value);
  char digits[32];
  const auto text = [&](auto... how) {
    return std::string(digits, std::to_chars(digits, std::end(digits), value, how...).ptr);
  };
  const int significant = static_cast<int>(std::floor(std::log10(size)) - std::floor(std::log10(step) + 1e-9)) + 1;
  if (size >= 1e-4 && size < 1e7)
    return text(std::chars_format::fixed, std::max(0, -static_cast<int>(std::floor(std::log10(step) + 1e-9))));
  std::string label = text(std::chars_format::scientific, std::clamp(significant - 1, 0, 15));
  if (const std::size_t zero = label.find("e+0"); zero != std::string::npos) label.erase(zero + 1, 2);
  if (const std::size_t zero = label.find("e-0"); zero != std::string::npos) label.erase(zero + 2, 1);
  return label;
}

/// Ticks at multiples of 1, 2 or 5 times a power of ten, about `count` of them; the axis ends at the first and the last
/// tick around what it shows.
inline Axis linear_axis(double low, double high, double count) {
  const double size = std::max(std::abs(low), std::abs(high));
  if (high - low <= 1e-9 * size || high == low) {  // one value: a tenth of it to each side
    const double around = size > 0 ? 0.1 * size : 1;
    low -= around;
    high += around;
  }
  const double rough = (high - low) / count, power = std::pow(10, std::floor(std::log10(rough)));
  const double step = (rough <= power ? 1 : rough <= 2 * power ? 2 : rough <= 5 * power ? 5 : 10) * power;
  Axis axis;
  const double first = std::floor(low / step + 1e-9), last = std::ceil(high / step - 1e-9);
  for (double k = first; k <= last; ++k) {
    axis.ticks.push_back(k * step);
    axis.labels.push_back(tick_label(k * step, step));
  }
  axis.low = axis.ticks.front();
  axis.high = axis.ticks.back();
  return axis;
}

/// Ticks at powers of ten and, where there would be few of them, at twice and five times these.
inline Axis log_axis(double low, double high, double count) {
  const double decades = std::log10(high) - std::log10(low);
  const bool between = decades < 2.5;
  const double every = std::max(1.0, std::ceil(decades / count));
  std::vector<std::pair<double, std::string>> all;
  for (double power = std::floor(std::log10(low) + 1e-9) - 1; power <= std::log10(high) + every + 1; power += every)
    for (const double digit : {1.0, 2.0, 5.0})
      if (digit == 1 || between)
        all.emplace_back(power + std::log10(digit), tick_label(digit * std::pow(10, power), std::pow(10, power)));
  Axis axis;
  std::size_t first = 0, last = all.size() - 1;
  while (first + 1 < all.size() && all[first + 1].first <= std::log10(low) + 1e-9) ++first;
  while (last > first + 1 && all[last - 1].first >= std::log10(high) - 1e-9) --last;
  for (std::size_t i = first; i <= last; ++i) {
    axis.ticks.push_back(all[i].first);
    axis.labels.push_back(all[i].second);
  }
  axis.low = axis.ticks.front();
  axis.high = axis.ticks.back();
  return axis;
}

/// Throws unless there is something to draw, all of it finite, and above 0 on logarithmic axes.
inline void check_curves(std::span<const Curve> curves, const CurvePictureOptions& o, Site site) {
  const char* op = "curve_picture";
  if (curves.empty()) fail(op, "of no curves", {}, site);
  for (const Curve& curve : curves) {
    const auto points = static_cast<Index>(curve.x.size());
    if (curve.x.size() != curve.y.size() || curve.x.empty())
      fail(op, {"the curve '", curve.name, "' has ", points, " x and ", curve.y.size(), " y"}, {}, site);
    for (std::size_t i = 0; i < curve.x.size(); ++i) {
      const double x = curve.x[i], y = curve.y[i];
      if (!std::isfinite(x) || !std::isfinite(y) || std::abs(x) > 1e300 || std::abs(y) > 1e300)
        fail(op, {"point ", i, " of the curve '", curve.name, "' is (", x, ", ", y, ")"}, {}, site);
      if ((o.log_x && x <= 0) || (o.log_y && y <= 0))
        fail(op, {"point ", i, " of the curve '", curve.name, "' is (", x, ", ", y, ") on a logarithmic axis"}, {},
             site);
    }
  }
}

}  // namespace detail

/// The curves over common axes, each in its colour, with dots where there are few points. Throws ValueError for no
/// curves or points, lists of unequal length, and numbers that are not finite or not above 0 on a logarithmic axis.
GRAFT_ONCE Svg curve_picture(std::span<const Curve> curves, const CurvePictureOptions& o = {},
                             Site site = Site::current()) {
  detail::check_curves(curves, o, site);
  const auto axis_of = [&](std::vector<double> Curve::*numbers, bool logarithmic, double count) {
    double low = std::numeric_limits<double>::infinity(), high = -low;
    for (const Curve& curve : curves)
      for (const double value : curve.*numbers) {
        low = std::min(low, value);
        high = std::max(high, value);
      }
    return logarithmic ? detail::log_axis(low, high, count) : detail::linear_axis(low, high, count);
  };
  const detail::Axis across = axis_of(&Curve::x, o.log_x, 6), up = axis_of(&Curve::y, o.log_y, 5);

  double labels = 0;
  for (const std::string& label : up.labels) labels = std::max(labels, detail::text_width(label, 13));
  const double left = 16 + labels + (o.y_name.empty() ? 0 : 20);
  const double right = o.width - 10 - std::max(14.0, detail::text_width(across.labels.back(), 13) / 2);
  std::vector<detail::Legend::Entry> entries;
  for (std::size_t c = 0; c < curves.size(); ++c)
    if (!curves[c].name.empty())
      entries.push_back({curves[c].name, class_colour(static_cast<Index>(c)), detail::Legend::Sign::stroke, 2.5});
  const detail::Legend legend(std::move(entries), left, right);
  const double top = 14 + detail::title_height(o.title) + legend.height();
  const double bottom = o.height - (o.x_name.empty() ? 28 : 48);
  if (!(right - left >= 50 && bottom - top >= 50))
    fail("curve_picture", {"axes and legend leave no room on a sheet of ", o.width, " x ", o.height}, {}, site);
  const auto x_of = [&](double x) { return left + (right - left) * (x - across.low) / (across.high - across.low); };
  const auto y_of = [&](double y) { return bottom - (bottom - top) * (y - up.low) / (up.high - up.low); };

  Svg picture(o.width, o.height, o.title, site);
  detail::draw_title(picture, o.title, left, site);
  legend.draw(picture, 6 + detail::title_height(o.title), site);
  picture.open({{"stroke", "#ddd"}});
  for (const double tick : up.ticks)
    picture.add("path", {{"d", SvgPath(site).move(left, y_of(tick)).line(right, y_of(tick)).text()}});
  picture.close();
  SvgPath frame(site);
  frame.move(left, top).line(left, bottom).line(right, bottom);
  for (const double tick : across.ticks) frame.move(x_of(tick), bottom).line(x_of(tick), bottom + 5);
  picture.add("path", {{"d", frame.text()}, {"stroke", "#444"}, {"fill", "none"}});
  picture.open({{"text-anchor", "end"}});
  for (std::size_t i = 0; i < up.ticks.size(); ++i)
    picture.add("text", {{"x", left - 6}, {"y", y_of(up.ticks[i]) + 4.5}}, up.labels[i]);
  picture.close();
  picture.open({{"text-anchor", "middle"}});
  for (std::size_t i = 0; i < across.ticks.size(); ++i)
    picture.add("text", {{"x", x_of(across.ticks[i])}, {"y", bottom + 19}}, across.labels[i]);
  picture.add("text", {{"x", (left + right) / 2}, {"y", bottom + 38}}, o.x_name);
  if (!o.y_name.empty()) {
    const std::string place = detail::svg_number((top + bottom) / 2, 1, site);
    picture.add("text", {{"transform", "translate(15 " + place + ") rotate(-90)"}}, o.y_name);
  }
  picture.close();

  picture.open({{"fill", "none"}, {"stroke-width", 2}, {"stroke-linejoin", "round"}});
  for (std::size_t c = 0; c < curves.size(); ++c) {
    const Curve& curve = curves[c];
    const char* colour = class_colour(static_cast<Index>(c));
    SvgPath line(site);
    for (std::size_t i = 0; i < curve.x.size(); ++i) {
      const double x = x_of(o.log_x ? std::log10(curve.x[i]) : curve.x[i]);
      const double y = y_of(o.log_y ? std::log10(curve.y[i]) : curve.y[i]);
      i == 0 ? line.move(x, y) : line.line(x, y);
    }
    if (curve.x.size() > 1) picture.add("path", {{"d", line.text()}, {"stroke", colour}});
    for (std::size_t i = 0; curve.x.size() <= 30 && i < curve.x.size(); ++i)
      picture.add("circle", {{"cx", x_of(o.log_x ? std::log10(curve.x[i]) : curve.x[i])},
                             {"cy", y_of(o.log_y ? std::log10(curve.y[i]) : curve.y[i])},
                             {"r", 3},
                             {"fill", colour}});
  }
  return picture;
}
GRAFT_HELD(Svg curve_picture<>(std::span<const Curve>, const CurvePictureOptions&, Site))

}  // namespace GRAFT_ABI
}  // namespace graft
