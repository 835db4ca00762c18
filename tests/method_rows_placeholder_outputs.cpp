// Rows of the method table for placeholder/: placeholders of outputs and of a missing modality, auxiliary tasks. They
// are held to the catalogue's closed forms and limits, and to slow double versions.

#include <cmath>

#include "catch.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/model/grad.hpp"
#include "graft/model/names.hpp"
#include "graft/multitask/affinity.hpp"
#include "graft/nn/dropout.hpp"
#include "graft/ops/losses.hpp"
#include "graft/placeholder/auxiliary_tasks.hpp"
#include "graft/placeholder/missing_modality.hpp"
#include "graft/placeholder/output_placeholder.hpp"
#include "layers.hpp"
#include "method_table.hpp"

using namespace graft;

namespace {

using Numbers = Tensor<double>;

double gap(const Numbers& a, const Numbers& b) { return max(abs(a - b)).item(); }

// ------------------------------------------------------------------------------------------------- output (P1.5)

/// Three classes of unequal shares and four inputs: p(x | y) [inputs, classes], each column a distribution.
struct LongTail {
  Numbers prior = tensor<double>({0.7, 0.2, 0.1});
  Numbers likelihood = tensor<double>({{0.4, 0.3, 0.1}, {0.3, 0.1, 0.2}, {0.2, 0.35, 0.25}, {0.1, 0.25, 0.45}});
  Numbers joint = likelihood * prior;  // p(x, y)

  /// The risk of logits [inputs, classes]: the cross-entropy under the joint distribution.
  Numbers risk(const Numbers& logits) const { return -sum(joint * log_softmax(logits, -1)); }
};
OutputPlaceholder<double> placed(const Numbers& values, const OutputPlaceholderOptions& o = {}) {
  OutputPlaceholder<double> placeholder(values.count(), o);
  placeholder.values = values;
  return placeholder;
}

const bool output_placeholder_row = add_method_rows({{
    .name = "output_placeholder",
    .header = "graft/placeholder/output_placeholder.hpp",
    .paper = "near relative: Menon et al., Long-tail learning via logit adjustment, ICLR 2021",
    .functions = {"OutputPlaceholder", "InputPlaceholder", "class_shares", "OutputPlaceholderOptions"},
    .use = "cross_entropy(placeholder(net(x), context), labels) + placeholder.auxiliary_loss(shares)",
    .run =
        [](const Random& random) {
          const Tensor<float> logits = randn<float>({4000, 5}, random.stream("logits"));
          const Tensor<std::int64_t> labels = generate({4000}, [](Index i) { return i * i % 5; });
          const Tensor<float> shares = class_shares(labels, 5);
          return grad(
                     [&](const auto& o) {
                       return cross_entropy(o(logits, training()), labels) + o.auxiliary_loss(shares);
                     },
                     OutputPlaceholder<float>(5, {.constant = false}))
              .values;
        },
    .loss =
        [](const Numbers& x) {
          const OutputPlaceholder<double> o = placed(slice(x, 0, 12, 15), {.scale = 0.7, .constant = false});
          return LongTail().risk(o(reshape(slice(x, 0, 0, 12), {4, 3}), training())) +
                 0.3 * o.auxiliary_loss(LongTail().prior);
        },
    .loss_at = randn<double>({15}, Random(3)),
    .errors = {bad_use<ValueError>([] { OutputPlaceholder<>(0); }, "0 classes"),
               bad_use<ValueError>([] { OutputPlaceholder<>(3, {.scale = NAN}); }, "scale is nan"),
               bad_use<ShapeError>(
                   [] {
                     OutputPlaceholder<>(3)(zeros({2, 4}), Context());
                   },
                   "[2, 4]"),
               bad_use<ShapeError>([] { OutputPlaceholder<>(3).auxiliary_loss(ones({2})); }, "prior [2]"),
               bad_use<ValueError>([] { OutputPlaceholder<>(3).auxiliary_loss(ones({3})); }, "the prior adds up to 3"),
               bad_use<ValueError>(
                   [] {
                     OutputPlaceholder<>(3).auxiliary_loss(tensor<float>({1.5, -0.5, 0}));
                   },
                   "gives a class -0.5"),
               bad_use<ValueError>([] { OutputPlaceholder<>(3).auxiliary_loss(full<float>({3}, NAN)); }, "nan"),
               bad_use<ShapeError>(
                   [] {
                     class_shares(zeros<std::int64_t>({2, 2}), 3);
                   },
                   "[2, 2]"),
               bad_use<ValueError>([] { class_shares(zeros<std::int64_t>({0}), 3); }, "0 labels"),
               bad_use<IndexError>([] { class_shares(full<std::int64_t>({2}, 3), 3); }, "label 3 of 3"),
               bad_use<ValueError>([] { InputPlaceholder<>(-1); }, "-1 numbers"),
               bad_use<ShapeError>([] { InputPlaceholder<>(2)(zeros({2})); }, "x [2]"),
               bad_use<ShapeError>([] { InputPlaceholder<>(2).folded(Linear<>(2, 3, Random(1))); },
                                   "more than 2 inputs")},
    .properties = {{"the auxiliary loss is least at o = ln pi + const, where it is the prior's entropy",
                    [] {
                      const LongTail world;
                      double entropy = 0;
                      for (const double share : {0.7, 0.2, 0.1}) entropy -= share * std::log(share);
                      const auto loss = [&](const Numbers& o) { return placed(o).auxiliary_loss(world.prior); };
                      for (const double shift : {0.0, -3.0, 50.0}) {
                        const auto [value, slope] = value_and_grad(loss, log(world.prior) + shift);
                        CHECK(value.item() == Approx(entropy).epsilon(1e-13));
                        CHECK(largest(slope) < 1e-14);
                      }
                      // From o = 0 by gradient steps, the slope being softmax(o) - pi.
                      Numbers o = zeros<double>({3});
                      CHECK(gap(grad(loss, o), 1.0 / 3 - world.prior) < 1e-15);
                      for (int step = 0; step < 2000; ++step) o = o - grad(loss, o);
                      CHECK(gap(softmax(o, -1), world.prior) < 1e-10);
                      CHECK(gap(o - mean(o), log(world.prior) - mean(log(world.prior))) < 1e-8);
                    }},
                   {"training with o = ln pi is the logit-adjusted loss of Menon et al., tau = 1",
                    [] {
                      // log(1 + sum over y' other than y of pi_y' / pi_y e^(f_y' - f_y))
                      const LongTail world;
                      const Numbers f = randn<double>({5, 3}, Random(1));
                      const auto labels = tensor<std::int64_t>({0, 1, 2, 2, 0});
                      double expected = 0;
                      for (Index i = 0; i < 5; ++i) {
                        const auto y = static_cast<Index>(labels.at({i}));
                        double others = 0;
                        for (Index c = 0; c < 3; ++c)
                          if (c != y)
                            others += world.prior.at({c}) / world.prior.at({y}) * std::exp(f.at({i, c}) - f.at({i, y}));
                        expected += std::log1p(others) / 5;
                      }
                      const OutputPlaceholder<double> o = placed(log(world.prior) + 11);  // the constant cancels
                      CHECK(cross_entropy(o(f, training()), labels).item() == Approx(expected).epsilon(1e-13));
                    }},
                   {"without o the best logits are ln p(x | y): the posterior under equal shares of all classes",
                    [] {
                      const LongTail world;
                      const OutputPlaceholder<double> o = placed(log(world.prior));
                      const Numbers best = log(world.likelihood);
                      const auto risk = [&](const Numbers& f) { return world.risk(o(f, training())); };
                      CHECK(largest(grad(risk, best)) < 1e-15);  // the risk is convex
                      CHECK(same_bits(o(best, Context()), best));
                      const Numbers shares = world.likelihood / sum(world.likelihood, {1}, true);
                      CHECK(gap(softmax(o(best, Context()), -1), shares) < 1e-15);
                      // Input 2: the posterior prefers class 0, which is frequent, the likelihood class 1.
                      CHECK(argmax(slice(best, 0, 2, 3)).item() == 1);
                      CHECK(argmax(slice(log(world.joint), 0, 2, 3)).item() == 0);
                    }},
                   {"the optimum is the same where the logits' loss trains o too, if a model has biases",
                    [] {
                      const LongTail world;
                      const auto total = [&](const std::vector<Numbers>& at) {
                        const auto o = placed(at[1], {.constant = false});
                        return world.risk(o(at[0], training())) + 0.4 * o.auxiliary_loss(world.prior);
                      };
                      const std::vector<Numbers> slope =
                          grad(total, std::vector<Numbers>{log(world.likelihood), log(world.prior)});
                      CHECK(largest(slope[0]) < 1e-15);
                      CHECK(largest(slope[1]) < 1e-15);
                    }},
                   {"o as a constant has no slope from the logits; scale 0, or after training: the logits, bit for bit",
                    [] {
                      const Numbers f = randn<double>({4, 3}, Random(1));
                      const auto through = [&](const Numbers& values) {
                        return sum(square(placed(values)(f, training()))) + sum(values);
                      };
                      CHECK(same_bits(grad(through, ones<double>({3})), ones<double>({3})));
                      const Numbers values = randn<double>({3}, Random(2));
                      CHECK(same_bits(placed(values, {.scale = 0, .constant = false})(f, training()), f));
                      CHECK(same_bits(placed(values)(f, Context()), f));
                      CHECK(same_bits(placed(zeros<double>({3}))(f, training()), f));
                      CHECK(gap(placed(values, {.scale = -2})(f, training()), f - 2.0 * values) < 1e-15);
                    }},
                   {"at the input of a linear layer: a part of its bias, which folding shows",
                    [] {
                      const Linear<double> layer(5, 3, Random(1));
                      InputPlaceholder<double> o(2);
                      o.values = tensor<double>({0.7, -1.3});
                      const Numbers x = randn<double>({6, 3}, Random(2));
                      const Linear<double> folded = o.folded(layer);
                      CHECK(gap(layer(o(x)), folded(x)) < 1e-15);
                      for (Index j = 0; j < 3; ++j)
                        CHECK(folded.bias->at({j}) == Approx(layer.bias->at({j}) + 0.7 * layer.weight.at({j, 3}) -
                                                             1.3 * layer.weight.at({j, 4}))
                                                          .epsilon(1e-14));
                      CHECK(same_bits(InputPlaceholder<double>(0)(x), x));
                      Linear<double> without = layer;
                      without.bias = {};
                      CHECK(gap(without(o(x)), o.folded(without)(x)) < 1e-15);
                    }},
                   {"shares of classes are counts",
                    [] {
                      CHECK(same_bits(class_shares<double>(tensor<std::int64_t>({2, 0, 2, 2}), 4),
                                      tensor<double>({0.25, 0, 0.75, 0})));
                    }}},
}});

// ------------------------------------------------------------------------------------------ missing modality (P1.6)

/// All sixteen signs z of four numbers: means 0, covariance I, exactly. a = L z_12 and b = C z_12 + D z_34 + shift.
struct TwoViews {
  Numbers to_a = tensor<double>({{1, 0}, {0.5, 2}});
  Numbers c = tensor<double>({{1, -0.5}, {0.3, 0.8}}), d = tensor<double>({{0.4, 0}, {0.1, 0.3}});
  Numbers shift_a = tensor<double>({0.5, -1}), shift_b = tensor<double>({2, -3});
  Numbers a, b;

  TwoViews() {
    const Numbers z = generate({16, 4}, [](Index i, Index j) { return i >> j & 1 ? 1.0 : -1.0; });
    const auto times = [](const Numbers& x, const Numbers& m) { return matmul(x, m, {.transpose_b = true}); };
    a = times(slice(z, 1, 0, 2), to_a) + shift_a;
    b = times(slice(z, 1, 0, 2), c) + times(slice(z, 1, 2, 4), d) + shift_b;
  }
  /// S_ba S_aa^-1 = C L' (L L')^-1 = C L^-1, and the trace of the conditional covariance D D'.
  Numbers weight() const { return matmul(c, tensor<double>({{1, 0}, {-0.25, 0.5}})); }
  double floor() const { return 0.16 + 0.01 + 0.09; }
  /// As tokens.
  Numbers tokens_a() const { return reshape(a, {16, 1, 2}); }
  Numbers tokens_b() const { return reshape(b, {16, 1, 2}); }
};
auto missing_modality() { return MissingModality<double>(3, Random(1), {.tokens = 2}); }

const bool missing_modality_row = add_method_rows({{
    .name = "missing_modality",
    .header = "graft/placeholder/missing_modality.hpp",
    .paper =
        "near relative: Lee et al., Multimodal prompting with missing modalities for visual recognition, CVPR 2023",
    .functions = {"MissingModality", "linear_fill", "LinearFill", "MissingModalityOptions"},
    .use = "net(missing(a, b, has_b), context); missing.fill_loss(a, b, has_b)",
    .run =
        [](const Random& random) {
          const MissingModality<float> net(16, random.stream("net"), {.tokens = 3, .heads = 2});
          const Tensor<float> a = randn<float>({60, 5, 16}, random.stream("a"));
          const Tensor<float> b = randn<float>({60, 3, 16}, random.stream("b"));
          const Tensor<bool> has_b = rand<float>({60}, random.stream("has")) > 0.3f;
          return to_vector(grad([&](const auto& n) { return n.fill_loss(a, b, has_b) + mean(n(a, b, has_b)); }, net));
        },
    .loss =
        [](const Numbers& x) {
          const MissingModality<double> net = from_vector(slice(x, 0, 18, x.count()), missing_modality());
          const Numbers a = reshape(slice(x, 0, 0, 18), {3, 2, 3}), b = randn<double>({3, 2, 3}, Random(2));
          const auto has_b = tensor<bool>({true, false, true});
          return net.fill_loss(a, b, has_b) + sum(square(net(a, b, has_b)));
        },
    .loss_at = 0.6 * randn<double>({18 + count(missing_modality())}, Random(3)),
    .errors = {bad_use<ValueError>([] { MissingModality<>(4, Random(1), {.tokens = 0}); }, "0 tokens"),
               bad_use<ShapeError>(
                   [] {
                     missing_modality().fill(zeros<double>({2, 3}));
                   },
                   "a [2, 3]"),
               bad_use<ShapeError>(
                   [] {
                     missing_modality()(zeros<double>({2, 3, 3}), zeros<double>({2, 1, 3}), ones<bool>({2}));
                   },
                   "b [2, 1, 3]"),
               bad_use<ShapeError>(
                   [] {
                     missing_modality().fill_loss(zeros<double>({2, 3, 3}), zeros<double>({2, 2, 3}), ones<bool>({3}));
                   },
                   "has_b [3]"),
               bad_use<ShapeError>(
                   [] {
                     linear_fill(zeros<double>({0, 2}), zeros<double>({0, 2}));
                   },
                   "[0, 2]"),
               bad_use<ValueError>(
                   [] {
                     linear_fill(ones<double>({4, 2}), ones<double>({4, 2}));
                   },
                   "column 0 of a"),
               bad_use<ValueError>([] { linear_fill(TwoViews().a, TwoViews().b, -1); }, "ridge is -1"),
               bad_use<ValueError>([] { linear_fill(TwoViews().a, TwoViews().b * INFINITY); }, "not finite"),
               bad_use<ValueError>([] { linear_fill(TwoViews().a * NAN, TwoViews().b); }, "not finite")},
    .properties =
        {{"jointly Gaussian views: S_ba S_aa^-1, and the trace of the conditional covariance is left",
          [] {
            const TwoViews views;
            const LinearFill fill = linear_fill(views.a, views.b);
            CHECK(gap(fill.map.weight, views.weight()) < 1e-14);
            CHECK(fill.floor == Approx(views.floor()).epsilon(1e-13));
            const Numbers at_mean = fill(reshape(views.shift_a, {1, 2}));
            CHECK(gap(at_mean, reshape(views.shift_b, {1, 2})) < 1e-14);
            // A common part of 1e6, of both.
            const LinearFill far = linear_fill(views.a + 1e6, views.b - 1e6);
            CHECK(gap(far.map.weight, views.weight()) < 1e-9);
            CHECK(far.floor == Approx(views.floor()).epsilon(1e-9));
            // Ridge: W (L L' + r I) = C L'.
            const LinearFill shrunk = linear_fill(views.a, views.b, 0.3);
            const Numbers s_aa = matmul(views.to_a, views.to_a, {.transpose_b = true}) + 0.3 * eye<double>(2);
            CHECK(gap(matmul(shrunk.map.weight, s_aa), matmul(views.c, views.to_a, {.transpose_b = true})) < 1e-14);
            CHECK(shrunk.floor > fill.floor);
          }},
         {"the best filling of one token by one is that map, at a loss of the floor and slope 0",
          [] {
            const TwoViews views;
            const LinearFill fill = linear_fill(views.a, views.b);
            MissingModality<double> net(2, Random(1));
            net.attention.in_proj_weight = eye<double>(2);
            net.attention.in_proj_weight = concat(std::vector{eye<double>(2), eye<double>(2), eye<double>(2)}, 0);
            net.attention.out_proj.weight = fill.map.weight;
            net.placeholders = reshape(*fill.map.bias, {1, 2});
            const Tensor<bool> all = ones<bool>({16});
            const auto loss = [&](const auto& n) { return n.fill_loss(views.tokens_a(), views.tokens_b(), all); };
            const auto [value, slope] = value_and_grad(loss, net);
            CHECK(value.item() == Approx(views.floor()).epsilon(1e-13));
            CHECK(largest(to_vector(slope)) < 1e-13);
            CHECK(gap(reshape(net.fill(views.tokens_a()), {16, 2}), fill(views.a)) < 1e-14);
          }},
         {"training comes to the floor from above",
          [] {
            const TwoViews views;
            const Tensor<bool> all = ones<bool>({16});
            const auto loss = [&](const auto& n) { return n.fill_loss(views.tokens_a(), views.tokens_b(), all); };
            MissingModality<double> net(2, Random(2));
            double last = 1e9;
            for (int step = 0; step < 1500; ++step) {
              const auto [value, slope] = value_and_grad(loss, net);
              last = value.item();
              CHECK(last > views.floor() * (1 - 1e-12));
              net = net - 0.05 * slope;
            }
            CHECK(last < views.floor() * 1.001);
            const Numbers far = reshape(tensor<double>({3, -2}), {1, 1, 2});
            CHECK(gap(reshape(net.fill(far), {1, 2}), linear_fill(views.a, views.b)(reshape(far, {1, 2}))) < 0.05);
          }},
         {"samples that have both stay as they are, bit for bit; what a lacking one holds is not read",
          [] {
            const MissingModality<double> net = missing_modality();
            const Numbers a = randn<double>({3, 4, 3}, Random(2)), b = randn<double>({3, 2, 3}, Random(3));
            const auto has_b = tensor<bool>({true, false, true});
            const Numbers nowhere = where(reshape(has_b, {3, 1, 1}), b, NAN);
            const Numbers both = net(a, b, ones<bool>({3})), some = net(a, nowhere, has_b);
            CHECK(same_bits(both, concat(std::vector{a, b}, 1)));
            CHECK(same_bits(slice(some, 0, 0, 1), slice(both, 0, 0, 1)));
            CHECK(same_bits(slice(some, 0, 2, 3), slice(both, 0, 2, 3)));
            CHECK(same_bits(slice(slice(some, 0, 1, 2), 1, 4, 6), slice(net.fill(a), 0, 1, 2)));
            const auto loss = [&](const auto& n, const Numbers& from) { return n.fill_loss(a, from, has_b); };
            CHECK(same_bits(loss(net, nowhere), loss(net, b)));
            const auto slope = [&](const Numbers& from) {
              return to_vector(grad([&](const auto& n) { return loss(n, from); }, net));
            };
            CHECK(same_bits(slope(nowhere), slope(b)));
            CHECK(largest(slope(b)) > 1e-3);
          }},
         {"the mean over those that have both, their own modality a constant; none: 0",
          [] {
            const MissingModality<double> net = missing_modality();
            const Numbers a = randn<double>({3, 4, 3}, Random(2)), b = randn<double>({3, 2, 3}, Random(3));
            const Numbers filled = net.fill(a);
            double expected = 0;
            for (const Index i : {0, 2})
              for (Index m = 0; m < 2; ++m)
                for (Index j = 0; j < 3; ++j) {
                  const double off = filled.at({i, m, j}) - b.at({i, m, j});
                  expected += off * off / 2;
                }
            const auto has_b = tensor<bool>({true, false, true});
            CHECK(net.fill_loss(a, b, has_b).item() == Approx(expected).epsilon(1e-13));
            CHECK(net.fill_loss(a, b, zeros<bool>({3})).item() == 0);
            const auto of_b = [&](const Numbers& own) { return net.fill_loss(a, own, has_b) + sum(own); };
            CHECK(same_bits(grad(of_b, b), ones<double>({3, 2, 3})));
          }}},
}});

// ------------------------------------------------------------------------------------------- auxiliary tasks (P3)

/// A head that draws: dropout, then a linear map.
template <class T>
struct DroppingHead {
  Linear<T> map;
  GRAFT_FIELDS(map)
  Tensor<T> operator()(const Tensor<T>& x, ContextRef context) const { return map(Dropout{0.3}(x, context)); }
};
template <class T>
using Net = AuxiliaryTasks<TanhLayer<T>, DroppingHead<T>, DroppingHead<T>>;
template <class T>
Net<T> auxiliary_net(const std::vector<double>& weights, Index in = 3, Index wide = 5) {
  std::vector<DroppingHead<T>> others;
  for (std::size_t k = 0; k < weights.size(); ++k)
    others.push_back({Linear<T>(wide, 2, Random(2).stream("auxiliary", k))});
  return {TanhLayer<T>(in, wide, Random(1)), DroppingHead<T>{Linear<T>(wide, 2, Random(2))}, others, {weights}};
}
template <class T>
auto squared(double target) {
  return [target](const Tensor<T>& y) { return mean(square(y - target)); };
}
template <class T>
auto squared_of_task() {
  return [](Index k, const Tensor<T>& y) { return mean(square(y - static_cast<double>(k + 1))); };
}
template <class T>
Tensor<T> auxiliary_loss(const Net<T>& net, const Tensor<T>& x) {
  std::vector<Context> contexts = net.contexts(Phase::training, Random(11));
  return net.loss(x, squared<T>(0.5), squared_of_task<T>(), contexts);
}

/// A trunk of two units, the main head on the first, the auxiliary one on the first `mixing` and the second.
struct TwoUnits {
  Linear<double> trunk{3, 2, Random(1)};
  Numbers main = tensor<double>({1, 0}), other = tensor<double>({0, 1});
  GRAFT_FIELDS(trunk, main, other)
  Numbers losses(const Numbers& x) const {
    const Numbers features = tanh(trunk(x));
    return stack(
        std::vector{mean(square(sum(features * main, {1}) - 0.7)), mean(square(sum(features * other, {1}) + 0.3))});
  }
};

const bool auxiliary_tasks_row = add_method_rows({{
    .name = "auxiliary_tasks",
    .header = "graft/placeholder/auxiliary_tasks.hpp",
    .paper = "Caruana, Multitask learning, Machine Learning 1997",
    .functions = {"AuxiliaryTasks", "AuxiliaryTaskOptions"},
    .use = "net.loss(x, main_loss, auxiliary_loss, contexts); net.deployed()(x, context)",
    .run =
        [](const Random& random) {
          const Tensor<float> x = randn<float>({300, 8}, random);
          return to_vector(
              grad([&](const auto& net) { return auxiliary_loss(net, x); }, auxiliary_net<float>({0.3, 0.1}, 8, 16)));
        },
    .loss =
        [](const Numbers& x) {
          return auxiliary_loss(from_vector(x, auxiliary_net<double>({0.3, 0.1})), randn<double>({4, 3}, Random(3)));
        },
    .loss_at = 0.6 * randn<double>({count(auxiliary_net<double>({0.3, 0.1}))}, Random(4)),
    .errors = {bad_use<ValueError>(
                   [] {
                     Net<double>(TanhLayer<double>(), DroppingHead<double>(), std::vector<DroppingHead<double>>(2),
                                 {{1.0}});
                   },
                   "1 weights for 2"),
               bad_use<ValueError>(
                   [] {
                     Net<double>(TanhLayer<double>(), DroppingHead<double>(), std::vector<DroppingHead<double>>(1),
                                 {{-1.0}});
                   },
                   "a weight is -1"),
               bad_use<ValueError>(
                   [] {
                     auto net = auxiliary_net<double>({1, 1});
                     net.options.weights.pop_back();
                     auxiliary_loss(net, zeros<double>({2, 3}));
                   },
                   "1 weights for 2 auxiliary tasks"),
               bad_use<ValueError>(
                   [] {
                     const auto net = auxiliary_net<double>({1});
                     std::vector<Context> one(1);
                     net.loss(zeros<double>({2, 3}), squared<double>(0), squared_of_task<double>(), one);
                   },
                   "1 contexts"),
               bad_use<ShapeError>(
                   [] {
                     const auto net = auxiliary_net<double>({1});
                     std::vector<Context> contexts(2);
                     net.loss(
                         zeros<double>({2, 3}), [](const Numbers& y) { return y; }, squared_of_task<double>(),
                         contexts);
                   },
                   "main loss must be a scalar"),
               bad_use<ShapeError>(
                   [] {
                     const auto net = auxiliary_net<double>({1});
                     std::vector<Context> contexts(2);
                     net.loss(
                         zeros<double>({2, 3}), squared<double>(0), [](Index, const Numbers& y) { return y; },
                         contexts);
                   },
                   "auxiliary task 0 must be a scalar"),
               bad_use<ValueError>(
                   [] {
                     const auto net = auxiliary_net<double>({1, 1});
                     std::vector<Context> contexts(3);
                     net.loss(
                         zeros<double>({2, 3}), squared<double>(0),
                         [](Index k, const Numbers& y) { return k == 1 ? sum(y) * NAN : sum(y); }, contexts);
                   },
                   "auxiliary task 1 is nan")},
    .properties =
        {{"weights of 0: the base model's loss, gradient and random numbers, bit for bit; nothing is computed",
          [] {
            const auto net = auxiliary_net<float>({0, 0});
            const Tensor<float> x = randn<float>({6, 3}, Random(5));
            const auto base_loss = [&](const auto& base) {
              return squared<float>(0.5)(base(x, Context(Phase::training, Random(11))));
            };
            const auto [value, slope] = value_and_grad([&](const auto& n) { return auxiliary_loss(n, x); }, net);
            const auto [expected, base_slope] = value_and_grad(base_loss, net.deployed());
            CHECK(same_bits(value, expected));
            CHECK(same_bits(to_vector(slope.deployed()), to_vector(base_slope)));
            CHECK(largest(to_vector(slope.auxiliary)) == 0);
            std::vector<Context> contexts = net.contexts(Phase::training, Random(11));
            net.loss(
                x, squared<float>(0),
                [](Index, const Tensor<float>& y) {
                  FAIL("an auxiliary task without weight was asked");
                  return sum(y);
                },
                contexts);
          }},
         {"each on or off: no task moves another's random numbers",
          [] {
            const Tensor<float> x = randn<float>({6, 3}, Random(5));
            const auto terms = [&](const std::vector<double>& weights) {
              const auto net = auxiliary_net<float>(weights);
              std::vector<Context> contexts = net.contexts(Phase::training, Random(11));
              std::vector<Tensor<float>> all(4);
              net.loss(
                  x, [&](const Tensor<float>& y) { return all[3] = squared<float>(0.5)(y); },
                  [&](Index k, const Tensor<float>& y) { return all[k] = squared_of_task<float>()(k, y); }, contexts);
              return all;
            };
            const auto full = terms({1, 1, 1});
            for (int on = 0; on < 8; ++on) {
              const auto some = terms({on & 1 ? 0.5 : 0, on & 2 ? 0.5 : 0, on & 4 ? 0.5 : 0});
              CHECK(same_bits(some[3], full[3]));
              for (std::size_t k = 0; k < 3; ++k) {
                CHECK(some[k].defined() == ((on >> k & 1) == 1));
                if (some[k].defined()) CHECK(same_bits(some[k], full[k]));
              }
            }
          }},
         {"the weighted sum of the tasks' losses",
          [] {
            const Numbers x = randn<double>({6, 3}, Random(5));
            const auto at = [&](double a, double b) { return auxiliary_loss(auxiliary_net<double>({a, b}), x).item(); };
            const double main = at(0, 0), first = at(1, 0) - main, second = at(0, 1) - main;
            CHECK(at(0.3, 0.2) == Approx(main + 0.3 * first + 0.2 * second).epsilon(1e-13));
          }},
         {"to first order a step changes the main loss by -alpha <g_0, g_k>: not at all if they are orthogonal",
          [] {
            const Numbers x = randn<double>({6, 3}, Random(5));
            for (const double mixing : {0.0, 0.8}) {
              TwoUnits net;
              net.other = tensor<double>({mixing, 1});
              const auto task = [&](Index k) {
                return grad([&](const TwoUnits& n) { return reshape(slice(n.losses(x), 0, k, k + 1), {}); }, net).trunk;
              };
              const Linear<double> g0 = task(0), g1 = task(1);
              const auto main_after = [&](double alpha) {
                TwoUnits moved = net;
                moved.trunk = net.trunk - alpha * g1;
                return moved.losses(x).at({0});
              };
              const double product = dot(g0, g1).item();
              CHECK((mixing == 0 ? product == 0 : std::abs(product) > 1e-3));
              CHECK(slope_at_zero(main_after) == Approx(-product).margin(1e-9));
              const Numbers losses = net.losses(x), g = stack(std::vector{to_vector(g0), to_vector(g1)});
              const Numbers affinity = first_order_affinity(matmul(g, g, {.transpose_b = true}), losses, 0.01);
              CHECK(affinity.at({1, 0}) == Approx(0.01 * product / losses.at({0})).margin(1e-15));
            }
          }},
         {"what is deployed is the base model: its type, its names, as many numbers, the same answers",
          [] {
            const auto net = auxiliary_net<double>({0.3, 0.1});
            const BodyHead base{TanhLayer<double>(3, 5, Random(1)),
                                DroppingHead<double>{Linear<double>(5, 2, Random(2))}};
            const auto deployed = net.deployed();
            CHECK(std::is_same_v<decltype(net.deployed()), std::remove_const_t<decltype(base)>>);
            CHECK(names(deployed) == names(base));
            CHECK(count(deployed) == count(base));
            CHECK(count(net) == count(base) + 2 * (5 * 2 + 2));
            const Numbers x = randn<double>({6, 3}, Random(5));
            CHECK(same_bits(deployed(x, Context()), net(x, Context())));
            CHECK(same_bits(deployed(x, Context()), base(x, Context())));
          }}},
}});

}  // namespace
