#pragma once
// What the programs share that train models many times over and compare them in a table.

#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/list.hpp"
#include "graft/core/parallel.hpp"
#include "graft/evaluate/graph_picture.hpp"
#include "graft/evaluate/method_table.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/reduce.hpp"
#include "graft/train/progress.hpp"
#include "program.hpp"

namespace examples {

/// Throws Stopped if Ctrl-C was pressed: for loops of training.
inline void end_if_stopped() {
  if (stop_requested(Program::stop())) throw Stopped("graft: stopped while models were trained");
}

/// Trains every model `runs` times, in parallel as tasks, prints the table under `head` and records it.
/// `figures(model, run)`: what the run came to, one number for each column; `published(model)`: what others reported.
template <class Figures, class Published>
void compare_models(Program& program, const std::string& head, std::vector<MethodColumn> columns,
                    const std::vector<std::string>& models, Index runs, const Figures& figures,
                    const Published& published) {
  MethodTable table(columns);
  for (const std::string& model : models) {
    const Stopwatch watch;
    List<std::vector<double>> found(runs);
    parallel_tasks(runs, [&](Index run) {
      end_if_stopped();
      found[run] = figures(model, run);
    });
    MethodResult result;
    result.name = model;
    for (std::size_t c = 0; c < columns.size(); ++c) {
      result.figures.emplace_back();
      for (const std::vector<double>& of_run : found) result.figures[c].push_back(of_run[c]);
    }
    result.seconds = watch.seconds();
    result.published = published(model);
    if (!program.quiet) std::fprintf(stderr, "%s: %.0f s\n", model.c_str(), result.seconds);
    table.add(std::move(result));
  }
  std::printf("%s\n\n%s", head.c_str(), table.text().c_str());
  program.record.add(table.rows());
}

/// The first of `models` that has the attention which --picture shows; "" if no picture was asked for.
inline std::string drawn_model(const Program& program, const std::vector<std::string>& models,
                               const std::vector<std::string>& attentive) {
  if (program.picture.empty()) return "";
  const auto found = std::find_first_of(models.begin(), models.end(), attentive.begin(), attentive.end());
  if (found == models.end()) throw UsageError("--picture: shows attention, which no model of --model has");
  return *found;
}

/// Draws the weights [edges, heads] of a layer, two edges around the first few of `nodes`, into a file unless its name
/// is empty.
inline void draw_attention(const std::string& file, const Graph& graph, const Tensor<>& weights,
                           const Tensor<std::int64_t>& classes, const Tensor<std::int64_t>& nodes) {
  if (file.empty()) return;
  GraphPictureOptions o;
  o.title = "Attention of the first layer around test nodes, mean of " + std::to_string(weights.size(1)) + " heads";
  o.classes = classes;
  o.around = slice(nodes, 0, 0, std::min<Index>(nodes.count(), 4));
  o.around_name = "test node";
  o.weight_name = "attention";
  graph_picture(graph, mean(weights, {1}), o).write(file);
}

}  // namespace examples
