// Rows of the method table for multitask/ and the protocol's aggregation.

#include <cmath>

#include "aggregators.hpp"
#include "catch.hpp"
#include "graft/multitask.hpp"
#include "graft/multitask/constant.hpp"
#include "graft/protocol/aggregation.hpp"
#include "method_table.hpp"

using namespace graft;

namespace {

/// What the aggregator of that name makes of the gradients.
template <class M>
M combined(const std::vector<M>& gradients, const std::string& name, const Random& random) {
  Aggregator aggregator = aggregators().make(name, static_cast<Index>(gradients.size()));
  return aggregate(gradients, aggregator, random);
}
/// Algorithm 1 on vectors, with the random orders that `pcgrad` documents: task i's is stream i.
Numbers by_the_book(const Numbers& g, const Random& random) {
  const auto tasks = static_cast<std::size_t>(g.size(0)), n = static_cast<std::size_t>(g.size(1));
  const auto at = [&](std::size_t i, std::size_t k) { return g.data()[i * n + k]; };
  std::vector<double> direction(n, 0.0);
  for (std::size_t i = 0; i < tasks; ++i) {
    std::vector<double> p(n);
    for (std::size_t k = 0; k < n; ++k) p[k] = at(i, k);
    for (Index chosen : random.stream(static_cast<std::uint64_t>(i)).permutation(g.size(0))) {
      const auto j = static_cast<std::size_t>(chosen);
      double along = 0, squared = 0;
      for (std::size_t k = 0; k < n; ++k) along += p[k] * at(j, k), squared += at(j, k) * at(j, k);
      if (j == i || along >= 0) continue;
      for (std::size_t k = 0; k < n; ++k) p[k] -= along / squared * at(j, k);
    }
    for (std::size_t k = 0; k < n; ++k) direction[k] += p[k];
  }
  return from_vector(direction);
}

const bool pcgrad_row = add_method_rows({{
    .name = "pcgrad",
    .header = "graft/multitask/pcgrad.hpp",
    .paper = "Yu, Kumar, Gupta, Levine, Hausman, Finn, Gradient surgery for multi-task learning, NeurIPS 2020",
    .functions = {"pcgrad"},
    .use = "aggregators().make(\"pcgrad\", tasks)",
    .run =
        [](const Random& random) {
          return pcgrad(randn<float>({6, 5000}, random.stream("rows")), random);
        },
    .errors = {bad_use<ShapeError>([] { pcgrad(zeros({4}), Random(1)); }, "[4]"),
               bad_use<ShapeError>(
                   [] {
                     pcgrad(zeros({2, 3, 4}), Random(1));
                   },
                   "[2, 3, 4]")},
    .properties =
        {{"the golden rows",
          [] {
            // By hand: <g1, g2> = -22, |g1|^2 = 18, |g2|^2 = 38, so the weights are 1 + 22/18 and 1 + 22/38.
            const Numbers d = pcgrad(golden, Random(1));
            CHECK(gap(d, (1 + 22.0 / 18) * row_of(golden, 0) + (1 + 22.0 / 38) * row_of(golden, 1)) < 1e-14);
            CHECK(gap(d, tensor<double>({0.5848, 3.8012, 3.8012})) < 5e-5);
          }},
         {"Algorithm 1 on vectors gives the same",
          [] {
            for (std::uint64_t seed = 0; seed < 5; ++seed) {
              const Numbers g = random_rows(5, 7, seed);
              CHECK(gap(pcgrad(g, Random(seed)), by_the_book(g, Random(seed))) < 1e-12);
            }
          }},
         {"orthogonal to each conflicting partner for two tasks",
          [] {
            // d = p1 + p2 with p1 at right angles to g2 and p2 to g1, hence <d, g_i> = <p_i, g_i> = |g_i|^2 (1 -
            // cos^2).
            const Numbers d = pcgrad(golden, Random(1));
            const double sine = 1 - 22.0 * 22 / (18.0 * 38);
            CHECK(inner(d, row_of(golden, 0)) == Approx(18 * sine).epsilon(1e-13));
            CHECK(inner(d, row_of(golden, 1)) == Approx(38 * sine).epsilon(1e-13));
          }},
         {"the sum without conflicts",
          [] {
            const Numbers g = abs(random_rows(4, 6, 1));  // in one orthant
            CHECK(gap(pcgrad(g, Random(2)), sum(g, {0})) < 1e-14);
            CHECK(gap(pcgrad(eye<double>(3), Random(2)), ones<double>({3})) == 0);  // right angles are no conflict
            CHECK(gap(pcgrad(slice(g, 0, 0, 1), Random(2)), row_of(g, 0)) == 0);    // one task
          }},
         {"a zero gradient changes nothing",
          [] {
            const Numbers zero = zeros<double>({1, 3});
            for (const Numbers& g : {concat(std::vector{zero, golden}, 0), concat(std::vector{golden, zero}, 0)})
              CHECK(gap(pcgrad(g, Random(1)), pcgrad(golden, Random(1))) == 0);
            CHECK(gap(pcgrad(zeros<double>({2, 3}), Random(1)), zeros<double>({3})) == 0);
          }},
         {"linear under scaling of the tasks",
          [] {
            const Numbers g = random_rows(4, 6, 2), c = tensor<double>({1, 2, 0.5, 4}),
                          more = tensor<double>({3, 0.1, 1, 1});
            const auto d = [&](const Numbers& scales) { return pcgrad(scale_rows(scales, g), Random(6)); };
            CHECK(gap(d(c + more), d(c) + d(more)) < 1e-13);
            CHECK(gap(d(7 * c), 7 * d(c)) < 1e-12);
          }},
         {"two tasks never conflict with their direction",
          [] {
            for (const TestJacobian& test : test_jacobians()) {
              INFO(test.name);
              if (test.rows.size(0) == 2)
                CHECK(never_conflicts(pcgrad_weights(gramian_of(test.rows), Random(1)), test.rows, 1e-12));
            }
          }},
         {"of several tasks the order does not matter on average over the draws",
          [] {
            CHECK(permutes_on_average([](const Numbers& g, const Random& random) { return pcgrad(g, random); },
                                      tensor<double>({{1, 0, 0.1}, {-0.5, 0.8, 0.3}, {-0.5, -0.7, 0.2}})));
          }},
         {"the order of two tasks does not matter",
          [] {
            const Numbers swapped = concat(std::vector{slice(golden, 0, 1, 2), slice(golden, 0, 0, 1)}, 0);
            CHECK(gap(pcgrad(swapped, Random(1)), pcgrad(golden, Random(1))) < 1e-14);
          }},
         {"the random orders come from the stream",
          [] {
            const Numbers g = random_rows(6, 4, 5);
            CHECK(same_bits(pcgrad(g, Random(1)), pcgrad(g, Random(1))));
            bool differs = false;
            for (std::uint64_t seed = 2; seed < 6; ++seed)
              differs |= gap(pcgrad(g, Random(seed)), pcgrad(g, Random(1))) > 1e-9;
            CHECK(differs);
          }},
         {"the direction is a plain number", [] { CHECK_FALSE(pcgrad(variable(golden), Random(1)).tracked()); }}},
}});

/// A model of two parts with the golden rows as gradients.
template <class T>
struct Parts {
  Tensor<T> first;
  std::vector<Tensor<T>> rest;
  GRAFT_FIELDS(first, rest)
};
Parts<double> cut(const Numbers& x) {
  const Numbers flat = reshape(x, {-1});
  return {slice(flat, 0, 0, 1), {reshape(slice(flat, 0, 1, 3), {2, 1})}};
}
const std::vector<Parts<double>> golden_parts{cut(row_of(golden, 0)), cut(row_of(golden, 1))};

const bool mean_row = add_method_rows({{
    .name = "mean",
    .header = "graft/multitask/mean.hpp",
    .paper = "the sum of losses, scaled",
    .functions = {"MeanGradient", "TaskGradients"},
    .use = "aggregators().make(\"mean\", tasks)",
    .run =
        [](const Random& random) {
          TaskGradients gradients(randn<double>({6, 5000}, random.stream("rows")), {}, random);
          return cast<float>(MeanGradient()(gradients).weights);
        },
    .errors = {bad_use<ShapeError>([] { TaskGradients(zeros<double>({4}), {}, Random(1)); }, "[4]"),
               bad_use<ShapeError>(
                   [] {
                     TaskGradients(zeros<double>({4, 2}), zeros<double>({3}), Random(1));
                   },
                   "[3]"),
               bad_use<ValueError>(
                   [] {
                     TaskGradients(zeros<double>({0, 2}), {}, Random(1));
                   },
                   "no tasks")},
    .properties = {{"weights are 1 / tasks",
                    [] {
                      TaskGradients gradients(golden, {}, Random(1));
                      CHECK(same_bits(MeanGradient()(gradients).weights, full<double>({2}, 0.5)));
                    }}},
}});

const bool aggregate_row = add_method_rows({{
    .name = "aggregate",
    .header = "graft/protocol/aggregation.hpp",
    .paper = "Yu et al., NeurIPS 2020, for pcgrad",
    .functions = {"aggregate"},
    .use = "aggregate(gradients, aggregator, random)",
    .run =
        [](const Random& random) {
          std::vector<Parts<float>> gradients;
          for (std::uint64_t task = 0; task < 5; ++task)
            gradients.push_back({randn<float>({40, 50}, random.stream(task)),
                                 {randn<float>({3000}, random.stream(task).stream("rest"))}});
          return to_vector(combined(gradients, "pcgrad", random) + combined(gradients, "mean", random));
        },
    .errors = {bad_use<ValueError>([] { combined(std::vector<Parts<double>>{}, "mean", Random(1)); }, "no gradients"),
               bad_use<ShapeError>(
                   [] {
                     Parts<double> other = golden_parts[0];
                     other.first = zeros<double>({2});
                     combined(std::vector{golden_parts[0], other}, "pcgrad", Random(1));
                   },
                   "first")},
    .properties =
        {{"mean and pcgrad of the golden_parts rows",
          [] {
            CHECK(gap(to_vector(combined(golden_parts, "mean", Random(1))), ones<double>({3})) == 0);
            CHECK(gap(to_vector(combined(golden_parts, "pcgrad", Random(1))), 0.5 * pcgrad(golden, Random(1))) < 1e-15);
          }},
         {"pcgrad equals the mean without conflicts",
          [] {
            const std::vector<Parts<double>> agree{cut(tensor<double>({1, 2, 0})), cut(tensor<double>({0, 1, 4})),
                                                   cut(tensor<double>({3, 0, 0.5}))};
            CHECK(gap(to_vector(combined(agree, "pcgrad", Random(1))), to_vector(combined(agree, "mean", Random(1)))) <
                  1e-15);
          }},
         {"the Gramian that aggregators see is the Jacobian's product, symmetric",
          [] {  // that the Jacobian is not made for it: gramian_test.cpp
            std::vector<Parts<float>> gradients;
            for (std::uint64_t task = 0; task < 4; ++task)
              gradients.push_back({randn<float>({40}, Random(task)), {randn<float>({50, 700}, Random(~task))}});
            for (const std::vector<bool>& shared : {std::vector{true, true}, std::vector{false, true}}) {
              detail::ModelGradients<Parts<float>> tasks(gradients, shared, {}, Random(1));
              const Numbers products = tasks.gramian(), rows = tasks.jacobian();
              // |g_i| |g_j| is about 35 000.
              CHECK(gap(products, matmul(rows, rows, {.transpose_b = true})) < 35000 * 1e-12);
              CHECK(same_bits(products, transpose(products)));
            }
          }},
         {"one gradient is itself",
          [] {
            for (const char* how :
                 {"mean", "sum", "config", "dualproj", "gradvac", "imtl_g", "mgda", "pcgrad", "upgrad"})
              CHECK(gap(to_vector(combined(std::vector{golden_parts[0]}, how, Random(1))), row_of(golden, 0)) == 0);
          }}},
}});

// ---- the sum, and constant weights ----------------------------------------------------------------------------------
const bool sum_row = add_method_rows({{
    .name = "sum",
    .header = "graft/multitask/sum.hpp",
    .paper = "the sum of losses",
    .functions = {"SumGradient", "TaskGradients"},
    .use = "aggregators().make(\"sum\", tasks)",
    .run = [](const Random& random) { return one_round(SumGradient(), random); },
    .errors = {bad_use<ValueError>(
        [] {
          TaskGradients(zeros<double>({0, 2}), {}, Random(1));
        },
        "no tasks")},
    .properties = {{"weights are 1; the golden rows",
                    [] {
                      CHECK(same_bits(weights_by(SumGradient(), golden), ones<double>({2})));
                      CHECK(gap(direction(SumGradient(), golden), full<double>({3}, 2.0)) == 0);
                    }},
                   {"as many times the mean as there are tasks",
                    [] {
                      const Numbers g = random_rows(8, 5, 1);
                      CHECK(same_bits(weights_by(SumGradient(), g), 8.0 * weights_by(MeanGradient(), g)));
                    }}},
}});

const bool constant_row = add_method_rows({{
    .name = "constant",
    .header = "graft/multitask/constant.hpp",
    .paper = "the weighted sum of losses",
    .functions = {"ConstantWeights"},
    .use = "ConstantWeights{{0.7, 0.3}}",
    .run =
        [](const Random& random) {
          return one_round(ConstantWeights{{1, 2, 3, 0, 0.5, 0.1}}, random);
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
                     direction(ConstantWeights{{1, NAN}}, golden);
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
            CHECK(same_bits(weights_by(ConstantWeights{{0.5, 0.5}}, golden), weights_by(MeanGradient(), golden)));
            CHECK(same_bits(weights_by(ConstantWeights{{1, 1}}, golden), weights_by(SumGradient(), golden)));
          }}},
}});

}  // namespace
