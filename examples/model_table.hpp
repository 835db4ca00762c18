#pragma once
// What the programs share that train models many times over and compare them in a table.

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/list.hpp"
#include "graft/core/parallel.hpp"
#include "graft/evaluate/method_table.hpp"
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

}  // namespace examples
