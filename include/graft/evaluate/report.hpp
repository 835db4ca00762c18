#pragma once
// A page for reading, HTML in one file that needs nothing else: no network, no scripts. Light or dark as the reader's
// system is, readable on a telephone and on a wide screen.

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/evaluate/svg.hpp"
#include "graft/io/file.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// `text` as content or as an attribute's value of HTML, as `xml_text`, with line ends and tabs as spaces.
inline std::string html_text(std::string_view text) {
  std::string line(text);
  for (char& c : line)
    if (c == '\n' || c == '\r' || c == '\t') c = ' ';
  return xml_text(line);
}

}  // namespace detail

/// Sections of text, tables and pictures, in the order in which they are added, with a list of the sections on top.
/// What is added before the first section stands below the title.
///
///     HtmlReport report("Five alphabets");
///     report.section("Results").table("Accuracy in %", {"method", "5-way"}, {{"protonet", "97.1 ± 0.3"}});
///     report.picture(curve_picture(curves), "Validation while training").write("report.html");
class HtmlReport {
 public:
  explicit HtmlReport(std::string_view title) : title_(detail::html_text(title)), sections_{{"", ""}} {}

  HtmlReport& section(std::string_view heading) {
    body();
    sections_.push_back({detail::html_text(heading), ""});
    return *this;
  }
  HtmlReport& paragraph(std::string_view text) {
    body() += "<p>" + detail::html_text(text) + "</p>\n";
    return *this;
  }
  /// Rows of as many cells as the head has; the first of each names its row. A wide table scrolls in its own box.
  /// Throws ValueError for a head without cells or a row of another length.
  HtmlReport& table(std::string_view caption, const std::vector<std::string>& head,
                    const std::vector<std::vector<std::string>>& rows, Site site = Site::current()) {
    if (head.empty()) fail("HtmlReport", {"the table '", caption, "' has no columns"}, {}, site);
    for (const std::vector<std::string>& row : rows)
      if (row.size() != head.size())
        fail("HtmlReport", {"a row of ", row.size(), " cells under a head of ", head.size()}, {}, site);
    const std::string name = detail::html_text(caption);
    std::string& text = body();
    text += scroll_box(name) + "<table>\n<caption><span>" + name + "</span></caption>\n<thead><tr>";
    for (const std::string& cell : head) text += "<th scope=\"col\">" + detail::html_text(cell) + "</th>";
    text += "</tr></thead>\n<tbody>\n";
    for (const std::vector<std::string>& row : rows) {
      text += "<tr>";
      for (std::size_t c = 0; c < row.size(); ++c)
        text += (c == 0 ? "<th scope=\"row\">" : "<td>") + detail::html_text(row[c]) + (c == 0 ? "</th>" : "</td>");
      text += "</tr>\n";
    }
    text += "</tbody>\n</table>\n</div>\n";
    return *this;
  }
  /// Names and values, such as options; "–" for an empty value.
  HtmlReport& values(const std::vector<std::pair<std::string, std::string>>& list) {
    std::string& text = body();
    text += "<dl>\n";
    for (const auto& [name, value] : list)
      text += "<div><dt>" + detail::html_text(name) + "</dt><dd>" + (value.empty() ? "–" : detail::html_text(value)) +
              "</dd></div>\n";
    text += "</dl>\n";
    return *this;
  }
  /// A picture with its caption, in the colours of the page. Pictures that follow one another stand side by side where
  /// there is room: three that are up to 480 pixels wide, or two up to 900. On a narrow page one of more than 480
  /// pixels scrolls in its own box rather than become too small to read.
  HtmlReport& picture(const Svg& svg, std::string_view caption) {
    std::string drawing = svg.text();
    const std::string name = detail::html_text(caption);
    if (drawing.find("<title>") == std::string::npos) drawing.insert(4, " aria-label=\"" + name + "\"");
    const bool wide = svg.width() > 480;
    const auto pixels = [](double width) { return std::to_string(static_cast<Index>(width)) + "px"; };
    drawing.insert(4, " style=\"" + (wide ? "min-width:" + pixels(0.7 * svg.width()) + ";" : "") +
                          "max-width:" + pixels(1.3 * svg.width()) + "\"");
    body(true) += std::string("<figure class=\"") +
                  (!wide                ? "small"
                   : svg.width() <= 900 ? "wide"
                                        : "whole") +
                  "\">\n" + (wide ? scroll_box(name) : "") + drawing + (wide ? "</div>\n" : "") + "<figcaption>" +
                  name + "</figcaption>\n</figure>\n";
    return *this;
  }
  /// Lines of text as a program prints them, described by `name`.
  HtmlReport& listing(std::string_view name, std::string_view lines) {
    std::string& text = body();
    text += scroll_box(detail::html_text(name)) + "<pre>";
    while (!lines.empty()) {
      const std::size_t end = std::min(lines.find('\n'), lines.size());
      text += detail::html_text(lines.substr(0, end)) + "\n";
      lines.remove_prefix(std::min(end + 1, lines.size()));
    }
    text += "</pre>\n</div>\n";
    return *this;
  }
  /// All of another page, but its title, behind what there is.
  HtmlReport& add(const HtmlReport& other) {
    const std::vector<Section> more = other.closed();
    body() += more[0].body;
    sections_.insert(sections_.end(), more.begin() + 1, more.end());
    return *this;
  }

  /// The page.
  GRAFT_ONCE std::string text() const {
    const std::vector<Section> sections = closed();
    std::string page =
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<meta name=\"color-scheme\" content=\"light dark\">\n<title>" +
        title_ + "</title>\n<style>\n" + std::string(kStyle) + "</style>\n</head>\n<body>\n<main>\n<h1>" + title_ +
        "</h1>\n" + sections[0].body;
    if (sections.size() > 2) {
      page += "<nav aria-label=\"Sections\"><ul>\n";
      for (std::size_t s = 1; s < sections.size(); ++s)
        page += "<li><a href=\"#" + id(s) + "\">" + sections[s].heading + "</a></li>\n";
      page += "</ul></nav>\n";
    }
    for (std::size_t s = 1; s < sections.size(); ++s)
      page += "<section aria-labelledby=\"" + id(s) + "\">\n<h2 id=\"" + id(s) + "\">" + sections[s].heading +
              "</h2>\n" + sections[s].body + "</section>\n";
    return page + "</main>\n</body>\n</html>\n";
  }
  /// Writes it to a file, as `OutputFile` does. Throws FileError.
  void write(const std::string& path) const { write_text(path, text()); }

 private:
  struct Section {
    std::string heading, body;
  };

  static std::string id(std::size_t section) { return "section-" + std::to_string(section); }
  /// The beginning of what may be wider than the page; the keyboard reaches it.
  static std::string scroll_box(const std::string& name) {
    return "<div class=\"scroll\" role=\"region\" aria-label=\"" + name + "\" tabindex=\"0\">\n";
  }
  /// Where the next thing goes: a picture into a group of pictures, anything else behind one.
  std::string& body(bool is_picture = false) {
    std::string& text = sections_.back().body;
    if (is_picture != in_pictures_) text += is_picture ? "<div class=\"figures\">\n" : "</div>\n";
    in_pictures_ = is_picture;
    return text;
  }
  std::vector<Section> closed() const {
    std::vector<Section> sections = sections_;
    if (in_pictures_) sections.back().body += "</div>\n";
    return sections;
  }

  // Pictures are drawn for white paper: their greys are turned where the page is dark, colours stay. Rules of a style
  // sheet come before an element's attributes.
  static constexpr std::string_view kStyle =
      ":root{--ground:#fff;--text:#1c1e21;--soft:#59606a;--line:#d5d9de;--band:#f4f6f8;--card:#fff;--link:#0b5cad}\n"
      "@media(prefers-color-scheme:dark){:root{--ground:#16181b;--text:#e6e8ea;--soft:#a9b0b8;--line:#3a3f45;"
      "--band:#1f2226;--card:#1c1f23;--link:#8ab8f0}\n"
      "figure svg{fill:var(--text)}\n"
      "figure [fill=\"#222\"]{fill:var(--text)}figure [fill=\"#ddd\"]{fill:var(--line)}\n"
      "figure [stroke=\"#fff\"]{stroke:var(--card)}figure [stroke=\"#ddd\"]{stroke:var(--line)}\n"
      "figure [stroke=\"#222\"],figure [stroke=\"#444\"],figure [stroke=\"#555\"],figure [stroke=\"#888\"],"
      "figure [stroke=\"#999\"]{stroke:var(--soft)}}\n"
      "*{box-sizing:border-box}\n"
      "body{margin:0;background:var(--ground);color:var(--text);font:16px/1.5 system-ui,Helvetica,Arial,sans-serif}\n"
      "main{max-width:1480px;margin:0 auto;padding:1rem 1rem 3rem}\n"
      "h1{font-size:1.7rem;line-height:1.2;margin:.4rem 0 1rem;overflow-wrap:anywhere}\n"
      "h2{font-size:1.25rem;margin:2.5rem 0 .8rem;padding-bottom:.25rem;border-bottom:1px solid var(--line);"
      "overflow-wrap:anywhere}\n"
      "p{max-width:75ch;margin:.6rem 0;overflow-wrap:anywhere}\n"
      "a{color:var(--link)}\n"
      "nav ul{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;list-style:none;margin:0;padding:0}\n"
      ".scroll{overflow-x:auto;max-width:100%}\n"
      "table{border-collapse:collapse;font-variant-numeric:tabular-nums;min-width:min(100%,24rem);"
      "margin:1.2rem 0 .4rem}\n"
      "caption{text-align:left;padding:.2rem 0;font-weight:600}\n"
      "caption span{display:inline-block;position:sticky;left:0;max-width:min(75ch,calc(100vw - 2rem))}\n"
      "th,td{padding:.3rem .8rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}\n"
      "thead th{color:var(--soft);font-weight:600;vertical-align:bottom}\n"
      "th:first-child{text-align:left;position:sticky;left:0;background:var(--ground)}\n"
      "tbody th{font-weight:400}\n"
      "tbody tr:nth-child(even),tbody tr:nth-child(even) th{background:var(--band)}\n"
      "dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,20rem),1fr));gap:0 2rem;margin:1rem 0}\n"
      "dl div{display:flex;justify-content:space-between;gap:1rem;border-bottom:1px solid var(--line);"
      "padding:.25rem 0}\n"
      "dt{color:var(--soft)}dd{margin:0;text-align:right;overflow-wrap:anywhere}\n"
      ".figures{display:grid;grid-template-columns:minmax(0,1fr);gap:1.2rem;margin:1rem 0;align-items:start}\n"
      "@media(min-width:760px){.figures{grid-template-columns:repeat(6,minmax(0,1fr))}"
      "figure{grid-column:1/-1}.small{grid-column:span 3}thead th{white-space:normal}}\n"
      "@media(min-width:1240px){.small{grid-column:span 2}.wide{grid-column:span 3}}\n"
      "figure{margin:0;min-width:0;padding:.4rem;background:var(--card);border:1px solid var(--line);"
      "border-radius:8px;break-inside:avoid}\n"
      "figure svg{display:block;width:100%;height:auto;margin:0 auto}\n"
      "figure svg>rect:first-of-type{fill:var(--card)}\n"
      "figcaption{color:var(--soft);font-size:.9rem;padding:.4rem .3rem 0}\n"
      "pre{margin:.8rem 0;font:13px/1.4 ui-monospace,Menlo,Consolas,monospace}\n";

  std::string title_;
  std::vector<Section> sections_;  // the first has no heading: what stands before the first section
  bool in_pictures_ = false;
};
GRAFT_HELD(std::string HtmlReport::text<>() const)

}  // namespace GRAFT_ABI
}  // namespace graft
