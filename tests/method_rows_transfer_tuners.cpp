// Rows of the method table for transfer/: ways to tune the parameters that a model has, and heads on its features.

#include <cmath>

#include "catch.hpp"
#include "graft/ops/linalg_spectral.hpp"
#include "graft/transfer/bitfit.hpp"
#include "graft/transfer/fine_tune.hpp"
#include "graft/transfer/l2_sp.hpp"
#include "graft/transfer/linear_probe.hpp"
#include "graft/transfer/lp_ft.hpp"
#include "graft/transfer/setfit.hpp"
#include "tuners.hpp"

using namespace tuners;

namespace {

// ---- Linear probe ---------------------------------------------------------------------------------------------------
/// |gradient| of the objective over the number of items, by plain sums.
double slope_of(const CentredClassifier<double>& c, const Numbers& x, const Tensor<std::int64_t>& y, double lambda) {
  const Index items = x.size(0), width = x.size(1), ways = c.weight.size(0);
  const double n = static_cast<double>(items);
  std::vector<std::vector<double>> g(ways, std::vector<double>(static_cast<std::size_t>(width + 1)));
  for (Index i = 0; i < items; ++i) {
    std::vector<double> z;
    double total = 0;
    for (Index k = 0; k < ways; ++k) {
      double s = c.bias.at({k});
      for (Index j = 0; j < width; ++j) s += c.weight.at({k, j}) * (x.at({i, j}) - c.centre.value.at({j}));
      z.push_back(std::exp(s));
      total += z.back();
    }
    for (Index k = 0; k < ways; ++k) {
      const double d = z[k] / total - (y.at({i}) == k ? 1 : 0);
      for (Index j = 0; j < width; ++j) g[k][j] += d * (x.at({i, j}) - c.centre.value.at({j})) / n;
      g[k][width] += d / n;
    }
  }
  double squares = 0;
  for (Index k = 0; k < ways; ++k)
    for (Index j = 0; j <= width; ++j) {
      const double all = g[k][j] + (j < width ? lambda / n * c.weight.at({k, j}) : 0);
      squares += all * all;
    }
  return std::sqrt(squares);
}
const Tensor<std::int64_t> kMixed = tensor<std::int64_t>({0, 1, 0, 1, 1, 0});
const Numbers kMixedItems = tensor<double>({{0}, {1}, {2}, {3}, {0.5}, {2.5}});  // no threshold parts them

const bool linear_probe_row = add_method_rows({{
    .name = "linear_probe",
    .header = "graft/transfer/linear_probe.hpp",
    .paper = "Kornblith, Shlens, Le, Do better ImageNet models transfer better?, CVPR 2019",
    .functions = {"LinearProbe", "LinearProbeOptions", "logistic_regression"},
    .use = "LinearProbe<>{{.head = {.lambda = 1}}}.adapt(model, support)",
    .run = [](const Random& random) { return adapted_answers(LinearProbe<>(), large(), 64, random); },
    .errors =
        {bad_use<ValueError>([] { LinearProbe<>().adapt(whole(), one_of_three()); },
                             "class 1 of 3 has no support item"),
         bad_use<ValueError>([] { LinearProbe<>{{.head = {.lambda = -1}}}.adapt(whole(), task()); }, "lambda is -1"),
         bad_use<ValueError>([] { LinearProbe<>{{.head = {.lambda = 0}}}.adapt(whole(), task()); },
                             "set lambda above 0"),
         bad_use<ValueError>([] { LinearProbe<>{{.head = {.lambda = 1e-6, .iterations = 1}}}.adapt(whole(), task()); },
                             "after 1 iterations"),
         bad_use<ValueError>([] { logistic_regression(INFINITY * task().x, task().y, 3); }, "not all finite"),
         bad_use<IndexError>([] { logistic_regression(task().x, task().y, 2); }, "label 2 of 2 ways")},
    .properties =
        {{"scikit-learn's weights, biases and chances to 1e-5 of the largest, and its answers",
          [] {
            for (const LogisticCase& c : kLogistic) {
              const auto fit = logistic_regression(c.x, c.y, c.ways, {.lambda = c.lambda});
              const auto& [weight, bias, centre] = fit.classifier;
              const Numbers at_zero = fit.classifier(zeros<double>({1, c.x.size(1)}));
              const double scale = max(abs(c.weight)).item();
              CHECK(gap(weight, c.weight) < 1e-5 * scale);
              CHECK(gap(reshape(at_zero, {c.ways}), c.bias) < 1e-5 * scale);
              CHECK(gap(softmax(fit.classifier(c.x)), c.chances) < 1e-5);
            }
          }},
         {"the gradient's norm by plain sums is below 1e-6, at lambda 1e-6 too",
          [] {
            for (const double lambda : {1e-6, 0.01, 1.0, 100.0}) {
              const auto fit = logistic_regression(task().x, task().y, 3, {.lambda = lambda});
              CHECK(slope_of(fit.classifier, task().x, task().y, lambda) < 1e-6);
              CHECK(fit.gradient_norm == Approx(slope_of(fit.classifier, task().x, task().y, lambda)).margin(1e-12));
            }
          }},
         {"without a penalty where nothing separates the items: the limit of small ones; a large one leaves shares",
          [] {
            const auto none = logistic_regression(kMixedItems, kMixed, 2, {.lambda = 0});
            const auto small = logistic_regression(kMixedItems, kMixed, 2, {.lambda = 1e-7});
            CHECK(gap(none.classifier(kMixedItems), small.classifier(kMixedItems)) < 1e-5);
            const auto large = logistic_regression(
                task().x, slice(concat<std::int64_t>({zeros<std::int64_t>({10}), ones<std::int64_t>({5})}), 0, 0, 15),
                2, {.lambda = 1e9});
            CHECK(softmax(large.classifier(task().x)).at({3, 0}) == Approx(2.0 / 3).epsilon(1e-6));
          }},
         {"a common part of 1e6 changes nothing, and one class has logit 0",
          [] {
            const auto fit = logistic_regression(task().x, task().y, 3);
            const auto far = logistic_regression(task().x + 1e6, task().y, 3);
            CHECK(gap(far.classifier(task().x + 1e6), fit.classifier(task().x)) < 1e-6);
            CHECK(max(abs(logistic_regression(task().x, zeros<std::int64_t>({15}), 1).classifier(task().x))).item() ==
                  0);
          }},
         {"the body keeps its bits",
          [] { CHECK(same_numbers(LinearProbe<>().adapt(whole(), task()).model.body, whole().body)); }}},
}});

// ---- Fine-tuning ----------------------------------------------------------------------------------------------------
const bool fine_tune_row = add_method_rows({{
    .name = "fine_tune",
    .header = "graft/transfer/fine_tune.hpp",
    .paper = "Howard, Ruder, Universal language model fine-tuning for text classification, ACL 2018",
    .functions = {"FineTune", "layer_names", "LayerRates"},
    .use = "TunerMethod{FineTune{{.decay = 0.8, .unfreeze_every = 10}}}.adapt(model, support)",
    .run =
        [](const Random& random) {
          return adapted_answers(TunerMethod{FineTune{{.decay = 0.8, .unfreeze_every = 1}}, few_steps()}, large(), 64,
                                 random);
        },
    .errors =
        joined(tuner_errors(FineTune{}),
               {bad_use<ValueError>([] { TunerMethod{FineTune{{.decay = 0}}}.adapt(whole(), task()); }, "decay is 0"),
                bad_use<ValueError>([] { TunerMethod{FineTune{{.unfreeze_every = -1}}}.adapt(whole(), task()); },
                                    "unfreeze_every is -1"),
                bad_use<ValueError>([] { TunerMethod{FineTune{{.unfreeze_every = 50}}}.adapt(whole(), task()); },
                                    "unfreeze_every 50 leaves the lowest of 3 layers frozen in all of 100 steps"),
                bad_use<ValueError>([] { TunerMethod{FineTune{{.layers = {"body.third"}}}}.adapt(whole(), task()); },
                                    "no parameter is named 'body.third'; there are body.first.weight")}),
    .properties =
        {{"layers are found by their names, from the bottom up",
          [] {
            CHECK(layer_names(whole()) == std::vector<std::string>{"body.first", "body.second", "head"});
            CHECK(layer_names(encoder(true)) == std::vector<std::string>{"layers.0", "layers.1", "norm"});
          }},
         {"the first step of AdamW is the rate times decay^l in layer l from the top",
          [] {
            const auto after = [](double decay) {
              return TunerMethod{FineTune{{.decay = decay}}, {.alpha = 1e-3, .steps = 1, .batch = 0}}
                  .adapt(whole(), task())
                  .model;
            };
            const PlainNet start{whole().body, after(1).head};
            const auto moved = [](const Linear<double>& a, const Linear<double>& b) {
              return max(abs(a.weight - b.weight)).item();
            };
            for (const double decay : {1.0, 0.8, 0.65}) {
              const PlainNet tuned = after(decay);
              CHECK(moved(tuned.body.second, start.body.second) == Approx(1e-3 * decay).epsilon(1e-4));
              CHECK(moved(tuned.body.first, start.body.first) == Approx(1e-3 * decay * decay).epsilon(1e-4));
              CHECK(same_numbers(tuned.head, start.head));
            }
          }},
         {"unfreezing: layer l from the top moves from step l every on",
          [] {
            const auto after = [](int steps) {
              return TunerMethod{FineTune{{.unfreeze_every = 3}}, {.steps = steps, .batch = 0}}
                  .adapt(whole(), task())
                  .model;
            };
            // Three layers need more than six steps; of fewer, what a longer run has done by then.
            const LayerRates rates(whole(), {.unfreeze_every = 3}, 7);
            const std::vector<double> last = rates(5), all = rates(6);
            CHECK(last == std::vector<double>{0, 0, 1, 1, 1, 1});
            CHECK(all == std::vector<double>(6, 1));
            CHECK(rates(2) == std::vector<double>{0, 0, 0, 0, 1, 1});
            const PlainNet tuned = after(7);
            // In its one step the lowest layer moved by the rate, as an optimiser does that has just begun.
            CHECK(max(abs(tuned.body.first.weight - whole().body.first.weight)).item() == Approx(1e-3).epsilon(1e-4));
            CHECK(max(abs(tuned.body.second.weight - whole().body.second.weight)).item() > 1.5e-3);
            CHECK(trainable_count(tuned) == count(tuned));
          }},
         {"a decay of 1 and no unfreezing are plain AdamW, bit for bit",
          [] {
            const TuningOptions steps{.steps = 5, .batch = 4};
            CHECK(same_numbers(TunerMethod{FineTune{}, steps}.adapt(whole(), task()).model,
                               TunerMethod{L2Sp{{.alpha = 0, .beta = 0}}, steps}.adapt(whole(), task()).model));
          }},
         {"frozen parts stay",
          [] {
            PlainNet start = whole();
            start.body = freeze(start.body, {"first"});
            const PlainNet tuned = TunerMethod{FineTune{{.decay = 0.5}}, few_steps()}.adapt(start, task()).model;
            CHECK(same_numbers(tuned.body.first, start.body.first));
            CHECK_FALSE(same_numbers(tuned.body.second, start.body.second));
          }},
         learns("a task is learned",
                [] {
                  return share_right(
                      TunerMethod{FineTune{{.decay = 0.8, .unfreeze_every = 10}}, many_steps()}.adapt(whole(), task()),
                      task());
                })},
}});

// ---- LP-FT ----------------------------------------------------------------------------------------------------------
/// Features of two linear layers' first: inputs [items, 12] of which a task shows the first four numbers alone.
BodyHead<Linear<double>, Linear<double>> linear_net() {
  return {Linear<double>(12, 20, Random(11), {.bias = false}), Linear<double>(20, 2, Random(12))};
}
/// Labels by a direction of the pre-trained features; `from` and `to`: which inputs are not 0.
LabelledSet<double> in_span(Index from, Index to, Index items, const Random& random) {
  const Numbers x = randn<double>({items, 12}, random) *
                    generate({1, 12}, [&](Index, Index j) { return j >= from && j < to ? 1.0 : 0.0; });
  const Numbers score = matmul(linear_net().body(x), randn<double>({20, 1}, Random(13)));
  return {x, reshape(where(score > 0.0, ones<std::int64_t>({items, 1}), zeros<std::int64_t>({items, 1})), {items})};
}
const bool lp_ft_row = add_method_rows({{
    .name = "lp_ft",
    .header = "graft/transfer/lp_ft.hpp",
    .paper = "Kumar, Raghunathan, Jones, Ma, Liang, Fine-tuning can distort pretrained features, ICLR 2022",
    .functions = {"LpFt", "logistic_regression"},
    .use = "LpFt<>{{.training = {.alpha = 1e-4}}}.adapt(model, support)",
    .run = [](const Random& random) { return adapted_answers(LpFt<>{{.training = few_steps()}}, large(), 64, random); },
    .errors = {bad_use<ValueError>([] { LpFt<>().adapt(whole(), one_of_three()); }, "class 1 of 3"),
               bad_use<ValueError>([] { LpFt<>{{.training = {.steps = -1}}}.adapt(whole(), task()); }, "steps is -1"),
               bad_use<ValueError>([] { LpFt<>{{.head = {.lambda = 0}}}.adapt(whole(), task()); },
                                   "set lambda above 0"),
               bad_use<ValueError>([] { LpFt<>{{.training = {.alpha = 1e200, .steps = 3}}}.adapt(whole(), task()); },
                                   "not finite")},
    .properties =
        {{"without steps it is the linear probe, bit for bit",
          [] {
            CHECK(same_numbers(LpFt<>{{.training = {.steps = 0}}}.adapt(whole(), task()).model,
                               LinearProbe<>().adapt(whole(), task()).model));
          }},
         {"two linear layers: features off the data stay, those on it are distorted less than from a random head",
          [] {
            const LabelledSet<double> seen = in_span(0, 4, 40, Random(14));
            // In proportion to the gradients, as the paper's gradient flow: the usual steps of AdamW have one length.
            const TuningOptions training{.alpha = 10, .steps = 300, .batch = 0, .epsilon = 100};
            const auto start = linear_net();
            const Linear<double> plain = TunerMethod{FineTune{}, training}.adapt(start, seen).model.body;
            const Linear<double> probed =
                LpFt<>{{.head = {.lambda = 0.01}, .training = training}}.adapt(start, seen).model.body;
            // The gradient of the first layer is 0 where no input is.
            CHECK(gap(slice(plain.weight, 1, 4, 12), slice(start.body.weight, 1, 4, 12)) == 0);
            CHECK(gap(slice(probed.weight, 1, 4, 12), slice(start.body.weight, 1, 4, 12)) == 0);
            const auto distortion = [&](const Linear<double>& l) {
              return sum(square(l.weight - start.body.weight)).item();
            };
            INFO(distortion(probed) << " " << distortion(plain));
            CHECK(distortion(probed) > 0);
            CHECK(distortion(probed) < 0.5 * distortion(plain));
          }},
         learns("a task is learned",
                [] { return share_right(LpFt<>{{.training = many_steps()}}.adapt(whole(), task()), task()); })},
}});

// ---- BitFit ---------------------------------------------------------------------------------------------------------
struct NoBias {
  Tensor<double> weight;
  GRAFT_FIELDS(weight)
  Numbers operator()(const Numbers& x) const { return matmul(x, weight, {.transpose_b = true}); }
};
const bool bitfit_row = add_method_rows({{
    .name = "bitfit",
    .header = "graft/transfer/bitfit.hpp",
    .paper = "Ben Zaken, Goldberg, Ravfogel, BitFit: simple parameter-efficient fine-tuning, ACL 2022",
    .functions = {"bitfit", "BitFit"},
    .use = "bitfit(model)",
    .run =
        [](const Random& random) {
          return adapted_answers(TunerMethod{BitFit{}, few_steps()}, large(), 64, random);
        },
    .errors = joined(tuner_errors(BitFit{}), {bad_use<ValueError>(
                                                 [] {
                                                   bitfit(NoBias{ones<double>({2, 2})});
                                                 },
                                                 "is a bias; there are weight")}),
    .properties = {{"all else keeps its bits, the biases do not",
                    [] {
                      const PlainNet tuned = TunerMethod{BitFit{}, few_steps()}.adapt(whole(), task()).model;
                      CHECK(same_bits(tuned.body.first.weight, whole().body.first.weight));
                      CHECK(same_bits(tuned.body.second.weight, whole().body.second.weight));
                      CHECK(gap(*tuned.body.first.bias, *whole().body.first.bias) > 1e-3);
                      CHECK(gap(*tuned.body.second.bias, *whole().body.second.bias) > 1e-3);
                    }},
                   {"in a Transformer: attention, perceptron and norms have biases",
                    [] { CHECK(trainable_count(bitfit(encoder(true, 1))) == 24 + 8 + 12 + 8 + 3 * 8); }},
                   learns("a task is learned",
                          [] {
                            return share_right(TunerMethod{BitFit{}, many_steps()}.adapt(whole(), task()), task());
                          })},
}});

// ---- L2-SP ----------------------------------------------------------------------------------------------------------
struct OldNew {
  Tensor<double> body, head;
  GRAFT_FIELDS(body, head)
};
const bool l2_sp_row = add_method_rows({{
    .name = "l2_sp",
    .header = "graft/transfer/l2_sp.hpp",
    .paper = "Li, Grandvalet, Davoine, Explicit inductive bias for transfer learning, ICML 2018",
    .functions = {"l2_sp", "L2Sp"},
    .use = "loss + l2_sp(model, start, {.alpha = 0.1, .beta = 0.01})",
    .run =
        [](const Random& random) {
          return adapted_answers(TunerMethod{L2Sp{}, few_steps()}, large(), 64, random);
        },
    .loss =
        [](const Numbers& x) {
          const OldNew start{ones<double>({3}), zeros<double>({2})};
          return l2_sp(from_vector(x, start), start);
        },
    .loss_at = randn<double>({5}, Random(3)),
    .errors = joined(
        tuner_errors(L2Sp{}),
        {bad_use<ValueError>([] { l2_sp(whole(), whole(), {.alpha = -1}); }, "alpha is -1"),
         bad_use<ValueError>([] { l2_sp(whole(), whole(), {.beta = NAN}); }, "beta is nan"),
         bad_use<ValueError>([] { l2_sp(whole(), whole(), {.fresh = {"tail"}}); }, "no parameter is named 'tail'"),
         bad_use<ShapeError>([] { l2_sp(two_layers<double>(4, 5, 3), two_layers<double>(4, 6, 3), {.fresh = {}}); },
                             "shapes of first.weight differ")}),
    .properties = {{"quadratic loss: w = (H w* + alpha w0) / (H + alpha), new ones H v* / (H + beta)",
                    [] {
                      const Numbers h = tensor<double>({0.5, 1, 4}), best = tensor<double>({1, -2, 3});
                      const OldNew start{tensor<double>({2, 2, 2}), tensor<double>({0.5, -1, 1})};
                      const L2SpOptions o{.alpha = 0.7, .beta = 0.3};
                      const auto loss = [&](const OldNew& m) {
                        return sum(0.5 * h * (square(m.body - best) + square(m.head - best))) + l2_sp(m, start, o);
                      };
                      const OldNew end = descend(loss, start, {.alpha = 0.2, .steps = 400});
                      CHECK(gap(end.body, (h * best + 0.7 * start.body) / (h + 0.7)) < 1e-12);
                      CHECK(gap(end.head, h * best / (h + 0.3)) < 1e-12);
                    }},
                   {"weights of 0 leave their terms out, bit for bit",
                    [] {
                      const TuningOptions steps{.steps = 5, .batch = 4};
                      const auto tuned = [&](double alpha, double beta) {
                        return TunerMethod{L2Sp{{.alpha = alpha, .beta = beta}}, steps}.adapt(whole(), task()).model;
                      };
                      CHECK(same_numbers(tuned(0, 0), TunerMethod{FineTune{}, steps}.adapt(whole(), task()).model));
                      CHECK_FALSE(same_numbers(tuned(10, 0), tuned(0, 0)));
                      const OldNew model{tensor<double>({3}), tensor<double>({INFINITY})},
                          start{tensor<double>({1}), tensor<double>({0})};
                      CHECK(l2_sp(model, start, {.alpha = 1, .beta = 0}).item() == 2);
                    }},
                   {"a strong pull keeps the model where it was",
                    [] {
                      const PlainNet tuned =
                          TunerMethod{L2Sp{{.alpha = 1e4}}, {.alpha = 1e-4, .steps = 100, .batch = 0}}
                              .adapt(whole(), task())
                              .model;
                      CHECK(largest_change(tuned.body, whole().body) < 1e-3);
                    }}},
}});

// ---- SetFit ---------------------------------------------------------------------------------------------------------
const bool setfit_row = add_method_rows({{
    .name = "setfit",
    .header = "graft/transfer/setfit.hpp",
    .paper = "Tunstall et al., Efficient few-shot learning without prompts, 2022",
    .functions = {"SetFit", "setfit_pairs", "setfit_loss", "logistic_regression"},
    .use = "SetFit<>{{.rounds = 20, .alpha = 1e-3}}.adapt(model, support)",
    .run =
        [](const Random& random) {
          return adapted_answers(SetFit<>{{.rounds = 1, .alpha = 1e-3}}, large(), 64, random);
        },
    .loss =
        [](const Numbers& x) {
          return setfit_loss(reshape(slice(x, 0, 0, 6), {2, 3}), reshape(slice(x, 0, 6, 12), {2, 3}),
                             tensor<std::int64_t>({1, 0}));
        },
    .loss_at = randn<double>({12}, Random(3)),
    .errors = {bad_use<ValueError>([] { SetFit<>().adapt(whole(), one_of_three()); }, "class 1 of 3"),
               bad_use<ValueError>([] { SetFit<>{{.rounds = 0}}.adapt(whole(), task()); }, "rounds is 0"),
               bad_use<ValueError>([] { SetFit<>{{.batch = 0}}.adapt(whole(), task()); }, "batch is 0"),
               bad_use<ValueError>([] { SetFit<>{{.epochs = -1}}.adapt(whole(), task()); }, "epochs is -1"),
               bad_use<ValueError>(
                   [] {
                     SetFit<>().adapt(whole(), LabelledSet<double>{INFINITY * task().x, task().y});
                   },
                   "not finite"),
               bad_use<ValueError>(
                   [] {
                     setfit_pairs(tensor<std::int64_t>({0, -1}), 1, Random(1));
                   },
                   "label -1"),
               bad_use<ShapeError>(
                   [] {
                     setfit_pairs(zeros<std::int64_t>({2, 2}), 1, Random(1));
                   },
                   "[2, 2]"),
               bad_use<ShapeError>(
                   [] {
                     setfit_loss(zeros<double>({2, 3}), zeros<double>({2, 3}), zeros<std::int64_t>({3}));
                   },
                   "alike [pairs]")},
    .properties =
        {{"each item has a partner of its class and one of another, every round",
          [] {
            const Tensor<std::int64_t> labels = tensor<std::int64_t>({0, 0, 1, 1, 1, 2});
            const ItemPairs pairs = setfit_pairs(labels, 50, Random(1));
            CHECK(pairs.first.count() == 50 * 6 * 2);
            Index times[6][6] = {};
            for (Index p = 0; p < pairs.first.count(); ++p) {
              const Index i = pairs.first.at({p}), j = pairs.second.at({p});
              CHECK((labels.at({i}) == labels.at({j})) == (pairs.alike.at({p}) == 1));
              CHECK((i != j || i == 5));  // the only one of its class is its own partner
              ++times[i][j];
            }
            CHECK(times[0][1] == 50);
            CHECK(times[2][3] + times[2][4] == 50);
            CHECK(times[2][3] > 10);
            CHECK(times[2][4] > 10);
            CHECK(setfit_pairs(zeros<std::int64_t>({3}), 2, Random(1)).first.count() == 6);  // one class: none unlike
          }},
         {"0 for pairs that are as they should be, 1 for those that are not, blind to lengths",
          [] {
            const Numbers a = eye<double>(3), b = tensor<double>({{2, 0, 0}, {0, 0, 3}, {0, 5, 0}});
            CHECK(setfit_loss(a, b, tensor<std::int64_t>({1, 0, 0})).item() == 0);
            CHECK(setfit_loss(a, b, tensor<std::int64_t>({0, 1, 1})).item() == Approx(1).epsilon(1e-15));
            CHECK(setfit_loss(a, -1.0 * a, tensor<std::int64_t>({1, 1, 1})).item() == Approx(4).epsilon(1e-15));
            CHECK(setfit_loss(zeros<double>({1, 3}), ones<double>({1, 3}), tensor<std::int64_t>({1})).item() == 1);
          }},
         {"without epochs it is the linear probe, bit for bit",
          [] {
            CHECK(same_numbers(SetFit<>{{.epochs = 0}}.adapt(whole(), task()).model,
                               LinearProbe<>().adapt(whole(), task()).model));
          }},
         {"tuning brings the pairs' cosines to where they should be",
          [] {
            const ItemPairs pairs = setfit_pairs(task().y, 1, Random(1));
            const auto loss = [&](const TwoLayers<double>& body) {
              const Numbers f = body(task().x);
              return setfit_loss(gather(f, pairs.first), gather(f, pairs.second), pairs.alike).item();
            };
            const auto tuned = SetFit<>{{.rounds = 10, .alpha = 1e-2}}.adapt(whole(), task());
            CHECK(loss(tuned.model.body) < 0.3 * loss(whole().body));
            CHECK(share_right(tuned, task()) == 1);
          }}},
}});

}  // namespace
