// Pictures: their text is XML whatever the names in them hold, says the numbers that it was given, and is the same for
// the same input; what cannot be drawn is refused. Tagged [evaluate].

#include <algorithm>
#include <clocale>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <locale>
#include <set>
#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "graft/evaluate/curve_picture.hpp"
#include "graft/evaluate/graph_picture.hpp"
#include "graft/evaluate/map_picture.hpp"
#include "graft/evaluate/svg.hpp"
#include "graphs.hpp"

using namespace graft;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN(), kInfinity = std::numeric_limits<double>::infinity();

/// True if elements nest, attributes are quoted once each, and & only begins an entity.
bool well_formed(const std::string& text) {
  std::vector<std::string> open;
  std::size_t roots = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t tag = text.find('<', at), end = text.find('>', tag);
    const std::string between = text.substr(at, tag - at);
    if (between.find('>') != std::string::npos ||
        (open.empty() && between.find_first_not_of('\n') != std::string::npos))
      return false;
    if (tag == std::string::npos) break;
    if (end == std::string::npos) return false;
    const std::string inside = text.substr(tag + 1, end - tag - 1);
    const std::string name = inside.substr(0, inside.find_first_of(" /", 1));
    if (inside.find('<') != std::string::npos || std::count(inside.begin(), inside.end(), '"') % 2 != 0) return false;
    std::set<std::string> attributes;
    for (std::size_t equals = inside.find("=\""); equals != std::string::npos;
         equals = inside.find("=\"", equals + 2)) {
      const std::size_t begin = inside.rfind(' ', equals) + 1;
      if (!attributes.insert(inside.substr(begin, equals - begin)).second) return false;
    }
    if (inside[0] == '/') {
      if (open.empty() || "/" + open.back() != inside) return false;
      open.pop_back();
    } else if (inside.back() != '/') {
      open.push_back(name);
      roots += open.size() == 1;
    }
    at = end + 1;
  }
  for (std::size_t at = text.find('&'); at != std::string::npos; at = text.find('&', at + 1))
    if (const std::string rest = text.substr(at, 6); rest.rfind("&amp;", 0) != 0 && rest.rfind("&lt;", 0) != 0 &&
                                                     rest.rfind("&gt;", 0) != 0 && rest.rfind("&quot;", 0) != 0)
      return false;
  return open.empty() && roots == 1;
}

/// Checked to be well-formed and UTF-8.
std::string text_of(const Svg& picture) {
  std::string text = picture.text();
  CHECK(well_formed(text));
  CHECK(is_utf8(text));
  return text;
}

Index count_of(const std::string& text, const std::string& part) {
  Index count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}
/// The numbers that follow each `part`.
std::vector<double> numbers_after(const std::string& text, const std::string& part) {
  std::vector<double> numbers;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    numbers.push_back(std::strtod(text.c_str() + at + part.size(), nullptr));
  return numbers;
}
/// What lies between the first `begin` and the `end` after it.
std::string between(const std::string& text, const std::string& begin, const std::string& end) {
  const std::size_t at = text.find(begin) + begin.size();
  return text.substr(at, text.find(end, at) - at);
}

}  // namespace

TEST_CASE("an element holds its attributes and its text", "[evaluate]") {
  Svg picture(200, 100, "A \"dot\" & <more>");
  picture.open({{"fill", "#123"}});
  picture.add("circle", {{"cx", 100}, {"cy", 1.0 / 3}, {"r", 2.5}});
  picture.add("text", {{"x", 0}, {"font-family", "a\"b"}}, "1 < 2 & \x01 caf\xE9 \xEF\xBF\xBF");
  const std::string text = text_of(picture);  // ends the group that is open
  CHECK_THAT(text, contains("<circle cx=\"100\" cy=\"0.33\" r=\"2.5\"/>"));
  CHECK_THAT(text,
             contains("font-family=\"a&quot;b\">1 &lt; 2 &amp; \xEF\xBF\xBD caf\xEF\xBF\xBD \xEF\xBF\xBD</text>"));
  CHECK_THAT(text, contains("<title>A &quot;dot&quot; &amp; &lt;more&gt;</title>"));
  CHECK_THAT(text, contains("viewBox=\"0 0 200 100\""));
  picture.close();
  CHECK(text_of(picture) == text);
  CHECK_THROWS_WITH(picture.close(), contains("no group"));
  CHECK(SvgPath().move(1, -0.04).line(2.25, 3).curve(0, 1, 2, 1000).text() == "M1 0L2.2 3Q0 1 2 1000");

  const Folder folder;
  picture.write(folder / "dot.svg");
  CHECK(bytes_of(folder / "dot.svg") == text);
  // The checker sees what is not well-formed.
  for (const char* wrong : {"<a>", "<a><b></a></b>", "<a x=\"1\" x=\"2\"/>", "<a>&</a>", "<a/><b/>", "<a>></a>", "a"})
    CHECK_FALSE(well_formed(wrong));
}

TEST_CASE("numbers on no sheet are refused where they are drawn", "[evaluate]") {
  for (const double wrong : {kNan, kInfinity, -kInfinity, 1e8}) {
    Svg picture(10, 10, "");
    CHECK_THROWS_AS(picture.add("circle", {{"r", wrong}}), ValueError);
    CHECK_THROWS_AS(SvgPath().move(0, wrong), ValueError);
    CHECK_THROWS_AS(Svg(wrong, 10, ""), ValueError);
    CHECK_THROWS_AS(Svg(10, -1, ""), ValueError);
  }
}

TEST_CASE("numbers are printed alike on every locale", "[evaluate]") {
  struct Comma : std::numpunct<char> {
    char do_decimal_point() const override { return ','; }
  };
  const auto draw = [] {
    return curve_picture(std::vector<Curve>{{"a", {1, 2}, {0.25, 0.75}}}, {.log_y = true}).text();
  };
  const std::string expected = draw();
  const std::locale before = std::locale::global(std::locale(std::locale::classic(), new Comma));
  std::setlocale(LC_ALL, "de_DE.UTF-8");  // of C too, where it is installed
  CHECK(draw() == expected);
  std::locale::global(before);
  std::setlocale(LC_ALL, "C");
}

TEST_CASE("the ramp darkens all the way", "[evaluate]") {
  // Relative luminance of sRGB, in which darker is smaller (weights of ITU-R BT.709, gamma left aside).
  const auto light = [](double share) {
    const std::string c = ramp_colour(share);
    const auto part = [&](std::size_t at) { return static_cast<double>(std::stoi(c.substr(at, 2), nullptr, 16)); };
    return 0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5);
  };
  for (int i = 0; i < 100; ++i) CHECK(light(0.01 * (i + 1)) < light(0.01 * i));
  CHECK(ramp_colour(-1) == ramp_colour(0));
  CHECK(ramp_colour(2) == ramp_colour(1));
  CHECK(class_colour(7) == std::string(class_colour(0)));
}

TEST_CASE("axes have a few round ticks around what they show", "[evaluate]") {
  const Random random(1);
  for (Index i = 0; i < 400; ++i) {
    const auto at = static_cast<std::uint64_t>(4 * i);
    const double size = std::pow(10, random.uniform(at, -12, 12)), one = size * random.uniform(at + 1, -1, 1),
                 two = one + size * std::pow(10, random.uniform(at + 2, -3, 1));
    INFO(one << " to " << two);
    const detail::Axis axis = detail::linear_axis(one, two, 5);
    CHECK(axis.low <= one + 1e-9 * (two - one));
    CHECK(axis.high >= two - 1e-9 * (two - one));
    CHECK(axis.ticks.size() >= 3);
    CHECK(axis.ticks.size() <= 9);
    CHECK(std::set<std::string>(axis.labels.begin(), axis.labels.end()).size() == axis.labels.size());
    for (std::size_t k = 0; k < axis.ticks.size(); ++k)  // what is written is where the tick is
      CHECK(std::strtod(axis.labels[k].c_str(), nullptr) == Approx(axis.ticks[k]).margin(1e-3 * (two - one)));

    const double low = size, high = size * std::pow(10, random.uniform(at + 3, 0, 20));
    const detail::Axis decades = detail::log_axis(low, high, 5);
    CHECK(decades.low <= std::log10(low) + 1e-6);
    CHECK(decades.high >= std::log10(high) - 1e-6);
    CHECK(decades.ticks.size() >= 2);
    CHECK(decades.ticks.size() <= 12);
    for (std::size_t k = 0; k < decades.ticks.size(); ++k)
      CHECK(std::log10(std::strtod(decades.labels[k].c_str(), nullptr)) == Approx(decades.ticks[k]).margin(1e-6));
  }
  CHECK(detail::linear_axis(0, 1000, 6).labels == std::vector<std::string>{"0", "200", "400", "600", "800", "1000"});
  CHECK(detail::linear_axis(0.1, 0.3, 4).labels == std::vector<std::string>{"0.10", "0.15", "0.20", "0.25", "0.30"});
  CHECK(detail::linear_axis(3, 3, 4).low < 3);  // one value
  CHECK(detail::log_axis(0.02, 3, 5).labels ==
        std::vector<std::string>{"0.02", "0.05", "0.1", "0.2", "0.5", "1", "2", "5"});
}

TEST_CASE("a curve goes from its first point to its last, higher numbers higher", "[evaluate]") {
  const std::vector<Curve> curves{{"up & away", {0, 50, 100}, {0, 1, 4}}, {"<down>", {0, 100}, {4, 0}}};
  const Svg picture = curve_picture(curves, {.title = "Two", .x_name = "step", .y_name = "loss"});
  const std::string text = text_of(picture);
  CHECK(curve_picture(curves, {.title = "Two", .x_name = "step", .y_name = "loss"}).text() == text);
  CHECK_THAT(text, contains(">up &amp; away</text>") && contains(">&lt;down&gt;</text>") && contains(">step</text>"));
  // The axes go from 0 to 100 and from 0 to 4: the points of the two curves are dots, in their order.
  const auto x = numbers_after(text, "cx=\""), y = numbers_after(text, "cy=\"");
  REQUIRE(x.size() == 5);
  CHECK(x[1] - x[0] == Approx(x[2] - x[1]).margin(0.02));
  CHECK((y[0] - y[1]) * 3 == Approx(y[1] - y[2]).margin(0.05));
  CHECK(x[3] == x[0]);
  CHECK(y[3] == y[2]);
  CHECK(y[4] == y[0]);
  for (std::size_t i = 0; i < 5; ++i) CHECK((x[i] > 0 && x[i] < 700 && y[i] > 0 && y[i] < 400));

  // On logarithmic axes equal factors are equal lengths.
  const std::string powers =
      text_of(curve_picture(std::vector<Curve>{{"", {1, 10, 100}, {8, 4, 2}}}, {.log_x = true, .log_y = true}));
  const auto px = numbers_after(powers, "cx=\""), py = numbers_after(powers, "cy=\"");
  CHECK(px[1] - px[0] == Approx(px[2] - px[1]).margin(0.02));
  CHECK(py[1] - py[0] == Approx(py[2] - py[1]).margin(0.02));
}

TEST_CASE("curves that cannot be drawn are refused by name and point", "[evaluate]") {
  const auto refused = [](const std::vector<Curve>& curves, const CurvePictureOptions& o = {}) {
    return message<ValueError>([&] { curve_picture(curves, o); });
  };
  CHECK_THAT(refused({}), contains("no curves"));
  CHECK_THAT(refused({{"maml", {}, {}}}), contains("'maml' has 0 x and 0 y"));
  CHECK_THAT(refused({{"maml", {1, 2}, {1}}}), contains("'maml' has 2 x and 1 y"));
  for (const double wrong : {kNan, kInfinity})
    CHECK_THAT(refused({{"a", {1}, {1}}, {"maml", {1, 2}, {1, wrong}}}),
               contains("point 1 of the curve 'maml' is (2, "));
  CHECK_THAT(refused({{"maml", {1}, {0}}}, {.log_y = true}), contains("(1, 0) on a logarithmic axis"));
  CHECK_THAT(refused({{"maml", {-1}, {1}}}, {.log_x = true}), contains("(-1, 1) on a logarithmic axis"));
  CHECK_THAT(refused({{"maml", {1}, {1}}}, {.width = 60}), contains("no room"));
  CHECK(refused({{"maml", {1}, {1}}}).empty());
}

TEST_CASE("the cells of a map cover it, in the colours of their numbers", "[evaluate]") {
  const Tensor<> maps = tensor<float>({{0, 1, 1, 0.5}, {0.25, 0.25, 0, 0}});
  const std::string text = text_of(map_picture(maps, {.title = "Map", .rows = {"a<b", "c"}}));
  CHECK_THAT(text, contains(">a&lt;b</text>") && contains(">c</text>") && contains(">query</text>"));
  // Equal neighbours are one piece: (row, first column, length) by colour.
  const auto cells = [&](double share) { return between(text, "fill=\"" + ramp_colour(share) + "\" d=\"", "\""); };
  CHECK(cells(0) == "M0 0h1v1h-1zM2 1h2v1h-2z");
  CHECK(cells(0.25) == "M0 1h2v1h-2z");
  CHECK(cells(0.5) == "M3 0h1v1h-1z");
  CHECK(cells(1) == "M1 0h2v1h-2z");
  // A scale that is given moves the colours; what is above its end has the colour of the end.
  CHECK_THAT(map_picture(maps, {.high = 0.5}).text(), contains("fill=\"" + ramp_colour(1) + "\" d=\"M1 0h3v1h-3z\""));
  // Several maps have one scale.
  const std::string both =
      text_of(map_picture(reshape(tensor<double>({1.0, 2.0}), {2, 1, 1}), {.maps = {"first", "second"}}));
  CHECK_THAT(both, contains("fill=\"" + ramp_colour(0.5) + "\" d=\"M0 0") &&
                       contains("fill=\"" + ramp_colour(1) + "\" d=\"M0 0"));
  CHECK_THAT(both, contains(">first</text>") && contains(">second</text>"));
  text_of(map_picture(zeros<float>({5, 5})));  // a scale of one number
  CHECK(map_picture(maps).text() == map_picture(maps).text());
}

TEST_CASE("maps that cannot be drawn are refused", "[evaluate]") {
  const Tensor<double> fine = ones<double>({2, 3});
  CHECK_THROWS_AS(map_picture(ones<double>({3})), ShapeError);
  CHECK_THROWS_AS(map_picture(ones<double>({0, 3})), ShapeError);
  CHECK_THROWS_AS(map_picture(fine, {.rows = {"a"}}), ShapeError);
  CHECK_THROWS_AS(map_picture(fine, {.columns = {"a", "b"}}), ShapeError);
  CHECK_THROWS_AS(map_picture(fine, {.maps = {"a", "b"}}), ShapeError);
  CHECK_THROWS_AS(map_picture(fine, {.low = 1, .high = 1}), ValueError);
  CHECK_THROWS_AS(map_picture(fine, {.high = kNan}), ValueError);
  const auto wrong = tensor<double>({{1.0, 2.0, 3.0}, {4.0, kNan, 6.0}});
  CHECK_THAT(message<ValueError>([&] { map_picture(wrong); }), contains("row 1, column 1 is nan"));
}

TEST_CASE("a layout keeps neighbours together inside the unit square", "[evaluate]") {
  // Two rings of ten that one edge joins.
  EdgeList edges{{0, 10}};
  for (Index i = 0; i < 10; ++i) {
    edges.push_back({i, (i + 1) % 10});
    edges.push_back({10 + i, 10 + (i + 1) % 10});
  }
  const Graph graph(20, edges);
  const Tensor<double> places = graph_layout(graph, Random(1));
  CHECK(places.shape() == Shape{20, 2});
  CHECK(same_bits(places, graph_layout(graph, Random(1))));
  CHECK_FALSE(same_bits(places, graph_layout(graph, Random(2))));
  for (const double value : host(places)) CHECK((value >= 0 && value <= 1));
  const auto distance = [&](Index i, Index j) {
    return std::hypot(places.at({i, 0}) - places.at({j, 0}), places.at({i, 1}) - places.at({j, 1}));
  };
  double joined = 0, all = 0;
  for (const GraphEdge& edge : edges) joined += distance(edge.source, edge.destination) / 21;
  for (Index i = 0; i < 20; ++i)
    for (Index j = 0; j < i; ++j) {
      all += distance(i, j) / 190;
      CHECK(distance(i, j) > 0.02);
    }
  CHECK(joined < 0.5 * all);
  // The direction of edges, their number and loops do not matter.
  EdgeList more = both_ways(edges);
  more.push_back({3, 3});
  CHECK(same_bits(places, graph_layout(Graph(20, more), Random(1))));

  CHECK(graph_layout(Graph(0, EdgeList{}), Random(1)).shape() == Shape{0, 2});
  CHECK(all_close(graph_layout(Graph(1, EdgeList{}), Random(1)), full<double>({1, 2}, 0.5), 1e-9, 1e-9));
  const Tensor<double> apart = graph_layout(Graph(5, EdgeList{}), Random(1));
  for (const double value : host(apart)) CHECK((value >= 0 && value <= 1));
  CHECK_THROWS_AS(graph_layout(Graph(2, 3, EdgeList{}), Random(1)), ShapeError);
}

TEST_CASE("edges are as wide as their weights, nodes have the colours of their classes", "[evaluate]") {
  const Graph graph(4, EdgeList{{2, 0}, {1, 0}, {0, 1}, {3, 3}});
  const GraphPictureOptions o{
      .title = "Four", .classes = tensor<std::int64_t>({0, 1, 1, 2}), .class_names = {"a", "<b>", "c"}};
  const std::string text = text_of(graph_picture(graph, tensor<float>({0.1, 0.4, 0.2, 0.3}), o));
  CHECK(graph_picture(graph, tensor<float>({0.1, 0.4, 0.2, 0.3}), o).text() == text);
  const std::string bows = between(text, "stroke-opacity=\"0.6\">", "</g>");
  const std::vector<double> widths = numbers_after(bows, "stroke-width=\"");  // in the order of the list
  REQUIRE(widths.size() == 4);
  CHECK(count_of(bows, "Q") == 3);
  CHECK(count_of(bows, "<circle") == 1);  // the ring of node 3
  for (std::size_t e = 0; e < 4; ++e)
    CHECK(widths[e] == Approx(std::vector{0.25, 1.0, 0.5, 0.75}[e] * widths[1]).margin(0.011));
  CHECK_THAT(text, contains(">&lt;b&gt;</text>") && contains(">weight 0.4"));
  const std::string nodes = between(text, "stroke-width=\"0.8\">", "</g>");
  CHECK(count_of(nodes, "<circle") == 4);
  CHECK(count_of(nodes, class_colour(1)) == 2);
  for (const double x : numbers_after(nodes, "cx=\"")) CHECK((x > 0 && x < 700));
  for (const double y : numbers_after(nodes, "cy=\"")) CHECK((y > 0 && y < 500));

  // Without weights a pair of nodes is one line.
  const std::string plain = text_of(graph_picture(graph));
  CHECK(count_of(between(plain, "stroke-opacity=\"0.6\">", "</g>"), "<path") == 2);
  CHECK_THAT(text_of(graph_picture(graph, {.labels = {"w", "x & y", "", "a longer name"}})),
             contains(">x &amp; y</text>"));
  // Given positions keep their order.
  const std::string placed =
      text_of(graph_picture(graph, {.positions = tensor<double>({{0.0, 5.0}, {1.0, 6.0}, {2.0, 7.0}, {3.0, 5.5}})}));
  const auto x = numbers_after(between(placed, "stroke-width=\"0.8\">", "</g>"), "cx=\"");
  CHECK(std::is_sorted(x.begin(), x.end()));
}

TEST_CASE("a picture around some nodes holds what so many hops reach", "[evaluate]") {
  const Graph path(7, EdgeList{{0, 1}, {2, 1}, {2, 3}, {3, 4}, {4, 5}, {5, 6}});
  const auto nodes = [&](std::vector<std::int64_t> around, Index hops) {
    const std::string text = text_of(graph_picture(path, {.around = from_vector(around), .hops = hops}));
    CHECK(count_of(text, "stroke=\"#222\"") == static_cast<Index>(around.size()) + 1);  // rims, and one in the legend
    return count_of(between(text, "stroke-width=\"0.8\">", "</g>"), "<circle");
  };
  CHECK(nodes({0}, 0) == 1);
  CHECK(nodes({0}, 2) == 3);
  CHECK(nodes({3}, 1) == 3);
  CHECK(nodes({0, 6}, 1) == 4);
  CHECK(nodes({2}, 100) == 7);
}

TEST_CASE("graphs that cannot be drawn are refused", "[evaluate]") {
  const Graph graph(3, EdgeList{{0, 1}, {1, 2}});
  CHECK_THROWS_AS(graph_picture(Graph(2, 3, EdgeList{})), ShapeError);
  CHECK_THROWS_AS(graph_picture(Graph(0, EdgeList{})), ShapeError);
  CHECK_THROWS_AS(graph_picture(graph, ones<float>({3})), ShapeError);
  CHECK_THROWS_AS(graph_picture(graph, {.classes = tensor<std::int64_t>({0, 1})}), ShapeError);
  CHECK_THROWS_AS(graph_picture(graph, {.labels = {"a"}}), ShapeError);
  CHECK_THROWS_AS(graph_picture(graph, {.positions = ones<double>({3, 3})}), ShapeError);
  CHECK_THROWS_AS(graph_picture(graph, {.classes = tensor<std::int64_t>({0, 1, -1})}), IndexError);
  CHECK_THROWS_AS(graph_picture(graph, {.classes = tensor<std::int64_t>({0, 1, 1}), .class_names = {"a"}}), IndexError);
  CHECK_THROWS_AS(graph_picture(graph, {.around = tensor<std::int64_t>({3})}), IndexError);
  CHECK_THROWS_AS(graph_picture(graph, {.around = zeros<std::int64_t>({0})}), ValueError);
  CHECK_THROWS_AS(graph_picture(graph, {.width = 30}), ValueError);
  for (const double wrong : {kNan, kInfinity, -0.5})
    CHECK_THAT(message<ValueError>([&] {
                 graph_picture(graph, tensor<double>({1.0, wrong}));
               }),
               contains("the weight of edge 1 is"));
  CHECK_THAT(message<ValueError>([&] {
               graph_picture(graph, {.positions = tensor<double>({{0.0, 0.0}, {0.0, 0.0}, {0.0, kNan}})});
             }),
             contains("the position of node 2"));
}
