#pragma once
// Pictures as SVG text (W3C, Scalable Vector Graphics 1.1): elements one after the other on a white sheet. The bytes
// depend on what is drawn alone, not on the locale.

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/errors.hpp"
#include "graft/io/file.hpp"
#include "graft/io/json.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// `text` as content or as an attribute's value of XML 1.0. What it cannot hold (bytes that are not UTF-8, control
/// characters, U+FFFE and U+FFFF) becomes U+FFFD.
inline std::string xml_text(std::string_view text) {
  std::string xml;
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    const std::string_view character = text.substr(0, std::max<std::size_t>(length, 1));
    const auto first = static_cast<unsigned char>(character[0]);
    if (character == "&")
      xml += "&amp;";
    else if (character == "<")
      xml += "&lt;";
    else if (character == ">")
      xml += "&gt;";
    else if (character == "\"")
      xml += "&quot;";
    else if (length == 0 || first < 0x20 || first == 0x7F || character == "\xEF\xBF\xBE" || character == "\xEF\xBF\xBF")
      xml += "\xEF\xBF\xBD";
    else
      xml += character;
    text.remove_prefix(character.size());
  }
  return xml;
}

/// `value` with at most so many decimals, none of them a zero at the end. Throws ValueError for what no sheet holds.
inline std::string svg_number(double value, int decimals, Site site) {
  if (!(std::abs(value) <= 1e7)) fail("Svg", {"the coordinate or size ", value, " is on no sheet"}, {}, site);
  char digits[32];
  std::string text(digits,
                   std::to_chars(digits, digits + sizeof digits, value, std::chars_format::fixed, decimals).ptr);
  if (decimals > 0) text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text == "-0" ? "0" : text;
}

/// About how wide `text` is, in the letters of an Svg: wider rather than narrower than it will be.
inline double text_width(std::string_view text, double size) {
  const auto is_first_byte = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; };
  return 0.6 * size * static_cast<double>(std::count_if(text.begin(), text.end(), is_first_byte));
}

}  // namespace detail

/// An attribute of an element: a word, or a number of at most two decimals.
struct SvgAttribute {
  SvgAttribute(const char* own_name, std::string_view value) : name(own_name), word(value) {}
  SvgAttribute(const char* own_name, double value) : name(own_name), number(value), is_number(true) {}

  const char* name;
  std::string word;
  double number = 0;
  bool is_number = false;
};

/// The attribute d of a path, point by point, to a tenth of a pixel. Throws ValueError for a point on no sheet.
class SvgPath {
 public:
  explicit SvgPath(Site site = Site::current()) : site_(site) {}
  SvgPath& move(double x, double y) { return add("M", {x, y}); }
  SvgPath& line(double x, double y) { return add("L", {x, y}); }
  /// A quadratic curve to (x, y), drawn towards (over_x, over_y) on its way.
  SvgPath& curve(double over_x, double over_y, double x, double y) { return add("Q", {over_x, over_y, x, y}); }
  const std::string& text() const { return text_; }

 private:
  SvgPath& add(const char* command, std::initializer_list<double> numbers) {
    text_ += command;
    for (const double& number : numbers) {
      if (&number != numbers.begin()) text_ += ' ';
      text_ += detail::svg_number(number, 1, site_);
    }
    return *this;
  }

  Site site_;
  std::string text_;
};

/// A picture of width x height pixels; x runs to the right, y downwards.
///
///     Svg picture(200, 100, "A dot");
///     picture.add("circle", {{"cx", 100.0}, {"cy", 50.0}, {"r", 4.0}, {"fill", "#0072b2"}});
///     picture.write("dot.svg");
class Svg {
 public:
  /// `title` is what is read out in place of the picture. Throws ValueError for a size that is not above 0.
  Svg(double width, double height, std::string_view title, Site site = Site::current()) : width_(width) {
    if (!(width > 0 && height > 0)) fail("Svg", {"a sheet of ", width, " x ", height}, {}, site);
    const std::string w = detail::svg_number(width, 1, site), h = detail::svg_number(height, 1, site);
    text_ = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + w + "\" height=\"" + h + "\" viewBox=\"0 0 " + w +
            " " + h + "\" role=\"img\" font-family=\"Helvetica,Arial,sans-serif\" font-size=\"13\" fill=\"#222\">\n";
    if (!title.empty()) text_ += "<title>" + detail::xml_text(title) + "</title>\n";
    text_ += "<rect width=\"" + w + "\" height=\"" + h + "\" fill=\"#fff\"/>\n";
  }

  /// An element with its attributes and, if it is no empty one, its text. Throws ValueError for a number that is not
  /// finite or on no sheet.
  Svg& add(const char* element, std::initializer_list<SvgAttribute> attributes, std::string_view content = {},
           Site site = Site::current()) {
    const std::string begin = head(element, attributes, site);
    if (content.empty())
      text_ += begin + "/>\n";
    else
      text_ += begin + ">" + detail::xml_text(content) + "</" + element + ">\n";
    return *this;
  }
  /// What is added until `close` is inside a group with these attributes.
  Svg& open(std::initializer_list<SvgAttribute> attributes, Site site = Site::current()) {
    text_ += head("g", attributes, site) + ">\n";
    ++groups_;
    return *this;
  }
  Svg& close(Site site = Site::current()) {
    if (groups_ == 0) fail("Svg", "there is no group to close", {}, site);
    text_ += "</g>\n";
    --groups_;
    return *this;
  }

  double width() const { return width_; }
  /// The file's text; groups that are open end with it.
  std::string text() const {
    std::string all = text_;
    for (Index i = 0; i < groups_; ++i) all += "</g>\n";
    return all + "</svg>\n";
  }
  /// Writes it to a file, as `OutputFile` does. Throws FileError.
  void write(const std::string& path) const { write_text(path, text()); }

 private:
  static std::string head(const char* element, std::initializer_list<SvgAttribute> attributes, Site site) {
    std::string text = std::string("<") + element;
    for (const SvgAttribute& attribute : attributes)
      text += std::string(" ") + attribute.name + "=\"" +
              (attribute.is_number ? detail::svg_number(attribute.number, 2, site) : detail::xml_text(attribute.word)) +
              "\"";
    return text;
  }

  double width_;
  std::string text_;
  Index groups_ = 0;
};

/// The colour of class or curve number `index`: the palette of Okabe and Ito 2008, which colour-blind people tell
/// apart, but for yellow and black, which white paper or text would hide. From the eighth on colours come again.
inline const char* class_colour(Index index) {
  static constexpr const char* colours[] = {"#0072b2", "#e69f00", "#009e73", "#cc79a7",
                                            "#56b4e9", "#d55e00", "#7f7f7f"};
  const auto count = static_cast<Index>(std::size(colours));
  return colours[(index % count + count) % count];
}

namespace detail {

/// The colour at `share` of a ramp through nine colours, evenly spaced over 0 .. 1; outside that of the nearer end.
inline std::string colour_between(const int (&stops)[9][3], double share) {
  const double place = 8 * (share > 0 ? std::min(share, 1.0) : 0.0);
  const auto stop = static_cast<std::size_t>(std::min(place, 7.0));
  char text[8];
  int colour[3];
  for (std::size_t i = 0; i < 3; ++i)
    colour[i] = static_cast<int>(
        std::lround(stops[stop][i] + (place - static_cast<double>(stop)) * (stops[stop + 1][i] - stops[stop][i])));
  std::snprintf(text, sizeof text, "#%02x%02x%02x", colour[0], colour[1], colour[2]);
  return text;
}

}  // namespace detail

/// The colour of a share in 0 .. 1, from nearly white to dark blue, ever darker: the ramp YlGnBu of ColorBrewer (Brewer
/// 2002), which colour-blind people read too. What is outside has the colour of the nearer end.
inline std::string ramp_colour(double share) {
  static constexpr int stops[][3] = {{255, 255, 229}, {237, 248, 177}, {199, 233, 180}, {127, 205, 187}, {65, 182, 196},
                                     {29, 145, 192},  {34, 94, 168},   {37, 52, 148},   {8, 29, 88}};
  return detail::colour_between(stops, share);
}

/// The colour of a share in 0 .. 1 of a scale with a middle: red at 0, nearly white at 0.5, blue at 1: the ramp RdBu of
/// ColorBrewer, which colour-blind people read too. What is outside has the colour of the nearer end.
inline std::string diverging_colour(double share) {
  static constexpr int stops[][3] = {{178, 24, 43},   {214, 96, 77},   {244, 165, 130},
                                     {253, 219, 199}, {247, 247, 247}, {209, 229, 240},
                                     {146, 197, 222}, {67, 147, 195},  {33, 102, 172}};
  return detail::colour_between(stops, share);
}

namespace detail {

/// Names beside a dot or a stroke of their colour, in as many lines as they need.
class Legend {
 public:
  enum class Sign { dot, ring, stroke };
  struct Entry {
    std::string name, colour;
    Sign sign = Sign::dot;
    double size = 2;  // width of a stroke or a ring
  };

  Legend(std::vector<Entry> entries, double left, double right) : entries_(std::move(entries)) {
    double x = left;
    for (const Entry& entry : entries_) {
      const double width = indent(entry) + text_width(entry.name, 13) + 14;
      if (x > left && x + width > right) {
        x = left;
        ++lines_;
      }
      places_.emplace_back(x, lines_);
      x += width;
    }
  }
  double height() const { return entries_.empty() ? 0 : 20 * (lines_ + 1); }
  void draw(Svg& picture, double top, Site site) const {
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      const Entry& entry = entries_[i];
      const double x = places_[i].first, y = top + 20 * places_[i].second + 10;
      if (entry.sign == Sign::stroke)
        picture.add("path", {{"d", SvgPath(site).move(x, y).line(x + 22, y).text()},
                             {"stroke", entry.colour},
                             {"stroke-width", entry.size}});
      else if (entry.sign == Sign::dot)
        picture.add("circle", {{"cx", x + 6}, {"cy", y}, {"r", 5}, {"fill", entry.colour}});
      else
        picture.add("circle", {{"cx", x + 6},
                               {"cy", y},
                               {"r", 5},
                               {"fill", "none"},
                               {"stroke", entry.colour},
                               {"stroke-width", entry.size}});
      picture.add("text", {{"x", x + indent(entry)}, {"y", y + 4.5}}, entry.name, site);
    }
  }

 private:
  static double indent(const Entry& entry) { return entry.sign == Sign::stroke ? 28 : 16; }

  std::vector<Entry> entries_;
  std::vector<std::pair<double, double>> places_;  // left, line
  double lines_ = 0;
};

/// The title's line; 0 pixels high without one.
inline double title_height(std::string_view title) { return title.empty() ? 0 : 26; }
inline void draw_title(Svg& picture, std::string_view title, double left, Site site) {
  if (!title.empty())
    picture.add("text", {{"x", left}, {"y", 22}, {"font-size", 15}, {"font-weight", "bold"}}, title, site);
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
