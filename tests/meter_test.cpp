// What a meter of the protocol says of its rounds.

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "graft/io/checkpoint.hpp"
#include "graft/protocol/meter.hpp"

using namespace graft;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// The Gramian of gradients that are the rows.
Tensor<double> products(const Tensor<double>& rows) { return matmul(rows, rows, {.transpose_b = true}); }

/// A round of four tasks: task r % 4 and 3 take part, task 1 fails in each fifth round; figures follow from the number.
MeterRound some_round(Index r) {
  const auto x = static_cast<double>(r);
  MeterRound round{r, {{r % 4, x, x / 100}, {3, 2 * x, 1}}, {}, {}, {}};
  if (r % 5 == 0) round.failed = {1};
  // Cosine cos(r) between the two gradients, lengths 1 and 2.
  round.gramian = products(from_vector(std::vector<double>{1, 0, 2 * std::cos(x), 2 * std::sin(x)}, {2, 2}));
  return round;
}

}  // namespace

TEST_CASE("a meter keeps sums by interval, and halves when it is full", "[meter]") {
  TaskMeter meter(4, false, {.intervals = 4, .matrices = 2});
  const Index size = meter.figures.value.count() + meter.cosines.value.count();
  for (Index rounds = 1; rounds <= 70; ++rounds) {
    meter.add(some_round(rounds - 1));
    Index each = 1;
    while (rounds > 4 * each) each *= 2;
    CHECK(meter.rounds() == rounds);
    CHECK(meter.rounds_each() == each);
    CHECK(meter.intervals() == (rounds + each - 1) / each);
    CHECK(meter.matrices() == (meter.intervals() + 1) / 2);
    CHECK(meter.figures.value.count() + meter.cosines.value.count() == size);
    for (Index i = 0; i < meter.intervals(); ++i) {  // by hand, from all rounds of the interval
      double episodes[4] = {}, failures[4] = {}, loss[4] = {}, metric[4] = {}, cosine = 0, conflicts = 0, n = 0;
      for (Index r = i * each; r < std::min((i + 1) * each, rounds); ++r, ++n) {
        const MeterRound round = some_round(r);
        for (const MeterTask& task : round.tasks) {
          ++episodes[task.task];
          loss[task.task] += task.loss;
          metric[task.task] += task.metric;
        }
        for (Index task : round.failed) ++failures[task];
        cosine += std::cos(static_cast<double>(r));
        conflicts += std::cos(static_cast<double>(r)) < 0;
      }
      for (Index t = 0; t < 4; ++t) {
        const TaskFigures figures = meter.of_task(t, i);
        CHECK(static_cast<double>(figures.episodes) == episodes[t]);
        CHECK(static_cast<double>(figures.failures) == failures[t]);
        if (episodes[t] == 0) {
          CHECK(std::isnan(figures.loss));
          continue;
        }
        CHECK(figures.loss == Approx(loss[t] / episodes[t]).epsilon(1e-12));
        CHECK(figures.metric == Approx(metric[t] / episodes[t]).epsilon(1e-12));
      }
      const ConflictFigures figures = meter.conflicts(i);
      CHECK(figures.mean_cosine == Approx(cosine / n).margin(1e-12));
      CHECK(figures.conflicts == Approx(conflicts / n));
      CHECK(figures.largest_ratio == Approx(2));
    }
  }
}

TEST_CASE("pairs of tasks have the mean cosine of the rounds that they were in together", "[meter]") {
  TaskMeter meter(4, false, {.intervals = 8, .matrices = 2});
  for (Index r = 0; r < 8; ++r) meter.add(some_round(r));
  const Tensor<double> all = meter.mean_cosines(), late = meter.mean_cosines(1);
  for (Index t = 0; t < 3; ++t) {  // with task 3 in rounds t and t + 4
    const double x = static_cast<double>(t);
    CHECK(all.at({t, 3}) == Approx((std::cos(x) + std::cos(x + 4)) / 2).margin(1e-12));
    CHECK(all.at({3, t}) == all.at({t, 3}));
    CHECK(late.at({t, 3}) == Approx(std::cos(x + 4)).margin(1e-12));
    for (Index other = 0; other < 3; ++other) CHECK(std::isnan(all.at({t, other})));
  }
  // Task 3 with itself in rounds 3 and 7: two episodes of one task.
  CHECK(all.at({3, 3}) == Approx((std::cos(3.0) + std::cos(7.0)) / 2).margin(1e-12));
  // A gradient of 0 has no direction: no pair. One that a double cannot square is not compared.
  TaskMeter other(2, false);
  MeterRound round{0, {{0, 1, 1}, {1, 1, 1}}, {}, zeros<double>({2, 2}), {}};
  other.add(round);
  CHECK(std::isnan(other.mean_cosines().at({0, 1})));
  round.round = 1;
  round.gramian = full<double>({2, 2}, std::numeric_limits<double>::infinity());
  other.add(round);
  CHECK(other.of_task(0).episodes == 2);
  CHECK(other.conflicts().mean_cosine == 1);  // of the first round
}

TEST_CASE("attention is the mean of the rounds in which a task listened", "[meter]") {
  TaskMeter meter(3, true, {.intervals = 2, .matrices = 2});
  for (Index r = 0; r < 6; ++r) {
    const double x = static_cast<double>(r) / 10;
    MeterRound round{r, {{0, 1, 1, r == 0 ? Tensor<double>() : tensor<double>({0, x, 1 - x})}, {2, 1, 1}}, {}, {}, {}};
    meter.add(round);
  }
  const Tensor<double> mean = meter.mean_attention();
  CHECK(mean.at({0, 0}) == 0);
  CHECK(mean.at({0, 1}) == Approx(0.3));  // of 0.1 .. 0.5
  CHECK(mean.at({0, 2}) == Approx(0.7));
  CHECK(std::isnan(mean.at({1, 0})));
  CHECK(std::isnan(mean.at({2, 2})));
  CHECK(!TaskMeter(3, false).mean_attention().defined());
}

TEST_CASE("a meter that is copied or saved is the same, and its copies are apart", "[meter]") {
  const Folder folder;
  TaskMeter whole(4, true, {.intervals = 4, .matrices = 2}), part = whole;
  for (Index r = 0; r < 23; ++r) whole.add(some_round(r));
  CHECK(part.rounds() == 0);
  CHECK(part.of_task(3).episodes == 0);
  for (Index r = 0; r < 9; ++r) part.add(some_round(r));
  save_checkpoint(folder / "meter.npz", part);
  TaskMeter loaded(4, true, {.intervals = 4, .matrices = 2});
  load_checkpoint(folder / "meter.npz", loaded);
  for (Index r = 9; r < 23; ++r) loaded.add(some_round(r));
  CHECK(part.rounds() == 9);
  CHECK(same_bits(loaded.figures.value, whole.figures.value));
  CHECK(same_bits(loaded.conflict.value, whole.conflict.value));
  CHECK(same_bits(loaded.cosines.value, whole.cosines.value));
  CHECK(same_bits(loaded.progress, whole.progress));
}

TEST_CASE("a meter says what it saw in lines and rows", "[meter]") {
  TaskMeter meter(4, false);
  CHECK(meter.text().empty());
  for (Index r = 0; r < 100; ++r) {
    MeterRound round = some_round(r);
    round.seconds = {.work = 0.9, .aggregate = 0.05, .step = 0.04, .all = 1};
    meter.add(round);
  }
  const std::string text =
      meter.text({"Greek", "Latin", "Korean", "a name that is longer than forty characters are"}, "accuracy");
  for (const char* word : {"Greek", "Latin", "Korean", "a name that is longer than forty charact", "accuracy",
                           "failures", "gradients in conflict", "mean cosine", "of 100.0 s of rounds", "tasks 90.0 %",
                           "aggregation 5.0 %", "step 4.0 %", "protocol 1.00 %"})
    CHECK_THAT(text, contains(word));
  const std::vector<ResultRow> rows = meter.rows("all together", {"Greek"}, "accuracy");
  const auto value = [&](const std::string& name, const std::string& metric) {
    for (const ResultRow& row : rows)
      if (row.name == name && row.metric == metric) return row.value;
    return kNan;
  };
  CHECK(value("all together", "gradients-length-ratio") == Approx(2));
  CHECK(value("all together", "gradients-in-conflict") == Approx(meter.conflicts().conflicts));
  CHECK(value("all together/Greek", "episodes") == 25);
  CHECK(value("all together/1", "failures") == 20);
  CHECK(value("all together/Greek", "training-loss") == Approx(48));  // 0, 4 .. 96
  CHECK(value("all together/3", "training-accuracy") == Approx(meter.of_task(3).metric));
}

TEST_CASE("a meter that is off keeps nothing, and many tasks have no matrices", "[meter]") {
  TaskMeter off(3, true, {.intervals = 0});
  off.add(some_round(0));
  CHECK(off.rounds() == 0);
  CHECK(!off.measures(0));
  CHECK(off.rows("x").empty());
  CHECK(off.figures.value.count() == 0);
  CHECK(TaskMeter().rows("x").empty());
  const TaskMeter many(1000, true);
  CHECK(many.matrices() == 0);
  CHECK(many.cosines.value.count() == 0);
  CHECK(many.figures.value.count() == 32 * 1000 * 4);
  const TaskMeter sparse(2, false, {.every = 3});
  CHECK(sparse.measures(0));
  CHECK(!sparse.measures(1));
  CHECK(sparse.measures(3));
  for (const MeterOptions& wrong :
       {MeterOptions{.intervals = 3}, MeterOptions{.intervals = 1}, MeterOptions{.matrices = 3},
        MeterOptions{.intervals = 4, .matrices = 8}, MeterOptions{.every = 0}})
    CHECK_THROWS_AS(TaskMeter(2, false, wrong), ValueError);
  CHECK_THROWS_AS(many.of_task(1000), IndexError);
  CHECK_THROWS_AS(many.of_task(0, 0), IndexError);
  CHECK_THROWS_AS(sparse.mean_cosines(0), IndexError);
}
