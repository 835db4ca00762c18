// Rows of the method table for multitask/: aggregators that resolve conflicts between tasks' gradients, or leave out
// gradients that are unlike the others.

#include <algorithm>
#include <cmath>
#include <limits>

#include "aggregators.hpp"
#include "catch.hpp"
#include "graft/common/cone_projection.hpp"
#include "graft/multitask/conflict_free.hpp"
#include "graft/multitask/constant.hpp"
#include "graft/multitask/dualproj.hpp"
#include "graft/multitask/graddrop.hpp"
#include "graft/multitask/gradvac.hpp"
#include "graft/multitask/krum.hpp"
#include "graft/multitask/mean.hpp"
#include "graft/multitask/pcgrad.hpp"
#include "graft/multitask/sum.hpp"
#include "graft/multitask/trimmed_mean.hpp"
#include "graft/multitask/upgrad.hpp"
#include "method_table.hpp"

using namespace graft;

namespace {

Numbers normal(Index tasks, Index n, std::uint64_t stream) {
  return randn<double>({tasks, n}, Random(17).stream(stream));
}
const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();

/// The direction that an aggregator gives.
template <class A>
Numbers direction(A&& aggregator, const Numbers& jacobian, const Random& random = Random(1),
                  const List<Index>& ids = {}, Index all = 0) {
  TaskGradients gradients(jacobian, {}, random);
  if (ids.size() > 0) gradients.ids = ids, gradients.all_tasks = all;
  const Combination answer = aggregator(gradients);
  return answer.direction.defined() ? answer.direction : direction_of(answer.weights, jacobian);
}
/// One use of an aggregator, for the standing checks.
template <class A>
Tensor<float> use(A&& aggregator, const Random& random) {
  return cast<float>(direction(aggregator, randn<double>({6, 5000}, random.stream("rows")), random));
}
/// Calls check(name, rows) for the test Jacobians and for rows of scales 1e-20 to 1e20 beside each other.
template <class Check>
void scan(const Check& check) {
  for (const TestJacobian& one : test_jacobians()) {
    INFO(one.name);
    check(one);
  }
  const Numbers mixed = tensor<double>({1e-20, 1e20, 1, 1e-20, 1e20});
  for (std::uint64_t i = 0; i < 4; ++i) {
    INFO("scales 1e-20 to 1e20, " << i);
    check(TestJacobian{"scales 1e-20 to 1e20", scale_rows(mixed, normal(5, 9, 100 + i))});
  }
}

// ---- the projection onto the dual cone, by trying every active set --------------------------------------------------
using Wide = long double;

/// Solves a small symmetric system by elimination; false if it is singular.
bool solved(std::vector<std::vector<Wide>> a, std::vector<Wide>& b) {
  const std::size_t n = b.size();
  for (std::size_t i = 0; i < n; ++i) {
    if (a[i][i] < 1e-14L)
      return false;  // of a Gramian of unit vectors: a squared distance from the span of those before
    for (std::size_t j = i + 1; j < n; ++j) {
      const Wide factor = a[j][i] / a[i][i];
      for (std::size_t k = i; k < n; ++k) a[j][k] -= factor * a[i][k];
      b[j] -= factor * b[i];
    }
  }
  for (std::size_t i = n; i-- > 0;) {
    for (std::size_t k = i + 1; k < n; ++k) b[i] -= a[i][k] * b[k];
    b[i] /= a[i][i];
  }
  return true;
}
/// The weights v >= u of least |sum_i v_i g_i|: of all sets of tasks, raised until they stand at right angles to the
/// sum, the one that gives the shortest sum and lowers none.
Numbers every_active_set(const Numbers& jacobian, const List<double>& u) {
  const Numbers gramian = gramian_of(jacobian);
  const std::vector<double> lengths = lengths_of(jacobian);
  const std::size_t tasks = lengths.size();
  std::vector<std::vector<Wide>> c(tasks, std::vector<Wide>(tasks, 0));
  for (std::size_t i = 0; i < tasks; ++i)
    for (std::size_t j = 0; j < tasks; ++j)
      if (lengths[i] > 0 && lengths[j] > 0)
        c[i][j] = i == j ? 1 : static_cast<Wide>(host(gramian)[i * tasks + j]) / lengths[i] / lengths[j];
  std::vector<Wide> floor, best;
  for (std::size_t i = 0; i < tasks; ++i) floor.push_back(lengths[i] * u[static_cast<Index>(i)]);
  Wide least = std::numeric_limits<Wide>::infinity();
  for (std::size_t set = 0; set < std::size_t{1} << tasks; ++set) {
    std::vector<std::size_t> raised;
    for (std::size_t i = 0; i < tasks; ++i)
      if (set >> i & 1) raised.push_back(i);
    std::vector<std::vector<Wide>> a;
    std::vector<Wide> z;
    for (std::size_t i : raised) {
      a.emplace_back();
      z.push_back(0);
      for (std::size_t j : raised) a.back().push_back(c[i][j]);
      for (std::size_t k = 0; k < tasks; ++k) z.back() -= c[i][k] * floor[k];
    }
    if (!solved(a, z)) continue;
    std::vector<Wide> y = floor;
    bool lowers = false;
    for (std::size_t k = 0; k < raised.size(); ++k) lowers |= z[k] < 0, y[raised[k]] += z[k];
    Wide squared = 0;
    for (std::size_t i = 0; i < tasks; ++i)
      for (std::size_t j = 0; j < tasks; ++j) squared += y[i] * c[i][j] * y[j];
    if (lowers || squared >= least) continue;
    least = squared;
    best = y;
  }
  List<double> v = u;
  for (std::size_t i = 0; i < tasks; ++i)
    if (lengths[i] > 0) v[static_cast<Index>(i)] = static_cast<double>(best[i] / lengths[i]);
  return from_vector(v);
}
Numbers projected(const Numbers& jacobian, const List<double>& u) {
  const detail::Cosines cosines("test", gramian_of(jacobian), {});
  return from_vector(detail::cone_projection(cosines, u));
}
/// v >= u, <g_i, x> >= 0 and one of the two an equality, for x = sum_k v_k g_k: x is the projection of sum_k u_k g_k,
/// and nothing else is.
void check_projection(const Numbers& jacobian, const List<double>& u, const Numbers& v) {
  const Numbers x = direction_of(v, jacobian);
  const std::vector<double> lengths = lengths_of(jacobian);
  const double size = size_of(v, jacobian);
  CHECK(never_conflicts(v, jacobian, 1e-12));
  for (Index i = 0; i < jacobian.size(0); ++i) {
    CHECK(at(v, i) >= u[i]);
    if (at(v, i) > u[i])
      CHECK(std::abs(inner(row_of(jacobian, i), x)) <= 1e-12 * lengths[static_cast<std::size_t>(i)] * size);
  }
}
List<double> equal_preference(const Numbers& jacobian) {
  return List<double>(jacobian.size(0), 1 / static_cast<double>(jacobian.size(0)));
}
Numbers upgrad_of(const Numbers& gramian) { return upgrad_weights(gramian); }
Numbers dualproj_of(const Numbers& gramian) { return dualproj_weights(gramian); }
Numbers config_of(const Numbers& gramian) { return config_weights(gramian); }

const bool upgrad_row = add_method_rows({{
    .name = "upgrad",
    .header = "graft/multitask/upgrad.hpp",
    .paper = "Quinton, Rey, Jacobian descent for multi-objective optimization, arXiv 2406.16232, 2024",
    .functions = {"upgrad_weights", "UpGrad"},
    .use = "aggregators().make(\"upgrad\", tasks)",
    .run = [](const Random& random) { return use(UpGrad(), random); },
    .errors = {bad_use<ShapeError>(
                   [] {
                     upgrad_weights(zeros<double>({2, 3}));
                   },
                   "[2, 3]"),
               bad_use<ShapeError>([] { upgrad_weights(zeros<double>({4})); }, "[4]"),
               bad_use<ValueError>(
                   [] {
                     upgrad_weights(zeros<double>({0, 0}));
                   },
                   "no tasks"),
               bad_use<ValueError>(
                   [] {
                     upgrad_weights(full<double>({2, 2}, nan));
                   },
                   "nan"),
               bad_use<ValueError>(
                   [] {
                     upgrad_weights(full<double>({2, 2}, infinity));
                   },
                   "inf"),
               bad_use<ValueError>(
                   [] {
                     upgrad_weights(eye<double>(2), {1, 2, 3});
                   },
                   "2 tasks"),
               bad_use<ValueError>(
                   [] {
                     upgrad_weights(eye<double>(2), {1, -1});
                   },
                   "preference is -1"),
               bad_use<ValueError>(
                   [] {
                     TaskGradients gradients(golden, {}, Random(1));
                     UpGrad{{1, 2, 3}}(gradients);
                   },
                   "2 tasks")},
    .properties = {{"the golden rows",
                    [] {
                      const Numbers w = upgrad_weights(gramian_of(golden));
                      CHECK(gap(w, 0.5 * tensor<double>({1 + 22.0 / 18, 1 + 22.0 / 38})) < 1e-15);
                      CHECK(gap(direction(UpGrad(), golden), tensor<double>({0.2924, 1.9006, 1.9006})) < 5e-5);
                    }},
                   {"half of PCGrad for two tasks",
                    [] {
                      scan([](const TestJacobian& one) {
                        if (one.rows.size(0) != 2) return;
                        const Numbers pcgrad = pcgrad_weights(gramian_of(one.rows), Random(1));
                        CHECK(direction_gap(upgrad_of(gramian_of(one.rows)), one.rows,
                                            0.5 * direction_of(pcgrad, one.rows)) < 1e-14);
                      });
                    }},
                   {"the optimality conditions of each projection",
                    [] {
                      scan([](const TestJacobian& one) {
                        const Index tasks = one.rows.size(0);
                        for (Index i = 0; i < tasks; ++i) {
                          List<double> u(tasks);
                          u[i] = 1;
                          check_projection(one.rows, u, projected(one.rows, u));
                        }
                        List<double> u(tasks);
                        for (Index i = 0; i < tasks; ++i) u[i] = Random(5).uniform(static_cast<std::uint64_t>(i));
                        check_projection(one.rows, u, projected(one.rows, u));
                      });
                    }},
                   {"the same for many tasks in few dimensions, some of them dependent",
                    [] {
                      for (std::uint64_t seed = 0; seed < 2000; ++seed) {
                        const Random random = Random(23).stream(seed);
                        const Index tasks = 3 + random.below(0, seed < 400 ? 5 : 12),
                                    n = 2 + random.below(1, seed < 400 ? 4 : 10);
                        Numbers g = randn<double>({tasks, n}, random.stream("rows"));
                        if (seed % 4 == 1) g = cast<double>(cast<std::int64_t>(1.5 * g));  // small whole numbers
                        if (seed % 4 == 2) g = g + 3 * randn<double>({1, n}, random.stream("common"));
                        if (seed % 4 == 3)
                          g = matmul(randn<double>({tasks, 2}, random.stream("of 2")), slice(g, 0, 0, 2));
                        INFO(seed);
                        List<double> u;
                        for (Index i = 0; i < tasks; ++i)
                          u.push_back(random.stream("u").uniform(static_cast<std::uint64_t>(i)));
                        const Numbers found = projected(g, u);
                        check_projection(g, u, found);
                        if (seed < 400) CHECK(direction_gap(found, g, direction_of(every_active_set(g, u), g)) < 1e-7);
                      }
                    }},
                   {"no active set gives a shorter sum",
                    [] {
                      scan([](const TestJacobian& one) {
                        const Index tasks = one.rows.size(0);
                        if (tasks > 9) return;
                        Numbers total = zeros<double>({tasks});
                        for (Index i = 0; i < tasks; ++i) {
                          List<double> u(tasks);
                          u[i] = 1 / static_cast<double>(tasks);
                          const Numbers best = every_active_set(one.rows, u), found = projected(one.rows, u);
                          const double size = size_of(found, one.rows);
                          CHECK(length_of(direction_of(found, one.rows)) <=
                                length_of(direction_of(best, one.rows)) + 1e-8 * size);
                          total = total + best;
                        }
                        CHECK(direction_gap(upgrad_of(gramian_of(one.rows)), one.rows, direction_of(total, one.rows)) <
                              1e-7);
                      });
                    }},
                   {"conflicts with no task",
                    [] {
                      scan([](const TestJacobian& one) {
                        CHECK(never_conflicts(upgrad_of(gramian_of(one.rows)), one.rows, 1e-12));
                      });
                    }},
                   {"the mean without conflicts, bit for bit",
                    [] {
                      for (const Numbers& rows :
                           {abs(normal(4, 6, 1)), eye<double>(3), ones<double>({5, 2}), zeros<double>({3, 3})})
                        CHECK(same_bits(upgrad_of(gramian_of(rows)),
                                        full<double>({rows.size(0)}, 1 / static_cast<double>(rows.size(0)))));
                    }},
                   {"linear under scaling of the tasks",
                    [] {
                      const Numbers g = normal(4, 6, 2), c = tensor<double>({1, 2, 0.5, 4}),
                                    more = tensor<double>({3, 0.1, 1, 1});
                      const auto d = [&](const Numbers& scales) { return direction(UpGrad(), scale_rows(scales, g)); };
                      CHECK(gap(d(c + more), d(c) + d(more)) < 1e-14);
                      CHECK(gap(d(tensor<double>({1, 0, 0, 0})), 0.25 * row_of(g, 0)) < 1e-15);
                    }},
                   {"scales with all gradients, and the tasks have no order",
                    [] {
                      scan([](const TestJacobian& one) {
                        CHECK(scales_linearly(upgrad_of, one.rows));
                        CHECK(permutes(upgrad_of, one.rows, 1e-7));
                      });
                    }},
                   {"opposite gradients give nothing",
                    [] {
                      const Numbers rows = concat(std::vector{golden, -1.0 * golden}, 0);
                      CHECK(length_of(direction(UpGrad(), rows)) < 1e-14);
                    }},
                   {"linear in the preference, which is by task",
                    [] {
                      const Numbers g = normal(3, 5, 3), m = gramian_of(g);
                      const Numbers parts = 2 * upgrad_weights(m, {1, 0, 0}) + 0.5 * upgrad_weights(m, {0, 0, 1});
                      CHECK(gap(upgrad_weights(m, {2, 0, 0.5}), parts) < 1e-14);
                      CHECK(gap(upgrad_weights(eye<double>(3), {2, 0, 0.5}), tensor<double>({2, 0, 0.5})) == 0);
                      // The rows are those of tasks 2, 0 and 2 of four.
                      CHECK(same_bits(direction(UpGrad{{0.5, 9, 2, 9}}, g, Random(1), {2, 0, 2}, 4),
                                      direction_of(upgrad_weights(m, {2, 0.5, 2}), g)));
                    }},
                   {"the weights are plain numbers",
                    [] { CHECK_FALSE(upgrad_of(variable(gramian_of(golden))).tracked()); }}},
}});

const bool dualproj_row = add_method_rows({{
    .name = "dualproj",
    .header = "graft/multitask/dualproj.hpp",
    .paper = "Lopez-Paz, Ranzato, Gradient episodic memory for continual learning, NeurIPS 2017",
    .functions = {"dualproj_weights", "DualProj"},
    .use = "aggregators().make(\"dualproj\", tasks)",
    .run = [](const Random& random) { return use(DualProj(), random); },
    .errors = {bad_use<ShapeError>(
                   [] {
                     dualproj_weights(zeros<double>({2, 3}));
                   },
                   "[2, 3]"),
               bad_use<ValueError>(
                   [] {
                     dualproj_weights(zeros<double>({0, 0}));
                   },
                   "no tasks"),
               bad_use<ValueError>(
                   [] {
                     dualproj_weights(full<double>({2, 2}, nan));
                   },
                   "nan"),
               bad_use<ValueError>([] { dualproj_weights(eye<double>(2), {1}); }, "2 tasks"),
               bad_use<ValueError>(
                   [] {
                     dualproj_weights(eye<double>(2), {1, infinity});
                   },
                   "preference is inf")},
    .properties = {{"the golden rows",
                    [] {
                      // By hand: the mean (1, 1, 1) has <mean, g1> = -2, <mean, g2> = 8; with 2 / 18 g1 more, 0 and 8 -
                      // 44 / 18.
                      CHECK(gap(dualproj_of(gramian_of(golden)), tensor<double>({0.5 + 2.0 / 18, 0.5})) < 1e-15);
                      CHECK(gap(direction(DualProj(), golden), tensor<double>({5.0 / 9, 10.0 / 9, 10.0 / 9})) < 1e-15);
                    }},
                   {"the optimality conditions, and no active set is nearer to the mean",
                    [] {
                      scan([](const TestJacobian& one) {
                        const List<double> u = equal_preference(one.rows);
                        const Numbers found = dualproj_of(gramian_of(one.rows)), best = every_active_set(one.rows, u);
                        check_projection(one.rows, u, found);
                        CHECK(direction_gap(found, one.rows, direction_of(best, one.rows)) < 1e-7);
                      });
                    }},
                   {"conflicts with no task",
                    [] {
                      scan([](const TestJacobian& one) {
                        CHECK(never_conflicts(dualproj_of(gramian_of(one.rows)), one.rows, 1e-12));
                      });
                    }},
                   {"the mean where that conflicts with no task, bit for bit",
                    [] {
                      for (const Numbers& rows : {abs(normal(4, 6, 1)), tensor<double>({{3, 0}, {-1, 5}})})
                        CHECK(same_bits(dualproj_of(gramian_of(rows)),
                                        full<double>({rows.size(0)}, 1 / static_cast<double>(rows.size(0)))));
                    }},
                   {"a direction of the cone that is projected again stays",
                    [] {
                      // As a further task beside the others, with all of the preference.
                      const Numbers g = normal(4, 6, 4), d = direction(DualProj(), g);
                      const Numbers rows = concat(std::vector{g, reshape(d, {1, 6})}, 0);
                      CHECK(gap(direction(DualProj{{0, 0, 0, 0, 1}}, rows), d) < 1e-14);
                    }},
                   {"scales with all gradients, and the tasks have no order",
                    [] {
                      scan([](const TestJacobian& one) {
                        CHECK(scales_linearly(dualproj_of, one.rows));
                        CHECK(permutes(dualproj_of, one.rows, 1e-7));
                      });
                    }},
                   {"the preference is by task",
                    [] {
                      const Numbers g = normal(3, 5, 3), m = gramian_of(g);
                      CHECK(same_bits(direction(DualProj{{0.5, 9, 2, 9}}, g, Random(1), {2, 0, 2}, 4),
                                      direction_of(dualproj_weights(m, {2, 0.5, 2}), g)));
                    }}},
}});

// ---- GradVac --------------------------------------------------------------------------------------------------------
Numbers targets_of(Index tasks, double r) { return full<double>({tasks, tasks}, r); }
/// The rounds on vectors, with the random orders that `gradvac_step` documents: task i's is stream i.
Numbers vaccinated(const Numbers& g, const Numbers& targets, const Random& random) {
  const Index tasks = g.size(0);
  Numbers total = zeros<double>({g.size(1)});
  for (Index i = 0; i < tasks; ++i) {
    Numbers p = row_of(g, i);
    for (Index j : random.stream(static_cast<std::uint64_t>(i)).permutation(tasks)) {
      if (j == i) continue;
      const Numbers other = row_of(g, j);
      const double c = cosine(p, other), r = at(targets, i * tasks + j);
      if (c >= r) continue;
      // In the plane of both, p' = p + s g_j at the angle acos r to g_j: its part across g_j is p's.
      const double across = length_of(p) * std::sin(std::acos(c)), wanted = across / std::tan(std::acos(r));
      p = p + (wanted - length_of(p) * c) / length_of(other) * other;
      CHECK(cosine(p, other) == Approx(r).margin(1e-12));
    }
    total = total + p;
  }
  return total;
}

const bool gradvac_row = add_method_rows({{
    .name = "gradvac",
    .header = "graft/multitask/gradvac.hpp",
    .paper = "Wang, Tsvetkov, Firat, Cao, Gradient vaccine: investigating and improving multi-task optimization in "
             "massively multilingual models, ICLR 2021",
    .functions = {"gradvac_step", "GradVac"},
    .use = "aggregators().make(\"gradvac\", tasks)",
    .run =
        [](const Random& random) {
          GradVac aggregator(6);
          const Tensor<float> first = use(aggregator, random.stream("first"));
          return first + use(aggregator, random);
        },
    .errors = {bad_use<ShapeError>(
                   [] {
                     gradvac_step(zeros<double>({2, 3}), zeros<double>({2, 3}), Random(1));
                   },
                   "[2, 3]"),
               bad_use<ShapeError>(
                   [] {
                     gradvac_step(eye<double>(2), zeros<double>({3, 3}), Random(1));
                   },
                   "[3, 3]"),
               bad_use<ValueError>(
                   [] {
                     gradvac_step(zeros<double>({0, 0}), zeros<double>({0, 0}), Random(1));
                   },
                   "no tasks"),
               bad_use<ValueError>(
                   [] {
                     gradvac_step(full<double>({2, 2}, nan), targets_of(2, 0), Random(1));
                   },
                   "nan"),
               bad_use<ValueError>([] { gradvac_step(eye<double>(2), targets_of(2, 1.1), Random(1)); }, "1.1"),
               bad_use<ValueError>([] { gradvac_step(eye<double>(2), targets_of(2, nan), Random(1)); }, "nan"),
               bad_use<ValueError>([] { GradVac(2, {.beta = 1.5}); }, "1.5"),
               bad_use<ValueError>([] { GradVac(-1); }, "-1"),
               bad_use<ShapeError>(
                   [] {
                     GradVac aggregator(3);
                     TaskGradients gradients(golden, {}, Random(1));
                     aggregator(gradients);
                   },
                   "[3, 3]"),
               bad_use<IndexError>(
                   [] {
                     GradVac aggregator(2);
                     TaskGradients gradients(golden, {}, Random(1));
                     gradients.ids = {0, 2};
                     aggregator(gradients);
                   },
                   "task 2 of 2")},
    .properties =
        {{"the golden rows: its first round is PCGrad",
          [] {
            const Numbers w = gradvac_step(gramian_of(golden), targets_of(2, 0), Random(1)).weights;
            CHECK(gap(w, tensor<double>({1 + 22.0 / 18, 1 + 22.0 / 38})) < 1e-14);
            CHECK(gap(direction_of(w, golden), tensor<double>({0.5848, 3.8012, 3.8012})) < 5e-5);
            CHECK(gap(direction(GradVac(), golden), 0.5 * direction_of(w, golden)) < 1e-15);
          }},
         {"targets of 0 are PCGrad with the same orders",
          [] {
            scan([](const TestJacobian& one) {
              const Numbers m = gramian_of(one.rows), targets = targets_of(one.rows.size(0), 0);
              for (std::uint64_t seed = 0; seed < 3; ++seed)
                CHECK(direction_gap(gradvac_step(m, targets, Random(seed)).weights, one.rows,
                                    direction_of(pcgrad_weights(m, Random(seed)), one.rows)) < 1e-12);
            });
          }},
         {"after the step the cosine is the target",
          [] {
            for (std::uint64_t i = 0; i < 20; ++i) {
              const Numbers g = normal(2, 4, i), m = gramian_of(g);
              const double c = cosine(row_of(g, 0), row_of(g, 1));
              for (double r : {-0.95, -0.4, 0.0, 0.3, 0.9, 0.999}) {
                // p1 = g1 + (w2 - 1) g2 and p2 = (w1 - 1) g1 + g2.
                const Numbers w = gradvac_step(m, targets_of(2, r), Random(i)).weights;
                const Numbers p1 = row_of(g, 0) + (at(w, 1) - 1) * row_of(g, 1),
                              p2 = (at(w, 0) - 1) * row_of(g, 0) + row_of(g, 1);
                CHECK(cosine(p1, row_of(g, 1)) == Approx(std::max(c, r)).margin(1e-13));
                CHECK(cosine(p2, row_of(g, 0)) == Approx(std::max(c, r)).margin(1e-13));
                if (c >= r) CHECK(gap(w, ones<double>({2})) == 0);
              }
            }
          }},
         {"the algorithm on vectors gives the same",
          [] {
            for (std::uint64_t seed = 0; seed < 5; ++seed) {
              const Numbers g = normal(5, 7, seed), targets = rand<double>({5, 5}, Random(seed), -0.8, 0.9);
              const Numbers w = gradvac_step(gramian_of(g), targets, Random(seed)).weights;
              CHECK(direction_gap(w, g, vaccinated(g, targets, Random(seed))) < 1e-12);
            }
          }},
         {"targets are moving averages of the cosines",
          [] {
            // The same two gradients again and again: c (1 - (1 - beta)^rounds).
            const double c = -22 / std::sqrt(18.0 * 38.0);
            GradVac aggregator(0, {.beta = 0.25});
            double left = 1;
            for (int round = 0; round < 5; ++round) {
              direction(aggregator, golden);
              left *= 0.75;
              CHECK(at(aggregator.targets, 1) == Approx(c * (1 - left)).epsilon(1e-14));
              CHECK(at(aggregator.targets, 2) == Approx(c * (1 - left)).epsilon(1e-14));
            }
            // Tasks that agreed are held to it.
            GradVac agreed(2);
            const Numbers alike = tensor<double>({{1, 0}, {0.8, 0.6}}), apart = tensor<double>({{1, 0}, {0, 1}});
            CHECK(gap(direction(agreed, alike), tensor<double>({0.9, 0.3})) < 1e-16);
            CHECK(at(agreed.targets, 1) == Approx(0.4).epsilon(1e-15));
            const double cotangent = 0.4 / std::sqrt(1 - 0.16);
            CHECK(gap(direction(agreed, apart), 0.5 * (1 + cotangent) * ones<double>({2})) < 1e-15);
          }},
         {"targets are by task, and those of absent tasks stay",
          [] {
            GradVac aggregator(3);
            aggregator.targets = tensor<double>({{0, 0.1, 0.2}, {0.3, 0, 0.4}, {0.5, 0.6, 0}});
            const Numbers before = aggregator.targets, r = tensor<double>({{0, 0.5}, {0.2, 0}});
            const Numbers d = direction(aggregator, golden, Random(4), {2, 0}, 3);
            CHECK(same_bits(d, direction_of(gradvac_step(gramian_of(golden), r, Random(4)).weights / 2.0, golden)));
            for (Index k = 0; k < 9; ++k) CHECK((at(aggregator.targets, k) != at(before, k)) == (k == 2 || k == 6));
          }},
         {"a task that is twice in a round has a target with itself",
          [] {
            const double c = -22 / std::sqrt(18.0 * 38.0);
            GradVac aggregator(2);
            direction(aggregator, golden, Random(1), {1, 1}, 2);  // two comparisons: c (1 - 1 / 2^2)
            CHECK(gap(aggregator.targets, tensor<double>({{0, 0}, {0, 0.75 * c}})) < 1e-15);
          }},
         {"what it remembers is its targets",
          [] {
            GradVac one(4);
            for (std::uint64_t round = 0; round < 3; ++round) direction(one, normal(4, 6, round), Random(round));
            GradVac other(4);
            other.targets = one.targets;
            for (std::uint64_t round = 3; round < 6; ++round)
              CHECK(same_bits(direction(one, normal(4, 6, round), Random(round)),
                              direction(other, normal(4, 6, round), Random(round))));
          }},
         {"zeros are compared with nothing",
          [] {
            const Numbers rows = concat(std::vector{golden, zeros<double>({1, 3})}, 0);
            const GradVacStep step = gradvac_step(gramian_of(rows), targets_of(3, 0.5), Random(1));
            CHECK(gap(direction_of(step.weights, rows),
                      direction_of(gradvac_step(gramian_of(golden), targets_of(2, 0.5), Random(1)).weights, golden)) <
                  1e-14);
            for (Index k : {2, 5, 6, 7, 8}) CHECK(at(step.cosines, k) == 0.5);
            CHECK(gap(direction(GradVac(), zeros<double>({2, 3})), zeros<double>({3})) == 0);
          }},
         {"a target of 1 gives finite numbers",
          [] {
            scan([](const TestJacobian& one) {
              const Numbers w = gradvac_step(gramian_of(one.rows), targets_of(one.rows.size(0), 1), Random(1)).weights;
              CHECK(all_finite(w));
            });
          }},
         {"two tasks: no conflict with targets of 0, and no order",
          [] {
            const auto first = [](const Numbers& m) {
              return gradvac_step(m, targets_of(m.size(0), 0), Random(1)).weights;
            };
            const auto later = [](const Numbers& m) {
              return gradvac_step(m, targets_of(m.size(0), 0.3), Random(1)).weights;
            };
            scan([&](const TestJacobian& one) {
              if (one.rows.size(0) != 2) return;
              CHECK(never_conflicts(first(gramian_of(one.rows)), one.rows, 1e-12));
              CHECK(permutes(first, one.rows));
              CHECK(permutes(later, one.rows));
            });
          }},
         {"of several tasks the order does not matter on average over the draws",
          [] {
            const auto once = [](const Numbers& g, const Random& random) {
              return direction_of(gradvac_step(gramian_of(g), targets_of(3, 0.2), random).weights, g);
            };
            CHECK(permutes_on_average(once, tensor<double>({{1, 0, 0.1}, {-0.5, 0.8, 0.3}, {-0.5, -0.7, 0.2}})));
          }},
         {"scales with all gradients",
          [] {
            for (std::uint64_t i = 0; i < 5; ++i)
              CHECK(scales_linearly(
                  [&](const Numbers& m) { return gradvac_step(m, targets_of(4, 0.2), Random(i)).weights; },
                  normal(4, 8, i)));
          }},
         {"the mean without conflicts",
          [] {
            const Numbers g = abs(normal(4, 6, 1));
            CHECK(same_bits(direction(GradVac(), g), direction(MeanGradient(), g)));
            CHECK(same_bits(direction(GradVac(), slice(g, 0, 0, 1)), row_of(g, 0)));
          }},
         {"the random orders come from the stream",
          [] {
            const Numbers m = gramian_of(normal(6, 4, 5)), targets = targets_of(6, 0.2);
            const auto w = [&](std::uint64_t seed) { return gradvac_step(m, targets, Random(seed)).weights; };
            CHECK(same_bits(w(1), w(1)));
            bool differs = false;
            for (std::uint64_t seed = 2; seed < 6; ++seed) differs |= gap(w(seed), w(1)) > 1e-9;
            CHECK(differs);
          }}},
}});

// ---- ConFIG ---------------------------------------------------------------------------------------------------------
const bool config_row = add_method_rows({{
    .name = "config",
    .header = "graft/multitask/conflict_free.hpp",
    .paper = "Liu, Chu, Thuerey, ConFIG: towards conflict-free training of physics informed neural networks, ICLR 2025",
    .functions = {"config_weights", "ConFig"},
    .use = "aggregators().make(\"config\", tasks)",
    .run = [](const Random& random) { return use(ConFig(), random); },
    .errors = {bad_use<ShapeError>(
                   [] {
                     config_weights(zeros<double>({2, 3}));
                   },
                   "[2, 3]"),
               bad_use<ValueError>(
                   [] {
                     config_weights(zeros<double>({0, 0}));
                   },
                   "no tasks"),
               bad_use<ValueError>(
                   [] {
                     config_weights(full<double>({2, 2}, nan));
                   },
                   "nan"),
               bad_use<ValueError>(
                   [] {
                     config_weights(eye<double>(2), {1, 2, 3});
                   },
                   "2 tasks"),
               bad_use<ValueError>(
                   [] {
                     config_weights(eye<double>(2), {1, -2});
                   },
                   "preference is -2")},
    .properties =
        {{"the golden rows",
          [] {
            // Two unit gradients: along their sum s; <g1 + g2, s> / |s|^2 s. TorchJD's documentation has these numbers.
            const Numbers s = row_of(golden, 0) / std::sqrt(18.0) + row_of(golden, 1) / std::sqrt(38.0);
            const Numbers d = direction_of(config_of(gramian_of(golden)), golden);
            CHECK(gap(d, inner(s, tensor<double>({2, 2, 2})) / inner(s, s) * s) < 1e-14);
            CHECK(gap(d, tensor<double>({0.1588, 2.0706, 2.0706})) < 5e-5);
            CHECK(gap(direction(ConFig(), golden), 0.5 * d) < 1e-15);
          }},
         {"equal cosines with independent gradients, and no conflict",
          [] {
            for (std::uint64_t i = 0; i < 10; ++i) {
              const auto tasks = static_cast<Index>(2 + i % 5);
              const Numbers scales = rand<double>({tasks}, Random(i), 0.01, 100),
                            g = scale_rows(scales, normal(tasks, 9, i));
              const Numbers d = direction(ConFig(), g);
              const double expected = cosine(row_of(g, 0), d);
              CHECK(expected > 0);
              for (Index k = 1; k < tasks; ++k) CHECK(cosine(row_of(g, k), d) == Approx(expected).epsilon(1e-11));
              double along = 0;  // the length is the sum of the gradients' parts
              for (Index k = 0; k < tasks; ++k) along += inner(row_of(g, k), d) / length_of(d);
              CHECK(length_of(d) == Approx(along / static_cast<double>(tasks)).epsilon(1e-12));
            }
          }},
         {"cosines in proportion to the preference, which is by task",
          [] {
            const Numbers g = normal(3, 6, 2), d = direction_of(config_weights(gramian_of(g), {1, 3, 0.5}), g);
            CHECK(cosine(row_of(g, 1), d) == Approx(3 * cosine(row_of(g, 0), d)).epsilon(1e-12));
            CHECK(cosine(row_of(g, 2), d) == Approx(0.5 * cosine(row_of(g, 0), d)).epsilon(1e-12));
            CHECK(gap(direction(ConFig{{3, 9, 0.5, 1}}, g, Random(1), {3, 0, 2}, 4), d / 3.0) < 1e-15);
          }},
         {"the nearest to equal cosines in least squares",
          [] {
            scan([](const TestJacobian& one) {
              const Numbers w = config_of(gramian_of(one.rows)), d = direction_of(w, one.rows);
              const Index tasks = one.rows.size(0);
              const std::vector<double> lengths = lengths_of(one.rows);
              // With t d the solution of U x = 1: U^T (U t d - 1) = 0. No d: U^T 1 = 0.
              std::vector<double> along;
              double parts = 0, squares = 0;
              for (Index i = 0; i < tasks; ++i) {
                const double length = lengths[static_cast<std::size_t>(i)];
                along.push_back(length > 0 ? inner(row_of(one.rows, i), d) / length : 0);
                parts += along.back(), squares += along.back() * along.back();
              }
              const double t = length_of(d) > 1e-12 * size_of(w, one.rows) ? parts / squares : 0;
              Numbers normal_equations = zeros<double>({one.rows.size(1)});
              for (Index i = 0; i < tasks; ++i)
                if (const double length = lengths[static_cast<std::size_t>(i)]; length > 0)
                  normal_equations =
                      normal_equations + (t * along[static_cast<std::size_t>(i)] - 1) / length * row_of(one.rows, i);
              CHECK(length_of(normal_equations) < 1e-7);
              CHECK(all_finite(w));
            });
          }},
         {"at right angles: the unit gradients' sum, of the lengths' mean",
          [] {
            const Numbers g = tensor<double>({{2, 0, 0}, {0, 3, 0}, {0, 0, 0.5}});
            CHECK(gap(direction_of(config_of(gramian_of(g)), g), full<double>({3}, 5.5 / 3)) < 1e-14);
          }},
         {"the direction does not depend on the gradients' lengths",
          [] {
            const Numbers g = normal(4, 6, 2), scales = tensor<double>({1, 1e-6, 1e5, 3});
            CHECK(cosine(direction(ConFig(), g), direction(ConFig(), scale_rows(scales, g))) ==
                  Approx(1).epsilon(1e-13));
          }},
         {"equal gradients give that gradient, opposite ones nothing, zeros have no part",
          [] {
            const Numbers g = normal(1, 5, 2);
            CHECK(gap(direction(ConFig(), concat(std::vector{g, g, g}, 0)), row_of(g, 0)) < 1e-14);
            CHECK(same_bits(direction(ConFig(), g), row_of(g, 0)));
            CHECK(length_of(direction(ConFig(), concat(std::vector{g, -3.0 * g}, 0))) == 0);
            const Numbers several = normal(3, 5, 4);
            CHECK(length_of(direction(ConFig(), concat(std::vector{several, -2.0 * several}, 0))) < 1e-12);
            CHECK(gap(direction(ConFig(), zeros<double>({3, 2})), zeros<double>({2})) == 0);
            const Numbers more = concat(std::vector{zeros<double>({1, 3}), golden}, 0);
            CHECK(gap(direction(ConFig(), more), 2.0 / 3 * direction(ConFig(), golden)) < 1e-14);
          }},
         {"scales with all gradients, and the tasks have no order",
          [] {
            scan([](const TestJacobian& one) {
              CHECK(scales_linearly(config_of, one.rows));
              CHECK(permutes(config_of, one.rows, 1e-7));
            });
          }}},
}});

// ---- GradDrop -------------------------------------------------------------------------------------------------------
Numbers always_positive(const Numbers& purity) { return ones<double>(purity.shape()); }
Numbers majority(const Numbers& purity) { return cast<double>(purity > 0.5); }

const bool graddrop_row = add_method_rows({{
    .name = "graddrop",
    .header = "graft/multitask/graddrop.hpp",
    .paper =
        "Chen, Ngiam, Huang, Luong, Kretzschmar, Chai, Anguelov, Just pick a sign: optimizing deep multitask models "
        "with gradient sign dropout, NeurIPS 2020",
    .functions = {"graddrop", "GradDrop"},
    .use = "aggregators().make(\"graddrop\", tasks)",
    .run =
        [](const Random& random) {
          return use(GradDrop{{.leak = {0, 0.1, 0.2, 0.3, 0.4, 0.5}}}, random);
        },
    .loss =
        [](const Numbers& x) {
          return sum(square(graddrop(reshape(x, {3, 4}), Random(2), {.leak = {0, 0.3, 1}})));
        },
    .loss_at = randn<double>({12}, Random(4)),
    .errors = {bad_use<ShapeError>([] { graddrop(zeros<double>({4}), Random(1)); }, "[4]"),
               bad_use<ValueError>(
                   [] {
                     graddrop(zeros<double>({0, 4}), Random(1));
                   },
                   "no tasks"),
               bad_use<ValueError>(
                   [] {
                     graddrop(full<double>({2, 2}, nan), Random(1));
                   },
                   "finite"),
               bad_use<ValueError>(
                   [] {
                     graddrop(full<double>({2, 2}, infinity), Random(1));
                   },
                   "finite"),
               bad_use<ValueError>([] { graddrop(golden, Random(1), {.leak = {0.5}}); }, "2 tasks"),
               bad_use<ValueError>(
                   [] {
                     graddrop(golden, Random(1), {.leak = {0.5, 1.5}});
                   },
                   "1.5"),
               bad_use<ValueError>(
                   [] {
                     graddrop(golden, Random(1), {.leak = {0.5, -0.5}});
                   },
                   "leak is -0.5")},
    .properties =
        {{"the golden rows: 6 or -4, with probabilities 0.6 and 0.4",
          [] {
            // P = (1 + 2 / 10) / 2; TorchJD's documentation shows (6, 2, 2) for these rows.
            bool both[2] = {false, false};
            for (std::uint64_t seed = 0; seed < 20; ++seed) {
              const Numbers d = graddrop(golden, Random(seed));
              const bool positive = at(d, 0) == 6;
              both[positive] = true;
              CHECK(gap(d, tensor<double>({positive ? 6.0 : -4.0, 2, 2})) == 0);
            }
            CHECK((both[0] && both[1]));
            const Index n = 40000;
            const Numbers columns = matmul(tensor<double>({{-4}, {6}}), ones<double>({1, n}));
            const double positives =
                sum(cast<double>(graddrop(columns, Random(1)) > 0.0)).item() / static_cast<double>(n);
            CHECK(std::abs(positives - 0.6) < 4 * std::sqrt(0.24 / static_cast<double>(n)));
          }},
         {"the mean over the draws is the sum",
          [] {
            // Each column many times: of one draw each.
            const Index n = 20000;
            for (double leak : {0.0, 0.3}) {
              const Numbers column = normal(4, 1, 3), d = graddrop(matmul(column, ones<double>({1, n})), Random(5),
                                                                   {.leak = List<double>(4, leak)});
              const double deviation = std::sqrt((mean(square(d)) - square(mean(d))).item() / static_cast<double>(n));
              CHECK(deviation > 0);
              CHECK(std::abs(mean(d).item() - sum(column).item()) < 4 * deviation);
            }
          }},
         {"each coordinate is all of one sign",
          [] {
            const Numbers g = normal(5, 300, 1), d = graddrop(g, Random(3));
            const Numbers positive = sum(maximum(g, 0.0), {0}), negative = sum(minimum(g, 0.0), {0});
            CHECK(max(minimum(abs(d - positive), abs(d - negative))).item() == 0);
          }},
         {"the sum where all signs agree, whatever is drawn",
          [] {
            const Numbers g = abs(normal(4, 50, 2)) * reshape(cast<double>(normal(1, 50, 3) > 0.0) - 0.5, {1, 50});
            for (std::uint64_t seed = 0; seed < 5; ++seed) {
              CHECK(gap(graddrop(g, Random(seed)), sum(g, {0})) < 1e-15);
              CHECK(gap(direction(GradDrop(), g, Random(seed)), mean(g, {0})) < 1e-15);
              CHECK(gap(direction(GradDrop(), slice(g, 0, 1, 2), Random(seed)), row_of(g, 1)) == 0);  // one task
            }
            CHECK(gap(graddrop(zeros<double>({3, 4}), Random(1)), zeros<double>({4})) == 0);
          }},
         {"what leaks is kept, by task",
          [] {
            const Numbers g = normal(3, 40, 4);
            CHECK(gap(graddrop(g, Random(1), {.leak = {1, 1, 1}}), sum(g, {0})) < 1e-15);
            // The picked signs do not depend on the leaks: the direction is affine in each.
            const auto d = [&](double leak) { return graddrop(g, Random(1), {.leak = {0, leak, 0}}); };
            CHECK(gap(d(0.25), 0.75 * d(0) + 0.25 * d(1)) < 1e-15);
            const Numbers others = maximum(row_of(g, 0), 0.0) + maximum(row_of(g, 2), 0.0);
            CHECK(gap(graddrop(g, Random(1), {.leak = {0, 1, 0}, .probability = always_positive}),
                      row_of(g, 1) + others) < 1e-15);
            CHECK(same_bits(direction(GradDrop{{.leak = {0.5, 0.9, 0.1}}}, g, Random(1), {2, 0, 2}, 3),
                            graddrop(g, Random(1), {.leak = {0.1, 0.5, 0.1}}) / 3.0));
          }},
         {"another probability of the positive sign",
          [] {
            const Numbers g = normal(3, 40, 4);
            CHECK(gap(graddrop(g, Random(1), {.leak = {}, .probability = always_positive}),
                      sum(maximum(g, 0.0), {0})) == 0);
            const Numbers d = graddrop(g, Random(1), {.leak = {}, .probability = majority});
            CHECK(min(d * sum(g, {0})).item() > 0);
          }},
         {"the draws come from the stream",
          [] {
            const Numbers g = normal(4, 100, 5);
            CHECK(same_bits(graddrop(g, Random(1)), graddrop(g, Random(1))));
            CHECK(gap(graddrop(g, Random(1)), graddrop(g, Random(2))) > 0);
          }},
         {"scales with all gradients, and the tasks have no order",
          [] {
            const Numbers g = normal(4, 100, 6), d = graddrop(g, Random(1));
            CHECK(same_bits(graddrop(1024 * g, Random(1)), 1024 * d));
            CHECK(gap(graddrop(reorder(g, {2, 0, 3, 1}), Random(1)), d) < 1e-14);
          }}},
}});

// ---- Krum -----------------------------------------------------------------------------------------------------------
/// The definition, from differences of rows.
Numbers krum_by_the_book(const Numbers& g, Index f, Index m) {
  const Index tasks = g.size(0);
  std::vector<std::pair<double, Index>> scores;
  for (Index i = 0; i < tasks; ++i) {
    std::vector<double> squared;
    for (Index j = 0; j < tasks; ++j)
      if (j != i) squared.push_back(sum(square(row_of(g, i) - row_of(g, j))).item());
    std::sort(squared.begin(), squared.end());
    double score = 0;
    for (std::size_t k = 0; k < static_cast<std::size_t>(tasks - f - 2); ++k) score += squared[k];
    scores.emplace_back(score, i);
  }
  std::sort(scores.begin(), scores.end());
  List<double> weights(tasks);
  for (std::size_t k = 0; k < static_cast<std::size_t>(m); ++k) weights[scores[k].second] = 1 / static_cast<double>(m);
  return from_vector(weights);
}
template <class A>
Numbers weights_of(const A& aggregator, const Numbers& jacobian) {
  TaskGradients gradients(jacobian, {}, Random(1));
  return aggregator(gradients).weights;
}

const bool krum_row = add_method_rows({{
    .name = "krum",
    .header = "graft/multitask/krum.hpp",
    .paper = "Blanchard, El Mhamdi, Guerraoui, Stainer, Machine learning with adversaries: Byzantine tolerant gradient "
             "descent, NeurIPS 2017",
    .functions = {"krum_weights", "Krum"},
    .use = "Krum{{.byzantine = 1, .selected = 3}}",
    .run = [](const Random& random) { return use(Krum{{.byzantine = 1, .selected = 3}}, random); },
    .errors = {bad_use<ShapeError>(
                   [] {
                     krum_weights(zeros<double>({2, 3}));
                   },
                   "[2, 3]"),
               bad_use<ValueError>(
                   [] {
                     krum_weights(zeros<double>({0, 0}));
                   },
                   "no tasks"),
               bad_use<ValueError>(
                   [] {
                     krum_weights(full<double>({5, 5}, nan));
                   },
                   "nan"),
               bad_use<ValueError>([] { krum_weights(eye<double>(2)); }, "at least 3"),
               bad_use<ValueError>([] { krum_weights(eye<double>(4), {.byzantine = 1}); }, "at least 5"),
               bad_use<ValueError>([] { krum_weights(eye<double>(4), {.byzantine = -1}); }, "-1"),
               bad_use<ValueError>([] { krum_weights(eye<double>(4), {.selected = 0}); }, "0 of 4"),
               bad_use<ValueError>([] { krum_weights(eye<double>(4), {.selected = 5}); }, "5 of 4"),
               bad_use<ValueError>([] { weights_of(Krum{{.byzantine = 3}}, eye<double>(4)); }, "at least 9")},
    .properties =
        {{"by hand, in one dimension",
          [] {
            // Of 0, 1, 3, 7, 100 with one byzantine: to the two nearest 1 + 9, 1 + 4, 4 + 9, 16 + 36 and more.
            const Numbers g = tensor<double>({{0}, {1}, {3}, {7}, {100}});
            CHECK(gap(krum_weights(gramian_of(g), {.byzantine = 1}), tensor<double>({0, 1, 0, 0, 0})) == 0);
            CHECK(gap(krum_weights(gramian_of(g), {.byzantine = 1, .selected = 2}),
                      tensor<double>({0.5, 0.5, 0, 0, 0})) == 0);
          }},
         {"the example of TorchJD's documentation",
          [] {
            const Numbers g = tensor<double>({{1, 1, 1}, {1, 0, 1}, {75, -666, 23}, {1, 2, 3}, {2, 0, 1}});
            CHECK(gap(direction(Krum{{.byzantine = 1, .selected = 4}}, g), tensor<double>({1.25, 0.75, 1.5})) == 0);
          }},
         {"the definition, from differences of rows",
          [] {
            for (std::uint64_t i = 0; i < 20; ++i) {
              const auto f = static_cast<Index>(i % 3), tasks = 2 * f + 3 + static_cast<Index>(i % 4);
              const Numbers g = normal(tasks, 6, i);
              for (Index m = 1; m <= tasks; ++m) {
                const KrumOptions options{.byzantine = f, .selected = m};
                CHECK(gap(krum_weights(gramian_of(g), options), krum_by_the_book(g, f, m)) == 0);
                CHECK(gap(weights_of(Krum{options}, g), krum_by_the_book(g, f, m)) == 0);
              }
            }
          }},
         {"no byzantine row is taken, wherever they are",
          [] {
            for (double far : {10.0, 1e6, 1e20})
              for (std::uint64_t i = 0; i < 5; ++i) {
                const Numbers honest = 1 + 0.1 * normal(5, 4, i), lies = far * normal(1, 4, 50 + i);
                const Numbers g = concat(std::vector{lies, honest, lies}, 0);  // in league with each other
                const Numbers w = weights_of(Krum{{.byzantine = 2, .selected = 3}}, g);
                CHECK(at(w, 0) + at(w, 6) == 0);
              }
          }},
         {"what all rows have in common does not matter, however long it is",
          [] {
            for (std::uint64_t i = 0; i < 10; ++i) {
              const Numbers g = cast<double>(cast<std::int64_t>(64 * normal(6, 5, i))) / 64.0;  // exact beside 2^40
              const KrumOptions options{.byzantine = 1, .selected = 2};
              CHECK(same_bits(weights_of(Krum{options}, g + std::ldexp(1.0, 40)), weights_of(Krum{options}, g)));
            }
          }},
         {"near and far rows beside each other",
          [] {
            for (std::uint64_t i = 0; i < 10; ++i) {
              const Numbers centres = tensor<double>({{1e3}, {1e3}, {1e3}, {-2e3}, {-2e3}, {1.5e3}, {0}});
              const Numbers g = centres + 0.1 * normal(7, 4, i);
              for (Index m = 1; m <= 7; ++m)
                CHECK(gap(weights_of(Krum{{.byzantine = 1, .selected = m}}, g), krum_by_the_book(g, 1, m)) == 0);
            }
          }},
         {"all rows: the mean; rows that are the same: the first",
          [] {
            CHECK(same_bits(weights_of(Krum{{.selected = 4}}, normal(4, 3, 1)), full<double>({4}, 0.25)));
            CHECK(gap(weights_of(Krum(), ones<double>({4, 3})), tensor<double>({1, 0, 0, 0})) == 0);
            CHECK(gap(weights_of(Krum(), zeros<double>({4, 3})), tensor<double>({1, 0, 0, 0})) == 0);
          }},
         {"scales with all gradients, and the tasks have no order",
          [] {
            const auto of = [](const Numbers& m) { return krum_weights(m, {.byzantine = 1, .selected = 2}); };
            for (std::uint64_t i = 0; i < 5; ++i) {
              CHECK(scales_linearly(of, normal(6, 5, i)));
              CHECK(permutes(of, normal(6, 5, i)));
            }
          }}},
}});

// ---- the trimmed mean -----------------------------------------------------------------------------------------------
Numbers trimmed_by_sorting(const Numbers& g, Index b) {
  List<double> result;
  for (Index k = 0; k < g.size(1); ++k) {
    std::vector<double> numbers;
    for (Index i = 0; i < g.size(0); ++i) numbers.push_back(at(g, i * g.size(1) + k));
    std::sort(numbers.begin(), numbers.end());
    double total = 0;
    for (Index i = b; i < g.size(0) - b; ++i) total += numbers[static_cast<std::size_t>(i)];
    result.push_back(total / static_cast<double>(g.size(0) - 2 * b));
  }
  return from_vector(result);
}

const bool trimmed_mean_row = add_method_rows({{
    .name = "trimmed_mean",
    .header = "graft/multitask/trimmed_mean.hpp",
    .paper =
        "Yin, Chen, Ramchandran, Bartlett, Byzantine-robust distributed learning: towards optimal statistical rates, "
        "ICML 2018",
    .functions = {"trimmed_mean", "TrimmedMean"},
    .use = "TrimmedMean{{.trimmed = 1}}",
    .run = [](const Random& random) { return use(TrimmedMean{{.trimmed = 2}}, random); },
    .loss =
        [](const Numbers& x) {
          return sum(square(trimmed_mean(reshape(x, {5, 3}), {.trimmed = 1})));
        },
    .loss_at = randn<double>({15}, Random(4)),
    .errors = {bad_use<ShapeError>([] { trimmed_mean(zeros<double>({4})); }, "[4]"),
               bad_use<ValueError>(
                   [] {
                     trimmed_mean(zeros<double>({0, 4}), {.trimmed = 0});
                   },
                   "at least 1"),
               bad_use<ValueError>([] { trimmed_mean(golden); }, "at least 3"),
               bad_use<ValueError>([] { trimmed_mean(golden, {.trimmed = -1}); }, "-1"),
               bad_use<ValueError>(
                   [] {
                     trimmed_mean(full<double>({3, 2}, nan));
                   },
                   "finite"),
               bad_use<ValueError>(
                   [] {
                     trimmed_mean(full<double>({3, 2}, infinity));
                   },
                   "finite"),
               bad_use<ValueError>([] { direction(TrimmedMean{{.trimmed = 2}}, normal(4, 2, 1)); }, "at least 5")},
    .properties = {{"the example of TorchJD's documentation",
                    [] {
                      const Numbers g = tensor<double>({{1e11, 3}, {1, -1e11}, {-1e10, 1e10}, {2, 2}});
                      CHECK(gap(direction(TrimmedMean(), g), tensor<double>({1.5, 2.5})) == 0);
                    }},
                   {"the definition, by sorting",
                    [] {
                      for (Index tasks = 1; tasks <= 9; ++tasks)
                        for (Index b = 0; 2 * b < tasks; ++b) {
                          const Numbers g = normal(tasks, 20, static_cast<std::uint64_t>(tasks));
                          CHECK(gap(trimmed_mean(g, {.trimmed = b}), trimmed_by_sorting(g, b)) < 1e-15);
                        }
                    }},
                   {"the mean if nothing is trimmed, the median if all but one is",
                    [] {
                      const Numbers g = normal(5, 30, 1);
                      CHECK(gap(trimmed_mean(g, {.trimmed = 0}), mean(g, {0})) < 1e-15);
                      CHECK(gap(trimmed_mean(tensor<double>({{5}, {1}, {9}, {3}, {4}}), {.trimmed = 2}),
                                tensor<double>({4})) == 0);
                      CHECK(same_bits(direction(TrimmedMean{{.trimmed = 0}}, slice(g, 0, 0, 1)),
                                      row_of(g, 0)));  // one task
                    }},
                   {"between the numbers of the honest rows, whatever the others are",
                    [] {
                      for (double far : {1.0, 1e6, 1e300})
                        for (std::uint64_t i = 0; i < 5; ++i) {
                          const Numbers honest = normal(5, 20, i), lies = far * normal(2, 20, 60 + i);
                          const Numbers d = trimmed_mean(concat(std::vector{lies, honest}, 0), {.trimmed = 2});
                          CHECK(min(d - min(honest, {0})).item() >= 0);
                          CHECK(max(d - max(honest, {0})).item() <= 0);
                        }
                    }},
                   {"equivariant: rows reordered, scaled, moved, turned round",
                    [] {
                      const Numbers g = normal(6, 25, 3), d = trimmed_mean(g);
                      CHECK(gap(trimmed_mean(reorder(g, {5, 2, 0, 1, 4, 3})), d) < 1e-15);
                      CHECK(same_bits(trimmed_mean(1024 * g), 1024 * d));
                      CHECK(gap(trimmed_mean(-1.0 * g), -1.0 * d) < 1e-15);
                      CHECK(gap(trimmed_mean(g + 3.0), d + 3.0) < 1e-14);
                    }},
                   {"rows that are the same stay themselves",
                    [] {
                      const Numbers g = normal(1, 8, 2);
                      CHECK(gap(trimmed_mean(concat(std::vector{g, g, g}, 0)), row_of(g, 0)) == 0);
                      CHECK(gap(trimmed_mean(zeros<double>({3, 8})), zeros<double>({8})) == 0);
                    }}},
}});

// ---- the sum, and constant weights ----------------------------------------------------------------------------------
const bool sum_row = add_method_rows({{
    .name = "sum",
    .header = "graft/multitask/sum.hpp",
    .paper = "the sum of losses",
    .functions = {"SumGradient", "TaskGradients"},
    .use = "aggregators().make(\"sum\", tasks)",
    .run = [](const Random& random) { return use(SumGradient(), random); },
    .errors = {bad_use<ValueError>(
        [] {
          TaskGradients(zeros<double>({0, 2}), {}, Random(1));
        },
        "no tasks")},
    .properties = {{"weights are 1; the golden rows",
                    [] {
                      CHECK(same_bits(weights_of(SumGradient(), golden), ones<double>({2})));
                      CHECK(gap(direction(SumGradient(), golden), full<double>({3}, 2.0)) == 0);
                    }},
                   {"as many times the mean as there are tasks",
                    [] {
                      const Numbers g = normal(8, 5, 1);
                      CHECK(same_bits(weights_of(SumGradient(), g), 8.0 * weights_of(MeanGradient(), g)));
                    }}},
}});

const bool constant_row = add_method_rows({{
    .name = "constant weights",
    .header = "graft/multitask/constant.hpp",
    .paper = "the weighted sum of losses",
    .functions = {"ConstantWeights"},
    .use = "ConstantWeights{{0.7, 0.3}}",
    .run =
        [](const Random& random) {
          return use(ConstantWeights{{1, 2, 3, 0, 0.5, 0.1}}, random);
        },
    .errors = {bad_use<ValueError>([] { direction(ConstantWeights{}, golden); }, "no weights"),
               bad_use<ValueError>(
                   [] {
                     direction(ConstantWeights{{1, 2, 3}}, golden);
                   },
                   "2 tasks"),
               bad_use<ValueError>(
                   [] {
                     direction(ConstantWeights{{1, -2}}, golden);
                   },
                   "weight is -2"),
               bad_use<ValueError>(
                   [] {
                     direction(ConstantWeights{{1, nan}}, golden);
                   },
                   "weight is nan")},
    .properties =
        {{"the weights of the tasks behind the rows",
          [] {
            TaskGradients gradients(golden, {}, Random(1));
            gradients.ids = {2, 2};
            gradients.all_tasks = 3;
            CHECK(same_bits(ConstantWeights{{1, 2, 0.25}}(gradients).weights, full<double>({2}, 0.25)));
          }},
         {"the gradient of the weighted loss",
          [] {
            CHECK(gap(direction(ConstantWeights{{0.5, 2}}, golden), tensor<double>({10, 2.5, 2.5})) == 0);
          }},
         {"equal weights: the mean or the sum",
          [] {
            CHECK(same_bits(weights_of(ConstantWeights{{0.5, 0.5}}, golden), weights_of(MeanGradient(), golden)));
            CHECK(same_bits(weights_of(ConstantWeights{{1, 1}}, golden), weights_of(SumGradient(), golden)));
          }}},
}});

}  // namespace
