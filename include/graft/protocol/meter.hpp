#pragma once
// What the rounds of the protocol looked like, in memory that does not grow with them: figures by task and interval of
// rounds, how much the tasks' gradients agreed (multitask/conflict.hpp), who listened to whom.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "graft/common/gramian.hpp"
#include "graft/core/list.hpp"
#include "graft/evaluate/record.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/multitask/conflict.hpp"
#include "graft/ops/update.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What a meter keeps. All numbers are saved with the training state: intervals tasks 4 + matrices tasks (2 tasks [+
/// tasks + 1 with an exchange]) of 8 bytes.
struct MeterOptions {
  Index intervals = 32;    ///< kept at most, 2^k; when they are full each two become one. 0: no meter
  Index matrices = 4;      ///< of pairs of tasks over the same rounds, 2^k up to `intervals`; 0: none
  Index most_tasks = 200;  ///< with more tasks there are no matrices of pairs
  Index every = 4;         ///< gradients are compared in each so-many-th round; it costs a product of all of them
};

/// Wall seconds of rounds.
struct RoundSeconds {
  double work = 0;       ///< draws, losses and gradients of the tasks
  double aggregate = 0;  ///< their gradients to one direction, conflict figures among it
  double step = 0;       ///< of the optimiser
  double all = 0;        ///< the whole rounds

  RoundSeconds& operator+=(const RoundSeconds& other) {
    work += other.work;
    aggregate += other.aggregate;
    step += other.step;
    all += other.all;
    return *this;
  }
};

/// What a meter is told of a task that took part in a round.
struct MeterTask {
  Index task = 0;
  double loss = 0, metric = 0;
  Tensor<double> attention = {};  ///< [tasks]; not defined: unknown
};
/// What a meter is told of a round.
struct MeterRound {
  Index round = 0;  ///< its number
  std::vector<MeterTask> tasks = {};
  std::vector<Index> failed = {};
  Tensor<double> gramian = {};  ///< of the gradients of `tasks`; not defined: they were not compared
  RoundSeconds seconds = {};
};

/// Of a task over some rounds: how often it took part and failed, and means over the times that it took part, NaN where
/// it did not.
struct TaskFigures {
  Index episodes = 0, failures = 0;
  double loss = std::numeric_limits<double>::quiet_NaN(), metric = std::numeric_limits<double>::quiet_NaN();
};

/// Figures of rounds. What it holds depends on the rounds alone, so it is resumed bit for bit; but for `seconds`, which
/// are of this process and are not saved.
struct TaskMeter {
  Tensor<std::int64_t> progress;  ///< [2]: rounds seen (the highest number and 1), rounds of an interval
  Buffer<double> figures;         ///< [intervals, tasks, 4]: times, and sums of loss, metric, failures
  Buffer<double> conflict;        ///< [intervals, 4]: rounds, and sums of conflicts, mean cosine, log of the ratio
  Buffer<double> cosines;         ///< [matrices, tasks, tasks, 2]: pairs, and the sum of their cosines
  Buffer<double> attention;       ///< [matrices, tasks, tasks + 1]: sums, and the number of times
  MeterOptions options;
  RoundSeconds seconds;
  GRAFT_FIELDS(progress, figures, conflict, cosines, attention)
  GRAFT_CONFIG(options, seconds)

  /// Measures nothing.
  TaskMeter() : options{.intervals = 0} {}
  /// For `tasks` tasks, which listen to one another or not. Throws ValueError unless intervals and matrices are powers
  /// of 2, at least 2, or 0, matrices no more than intervals, `every` 1 or more.
  TaskMeter(Index tasks, bool listens, const MeterOptions& o = {}, Site site = Site::current()) : options(o) {
    const auto fits = [](Index n) { return n == 0 || (n >= 2 && (n & (n - 1)) == 0); };
    if (!fits(o.intervals) || !fits(o.matrices) || (o.intervals > 0 && o.matrices > o.intervals) || o.every < 1)
      fail("TaskMeter", {o.intervals, " intervals, ", o.matrices, " matrices, every ", o.every}, {}, site);
    const Index intervals = o.intervals, matrices = intervals > 0 && tasks <= o.most_tasks ? o.matrices : 0;
    progress = from_vector(std::vector<std::int64_t>{0, 1});
    figures.value = zeros<double>({intervals, tasks, 4});
    conflict.value = zeros<double>({intervals, 4});
    cosines.value = zeros<double>({matrices, matrices > 0 ? tasks : 0, matrices > 0 ? tasks : 0, 2});
    attention.value = zeros<double>({listens ? matrices : 0, listens ? tasks : 0, listens ? tasks + 1 : 0});
  }

  Index tasks() const { return figures.value.defined() ? figures.value.size(1) : 0; }
  /// Rounds so far, also those that were not looked at.
  Index rounds() const { return options.intervals > 0 ? static_cast<Index>(host(progress)[0]) : 0; }
  /// Rounds of an interval: 1, 2, 4 ...
  Index rounds_each() const { return options.intervals > 0 ? static_cast<Index>(host(progress)[1]) : 1; }
  /// Intervals that have begun: interval i is of the rounds [i, i + 1) times `rounds_each`.
  Index intervals() const { return (rounds() + rounds_each() - 1) / rounds_each(); }
  /// Matrices that have begun, each of `intervals_each` intervals; 0 without matrices.
  Index matrices() const { return cosines.value.defined() ? begun(cosines.value.size(0)) : 0; }
  Index intervals_each() const { return options.matrices > 0 ? options.intervals / options.matrices : 0; }

  /// Whether the gradients of this round are to be compared.
  bool measures(Index round) const { return options.intervals > 0 && round % options.every == 0; }

  /// Notes a round. Rounds come in their order.
  GRAFT_ONCE void add(const MeterRound& r) {
    if (options.intervals == 0) return;
    seconds += r.seconds;
    Index each = rounds_each();
    while (r.round / each >= options.intervals) {
      halve();
      each *= 2;
    }
    progress = from_vector(std::vector<std::int64_t>{r.round + 1, each});
    const Index interval = r.round / each, tasks = this->tasks();
    {
      Numbers to(figures.value);
      const auto of = [&](Index task) { return to.at + (interval * tasks + task) * 4; };
      for (const MeterTask& task : r.tasks) {
        double* sums = of(task.task);
        sums[0] += 1;
        sums[1] += task.loss;
        sums[2] += task.metric;
      }
      for (Index task : r.failed) of(task)[3] += 1;
    }
    const Index matrix = cosines.value.size(0) > 0 ? interval / intervals_each() : 0;
    if (r.gramian.defined() && r.tasks.size() > 1 && all_finite(r.gramian)) {
      const ConflictFigures now = conflict_figures(r.gramian);
      {
        Numbers to(conflict.value);
        double* sums = to.at + interval * 4;
        sums[0] += 1;
        sums[1] += now.conflicts;
        sums[2] += now.mean_cosine;
        sums[3] += std::log(now.largest_ratio);
      }
      if (cosines.value.count() > 0) add_cosines(r, matrix);
    }
    if (attention.value.count() > 0) add_attention(r, matrix);
  }

  /// Figures of a task in one interval. Throws IndexError.
  TaskFigures of_task(Index task, Index interval, Site site = Site::current()) const {
    check_interval(interval, site);
    return task_figures(task, interval, interval + 1, site);
  }
  /// Over all rounds.
  TaskFigures of_task(Index task, Site site = Site::current()) const {
    return task_figures(task, 0, intervals(), site);
  }

  /// Means over the rounds of an interval whose gradients were compared; of the ratio the geometric mean. 0, NaN, NaN
  /// if there were none. Throws IndexError.
  ConflictFigures conflicts(Index interval, Site site = Site::current()) const {
    check_interval(interval, site);
    return conflict_means(interval, interval + 1);
  }
  /// Over all rounds.
  ConflictFigures conflicts() const { return conflict_means(0, intervals()); }

  /// [tasks, tasks]: mean cosine between gradients of two tasks (of one task's two episodes on the diagonal) over the
  /// rounds of a matrix; NaN for two that were not in a round together. Not defined without matrices. IndexError.
  Tensor<double> mean_cosines(Index matrix, Site site = Site::current()) const {
    check_matrix(matrix, site);
    return cosine_means(matrix, matrix + 1);
  }
  /// Over all rounds.
  Tensor<double> mean_cosines() const { return cosine_means(0, matrices()); }

  /// [tasks, tasks]: the mean share of a task's attention, in its row, that each task got over the rounds of a matrix;
  /// NaN for a task that did not listen. Not defined without matrices or exchange. Throws IndexError.
  Tensor<double> mean_attention(Index matrix, Site site = Site::current()) const {
    check_matrix(matrix, site);
    return attention_means(matrix, matrix + 1);
  }
  /// Over all rounds.
  Tensor<double> mean_attention() const { return attention_means(0, matrices()); }

  /// A table of the tasks (the first and the latest interval that each took part in, all episodes and failures), one of
  /// the conflicts, at most eight lines of intervals, and where the seconds of this process went. `metric` is what the
  /// tasks' figure is called. Tasks without a name are called by their number.
  std::string text(const std::vector<std::string>& names = {}, const std::string& metric = "metric") const {
    std::string out;
    if (options.intervals == 0 || rounds() == 0) return out;
    char line[256];
    const auto add = [&](auto... values) {
      std::snprintf(line, sizeof line, values...);
      out += line;
    };
    std::size_t wide = 4;
    for (Index t = 0; t < tasks(); ++t) wide = std::max(wide, name_of(names, t).size());
    const int width = static_cast<int>(std::min(wide, std::size_t{40}));
    add("%-*s  episodes  failures      loss: first     last   %s: first     last\n", width, "task", metric.c_str());
    const int gap = static_cast<int>(std::min(metric.size(), std::size_t{40}));
    for (Index t = 0; t < tasks(); ++t) {
      const TaskFigures all = of_task(t);
      TaskFigures first, last;
      for (Index i = 0; i < intervals(); ++i) {
        const TaskFigures at = of_task(t, i);
        if (at.episodes == 0) continue;
        if (first.episodes == 0) first = at;
        last = at;
      }
      add("%-*.40s  %8lld  %8lld      %11.4f %8.4f   %*.4f %8.4f\n", width, name_of(names, t).c_str(),
          static_cast<long long>(all.episodes), static_cast<long long>(all.failures), first.loss, last.loss, gap + 7,
          first.metric, last.metric);
    }
    add("\n%-21s  gradients in conflict  mean cosine  longest / shortest\n", "rounds");
    const Index lines = std::min(intervals(), Index{8}), each = (intervals() + lines - 1) / lines;
    for (Index first = 0; first < intervals(); first += each) {
      const Index end = std::min(first + each, intervals());
      const ConflictFigures mean = conflict_means(first, end);
      add("%8lld to %8lld   %20.1f %%  %11.3f  %18.2f\n", static_cast<long long>(first * rounds_each()),
          static_cast<long long>(std::min(end * rounds_each(), rounds()) - 1), 100 * mean.conflicts, mean.mean_cosine,
          mean.largest_ratio);
    }
    if (seconds.all > 0) {
      const double rest = seconds.all - seconds.work - seconds.aggregate - seconds.step;
      const auto share = [&](double part) { return 100 * part / seconds.all; };
      add("\nof %.1f s of rounds: tasks %.1f %%, aggregation %.1f %%, step %.1f %%, protocol %.2f %%\n", seconds.all,
          share(seconds.work), share(seconds.aggregate), share(seconds.step), share(rest));
    }
    return out;
  }

  /// Rows for a record: of `name` the means over all rounds gradients-in-conflict, gradients-mean-cosine and
  /// gradients-length-ratio, of "name/TASK" episodes, failures, training-loss and training-METRIC
  /// (unless it is unknown) over all rounds.
  GRAFT_ONCE std::vector<ResultRow> rows(const std::string& name, const std::vector<std::string>& names = {},
                                         const std::string& metric = "metric") const {
    std::vector<ResultRow> list;
    if (options.intervals == 0) return list;
    double measured = 0;
    for (Index i = 0; i < intervals(); ++i) measured += host(conflict.value)[static_cast<std::size_t>(i * 4)];
    const auto add = [&](const std::string& of, const std::string& what, double value, double n) {
      list.push_back({of, what, value, 0, static_cast<Index>(n), 0});
    };
    if (measured > 0) {
      const ConflictFigures mean = conflicts();
      add(name, "gradients-in-conflict", mean.conflicts, measured);
      add(name, "gradients-mean-cosine", mean.mean_cosine, measured);
      add(name, "gradients-length-ratio", mean.largest_ratio, measured);
    }
    for (Index t = 0; t < tasks(); ++t) {
      const TaskFigures all = of_task(t);
      const std::string of = name + "/" + name_of(names, t);
      const double n = static_cast<double>(all.episodes);
      add(of, "episodes", n, n);
      add(of, "failures", static_cast<double>(all.failures), n);
      if (all.episodes == 0) continue;
      add(of, "training-loss", all.loss, n);
      if (std::isfinite(all.metric)) add(of, "training-" + metric, all.metric, n);
    }
    return list;
  }

 private:
  /// The numbers of a tensor, to be changed: in place where nobody else holds them.
  struct Numbers {
    explicit Numbers(Tensor<double>& tensor) : place(tensor), at(place.to()) {
      if (at != place.from()) std::copy_n(place.from(), tensor.count(), at);
    }
    ~Numbers() { place.publish(); }
    Numbers(const Numbers&) = delete;
    Numbers& operator=(const Numbers&) = delete;
    detail::Overwrite<double> place;
    double* at;
  };

  static std::string name_of(const std::vector<std::string>& names, Index task) {
    return task < static_cast<Index>(names.size()) ? names[static_cast<std::size_t>(task)] : std::to_string(task);
  }
  Index begun(Index matrices) const {
    return matrices == 0 ? 0 : (intervals() + intervals_each() - 1) / intervals_each();
  }
  void check_interval(Index interval, Site site) const {
    if (interval < 0 || interval >= intervals())
      fail<IndexError>("TaskMeter", {"interval ", interval, " of ", intervals()}, {}, site);
  }
  void check_matrix(Index matrix, Site site) const {
    if (matrix < 0 || matrix >= matrices())
      fail<IndexError>("TaskMeter", {"matrix ", matrix, " of ", matrices()}, {}, site);
  }

  /// Two rows become one.
  void halve() {
    for (Tensor<double>* tensor : {&figures.value, &conflict.value, &cosines.value, &attention.value}) {
      if (tensor->count() == 0) continue;
      const Index rows = tensor->size(0), each = tensor->count() / rows;
      Numbers to(*tensor);
      for (Index row = 0; row < rows / 2; ++row)
        for (Index i = 0; i < each; ++i)
          to.at[row * each + i] = to.at[2 * row * each + i] + to.at[(2 * row + 1) * each + i];
      std::fill(to.at + rows / 2 * each, to.at + rows * each, 0.0);
    }
  }
  void add_cosines(const MeterRound& r, Index matrix) {
    const detail::Cosines cosine("TaskMeter", r.gramian, {});
    const Index tasks = this->tasks();
    Numbers to(cosines.value);
    const auto add = [&](Index one, Index other, double value) {
      double* pair = to.at + ((matrix * tasks + one) * tasks + other) * 2;
      pair[0] += 1;
      pair[1] += value;
    };
    for (Index i = 0; i < cosine.tasks(); ++i)
      for (Index j = 0; j < i; ++j) {
        if (cosine.length(i) == 0 || cosine.length(j) == 0) continue;
        const Index one = r.tasks[static_cast<std::size_t>(i)].task, other = r.tasks[static_cast<std::size_t>(j)].task;
        add(one, other, cosine(i, j));
        if (one != other) add(other, one, cosine(i, j));
      }
  }
  void add_attention(const MeterRound& r, Index matrix) {
    const Index tasks = this->tasks();
    Numbers to(attention.value);
    for (const MeterTask& task : r.tasks) {
      if (!task.attention.defined()) continue;
      double* sums = to.at + (matrix * tasks + task.task) * (tasks + 1);
      for (const double share : host(task.attention)) *sums++ += share;
      *sums += 1;
    }
  }

  TaskFigures task_figures(Index task, Index first, Index end, Site site) const {
    if (task < 0 || task >= tasks()) fail<IndexError>("TaskMeter", {"task ", task, " of ", tasks()}, {}, site);
    const auto numbers = host(figures.value);
    double sums[4] = {};
    for (Index i = first; i < end; ++i)
      for (Index k = 0; k < 4; ++k) sums[k] += numbers[static_cast<std::size_t>((i * tasks() + task) * 4 + k)];
    TaskFigures result{static_cast<Index>(sums[0]), static_cast<Index>(sums[3])};
    if (sums[0] > 0) {
      result.loss = sums[1] / sums[0];
      result.metric = sums[2] / sums[0];
    }
    return result;
  }
  ConflictFigures conflict_means(Index first, Index end) const {
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    double sums[4] = {};
    for (Index i = first; i < end; ++i)
      for (Index k = 0; k < 4; ++k) sums[k] += host(conflict.value)[static_cast<std::size_t>(i * 4 + k)];
    if (sums[0] == 0) return {0, nan, nan};
    return {sums[1] / sums[0], sums[2] / sums[0], std::exp(sums[3] / sums[0])};
  }
  /// [tasks, tasks]: of sums and counts over matrices; `at(numbers, matrix, i, j)` gives {count, sum}.
  template <class At>
  Tensor<double> means(const Tensor<double>& of, Index first, Index end, const At& at) const {
    if (!of.defined() || of.count() == 0) return {};
    const auto numbers = host(of);
    return generate({tasks(), tasks()}, [&](Index i, Index j) {
      double count = 0, total = 0;
      for (Index m = first; m < end; ++m) {
        const std::pair<Index, Index> places = at(m, i, j);
        count += numbers[static_cast<std::size_t>(places.first)];
        total += numbers[static_cast<std::size_t>(places.second)];
      }
      return count > 0 ? total / count : std::numeric_limits<double>::quiet_NaN();
    });
  }
  Tensor<double> cosine_means(Index first, Index end) const {
    return means(cosines.value, first, end, [n = tasks()](Index m, Index i, Index j) {
      const Index place = ((m * n + i) * n + j) * 2;
      return std::pair(place, place + 1);
    });
  }
  Tensor<double> attention_means(Index first, Index end) const {
    return means(attention.value, first, end, [n = tasks()](Index m, Index i, Index j) {
      const Index row = (m * n + i) * (n + 1);
      return std::pair(row + n, row + j);
    });
  }
};
GRAFT_HELD(void TaskMeter::add<>(const MeterRound&))
GRAFT_HELD(std::vector<ResultRow> TaskMeter::rows<>(const std::string&, const std::vector<std::string>&,
                                                    const std::string&) const)

}  // namespace GRAFT_ABI
}  // namespace graft
