// Rows of the method table for the schedulers of the protocol: which tasks take part in a round.

#include <cmath>
#include <limits>

#include "catch.hpp"
#include "gap.hpp"
#include "graft/multitask/curriculum.hpp"
#include "graft/multitask/exp3.hpp"
#include "graft/multitask/loss_sampling.hpp"
#include "graft/multitask/round_robin.hpp"
#include "graft/multitask/self_paced.hpp"
#include "graft/multitask/temperature_sampling.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/reduce.hpp"
#include "method_table.hpp"

using namespace graft;

namespace {

using Numbers = Tensor<double>;
constexpr double kInfinity = std::numeric_limits<double>::infinity(), kNaN = std::numeric_limits<double>::quiet_NaN();

double number(const Numbers& x, Index i) { return x.at({i}); }
/// What a scheduler sees before round `round`; its stream is the round's own.
ScheduleInput input_of(Index tasks, Index wanted, Index round = 0, const Numbers& losses = {},
                       const Random& random = Random(7)) {
  return {tasks, wanted, random.stream("round", round), round, losses};
}
/// The tasks of `rounds` rounds behind one another, each round's checked: as many as wanted, in order, in the range.
template <class S>
std::vector<Index> tasks_of(S& scheduler, Index tasks, Index wanted, Index rounds, const Numbers& losses = {},
                            Index first = 0, const Random& random = Random(7)) {
  std::vector<Index> all;
  for (Index round = first; round < first + rounds; ++round) {
    const std::vector<Index> chosen = scheduler(input_of(tasks, wanted, round, losses, random));
    REQUIRE(static_cast<Index>(chosen.size()) == wanted);
    REQUIRE(std::is_sorted(chosen.begin(), chosen.end()));
    REQUIRE((chosen.front() >= 0 && chosen.back() < tasks));
    all.insert(all.end(), chosen.begin(), chosen.end());
  }
  return all;
}
List<double> counts_of(const std::vector<Index>& chosen, Index tasks) {
  List<double> counts(tasks);
  for (Index task : chosen) ++counts[task];
  return counts;
}
/// Pearson's chi-square of counts against probabilities; a task of probability 0 must not be among them.
double chi_square(const List<double>& counts, const Numbers& p) {
  double all = 0, chi = 0;
  for (double count : counts) all += count;
  for (Index i = 0; i < counts.size(); ++i) {
    const double expected = all * number(p, i);
    if (expected == 0) REQUIRE(counts[i] == 0);
    if (expected > 0) chi += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  return chi;
}
/// What a row runs: tasks as numbers.
template <class S>
Tensor<float> as_floats(S scheduler, Index tasks, const Numbers& losses, const Random& random) {
  const std::vector<Index> chosen = tasks_of(scheduler, tasks, 24, 100, losses, 0, random);
  return generate({static_cast<Index>(chosen.size())}, [&](Index i) { return static_cast<float>(chosen[i]); });
}
/// A copy that is taken after any number of rounds goes on as the original does.
template <class S>
void check_copies(S scheduler, Index tasks, const Numbers& losses) {
  S original = scheduler;
  for (Index stop : {0, 1, 5}) {
    tasks_of(original, tasks, 3, stop, losses);
    S copy = original;
    const auto expected = tasks_of(original, tasks, 3, 10, losses, stop);
    CHECK(tasks_of(copy, tasks, 3, 10, losses, stop) == expected);
    original = scheduler;
  }
}
/// Errors that every scheduler gives: no tasks, no places, losses of other tasks, and one made for other tasks.
template <class S>
std::vector<BadUse> schedule_errors(S scheduler, bool of_three) {
  std::vector<BadUse> list{
      bad_use<ValueError>([=]() mutable { scheduler(input_of(0, 1)); }, "1 places for 0 tasks"),
      bad_use<ValueError>([=]() mutable { scheduler(input_of(3, 0)); }, "0 places for 3 tasks"),
      bad_use<ShapeError>([=]() mutable { scheduler(input_of(3, 1, 0, zeros<double>({2}))); }, "[2]")};
  if (of_three) list.push_back(bad_use<ShapeError>([=]() mutable { scheduler(input_of(4, 1)); }, "made for 3 tasks"));
  return list;
}

// ---- Round robin ----------------------------------------------------------------------------------------------------
const bool round_robin_row = add_method_rows({{
    .name = "round_robin",
    .header = "graft/multitask/round_robin.hpp",
    .paper = "tasks in turn",
    .functions = {"RoundRobin"},
    .use = "start_protocol(net, optimizer, tasks, MeanGradient(), RoundRobin())",
    .run = [](const Random& random) { return as_floats(RoundRobin(), 7, {}, random); },
    .errors = schedule_errors(RoundRobin(), false),
    .properties = {{"in order, and on from where it ended",
                    [] {
                      RoundRobin turns;
                      CHECK(turns(input_of(5, 3)) == std::vector<Index>{0, 1, 2});
                      CHECK(turns(input_of(5, 3)) == std::vector<Index>{0, 3, 4});
                      CHECK(turns(input_of(5, 3)) == std::vector<Index>{1, 2, 3});
                      CHECK(turns(input_of(5, 7)) == std::vector<Index>{0, 0, 1, 2, 3, 4, 4});
                    }},
                   {"after r draws every task was drawn floor or ceil of r / tasks times",
                    [] {
                      RoundRobin turns;
                      List<double> counts(7);
                      double draws = 0;
                      for (Index round = 0; round < 40; ++round) {
                        for (Index task : turns(input_of(7, 3, round))) ++counts[task];
                        draws += 3;
                        for (double count : counts) CHECK(std::abs(count - draws / 7) < 1);
                      }
                    }},
                   {"one task",
                    [] {
                      RoundRobin turns;
                      CHECK(turns(input_of(1, 3)) == std::vector<Index>{0, 0, 0});
                    }},
                   {"a copy goes on as the original", [] { check_copies(RoundRobin(), 4, {}); }}},
}});

// ---- Temperature ----------------------------------------------------------------------------------------------------
const Numbers sizes = tensor<double>({1000, 10, 0, 200});

const bool temperature_row = add_method_rows({{
    .name = "temperature_sampling",
    .header = "graft/multitask/temperature_sampling.hpp",
    .paper =
        "Arivazhagan et al., Massively multilingual neural machine translation in the wild, 2019; quotas: Tijdeman, "
        "The chairman assignment problem, Discrete Mathematics 1980",
    .functions = {"TemperatureSampling", "temperature_probabilities"},
    .use = "TemperatureSampling(sizes, {.tau = 5})",
    .run =
        [](const Random& random) {
          return as_floats(TemperatureSampling(sizes, {.tau = 2}), 4, {}, random) +
                 as_floats(TemperatureSampling(sizes, {.tau = 2, .low_discrepancy = true}), 4, {}, random);
        },
    .errors = joined(
        schedule_errors(TemperatureSampling(ones<double>({3})), true),
        {bad_use<ValueError>([] { temperature_probabilities(sizes, 0); }, "tau is 0"),
         bad_use<ValueError>([] { temperature_probabilities(sizes, kNaN); }, "tau is"),
         bad_use<ValueError>(
             [] {
               temperature_probabilities(tensor<double>({1, -1}), 1);
             },
             "a size is -1"),
         bad_use<ValueError>(
             [] {
               temperature_probabilities(tensor<double>({1, kInfinity}), 1);
             },
             "a size is inf"),
         bad_use<ValueError>(
             [] {
               temperature_probabilities(tensor<double>({1, kNaN}), 1);
             },
             "a size is"),
         bad_use<ValueError>([] { TemperatureSampling(zeros<double>({2})); }, "all sizes are 0"),
         bad_use<ShapeError>([] { TemperatureSampling(zeros<double>({0})); }, "[0]"),
         bad_use<ShapeError>(
             [] {
               TemperatureSampling(zeros<double>({2, 2}));
             },
             "[2, 2]"),
         bad_use<ShapeError>([] { TemperatureSampling{Numbers()}; }, "sizes"),
         bad_use<ValueError>([] { TemperatureSampling(sizes, {.annealing = -1}); }, "annealing is -1"),
         bad_use<ValueError>([] { TemperatureSampling(sizes, {.tau = kInfinity, .annealing = 9}); }, "tau of inf"),
         bad_use<ValueError>([] { TemperatureSampling(sizes, {.annealing = 9, .first_tau = 0}); }, "tau of 0")}),
    .properties = {{"tau 1 is in proportion, infinity uniform, between them a power",
                    [] {
                      const Numbers exact = sizes / 1210.0, even = tensor<double>({1, 1, 0, 1}) / 3.0;
                      CHECK(gap(temperature_probabilities(sizes, 1), exact) < 1e-15);
                      CHECK(gap(temperature_probabilities(sizes, kInfinity), even) < 1e-15);
                      const double a = std::cbrt(1000.0), b = std::cbrt(10.0), c = std::cbrt(200.0), all = a + b + c;
                      CHECK(gap(temperature_probabilities(sizes, 3), tensor<double>({a, b, 0, c}) / all) < 1e-15);
                    }},
                   {"the unit of the sizes does not matter, nor do extremes of size or temperature",
                    [] {
                      for (double tau : {0.5, 1.0, 5.0})
                        CHECK(gap(temperature_probabilities(1e290 * sizes, tau),
                                  temperature_probabilities(sizes, tau)) < 1e-12);
                      CHECK(gap(temperature_probabilities(sizes, 1e-6), tensor<double>({1, 0, 0, 0})) == 0);
                    }},
                   {"frequencies of independent draws, by chi-square",
                    [] {
                      // 2 degrees of freedom (one size is 0): above 13.8 with probability 0.001.
                      for (double tau : {1.0, 5.0, kInfinity}) {
                        TemperatureSampling draws(sizes, {.tau = tau});
                        const auto chosen = tasks_of(draws, 4, 5, 4000);
                        CHECK(chi_square(counts_of(chosen, 4), temperature_probabilities(sizes, tau)) < 13.8);
                      }
                    }},
                   {"quotas are within 1 of r p_i after every draw, in fact within Tijdeman's 1 - 1 / (2 m - 2)",
                    [] {
                      for (Index tasks : {1, 2, 3, 5, 12})
                        for (std::uint64_t seed = 0; seed < 6; ++seed) {
                          // Squares of squares: sizes far apart; some of them 0.
                          Numbers n = square(square(rand<double>({tasks}, Random(seed))));
                          if (seed % 2 && tasks > 2) n = n * (1 - one_hot<double>(Tensor<std::int64_t>(1), tasks));
                          const Numbers p = temperature_probabilities(n, 1);
                          const double possible = sum(greater(p, zeros<double>({tasks}))).item();
                          const double bound = possible > 1 ? 1 - 1 / (2 * possible - 2) : 0;
                          TemperatureSampling draws(n, {.tau = 1, .low_discrepancy = true});
                          List<double> counts(tasks);
                          double worst = 0;
                          for (Index r = 1; r <= 1500; ++r) {
                            ++counts[draws(input_of(tasks, 1, r)).front()];
                            for (Index i = 0; i < tasks; ++i)
                              worst = std::max(worst, std::abs(counts[i] - static_cast<double>(r) * number(p, i)));
                          }
                          CHECK(worst <= bound + 1e-9);
                          CHECK(worst < 1);
                        }
                    }},
                   {"quotas do not depend on how draws are dealt to rounds; equal sizes are taken in turn",
                    [] {
                      const TemperatureSamplingOptions exact{.tau = 1, .low_discrepancy = true};
                      TemperatureSampling one(sizes, exact), many(sizes, exact), even(ones<double>({3}), exact);
                      CHECK(counts_of(tasks_of(one, 4, 1, 60), 4) == counts_of(tasks_of(many, 4, 12, 5), 4));
                      CHECK(tasks_of(even, 3, 3, 2) == std::vector<Index>{0, 1, 2, 0, 1, 2});
                    }},
                   {"annealing goes linearly from the first temperature to the last",
                    [] {
                      const TemperatureSampling draws(sizes, {.tau = 5, .annealing = 8, .first_tau = 1});
                      CHECK(draws.tau(0) == 1);
                      CHECK(draws.tau(2) == 2);
                      CHECK(draws.tau(8) == 5);
                      CHECK(draws.tau(1000) == 5);
                      CHECK(TemperatureSampling(sizes).tau(0) == 5);
                      // Frequencies in round 4, where it is 3.
                      TemperatureSampling halfway = draws;
                      std::vector<Index> chosen;
                      for (std::uint64_t k = 0; k < 4000; ++k)
                        for (Index task : halfway(input_of(4, 5, 4, {}, Random(k)))) chosen.push_back(task);
                      CHECK(chi_square(counts_of(chosen, 4), temperature_probabilities(sizes, 3)) < 13.8);
                    }},
                   {"one task",
                    [] {
                      TemperatureSampling draws(full<double>({1}, 3));
                      CHECK(draws(input_of(1, 2)) == std::vector<Index>{0, 0});
                    }},
                   {"a copy goes on as the original",
                    [] {
                      check_copies(TemperatureSampling(sizes, {.low_discrepancy = true}), 4, {});
                      check_copies(TemperatureSampling(sizes), 4, {});
                    }}},
}});

// ---- Losses ---------------------------------------------------------------------------------------------------------
const Numbers losses = tensor<double>({0.5, 2, 0, 1});

const bool loss_row = add_method_rows({{
    .name = "loss_proportional",
    .header = "graft/multitask/loss_sampling.hpp",
    .paper = "tasks in proportion to their losses",
    .functions = {"LossProportional", "loss_probabilities"},
    .use = "LossProportional(tasks)",
    .run = [](const Random& random) { return as_floats(LossProportional(4), 4, losses, random); },
    .errors = joined(schedule_errors(LossProportional(3), true),
                     {bad_use<ValueError>(
                          [] {
                            loss_probabilities(tensor<double>({1, -0.5}));
                          },
                          "a loss is -0.5"),
                      bad_use<ValueError>(
                          [] {
                            LossProportional(2)(input_of(2, 1, 0, tensor<double>({1, -0.5})));
                          },
                          "a loss is -0.5"),
                      bad_use<ShapeError>(
                          [] {
                            loss_probabilities(zeros<double>({2, 2}));
                          },
                          "[2, 2]"),
                      bad_use<ValueError>([] { LossProportional(0); }, "tasks is 0")}),
    .properties = {{"probabilities are shares of the sum",
                    [] {
                      CHECK(gap(loss_probabilities(losses), losses / 3.5) < 1e-15);
                      CHECK(gap(loss_probabilities(8e307 * losses), losses / 3.5) < 1e-15);
                      CHECK(gap(loss_probabilities(1e-300 * losses), losses / 3.5) < 1e-12);
                    }},
                   {"an unknown loss counts as the mean of the known",
                    [] {
                      // Known 1 and 3, mean 2: of a sum of 8.
                      for (double unknown : {kNaN, kInfinity})
                        CHECK(gap(loss_probabilities(tensor<double>({1, unknown, 3, unknown})),
                                  tensor<double>({0.125, 0.25, 0.375, 0.25})) < 1e-15);
                      CHECK(gap(loss_probabilities(full<double>({4}, kNaN)), full<double>({4}, 0.25)) == 0);
                      CHECK(gap(loss_probabilities(zeros<double>({4})), full<double>({4}, 0.25)) == 0);
                    }},
                   {"frequencies, by chi-square",
                    [] {
                      LossProportional draws(4);
                      // 2 degrees of freedom, one loss being 0.
                      CHECK(chi_square(counts_of(tasks_of(draws, 4, 5, 4000, losses), 4), loss_probabilities(losses)) <
                            13.8);
                    }},
                   {"tasks of unknown loss come first, each once",
                    [] {
                      const Numbers half = tensor<double>({1, kNaN, kNaN, 1, kNaN});
                      LossProportional draws(5);
                      const auto first = draws(input_of(5, 2, 0, half));
                      for (Index task : first) CHECK((task == 1 || task == 2 || task == 4));
                      CHECK(first[0] != first[1]);
                      auto seen = draws(input_of(5, 1, 1, half));
                      seen.insert(seen.end(), first.begin(), first.end());
                      std::sort(seen.begin(), seen.end());
                      CHECK(seen == std::vector<Index>{1, 2, 4});
                      // Drawn, and still without a loss: no precedence any more.
                      CHECK(chi_square(counts_of(tasks_of(draws, 5, 1, 5000, half, 2), 5), full<double>({5}, 0.2)) <
                            18.5);
                      LossProportional by_mean(5, {.unknown_first = false});
                      CHECK(chi_square(counts_of(tasks_of(by_mean, 5, 1, 5000, half), 5), full<double>({5}, 0.2)) <
                            18.5);
                    }},
                   {"one task",
                    [] {
                      for (double loss : {0.0, 3.0, kNaN}) {
                        LossProportional draws(1);
                        CHECK(draws(input_of(1, 2, 0, full<double>({1}, loss))) == std::vector<Index>{0, 0});
                      }
                    }},
                   {"a copy goes on as the original",
                    [] {
                      check_copies(LossProportional(4), 4, tensor<double>({1, kNaN, 2, kNaN}));
                    }}},
}});

// ---- Curriculum -----------------------------------------------------------------------------------------------------
const Numbers difficulties = tensor<double>({0.3, -2, 7, 0.3, 5});

const bool curriculum_row = add_method_rows({{
    .name = "curriculum",
    .header = "graft/multitask/curriculum.hpp",
    .paper = "Platanios, Stretcu, Neubig, Poczos, Mitchell, Competence-based curriculum learning for neural machine "
             "translation, NAACL 2019",
    .functions = {"CompetenceCurriculum", "competence", "curriculum_admitted"},
    .use = "CompetenceCurriculum(difficulties, {.rounds = 2000})",
    .run =
        [](const Random& random) {
          return as_floats(CompetenceCurriculum(difficulties, {.rounds = 50}), 5, {}, random);
        },
    .errors = joined(
        schedule_errors(CompetenceCurriculum(ones<double>({3})), true),
        {bad_use<ValueError>([] { competence(-1); }, "t is -1"), bad_use<ValueError>([] { competence(kNaN); }, "t is"),
         bad_use<ValueError>([] { competence(1, {.start = 0}); }, "start is 0"),
         bad_use<ValueError>([] { CompetenceCurriculum(difficulties, {.start = 1.5}); }, "start is 1.5"),
         bad_use<ValueError>([] { CompetenceCurriculum(difficulties, {.rounds = 0}); }, "rounds is 0"),
         bad_use<ValueError>(
             [] {
               CompetenceCurriculum(tensor<double>({1, kNaN}));
             },
             "difficulty"),
         bad_use<ValueError>([] { curriculum_admitted(difficulties, kNaN); }, "share"),
         bad_use<ShapeError>([] { CompetenceCurriculum(zeros<double>({0})); }, "[0]")}),
    .properties =
        {{"the competence in closed form",
          [] {
            const CompetenceOptions o{.start = 0.01, .rounds = 400};
            CHECK(competence(0, o) == Approx(0.01).epsilon(1e-12));
            // c0^2 = 1e-4: at a quarter of the way c^2 = (1 + 3e-4) / 4.
            CHECK(competence(100, o) == Approx(std::sqrt(0.250075)).epsilon(1e-14));
            CHECK(competence(400, o) == 1);
            CHECK(competence(1e9, o) == 1);
            CHECK(competence(kInfinity, o) == 1);
            for (double t = 0; t < 400; ++t) {
              const double c = competence(t, o);
              CHECK(c < competence(t + 1, o));
              CHECK(c * c == Approx(1e-4 + t * (1 - 1e-4) / 400).epsilon(1e-13));  // linear in the square
            }
            CHECK(competence(0, {.start = 1}) == 1);
          }},
         {"the easiest share of the tasks is admitted, equals together, one at least",
          [] {
            const auto admitted = [](double share) {
              const Tensor<bool> marked = curriculum_admitted(difficulties, share);
              return std::vector<bool>(host(marked).begin(), host(marked).end());
            };
            const bool y = true, n = false;
            CHECK(admitted(0) == std::vector<bool>{n, y, n, n, n});
            CHECK(admitted(0.2) == std::vector<bool>{n, y, n, n, n});
            CHECK(admitted(0.59) == std::vector<bool>{n, y, n, n, n});  // the two of 0.3 are the second and the third
            CHECK(admitted(0.6) == std::vector<bool>{y, y, n, y, n});
            CHECK(admitted(0.8) == std::vector<bool>{y, y, n, y, y});
            CHECK(admitted(1) == std::vector<bool>{y, y, y, y, y});
            const Tensor<bool> alike = curriculum_admitted(full<double>({3}, 2), 0.01);
            for (bool one : host(alike)) CHECK(one);
            CHECK_FALSE(curriculum_admitted(tensor<double>({1, kInfinity}), 0.5).at({1}));
          }},
         {"admitted sets are nested and end with all",
          [] {
            const Numbers hard = randn<double>({30}, Random(4));
            Tensor<bool> before = full<bool>({30}, false);
            for (double t = 0; t <= 100; ++t) {
              const Tensor<bool> now = curriculum_admitted(hard, competence(t, {.rounds = 100}));
              for (Index i = 0; i < 30; ++i) CHECK((now.at({i}) || !before.at({i})));
              before = now;
            }
            for (bool one : host(before)) CHECK(one);
          }},
         {"uniform among the admitted",
          [] {
            CompetenceCurriculum easy(difficulties, {.start = 0.8, .rounds = 1000000});
            const auto counts = counts_of(tasks_of(easy, 5, 1, 4000), 5);
            CHECK(chi_square(counts, tensor<double>({1, 1, 0, 1, 1}) / 4.0) < 16.3);  // 3 degrees of freedom
            // Each once while there are enough.
            CHECK(easy(input_of(5, 4)) == std::vector<Index>{0, 1, 3, 4});
            CHECK(counts_of(easy(input_of(5, 8)), 5) == List<double>{2, 2, 0, 2, 2});
          }},
         {"one task",
          [] {
            CHECK(CompetenceCurriculum(full<double>({1}, -3))(input_of(1, 2)) == std::vector<Index>{0, 0});
          }},
         {"a copy goes on as the original",
          [] { check_copies(CompetenceCurriculum(difficulties, {.rounds = 9}), 5, {}); }}},
}});

// ---- Self-paced -----------------------------------------------------------------------------------------------------
const bool self_paced_row = add_method_rows({{
    .name = "self_paced",
    .header = "graft/multitask/self_paced.hpp",
    .paper = "Kumar, Packer, Koller, Self-paced learning for latent variable models, NeurIPS 2010",
    .functions = {"SelfPaced", "self_paced_admitted"},
    .use = "SelfPaced({.growth = 1.3})",
    .run = [](const Random& random) { return as_floats(SelfPaced(), 4, losses, random); },
    .errors = joined(schedule_errors(SelfPaced(), false),
                     {bad_use<ValueError>([] { SelfPaced({.lambda = -1}); }, "lambda is -1"),
                      bad_use<ValueError>([] { SelfPaced({.lambda = kInfinity}); }, "lambda is inf"),
                      bad_use<ValueError>([] { SelfPaced({.growth = 1}); }, "growth is 1"),
                      bad_use<ValueError>([] { SelfPaced({.growth = kNaN}); }, "growth is"),
                      bad_use<ValueError>([] { self_paced_admitted(losses, kNaN); }, "lambda is NaN"),
                      bad_use<ShapeError>([] { self_paced_admitted(zeros<double>({0}), 1); }, "[0]")}),
    .properties =
        {{"v minimises the losses of the chosen less lambda for each",
          [] {
            // Over all subsets of four tasks.
            for (double lambda : {0.1, 0.7, 1.5, 3.0}) {
              const Tensor<bool> v = self_paced_admitted(losses, lambda);
              double own = 0, least = kInfinity;
              for (Index i = 0; i < 4; ++i) own += v.at({i}) ? number(losses, i) - lambda : 0;
              for (Index set = 0; set < 16; ++set) {
                double value = 0;
                for (Index i = 0; i < 4; ++i) value += set >> i & 1 ? number(losses, i) - lambda : 0;
                least = std::min(least, value);
              }
              CHECK(own == least);
            }
            CHECK_FALSE(self_paced_admitted(losses, 2).at({1}));  // strictly below
            CHECK(self_paced_admitted(tensor<double>({kNaN, kInfinity, 9}), 1).at({0}));
            CHECK(self_paced_admitted(tensor<double>({kNaN, kInfinity, 9}), 1).at({1}));
            CHECK_FALSE(self_paced_admitted(tensor<double>({kNaN, kInfinity, 9}), 1).at({2}));
          }},
         {"the threshold grows by its factor each round; admitted sets are nested and end with all",
          [] {
            SelfPaced pace({.lambda = 0.25, .growth = 2});
            double lambda = 0.25;
            std::vector<Index> before;
            for (Index round = 0; round < 6; ++round, lambda *= 2) {
              CHECK(pace.lambda.value.item() == lambda);
              const auto chosen = pace(input_of(4, 4, round, losses));  // all that are admitted, some more than once
              for (Index i = 0; i < 4; ++i) {
                const bool is_in = std::find(chosen.begin(), chosen.end(), i) != chosen.end();
                CHECK(is_in == self_paced_admitted(losses, lambda).at({i}));
                if (std::find(before.begin(), before.end(), i) != before.end()) CHECK(is_in);
              }
              before = chosen;
            }
            CHECK(before == std::vector<Index>{0, 1, 2, 3});
          }},
         {"a threshold from the losses admits half of them, once all are known",
          [] {
            for (const Numbers& five : {tensor<double>({4, 1, 3, 2, 5}), tensor<double>({4, 1, 3, 2, 5}) * 1e-9}) {
              SelfPaced pace({.growth = 1.1});
              const Numbers partly = where(equal(five, five * tensor<double>({1, 1, 1, 1, 0})) > 0, five, kNaN);
              CHECK(pace(input_of(5, 5, 0, partly)) == std::vector<Index>{0, 1, 2, 3, 4});
              CHECK(pace.lambda.value.item() == 0);
              // The lower median is 3: below 3.3 are 1, 2 and 3; below 3.63; below 3.993; below 4.3923 also 4.
              for (Index round = 1; round <= 3; ++round)
                CHECK(counts_of(pace(input_of(5, 3, round, five)), 5) == List<double>{0, 1, 1, 1, 0});
              CHECK(counts_of(pace(input_of(5, 4, 4, five)), 5) == List<double>{1, 1, 1, 1, 0});
            }
            // Of losses not above 0 no factor makes a larger threshold: the first above 0 is it, or everything.
            SelfPaced pace({.growth = 2}), all;
            CHECK(pace(input_of(4, 4, 0, tensor<double>({-5, -1, 0, 3}))) == std::vector<Index>{0, 1, 2, 3});
            CHECK(pace.lambda.value.item() == 12);
            CHECK(all(input_of(3, 3, 0, tensor<double>({-5, -1, 0}))) == std::vector<Index>{0, 1, 2});
          }},
         {"uniform among the admitted; the easiest where none is",
          [] {
            SelfPaced pace({.lambda = 1e-3, .growth = 1 + 1e-9});
            CHECK(tasks_of(pace, 4, 2, 3, losses + 1.0) == std::vector<Index>{2, 2, 2, 2, 2, 2});
            SelfPaced half({.lambda = 1.5, .growth = 1 + 1e-9});
            const auto counts = counts_of(tasks_of(half, 4, 1, 4000, losses), 4);
            CHECK(chi_square(counts, tensor<double>({1, 0, 1, 1}) / 3.0) < 13.8);
          }},
         {"one task",
          [] {
            for (double loss : {-1.0, 0.0, 3.0, kNaN}) {
              SelfPaced pace;
              CHECK(pace(input_of(1, 2, 0, full<double>({1}, loss))) == std::vector<Index>{0, 0});
            }
          }},
         {"a threshold beyond all numbers admits all",
          [] {
            SelfPaced pace({.lambda = 1e308, .growth = 1e10});
            tasks_of(pace, 4, 4, 4, losses);
            CHECK(pace.lambda.value.item() == kInfinity);
            CHECK(pace(input_of(4, 4, 4, losses)) == std::vector<Index>{0, 1, 2, 3});
          }},
         {"a copy goes on as the original", [] { check_copies(SelfPaced(), 4, losses); }}},
}});

// ---- Exp3 -----------------------------------------------------------------------------------------------------------
/// A bandit of two arms: task i's loss falls by a tenth with probability q_i whenever it is drawn, else it stays.
/// Returns the counts of the draws from round `from` on.
List<double> play(Exp3& bandit, double q0, double q1, Index rounds, Index from) {
  std::vector<double> state{1, 1};
  List<double> counts(2);
  for (Index round = 0; round < rounds; ++round) {
    for (Index task : bandit(input_of(2, 1, round, from_vector(state)))) {
      const double draw = Random(11).stream("reward", round).uniform(0);
      if (draw < (task == 0 ? q0 : q1)) state[task] *= 0.9;
      if (round >= from) ++counts[task];
    }
  }
  return counts;
}

const bool exp3_row = add_method_rows({{
    .name = "exp3",
    .header = "graft/multitask/exp3.hpp",
    .paper = "Auer, Cesa-Bianchi, Freund, Schapire, The nonstochastic multiarmed bandit problem, SIAM Journal on "
             "Computing 2002; Graves et al., Automated curriculum learning for neural networks, ICML 2017",
    .functions = {"Exp3", "exp3_probabilities"},
    .use = "Exp3(tasks, {.gamma = 0.1})",
    .run = [](const Random& random) { return as_floats(Exp3(4), 4, losses, random); },
    .errors = joined(schedule_errors(Exp3(3), true),
                     {bad_use<ValueError>([] { exp3_probabilities(zeros<double>({2}), 0); }, "gamma is 0"),
                      bad_use<ValueError>([] { exp3_probabilities(zeros<double>({2}), 1.1); }, "gamma is 1.1"),
                      bad_use<ValueError>(
                          [] {
                            exp3_probabilities(tensor<double>({0, kNaN}), 0.1);
                          },
                          "a log weight is"),
                      bad_use<ValueError>(
                          [] {
                            exp3_probabilities(tensor<double>({0, kInfinity}), 0.1);
                          },
                          "a log weight is inf"),
                      bad_use<ShapeError>(
                          [] {
                            exp3_probabilities(zeros<double>({2, 2}), 0.1);
                          },
                          "[2, 2]"),
                      bad_use<ValueError>([] { Exp3(3, {.gamma = kNaN}); }, "gamma is"),
                      bad_use<ValueError>([] { Exp3(0); }, "tasks is 0")}),
    .properties = {{"probabilities in closed form, at least gamma / K, whatever the weights",
                    [] {
                      const Numbers w = tensor<double>({1, 2, 5});
                      CHECK(gap(exp3_probabilities(log(w), 0.3), 0.7 * w / 8.0 + 0.1) < 1e-15);
                      CHECK(gap(exp3_probabilities(log(w) + 700.0, 0.3), 0.7 * w / 8.0 + 0.1) <
                            1e-12);  // e^700 and no overflow
                      CHECK(gap(exp3_probabilities(log(w), 1), full<double>({3}, 1.0 / 3)) < 1e-15);
                      for (std::uint64_t seed = 0; seed < 20; ++seed) {
                        const Numbers p = exp3_probabilities(1e4 * randn<double>({5}, Random(seed)), 0.2);
                        CHECK(min(p).item() >= 0.2 / 5);
                        CHECK(sum(p).item() == Approx(1).epsilon(1e-14));
                      }
                    }},
                   {"frequencies, by chi-square",
                    [] {
                      Exp3 bandit(4, {.gamma = 0.4});
                      bandit.log_weights.value = log(tensor<double>({1, 4, 2, 8}));
                      const Numbers p = exp3_probabilities(bandit.log_weights.value, 0.4);
                      // No losses, no rewards: the weights stay. 3 degrees of freedom: above 16.3 with probability
                      // 0.001.
                      CHECK(chi_square(counts_of(tasks_of(bandit, 4, 2, 5000), 4), p) < 16.3);
                      CHECK(gap(exp3_probabilities(bandit.log_weights.value, 0.4), p) < 1e-14);
                    }},
                   {"one play is Auer's update",
                    [] {
                      // Loss 2 -> 1.5 of the task that was drawn: reward 1/4, w <- w exp(gamma / 4 / (p K)); the others
                      // keep theirs.
                      Exp3 bandit(3, {.gamma = 0.3});
                      const Numbers w = tensor<double>({1, 2, 5});
                      bandit.log_weights.value = log(w);
                      const Index task = bandit(input_of(3, 1, 0, full<double>({3}, 2))).front();
                      const Numbers hit = one_hot<double>(Tensor<std::int64_t>(task), 3);
                      const double p = 0.7 * number(w, task) / 8 + 0.1;
                      bandit(input_of(3, 1, 1, full<double>({3}, 2) - 0.5 * hit));
                      const Numbers next = w * exp(0.3 / 4 / (p * 3) * hit);
                      CHECK(gap(exp3_probabilities(bandit.log_weights.value, 0.3),
                                0.7 * next / sum(next).item() + 0.1) < 1e-14);
                      CHECK(max(bandit.log_weights.value).item() == 0);
                    }},
                   {"several places in a round give the mean of as many estimates",
                    [] {
                      Exp3 bandit(2, {.gamma = 0.5});
                      const auto chosen = bandit(input_of(2, 8, 0, ones<double>({2})));
                      const auto counts = counts_of(chosen, 2);
                      bandit(input_of(2, 8, 1, tensor<double>({0.5, 0.75})));  // rewards 1/2 and 1/4, p = 1/2 each
                      const double a = 0.5 / 2 * 0.5 * counts[0] / 8 * 2, b = 0.5 / 2 * 0.25 * counts[1] / 8 * 2;
                      CHECK(gap(bandit.log_weights.value, tensor<double>({a, b}) - std::max(a, b)) < 1e-15);
                    }},
                   {"the best of two arms with stationary rewards, in either place",
                    [] {
                      // Rewards are 0 or 0.1 with probabilities 0.9 and 0.1. A player without a clue draws each 1000
                      // times of 2000; the best that gamma = 0.1 allows is 95 % of the draws.
                      Exp3 first(2), second(2), none(2);
                      CHECK(play(first, 0.9, 0.1, 6000, 4000)[0] > 1800);
                      CHECK(play(second, 0.1, 0.9, 6000, 4000)[1] > 1800);
                      const List<double> even = play(none, 0.5, 0.5, 2000, 0);
                      CHECK(std::abs(even[0] - 1000) < 400);
                    }},
                   {"a loss that rises, stays or is unknown is no reward; a drop counts once at most",
                    [] {
                      const auto weights_after = [](double before, double after) {
                        Exp3 bandit(2, {.gamma = 0.5});
                        const auto at = [&](double loss) { return full<double>({2}, loss); };
                        const Index task = bandit(input_of(2, 1, 0, at(before))).front();
                        bandit(input_of(2, 1, 1, at(after)));
                        return number(bandit.log_weights.value, task) - number(bandit.log_weights.value, 1 - task);
                      };
                      // A reward of 1: 0.5 / (0.5 * 2) = 0.5.
                      for (double after : {1.0, 2.0, kNaN, kInfinity}) CHECK(weights_after(1, after) == 0);
                      CHECK(weights_after(kNaN, 1) == 0);
                      CHECK(weights_after(kInfinity, 1) == 0);
                      CHECK(weights_after(0, 0) == 0);
                      CHECK(weights_after(1, 0) == 0.5);
                      CHECK(weights_after(1, -3) == 0.5);
                      CHECK(weights_after(0, -1) == 0.5);
                      CHECK(weights_after(1e308, -1e308) == 0.5);
                      CHECK(weights_after(-2, -3) == 0.25);
                      CHECK(weights_after(4e-320, 2e-320) == Approx(0.25).epsilon(1e-3));
                    }},
                   {"one task",
                    [] {
                      Exp3 bandit(1);
                      CHECK(tasks_of(bandit, 1, 2, 2, full<double>({1}, 3)) == std::vector<Index>{0, 0, 0, 0});
                    }},
                   {"a copy goes on as the original", [] { check_copies(Exp3(4), 4, losses); }}},
}});

}  // namespace
