// Rows of the method table for the figures of conflict between tasks and for their affinities.

#include <algorithm>
#include <cmath>
#include <limits>

#include "gap.hpp"
#include "graft/multitask/affinity.hpp"
#include "graft/multitask/conflict.hpp"
#include "weightings.hpp"

using namespace graft;

namespace {

// ---- Conflict -------------------------------------------------------------------------------------------------------
ConflictFigures figures_of(const Numbers& rows) { return conflict_figures(matmul(rows, rows, {.transpose_b = true})); }

const bool conflict_row = add_method_rows({{
    .name = "conflict",
    .header = "graft/multitask/conflict.hpp",
    .paper = "Yu, Kumar, Gupta, Levine, Hausman, Finn, Gradient surgery for multi-task learning, NeurIPS 2020",
    .functions = {"conflict_figures"},
    .use = "conflict_figures(gradients.gramian())",
    .run =
        [](const Random& random) {
          const ConflictFigures f = figures_of(randn<double>({40, 4000}, random));
          return cast<float>(tensor<double>({f.conflicts, f.mean_cosine, f.largest_ratio}));
        },
    .errors = {bad_use<ShapeError>(
                   [] {
                     conflict_figures(ones<double>({2, 3}));
                   },
                   "[2, 3]"),
               bad_use<ShapeError>([] { conflict_figures(ones<double>({4})); }, "[4]"),
               bad_use<ValueError>(
                   [] {
                     conflict_figures(tensor<double>({{1, NAN}, {NAN, 1}}));
                   },
                   "0 and 1 is nan"),
               bad_use<ValueError>([] { conflict_figures(tensor<double>({{-1}})); }, "0 and 0"),
               bad_use<ValueError>(
                   [] {
                     conflict_figures(zeros<double>({0, 0}));
                   },
                   "no tasks")},
    .properties =
        {{"the golden rows",
          [] {
            const ConflictFigures f = figures_of(tensor<double>({{-4, 1, 1}, {6, 1, 1}}));
            CHECK(f.conflicts == 1);
            CHECK(f.mean_cosine == Approx(-22 / std::sqrt(18.0 * 38)).epsilon(1e-14));
            CHECK(std::abs(f.mean_cosine - -0.8412) < 5e-5);
            CHECK(f.largest_ratio == Approx(std::sqrt(38.0 / 18)).epsilon(1e-14));
          }},
         {"a share and a mean over pairs",
          [] {
            // Angles 0, 90, 135 degrees: cosines 0, -1/sqrt 2, 1/sqrt 2; a right angle is no conflict.
            const ConflictFigures f = figures_of(tensor<double>({{2, 0}, {0, 1}, {-3, 3}}));
            CHECK(f.conflicts == Approx(1.0 / 3).epsilon(1e-15));
            CHECK(std::abs(f.mean_cosine) < 1e-15);
            CHECK(f.largest_ratio == Approx(std::sqrt(18.0)).epsilon(1e-15));
          }},
         {"scaling a gradient changes only the ratio",
          [] {
            const Numbers rows = randn<double>({5, 4}, Random(1));
            const ConflictFigures f = figures_of(rows);
            const ConflictFigures g = figures_of(reshape(tensor<double>({1, 1e9, 1, 1e-9, 1}), {5, 1}) * rows);
            CHECK(f.conflicts == g.conflicts);
            CHECK(f.conflicts > 0);
            CHECK(g.mean_cosine == Approx(f.mean_cosine).epsilon(1e-12));
            CHECK(figures_of(1e70 * rows).largest_ratio == Approx(f.largest_ratio).epsilon(1e-12));
          }},
         {"zero gradients, one task, equal gradients",
          [] {
            const ConflictFigures f = figures_of(tensor<double>({{0, 0}, {2, 0}, {-1, 0}, {0, 0}}));
            CHECK(f.conflicts == 1);
            CHECK(f.mean_cosine == -1);
            CHECK(f.largest_ratio == 2);
            for (const Numbers& rows : {zeros<double>({3, 2}), tensor<double>({{5, 1}}),
                                        tensor<double>({{0, 0}, {3, 0}}), tensor<double>({{3, 1}, {3, 1}})}) {
              const ConflictFigures none = figures_of(rows);
              CHECK(none.conflicts == 0);
              CHECK(none.mean_cosine == Approx(1).epsilon(1e-15));
              CHECK(none.largest_ratio == 1);
            }
          }}},
}});

// ---- Affinity -------------------------------------------------------------------------------------------------------
/// L_j = a_j / 2 |theta - c_j|^2 + b_j, rows of c.
struct Quadratics {
  Numbers a, b, c;
  Numbers operator()(const Numbers& theta) const { return a / 2 * sum(square(theta - c), {1}) + b; }
};
const Quadratics quadratics{tensor<double>({1, 3, 0.5}), tensor<double>({0.5, 1, 2}),
                            tensor<double>({{1, 0}, {0, 2}, {-1, -1}})};

/// A trunk and the heads of two tasks.
template <class T>
struct Branches {
  Tensor<T> trunk, first, second;
  GRAFT_FIELDS(trunk, first, second)
};
template <class T>
auto branch_losses(const Tensor<T>& x) {
  return [x](const Branches<T>& net) {
    const Tensor<T> hidden = tanh(matmul(x, net.trunk));
    return stack(std::vector{mean(square(matmul(hidden, net.first) - T(1))), mean(square(matmul(hidden, net.second)))});
  };
}
template <class T>
Branches<T> branches(Index in, Index wide, const Random& random) {
  return {randn<T>({in, wide}, random.stream("trunk")), randn<T>({wide, 1}, random.stream("first")),
          randn<T>({wide, 1}, random.stream("second"))};
}

/// The authors' objective of some groups: every task takes the best of the groups that it is in; -inf unless all are in
/// one of two tasks or more.
double objective_of(const Numbers& z, const std::vector<std::vector<Index>>& groups) {
  const Index tasks = z.size(0);
  double sum = 0;
  for (Index i = 0; i < tasks; ++i) {
    double best = -kInfinity;
    for (const auto& group : groups) {
      if (std::find(group.begin(), group.end(), i) == group.end() || group.size() < 2) continue;
      double onto = 0;
      for (Index j : group)
        if (j != i) onto += at(z, j * tasks + i);
      best = std::max(best, onto / static_cast<double>(group.size() - 1));
    }
    sum += best;
  }
  return sum;
}
/// The greatest objective of any `groups` sets of tasks, one of which may be named several times.
double greatest(const Numbers& z, Index groups, std::vector<std::vector<Index>> chosen = {}) {
  if (static_cast<Index>(chosen.size()) == groups) return objective_of(z, chosen);
  double best = -kInfinity;
  for (Index set = 1; set < Index{1} << z.size(0); ++set) {
    std::vector<Index> group;
    for (Index i = 0; i < z.size(0); ++i)
      if (set >> i & 1) group.push_back(i);
    chosen.push_back(group);
    best = std::max(best, greatest(z, groups, chosen));
    chosen.pop_back();
  }
  return best;
}

const bool affinity_row = add_method_rows({{
    .name = "affinity",
    .header = "graft/multitask/affinity.hpp",
    .paper = "Fifty, Amid, Zhao, Yu, Anil, Finn, Efficiently identifying task groupings, NeurIPS 2021",
    .functions = {"task_affinity", "first_order_affinity", "group_tasks"},
    .use = "group_tasks(task_affinity(losses_of, net, 0.01, {\"trunk\"}), 3)",
    .run =
        [](const Random& random) {
          const Tensor<float> x = randn<float>({300, 40}, random.stream("x"));
          const Numbers z = task_affinity(branch_losses(x), branches<float>(40, 60, random), 1e-3);
          const TaskGroups found = group_tasks(randn<double>({6, 6}, random), 2);
          return cast<float>(concat(std::vector{reshape(z, {-1}), tensor<double>({found.affinity})}, 0));
        },
    .errors = {bad_use<ShapeError>(
                   [] { task_affinity([](const Numbers& x) { return sum(x); }, ones<double>({2}), 0.1); }, "losses []"),
               bad_use<ValueError>(
                   [] {
                     task_affinity([](const Numbers& x) { return x; }, tensor<double>({1, 0}), 0.1);
                   },
                   "the loss of task 1 is 0"),
               bad_use<ValueError>([] { task_affinity([](const Numbers& x) { return x; }, ones<double>({2}), 0); },
                                   "eta is 0"),
               bad_use<ValueError>(
                   [] { task_affinity([](const Numbers& x) { return exp(square(x)); }, full<double>({2}, 26.0), 1); },
                   "a step for task 0 makes the loss of task 0 inf"),
               bad_use<ValueError>([] { first_order_affinity(eye<double>(2), ones<double>({2}), NAN); }, "eta is nan"),
               bad_use<ShapeError>([] { first_order_affinity(eye<double>(3), ones<double>({2}), 1); },
                                   "gramian [3, 3]"),
               bad_use<ValueError>([] { first_order_affinity(eye<double>(1), tensor<double>({-1}), 1); },
                                   "the loss of task 0 is -1"),
               bad_use<ValueError>(
                   [] {
                     first_order_affinity(tensor<double>({{1, kInfinity}, {0, 1}}), ones<double>({2}), 1);
                   },
                   "gradients 0 and 1 is inf"),
               bad_use<ShapeError>(
                   [] {
                     group_tasks(ones<double>({2, 3}), 1);
                   },
                   "[2, 3]"),
               bad_use<ValueError>(
                   [] {
                     group_tasks(ones<double>({1, 1}), 1);
                   },
                   "1 tasks"),
               bad_use<ValueError>(
                   [] {
                     group_tasks(ones<double>({17, 17}), 1);
                   },
                   "17 tasks, expected 2 to 16"),
               bad_use<ValueError>(
                   [] {
                     group_tasks(ones<double>({2, 2}), 0);
                   },
                   "groups is 0"),
               bad_use<ValueError>(
                   [] {
                     group_tasks(tensor<double>({{1, NAN}, {1, 1}}), 1);
                   },
                   "the affinity of task 0 for task 1 is nan")},
    .properties =
        {{"quadratic losses: the step in closed form, and its first order",
          [] {
            const Numbers theta = tensor<double>({0.3, -0.7});
            const double eta = 0.2;
            const Numbers z = task_affinity(quadratics, theta, eta), before = quadratics(theta);
            const Numbers slopes = reshape(quadratics.a, {3, 1}) * (theta - quadratics.c);
            for (Index i = 0; i < 3; ++i) {
              const Numbers stepped = quadratics(theta - eta * reshape(slice(slopes, 0, i, i + 1), {2}));
              CHECK(gap(reshape(slice(z, 0, i, i + 1), {3}), 1 - stepped / before) < 1e-14);
            }
            // L_j(theta - eta g_i) = L_j - eta <g_i, g_j> + eta^2 a_j |g_i|^2 / 2 exactly.
            const Numbers gramian = matmul(slopes, slopes, {.transpose_b = true});
            const Numbers squares = reshape(sum(square(slopes), {1}), {3, 1});
            const Numbers second = eta * eta / 2 * squares * quadratics.a / before;
            CHECK(gap(first_order_affinity(gramian, before, eta) - second, z) < 1e-14);
            CHECK(min(z).item() < 0);
          }},
         {"identical tasks gain alike",
          [] {
            const auto losses = [](const Numbers& theta) {
              const Numbers loss = sum(square(theta)) + 1;
              return stack(std::vector{loss, loss, loss});
            };
            const Numbers z = task_affinity(losses, tensor<double>({1, 2}), 0.1);
            CHECK(gap(z, full<double>({3, 3}, at(z, 0))) == 0);
            CHECK(at(z, 0) == Approx(1 - (5 * 0.64 + 1) / 6).epsilon(1e-14));
          }},
         {"steps in the shared parameters only",
          [] {
            const Numbers x = randn<double>({7, 3}, Random(5));
            const auto losses = branch_losses(x);
            const Branches<double> net = branches<double>(3, 4, Random(6));
            const double eta = 1e-2;
            const Numbers z = task_affinity(losses, net, eta, {"trunk"}), before = losses(net);
            Index place = 0;
            for (Index i = 0; i < 2; ++i) {
              Branches<double> stepped = net;
              stepped.trunk =
                  net.trunk - eta * grad([&](const auto& n) { return slice(losses(n), 0, i, i + 1); }, net).trunk;
              for (Index j = 0; j < 2; ++j)
                CHECK(at(z, place++) == Approx(1 - at(losses(stepped), j) / at(before, j)).epsilon(1e-12));
            }
            // A private head moves with its own task only.
            const Numbers all = task_affinity(losses, net, eta);
            CHECK(at(all, 1) == Approx(at(z, 1)).epsilon(1e-12));
            CHECK(at(all, 0) != at(z, 0));
          }},
         {"planted groups",
          [] {
            const Numbers z = generate({6, 6}, [](Index i, Index j) { return i / 2 == j / 2 ? 1.0 : -1.0; });
            const TaskGroups found = group_tasks(z, 3);
            CHECK(found.affinity == 6);
            CHECK(found.groups.size() == 3);
            for (Index i = 0; i < 6; ++i) {
              const std::vector<Index> pair{i - i % 2, i - i % 2 + 1};
              CHECK(found.groups[found.served_by[i]] == pair);
            }
          }},
         {"the best of all groupings, by trying them",
          [] {
            for (std::uint64_t seed = 0; seed < 6; ++seed)
              for (Index tasks : {2, 3, 4}) {
                const Numbers z = randn<double>({tasks, tasks}, Random(seed)) + (seed < 3 ? 0.5 : -0.5);
                for (Index groups : {1, 2, 3}) {
                  const TaskGroups found = group_tasks(z, groups);
                  CHECK(found.affinity == Approx(greatest(z, groups)).epsilon(1e-12));
                  CHECK(objective_of(z, found.groups) == Approx(found.affinity).epsilon(1e-12));
                  CHECK(static_cast<Index>(found.groups.size()) <= groups);
                }
              }
          }},
         {"a task that helps all is in several groups",
          [] {
            // Tasks 1 and 2 gain from 0, and lose from each other.
            const Numbers z = tensor<double>({{0, 1, 1}, {0.25, 0, -1}, {0.5, -1, 0}});
            const TaskGroups found = group_tasks(z, 2);
            CHECK(found.affinity == 2.5);
            CHECK(found.groups == std::vector<std::vector<Index>>{{0, 2}, {0, 1}});
            CHECK(found.served_by == std::vector<Index>{0, 1, 0});
            CHECK(group_tasks(z, 1).affinity == Approx(0.375 + 0 + 0).margin(1e-15));
          }},
         {"fewer and smaller groups of equal totals, and many tasks",
          [] {
            const TaskGroups found = group_tasks(ones<double>({5, 5}), 5);
            CHECK(found.affinity == 5);
            CHECK(found.groups == std::vector<std::vector<Index>>{{0, 1, 2, 3, 4}});
            const Numbers z = generate({12, 12}, [](Index i, Index j) { return i % 4 == j % 4 ? 1.0 : 0.25; });
            const TaskGroups four = group_tasks(z, 4);
            CHECK(four.affinity == 12);
            CHECK(four.groups.size() == 4);
            CHECK(objective_of(z, four.groups) == 12);
          }}},
}});

}  // namespace
