// Rows of the method table for the ways to tune a model of transfer/.

#include <cmath>

#include "catch.hpp"
#include "files.hpp"
#include "gap.hpp"
#include "graft/fewshot/maml.hpp"
#include "graft/io/checkpoint.hpp"
#include "graft/ops/linalg_spectral.hpp"
#include "graft/transfer/adapters.hpp"
#include "graft/transfer/bitfit.hpp"
#include "graft/transfer/dora.hpp"
#include "graft/transfer/fine_tune.hpp"
#include "graft/transfer/ia3.hpp"
#include "graft/transfer/l2_sp.hpp"
#include "graft/transfer/linear_probe.hpp"
#include "graft/transfer/lora.hpp"
#include "graft/transfer/lp_ft.hpp"
#include "graft/transfer/prefix.hpp"
#include "graft/transfer/setfit.hpp"
#include "method_table.hpp"
#include "transfer_cases.hpp"

using namespace graft;
using namespace transfer_cases;

namespace {

using Numbers = Tensor<double>;

// ---- Small models and tasks -----------------------------------------------------------------------------------------
/// second(tanh(first(x)))
template <class T>
struct TwoLayers {
  Linear<T> first, second;
  GRAFT_FIELDS(first, second)
  Tensor<T> operator()(const Tensor<T>& x) const { return second(tanh(first(x))); }
};
template <class T>
TwoLayers<T> two_layers(Index in, Index hidden, Index out) {
  return {Linear<T>(in, hidden, Random(1)), Linear<T>(hidden, out, Random(2))};
}
TwoLayers<double> given_net() {
  TwoLayers<double> net = two_layers<double>(4, 5, 3);
  net.first.weight = kWeights[0];
  net.first.bias = kWeights[1];
  net.second.weight = kWeights[2];
  net.second.bias = kWeights[3];
  return net;
}
using Whole = BodyHead<TwoLayers<double>, Linear<double>>;
Whole whole() { return {two_layers<double>(4, 6, 5), Linear<double>(5, 3, Random(3))}; }

/// Items around a centre of their class.
template <class T>
LabelledSet<T> planted(Index ways, Index shots, Index width, const Random& random) {
  const Tensor<std::int64_t> labels = generate({ways * shots}, [&](Index i) { return i % ways; });
  const Tensor<T> centres = T(2) * randn<T>({ways, width}, random.stream("centres"));
  return {gather(centres, labels) + T(0.3) * randn<T>({ways * shots, width}, random.stream("items")), labels};
}
LabelledSet<double> task() { return planted<double>(3, 5, 4, Random(4)); }
LabelledSet<double> one_of_three() { return {zeros<double>({2, 4}), tensor<std::int64_t>({0, 2})}; }

TransformerEncoder<double> encoder(bool norm_first, Index layers = 2) {
  return TransformerEncoder<double>(
      layers, 8, 2, 12, Random(5),
      {.layer = {.dropout = 0, .activation = Activation::gelu, .norm_first = norm_first}, .final_norm = norm_first});
}
Tensor<bool> some_keys() { return tensor<bool>({{true, true, true, false}, {true, true, true, true}}); }
/// A small classifier of sequences that are given as rows of numbers.
template <class T>
struct Rows {
  Linear<T> map;
  GRAFT_FIELDS(map)
  Tokens<T> operator()(const Tensor<T>& x, ContextRef) const {
    return {reshape(map(x), {x.size(0), 4, map.weight.size(0) / 4})};
  }
};
template <class T>
using Coder = BodyHead<TokenEncoder<Rows<T>, TransformerEncoder<T>>, Linear<T>>;
template <class T>
Coder<T> coder(Index width, Index hidden) {
  return {{{Linear<T>(4, 4 * width, Random(6))},
           TransformerEncoder<T>(
               2, width, 2, hidden, Random(5),
               {.layer = {.dropout = 0, .activation = Activation::gelu, .norm_first = true}, .final_norm = true})},
          Linear<T>(width, 3, Random(7))};
}

template <class M>
bool same_numbers(const M& a, const M& b) {
  return same_bits(to_vector(a), to_vector(b));
}
template <class M>
double largest_change(const M& a, const M& b) {
  return gap(to_vector(a), to_vector(b));
}
/// The numbers that are trained, filled with random ones, so that nothing is at its special start.
template <class M>
M scrambled(const M& model, double size = 0.5) {
  int n = 0;
  return zip(
      [&]<class T>(const Tensor<T>& leaf) {
        ++n;
        return leaf.frozen() ? leaf
                             : leaf + static_cast<T>(size) * randn<T>(leaf.shape(), Random(9).stream(std::uint64_t(n)));
      },
      model);
}
template <class A>
double share_right(const A& adapted, const LabelledSet<double>& set) {
  const Tensor<std::int64_t> answers = argmax(adapted.predict(set.x), 1);
  double right = 0;
  for (Index i = 0; i < answers.count(); ++i) right += answers.at({i}) == set.y.at({i});
  return right / static_cast<double>(answers.count());
}
/// What a few-shot method says of one task, with several hundred numbers to work on.
template <class Method, class M>
Tensor<float> adapted_answers(const Method& method, const M& model, Index width, const Random& random) {
  const LabelledSet<float> set = planted<float>(5, 8, width, random);
  Context context(Phase::evaluation, random.stream("context"));
  const auto adapted = method.adapt(model, set, {}, context);
  return concat<float>({reshape(adapted.predict(set.x), {-1}), to_vector(adapted.model.head)}, 0);
}
BodyHead<TwoLayers<float>, Linear<float>> large() {
  return {two_layers<float>(64, 96, 64), Linear<float>(64, 5, Random(3))};
}
TuningOptions few_steps() { return {.alpha = 1e-2, .steps = 3, .batch = 0}; }
TuningOptions many_steps() { return {.alpha = 3e-2, .steps = 150, .batch = 0}; }

/// Bad uses that all ways to tune have.
template <class Way>
std::vector<BadUse> tuner_errors(const Way& way) {
  return {bad_use<ValueError>([way] { TunerMethod<Way>{way}.adapt(whole(), one_of_three()); }, "class 1 of 3"),
          bad_use<ValueError>(
              [way] {
                TunerMethod<Way>{way, {.steps = -1}}.adapt(whole(), task());
              },
              "steps is -1"),
          bad_use<ValueError>(
              [way] {
                TunerMethod<Way>{way, {.alpha = NAN}}.adapt(whole(), task());
              },
              "alpha is nan"),
          bad_use<ValueError>(
              [way] {
                LabelledSet<double> set = task();
                set.x = INFINITY * set.x;
                TunerMethod<Way>{way, few_steps()}.adapt(whole(), set);
              },
              "not finite")};
}
MethodProperty learns(const char* text, const std::function<double()>& right) {
  return {text, [right] { CHECK(right() == 1); }};
}

// ---- Linear probe ---------------------------------------------------------------------------------------------------
/// |gradient| of the objective over the number of items, by plain sums.
double slope_of(const CentredClassifier<double>& c, const Numbers& x, const Tensor<std::int64_t>& y, double lambda) {
  const Index items = x.size(0), width = x.size(1), ways = c.weight.size(0);
  const double n = static_cast<double>(items);
  std::vector<std::vector<double>> g(static_cast<std::size_t>(ways),
                                     std::vector<double>(static_cast<std::size_t>(width + 1)));
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
      const double d = z[static_cast<std::size_t>(k)] / total - (y.at({i}) == k ? 1 : 0);
      for (Index j = 0; j < width; ++j)
        g[static_cast<std::size_t>(k)][static_cast<std::size_t>(j)] += d * (x.at({i, j}) - c.centre.value.at({j})) / n;
      g[static_cast<std::size_t>(k)][static_cast<std::size_t>(width)] += d / n;
    }
  }
  double squares = 0;
  for (Index k = 0; k < ways; ++k)
    for (Index j = 0; j <= width; ++j) {
      const double all = g[static_cast<std::size_t>(k)][static_cast<std::size_t>(j)] +
                         (j < width ? lambda / n * c.weight.at({k, j}) : 0);
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
    .properties = {{"layers are found by their names, from the bottom up",
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
                      const Whole start{whole().body, after(1).head};
                      const auto moved = [](const Linear<double>& a, const Linear<double>& b) {
                        return max(abs(a.weight - b.weight)).item();
                      };
                      for (const double decay : {1.0, 0.8, 0.65}) {
                        const Whole tuned = after(decay);
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
                      const Whole tuned = after(7);
                      // In its one step the lowest layer moved by the rate, as an optimiser does that has just begun.
                      CHECK(max(abs(tuned.body.first.weight - whole().body.first.weight)).item() ==
                            Approx(1e-3).epsilon(1e-4));
                      CHECK(max(abs(tuned.body.second.weight - whole().body.second.weight)).item() > 1.5e-3);
                      CHECK(trainable_count(tuned) == count(tuned));
                    }},
                   {"a decay of 1 and no unfreezing are plain AdamW, bit for bit",
                    [] {
                      const TuningOptions steps{.steps = 5, .batch = 4};
                      CHECK(
                          same_numbers(TunerMethod{FineTune{}, steps}.adapt(whole(), task()).model,
                                       TunerMethod{L2Sp{{.alpha = 0, .beta = 0}}, steps}.adapt(whole(), task()).model));
                    }},
                   {"frozen parts stay",
                    [] {
                      Whole start = whole();
                      start.body = freeze(start.body, {"first"});
                      const Whole tuned = TunerMethod{FineTune{{.decay = 0.5}}, few_steps()}.adapt(start, task()).model;
                      CHECK(same_numbers(tuned.body.first, start.body.first));
                      CHECK_FALSE(same_numbers(tuned.body.second, start.body.second));
                    }},
                   learns("a task is learned",
                          [] {
                            return share_right(
                                TunerMethod{FineTune{{.decay = 0.8, .unfreeze_every = 10}}, many_steps()}.adapt(whole(),
                                                                                                                task()),
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

// ---- LoRA -----------------------------------------------------------------------------------------------------------
/// A net with the numbers of a case in the place of what is trained, in field order.
template <class M>
M with_numbers(M model, const std::vector<Numbers>& numbers) {
  std::size_t i = 0;
  for_each_parameter(
      [&](auto& leaf) {
        if (!leaf.frozen()) leaf = reshape(numbers[i++], leaf.shape());
      },
      model);
  return model;
}
/// The answers to the inputs of the cases and the gradients agree to 1e-12.
template <class M>
void check_case(const M& fresh, const TunedCase& c) {
  const M model = with_numbers(fresh, c.numbers);
  CHECK(gap(model(kInputs, Context()), c.answers) < 1e-12);
  const M slope = grad([](const M& m) { return sum(kOf * m(kInputs, Context())); }, model);
  std::size_t i = 0;
  for_each_parameter(
      [&](const auto& leaf, const auto& gradient) {
        if (leaf.frozen())
          CHECK(max(abs(gradient)).item() == 0);
        else
          CHECK(gap(gradient, reshape(c.gradients[i++], leaf.shape())) < 1e-12);
      },
      model, slope);
  CHECK(i == c.gradients.size());
}
/// The loss as a function of the numbers that are trained; those of the base, which come first, are given.
template <class M>
auto tuned_loss(const M& model) {
  return [model](const Numbers& x) {
    const M at = from_vector(x, model);
    return mean(square(at(kInputs, Context()))) + 0.1 * sum(square(x));
  };
}
const bool lora_row = add_method_rows({{
    .name = "lora",
    .header = "graft/transfer/lora.hpp",
    .paper = "Hu et al., LoRA: low-rank adaptation of large language models, ICLR 2022",
    .functions = {"lora", "lora_merge", "lora_unmerge", "LowRank", "LoraLinear", "Lora"},
    .use = "lora(model, random, {.rank = 8, .layers = {\"self_attn\"}})",
    .run =
        [](const Random& random) {
          return adapted_answers(TunerMethod{Lora{{.rank = 4}}, few_steps()}, large(), 64, random);
        },
    .loss = tuned_loss(scrambled(lora(given_net(), Random(2), {.rank = 2}))),
    .loss_at = to_vector(scrambled(lora(given_net(), Random(2), {.rank = 2}))),
    .errors =
        joined(tuner_errors(Lora{}),
               {bad_use<ValueError>([] { lora(given_net(), Random(1), {.layers = {"third"}}); },
                                    "no matrix of the model is named 'third'; there are first.weight, second.weight"),
                bad_use<ValueError>([] { lora(given_net(), Random(1), {.rank = 0}); }, "rank is 0"),
                bad_use<ValueError>([] { lora(given_net(), Random(1), {.scale = INFINITY}); }, "scale is inf"),
                bad_use<ShapeError>([] { lora_unmerge(two_layers<double>(4, 7, 3), lora(given_net(), Random(1))); },
                                    "shapes of first.weight differ")}),
    .properties = {{"PEFT's answers and gradients",
                    [] { check_case(lora(given_net(), Random(1), {.rank = 2, .scale = 3}), kLora); }},
                   {"unchanged at first, bit for bit",
                    [] {
                      const TwoLayers<double> net = given_net();
                      CHECK(same_bits(lora(net, Random(1))(kInputs, Context()), net(kInputs)));
                      CHECK(same_bits(LoraLinear<double>(net.first, Random(1))(kInputs), net.first(kInputs)));
                    }},
                   {"merged and not merged agree, and merging is undone, to 1e-6",
                    [] {
                      const auto tuned = scrambled(lora(given_net(), Random(1)));
                      const TwoLayers<double> merged = lora_merge(tuned);
                      CHECK(gap(merged(kInputs), tuned(kInputs, Context())) < 1e-12);
                      CHECK(trainable_count(merged) == count(merged));
                      CHECK(largest_change(lora_unmerge(merged, tuned), tuned) < 1e-14);
                      const auto small = scrambled(lora(two_layers<float>(64, 96, 64), Random(1)), 0.1);
                      CHECK(largest_change(lora_unmerge(lora_merge(small), small), small) < 1e-6);
                      auto layer = LoraLinear<double>(given_net().first, Random(1), {.rank = 2});
                      layer.change.b = randn<double>({5, 2}, Random(2));
                      CHECK(gap(layer.merged()(kInputs), layer(kInputs)) < 1e-14);
                      CHECK_FALSE(gap(layer(kInputs), layer.layer(kInputs)) < 0.1);
                    }},
                   {"rank (in + out) numbers are trained, and the change has at most that rank",
                    [] {
                      const auto tuned = scrambled(lora(given_net(), Random(1), {.rank = 2}));
                      CHECK(trainable_count(tuned) == 2 * (4 + 5) + 2 * (5 + 3));
                      CHECK(trainable_count(lora(given_net(), Random(1), {.rank = 3, .layers = {"second"}})) ==
                            3 * (5 + 3));
                      const Numbers change = lora_merge(tuned).first.weight - given_net().first.weight;
                      const Numbers values = svd(change).values;
                      CHECK(values.at({1}) > 1e-2);
                      CHECK(values.at({2}) < 1e-14);
                    }},
                   {"MAML adapts A and B alone, and its gradient is theirs alone",
                    [] {
                      using Tuned = BodyHead<LoraModel<TwoLayers<double>>, Linear<double>>;
                      const Tuned model = freeze(Tuned{lora(whole().body, Random(1)), whole().head}, {"head"});
                      const Tuned adapted = Maml<>{{.alpha = 0.5, .steps = 2}}.adapt(model, task()).model;
                      CHECK(same_numbers(adapted.body.base, model.body.base));
                      CHECK(same_numbers(adapted.head, model.head));
                      CHECK(largest_change(adapted.body.changes, model.body.changes) > 1e-3);
                      const Tuned slope = grad(
                          [](const Tuned& m) {
                            return Maml<>{{.alpha = 0.5, .steps = 2}}.train_loss(m, Episode<double>{task(), task(), 3},
                                                                                 Context());
                          },
                          model);
                      CHECK(norm(slope.body.base).item() == 0);
                      CHECK(norm(slope.body.changes[0]).item() > 1e-6);
                    }},
                   {"a checkpoint of another rank or architecture is refused, and nothing is changed",
                    [] {
                      const Folder folder;
                      save_checkpoint(folder / "two.npz", lora(given_net(), Random(1), {.rank = 2}));
                      auto three = lora(given_net(), Random(2), {.rank = 3});
                      auto other = lora(two_layers<double>(4, 7, 3), Random(2), {.rank = 2});
                      const auto three_before = three, other_before = other;
                      CHECK(refusal(folder / "two.npz", [&] {
                              load_checkpoint(folder / "two.npz", three);
                            }).find("changes.0.a") != std::string::npos);
                      CHECK(refusal(folder / "two.npz", [&] {
                              load_checkpoint(folder / "two.npz", other);
                            }).find("base.first") != std::string::npos);
                      CHECK(same_numbers(three, three_before));
                      CHECK(same_numbers(other, other_before));
                      auto same = lora(given_net(), Random(7), {.rank = 2});
                      load_checkpoint(folder / "two.npz", same);
                      CHECK(same_numbers(same, lora(given_net(), Random(1), {.rank = 2})));
                    }},
                   learns("a task is learned",
                          [] {
                            return share_right(TunerMethod{Lora{}, many_steps()}.adapt(whole(), task()), task());
                          })},
}});

// ---- DoRA -----------------------------------------------------------------------------------------------------------
const bool dora_row = add_method_rows({{
    .name = "dora",
    .header = "graft/transfer/dora.hpp",
    .paper = "Liu et al., DoRA: weight-decomposed low-rank adaptation, ICML 2024",
    .functions = {"dora", "DecomposedLowRank", "Dora"},
    .use = "dora(model, random, {.rank = 8})",
    .run =
        [](const Random& random) {
          return adapted_answers(TunerMethod{Dora{{.rank = 4}}, few_steps()}, large(), 64, random);
        },
    .loss = tuned_loss(scrambled(dora(given_net(), Random(2), {.rank = 2, .constant_norm = false}))),
    .loss_at = to_vector(scrambled(dora(given_net(), Random(2), {.rank = 2, .constant_norm = false}))),
    .errors = joined(tuner_errors(Dora{}),
                     {bad_use<ValueError>([] { dora(given_net(), Random(1), {.layers = {"first.bias"}}); },
                                          "named 'first.bias'; there are first.weight"),
                      bad_use<ValueError>([] { dora(given_net(), Random(1), {.rank = 0}); }, "rank is 0")}),
    .properties = {{"PEFT's answers and gradients",
                    [] { check_case(dora(given_net(), Random(1), {.rank = 2, .scale = 3}), kDora); }},
                   {"unchanged at first, bit for bit, rows of zeros too",
                    [] {
                      TwoLayers<double> net = given_net();
                      CHECK(same_bits(dora(net, Random(1))(kInputs, Context()), net(kInputs)));
                      net.first.weight = zeros<double>({5, 4});
                      const auto tuned = dora(net, Random(1));
                      CHECK(same_bits(tuned(kInputs, Context()), net(kInputs)));
                      using Tuned = DoraModel<TwoLayers<double>>;
                      CHECK(all_finite(grad([](const Tuned& m) { return sum(m(kInputs, Context())); }, tuned)));
                    }},
                   {"the norms of the rows are the magnitudes, whatever the directions",
                    [] {
                      auto tuned = scrambled(dora(given_net(), Random(1)));
                      tuned.changes[0].magnitude = tensor<double>({1, 2, 3, 4, 5});
                      const Numbers w = tuned.merged().first.weight;
                      CHECK(gap(sqrt(sum(square(w), {1})), tuned.changes[0].magnitude) < 1e-14);
                    }},
                   {"rank (in + out) + out numbers are trained",
                    [] {
                      CHECK(trainable_count(dora(given_net(), Random(1), {.rank = 2})) ==
                            2 * (4 + 5) + 5 + 2 * (5 + 3) + 3);
                    }},
                   learns("a task is learned",
                          [] {
                            return share_right(TunerMethod{Dora{}, many_steps()}.adapt(whole(), task()), task());
                          })},
}});

// ---- (IA)^3 ---------------------------------------------------------------------------------------------------------
const Ia3Options kBoth{.outputs = {"first"}, .inputs = {"second"}};
const bool ia3_row = add_method_rows({{
    .name = "ia3",
    .header = "graft/transfer/ia3.hpp",
    .paper = "Liu et al., Few-shot parameter-efficient fine-tuning is better and cheaper, NeurIPS 2022",
    .functions = {"ia3", "LearnedScale", "Ia3"},
    .use = "ia3(model, {.outputs = {\"in_proj_weight\"}, .inputs = {\"linear2\"}})",
    .run =
        [](const Random& random) {
          return adapted_answers(TunerMethod{Ia3{kBoth}, few_steps()}, large(), 64, random);
        },
    .loss = tuned_loss(scrambled(ia3(given_net(), kBoth))),
    .loss_at = to_vector(scrambled(ia3(given_net(), kBoth))),
    .errors = joined(
        tuner_errors(Ia3{kBoth}),
        {bad_use<ValueError>([] { ia3(given_net()); }, "named 'in_proj_weight'; there are first.weight, second.weight"),
         bad_use<ValueError>([] { ia3(given_net(), {.outputs = {}, .inputs = {}}); }, "neither outputs nor inputs")}),
    .properties = {{"PEFT's answers and gradients", [] { check_case(ia3(given_net(), kBoth), kIa3); }},
                   {"unchanged at first, bit for bit",
                    [] {
                      CHECK(same_bits(ia3(given_net(), kBoth)(kInputs, Context()), given_net()(kInputs)));
                      const Numbers x = randn<double>({3, 4}, Random(1));
                      const auto model = coder<double>(8, 12).body;
                      CHECK(same_bits(ia3(model)(x, Context()), model(x, Context())));
                    }},
                   {"in a Transformer: keys, values and hidden units are scaled, queries are not",
                    [] {
                      const auto tuned = scrambled(ia3(encoder(true, 1)));
                      CHECK(trainable_count(tuned) == 2 * 8 + 12);
                      const auto merged = tuned.merged().layers[0], base = encoder(true, 1).layers[0];
                      const Numbers l = tuned.changes[0].scale, hidden = tuned.changes[1].scale;
                      const Numbers x = randn<double>({3, 8}, Random(1));
                      const auto project = [&](const TransformerEncoderLayer<double>& of) {
                        return matmul(x, of.self_attn.in_proj_weight, {.transpose_b = true}) +
                               (*of.self_attn.in_proj_bias + 0.25);
                      };
                      CHECK(same_bits(slice(project(merged), 1, 0, 8), slice(project(base), 1, 0, 8)));
                      CHECK(gap(slice(matmul(x, merged.self_attn.in_proj_weight, {.transpose_b = true}), 1, 8, 24),
                                slice(matmul(x, base.self_attn.in_proj_weight, {.transpose_b = true}), 1, 8, 24) * l) <
                            1e-14);
                      const Numbers h = randn<double>({3, 12}, Random(2));
                      CHECK(gap(merged.linear2(h), base.linear2(h * hidden)) < 1e-14);
                      CHECK(same_bits(*merged.linear2.bias, *base.linear2.bias));
                    }},
                   {"of attention with biases, these are scaled with their keys and values",
                    [] {
                      TransformerEncoder<double> base = encoder(true, 1);
                      base.layers[0].self_attn.in_proj_bias = randn<double>({24}, Random(3));
                      const auto tuned = scrambled(ia3(base));
                      const Numbers bias = *tuned.merged().layers[0].self_attn.in_proj_bias,
                                    was = *base.layers[0].self_attn.in_proj_bias;
                      CHECK(same_bits(slice(bias, 0, 0, 8), slice(was, 0, 0, 8)));
                      CHECK(gap(slice(bias, 0, 8, 24), slice(was, 0, 8, 24) * tuned.changes[0].scale) < 1e-15);
                    }},
                   learns("a task is learned",
                          [] {
                            return share_right(TunerMethod{Ia3{kBoth}, many_steps()}.adapt(whole(), task()), task());
                          })},
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
                      const Whole tuned = TunerMethod{BitFit{}, few_steps()}.adapt(whole(), task()).model;
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
                      const Whole tuned = TunerMethod{L2Sp{{.alpha = 1e4}}, {.alpha = 1e-4, .steps = 100, .batch = 0}}
                                              .adapt(whole(), task())
                                              .model;
                      CHECK(largest_change(tuned.body, whole().body) < 1e-3);
                    }}},
}});

// ---- Adapters -------------------------------------------------------------------------------------------------------
const bool adapters_row = add_method_rows({{
    .name = "adapters",
    .header = "graft/transfer/adapters.hpp",
    .paper = "Houlsby et al., Parameter-efficient transfer learning for NLP, ICML 2019",
    .functions = {"adapters", "Adapter", "AdapterLayer", "Adapters"},
    .use = "TunerMethod{Adapters{{.width = 64}}}.adapt(model, support)",
    .run =
        [](const Random& random) {
          return adapted_answers(TunerMethod{Adapters{{.width = 8}}, few_steps()}, coder<float>(32, 64), 4, random);
        },
    .loss =
        [](const Numbers& x) {
          const auto stack = scrambled(adapters(encoder(false, 1), Random(1), {.width = 2}));
          const Numbers input = randn<double>({1, 3, 8}, Random(8));
          return sum(square(from_vector(x, stack)(input, Context())) * randn<double>({1, 3, 8}, Random(7)));
        },
    .loss_at = to_vector(scrambled(adapters(encoder(false, 1), Random(1), {.width = 2}))),
    .errors = {bad_use<ValueError>([] { adapters(encoder(true), Random(1), {.layers = {"layers.2"}}); },
                                   "no layer is named 'layers.2'; there are layers.0, layers.1"),
               bad_use<ValueError>([] { adapters(encoder(true), Random(1), {.width = 0}); }, "width is 0"),
               bad_use<ValueError>(
                   [] {
                     TunerMethod{Adapters{}, {.steps = -1}}.adapt(coder<double>(8, 12), task());
                   },
                   "steps is -1")},
    .properties =
        {{"the encoder at first, bit for bit, with a mask too",
          [] {
            const Numbers x = randn<double>({2, 4, 8}, Random(1));
            for (const bool norm_first : {false, true}) {
              const auto base = encoder(norm_first);
              const auto tuned = adapters(base, Random(2));
              CHECK(same_bits(tuned(x, Context()), base(x, Context())));
              CHECK(same_bits(tuned(x, {.key_mask = some_keys()}, Context()),
                              base(x, {.key_mask = some_keys()}, Context())));
            }
          }},
         {"by plain composition: adapters stand before each residual sum",
          [] {
            const Numbers x = randn<double>({2, 4, 8}, Random(1));
            const auto adapted = [](const Adapter<double>& a, const Numbers& h) { return h + a.up(gelu(a.down(h))); };
            const auto post = scrambled(adapters(encoder(false, 1), Random(2), {.width = 3}));
            const auto& p = post.layers[0];
            const Numbers h = p.layer.norm1(x + adapted(*p.attention, p.layer.self_attn(x, Context())));
            const Numbers y = p.layer.norm2(h + adapted(*p.perceptron, p.layer.linear2(gelu(p.layer.linear1(h)))));
            CHECK(gap(post(x, Context()), y) < 1e-13);
            auto pre = scrambled(adapters(encoder(true, 1), Random(2), {.width = 3}));
            const auto& q = pre.layers[0];
            const Numbers g = x + adapted(*q.attention, q.layer.self_attn(q.layer.norm1(x), Context()));
            const Numbers z = g + adapted(*q.perceptron, q.layer.linear2(gelu(q.layer.linear1(q.layer.norm2(g)))));
            CHECK(gap(pre(x, Context()), (*pre.norm)(z)) < 1e-13);
          }},
         {"2 n width + width + n numbers an adapter, and the norms, are trained",
          [] {
            const Index each = 2 * 8 * 3 + 3 + 8;
            CHECK(trainable_count(adapters(encoder(true), Random(1), {.width = 3, .norms = false})) == 4 * each);
            CHECK(trainable_count(adapters(encoder(true), Random(1), {.width = 3})) == 4 * each + 5 * 16);
            CHECK(trainable_count(adapters(encoder(true), Random(1),
                                           {.width = 3, .norms = false, .layers = {"layers.1"}})) == 2 * each);
          }},
         {"the base keeps its bits in tuning",
          [] {
            const auto model = coder<double>(8, 12);
            const auto tuned =
                TunerMethod{Adapters{{.width = 4, .norms = false}}, few_steps()}.adapt(model, task()).model;
            CHECK(same_numbers(tuned.body.front, model.body.front));
            CHECK(same_numbers(tuned.body.encoder.layers[1].layer, model.body.encoder.layers[1]));
            CHECK(max(abs(tuned.body.encoder.layers[1].perceptron->up.weight)).item() > 1e-3);
          }},
         learns("a task is learned",
                [] {
                  return share_right(
                      TunerMethod{Adapters{{.width = 4}}, many_steps()}.adapt(coder<double>(8, 12), task()), task());
                })},
}});

// ---- Prefix and prompt ----------------------------------------------------------------------------------------------
/// out_proj of softmax attention of x [time, width] to `keys` and `values` [length, width] and its own, by plain loops:
/// `length` more keys, but as many queries as x has rows. `causal`: row i sees its own keys up to i.
Numbers slow_prefix(const MultiHeadAttention<double>& m, const Numbers& keys, const Numbers& values, const Numbers& x,
                    bool causal) {
  const Index time = x.size(0), width = x.size(1), length = keys.size(0), depth = width / m.heads;
  const Numbers all = matmul(x, m.in_proj_weight, {.transpose_b = true}) + *m.in_proj_bias;
  std::vector<double> out(static_cast<std::size_t>(time * width));
  for (Index h = 0; h < m.heads; ++h)
    for (Index i = 0; i < time; ++i) {
      std::vector<double> weight;
      double total = 0;
      for (Index j = 0; j < length + time; ++j) {
        double score = 0;
        for (Index c = h * depth; c < (h + 1) * depth; ++c)
          score += all.at({i, c}) * (j < length ? keys.at({j, c}) : all.at({j - length, width + c}));
        const bool seen = !causal || j < length || j - length <= i;
        weight.push_back(seen ? std::exp(score / std::sqrt(static_cast<double>(depth))) : 0);
        total += weight.back();
      }
      for (Index c = h * depth; c < (h + 1) * depth; ++c)
        for (Index j = 0; j < length + time; ++j)
          out[static_cast<std::size_t>(i * width + c)] +=
              weight[static_cast<std::size_t>(j)] / total *
              (j < length ? values.at({j, c}) : all.at({j - length, 2 * width + c}));
    }
  return m.out_proj(from_vector(out, {time, width}));
}
const bool prefix_row = add_method_rows({{
    .name = "prefix",
    .header = "graft/transfer/prefix.hpp",
    .paper = "Li, Liang, Prefix-tuning, ACL 2021; Lester, Al-Rfou, Constant, EMNLP 2021",
    .functions = {"prefix", "prompt", "PrefixLayer", "PromptEncoder", "Prefix", "Prompt"},
    .use = "TunerMethod{Prefix{{.length = 8}}}.adapt(model, support)",
    .run =
        [](const Random& random) {
          return concat<float>(
              {adapted_answers(TunerMethod{Prefix{{.length = 3}}, few_steps()}, coder<float>(32, 64), 4, random),
               adapted_answers(TunerMethod{Prompt{{.length = 3}}, few_steps()}, coder<float>(32, 64), 4, random)},
              0);
        },
    .loss =
        [](const Numbers& x) {
          const Numbers input = randn<double>({1, 3, 8}, Random(8)), of = randn<double>({1, 3, 8}, Random(7));
          const auto stack = prefix(encoder(true, 1), Random(1), {.length = 2});
          const auto with = prompt(encoder(true, 1), Random(1), {.length = 2});
          auto first = stack;
          auto second = with;
          first.layers[0].keys = reshape(slice(x, 0, 0, 16), {2, 8});
          first.layers[0].values = reshape(slice(x, 0, 16, 32), {2, 8});
          second.vectors = reshape(slice(x, 0, 32, 48), {2, 8});
          return sum(square(first(input, Context())) * of) + sum(square(second(input, Context())) * of);
        },
    .loss_at = randn<double>({48}, Random(3)),
    .errors =
        {bad_use<ValueError>([] { prefix(encoder(true), Random(1), {.layers = {"layer.0"}}); },
                             "no layer is named 'layer.0'; there are layers.0, layers.1"),
         bad_use<ValueError>([] { prefix(encoder(true), Random(1), {.length = -1}); }, "length is -1"),
         bad_use<ValueError>([] { prompt(encoder(true), Random(1), {.deviation = NAN}); }, "deviation is nan"),
         bad_use<ValueError>([] { prompt(encoder(true), Random(1), {.layers = {"layers.0"}}); }, "layers are chosen"),
         bad_use<ValueError>([] { prompt(encoder(true, 0), Random(1)); }, "has no layers"),
         bad_use<ValueError>(
             [] { prefix(TransformerEncoder<double>(1, 8, 2, 12, Random(1), {.layer = {.alibi = true}}), Random(1)); },
             "layers.0 has ALiBi"),
         bad_use<ShapeError>(
             [] {
               prompt(encoder(true), Random(1))(zeros<double>({3, 8}), {}, Context());
             },
             "[3, 8]"),
         bad_use<ValueError>(
             [] {
               prompt(encoder(true), Random(1))(zeros<double>({1, 3, 8}), {.mask = ones<bool>({1, 1, 3, 3})},
                                                Context());
             },
             "causal or of keys"),
         bad_use<ValueError>(
             [] {
               TunerMethod{Prefix{}, {.steps = -1}}.adapt(coder<double>(8, 12), task());
             },
             "steps is -1")},
    .properties =
        {{"length 0 is the base model, bit for bit",
          [] {
            const Numbers x = randn<double>({2, 4, 8}, Random(1));
            for (const bool norm_first : {false, true}) {
              const auto base = encoder(norm_first);
              const AttentionMask<double> mask{.key_mask = some_keys()};
              CHECK(same_bits(prefix(base, Random(2), {.length = 0})(x, mask, Context()), base(x, mask, Context())));
              CHECK(same_bits(prompt(base, Random(2), {.length = 0})(x, mask, Context()), base(x, mask, Context())));
              CHECK(trainable_count(prefix(base, Random(2), {.length = 0})) == 0);
            }
            // A layer that is not chosen is the base's.
            const auto second = prefix(encoder(true), Random(2), {.length = 3, .layers = {"layers.1"}});
            CHECK(same_bits(second.layers[0](x, {}, Context()), encoder(true).layers[0](x, Context())));
          }},
         {"by plain loops, causal too: keys and values more, queries none",
          [] {
            auto stack = prefix(encoder(true, 1), Random(2), {.length = 3, .deviation = 1});
            auto& layer = stack.layers[0];
            layer.layer.self_attn.in_proj_bias = randn<double>({24}, Random(3));
            const Numbers x = randn<double>({1, 4, 8}, Random(1));
            for (const bool causal : {false, true}) {
              const Numbers normed = reshape(layer.layer.norm1(x), {4, 8});
              const Numbers h =
                  reshape(x, {4, 8}) + slow_prefix(layer.layer.self_attn, layer.keys, layer.values, normed, causal);
              const Numbers y = h + layer.layer.linear2(gelu(layer.layer.linear1(layer.layer.norm2(h))));
              CHECK(gap(reshape(layer(x, {.causal = causal}, Context()), {4, 8}), y) < 1e-13);
            }
            CHECK(layer(x, {}, Context()).shape() == x.shape());
          }},
         {"a masked key stays unseen behind a prefix and a prompt",
          [] {
            const Numbers x = randn<double>({2, 4, 8}, Random(1));
            const Numbers other =
                x + 5.0 * generate({2, 4, 8}, [](Index b, Index i, Index) { return b == 0 && i == 3 ? 1.0 : 0.0; });
            const AttentionMask<double> mask{.key_mask = some_keys()};
            const auto seen = [](const Numbers& h) { return slice(slice(h, 0, 0, 1), 1, 0, 3); };
            const auto first = prefix(encoder(true), Random(2));
            const auto second = prompt(encoder(true), Random(2));
            CHECK(same_bits(seen(first(x, mask, Context())), seen(first(other, mask, Context()))));
            CHECK(same_bits(seen(second(x, mask, Context())), seen(second(other, mask, Context()))));
            const auto base = encoder(true);
            CHECK(gap(first(x, mask, Context()), base(x, mask, Context())) > 1e-6);
          }},
         {"a prompt is the base encoder on longer input",
          [] {
            const auto with = prompt(encoder(true), Random(2), {.length = 2, .deviation = 1});
            const Numbers x = randn<double>({1, 4, 8}, Random(1));
            const Numbers whole_input = concat<double>({reshape(with.vectors, {1, 2, 8}), x}, 1);
            CHECK(same_bits(with(x, Context()), slice(encoder(true)(whole_input, Context()), 1, 2, 6)));
            CHECK(trainable_count(with) == 2 * 8);
            CHECK(trainable_count(prefix(encoder(true), Random(2), {.length = 2})) == 2 * 2 * 2 * 8);
          }},
         {"the base keeps its bits in tuning, and a task is learned",
          [] {
            const auto model = coder<double>(8, 12);
            const auto tuned = TunerMethod{Prefix{{.length = 4}}, many_steps()}.adapt(model, task());
            CHECK(share_right(tuned, task()) == 1);
            CHECK(same_numbers(tuned.model.body.encoder.layers[1].layer, model.body.encoder.layers[1]));
            CHECK(max(abs(tuned.model.body.encoder.layers[1].keys)).item() > 0.1);
            CHECK(share_right(TunerMethod{Prompt{{.length = 4}}, many_steps()}.adapt(model, task()), task()) == 1);
          }},
         {"encoders in parts give the whole encoders' bits",
          [] {
            const PatchTransformer<double> images(Random(1),
                                                  {.size = 8, .width = 8, .heads = 2, .hidden = 12, .depth = 1});
            const Numbers pixels = rand<double>({2, 8, 8, 1}, Random(2));
            CHECK(same_bits(token_encoder(images)(pixels, Context()), images(pixels, Context())));
            const TextEmbedding<double> words(Random(1),
                                              {.vocabulary = 9, .length = 4, .width = 8, .heads = 2, .hidden = 12});
            const Numbers ids = tensor<double>({{3, 8, 0, 0}, {1, 2, 3, 4}, {0, 0, 0, 0}});
            CHECK(same_bits(token_encoder(words)(ids, Context()), words(ids, Context())));
            const Bert<double> bert(
                Random(1), {.vocabulary = 9, .width = 8, .depth = 1, .heads = 2, .hidden = 12, .positions = 4});
            const Tensor<bool> there = cast<std::int64_t>(ids) != 0;
            CHECK(same_bits(token_encoder(bert)(ids, Context()),
                            sentence_vectors(bert(cast<std::int64_t>(ids), there, Context()), there)));
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
