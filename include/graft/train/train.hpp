#pragma once
// The training loop: steps, validation, the best model so far, early stopping, checkpoints, Ctrl-C and progress.
// Everything that a later step depends on is in the checkpoint, so a run that was stopped and resumed has the same bits
// as one that was not.

#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/core/stop.hpp"
#include "graft/io/checkpoint.hpp"
#include "graft/io/npz.hpp"
#include "graft/protocol/transport.hpp"
#include "graft/train/checkpoints.hpp"
#include "graft/train/progress.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Thrown when training has nothing finite left to go on with.
class Diverged : public Error {
 public:
  using Error::Error;
};

/// What one step did: means over the items that it trained on (the tasks of a round, the batches of a step).
struct StepReport {
  double loss = 0, metric = 0;
  Index items = 1;
  Index dropped = 0;  ///< more items, left out since their loss or gradient was not finite
};

/// How training goes. Checks: ValueError.
struct TrainOptions {
  std::string name = "training";  ///< of the run, for messages and its checkpoint
  Index steps = 1000;
  Index validations = 10;  ///< spread evenly over the steps, at most one a step
  Index patience = 0;      ///< validations in a row that bring no better figure after which training ends; 0: never
  bool quiet = false;
  TrainWords words = {};
  const StopFlag* stop = nullptr;  ///< asks for the end after the step under way
  /// The processes that take every step together, each with a state of its own that has the same bits; null: this one
  /// alone. Rank 0 alone prints and saves.
  Transport* ranks = nullptr;
};

/// A trained model and what it cost.
template <Model M>
struct Trained {
  M model;                            ///< the best by validation, the earlier of equals
  double figure = 0;                  ///< its validation figure
  Index steps = 0;                    ///< that were done
  Index items = 0;                    ///< that were trained on
  Index dropped = 0;                  ///< more items, left out
  double seconds = 0;                 ///< of training and validation, also before the run was resumed
  std::vector<double> history;        ///< validation figures
  std::vector<double> history_steps;  ///< after how many steps each of them was made
};

/// A model and the optimiser that steps it: the usual state of a training.
template <Model M, class Optimizer>
struct ModelState {
  M model;
  Optimizer optimizer;
  GRAFT_FIELDS(model, optimizer)
};

namespace detail {

/// The numbers that training carries along, as they stand in a checkpoint.
struct TrainNumbers {
  double step = 0, loss = 0, metric = 0, items = 0, dropped = 0;  // sums since the last validation, but the step
  double all_items = 0, all_dropped = 0, validated = 0, since_best = 0;
  double best = -std::numeric_limits<double>::infinity();

  void add(const StepReport& report) {
    const double n = static_cast<double>(report.items);
    ++step;
    loss += report.loss * n;
    metric += report.metric * n;
    items += n;
    dropped += static_cast<double>(report.dropped);
    all_items += n;
    all_dropped += static_cast<double>(report.dropped);
  }
  TrainFigures figures() const {
    const double share = 1 / std::max(items, 1.0);
    return {static_cast<Index>(step), loss * share, metric * share, static_cast<Index>(dropped)};
  }
  /// Notes the figure of a validation; true if it is the best so far.
  bool validate(double figure) {
    loss = metric = items = dropped = 0;
    ++validated;
    const bool better = figure > best;
    since_best = better ? 0 : since_best + 1;
    if (better) best = figure;
    return better;
  }
  Tensor<double> saved() const {
    return from_vector(
        std::vector<double>{step, loss, metric, items, dropped, all_items, all_dropped, validated, since_best, best});
  }
  void load(const Tensor<double>& saved) {
    double* const to[] = {&step,      &loss,        &metric,    &items,      &dropped,
                          &all_items, &all_dropped, &validated, &since_best, &best};
    for (std::size_t i = 0; i < std::size(to); ++i) *to[i] = host(saved)[i];
  }
};

/// What a checkpoint of a training holds.
template <class State, class M>
struct TrainTree {
  State state;
  M best;
  Tensor<double> history;  // [validations]: figures, 0 for those to come
  Tensor<double> numbers;  // [10]: TrainNumbers
  GRAFT_FIELDS(state, best, history, numbers)
};

inline void check_train_options(const TrainOptions& o, Site site) {
  if (o.steps < 1 || o.validations < 1 || o.patience < 0)
    fail("train", {o.steps, " steps, ", o.validations, " validations, patience ", o.patience}, {}, site);
}

/// True once more validations are due than were made: validation k comes after step ceil(k steps / validations).
inline bool validation_due(const TrainNumbers& n, const TrainOptions& o, Index validations) {
  return static_cast<Index>(n.step) * validations / o.steps > static_cast<Index>(n.validated);
}

/// A checksum of all tensors of a model, in hexadecimal digits.
template <class M>
std::string model_fingerprint(const M& model) {
  std::uint32_t crc = 0;
  for (const Leaf& leaf : leaves_of(model))
    with_element_type(leaf, [&]<class T>() {
      if (leaf.tensor->defined()) crc = crc32(std::as_bytes(host(leaf.as<T>())), crc);
    });
  char text[16];
  std::snprintf(text, sizeof text, "%08x", crc);
  return text;
}

/// All ranks are at the same step of the same training, with the same bits.
template <class M>
void agree_on_training(const TrainOptions& o, const TrainNumbers& n, const M& model, Site site) {
  if (!o.ranks || o.ranks->ranks() == 1) return;
  const auto line = [](const char* what, Index number) { return what + std::string(": ") + as_text(number) + "\n"; };
  o.ranks->agree("training runs",
                 "name: " + o.name + "\n" + line("steps", o.steps) + line("validations", o.validations) +
                     line("patience", o.patience) + line("steps done", static_cast<Index>(n.step)) + "best figure: " +
                     fingerprint(std::span(&n.best, 1)) + "\nchecksum of the model: " + model_fingerprint(model),
                 site);
}

inline void check_divergence(const TrainNumbers& n, const TrainOptions& o) {
  if (n.items > 0 || n.dropped == 0) return;
  throw Diverged("graft: " + o.name + ": diverged: nothing finite is left at " + o.words.step + " " +
                 as_text(static_cast<Index>(n.step)) + ", the last " + as_text(static_cast<Index>(n.dropped)) + " " +
                 o.words.items +
                 " were dropped, since their loss or gradient was not finite; try a lower learning rate");
}

}  // namespace detail

/// Trains `state.model`: calls `step(state, number)` -> StepReport for number = 0, 1 ..., which changes the state, and
/// now and then `validate(state.model)` -> figure, the higher the better (NaN is never better). The state is a tree of
/// tensors (`ModelState`, `ProtocolState`) that holds all that a step depends on besides its number; it is saved at
/// each validation and when the run is stopped, and continued from `checkpoints` where there is a file for this run.
///
///     auto trained = train(ModelState{net, Adam(net)}, step, validate, {.name = "net", .steps = 500});
///
/// With `options.ranks`, before the first step and after each validation, the ranks' steps and models are compared.
///
/// Throws Stopped when `options.stop` asked for it, RankLost, after saving as well, when a rank has ended, RanksDiffer
/// when the ranks do not train the same, Diverged when no item since the last validation, or no validation
/// at all, was finite, and what `step` and `validate` throw.
template <class State, class Step, class Validate>
auto train(State state, Step step, Validate validate, const TrainOptions& options, const Checkpoints& checkpoints = {},
           Site site = Site::current()) {
  using M = std::remove_cvref_t<decltype(state.model)>;
  detail::check_train_options(options, site);
  const Index validations = std::min(options.validations, options.steps);
  const Stopwatch watch;
  detail::TrainNumbers numbers;
  M best = state.model;
  std::vector<double> history(static_cast<std::size_t>(validations));
  double seconds_before = 0;

  const std::string file = checkpoints.file(options.name);
  const auto tree = [&] { return detail::TrainTree<State, M>{state, best, from_vector(history), numbers.saved()}; };
  if (!file.empty() && ::access(file.c_str(), F_OK) == 0) {
    auto loaded = tree();
    const Metadata metadata = load_checkpoint(file, loaded);
    state = std::move(loaded.state);
    best = std::move(loaded.best);
    history.assign(host(loaded.history).begin(), host(loaded.history).end());
    numbers.load(loaded.numbers);
    if (const auto found = metadata.find("seconds"); found != metadata.end() && std::get_if<double>(&found->second))
      seconds_before = std::get<double>(found->second);
  }
  const auto save = [&] {
    if (!file.empty() && leads(options.ranks))
      save_checkpoint(file, tree(),
                      {{"identity", checkpoints.identity()}, {"seconds", seconds_before + watch.seconds()}});
  };
  const auto where = [&] {
    return " after " + options.words.step + " " + detail::as_text(static_cast<Index>(numbers.step)) + " of " +
           detail::as_text(options.steps) + (file.empty() ? "" : "; continue with --resume");
  };
  const auto stop = [&] {
    save();
    throw Stopped("graft: " + options.name + ": stopped" + where());
  };
  const auto end_without = [&](const RankLost& lost) {
    save();  // what a step changes, it changes after all ranks' parts have come
    std::string_view why = lost.what();
    if (why.substr(0, 7) == "graft: ") why.remove_prefix(7);
    throw RankLost("graft: " + options.name + ": " + std::string(why) + "; ended" + where());
  };

  const auto agree = [&] {
    try {
      detail::agree_on_training(options, numbers, state.model, site);
    } catch (const RankLost& lost) {
      end_without(lost);
    }
  };

  agree();
  Progress progress(options.name, options.words, options.steps, static_cast<Index>(numbers.step),
                    options.quiet || !leads(options.ranks));
  for (;;) {
    if (detail::validation_due(numbers, options, validations)) {
      detail::check_divergence(numbers, options);
      double figure = 0;
      try {
        figure = validate(std::as_const(state.model));
      } catch (const RankLost& lost) {
        end_without(lost);
      } catch (const Stopped&) {
        stop();  // the validation is made up for when the run is resumed
      }
      const TrainFigures figures = numbers.figures();
      history[static_cast<std::size_t>(numbers.validated)] = figure;
      if (numbers.validate(figure)) best = state.model;
      agree();
      save();
      progress.line(figures, figure);
    }
    const bool enough = options.patience > 0 && static_cast<Index>(numbers.since_best) >= options.patience;
    if (static_cast<Index>(numbers.step) >= options.steps || enough) break;
    if (stop_requested(options.stop)) stop();
    StepReport report;
    try {
      report = step(state, static_cast<Index>(numbers.step));
    } catch (const RankLost& lost) {
      end_without(lost);
    }
    numbers.add(report);
    progress.count(report.items + report.dropped);
    progress.bar(numbers.figures());
  }
  if (!std::isfinite(numbers.best))
    throw Diverged("graft: " + options.name + ": diverged: no validation gave a finite figure");
  history.resize(static_cast<std::size_t>(numbers.validated));
  std::vector<double> history_steps;
  for (Index k = 1; k <= static_cast<Index>(numbers.validated); ++k)
    history_steps.push_back(static_cast<double>((k * options.steps + validations - 1) / validations));
  return Trained<M>{best,
                    numbers.best,
                    static_cast<Index>(numbers.step),
                    static_cast<Index>(numbers.all_items),
                    static_cast<Index>(numbers.all_dropped),
                    seconds_before + watch.seconds(),
                    history,
                    history_steps};
}

}  // namespace GRAFT_ABI
}  // namespace graft
