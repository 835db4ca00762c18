#pragma once
// What a training by the protocol looked like, for an `HtmlReport`: curves of the tasks, conflicts, who listened to
// whom.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "graft/evaluate/classification.hpp"
#include "graft/evaluate/curve_picture.hpp"
#include "graft/evaluate/graph_picture.hpp"
#include "graft/evaluate/interval_picture.hpp"
#include "graft/evaluate/intervals.hpp"
#include "graft/evaluate/map_picture.hpp"
#include "graft/evaluate/method_table.hpp"
#include "graft/evaluate/report.hpp"
#include "graft/evaluate/transfer_figures.hpp"
#include "graft/ops/layout.hpp"
#include "graft/protocol/meter.hpp"
#include "graft/train/episodes.hpp"
#include "graft/train/train.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

inline std::string fixed_digits(double value, int digits) {
  if (!std::isfinite(value)) return "–";
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

inline std::string task_name(const std::vector<std::string>& names, Index task) {
  return task < std::ssize(names) ? names[static_cast<std::size_t>(task)] : std::to_string(task);
}

/// As much of a name as a picture has room for: its beginning and its end, where names differ.
inline std::string short_name(const std::string& name) {
  const auto is_first_byte = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; };
  std::vector<std::size_t> letters;  // where they begin
  for (std::size_t i = 0; i < name.size(); ++i)
    if (is_first_byte(name[i])) letters.push_back(i);
  if (letters.size() <= 18) return name;
  return name.substr(0, letters[10]) + "…" + name.substr(letters[letters.size() - 7]);
}
inline std::vector<std::string> short_names(const TaskMeter& meter, const std::vector<std::string>& names) {
  std::vector<std::string> list;
  for (Index t = 0; t < meter.tasks(); ++t) list.push_back(short_name(task_name(names, t)));
  return list;
}

/// The middle of an interval of rounds.
inline double middle_round(const TaskMeter& meter, Index interval) {
  return (static_cast<double>(interval) + 0.5) * static_cast<double>(meter.rounds_each());
}

/// As many curves as colours can tell apart, from the lowest to the highest last value: of more, some between these.
inline constexpr std::size_t kMostCurves = 7;

template <class Figure>
std::vector<Curve> task_curves(const TaskMeter& meter, const std::vector<std::string>& names, const Figure& figure) {
  std::vector<std::pair<double, Curve>> all;
  for (Index t = 0; t < meter.tasks(); ++t) {
    Curve curve{short_name(task_name(names, t)), {}, {}};
    for (Index i = 0; i < meter.intervals(); ++i) {
      const double value = figure(meter.of_task(t, i));
      if (!std::isfinite(value)) continue;
      curve.x.push_back(middle_round(meter, i));
      curve.y.push_back(value);
    }
    if (curve.x.empty()) continue;
    const double last = curve.y.back();
    all.emplace_back(last, std::move(curve));
  }
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Curve> chosen;
  const std::size_t shown = std::min(all.size(), kMostCurves);
  for (std::size_t k = 0; k < shown; ++k)
    chosen.push_back(all[shown == 1 ? 0 : k * (all.size() - 1) / (shown - 1)].second);
  return chosen;
}

/// Curves at the size that a telephone shows legibly; the names above them take what they need.
inline Svg report_curves(const std::vector<Curve>& curves, CurvePictureOptions o) {
  std::vector<Legend::Entry> entries;
  for (const Curve& curve : curves) entries.push_back({curve.name, "", Legend::Sign::stroke});
  o.width = 420;
  o.height = 270 + Legend(std::move(entries), 60, o.width - 30).height();
  return curve_picture(curves, o);
}

/// Every task's figure over the rounds, one line a task.
template <class Figure>
Svg task_map(const TaskMeter& meter, const std::vector<std::string>& names, const std::string& title,
             const Figure& figure) {
  std::vector<std::string> columns;
  for (Index i = 0; i < meter.intervals(); ++i) columns.push_back(std::to_string(i * meter.rounds_each()));
  const auto finite = [](double value) {
    return std::isfinite(value) ? value : std::numeric_limits<double>::quiet_NaN();
  };
  const Tensor<double> values = generate({meter.tasks(), meter.intervals()},
                                         [&](Index t, Index i) { return finite(figure(meter.of_task(t, i))); });
  return map_picture(values, {.title = title,
                              .row_name = "",
                              .column_name = "from round",
                              .rows = short_names(meter, names),
                              .columns = columns,
                              .width = 860,
                              .gaps = true});
}

/// Of so many tasks pictures of graphs have names, of more numbers.
inline constexpr Index kMostNames = 40;

/// The tasks as nodes, with an edge from each of the `strongest` largest positive entries of every row of `weights`
/// [tasks, tasks], off the diagonal; of a symmetric matrix each pair once.
inline Svg task_graph(const Tensor<double>& weights, const std::vector<std::string>& names, Index strongest,
                      bool symmetric, const std::string& title, const std::string& weight_name) {
  const Index tasks = weights.size(0);
  const auto numbers = host(weights);
  std::map<std::pair<Index, Index>, double> chosen;
  for (Index to = 0; to < tasks; ++to) {
    std::vector<std::pair<double, Index>> list;
    for (Index from = 0; from < tasks; ++from)
      if (const double share = numbers[static_cast<std::size_t>(to * tasks + from)]; from != to && share > 0)
        list.emplace_back(-share, from);
    std::sort(list.begin(), list.end());
    for (std::size_t k = 0; k < list.size() && k < static_cast<std::size_t>(strongest); ++k) {
      const Index from = list[k].second;
      chosen[symmetric && from > to ? std::pair(to, from) : std::pair(from, to)] = -list[k].first;
    }
  }
  std::vector<GraphEdge> edges;
  std::vector<double> widths;
  for (const auto& [pair, width] : chosen) {
    edges.push_back({pair.first, pair.second});
    widths.push_back(width);
  }
  std::vector<std::string> labels;
  for (Index t = 0; t < tasks; ++t)
    labels.push_back(tasks <= kMostNames ? short_name(task_name(names, t)) : std::to_string(t));
  return graph_picture(Graph(tasks, edges), from_vector(widths),
                       {.title = title, .labels = labels, .weight_name = weight_name, .width = 860, .height = 520});
}

inline std::string signed_percent(double share, int digits = 2) {
  return (share > 0 ? "+" : "") + fixed_digits(100 * share, digits);
}

/// A picture of how much the tasks' gradients agreed over the rounds.
inline void add_agreement(HtmlReport& report, const std::string& name, const TaskMeter& meter) {
  Curve conflicts{"pairs in conflict, share", {}, {}}, cosines{"mean cosine", {}, {}};
  for (Index i = 0; i < meter.intervals(); ++i) {
    const ConflictFigures figures = meter.conflicts(i);
    if (!std::isfinite(figures.mean_cosine)) continue;
    for (auto [curve, value] : {std::pair(&conflicts, figures.conflicts), std::pair(&cosines, figures.mean_cosine)}) {
      curve->x.push_back(middle_round(meter, i));
      curve->y.push_back(value);
    }
  }
  if (!cosines.x.empty())
    report.picture(
        report_curves({conflicts, cosines}, {.title = name + ": agreement of gradients", .x_name = "round"}),
        "Of the pairs of tasks in a round: the share whose gradients were in conflict (a cosine below 0), and the mean "
        "cosine.");
}

/// Pictures of pairs of tasks: how their gradients agreed, and the task graph.
inline void add_pairs(HtmlReport& report, const std::string& name, const TaskMeter& meter,
                      const std::vector<std::string>& names) {
  if (meter.tasks() < 2) return;
  const auto is_known = [](const Tensor<double>& matrix) {
    const auto finite = [](double value) { return std::isfinite(value); };
    return matrix.defined() && std::any_of(host(matrix).begin(), host(matrix).end(), finite);
  };
  if (const Tensor<double> attention = meter.mean_attention(); is_known(attention))
    report.picture(task_graph(attention, names, 3, false, name + ": who listens to whom", "share of attention"),
                   "The task graph: to each task come edges from the three that it listens to most, as wide as their "
                   "share of its attention.");
  else if (const Tensor<double> all = meter.mean_cosines(); is_known(all))
    report.picture(task_graph(all, names, 3, true, name + ": tasks whose gradients agree", "mean cosine"),
                   "The task graph of a learner whose tasks do not listen to one another: each task is joined to the "
                   "three whose gradients agree with its own most.");
  std::vector<Tensor<double>> maps;
  std::vector<std::string> heads;
  const std::vector<std::string> rows = short_names(meter, names);
  const bool few = meter.tasks() <= 60;  // more would be megabytes: the mean over all rounds only
  const Index rounds = meter.intervals_each() * meter.rounds_each();
  for (Index m = 0; few && m < meter.matrices(); ++m) {
    maps.push_back(meter.mean_cosines(m));
    heads.push_back("rounds " + std::to_string(m * rounds) + " to " +
                    std::to_string(std::min((m + 1) * rounds, meter.rounds()) - 1));
  }
  if (!few && meter.matrices() > 0) {
    maps.push_back(meter.mean_cosines());
    heads.push_back("all rounds");
  }
  double largest = 0;
  for (const Tensor<double>& map : maps)
    for (const double cosine : host(map)) largest = std::max(largest, std::abs(cosine));
  double end = 0.1;  // of the scale: a round number
  for (const double larger : {0.2, 0.5, 1.0})
    if (largest > end) end = larger;
  if (!maps.empty())
    report.picture(map_picture(stack(maps), {.title = name + ": conflict matrix over time",
                                             .row_name = "",
                                             .column_name = "",
                                             .maps = heads,
                                             .rows = rows,
                                             .columns = rows,
                                             .low = -end,
                                             .high = end,
                                             .width = 1300,
                                             .diverging = true,
                                             .gaps = true}),
                   "Mean cosine of the gradients of two tasks: red where they are against each other, blue where they "
                   "agree, grey where the two were never compared.");
}

}  // namespace detail

/// Adds a section about a training: curves of loss and of `metric` (of seven tasks at most, spread from the lowest to
/// the highest, and then a map of all), how the tasks' gradients agreed over the rounds, the task graph with attention
/// where tasks listen to one another, a table of the tasks, and where the seconds went. Tasks without a name are called
/// by their number. Nothing for a meter that has seen no round.
GRAFT_ONCE void add_training(HtmlReport& report, const std::string& name, const TaskMeter& meter,
                             const std::vector<std::string>& names, const std::string& metric) {
  if (meter.rounds() == 0) return;
  report.section("Training of " + name);
  std::vector<std::vector<std::string>> rows;
  bool measured = false;
  const bool numbered = meter.tasks() > detail::kMostNames;  // as in the picture of their graph
  for (Index t = 0; t < meter.tasks(); ++t) {
    const TaskFigures all = meter.of_task(t);
    TaskFigures last;
    for (Index i = 0; i < meter.intervals(); ++i)
      if (const TaskFigures at = meter.of_task(t, i); at.episodes > 0) last = at;
    measured = measured || std::isfinite(all.metric);
    rows.push_back({(numbered && t < std::ssize(names) ? std::to_string(t) + ": " : "") + detail::task_name(names, t),
                    std::to_string(all.episodes), std::to_string(all.failures), detail::fixed_digits(all.loss, 4),
                    detail::fixed_digits(last.loss, 4), detail::fixed_digits(all.metric, 4),
                    detail::fixed_digits(last.metric, 4)});
  }
  const auto curves = [&](const std::string& what, const auto& figure) {
    const std::vector<Curve> list = detail::task_curves(meter, names, figure);
    if (list.empty()) return false;
    const bool some = std::ssize(list) < meter.tasks();
    report.picture(detail::report_curves(list, {.title = name + ": " + what, .x_name = "round", .y_name = what}),
                   "Mean training " + what + " of " +
                       (some ? std::to_string(list.size()) + " of " + std::to_string(meter.tasks()) +
                                   " tasks, spread from the lowest last value to the highest."
                             : "each task."));
    return some;
  };
  const auto loss = [](const TaskFigures& figures) { return figures.loss; };
  const auto figure = [](const TaskFigures& figures) { return figures.metric; };
  bool some = curves("loss", loss);
  if (measured) some = curves(metric, figure);
  detail::add_agreement(report, name, meter);
  if (some)
    report.picture(measured ? detail::task_map(meter, names, name + ": " + metric + " of every task", figure)
                            : detail::task_map(meter, names, name + ": loss of every task", loss),
                   "Every task over the rounds; grey where it did not take part.");
  detail::add_pairs(report, name, meter, names);
  std::vector<std::string> head{"task", "episodes", "failures", "loss", "last loss", metric, "last " + metric};
  if (!measured) {
    head.resize(5);
    for (std::vector<std::string>& row : rows) row.resize(5);
  }
  report.table("Tasks: means over all rounds, and over the last interval of " + std::to_string(meter.rounds_each()) +
                   " rounds that each took part in",
               head, rows);
  const ConflictFigures conflict = meter.conflicts();
  const RoundSeconds& seconds = meter.seconds;
  std::vector<std::pair<std::string, std::string>> facts{{"rounds", std::to_string(meter.rounds())}};
  if (std::isfinite(conflict.mean_cosine))
    facts.insert(facts.end(),
                 {{"pairs of gradients in conflict", detail::fixed_digits(100 * conflict.conflicts, 1) + " %"},
                  {"mean cosine of pairs", detail::fixed_digits(conflict.mean_cosine, 3)},
                  {"longest / shortest gradient", detail::fixed_digits(conflict.largest_ratio, 2)}});
  const auto share = [&](double part) { return detail::fixed_digits(100 * part / seconds.all, 2) + " %"; };
  if (seconds.all > 0)
    facts.insert(facts.end(),
                 {{"seconds of rounds, this process", detail::fixed_digits(seconds.all, 1)},
                  {"of them the tasks' work", share(seconds.work)},
                  {"aggregation", share(seconds.aggregate)},
                  {"optimiser step", share(seconds.step)},
                  {"the rest of the protocol", share(seconds.all - seconds.work - seconds.aggregate - seconds.step)}});
  report.values(facts);
}
GRAFT_HELD(void add_training<>(HtmlReport&, const std::string&, const TaskMeter&, const std::vector<std::string>&,
                               const std::string&))

/// What a learner came to in the test.
struct ReportedLearner {
  MethodResult result;                       ///< [kinds][episodes] of accuracies
  std::vector<PrecisionRecall> scores = {};  ///< [kinds]; none: unknown
  Index parameters = 0;
};

/// The test of a trained learner on a suite of episodes, shared by `ranks`; `with_scores`: also precision, recall and
/// F1, which takes another pass. Throws Stopped.
template <Model Learner>
ReportedLearner test_learner(const std::string& name, const Trained<Learner>& trained, const ItemSet& items,
                             const EpisodeSuite& suite, bool with_scores, const StopFlag* stop = nullptr,
                             Transport* ranks = nullptr) {
  ReportedLearner learner{{name, episode_accuracies(trained.model, items, suite, stop, ranks), trained.seconds,
                           trained.items, trained.dropped}};
  if (with_scores) learner.scores = episode_precision_recall(trained.model, items, suite, stop);
  learner.parameters = count(trained.model);
  return learner;
}
GRAFT_HELD(ReportedLearner test_learner(const std::string&, const Trained<AnyEpisodeLearner>&, const ItemSet&,
                                        const EpisodeSuite&, bool, const StopFlag*, Transport*))

namespace detail {

/// One figure alone has no interval.
inline std::string percent_interval(const Interval& interval, bool sign = false) {
  char text[64];
  std::snprintf(text, sizeof text, sign ? "%+.2f" : "%.2f", 100 * interval.mean);
  if (interval.n < 2) return text;
  const std::string mean = text;
  std::snprintf(text, sizeof text, " ± %.2f", 100 * interval.ci95);
  return mean + text;
}

/// The learner to which differences are taken. Throws ValueError unless it is there and all have as many figures.
inline const ReportedLearner& base_learner(const char* op, const std::vector<ReportedLearner>& learners,
                                           const std::string& base, std::size_t kinds, Site site) {
  const ReportedLearner* found = nullptr;
  for (const ReportedLearner& learner : learners) {
    if (learner.result.figures.size() < kinds)
      fail(op, {learner.result.name, " has figures of ", learner.result.figures.size(), " of ", kinds, " kinds"}, {},
           site);
    if (learner.result.name == base) found = &learner;
  }
  if (!found) fail(op, {"no learner is called '", base, "'"}, {}, site);
  return *found;
}

/// What the paired differences of a kind say.
inline std::string verdict(const std::string& kind, const std::string& base,
                           const std::vector<std::pair<std::string, Interval>>& differences) {
  std::vector<std::string> better, worse, open;
  for (const auto& [name, difference] : differences) {
    (difference.low() > 0 ? better : difference.high() < 0 ? worse : open).push_back(name);
  }
  return kind + ". Better than " + base + ": " + listed(better) + ". Worse: " + listed(worse) +
         ". Not to be told from it: " + listed(open) + ".";
}

}  // namespace detail

/// Adds a section of the learners' accuracies of each of `kinds`, with 95 % intervals and paired differences to the
/// learner `base`, what these say in words, precision, recall and F1 of those that have them, and the cost of training.
/// Throws ValueError if there is no such learner, or one has other kinds.
GRAFT_ONCE void add_results(HtmlReport& report, const std::vector<std::string>& kinds,
                            const std::vector<ReportedLearner>& learners, const std::string& base,
                            Site site = Site::current()) {
  const ReportedLearner& reference = detail::base_learner("add_results", learners, base, kinds.size(), site);
  if (kinds.empty()) fail("add_results", "of no kinds of episodes", {}, site);
  report.section("Results");
  std::vector<std::string> head{"learner"}, score_head{"learner"};
  std::vector<std::vector<std::string>> accuracies, scores, costs;
  // Of all learners, and of those that were trained: one that was not is so far away that it would take the scale of
  // the picture from the others.
  std::vector<std::vector<std::pair<std::string, Interval>>> differences(kinds.size()), shown(kinds.size());
  for (const std::string& kind : kinds) {
    head.push_back(kind);
    head.push_back("minus " + base);
    for (const char* score : {"precision", "recall", "F1"}) score_head.push_back(kind + ": " + score);
  }
  for (const ReportedLearner& learner : learners) {
    const MethodResult& result = learner.result;
    accuracies.push_back({result.name});
    for (std::size_t k = 0; k < kinds.size(); ++k) {
      accuracies.back().push_back(detail::percent_interval(mean_interval(result.figures[k])));
      accuracies.back().push_back("–");
      if (&learner == &reference) continue;
      differences[k].emplace_back(result.name, paired_difference(result.figures[k], reference.result.figures[k], site));
      if (result.items > 0) shown[k].push_back(differences[k].back());
      accuracies.back().back() = detail::percent_interval(differences[k].back().second, true);
    }
    if (!learner.scores.empty()) {
      scores.push_back({result.name});
      for (const PrecisionRecall& kind : learner.scores)
        for (const double score : {kind.precision, kind.recall, kind.f1})
          scores.back().push_back(detail::fixed_digits(100 * score, 2));
    }
    const double items = static_cast<double>(result.items);
    costs.push_back({result.name, std::to_string(learner.parameters), detail::fixed_digits(result.seconds, 1),
                     std::to_string(result.items), std::to_string(result.dropped),
                     result.seconds > 0 ? detail::fixed_digits(items / result.seconds, 1) : "–"});
  }
  if (!differences[0].empty())
    report.paragraph(
        "What the paired differences say, each 95 % interval by itself; where there is no difference, one in twenty "
        "says otherwise.");
  for (std::size_t k = 0; k < kinds.size(); ++k)
    if (!differences[k].empty()) report.paragraph(detail::verdict(kinds[k], base, differences[k]));
  report.table("Accuracy in %: mean over " + std::to_string(reference.result.figures[0].size()) +
                   " test episodes of each kind with 95 % interval, and paired difference",
               head, accuracies);
  for (std::size_t k = 0; k < kinds.size(); ++k)
    if (!shown[k].empty())
      report.picture(interval_picture(shown[k], {.title = kinds[k] + ": minus " + base,
                                                 .x_name = "accuracy, points of a hundred",
                                                 .zero = true,
                                                 .scale = 100,
                                                 .width = 420}),
                     "Paired differences of the trained learners to " + base +
                         " with 95 % intervals: one that holds 0 is no difference that can be told from chance.");
  if (!scores.empty())
    report.table("Precision, recall and F1 in %: mean over test episodes of the mean over their classes", score_head,
                 scores);
  report.table("Cost of training", {"learner", "parameters", "seconds", "episodes", "dropped", "episodes a second"},
               costs);
}
GRAFT_HELD(void add_results<>(HtmlReport&, const std::vector<std::string>&, const std::vector<ReportedLearner>&,
                              const std::string&, Site))

/// Adds a table of the learners' accuracies by task, `task_of` [episodes of kind `kind`] in 0 .. names-1, with 95 %
/// intervals, and of each what it gains on the learner `base`: the mean over tasks of the relative difference
/// (`transfer_ratio`, `delta_p`), how many tasks are worse (`tasks_hurt`), and the tasks with the largest gain and
/// loss. Tasks without an episode are left out, and of the gains those on which `base` has 0. Throws ValueError if
/// there is no such learner or one has other episodes, IndexError for a task out of range.
GRAFT_ONCE void add_transfer(HtmlReport& report, const std::vector<std::string>& names,
                             const std::vector<Index>& task_of, std::size_t kind,
                             const std::vector<ReportedLearner>& learners, const std::string& base,
                             Site site = Site::current()) {
  const char* op = "add_transfer";
  const ReportedLearner& reference = detail::base_learner(op, learners, base, kind + 1, site);
  for (const Index task : task_of)
    if (task < 0 || task >= std::ssize(names)) fail<IndexError>(op, {"task ", task, " of ", names.size()}, {}, site);
  // [tasks][episodes]
  const auto by_task = [&](const ReportedLearner& learner) {
    const std::vector<double>& figures = learner.result.figures[kind];
    if (figures.size() != task_of.size())
      fail(op, {learner.result.name, " has ", figures.size(), " figures of ", task_of.size(), " episodes"}, {}, site);
    std::vector<std::vector<double>> lists(names.size());
    for (std::size_t i = 0; i < figures.size(); ++i) lists[static_cast<std::size_t>(task_of[i])].push_back(figures[i]);
    return lists;
  };
  const std::vector<std::vector<double>> of_base = by_task(reference);
  std::vector<std::string> head{"test task", "episodes"};
  std::vector<std::vector<std::string>> rows, transfer;
  for (std::size_t t = 0; t < names.size(); ++t)
    if (!of_base[t].empty()) rows.push_back({names[t], std::to_string(of_base[t].size())});
  for (const ReportedLearner& learner : learners) {
    head.push_back(learner.result.name);
    const std::vector<std::vector<double>> own = by_task(learner);
    std::vector<std::vector<TransferFigure>> figures;
    std::vector<double> gains;
    std::vector<std::pair<double, std::string>> named;
    for (std::size_t t = 0, row = 0; t < names.size(); ++t) {
      if (of_base[t].empty()) continue;
      const Interval interval = mean_interval(own[t]);
      rows[row++].push_back(detail::percent_interval(interval));
      const TransferFigure figure{.joint = interval.mean, .single = mean_interval(of_base[t]).mean};
      if (figure.single == 0) continue;
      figures.push_back({figure});
      gains.push_back(transfer_ratio(figure, site));
      named.emplace_back(gains.back(), detail::signed_percent(gains.back()) + " (" + names[t] + ")");
    }
    if (&learner == &reference || figures.empty()) continue;
    const auto [least, most] = std::minmax_element(named.begin(), named.end());
    transfer.push_back(
        {learner.result.name,
         detail::percent_interval({delta_p(figures, site), mean_interval(gains).ci95, std::ssize(gains)}, true),
         std::to_string(tasks_hurt(figures, 0, site)) + " of " + std::to_string(figures.size()),
         most->first > 0 ? most->second : "–", least->first < 0 ? least->second : "–"});
  }
  report.section("By task");
  if (!transfer.empty())
    report.table(
        "Transfer against " + base + ": mean over test tasks of the relative difference in %, with 95 % interval",
        {"learner", "difference", "worse tasks", "largest gain", "largest loss"}, transfer);
  report.table("Accuracy in % by test task, with 95 % interval", head, rows);
}
GRAFT_HELD(void add_transfer<>(HtmlReport&, const std::vector<std::string>&, const std::vector<Index>&, std::size_t,
                               const std::vector<ReportedLearner>&, const std::string&, Site))

}  // namespace GRAFT_ABI
}  // namespace graft
