// Rows of the method table for zero-shot methods of pretrain/ that know classes by attributes.

#include <cmath>
#include <string>

#include "catch.hpp"
#include "graft/evaluate/metrics.hpp"
#include "graft/model/grad.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/losses.hpp"
#include "graft/ops/map.hpp"
#include "graft/pretrain/ale.hpp"
#include "graft/pretrain/attribute_prediction.hpp"
#include "graft/pretrain/devise.hpp"
#include "graft/pretrain/eszsl.hpp"
#include "method_table.hpp"
#include "zero_shot_classes.hpp"

using namespace zero_shot_classes;

namespace {

/// Classes of which the first `seen` are.
template <class T>
ZeroShotClasses<T> first_seen(const Tensor<T>& signatures, Index seen) {
  return {signatures, generate({signatures.size(0)}, [=](Index c) { return c < seen; })};
}
/// Signatures [2^attributes, attributes] of all combinations of `no` and 1.
Numbers all_combinations(Index attributes, double no) {
  return generate({Index{1} << attributes, attributes}, [=](Index c, Index m) { return c >> m & 1 ? 1.0 : no; });
}

// ---- DAP and IAP

double log_sigmoid(double l) { return -std::log1p(std::exp(-l)); }
/// Of one item and class, by the products of the paper.
double plain_dap(const Numbers& logits, const Numbers& signatures, const Numbers& priors, Index item, Index c) {
  double product = 1;
  for (Index m = 0; m < signatures.size(1); ++m) {
    const double p = 1 / (1 + std::exp(-logits.at({item, m}))), prior = priors.at({m});
    product *= signatures.at({c, m}) == 1 ? p / prior : (1 - p) / (1 - prior);
  }
  return std::log(product);
}
const ZeroShotClasses<double>& some_classes() {
  static const ZeroShotClasses<double> classes = first_seen(all_combinations(3, 0), 5);
  return classes;
}
Labels none() { return zeros<std::int64_t>({2}); }

const bool attribute_row = add_method_rows({{
    .name = "attribute_prediction",
    .header = "graft/pretrain/attribute_prediction.hpp",
    .paper = "Lampert, Nickisch, Harmeling, Attribute-based classification for zero-shot visual object categorization, "
             "TPAMI 2014",
    .functions = {"dap_scores", "iap_scores", "iap_attributes", "attribute_loss", "attribute_priors",
                  "AttributePrediction", "ZeroShotClasses"},
    .use = "dap_scores(net(x), classes.signatures)",
    .run =
        [](const Random& random) {
          static const ZeroShotClasses<float> classes = first_seen(cast<float>(all_combinations(6, 0)), 40);
          const Tensor<float> x = randn<float>({300, 40}, random);
          return iap_scores(x, classes) + dap_scores(slice(x, 1, 0, 6), classes.signatures, attribute_priors(classes));
        },
    .loss =
        [](const Numbers& p) {
          const ZeroShotClasses<double>& classes = some_classes();
          const Numbers logits = reshape(slice(p, 0, 0, 12), {4, 3}), of_classes = reshape(slice(p, 0, 12, 32), {4, 5});
          return attribute_loss(logits, in_turn(4, 5), classes) +
                 cross_entropy(dap_scores(logits, classes.signatures), in_turn(4, 8)) +
                 cross_entropy(iap_scores(of_classes, classes, attribute_priors(classes)), in_turn(4, 8));
        },
    .loss_at = randn<double>({32}, Random(6)),
    .errors = {bad_use<ShapeError>(
                   [] {
                     dap_scores(zeros<double>({2, 3}), zeros<double>({4, 5}));
                   },
                   "[4, 5]"),
               bad_use<ShapeError>(
                   [] {
                     dap_scores(zeros<double>({3}), zeros<double>({4, 3}));
                   },
                   "[3]"),
               bad_use<ValueError>(
                   [] {
                     dap_scores(zeros<double>({2, 2}), tensor<double>({{0, 1}, {1, -1}}));
                   },
                   "attribute 1 of class 1 is -1"),
               bad_use<ValueError>(
                   [] {
                     dap_scores(zeros<double>({2, 2}), ones<double>({1, 2}), tensor<double>({0.5, 1}));
                   },
                   "prior of attribute 1 is 1"),
               bad_use<ShapeError>(
                   [] {
                     dap_scores(zeros<double>({2, 2}), ones<double>({1, 2}), tensor<double>({0.5}));
                   },
                   "[1]"),
               bad_use<ShapeError>(
                   [] {
                     iap_attributes(zeros<double>({2, 4}), ones<double>({3, 2}));
                   },
                   "[3, 2]"),
               bad_use<ShapeError>(
                   [] {
                     attribute_loss(zeros<double>({2, 4}), none(), some_classes());
                   },
                   "[2, 4]"),
               bad_use<ValueError>(
                   [] {
                     attribute_loss(zeros<double>({2, 3}), tensor<std::int64_t>({0, 6}), some_classes());
                   },
                   "training item 1 is of class 6, which is unseen"),
               bad_use<IndexError>(
                   [] {
                     attribute_loss(zeros<double>({2, 3}), tensor<std::int64_t>({0, 8}), some_classes());
                   },
                   "label 8 of 8"),
               bad_use<ValueError>(
                   [] {
                     attribute_priors(first_seen(full<double>({2, 1}, 3.0), 1));
                   },
                   "is 3"),
               bad_use<ShapeError>(
                   [] {
                     ZeroShotClasses<double>(zeros<double>({3, 2}), ones<bool>({4}));
                   },
                   "[4]"),
               bad_use<ValueError>(
                   [] {
                     ZeroShotClasses<double>(full<double>({3, 2}, INFINITY), ones<bool>({3}));
                   },
                   "attribute 0 of class 0 is inf"),
               bad_use<ValueError>(
                   [] {
                     ZeroShotClasses<double>(zeros<double>({3, 2}), zeros<bool>({3}));
                   },
                   "none of 3")},
    .properties = {{"DAP is the paper's product, with priors and without",
                    [] {
                      const Numbers logits = 2 * randn<double>({4, 3}, Random(1)), signatures = all_combinations(3, 0);
                      const Numbers priors = tensor<double>({0.2, 0.5, 0.9});
                      const Numbers with = dap_scores(logits, signatures, priors),
                                    without = dap_scores(logits, signatures);
                      for (Index i = 0; i < 4; ++i)
                        for (Index c = 0; c < 8; ++c) {
                          CHECK(with.at({i, c}) == Approx(plain_dap(logits, signatures, priors, i, c)).margin(1e-12));
                          CHECK(without.at({i, c}) ==
                                Approx(plain_dap(logits, signatures, full<double>({3}, 0.5), i, c)).margin(1e-12));
                        }
                    }},
                   {"IAP: attributes by the posteriors of the seen classes, then the same product",
                    [] {
                      const ZeroShotClasses<double> classes = first_seen(all_combinations(3, 0), 6);
                      const Numbers logits = randn<double>({4, 6}, Random(2)), priors = attribute_priors(classes);
                      const Numbers scores = iap_scores(logits, classes, priors);
                      for (Index i = 0; i < 4; ++i) {
                        double total = 0;
                        std::vector<double> odds;
                        for (Index k = 0; k < 6; ++k) total += std::exp(logits.at({i, k}));
                        for (Index m = 0; m < 3; ++m) {
                          double p = 0;
                          for (Index k = 0; k < 6; ++k)
                            p += std::exp(logits.at({i, k})) / total * classes.signatures.at({k, m});
                          odds.push_back(std::log(p / (1 - p)));
                        }
                        for (Index c = 0; c < 8; ++c)
                          CHECK(scores.at({i, c}) ==
                                Approx(plain_dap(reshape(from_vector(odds), {1, 3}), classes.signatures, priors, 0, c))
                                    .margin(1e-12));
                      }
                    }},
                   {"exact attributes and distinct signatures: all right, by numbers without end too",
                    [] {
                      const Numbers signatures = all_combinations(5, 0);
                      const auto truth = arange<std::int64_t>(32);
                      CHECK(accuracy(dap_scores(20.0 * (2.0 * signatures - 1.0), signatures), truth) == 1);
                      const Numbers sure = INFINITY * (2.0 * signatures - 1.0);
                      CHECK(accuracy(dap_scores(sure, signatures), truth) == 1);
                    }},
                   {"an attribute of probability 1/2 adds the same to all classes",
                    [] {
                      const Numbers signatures = all_combinations(3, 0);
                      const Numbers logits = randn<double>({4, 3}, Random(1)) * tensor<double>({1, 0, 1});
                      const Numbers all = dap_scores(logits, signatures);
                      const auto others = tensor<std::int64_t>({0, 2});
                      // ln (1/2) less the prior's ln (1/2): 0
                      CHECK(distance(all, dap_scores(gather(logits, others, 1), gather(signatures, others, 1))) <
                            1e-13);
                    }},
                   {"of two classes that differ in one attribute, the scores differ by its log odds less the prior's",
                    [] {
                      const Numbers logits = randn<double>({4, 3}, Random(1)), priors = tensor<double>({0.2, 0.5, 0.9});
                      const Numbers scores = dap_scores(logits, tensor<double>({{0, 1, 1}, {1, 1, 1}}), priors);
                      for (Index i = 0; i < 4; ++i)
                        CHECK(scores.at({i, 1}) - scores.at({i, 0}) ==
                              Approx(logits.at({i, 0}) - std::log(0.2 / 0.8)).margin(1e-12));
                    }},
                   {"no overflow: log odds of a thousand stay themselves",
                    [] {
                      const Numbers scores = dap_scores(tensor<double>({{1000, -1000}}), all_combinations(2, 0));
                      CHECK(scores.at({0, 1}) == Approx(2 * std::log(2)).margin(1e-9));
                      CHECK(scores.at({0, 2}) == Approx(2 * std::log(2) - 2000).epsilon(1e-12));
                    }},
                   {"IAP is sure of what all seen classes have, and finite",
                    [] {
                      const Numbers seen = tensor<double>({{1, 0, 1}, {1, 1, 0}});
                      const Numbers odds = iap_attributes(randn<double>({3, 2}, Random(1)), seen);
                      for (Index i = 0; i < 3; ++i) CHECK(odds.at({i, 0}) == Approx(1e4));
                      CHECK(std::isfinite(sum(dap_scores(odds, all_combinations(3, 0))).item()));
                    }},
                   {"the loss is the cross-entropy of each attribute; priors are means of the seen",
                    [] {
                      const ZeroShotClasses<double> classes = first_seen(all_combinations(3, 0), 3);  // 000, 100, 010
                      const Numbers logits = randn<double>({4, 3}, Random(1));
                      const Labels labels = in_turn(4, 3);
                      double expected = 0;
                      for (Index i = 0; i < 4; ++i)
                        for (Index m = 0; m < 3; ++m)
                          expected -= log_sigmoid((i % 3 >> m & 1 ? 1 : -1) * logits.at({i, m})) / 12;
                      CHECK(attribute_loss(logits, labels, classes).item() == Approx(expected).epsilon(1e-13));
                      CHECK(distance(attribute_priors(classes), tensor<double>({1 / 3.0, 1 / 3.0, 0.5})) < 1e-15);
                    }}},
}});

// ---- ESZSL

/// Items [8 classes, 6] times `each` with noise of a planted map, of 12 classes by 4 attributes, 8 of them seen.
struct Planted {
  Numbers x;
  Labels labels;
  ZeroShotClasses<double> classes;
  Numbers map;
};
Planted planted(Index items, double noise) {
  const ZeroShotClasses<double> classes = first_seen(randn<double>({12, 4}, Random(11)), 8);
  const Labels labels = in_turn(items, 8);
  const Numbers map = randn<double>({4, 6}, Random(12));
  return {matmul(gather(classes.signatures, labels), map) + noise * randn<double>({items, 6}, Random(13)), labels,
          classes, map};
}
/// Items with noise of all combinations of signs with an odd number of ones; the others are unseen.
Planted planted_signs(Index attributes, Index items, double noise) {
  const Numbers signs = all_combinations(attributes, -1);
  const auto odd =
      generate({signs.size(0)}, [](Index c) { return __builtin_popcountll(static_cast<std::uint64_t>(c)) % 2 == 1; });
  const ZeroShotClasses<double> classes(signs, odd);
  const Labels labels = gather(classes.seen_places(), in_turn(items, classes.seen_classes()));
  const Numbers map = randn<double>({attributes, 6}, Random(12));
  return {matmul(gather(signs, labels), map) + noise * randn<double>({items, 6}, Random(13)), labels, classes, map};
}
Numbers targets(const Labels& labels, Index classes, double others) {
  return others + (1 - others) * one_hot<double>(labels, classes);
}

const bool eszsl_row = add_method_rows({{
    .name = "eszsl",
    .header = "graft/pretrain/eszsl.hpp",
    .paper = "Romera-Paredes, Torr, An embarrassingly simple approach to zero-shot learning, ICML 2015",
    .functions = {"eszsl", "choose_eszsl", "EszslOptions", "EszslChoice", "EszslChoiceOptions", "cholesky_solve",
                  "ZeroShotClasses", "Compatibility"},
    .use = "eszsl(x, labels, classes)(queries, classes.signatures)",
    .run =
        [](const Random& random) {
          static const ZeroShotClasses<float> classes = first_seen(randn<float>({50, 20}, Random(1)), 40);
          const Tensor<float> x = randn<float>({800, 40}, random);
          return eszsl(x, in_turn(800, 40), classes)(x, classes.signatures);
        },
    .loss =
        [](const Numbers& p) {
          const ZeroShotClasses<double> classes = first_seen(randn<double>({4, 2}, Random(1)), 3);
          const Numbers x = reshape(p, {8, 3});
          return cross_entropy(eszsl(x, in_turn(8, 3), classes, {.gamma = 0.3, .lambda = 0.5})(x, classes.signatures),
                               in_turn(8, 4));
        },
    .loss_at = randn<double>({24}, Random(6)),
    .errors = {bad_use<ShapeError>(
                   [] {
                     eszsl(zeros<double>({3, 2}), none(), some_classes());
                   },
                   "[3, 2]"),
               bad_use<ShapeError>(
                   [] {
                     eszsl(zeros<double>({0, 2}), zeros<std::int64_t>({0}), some_classes());
                   },
                   "[0, 2]"),
               bad_use<ValueError>(
                   [] {
                     eszsl(ones<double>({2, 2}), tensor<std::int64_t>({1, 7}), some_classes());
                   },
                   "training item 1 is of class 7, which is unseen"),
               bad_use<IndexError>(
                   [] {
                     eszsl(ones<double>({2, 2}), tensor<std::int64_t>({1, -1}), some_classes());
                   },
                   "label -1"),
               bad_use<ValueError>(
                   [] {
                     eszsl(ones<double>({2, 2}), none(), some_classes(), {.gamma = -1});
                   },
                   "gamma is -1"),
               bad_use<ValueError>(
                   [] {
                     eszsl(tensor<double>({{1, 0}, {2, 0}}), none(), some_classes(), {.gamma = 0});
                   },
                   "not positive definite"),
               bad_use<ValueError>(
                   [] {
                     choose_eszsl(ones<double>({2, 2}), none(), some_classes(), Random(1));
                   },
                   "1 seen classes have items"),
               bad_use<ValueError>(
                   [] {
                     choose_eszsl(ones<double>({2, 2}), none(), some_classes(), Random(1), {.lowest = 2, .highest = 1});
                   },
                   "exponents 2 to 1"),
               bad_use<ShapeError>(
                   [] {
                     Compatibility<double>(2, 3, Random(1))(ones<double>({2, 2}), ones<double>({4, 2}));
                   },
                   "[4, 2]"),
               bad_use<ValueError>([] { Compatibility<double>(0, 3, Random(1)); }, "of 0 numbers")},
    .properties = {{"signatures that are the unit vectors, lambda 0: ridge regression to the labels",
                    [] {
                      const ZeroShotClasses<double> classes(eye<double>(5), ones<bool>({5}));
                      const Numbers x = randn<double>({40, 6}, Random(1));
                      const Labels labels = in_turn(40, 5);
                      const Numbers found = eszsl(x, labels, classes, {.gamma = 0.7, .lambda = 0}).weight;
                      const Numbers ridge = solve(matmul(x, x, {.transpose_a = true}) + 0.7 * eye<double>(6),
                                                  matmul(x, targets(labels, 5, -1), {.transpose_a = true}));
                      CHECK(distance(found, ridge) < 1e-12);
                    }},
                   {"the gradient of the regularised objective is 0 at V, and it is the least",
                    [] {
                      const Planted p = planted(60, 0.5);
                      const double gamma = 0.3, lambda = 2;
                      const Numbers s = p.classes.seen_signatures(), y = targets(p.labels, 8, -1);
                      const auto objective = [&](const Numbers& v) {
                        const Numbers xv = matmul(p.x, v), vs = matmul(v, s, {.transpose_b = true});
                        return sum(square(matmul(xv, s, {.transpose_b = true}) - y)) + gamma * sum(square(vs)) +
                               lambda * sum(square(xv)) + gamma * lambda * sum(square(v));
                      };
                      const Numbers v = eszsl(p.x, p.labels, p.classes, {gamma, lambda}).weight;
                      CHECK(max(abs(grad(objective, v))).item() < 1e-8);
                      CHECK(max(abs(grad(objective, 1.01 * v))).item() > 1e-2);
                      CHECK(objective(v).item() < objective(v + 1e-3 * randn<double>(v.shape(), Random(1))).item());
                    }},
                   {"a planted map x = s A comes back: V = A^-1 (S'S)^-1 for targets 0 and 1 without ridges",
                    [] {
                      const ZeroShotClasses<double> classes = first_seen(randn<double>({9, 4}, Random(1)), 7);
                      const Numbers map = randn<double>({4, 4}, Random(2)), s = classes.seen_signatures();
                      const Labels labels = in_turn(70, 7);
                      const Numbers x = matmul(gather(classes.signatures, labels), map);
                      const Numbers v = eszsl(x, labels, classes, {.gamma = 0, .lambda = 0, .others = 0}).weight;
                      const Numbers back = matmul(map, v);  // (S'S)^-1
                      CHECK(distance(matmul(back, matmul(s, s, {.transpose_a = true})), eye<double>(4)) < 1e-9);
                    }},
                   {"and knows classes that it has not seen",
                    [] {
                      // Combinations of four signs with an odd number of ones: S'S = 8 I, and they sum to 0. V is
                      // then A^+ / 4, and scores are the products of signatures, 4 of the own class, 2 of the next.
                      const Planted p = planted_signs(4, 160, 1e-3);
                      const auto found = eszsl(p.x, p.labels, p.classes, {.gamma = 1e-3, .lambda = 1e-3});
                      const Labels unseen = gather(nonzero(!p.classes.seen), in_turn(40, 8));
                      CHECK(accuracy(found(matmul(gather(p.classes.signatures, unseen), p.map), p.classes.signatures),
                                     unseen) == 1);
                    }},
                   {"more ridge, smaller maps, to nothing",
                    [] {
                      const Planted p = planted(60, 0.5);
                      double last = 1e300;
                      for (const double ridge : {1e-3, 1.0, 1e3, 1e6, 1e9}) {
                        const double size = norm(eszsl(p.x, p.labels, p.classes, {ridge, ridge}).weight).item();
                        CHECK(size < last);
                        last = size;
                      }
                      CHECK(last < 1e-12);
                    }},
                   {"gamma and lambda are chosen by seen classes alone, and no pair tried is better on those held out",
                    [] {
                      const Planted p = planted_signs(5, 160, 2);
                      const EszslChoice chosen = choose_eszsl(p.x, p.labels, p.classes, Random(5));
                      const Numbers other = where(reshape(p.classes.seen, {32, 1}), p.classes.signatures,
                                                  1e3 * randn<double>({32, 5}, Random(7)));
                      const EszslChoice again = choose_eszsl(p.x, p.labels, {other, p.classes.seen}, Random(5));
                      CHECK(again.accuracy == chosen.accuracy);
                      CHECK(again.options.gamma == chosen.options.gamma);
                      CHECK(again.options.lambda == chosen.options.lambda);
                      CHECK(chosen.accuracy > 0.4);  // of three or four held-out classes
                      for (int e = -3; e <= 3; ++e)
                        CHECK(choose_eszsl(p.x, p.labels, p.classes, Random(5), {.lowest = e, .highest = e}).accuracy <=
                              chosen.accuracy * (1 + 1e-12));
                    }},
                   {"without noise the classes held out are all found",
                    [] {
                      const Planted p = planted_signs(5, 160, 0.001);
                      CHECK(choose_eszsl(p.x, p.labels, p.classes, Random(5)).accuracy > 0.95);
                    }}},
}});

// ---- ranking losses

template <template <class> class Method>
double loss_of(const Method<double>& method, const Planted& p) {
  return method.loss(p.x, p.labels, p.classes).item();
}
/// The sorted hinges of an item's other seen classes, and the differences of their signatures with the own one.
template <class F>
void each_hinge(const Numbers& scores, const Labels& labels, double margin, F visit) {
  for (Index i = 0; i < scores.size(0); ++i)
    for (Index j = 0; j < scores.size(1); ++j) {
      const Index own = labels.at({i});
      if (j != own) visit(i, j, std::max(0.0, margin + scores.at({i, j}) - scores.at({i, own})));
    }
}

const bool devise_row = add_method_rows({{
    .name = "devise",
    .header = "graft/pretrain/devise.hpp",
    .paper = "Frome, Corrado, Shlens, Bengio, Dean, Ranzato, Mikolov, DeViSE: a deep visual-semantic embedding model, "
             "NeurIPS 2013",
    .functions = {"Devise", "DeviseOptions", "ZeroShotClasses", "Compatibility"},
    .use = "Devise<>(width, attributes, random).loss(x, labels, classes)",
    .run =
        [](const Random& random) {
          static const ZeroShotClasses<float> classes = first_seen(randn<float>({50, 20}, Random(1)), 40);
          const Tensor<float> x = randn<float>({400, 30}, random.stream("x"));
          const auto loss = [&](const Devise<float>& d) { return d.loss(x, in_turn(400, 40), classes); };
          return grad(loss, Devise<float>(30, 20, random)).map.weight;
        },
    .loss =
        [](const Numbers& p) {
          const ZeroShotClasses<double> classes = first_seen(randn<double>({5, 3}, Random(1)), 4);
          Devise<double> d(4, 3, Random(1));
          d.map.weight = reshape(slice(p, 0, 0, 12), {4, 3});
          return d.loss(reshape(slice(p, 0, 12, 32), {5, 4}), in_turn(5, 4), classes);
        },
    .loss_at = randn<double>({32}, Random(6)),
    .errors =
        {bad_use<ValueError>([] { Devise<double>(2, 3, Random(1), {.margin = -1}); }, "margin is -1"),
         bad_use<ValueError>([] { Devise<double>(0, 3, Random(1)); }, "of 0 numbers"),
         bad_use<ShapeError>(
             [] {
               Devise<double>(2, 3, Random(1)).loss(ones<double>({3, 2}), none(), some_classes());
             },
             "[3, 2]"),
         bad_use<ValueError>(
             [] {
               Devise<double>(2, 3, Random(1)).loss(ones<double>({1, 2}), tensor<std::int64_t>({6}), some_classes());
             },
             "training item 0 is of class 6, which is unseen"),
         bad_use<ShapeError>(
             [] {
               Compatibility<double>(2, 3, Random(1))(ones<double>({2, 5}), ones<double>({4, 3}));
             },
             "[2, 5]")},
    .properties = {{"the sum of hinges over other seen classes, unit signatures, in plain sums; its gradient is sum x "
                    "(s_j - s_y)'",
                    [] {
                      const Planted p = planted(16, 1);
                      const Devise<double> d(6, 4, Random(3));
                      const Numbers s = unit_rows(p.classes.seen_signatures());
                      const Numbers scores = d(p.x, p.classes.seen_signatures());
                      CHECK(distance(scores, matmul(matmul(p.x, d.map.weight), s, {.transpose_b = true})) < 1e-13);
                      double expected = 0;
                      Numbers slope = zeros<double>({6, 4});
                      each_hinge(scores, p.labels, 0.1, [&](Index i, Index j, double hinge) {
                        expected += hinge / 16;
                        if (hinge > 0)
                          slope = slope + matmul(slice(p.x, 0, i, i + 1),
                                                 slice(s, 0, j, j + 1) - slice(s, 0, i % 8, i % 8 + 1),
                                                 {.transpose_a = true}) /
                                              16.0;
                      });
                      CHECK(loss_of(d, p) == Approx(expected).epsilon(1e-13));
                      const auto loss = [&](const Devise<double>& m) { return m.loss(p.x, p.labels, p.classes); };
                      CHECK(distance(grad(loss, d).map.weight, slope) < 1e-12);
                    }},
                   {"zero, with a gradient of zero, when all margins hold",
                    [] {
                      const ZeroShotClasses<double> classes(eye<double>(4), ones<bool>({4}));
                      Devise<double> d(4, 4, Random(1));
                      d.map.weight = 0.2 * eye<double>(4);  // the own score 0.2, others 0
                      const auto loss = [&](const Devise<double>& m) {
                        return m.loss(eye<double>(4), in_turn(4, 4), classes);
                      };
                      CHECK(loss(d).item() == 0);
                      CHECK(max(abs(grad(loss, d).map.weight)).item() == 0);
                      d.map.weight = 0.05 * eye<double>(4);  // three hinges of 0.05 each
                      CHECK(loss(d).item() == Approx(0.15).epsilon(1e-12));
                    }},
                   {"lengths of signatures do not matter, unseen classes neither",
                    [] {
                      const Planted p = planted(16, 1);
                      const Devise<double> d(6, 4, Random(3));
                      const Numbers other = concat<double>(
                          {7.0 * p.classes.seen_signatures(), 1e3 * randn<double>({4, 4}, Random(7))}, 0);
                      CHECK(d.loss(p.x, p.labels, first_seen(other, 8)).item() == Approx(loss_of(d, p)).epsilon(1e-13));
                    }},
                   {"it trains the encoder too",
                    [] {
                      const Planted p = planted(16, 1);
                      const Devise<double> d(6, 4, Random(3));
                      const auto loss = [&](const Numbers& x) { return d.loss(x, p.labels, p.classes); };
                      CHECK(max(abs(grad(loss, p.x))).item() > 0.01);
                    }}},
}});

const bool ale_row = add_method_rows({{
    .name = "ale",
    .header = "graft/pretrain/ale.hpp",
    .paper = "Akata, Perronnin, Harchaoui, Schmid, Label-embedding for image classification, TPAMI 2016; SJE: Akata, "
             "Reed, Walter, Lee, Schiele, CVPR 2015",
    .functions = {"Ale", "AleOptions", "AleRanking", "ZeroShotClasses", "Compatibility"},
    .use = "Ale<>(width, attributes, random).loss(x, labels, classes)",
    .run =
        [](const Random& random) {
          static const ZeroShotClasses<float> classes = first_seen(randn<float>({50, 20}, Random(1)), 40);
          const Tensor<float> x = randn<float>({400, 30}, random.stream("x"));
          const auto loss = [&](const Ale<float>& d) { return d.loss(x, in_turn(400, 40), classes); };
          return grad(loss, Ale<float>(30, 20, random)).map.weight;
        },
    .loss =
        [](const Numbers& p) {
          const ZeroShotClasses<double> classes = first_seen(randn<double>({5, 3}, Random(1)), 4);
          Ale<double> d(4, 3, Random(1));
          d.map.weight = reshape(slice(p, 0, 0, 12), {4, 3});
          return d.loss(reshape(slice(p, 0, 12, 32), {5, 4}), in_turn(5, 4), classes);
        },
    .loss_at = randn<double>({32}, Random(6)),
    .errors = {bad_use<ValueError>([] { Ale<double>(2, 3, Random(1), {.margin = NAN}); }, "margin is nan"),
               bad_use<ValueError>([] { Ale<double>(2, 0, Random(1)); }, "0 attributes"),
               bad_use<ShapeError>(
                   [] {
                     Ale<double>(2, 3, Random(1)).loss(ones<double>({3, 2}), none(), some_classes());
                   },
                   "[3, 2]"),
               bad_use<ValueError>(
                   [] {
                     Ale<double>(2, 3, Random(1)).loss(ones<double>({1, 2}), tensor<std::int64_t>({6}), some_classes());
                   },
                   "training item 0 is of class 6, which is unseen"),
               bad_use<IndexError>(
                   [] {
                     Ale<double>(2, 3, Random(1)).loss(ones<double>({1, 2}), tensor<std::int64_t>({8}), some_classes());
                   },
                   "label 8")},
    .properties = {{"rank weights, the largest hinge, and all alike, in plain sums",
                    [] {
                      const Planted p = planted(16, 1);
                      Ale<double> a(6, 4, Random(3));
                      const Numbers scores = a(p.x, p.classes.seen_signatures());
                      double weighted = 0, largest = 0, all = 0;
                      for (Index i = 0; i < 16; ++i) {
                        double total = 0, most = 0, beta = 0;
                        Index rank = 0;
                        each_hinge(slice(scores, 0, i, i + 1), slice(p.labels, 0, i, i + 1), 1,
                                   [&](Index, Index, double hinge) {
                                     total += hinge;
                                     most = std::max(most, hinge);
                                     rank += hinge > 0;
                                   });
                        for (Index r = 1; r <= rank; ++r) beta += 1 / static_cast<double>(r);
                        if (rank > 0) weighted += beta / static_cast<double>(rank) * total / 16;
                        largest += most / 16;
                        all += total / 16;
                      }
                      CHECK(loss_of(a, p) == Approx(weighted).epsilon(1e-13));
                      a.options.ranking = AleRanking::largest;
                      CHECK(loss_of(a, p) == Approx(largest).epsilon(1e-13));
                      a.options.ranking = AleRanking::sum;
                      CHECK(loss_of(a, p) == Approx(all).epsilon(1e-13));
                    }},
                   {"scores of zero: all 7 others are too near, beta_7 times the margin; the largest 1; the sum 7",
                    [] {
                      const Planted p = planted(16, 1);
                      Ale<double> a(6, 4, Random(3), {.margin = 0.5});
                      a.map.weight = zeros<double>({6, 4});
                      CHECK(
                          loss_of(a, p) ==
                          Approx(0.5 * (1 + 1 / 2.0 + 1 / 3.0 + 1 / 4.0 + 1 / 5.0 + 1 / 6.0 + 1 / 7.0)).epsilon(1e-14));
                      a.options.ranking = AleRanking::largest;
                      CHECK(loss_of(a, p) == 0.5);
                      a.options.ranking = AleRanking::sum;
                      CHECK(loss_of(a, p) == 3.5);
                    }},
                   {"one violator: the three are one",
                    [] {
                      const ZeroShotClasses<double> classes(eye<double>(4), ones<bool>({4}));
                      Ale<double> a(4, 4, Random(1));
                      a.map.weight = 2.0 * eye<double>(4);
                      const Numbers x = tensor<double>({{1, 0.9, 0, -3}});  // 0.8 too near
                      const Labels label = tensor<std::int64_t>({0});
                      for (const AleRanking ranking : {AleRanking::weighted, AleRanking::largest, AleRanking::sum}) {
                        a.options.ranking = ranking;
                        CHECK(a.loss(x, label, classes).item() == Approx(0.8).epsilon(1e-12));
                      }
                    }},
                   {"zero when margins hold; one seen class has no others",
                    [] {
                      const ZeroShotClasses<double> classes(eye<double>(4), ones<bool>({4}));
                      Ale<double> a(4, 4, Random(1));
                      a.map.weight = 1.5 * eye<double>(4);
                      CHECK(a.loss(eye<double>(4), in_turn(4, 4), classes).item() == 0);
                      CHECK(a.loss(ones<double>({2, 4}), none(), first_seen(eye<double>(4), 1)).item() == 0);
                    }},
                   {"unseen classes' signatures do not matter",
                    [] {
                      const Planted p = planted(16, 1);
                      const Ale<double> a(6, 4, Random(3));
                      const Numbers other =
                          concat<double>({p.classes.seen_signatures(), 1e3 * randn<double>({4, 4}, Random(7))}, 0);
                      CHECK(a.loss(p.x, p.labels, first_seen(other, 8)).item() == loss_of(a, p));
                    }}},
}});

}  // namespace
