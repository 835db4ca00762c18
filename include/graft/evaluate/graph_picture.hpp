#pragma once
// Graphs as pictures: where nodes stand follows from their edges, colours tell classes, widths weights.

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/random.hpp"
#include "graft/evaluate/curve_picture.hpp"
#include "graft/evaluate/svg.hpp"
#include "graft/ops/csr.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `graph_picture`.
struct GraphPictureOptions {
  std::string title = "";
  Tensor<std::int64_t> classes = {};          ///< [nodes]: the colours
  std::vector<std::string> class_names = {};  ///< for the legend; empty: their numbers
  std::vector<std::string> labels = {};       ///< [nodes]: text in a node or, where it is too long, beside it
  /// Nodes with a dark rim; only what is at most `hops` edges, of any direction, from them is drawn. Empty: everything.
  Tensor<std::int64_t> around = {};
  Index hops = 2;
  std::string around_name = "these nodes", weight_name = "weight";  ///< for the legend
  Tensor<double> positions = {};     ///< [nodes, 2], e.g. of an embedding; else those of `graph_layout`
  Random random = Random();          ///< where nodes start in the layout
  double width = 700, height = 500;  ///< pixels
};

namespace detail {

struct SheetPoint {
  double x = 0, y = 0;
};

/// Turned so that the longest direction is level, and stretched to the unit square, in no direction more than 1.6 times
/// as far as in the other on a sheet that is 1.5 times as wide as high.
inline void fit_places(std::vector<SheetPoint>& places) {
  if (places.empty()) return;
  SheetPoint mean;
  for (const SheetPoint& p : places) {
    mean.x += p.x / static_cast<double>(places.size());
    mean.y += p.y / static_cast<double>(places.size());
  }
  double xx = 0, xy = 0, yy = 0;
  for (const SheetPoint& p : places) {
    xx += (p.x - mean.x) * (p.x - mean.x);
    xy += (p.x - mean.x) * (p.y - mean.y);
    yy += (p.y - mean.y) * (p.y - mean.y);
  }
  const double angle = 0.5 * std::atan2(2 * xy, xx - yy), cosine = std::cos(angle), sine = std::sin(angle);
  SheetPoint least{HUGE_VAL, HUGE_VAL}, most{-HUGE_VAL, -HUGE_VAL};
  for (SheetPoint& p : places) {
    p = {cosine * (p.x - mean.x) + sine * (p.y - mean.y), cosine * (p.y - mean.y) - sine * (p.x - mean.x)};
    least = {std::min(least.x, p.x), std::min(least.y, p.y)};
    most = {std::max(most.x, p.x), std::max(most.y, p.y)};
  }
  constexpr double kShape = 1.5, kStretch = 1.6;
  const double wide = std::max(most.x - least.x, 1e-12), high = std::max(most.y - least.y, 1e-12);
  const double sx = std::min(kShape / wide, kStretch / high), sy = std::min(1 / high, kStretch * kShape / wide);
  for (SheetPoint& p : places)
    p = {0.5 + sx / kShape * (p.x - (least.x + most.x) / 2), 0.5 + sy * (p.y - (least.y + most.y) / 2)};
}

/// Ends of edges, each pair once, whatever its direction; no loops.
inline std::vector<std::pair<Index, Index>> joined_pairs(const std::vector<GraphEdge>& edges) {
  std::vector<std::pair<Index, Index>> pairs;
  for (const GraphEdge& edge : edges)
    if (edge.source != edge.destination)
      pairs.emplace_back(std::min(edge.source, edge.destination), std::max(edge.source, edge.destination));
  std::sort(pairs.begin(), pairs.end());
  pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
  return pairs;
}

/// The number of the part of the graph that each node is in, and how many nodes each part has.
inline std::pair<std::vector<std::size_t>, std::vector<double>> connected_parts(
    std::size_t nodes, const std::vector<std::pair<Index, Index>>& pairs) {
  std::vector<std::size_t> part(nodes);
  std::iota(part.begin(), part.end(), std::size_t{0});
  for (bool changed = true; changed;) {  // every node takes the least number that it hears of
    changed = false;
    for (const auto& [a, b] : pairs) {
      std::size_t &one = part[static_cast<std::size_t>(a)], &other = part[static_cast<std::size_t>(b)];
      const std::size_t least = part[std::min(one, other)];
      changed = changed || one != least || other != least;
      one = other = least;
    }
  }
  std::vector<double> sizes(nodes);
  for (const std::size_t own : part) ++sizes[own];
  return {part, sizes};
}

inline std::vector<SheetPoint> force_layout(Index nodes, const std::vector<GraphEdge>& edges, const Random& random) {
  constexpr int kSteps = 400;
  constexpr double kGravity = 2;  // draws parts that no edge joins to the middle, each as a whole
  const auto count = static_cast<std::size_t>(nodes);
  std::vector<SheetPoint> places(count), forces(count);
  for (std::size_t i = 0; i < count; ++i) places[i] = {random.uniform(2 * i, -1, 1), random.uniform(2 * i + 1, -1, 1)};
  const auto pairs = joined_pairs(edges);
  const auto [part, sizes] = connected_parts(count, pairs);
  std::vector<SheetPoint> middles(count);
  const double k = 2 / std::sqrt(static_cast<double>(std::max<Index>(nodes, 1)));
  for (int step = 0; step < kSteps; ++step) {
    std::fill(middles.begin(), middles.end(), SheetPoint());
    for (std::size_t i = 0; i < count; ++i) {
      middles[part[i]].x += places[i].x / sizes[part[i]];
      middles[part[i]].y += places[i].y / sizes[part[i]];
    }
    for (std::size_t i = 0; i < count; ++i)
      forces[i] = {-kGravity * middles[part[i]].x, -kGravity * middles[part[i]].y};
    const auto pull = [&](std::size_t i, std::size_t j, double x, double y, double strength) {
      forces[i].x -= strength * x;
      forces[i].y -= strength * y;
      forces[j].x += strength * x;
      forces[j].y += strength * y;
    };
    for (std::size_t i = 0; i < count; ++i)
      for (std::size_t j = 0; j < i; ++j) {
        const double x = places[i].x - places[j].x, y = places[i].y - places[j].y;
        pull(i, j, x, y, -k * k / (x * x + y * y + 1e-9));  // of size k^2 / distance
      }
    for (const auto& [a, b] : pairs) {
      const auto i = static_cast<std::size_t>(a), j = static_cast<std::size_t>(b);
      const double x = places[i].x - places[j].x, y = places[i].y - places[j].y;
      pull(i, j, x, y, std::sqrt(x * x + y * y) / k);  // distance^2 / k
    }
    const double longest = 0.2 * (kSteps - step) / kSteps;
    for (std::size_t i = 0; i < count; ++i) {
      const double size = std::hypot(forces[i].x, forces[i].y), share = std::min(longest / (size + 1e-12), 0.1);
      places[i].x += share * forces[i].x;
      places[i].y += share * forces[i].y;
    }
  }
  fit_places(places);
  return places;
}

}  // namespace detail

/// Places [nodes, 2] in the unit square, x to the right and y downwards: nodes repel each other by k^2 / distance,
/// edges, whatever their direction, draw their ends together by distance^2 / k, and steps grow shorter (Fruchterman,
/// Reingold, "Graph drawing by force-directed placement", 1991); a weak pull to the middle holds parts together that no
/// edge joins. Takes time by nodes^2: a second for a thousand. Throws ShapeError for a bipartite graph.
inline Tensor<double> graph_layout(const Graph& graph, const Random& random, Site site = Site::current()) {
  if (graph.sources() != graph.destinations())
    fail<ShapeError>(
        "graph_layout",
        {"the graph must be on one set of nodes, not from ", graph.sources(), " to ", graph.destinations()}, {}, site);
  const auto places = detail::force_layout(graph.sources(), edge_list(graph), random);
  return generate({graph.sources(), 2}, [&](Index i, Index axis) {
    const detail::SheetPoint& place = places[static_cast<std::size_t>(i)];
    return axis == 0 ? place.x : place.y;
  });
}

namespace detail {

/// What is drawn of a graph: its nodes, and its edges between these by their places in that list.
struct DrawnGraph {
  std::vector<Index> nodes;
  std::vector<GraphEdge> edges;
  std::vector<double> weights;  // [edges], or none
  double widest = 0;            // the largest of them
};

template <class T>
DrawnGraph drawn_graph(const Graph& graph, const Tensor<T>& weights, const GraphPictureOptions& o) {
  const std::vector<GraphEdge> edges = edge_list(graph);
  const auto count = static_cast<std::size_t>(graph.sources());
  std::vector<bool> drawn(count, !o.around.defined());
  if (o.around.defined())
    for (const std::int64_t node : host(o.around)) drawn[static_cast<std::size_t>(node)] = true;
  for (Index hop = 0; o.around.defined() && hop < o.hops; ++hop) {
    const std::vector<bool> before = drawn;
    for (const GraphEdge& edge : edges) {
      const auto from = static_cast<std::size_t>(edge.source), to = static_cast<std::size_t>(edge.destination);
      if (before[from]) drawn[to] = true;
      if (before[to]) drawn[from] = true;
    }
    if (drawn == before) break;
  }
  DrawnGraph part;
  std::vector<Index> number(count, -1);
  for (std::size_t i = 0; i < count; ++i)
    if (drawn[i]) {
      number[i] = static_cast<Index>(part.nodes.size());
      part.nodes.push_back(static_cast<Index>(i));
    }
  for (std::size_t e = 0; e < edges.size(); ++e) {
    const Index from = number[static_cast<std::size_t>(edges[e].source)];
    const Index to = number[static_cast<std::size_t>(edges[e].destination)];
    if (from < 0 || to < 0) continue;
    part.edges.push_back({from, to});
    if (!weights.defined()) continue;
    part.weights.push_back(static_cast<double>(host(weights)[e]));
    part.widest = std::max(part.widest, part.weights.back());
  }
  return part;
}

template <class T>
void check_graph_picture(const Graph& graph, const Tensor<T>& weights, const GraphPictureOptions& o, Site site) {
  const char* op = "graph_picture";
  const Index nodes = graph.sources();
  if (graph.destinations() != nodes || nodes == 0)
    fail<ShapeError>(
        op, {"expected a graph on one set of nodes that is not empty, not from ", nodes, " to ", graph.destinations()},
        {}, site);
  if (weights.defined() && !(weights.shape() == Shape{graph.edges()}))
    fail<ShapeError>(op, {"expected weights [edges] of ", graph.edges(), " edges"}, {{"weights", weights.shape()}},
                     site);
  if (o.classes.defined() && !(o.classes.shape() == Shape{nodes}))
    fail<ShapeError>(op, {"expected classes [nodes] of ", nodes, " nodes"}, {{"classes", o.classes.shape()}}, site);
  if (o.positions.defined() && !(o.positions.shape() == Shape{nodes, 2}))
    fail<ShapeError>(op, {"expected positions [nodes, 2] of ", nodes, " nodes"}, {{"positions", o.positions.shape()}},
                     site);
  if (!o.labels.empty() && static_cast<Index>(o.labels.size()) != nodes)
    fail<ShapeError>(op, {o.labels.size(), " labels of ", nodes, " nodes"}, {}, site);
  if (weights.defined())
    for (Index e = 0; e < graph.edges(); ++e)
      if (const T weight = host(weights)[static_cast<std::size_t>(e)]; !std::isfinite(weight) || weight < 0)
        fail(op, {"the weight of edge ", e, " is ", weight}, {{"weights", weights.shape()}}, site);
  if (o.positions.defined())
    for (Index i = 0; i < 2 * nodes; ++i)
      if (const double value = host(o.positions)[static_cast<std::size_t>(i)]; !(std::abs(value) < 1e300))
        fail(op, {"the position of node ", i / 2, " holds ", value}, {{"positions", o.positions.shape()}}, site);
  const auto check_nodes = [&](const char* what, const Tensor<std::int64_t>& list) {
    if (!list.defined()) return;
    for (const std::int64_t node : host(list))
      if (node < 0 || node >= nodes)
        fail<IndexError>(op, {what, " holds node ", node, " of ", nodes}, {{what, list.shape()}}, site);
  };
  check_nodes("around", o.around);
  if (o.around.defined() && o.around.count() == 0) fail(op, "around holds no node", {}, site);
  if (!o.classes.defined()) return;
  for (const std::int64_t c : host(o.classes))
    if (c < 0 || (!o.class_names.empty() && c >= static_cast<Index>(o.class_names.size())))
      fail<IndexError>(op, {"class ", c, " of ", o.class_names.size(), " names"}, {{"classes", o.classes.shape()}},
                       site);
}

/// Positions of the nodes that are drawn, in the unit square.
inline std::vector<SheetPoint> places_of(const DrawnGraph& part, const GraphPictureOptions& o) {
  if (!o.positions.defined()) return force_layout(static_cast<Index>(part.nodes.size()), part.edges, o.random);
  std::vector<SheetPoint> places;
  SheetPoint least{HUGE_VAL, HUGE_VAL}, most{-HUGE_VAL, -HUGE_VAL};
  for (const Index node : part.nodes) {
    const auto at = static_cast<std::size_t>(2 * node);
    places.push_back({host(o.positions)[at], host(o.positions)[at + 1]});
    least = {std::min(least.x, places.back().x), std::min(least.y, places.back().y)};
    most = {std::max(most.x, places.back().x), std::max(most.y, places.back().y)};
  }
  const auto share = [](double value, double low, double high) {
    return high > low ? (value - low) / (high - low) : 0.5;
  };
  for (SheetPoint& p : places) p = {share(p.x, least.x, most.x), share(p.y, least.y, most.y)};
  return places;
}

/// The legend of the classes that are drawn, the marks, and two widths of edges.
inline std::vector<Legend::Entry> graph_legend(const DrawnGraph& part, const GraphPictureOptions& o, double stroke) {
  std::vector<Legend::Entry> entries;
  if (o.classes.defined()) {
    std::vector<std::int64_t> present;
    for (const Index node : part.nodes) present.push_back(host(o.classes)[static_cast<std::size_t>(node)]);
    std::sort(present.begin(), present.end());
    present.erase(std::unique(present.begin(), present.end()), present.end());
    for (const std::int64_t c : present)
      entries.push_back({o.class_names.empty() ? "class " + as_text(c) : o.class_names[static_cast<std::size_t>(c)],
                         class_colour(c)});
  }
  if (o.around.defined()) entries.push_back({o.around_name, "#222", Legend::Sign::ring, 2});
  if (part.widest > 0)
    for (const double share : {1.0, 0.25})
      entries.push_back({o.weight_name + " " + tick_label(share * part.widest, 0.01 * part.widest), "#888",
                         Legend::Sign::stroke, share * stroke});
  return entries;
}

}  // namespace detail

/// The graph with nodes in the colours of their classes and edges as wide as their weights [edges], in the order of the
/// graph's list: of attention j -> i, with the mean over heads. Weighted edges are bows that run clockwise from source
/// to destination, and a weight of a node to itself is a ring around it; without weights (an empty handle) edges are
/// straight lines without direction. With `around`, only the surroundings of these nodes are drawn. The same picture
/// for the same input, on one build. Throws ShapeError for a bipartite or empty graph and for lists that do not fit it,
/// ValueError for weights that are negative or not finite, IndexError for a node or class that is not there.
template <Real T>
Svg graph_picture(const Graph& graph, const Tensor<T>& weights, const GraphPictureOptions& o = {},
                  Site site = Site::current()) {
  detail::check_graph_picture(graph, weights, o, site);
  const detail::DrawnGraph part = detail::drawn_graph(graph, weights, o);
  // Sizes by the room that a node has.
  const double spacing = std::sqrt(o.width * o.height / static_cast<double>(part.nodes.size()));
  const double radius = std::clamp(0.13 * spacing, 2.5, 11.0), stroke = std::clamp(0.08 * spacing, 1.5, 6.0);
  const detail::Legend legend(detail::graph_legend(part, o, stroke), 16, o.width - 16);
  const double top = 10 + detail::title_height(o.title) + legend.height(), margin = radius + stroke + 10;
  if (!(o.width > 4 * margin && o.height - top > 4 * margin))
    fail("graph_picture", {"no room for the graph on a sheet of ", o.width, " x ", o.height}, {}, site);
  std::vector<detail::SheetPoint> places = detail::places_of(part, o);
  for (detail::SheetPoint& p : places)
    p = {margin + (o.width - 2 * margin) * p.x, top + margin + (o.height - top - 2 * margin) * p.y};

  Svg picture(o.width, o.height, o.title, site);
  detail::draw_title(picture, o.title, 16, site);
  legend.draw(picture, 6 + detail::title_height(o.title), site);
  const auto at = [&](Index node) { return places[static_cast<std::size_t>(node)]; };
  picture.open({{"fill", "none"}, {"stroke", "#555"}, {"stroke-opacity", 0.6}});
  for (std::size_t e = 0; e < part.weights.size(); ++e) {
    const detail::SheetPoint a = at(part.edges[e].source), b = at(part.edges[e].destination);
    const double width = part.widest > 0 ? stroke * part.weights[e] / part.widest : 0;
    if (part.edges[e].source == part.edges[e].destination) {
      picture.add("circle", {{"cx", a.x}, {"cy", a.y}, {"r", radius + 1.5 + width / 2}, {"stroke-width", width}});
      continue;
    }
    // To the left of the way from a to b, as seen on the sheet.
    const detail::SheetPoint over{(a.x + b.x) / 2 + 0.15 * (b.y - a.y), (a.y + b.y) / 2 - 0.15 * (b.x - a.x)};
    picture.add("path",
                {{"d", SvgPath(site).move(a.x, a.y).curve(over.x, over.y, b.x, b.y).text()}, {"stroke-width", width}});
  }
  if (!weights.defined())
    for (const auto& [a, b] : detail::joined_pairs(part.edges))
      picture.add("path", {{"d", SvgPath(site).move(at(a).x, at(a).y).line(at(b).x, at(b).y).text()}});
  picture.close();

  std::vector<bool> is_centre(static_cast<std::size_t>(graph.sources()));
  if (o.around.defined())
    for (const std::int64_t node : host(o.around)) is_centre[static_cast<std::size_t>(node)] = true;
  picture.open({{"stroke", "#fff"}, {"stroke-width", 0.8}});
  for (std::size_t i = 0; i < part.nodes.size(); ++i) {
    const auto node = static_cast<std::size_t>(part.nodes[i]);
    const char* colour = class_colour(o.classes.defined() ? host(o.classes)[node] : 0);
    if (is_centre[node])
      picture.add("circle", {{"cx", places[i].x},
                             {"cy", places[i].y},
                             {"r", radius},
                             {"fill", colour},
                             {"stroke", "#222"},
                             {"stroke-width", std::max(1.5, 0.2 * radius)}});
    else
      picture.add("circle", {{"cx", places[i].x}, {"cy", places[i].y}, {"r", radius}, {"fill", colour}});
  }
  picture.close();
  if (o.labels.empty()) return picture;
  picture.open({{"font-size", 11}, {"stroke", "#fff"}, {"stroke-width", 3}, {"paint-order", "stroke"}});
  for (std::size_t i = 0; i < part.nodes.size(); ++i) {
    const std::string& label = o.labels[static_cast<std::size_t>(part.nodes[i])];
    if (label.empty()) continue;
    const bool inside = detail::text_width(label, 11) <= 1.9 * radius;
    if (inside)
      picture.add(
          "text",
          {{"x", places[i].x}, {"y", places[i].y + 4}, {"text-anchor", "middle"}, {"fill", "#fff"}, {"stroke", "none"}},
          label);
    else if (places[i].x + radius + 3 + detail::text_width(label, 11) <= o.width)
      picture.add("text", {{"x", places[i].x + radius + 3}, {"y", places[i].y + 4}}, label);
    else  // where the sheet ends
      picture.add("text", {{"x", places[i].x - radius - 3}, {"y", places[i].y + 4}, {"text-anchor", "end"}}, label);
  }
  return picture;
}
GRAFT_HELD(Svg graph_picture(const Graph&, const Tensor<double>&, const GraphPictureOptions&, Site))
GRAFT_HELD(Svg graph_picture(const Graph&, const Tensor<float>&, const GraphPictureOptions&, Site))
/// Without weights.
inline Svg graph_picture(const Graph& graph, const GraphPictureOptions& o = {}, Site site = Site::current()) {
  return graph_picture(graph, Tensor<float>(), o, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
