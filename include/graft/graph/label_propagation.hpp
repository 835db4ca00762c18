#pragma once
// Labels that spread along edges, without anything learned. Zhou, Bousquet, Lal, Weston, Schoelkopf, "Learning with
// local and global consistency", NeurIPS 2003; Huang, He, Singh, Lim, Benson, "Combining label propagation and simple
// models out-performs graph neural networks", ICLR 2021. Formulas as in PyG's LabelPropagation and CorrectAndSmooth.

#include "graft/graph/normalise.hpp"
#include "graft/ops/arithmetic.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `label_propagation`, and of both parts of `correct_and_smooth`.
struct PropagationOptions {
  Index steps = 50;
  double alpha = 0.9;  ///< share of what is heard from neighbours, in [0, 1]
};

namespace detail {

inline void check_propagation(const char* op, const PropagationOptions& options, Site site) {
  if (options.steps < 0) fail(op, {"steps is ", options.steps, ", expected 0 or more"}, {}, site);
  if (!(options.alpha >= 0 && options.alpha <= 1))
    fail(op, {"alpha is ", options.alpha, ", expected 0 to 1"}, {}, site);
}
/// y <- after(alpha S y + (1 - alpha) y_0), S = D^(-1/2) A D^(-1/2), from y_0 on.
template <class T, class After>
Tensor<T> spread(const Graph& graph, const Tensor<T>& start, const PropagationOptions& options, const After& after,
                 Site site) {
  const Tensor<T> weights = symmetric_normalised<T>(graph, {}, site), kept = (1 - options.alpha) * start;
  Tensor<T> y = start;
  for (Index step = 0; step < options.steps; ++step)
    y = after(options.alpha * neighbour_sum(graph, y, weights, site) + kept);
  return y;
}
template <class T>
void check_rows_of_classes(const char* op, const char* name, const Graph& graph, const Tensor<T>& rows, Site site) {
  if (rows.rank() != 2 || rows.size(0) != graph.sources())
    fail<ShapeError>(op, {name, " must be [nodes, classes]"}, {{name, rows.shape()}, {kGraphSizes, graph_sizes(graph)}},
                     site);
}

/// What is known of the classes: one-hot rows, and 1 [nodes, 1] where there is one.
template <class T>
struct KnownLabels {
  Tensor<T> rows;
  Tensor<bool> mask;

  KnownLabels(const char* op, const Tensor<std::int64_t>& labels, const Tensor<std::int64_t>& known, Index classes,
              Site site) {
    if (labels.rank() != 1 || known.rank() != 1)
      fail<ShapeError>(op, "expected labels [nodes] and known [nodes with a label]",
                       {{"labels", labels.shape()}, {"known", known.shape()}}, site);
    if (known.count() == 0) fail(op, "no node has a known label", {{"labels", labels.shape()}}, site);
    const Index nodes = labels.count();
    const Tensor<T> counts = scatter_add(ones<T>({known.count(), 1}), known, nodes, 0, site);
    if (any(counts > 1).item()) fail(op, "a node is listed twice as known", {{"known", known.shape()}}, site);
    rows = scatter_add(one_hot<T>(gather(labels, known, 0, site), classes, site), known, nodes, 0, site);
    mask = counts > 0;
  }
};

}  // namespace detail

/// y <- alpha D^(-1/2) A D^(-1/2) y + (1 - alpha) y_0, limited to [0, 1], `steps` times: `start` y_0 [nodes, classes],
/// rows of zeros where nothing is known, -> the same shape. The class of a node is the place of its largest number.
/// Throws ShapeError, ValueError for options out of range.
template <Real T>
Tensor<T> label_propagation(const Graph& graph, const Tensor<T>& start, const PropagationOptions& options = {},
                            Site site = Site::current()) {
  detail::check_one_set("label_propagation", graph, site);
  detail::check_rows_of_classes("label_propagation", "start", graph, start, site);
  detail::check_propagation("label_propagation", options, site);
  return detail::spread(
      graph, start, options, [](const Tensor<T>& y) { return clamp(y, 0, 1); }, site);
}
/// The same from labels [nodes], of which those of the nodes `known` [count] are looked at. Throws IndexError for a
/// node or label that is not there, ValueError if no node is known or one is listed twice.
template <Real T = float>
Tensor<T> label_propagation(const Graph& graph, const Tensor<std::int64_t>& labels, const Tensor<std::int64_t>& known,
                            Index classes, const PropagationOptions& options = {}, Site site = Site::current()) {
  const detail::KnownLabels<T> seen("label_propagation", labels, known, classes, site);
  return label_propagation(graph, seen.rows, options, site);
}

/// Options of `correct_and_smooth`.
struct CorrectAndSmoothOptions {
  PropagationOptions correct{50, 1.0};  ///< of the errors
  PropagationOptions smooth{50, 0.8};   ///< of the corrected predictions
  bool autoscale = true;                ///< errors are rescaled node by node to the mean error of the known nodes
  double scale = 1;                     ///< what errors are multiplied by without `autoscale`
};

/// Predictions corrected by what is known of their errors, then smoothed along the edges: `probabilities` p [nodes,
/// classes] of any model, labels [nodes] with the nodes `known` [count] -> [nodes, classes].
///   1  e <- y - p at the known nodes, 0 elsewhere; spread as by `label_propagation`, limited to [-1, 1]
///   2  p <- p + s e, s_i = (mean |error| of the known nodes) / |e_i| in the sum norm, 1 where that exceeds 1000;
///      without `autoscale` e stays the error itself at the known nodes, and s is `scale`
///   3  p <- y at the known nodes, then `label_propagation`
/// Throws ShapeError, IndexError, ValueError if no node is known, one is listed twice or an option is out of range.
template <Real T>
Tensor<T> correct_and_smooth(const Graph& graph, const Tensor<T>& probabilities, const Tensor<std::int64_t>& labels,
                             const Tensor<std::int64_t>& known, const CorrectAndSmoothOptions& options = {},
                             Site site = Site::current()) {
  const char* op = "correct_and_smooth";
  detail::check_one_set(op, graph, site);
  detail::check_rows_of_classes(op, "probabilities", graph, probabilities, site);
  if (!(labels.shape() == Shape{graph.sources()}))
    fail<ShapeError>(op, "labels must be [nodes]",
                     {{"labels", labels.shape()}, {detail::kGraphSizes, detail::graph_sizes(graph)}}, site);
  detail::check_propagation(op, options.correct, site);
  detail::check_propagation(op, options.smooth, site);
  const detail::KnownLabels<T> seen(op, labels, known, probabilities.size(1), site);

  const Tensor<T> error = where(seen.mask, seen.rows - probabilities, 0);  // 1
  const auto limited = [](const Tensor<T>& e) { return clamp(e, -1, 1); };
  const auto fixed = [&](const Tensor<T>& e) { return where(seen.mask, error, e); };
  Tensor<T> corrected;
  if (options.autoscale) {
    const Tensor<T> heard = detail::spread(graph, error, options.correct, limited, site);
    const Tensor<T> scale = sum(abs(error)) / static_cast<T>(known.count()) / sum(abs(heard), {1}, true);
    corrected = probabilities + where(scale <= 1000, scale, 1) * heard;  // 2
  } else {
    corrected = probabilities + options.scale * detail::spread(graph, error, options.correct, fixed, site);
  }
  return label_propagation(graph, where(seen.mask, seen.rows, corrected), options.smooth, site);  // 3
}

}  // namespace GRAFT_ABI
}  // namespace graft
