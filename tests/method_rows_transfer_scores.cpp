// Rows of the method table for the scores of transfer/, which say how a model will transfer, and for merging.

#include <cmath>

#include "catch.hpp"
#include "gap.hpp"
#include "graft/model/grad.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/linalg.hpp"
#include "graft/ops/softmax.hpp"
#include "graft/transfer/h_score.hpp"
#include "graft/transfer/leep.hpp"
#include "graft/transfer/logme.hpp"
#include "graft/transfer/ties.hpp"
#include "method_table.hpp"
#include "transfer_cases.hpp"

using namespace graft;
using namespace transfer_cases;

namespace {

using Numbers = Tensor<double>;

Tensor<std::int64_t> labels_of(Index items, Index classes) {
  return generate({items}, [&](Index i) { return i % classes; });
}
/// A score as a tensor, for `.run`.
Tensor<float> as_floats(const List<double>& values) {
  return generate({values.size()}, [&](Index i) { return static_cast<float>(values[i]); });
}

// ---- LogME ----------------------------------------------------------------------------------------------------------
/// ln N(y; 0, I / beta + F F' / alpha) / items
double evidence(const Numbers& f, const Numbers& y, double alpha, double beta) {
  const Index n = f.size(0);
  const Numbers covariance = matmul(f, f, {.transpose_b = true}) / alpha + eye<double>(n) / beta;
  const Numbers l = cholesky(covariance);
  double log_determinant = 0;
  for (Index i = 0; i < n; ++i) log_determinant += 2 * std::log(l.at({i, i}));
  const double distance = sum(square(triangular_solve(l, reshape(y, {n, 1})))).item();
  return -0.5 * (log_determinant + distance + static_cast<double>(n) * std::log(2 * M_PI)) / static_cast<double>(n);
}
/// Its largest value over alpha and beta, by search around the best point of ever finer grids.
double best_evidence(const Numbers& f, const Numbers& y) {
  double a = 0, b = 0, best = -INFINITY;
  for (double step = 2; step > 1e-6; step /= 2)
    for (int turn = 0; turn < 3; ++turn) {
      const double at_a = a, at_b = b;
      for (int i = -2; i <= 2; ++i)
        for (int j = -2; j <= 2; ++j) {
          const double value = evidence(f, y, std::exp(at_a + i * step), std::exp(at_b + j * step));
          if (!(value > best)) continue;
          best = value;
          a = at_a + i * step;
          b = at_b + j * step;
        }
    }
  return best;
}
const LogmeOptions kConverged{.iterations = 10000, .tolerance = 1e-13, .floor = 0};

const bool logme_row = add_method_rows({{
    .name = "logme",
    .header = "graft/transfer/logme.hpp",
    .paper = "You, Liu, Wang, Long, LogME: practical assessment of pre-trained models, ICML 2021",
    .functions = {"logme"},
    .use = "logme(features, labels, classes)",
    .run =
        [](const Random& random) {
          const Tensor<float> x = randn<float>({400, 40}, random.stream("x"));
          return as_floats({logme(x, labels_of(400, 5), 5), logme(slice(x, 0, 0, 20), labels_of(20, 2), 2),
                            logme(x, randn<float>({400, 3}, random.stream("y")))});
        },
    .errors = {bad_use<ShapeError>(
                   [] {
                     logme(zeros<double>({3, 2}), zeros<double>({2, 1}));
                   },
                   "[2, 1]"),
               bad_use<ShapeError>(
                   [] {
                     logme(zeros<double>({3, 2}), zeros<std::int64_t>({3, 1}), 2);
                   },
                   "[3, 1]"),
               bad_use<IndexError>(
                   [] {
                     logme(ones<double>({2, 2}), tensor<std::int64_t>({0, 2}), 2);
                   },
                   "label 2 of 2"),
               bad_use<ValueError>(
                   [] {
                     logme(zeros<double>({3, 2}), ones<double>({3, 1}));
                   },
                   "all 0"),
               bad_use<ValueError>(
                   [] {
                     logme(INFINITY * ones<double>({3, 2}), ones<double>({3, 1}));
                   },
                   "not all finite"),
               bad_use<ValueError>(
                   [] {
                     logme(ones<double>({3, 2}), ones<double>({3, 1}), {.iterations = 0});
                   },
                   "iterations is 0"),
               bad_use<ValueError>(
                   [] {
                     logme(ones<double>({3, 2}), ones<double>({3, 1}), {.floor = -1});
                   },
                   "floor is -1")},
    .properties =
        {{"the authors' numbers",
          [] {
            for (const LogmeCase& c : kLogme) CHECK(logme(c.x, c.y, c.classes) == Approx(c.value).epsilon(1e-11));
          }},
         {"the largest evidence over alpha and beta, of more items than numbers and of fewer",
          [] {
            for (const auto& [items, width] : {std::pair<Index, Index>(20, 4), std::pair<Index, Index>(8, 12)}) {
              const Numbers x = randn<double>({items, width}, Random(1));
              const Numbers y = matmul(x, randn<double>({width, 1}, Random(2))) + randn<double>({items, 1}, Random(3));
              CHECK(logme(x, y, kConverged) == Approx(best_evidence(x, y)).epsilon(1e-8));
            }
          }},
         {"a planted linear model: the true features have more evidence than noisy, partial and random ones",
          [] {
            const Numbers x = randn<double>({60, 6}, Random(1));
            const Numbers y = matmul(x, randn<double>({6, 2}, Random(2))) + 0.1 * randn<double>({60, 2}, Random(3));
            const double truth = logme(x, y);
            CHECK(truth > logme(x + 0.5 * randn<double>({60, 6}, Random(4)), y) + 0.1);
            CHECK(truth > logme(slice(x, 1, 0, 4), y) + 0.1);
            CHECK(truth > logme(randn<double>({60, 6}, Random(5)), y) + 0.5);
            CHECK(truth > logme(concat<double>({x, randn<double>({60, 20}, Random(6))}, 1), y));  // needless ones cost
          }},
         {"blind to rotations, to scales, and to doubled directions of no length",
          [] {
            const Numbers x = randn<double>({30, 4}, Random(1));
            const Numbers y = matmul(x, randn<double>({4, 1}, Random(2))) + randn<double>({30, 1}, Random(3));
            const double value = logme(x, y, kConverged);
            const Numbers turn = symmetric_eigen(matmul(x, x, {.transpose_a = true})).vectors;
            CHECK(logme(matmul(x, turn), y, kConverged) == Approx(value).epsilon(1e-10));
            CHECK(logme(1e3 * x, y, kConverged) == Approx(value).epsilon(1e-10));
            CHECK(logme(concat<double>({x, zeros<double>({30, 3})}, 1), y, kConverged) == Approx(value).epsilon(1e-10));
          }}},
}});

// ---- LEEP -----------------------------------------------------------------------------------------------------------
double slow_leep(const Numbers& s, const Tensor<std::int64_t>& y, Index classes) {
  const Index n = s.size(0), of = s.size(1);
  double total = 0;
  for (Index i = 0; i < n; ++i) {
    double chance = 0;
    for (Index z = 0; z < of; ++z) {
      double both = 0, all = 0;
      for (Index j = 0; j < n; ++j) {
        all += s.at({j, z});
        if (y.at({j}) == y.at({i})) both += s.at({j, z});
      }
      if (all > 0) chance += both / all * s.at({i, z});
    }
    total += std::log(chance) / static_cast<double>(n);
  }
  (void)classes;
  return total;
}
const bool leep_row = add_method_rows({{
    .name = "leep",
    .header = "graft/transfer/leep.hpp",
    .paper = "Nguyen, Hassner, Seeger, Archambeau, LEEP, ICML 2020",
    .functions = {"leep", "LeepNeeds"},
    .use = "leep(softmax(source_model(x)), labels, classes)",
    .run =
        [](const Random& random) {
          return grad([](const Tensor<float>& z) { return leep(softmax(z), labels_of(300, 4), 4); },
                      randn<float>({300, 20}, random));
        },
    .loss =
        [](const Numbers& z) {
          return leep(softmax(reshape(z, {6, 3})), labels_of(6, 2), 2);
        },
    .loss_at = randn<double>({18}, Random(3)),
    .errors = {bad_use<ShapeError>(
                   [] {
                     leep(ones<double>({3, 2}), zeros<std::int64_t>({2}), 2);
                   },
                   "[2]"),
               bad_use<ShapeError>(
                   [] {
                     leep(ones<double>({0, 2}), zeros<std::int64_t>({0}), 2);
                   },
                   "[0, 2]"),
               bad_use<IndexError>(
                   [] {
                     leep(ones<double>({1, 1}), tensor<std::int64_t>({2}), 2);
                   },
                   "label 2 of 2"),
               bad_use<ValueError>(
                   [] {
                     leep(ones<double>({1, 2}), tensor<std::int64_t>({0}), 2);
                   },
                   "row 0 of the source is no distribution: its sum is 2"),
               bad_use<ValueError>(
                   [] {
                     leep(tensor<double>({{1.5, -0.5}}), tensor<std::int64_t>({0}), 2);
                   },
                   "row 0")},
    .properties = {{"plain sums",
                    [] {
                      const Numbers s = softmax(2.0 * randn<double>({12, 5}, Random(1)));
                      CHECK(leep(s, labels_of(12, 3), 3).item() ==
                            Approx(slow_leep(s, labels_of(12, 3), 3)).epsilon(1e-13));
                    }},
                   {"0 at most, and 0 where the source's classes tell the labels for sure, several of them for one too",
                    [] {
                      CHECK(leep(softmax(randn<double>({12, 5}, Random(1))), labels_of(12, 3), 3).item() < 0);
                      CHECK(leep(one_hot<double>(labels_of(12, 3), 3), labels_of(12, 3), 3).item() == 0);
                      const Tensor<std::int64_t> finer = labels_of(12, 6);  // class k of three is 2 of six
                      CHECK(leep(one_hot<double>(finer, 7), labels_of(12, 3), 3).item() == 0);
                    }},
                   {"a source that says nothing: minus the entropy of the labels",
                    [] {
                      const Tensor<std::int64_t> y = tensor<std::int64_t>({0, 0, 0, 1});
                      const double entropy = -(0.75 * std::log(0.75) + 0.25 * std::log(0.25));
                      CHECK(leep(full<double>({4, 5}, 0.2), y, 2).item() == Approx(-entropy).epsilon(1e-14));
                    }},
                   {"blind to the names of classes on either side",
                    [] {
                      const Numbers s = softmax(2.0 * randn<double>({12, 5}, Random(1)));
                      const Tensor<std::int64_t> y = labels_of(12, 3), other = 2 - y;
                      const Numbers turned = gather(s, tensor<std::int64_t>({4, 2, 0, 1, 3}), 1);
                      CHECK(leep(turned, other, 3).item() == Approx(leep(s, y, 3).item()).epsilon(1e-14));
                    }}},
}});

// ---- H-score --------------------------------------------------------------------------------------------------------
double slow_h_score(const Numbers& f, const Tensor<std::int64_t>& y, Index classes) {
  const Index n = f.size(0), width = f.size(1);
  const Numbers centred = f - mean(f, {0}, true);
  std::vector<double> rows(n * width);
  for (Index i = 0; i < n; ++i)
    for (Index c = 0; c < width; ++c) {
      double total = 0, count = 0;
      for (Index j = 0; j < n; ++j)
        if (y.at({j}) == y.at({i})) {
          total += centred.at({j, c});
          ++count;
        }
      rows[i * width + c] = total / count;
    }
  const Numbers means = from_vector(rows, {n, width});
  const double less = 1 / static_cast<double>(n - 1);
  const Numbers all = less * matmul(centred, centred, {.transpose_a = true});
  const Numbers between = less * matmul(means, means, {.transpose_a = true});
  (void)classes;
  return sum(solve(all, between) * eye<double>(width)).item();
}
const bool h_score_row = add_method_rows({{
    .name = "h_score",
    .header = "graft/transfer/h_score.hpp",
    .paper = "Bao et al., An information-theoretic approach to transferability, ICIP 2019",
    .functions = {"h_score"},
    .use = "h_score(features, labels, classes)",
    .run =
        [](const Random& random) {
          const Tensor<float> x = randn<float>({400, 40}, random);
          return as_floats({h_score(x, labels_of(400, 5), 5), h_score(x, labels_of(400, 2), 2)});
        },
    .errors = {bad_use<ShapeError>(
                   [] {
                     h_score(zeros<double>({3, 2}), zeros<std::int64_t>({2}), 1);
                   },
                   "[2]"),
               bad_use<IndexError>(
                   [] {
                     h_score(zeros<double>({1, 2}), tensor<std::int64_t>({2}), 2);
                   },
                   "label 2 of 2"),
               bad_use<ValueError>(
                   [] {
                     h_score(zeros<double>({1, 2}), tensor<std::int64_t>({0}), 2);
                   },
                   "class 1 of 2"),
               bad_use<ValueError>(
                   [] {
                     h_score(ones<double>({4, 2}), labels_of(4, 2), 2);
                   },
                   "all features are alike"),
               bad_use<ValueError>(
                   [] {
                     h_score(INFINITY * ones<double>({4, 2}), labels_of(4, 2), 2);
                   },
                   "not all finite"),
               bad_use<ValueError>(
                   [] {
                     h_score(ones<double>({4, 2}), labels_of(4, 2), 2, {.tolerance = -1});
                   },
                   "tolerance is -1")},
    .properties = {{"plain sums, and between 0 and classes - 1",
                    [] {
                      const Numbers x = randn<double>({30, 4}, Random(1));
                      for (const Index classes : {2, 3, 6}) {
                        const double score = h_score(x, labels_of(30, classes), classes);
                        CHECK(score == Approx(slow_h_score(x, labels_of(30, classes), classes)).epsilon(1e-11));
                        CHECK(score > 0);
                        CHECK(score < static_cast<double>(classes - 1));
                      }
                    }},
                   {"classes - 1 where features are their classes', 0 of one class",
                    [] {
                      const Numbers own = gather(randn<double>({4, 6}, Random(1)), labels_of(20, 4));
                      CHECK(h_score(own, labels_of(20, 4), 4) == Approx(3).epsilon(1e-10));
                      CHECK(h_score(own, zeros<std::int64_t>({20}), 1) == Approx(0).margin(1e-12));
                    }},
                   {"blind to invertible maps, shifts of 1e6 and directions without variance",
                    [] {
                      const Numbers x = randn<double>({30, 4}, Random(1));
                      const Tensor<std::int64_t> y = labels_of(30, 3);
                      const double score = h_score(x, y, 3);
                      CHECK(h_score(matmul(x, randn<double>({4, 4}, Random(2))), y, 3) == Approx(score).epsilon(1e-9));
                      CHECK(h_score(x + 1e6, y, 3) == Approx(score).epsilon(1e-8));
                      CHECK(h_score(matmul(x, randn<double>({4, 9}, Random(2))), y, 3) == Approx(score).epsilon(1e-8));
                    }}},
}});

// ---- TIES -----------------------------------------------------------------------------------------------------------
struct One {
  Tensor<double> weight;
  GRAFT_FIELDS(weight)
};
/// What changes of the tasks [tasks, numbers], from 0, are merged to.
Numbers merged(const Numbers& changes, const TiesOptions& o) {
  std::vector<One> models;
  for (Index t = 0; t < changes.size(0); ++t)
    models.push_back({reshape(slice(changes, 0, t, t + 1), {changes.size(1)})});
  return ties(One{zeros<double>({changes.size(1)})}, models, o).weight;
}
const bool ties_row = add_method_rows({{
    .name = "ties",
    .header = "graft/transfer/ties.hpp",
    .paper = "Yadav, Tam, Choshen, Raffel, Bansal, TIES-Merging, NeurIPS 2023",
    .functions = {"ties"},
    .use = "ties(start, {tuned_on_a, tuned_on_b}, {.density = 0.2})",
    .run =
        [](const Random& random) {
          const auto layer = [&](std::uint64_t n) { return Linear<float>(64, 64, random.stream(n)); };
          return to_vector(ties(layer(0), {layer(1), layer(2), layer(3)}));
        },
    .errors = {bad_use<ValueError>([] { ties(One{zeros<double>({2})}, {}); }, "no models"),
               bad_use<ValueError>(
                   [] {
                     merged(zeros<double>({1, 2}), {.density = 1.5});
                   },
                   "density is 1.5"),
               bad_use<ValueError>(
                   [] {
                     merged(zeros<double>({1, 2}), {.lambda = NAN});
                   },
                   "lambda is nan"),
               bad_use<ValueError>(
                   [] {
                     merged(INFINITY * ones<double>({1, 2}), {});
                   },
                   "not finite"),
               bad_use<ShapeError>([] { ties(One{zeros<double>({2})}, {One{zeros<double>({3})}}); },
                                   "shapes of weight differ")},
    .properties =
        {{"PEFT's merged changes",
          [] {
            for (const TiesCase& c : kTies) CHECK(gap(merged(c.changes, {.density = c.density}), c.merged) < 1e-15);
          }},
         {"trimmed, elected, and the mean of those that agree, by hand",
          [] {
            const Numbers changes = tensor<double>({{4, 1, -3, 0.5}, {2, -5, -1, 0.5}});
            // The two largest of each: (4, 0, -3, 0) and (2, -5, 0, 0).
            CHECK(same_bits(merged(changes, {.density = 0.5}), tensor<double>({3, -5, -3, 0})));
            CHECK(same_bits(merged(changes, {.density = 0.5, .lambda = 2}), tensor<double>({6, -10, -6, 0})));
            // All of them: 1 and -5 elect minus, -3 and -1 agree.
            CHECK(same_bits(merged(changes, {.density = 1}), tensor<double>({3, -5, -2, 0.5})));
          }},
         {"a sum of 0 goes by the sign of most, and equal sizes at the edge by their order",
          [] {
            CHECK(
                same_bits(merged(tensor<double>({{1, 2, 1}, {-1, 2, 1}}), {.density = 1}), tensor<double>({1, 2, 1})));
            CHECK(same_bits(merged(tensor<double>({{1, -2, -1}, {-1, -2, -1}}), {.density = 1}),
                            tensor<double>({-1, -2, -1})));
            CHECK(same_bits(merged(tensor<double>({{1, -1, 1, 1}}), {.density = 0.5}), tensor<double>({1, -1, 0, 0})));
          }},
         {"one task whole is itself; nothing kept, or lambda 0, is the start; copies of a task are one",
          [] {
            const Numbers change = randn<double>({1, 50}, Random(1));
            const Numbers flat = reshape(change, {50});
            CHECK(same_bits(merged(change, {.density = 1}), flat));
            CHECK(same_bits(merged(change, {.density = 0}), zeros<double>({50})));
            CHECK(same_bits(merged(change, {.density = 1, .lambda = 0}), 0.0 * flat + 0.0));
            CHECK(gap(merged(repeat(change, 3), {.density = 0.3}), merged(change, {.density = 0.3})) < 1e-15);
          }},
         {"the start's frozen marks stay, and nothing is tracked",
          [] {
            const One start = freeze(One{ones<double>({3})}, {"weight"});
            CHECK(ties(start, {One{2.0 * ones<double>({3})}}, {.density = 1}).weight.frozen());
          }}},
}});

}  // namespace
