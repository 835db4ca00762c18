#pragma once
// "None of these": which queries of a task are of none of its classes. A score is made from an answer's logits, as the
// largest softmax is (Hendrycks, Gimpel, ICLR 2017), the largest logit (Hendrycks et al., ICML 2022) and the energy
// log sum exp (Liu, Wang, Owens, Li, NeurIPS 2020), or from all their parts by a logistic regression; it is calibrated
// on episodes in which further classes, of the same validation set, are the unknown ones.

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "graft/common/few_shot.hpp"
#include "graft/common/host_cholesky.hpp"
#include "graft/core/parallel.hpp"
#include "graft/core/stop.hpp"
#include "graft/data/item_set.hpp"
#include "graft/evaluate/calibration.hpp"
#include "graft/evaluate/rejection.hpp"
#include "graft/io/checkpoint.hpp"
#include "graft/ops/indexing.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How `calibrate_rejection` tests a learner.
struct OpenSetOptions {
  Index ways = 5;        ///< classes of a task
  Index shots = 1;       ///< support items of each
  Index unknown = 5;     ///< further classes, whose items are to be rejected; less where there are not so many
  Index queries = 5;     ///< of each class, known or unknown
  Index episodes = 200;  ///< two at least
};

/// Answers of which it is known whether they had a right one. `unknown` may have another number of rows.
struct OpenSetAnswers {
  Tensor<> known;               ///< [queries, ways]: logits of queries of one of the classes
  Tensor<std::int64_t> labels;  ///< [queries]: which
  Tensor<> unknown;             ///< [others, ways]: logits of queries of none of them
};

/// How well one score tells known queries from unknown ones. Measured on classes that nothing was fitted to.
struct OpenSetFigures {
  std::string score;
  double auroc = 0, fpr95 = 0;  ///< as in `RejectionFigures`
  double ece = 0;               ///< of the probabilities of the classes and "none", known and unknown weighing the same
};

/// A rule that says "none of these". The chance that a query is known, when as many are as are not, is
///   sigmoid(bias + sum_j weights_j f_j)
/// of the `open_set_features` f of its logits; it is rejected below `threshold`, which 95 % of the known ones reach.
struct Rejection {
  std::string score = "fitted";  ///< the one of `figures` that `weights` are of: that with the highest AUROC
  std::array<double, 4> weights = {};
  double bias = 0, threshold = 0, temperature = 1;
  Index ways = 0, shots = 0, episodes = 0, classes = 0;  ///< what it was calibrated on
  std::vector<OpenSetFigures> figures = {};              ///< of all scores

  /// What it was calibrated on, and a table of the figures.
  std::string text() const {
    const auto padded = [](const std::string& cell, std::size_t width) {
      return cell + std::string(cell.size() < width ? width - cell.size() : 0, ' ');
    };
    const auto rounded = [&](double value) {
      const std::string digits = detail::as_text(static_cast<Index>(std::llround(1000 * value)) + 10000);
      return "   " + std::string(1, value < 0.9995 ? '0' : '1') + "." + digits.substr(2);
    };
    std::string text = "None of these: calibrated on " + detail::as_text(episodes) + " tasks of " +
                       detail::as_text(ways) + " ways and " + detail::as_text(shots) + " shots from " +
                       detail::as_text(classes) + " other classes, by the\nscore '" + score +
                       "'. Each score on half of these classes, fitted on the others:\n\n" + padded("", 16) +
                       "   AUROC   FPR95     ECE\n";
    for (const OpenSetFigures& f : figures)
      text += padded(f.score, 16) + rounded(f.auroc) + rounded(f.fpr95) + rounded(f.ece) + "\n";
    return text;
  }
};

/// A query's answer with "none of these" among the classes.
struct OpenSetResult {
  Tensor<double> probabilities;  ///< [queries, ways + 1]: the last one that of none of the classes
  Tensor<std::int64_t> labels;   ///< [queries]: a class, or `ways` for what is rejected
};

/// What scores are made of, [queries, 4], from logits z [queries, ways]: the largest logit, how far it is above the
/// second, its log softmax, and how far it is above the mean of the others. Throws ShapeError for less than two classes
/// and ValueError for a logit that is not finite.
template <Real T>
Tensor<double> open_set_features(const Tensor<T>& logits, Site site = Site::current()) {
  if (logits.rank() != 2 || logits.size(1) < 2)
    fail<ShapeError>("open_set_features", "expected logits [queries, ways] of two classes or more",
                     {{"logits", logits.shape()}}, site);
  const auto ways = static_cast<std::size_t>(logits.size(1));
  const auto z = host(logits);
  std::vector<double> features;
  for (std::size_t at = 0; at < z.size(); at += ways) {
    double first = -std::numeric_limits<double>::infinity(), second = first, rest = 0, others = 0;
    for (std::size_t c = at; c < at + ways; ++c) {
      const double value = static_cast<double>(z[c]);
      if (!std::isfinite(value)) fail("open_set_features", {"a logit of query ", at / ways, " is ", value}, {}, site);
      second = std::max(second, std::min(first, value));
      first = std::max(first, value);
    }
    for (std::size_t c = at; c < at + ways; ++c) {
      rest += std::exp(static_cast<double>(z[c]) - first);
      others += first - static_cast<double>(z[c]);
    }
    for (const double f : {first, first - second, -std::log(rest), others / static_cast<double>(ways - 1)})
      features.push_back(f);
  }
  return from_vector(features, {logits.size(0), 4}, site);
}

namespace detail {

/// A score is a linear function of some directions in the features: of one, or of all four.
struct OpenSetScore {
  const char* name;
  std::vector<std::array<double, 4>> directions;
};
inline std::vector<OpenSetScore> open_set_scores() {
  return {{"fitted", {{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}}},
          {"maximum logit", {{1, 0, 0, 0}}},
          {"maximum softmax", {{0, 0, 1, 0}}},
          {"energy", {{1, 0, -1, 0}}}};
}

struct LogOdds {
  std::array<double, 4> weights = {};
  double bias = 0;

  double operator()(const double* f) const {
    return bias + weights[0] * f[0] + weights[1] * f[1] + weights[2] * f[2] + weights[3] * f[3];
  }
};

/// Logistic regression of known against unknown rows of features [n, 4] on a score's directions, both weighing a half:
/// Newton's method from 0 with halved steps, directions standardised, with lambda/2 |weights|^2, lambda = 1e-4, which
/// keeps the weights of separable rows finite and does not show otherwise.
inline LogOdds fit_log_odds(const OpenSetScore& score, const Tensor<double>& known, const Tensor<double>& unknown) {
  const Index directions = std::ssize(score.directions), size = directions + 1;
  constexpr double lambda = 1e-4;
  struct Row {
    List<double> x;
    double sign, weight;
  };
  std::vector<Row> rows;
  std::vector<double> means(static_cast<std::size_t>(directions)), scales(means.size());
  for (const bool is_known : {true, false}) {
    const Tensor<double>& part = is_known ? known : unknown;
    const double* f = std::data(host(part));
    for (Index i = 0; i < part.size(0); ++i, f += 4) {
      Row row{{}, is_known ? 1. : -1., 0.5 / static_cast<double>(part.size(0))};
      for (const auto& d : score.directions) row.x.push_back(d[0] * f[0] + d[1] * f[1] + d[2] * f[2] + d[3] * f[3]);
      row.x.push_back(1);
      rows.push_back(std::move(row));
    }
  }
  for (Index d = 0; d < directions; ++d) {
    double &mean = means[static_cast<std::size_t>(d)], &scale = scales[static_cast<std::size_t>(d)];
    for (const Row& row : rows) mean += row.weight * row.x[d];
    for (const Row& row : rows) scale += row.weight * (row.x[d] - mean) * (row.x[d] - mean);
    scale = scale > 0 ? std::sqrt(scale) : 1;
    for (Row& row : rows) row.x[d] = (row.x[d] - mean) / scale;
  }
  const auto dot = [&](const List<double>& a, const List<double>& b) {
    double sum = 0;
    for (Index j = 0; j < size; ++j) sum += a[j] * b[j];
    return sum;
  };
  const auto loss = [&](const List<double>& w) {
    double sum = 0.5 * lambda * dot(w, w);
    for (const Row& row : rows) {
      const double margin = row.sign * dot(w, row.x);
      sum += row.weight * (std::max(-margin, 0.0) + std::log1p(std::exp(-std::abs(margin))));
    }
    return sum;
  };
  List<double> w(size), step(size), hessian(size * size);
  for (Index j = 0; j < size; ++j) w[j] = 0;
  double here = loss(w);
  HostCholesky factor;
  for (int iteration = 0; iteration < 100; ++iteration) {
    for (Index j = 0; j < size; ++j) {
      step[j] = -lambda * w[j];
      for (Index k = 0; k < size; ++k) hessian[j * size + k] = j == k ? lambda : 0;
    }
    for (const Row& row : rows) {
      const double wrong = 1 / (1 + std::exp(row.sign * dot(w, row.x)));
      for (Index j = 0; j < size; ++j) {
        step[j] += row.weight * row.sign * wrong * row.x[j];
        for (Index k = 0; k <= j; ++k) hessian[j * size + k] += row.weight * wrong * (1 - wrong) * row.x[j] * row.x[k];
      }
    }
    factor.start(size);
    for (Index j = 0; j < size; ++j)
      factor.accept(std::max(factor.next([&](Index k) { return hessian[j * size + k]; }), 1e-3 * lambda));
    factor.forward(step);
    factor.backward(step);
    const double slope = std::sqrt(dot(step, step));
    List<double> next = w;
    double there = here, part = 1;
    for (int halving = 0; halving < 30; ++halving, part *= 0.5) {
      for (Index j = 0; j < size; ++j) next[j] = w[j] + part * step[j];
      if ((there = loss(next)) <= here) break;
    }
    if (there <= here) w = next;
    if (!(there < here) || slope < 1e-10) break;
    here = there;
  }
  LogOdds odds{{}, w[directions]};
  for (Index d = 0; d < directions; ++d) {
    const auto at = static_cast<std::size_t>(d);
    for (std::size_t j = 0; j < 4; ++j) odds.weights[j] += w[d] / scales[at] * score.directions[at][j];
    odds.bias -= w[d] * means[at] / scales[at];
  }
  return odds;
}

/// The value of each row of features [n, 4].
inline Tensor<double> log_odds_of(const LogOdds& odds, const Tensor<double>& features) {
  std::vector<double> values;
  const double* f = std::data(host(features));
  for (Index i = 0; i < features.size(0); ++i) values.push_back(odds(f + 4 * i));
  return from_vector(std::move(values), {features.size(0)});
}

/// `fit_temperature`, and 1 where every answer is right, so that none is best.
inline double temperature_of(const OpenSetAnswers& answers, Site site) {
  return accuracy(answers.known, answers.labels, site) == 1 ? 1 : fit_temperature(answers.known, answers.labels, site);
}

/// [queries, ways + 1] from log odds of being known: those of the classes are shared by softmax(logits / temperature).
inline Tensor<double> open_probabilities(const Tensor<double>& odds, const Tensor<>& logits, double temperature) {
  const auto ways = static_cast<std::size_t>(logits.size(1));
  const auto z = host(logits);
  std::vector<double> all;
  std::size_t at = 0;
  for (const double log_odds : host(odds)) {
    const double first = static_cast<double>(*std::max_element(std::data(z) + at, std::data(z) + at + ways));
    const auto share = [&](std::size_t c) { return std::exp((static_cast<double>(z[at + c]) - first) / temperature); };
    double sum = 0;
    for (std::size_t c = 0; c < ways; ++c) sum += share(c);
    for (std::size_t c = 0; c < ways; ++c) all.push_back(share(c) / sum / (1 + std::exp(-log_odds)));
    all.push_back(1 / (1 + std::exp(log_odds)));
    at += ways;
  }
  return from_vector(std::move(all), {odds.size(0), static_cast<Index>(ways) + 1});
}

/// The expected calibration error over ways + 1 answers, when a query is known with chance a half.
inline double open_set_ece(const LogOdds& odds, double temperature, const OpenSetAnswers& answers,
                           const Tensor<double>& known, const Tensor<double>& unknown) {
  const Index ways = answers.known.size(1);
  std::vector<CalibrationBin> bins(15);
  std::vector<double> mass(15);
  for (const bool is_known : {true, false}) {
    const Tensor<double> p = open_probabilities(log_odds_of(odds, is_known ? known : unknown),
                                                is_known ? answers.known : answers.unknown, temperature);
    const Tensor<std::int64_t> best = argmax(p, 1);
    const Tensor<double> confidence = max(p, {1});
    for (Index i = 0; i < p.size(0); ++i) {
      const auto place = static_cast<std::size_t>(i);
      const double value = host(confidence)[place], weight = 0.5 / static_cast<double>(p.size(0));
      const Index right = is_known ? static_cast<Index>(host(answers.labels)[place]) : ways;
      const auto bin = static_cast<std::size_t>(std::clamp(std::ceil(15 * value) - 1, 0.0, 14.0));
      bins[bin].confidence += weight * value;
      bins[bin].accuracy += weight * static_cast<double>(host(best)[place] == right);
    }
  }
  double error = 0;
  for (const CalibrationBin& bin : bins) error += std::abs(bin.accuracy - bin.confidence);
  return error;
}

inline void check_answers(const OpenSetAnswers& a, Site site) {
  check_labelled_logits("fit_rejection", a.known, a.labels, site);
  if (a.unknown.rank() != 2 || a.unknown.size(1) != a.known.size(1) || a.unknown.size(0) == 0)
    fail<ShapeError>("fit_rejection", "expected logits of unknown queries [others, ways], one at least",
                     {{"known", a.known.shape()}, {"unknown", a.unknown.shape()}}, site);
}

}  // namespace detail

/// The rule for answers of two halves, whose classes are others. Figures of each score are means of what it does on
/// either half when it was fitted on the other one; the rule itself, its temperature and its threshold are fitted on
/// both. Throws ShapeError, IndexError for a label out of range, ValueError for no answers, a logit that is not finite,
/// and, as `fit_temperature`, for a learner that answers known queries no better than by chance.
inline Rejection fit_rejection(const OpenSetAnswers& one, const OpenSetAnswers& other, Site site = Site::current()) {
  const OpenSetAnswers* halves[] = {&one, &other};
  Tensor<double> known[2], unknown[2];
  double temperatures[2];
  for (std::size_t h : {0, 1}) {
    detail::check_answers(*halves[h], site);
    known[h] = open_set_features(halves[h]->known, site);
    unknown[h] = open_set_features(halves[h]->unknown, site);
    temperatures[h] = detail::temperature_of(*halves[h], site);
  }
  Rejection rule;
  rule.ways = one.known.size(1);
  const Tensor<double> all_known = concat<double>({known[0], known[1]}, 0, site),
                       all_unknown = concat<double>({unknown[0], unknown[1]}, 0, site);
  double highest = -1;
  for (const detail::OpenSetScore& score : detail::open_set_scores()) {
    OpenSetFigures figures{score.name};
    for (std::size_t h : {0, 1}) {
      const detail::LogOdds odds = detail::fit_log_odds(score, known[1 - h], unknown[1 - h]);
      // A single direction is a score by itself, which is the higher the surer, whatever the fit would make of it.
      const detail::LogOdds plain = score.directions.size() == 1 ? detail::LogOdds{score.directions[0]} : odds;
      const RejectionFigures of =
          rejection_figures(detail::log_odds_of(plain, known[h]), detail::log_odds_of(plain, unknown[h]), site);
      figures.auroc += 0.5 * of.auroc;
      figures.fpr95 += 0.5 * of.fpr95;
      figures.ece += 0.5 * detail::open_set_ece(odds, temperatures[1 - h], *halves[h], known[h], unknown[h]);
    }
    if (figures.auroc > highest) {
      highest = figures.auroc;
      const detail::LogOdds odds = detail::fit_log_odds(score, all_known, all_unknown);
      rule.score = score.name;
      rule.weights = odds.weights;
      rule.bias = odds.bias;
      const double at =
          rejection_figures(detail::log_odds_of(odds, all_known), detail::log_odds_of(odds, all_unknown), site)
              .threshold;
      rule.threshold = 1 / (1 + std::exp(-at));
    }
    rule.figures.push_back(std::move(figures));
  }
  rule.temperature = detail::temperature_of(
      {concat<float>({one.known, other.known}, 0, site), concat<std::int64_t>({one.labels, other.labels}, 0, site), {}},
      site);
  return rule;
}

/// The classes or "none of these" for logits [queries, ways] of a task with as many classes as the rule was calibrated
/// for. Throws ShapeError for another number and ValueError for a logit that is not finite.
inline OpenSetResult open_set_answers(const Rejection& rule, const Tensor<>& logits, Site site = Site::current()) {
  if (logits.rank() != 2 || logits.size(1) != rule.ways)
    fail<ShapeError>("open_set_answers", {"calibrated for logits [queries, ", rule.ways, "]"},
                     {{"logits", logits.shape()}}, site);
  const detail::LogOdds odds{rule.weights, rule.bias};
  OpenSetResult result;
  result.probabilities =
      detail::open_probabilities(detail::log_odds_of(odds, open_set_features(logits, site)), logits, rule.temperature);
  const auto p = host(result.probabilities);
  const Index ways = rule.ways;
  const Tensor<std::int64_t> best = argmax(logits, 1);
  result.labels = generate({logits.size(0)}, [&](Index i) {
    const double known = 1 - p[static_cast<std::size_t>(i * (ways + 1) + ways)];
    // The threshold is the chance of one of the items it was taken from, rounded in other ways.
    return known < rule.threshold - 1e-12 ? static_cast<std::int64_t>(ways) : host(best)[static_cast<std::size_t>(i)];
  });
  return result;
}

/// The rule for tasks of `options.ways` classes with `options.shots` support items each: `learner.adapt(support)
/// .predict(queries)` answers episodes of `classes` of `set` (of its validation part: neither trained on nor tested),
/// in which the first classes are known and the others are not. Each half of the classes makes half of the episodes,
/// which depend on `random` only. Throws ValueError for options out of range and for less than 2 (ways + 1) classes,
/// FileError if one has too few items, and as `fit_rejection`; Stopped when `stop` asks for it.
template <class Learner>
Rejection calibrate_rejection(const Learner& learner, const ItemSet& set, const std::vector<Index>& classes,
                              const OpenSetOptions& options, const Random& random, const StopFlag* stop = nullptr,
                              Site site = Site::current()) {
  const char* op = "calibrate_rejection";
  const Index ways = options.ways, count = std::ssize(classes);
  if (ways < 2 || options.shots < 1 || options.unknown < 1 || options.queries < 1 || options.episodes < 2)
    fail(op,
         {ways, " ways, ", options.shots, " shots, ", options.unknown, " unknown classes, ", options.queries,
          " queries, ", options.episodes, " episodes"},
         {}, site);
  if (count < 2 * (ways + 1))
    fail(op, {count, " validation classes; tasks of ", ways, " ways need ", 2 * (ways + 1), " or more"}, {}, site);
  set.check("open", classes, {.ways = ways + 1, .shots = options.shots, .queries = options.queries}, "the validation");
  std::vector<Index> halves[2];
  const auto order = random.stream("halves").permutation(count);
  for (Index i = 0; i < count; ++i)
    halves[i % 2].push_back(classes[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])]);
  const Index unknown = std::min(options.unknown, std::ssize(halves[1]) - ways);
  std::vector<OpenSetAnswers> answers(static_cast<std::size_t>(options.episodes));
  parallel_tasks(options.episodes, [&](Index i) {
    if (stop_requested(stop)) throw Stopped("graft: stopped while rejection was calibrated");
    const EpisodeOptions sizes{.ways = ways + unknown, .shots = options.shots, .queries = options.queries};
    const Episode<> episode =
        set.episode(set.draw(halves[i % 2], sizes, random.stream("episode", static_cast<std::uint64_t>(i))));
    const auto rows = [&](const Tensor<std::int64_t>& labels, bool known) {
      List<std::int64_t> places;
      std::int64_t place = 0;
      for (const std::int64_t label : host(labels)) {
        if ((label < ways) == known) places.push_back(place);
        ++place;
      }
      return from_vector(places);
    };
    const auto of_known = rows(episode.support.y, true), known = rows(episode.query.y, true),
               others = rows(episode.query.y, false);
    const auto adapted =
        learner.adapt(LabelledSet<>{gather(episode.support.x, of_known, 0), gather(episode.support.y, of_known, 0)});
    const Tensor<> logits =
        adapted.predict(concat<float>({gather(episode.query.x, known, 0), gather(episode.query.x, others, 0)}, 0))
            .detach();
    answers[static_cast<std::size_t>(i)] = {slice(logits, 0, 0, known.size(0)), gather(episode.query.y, known, 0),
                                            slice(logits, 0, known.size(0), logits.size(0))};
  });
  OpenSetAnswers joined[2];
  for (std::size_t h : {0, 1}) {
    std::vector<Tensor<>> known, others;
    std::vector<Tensor<std::int64_t>> labels;
    for (std::size_t i = h; i < answers.size(); i += 2) {
      known.push_back(answers[i].known);
      labels.push_back(answers[i].labels);
      others.push_back(answers[i].unknown);
    }
    joined[h] = {concat(known, 0), concat(labels, 0), concat(others, 0)};
  }
  Rejection rule = fit_rejection(joined[0], joined[1], site);
  rule.shots = options.shots;
  rule.episodes = options.episodes;
  rule.classes = count;
  return rule;
}

namespace detail {

inline std::string rejection_prefix(Index ways, Index shots) {
  return "rejection/" + as_text(ways) + "-way " + as_text(shots) + "-shot/";
}

}  // namespace detail

/// Writes the rule beside what a checkpoint holds, under its ways and shots, so that a learner's file can have several.
/// Throws FileError.
inline void save_rejection(const std::string& path, const Rejection& rule) {
  ArrayFile file = read_npz(path);
  detail::check_version(file);
  const std::string prefix = "@meta/" + detail::rejection_prefix(rule.ways, rule.shots);
  const auto put = [&](const std::string& name, Array array) { file.arrays[prefix + name] = std::move(array); };
  put("score", detail::text_array(rule.score));
  for (std::size_t j = 0; j < 4; ++j) put("weight " + detail::as_text(j), detail::scalar_array(rule.weights[j]));
  put("bias", detail::scalar_array(rule.bias));
  put("threshold", detail::scalar_array(rule.threshold));
  put("temperature", detail::scalar_array(rule.temperature));
  put("episodes", detail::scalar_array(std::int64_t{rule.episodes}));
  put("classes", detail::scalar_array(std::int64_t{rule.classes}));
  for (const OpenSetFigures& figures : rule.figures) {
    put("auroc/" + figures.score, detail::scalar_array(figures.auroc));
    put("fpr95/" + figures.score, detail::scalar_array(figures.fpr95));
    put("ece/" + figures.score, detail::scalar_array(figures.ece));
  }
  write_npz(path, file.arrays);
}

/// The rule that a checkpoint holds for tasks of so many ways and shots, none if it holds none. Throws FileError for a
/// file that cannot be read, or holds a part of one.
inline std::optional<Rejection> load_rejection(const std::string& path, Index ways, Index shots) {
  const Metadata metadata = read_checkpoint_metadata(path);
  const std::string prefix = detail::rejection_prefix(ways, shots);
  if (!metadata.count(prefix + "score")) return {};
  const auto get = [&]<class T>(const std::string& name, T& value) {
    const auto found = metadata.find(prefix + name);
    const T* held = found == metadata.end() ? nullptr : std::get_if<T>(&found->second);
    if (!held) fail_file(path, {"has no ", detail::in_quotes(prefix + name), ", a part of how it rejects"});
    value = *held;
  };
  Rejection rule;
  rule.ways = ways;
  rule.shots = shots;
  get("score", rule.score);
  for (std::size_t j = 0; j < 4; ++j) get("weight " + detail::as_text(j), rule.weights[j]);
  get("bias", rule.bias);
  get("threshold", rule.threshold);
  get("temperature", rule.temperature);
  get("episodes", rule.episodes);
  get("classes", rule.classes);
  for (const detail::OpenSetScore& score : detail::open_set_scores()) {
    OpenSetFigures figures{score.name};
    get("auroc/" + figures.score, figures.auroc);
    get("fpr95/" + figures.score, figures.fpr95);
    get("ece/" + figures.score, figures.ece);
    rule.figures.push_back(std::move(figures));
  }
  return rule;
}

}  // namespace GRAFT_ABI
}  // namespace graft
