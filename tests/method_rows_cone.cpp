// Rows of the method table for aggregators that project onto the directions which conflict with no task.

#include <algorithm>
#include <cmath>
#include <limits>

#include "aggregators.hpp"
#include "catch.hpp"
#include "graft/common/cone_projection.hpp"
#include "graft/multitask/dualproj.hpp"
#include "graft/multitask/mean.hpp"
#include "graft/multitask/pcgrad.hpp"
#include "graft/multitask/upgrad.hpp"

using namespace graft;

namespace {

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
    if (at(v, i) > u[i]) CHECK(std::abs(inner(row_of(jacobian, i), x)) <= 1e-12 * lengths[i] * size);
  }
}
List<double> equal_preference(const Numbers& jacobian) {
  return List<double>(jacobian.size(0), 1 / static_cast<double>(jacobian.size(0)));
}
Numbers upgrad_of(const Numbers& gramian) { return upgrad_weights(gramian); }
Numbers dualproj_of(const Numbers& gramian) { return dualproj_weights(gramian); }

const bool upgrad_row = add_method_rows({{
    .name = "upgrad",
    .header = "graft/multitask/upgrad.hpp",
    .paper = "Quinton, Rey, Jacobian descent for multi-objective optimization, arXiv 2406.16232, 2024",
    .functions = {"upgrad_weights", "UpGrad"},
    .use = "aggregators().make(\"upgrad\", tasks)",
    .run = [](const Random& random) { return one_round(UpGrad(), random); },
    .errors = joined(bad_gramians([](const Numbers& m) { upgrad_weights(m); }),
                     {bad_use<ValueError>(
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
                          "2 tasks")}),
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
                           {abs(random_rows(4, 6, 1)), eye<double>(3), ones<double>({5, 2}), zeros<double>({3, 3})})
                        CHECK(same_bits(upgrad_of(gramian_of(rows)),
                                        full<double>({rows.size(0)}, 1 / static_cast<double>(rows.size(0)))));
                    }},
                   {"linear under scaling of the tasks",
                    [] {
                      const Numbers g = random_rows(4, 6, 2), c = tensor<double>({1, 2, 0.5, 4}),
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
                      const Numbers g = random_rows(3, 5, 3), m = gramian_of(g);
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
    .run = [](const Random& random) { return one_round(DualProj(), random); },
    .errors = joined(bad_gramians([](const Numbers& m) { dualproj_weights(m); }),
                     {bad_use<ValueError>([] { dualproj_weights(eye<double>(2), {1}); }, "2 tasks"),
                      bad_use<ValueError>(
                          [] {
                            dualproj_weights(eye<double>(2), {1, INFINITY});
                          },
                          "preference is inf")}),
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
                      for (const Numbers& rows : {abs(random_rows(4, 6, 1)), tensor<double>({{3, 0}, {-1, 5}})})
                        CHECK(same_bits(dualproj_of(gramian_of(rows)),
                                        full<double>({rows.size(0)}, 1 / static_cast<double>(rows.size(0)))));
                    }},
                   {"a direction of the cone that is projected again stays",
                    [] {
                      // As a further task beside the others, with all of the preference.
                      const Numbers g = random_rows(4, 6, 4), d = direction(DualProj(), g);
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
                      const Numbers g = random_rows(3, 5, 3), m = gramian_of(g);
                      CHECK(same_bits(direction(DualProj{{0.5, 9, 2, 9}}, g, Random(1), {2, 0, 2}, 4),
                                      direction_of(dualproj_weights(m, {2, 0.5, 2}), g)));
                    }}},
}});

}  // namespace
