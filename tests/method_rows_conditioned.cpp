// Rows of the method table for few-shot methods that condition on the task, learn in context, or mix tasks.

#include <algorithm>
#include <cmath>

#include "catch.hpp"
#include "graft/fewshot/arml.hpp"
#include "graft/fewshot/episode_learner.hpp"
#include "graft/fewshot/in_context.hpp"
#include "graft/fewshot/maml.hpp"
#include "graft/fewshot/meta_mix.hpp"
#include "graft/fewshot/protonet.hpp"
#include "graft/fewshot/tadam.hpp"
#include "graft/optim/adam.hpp"
#include "heads.hpp"
#include "layers.hpp"

using namespace graft;

namespace {

using Numbers = Tensor<double>;

/// x as it is.
struct Same {
  GRAFT_FIELDS()
  template <class T>
  Tensor<T> operator()(const Tensor<T>& x) const {
    return x;
  }
};
/// Every number of a model a little off.
template <class M>
M shaken(const M& model, double size = 0.3) {
  const Numbers point = cast<double>(to_vector(model));
  return from_vector(point + size * randn<double>(point.shape(), Random(31)), model);
}

// ---- TADAM ----------------------------------------------------------------------------------------------------------
template <class T>
Tadam<TanhLayer<T>, T> tadam(const TadamOptions& options = {}, Index wide = 6, Index in = 4, Index out = 5) {
  const Random random(3);
  return {{TanhLayer<T>(in, wide, random.stream(1)), TanhLayer<T>(wide, out, random.stream(2))},
          {wide, out},
          random,
          options};
}
double weight_squares(const Tadam<TanhLayer<double>, double>& model) {
  double squares = 0;
  for (const auto& encoder : model.encoders)
    squares += std::pow(encoder.scale_weight.item(), 2) + std::pow(encoder.shift_weight.item(), 2);
  return squares;
}

const bool tadam_row = add_method_rows({{
    .name = "tadam",
    .header = "graft/fewshot/tadam.hpp",
    .paper = "Oreshkin, Rodriguez Lopez, Lacoste, TADAM: Task dependent adaptive metric for improved few-shot "
             "learning, NeurIPS 2018",
    .functions = {"Tadam", "TadamMethod", "TaskEncodingNetwork", "Film", "TadamTask", "AdaptedTadam"},
    .use = "TadamMethod().train_loss(Tadam(stages, widths, random), episode, context)",
    .run =
        [](const Random& random) {
          const auto model = shaken(tadam<float>({}, 48, 32, 24));
          const Episode<float> episode =
              embedded_episode<float>({.ways = 10, .shots = 5, .queries = 200, .width = 32}, random);
          return to_vector(grad([&](const auto& m) { return TadamMethod().train_loss(m, episode, Context()); }, model));
        },
    .loss =
        [](const Numbers& point) {
          const auto model = from_vector(point, tadam<double>({.alpha = 0.5, .layers = 2}));
          return TadamMethod().train_loss(model, embedded_episode(), Context());
        },
    .loss_at = to_vector(shaken(tadam<double>({.alpha = 0.5, .layers = 2}))),
    .errors = {bad_use<ValueError>([] { tadam<float>({.alpha = 0}); }, "alpha is 0"),
               bad_use<ValueError>([] { tadam<float>({.layers = 0}); }, "layers is 0"),
               bad_use<ValueError>([] { tadam<float>({.penalty = -1}); }, "penalty is -1"),
               bad_use<ValueError>(
                   [] {
                     Tadam<TanhLayer<float>>({TanhLayer<float>()}, {3, 4}, Random(1));
                   },
                   "widths of 2"),
               bad_use<ValueError>([] { TaskEncodingNetwork<float>(0, 4, 1, Random(1)); }, "from 0 to 4"),
               bad_use<ShapeError>(
                   [] {
                     auto model = tadam<double>();
                     model.stages[1] = TanhLayer<double>(6, 7, Random(1));
                     model(embedded_episode(), Context());
                   },
                   "[items, ..., 5]"),
               bad_use<ValueError>(
                   [] {
                     Episode<double> e = embedded_episode();
                     e.support.y = zeros<std::int64_t>({6});
                     tadam<double>()(e, Context());
                   },
                   "class 1 of 3")},
    .properties =
        {{"it starts unconditioned, and with squares and alpha 1 as a prototypical network, bit for bit",
          [] {
            const Episode<double> e = embedded_episode();
            const auto model = tadam<double>({.alpha = 1, .squared = true});
            const auto embedded = [&](const Numbers& x) { return model.stages[1](model.stages[0](x)); };
            const Numbers expected = protonet_logits(embedded(e.support.x), e.support.y, embedded(e.query.x), 3);
            CHECK(same_bits(model(e, Context()), expected));
            CHECK_FALSE(same_bits(shaken(model)(e, Context()), expected));
            CHECK(gap(tadam<double>({.alpha = 7.5})(e, Context()), -7.5 * sqrt(-expected)) < 1e-13);
          }},
         {"scales and shifts by hand",
          [] {
            // One stage, the identity, of two features; networks of two layers with weights a I and b I.
            Tadam<Same, double> model({Same()}, {2}, Random(1), {.alpha = 2, .layers = 2});
            auto& ten = model.encoders[0];
            const auto set = [](std::vector<Linear<double>>& layers, double a, double b) {
              for (auto& layer : layers) layer.bias = zeros<double>({2});
              layers[0].weight = a * eye<double>(2), layers[1].weight = b * eye<double>(2);
            };
            set(ten.scale, 0.5, 2), set(ten.shift, -1, 0.25);
            ten.scale_weight = Numbers(0.3), ten.shift_weight = Numbers(-0.7);
            // Classes of 2 and 1 items: the task is the mean of their means, not of the items.
            const Episode<double> e{{tensor<double>({{1, 2}, {3, 0}, {-1, 5}}), tensor<std::int64_t>({0, 0, 1})},
                                    {tensor<double>({{0.5, -2}}), {}},
                                    2};
            const double task[] = {(2 - 1) / 2.0, (1 + 5) / 2.0}, centres[2][2] = {{2, 1}, {-1, 5}};
            const auto silu_of = [](double x) { return x / (1 + std::exp(-x)); };
            for (int k = 0; k < 2; ++k) {
              double squared = 0;
              for (int j = 0; j < 2; ++j) {
                const double h = silu_of(0.5 * task[j]), g = silu_of(-task[j]);
                const double gamma = 0.3 * (2 * h + h) + 1, beta = -0.7 * (0.25 * g + g);
                squared += std::pow((gamma * e.query.x.at({0, j}) + beta) - (gamma * centres[k][j] + beta), 2);
              }
              CHECK(model(e, Context()).at({0, k}) == Approx(-2 * std::sqrt(squared)).epsilon(1e-12));
            }
            const auto known = model.condition(e.support, 2, Context());
            CHECK(known.films[0].beta.at({0}) == Approx(-0.7 * 1.25 * silu_of(-0.5)).epsilon(1e-13));
            CHECK(known.prototypes.at({1, 0}) ==
                  Approx(-(0.3 * 3 * silu_of(0.25) + 1) + known.films[0].beta.at({0})).epsilon(1e-13));
          }},
         {"the paper's limits of the gradient for a small and a large alpha",
          [] {
            // Lemma 1: the gradient over alpha, of the squared distances d_j to K classes, tends to (K - 1) / K grad
            // d_k
            // - 1/K sum of the other grad d_j, and to grad d_k - grad d_nearest.
            const Episode<double> e = embedded_episode({.queries = 1});
            const Numbers c = prototypes(e.support.x, e.support.y, 3);
            const auto slope = [&](double alpha) {
              const Tadam<Same, double> model({Same()}, {4}, Random(1), {.alpha = alpha, .squared = true});
              return grad(
                         [&](const Numbers& x) {
                           return cross_entropy(model(with_queries(e, x), Context()), tensor<std::int64_t>({0}));
                         },
                         e.query.x) /
                     alpha;
            };
            const auto towards = [&](Index k) { return 2.0 * (e.query.x - slice(c, 0, k, k + 1)); };
            CHECK(gap(slope(1e-7), 2.0 / 3 * towards(0) - 1.0 / 3 * (towards(1) + towards(2))) < 1e-5);
            const Numbers squares = squared_distances(e.query.x, c);
            const Index nearest = argmin(squares, 1).at({0});
            CHECK(gap(slope(1e4), towards(0) - towards(nearest)) < 1e-12);
          }},
         {"a query is answered by itself, and the order of support and classes does not matter",
          [] {
            const Episode<double> e = embedded_episode();
            const auto model = shaken(tadam<double>());
            check_inductive(model, e);
            check_permutations(model, e);
            const auto known = TadamMethod().adapt(model, e.support);
            CHECK(same_bits(known.predict(e.query.x), model(e, Context())));
          }},
         {"the loss of training is the cross-entropy and 0.01 / 2 of the multipliers' squares",
          [] {
            const Episode<double> e = embedded_episode();
            const auto model = shaken(tadam<double>());
            const double fit = cross_entropy(model(e, Context()), e.query.y).item();
            CHECK(TadamMethod().train_loss(model, e, Context()).item() ==
                  Approx(fit + 0.005 * weight_squares(model)).epsilon(1e-13));
            CHECK(tadam<double>().penalty().item() == 0);
          }},
         {"positions are averaged, and an offset of 1e6 costs nothing",
          [] {
            const Tadam<Same, double> model({Same()}, {4}, Random(1));
            const Episode<double> e = on_a_grid(embedded_episode());
            const auto spread = [](const Numbers& x) {
              const Numbers other = flip(reshape(x, {x.size(0), 1, 1, 4}), 3);
              return concat<double>({2.0 * reshape(x, {x.size(0), 1, 1, 4}) - other, other}, 2);
            };
            const Numbers plain = model(e, Context());
            CHECK(gap(model(with_embeddings(e, spread), Context()), plain) < 1e-12);
            CHECK(gap(model(shifted(e, 1e6), Context()), plain) < 1e-8);
          }}},
}});

// ---- ARML -----------------------------------------------------------------------------------------------------------
template <class T>
using Net = TanhLayer<T>;
template <class T>
Arml<Net<T>, TanhLayer<T>, T> arml(const ArmlOptions& options, Index in = 4, Index ways = 3) {
  const Random random(7);
  return {Net<T>(in, ways, random.stream("net")), TanhLayer<T>(in, options.width, random.stream("embedding")), random,
          options};
}
const ArmlOptions small{.width = 5, .vertices = 4, .hidden = 3};
/// A model whose vertices, and prototypes of `embedded_episode()`, differ by 0.2 or more in every number: |h_j - h_m|
/// has a kink at 0.
Arml<Net<double>, TanhLayer<double>, double> smooth_arml() {
  auto model = shaken(arml<double>(small));
  model.embedding = TanhLayer<double>(4, 5, Random(15));
  model.vertices = generate({4, 5}, [](Index v, Index w) { return 0.5 * static_cast<double>((v + w) % 4) - 0.8; });
  return model;
}

const bool arml_row = add_method_rows({{
    .name = "arml",
    .header = "graft/fewshot/arml.hpp",
    .paper = "Yao, Wu, Tao, Li, Ding, Li, Li, Automated relational meta-learning, ICLR 2020",
    .functions = {"Arml", "ArmlMethod", "ArmlTask", "PrototypeEncoder"},
    .use = "ArmlMethod<>().train_loss(Arml(net, embedding, random), episode, context)",
    .run =
        [](const Random& random) {
          const auto model = arml<float>({.width = 24, .hidden = 16}, 32, 10);
          const Episode<float> episode =
              embedded_episode<float>({.ways = 10, .shots = 5, .queries = 100, .width = 32}, random);
          return to_vector(
              grad([&](const auto& m) { return ArmlMethod<>().train_loss(m, episode, Context()); }, model));
        },
    .loss =
        [](const Numbers& point) {
          const ArmlMethod<> method{{.alpha = 0.3, .steps = 2, .heard = 0.2, .own = 0.1}};
          return method.train_loss(from_vector(point, arml<double>(small)), embedded_episode(), Context());
        },
    .loss_at = to_vector(smooth_arml()),
    .errors = {bad_use<ValueError>([] { arml<float>({.width = 0}); }, "width 0"),
               bad_use<ValueError>([] { arml<float>({.sigma = 0}); }, "sigma is 0"),
               bad_use<ValueError>([] { arml<float>({.gate_bias = NAN}); }, "gate_bias is nan"),
               bad_use<ValueError>(
                   [] { ArmlMethod<>{{.steps = -1}}.train_loss(arml<double>(small), embedded_episode(), Context()); },
                   "steps is -1"),
               bad_use<ValueError>(
                   [] { ArmlMethod<>{{.heard = -1}}.train_loss(arml<double>(small), embedded_episode(), Context()); },
                   "heard is -1"),
               bad_use<ValueError>(
                   [] {
                     Episode<double> e = embedded_episode();
                     e.support.x = e.support.x * INFINITY;
                     ArmlMethod<>().adapt(arml<double>(small), e.support);
                   },
                   "not finite"),
               bad_use<IndexError>(
                   [] {
                     Episode<double> e = embedded_episode();
                     arml<double>(small).represent(e.support, 2, Context());
                   },
                   "of 2 ways"),
               bad_use<ShapeError>(
                   [] {
                     auto model = arml<double>(small);
                     model.embedding = TanhLayer<double>(4, 6, Random(1));
                     model.represent(embedded_episode().support, 3, Context());
                   },
                   "[items, 5]")},
    .properties =
        {{"gates of 1 are MAML, bit for bit",
          [] {
            const Episode<double> e = embedded_episode();
            auto model = arml<double>({.width = 5, .vertices = 4, .hidden = 3, .gate_bias = 40});
            model.gates.weight = zeros<double>(model.gates.weight.shape());
            const ArmlMethod<> method{{.alpha = 0.3, .steps = 2, .heard = 0, .own = 0}};
            const auto loss = [](const Net<double>& net, const LabelledSet<double>& set) {
              return cross_entropy(net(set.x), set.y);
            };
            const MamlOptions maml{.alpha = 0.3, .steps = 2};
            CHECK(same_bits(method.train_loss(model, e, Context()), maml_loss(model.theta, e, loss, maml)));
            CHECK(same_bits(to_vector(method.adapt(model, e.support).model),
                            to_vector(maml_adapt(model.theta, e.support, loss, maml))));
          }},
         {"the graph of prototypes and vertices, and what they hear, by hand",
          [] {
            const auto model = shaken(arml<double>({.width = 5, .vertices = 4, .hidden = 3, .sigma = 0.5}));
            const Numbers c = randn<double>({3, 5}, Random(5)), a = model.super_graph(c),
                          nodes = concat<double>({c, model.vertices}, 0);
            const auto apart = [&](Index i, Index j, auto f) {
              double total = 0;
              for (Index w = 0; w < 5; ++w) total += f(nodes.at({i, w}) - nodes.at({j, w}), w);
              return total;
            };
            double expected[7][7];
            for (Index i = 0; i < 7; ++i)
              for (Index j = 0; j < 7; ++j) {
                const Linear<double>& map = i < 3 ? model.relation : model.knowledge;
                const double score = map.bias->at({0}) + apart(i, j, [&](double d, Index w) {
                                       return std::abs(d) * map.weight.at({0, w});
                                     });
                const auto weight = [&](Index prototype, Index vertex) {
                  return std::exp(-apart(prototype, vertex, [](double d, Index) { return d * d; }));
                };
                const Index prototype = std::min(i, j), vertex = std::max(i, j);
                double all = 0;
                for (Index v = 3; v < 7; ++v) all += weight(prototype, v);
                if ((i < 3) == (j < 3))
                  expected[i][j] = i == j ? 0 : 1 / (1 + std::exp(-score));
                else
                  expected[i][j] = weight(prototype, vertex) / all;
                CHECK(a.at({i, j}) == Approx(expected[i][j]).epsilon(1e-12));
              }
            const Numbers heard = model.propagated(c);
            for (Index i = 0; i < 3; ++i)
              for (Index w = 0; w < 5; ++w) {
                double sum = model.propagation.bias->at({w}), row = 0;
                for (Index j = 0; j < 7; ++j) row += expected[i][j] + (i == j);
                for (Index j = 0; j < 7; ++j)
                  for (Index k = 0; k < 5; ++k)
                    sum += (expected[i][j] + (i == j)) / row * nodes.at({j, k}) * model.propagation.weight.at({w, k});
                CHECK(heard.at({i, w}) == Approx(std::tanh(sum)).epsilon(1e-12));
              }
          }},
         {"gates lie between 0 and 1, start about 1/2, and leave frozen parameters alone",
          [] {
            auto model = arml<double>(small);
            model.gates.weight = zeros<double>(model.gates.weight.shape());
            const auto task = model.represent(embedded_episode().support, 3, Context());
            CHECK(gap(to_vector(model.gated(task)), 0.5 * to_vector(model.theta)) == 0);
            model = shaken(arml<double>(small));
            model.theta = freeze(model.theta, {"map.bias"});
            const auto gated = model.gated(task);
            CHECK(same_bits(*gated.map.bias, *model.theta.map.bias));
            CHECK(gated.map.bias->frozen());
            const Numbers gates = gated.map.weight / model.theta.map.weight;
            CHECK(min(gates).item() > 0);
            CHECK(max(gates).item() < 1);
            CHECK(max(gates).item() - min(gates).item() > 0.1);
          }},
         {"the order of the support and of the classes changes no task representation",
          [] {
            const auto model = shaken(arml<double>(small));
            const Episode<double> e = embedded_episode();
            const auto of = [&](const Episode<double>& episode) {
              const auto task = model.represent(episode.support, 3, Context());
              return concat<double>({task.representation, reshape(task.heard, {1}), reshape(task.own, {1})}, 0);
            };
            CHECK(gap(of(with_permuted_support(e, Random(2))), of(e)) < 1e-13);
            CHECK(gap(of(with_renamed_classes(e, {2, 0, 1})), of(e)) < 1e-13);
            CHECK(gap(of(embedded_episode({}, 2)), of(e)) > 1e-3);
          }},
         {"without steps the loss is that of the gated parameters and the weighted reconstruction errors",
          [] {
            const auto model = shaken(arml<double>(small));
            const Episode<double> e = embedded_episode();
            const auto task = model.represent(e.support, 3, Context());
            const double fit = cross_entropy(model.gated(task)(e.query.x), e.query.y).item();
            CHECK(ArmlMethod<>{{.steps = 0, .heard = 2, .own = 3}}.train_loss(model, e, Context()).item() ==
                  Approx(fit + 2 * task.heard.item() + 3 * task.own.item()).epsilon(1e-13));
            // A decoder of zeros says its bias, whatever it reads.
            PrototypeEncoder<double> encoder(5, 3, Random(1));
            encoder.decoder.weight = zeros<double>({5, 3});
            const Numbers x = randn<double>({3, 5}, Random(2));
            CHECK(encoder(x).second.item() == Approx(mse(x, broadcast_to(*encoder.decoder.bias, {3, 5})).item()));
          }}},
}});

// ---- Learning in context --------------------------------------------------------------------------------------------
const InContextOptions tiny{.ways = 4, .width = 4, .label_width = 4, .layers = 2, .heads = 2, .hidden = 6};
template <class T>
InContextLearner<T> in_context(const InContextOptions& options = tiny) {
  return shaken(InContextLearner<T>(Random(9), options));
}

const bool in_context_row = add_method_rows({{
    .name = "in_context",
    .header = "graft/fewshot/in_context.hpp",
    .paper = "Kirsch, Harrison, Sohl-Dickstein, Metz, General-purpose in-context learning by meta-learning "
             "Transformers, 2022; Fifty et al., Context-aware meta-learning, ICLR 2024",
    .functions = {"InContextLearner", "elmes_codes"},
    .use = "EpisodeLearner{embedding, InContextLearner<>(random)}(episode, context)",
    .run =
        [](const Random& random) {
          const InContextLearner<float> model(random.stream("model"), {.layers = 2});
          return trained_head(model, embedded_episode<float>({.ways = 5, .queries = 50, .width = 64}, random));
        },
    .loss = head_loss(in_context<double>(), embedded_episode()),
    .loss_at = head_point(in_context<double>(), embedded_episode()),
    .errors =
        [] {
          std::vector<BadUse> all = head_errors(in_context<double>(), embedded_episode());
          const auto refused = [&](const InContextOptions& options, const char* text) {
            all.push_back(bad_use<ValueError>([=] { InContextLearner<float>(Random(1), options); }, text));
          };
          refused({.ways = 40}, "40 codes of width 32");
          refused({.heads = 7}, "7 heads");
          refused({.layers = -1}, "-1 layers");
          refused({.dropout = 1}, "dropout is 1");
          all.push_back(bad_use<ValueError>([] { in_context<double>()(embedded_episode({.ways = 5}), Context()); },
                                            "5 ways, but there are codes for 4"));
          all.push_back(bad_use<ShapeError>([] { in_context<double>()(embedded_episode({.width = 5}), Context()); },
                                            "[items, 4]"));
          all.push_back(bad_use<ValueError>([] { elmes_codes<float>(3, 2); }, "3 codes of width 2"));
          return all;
        }(),
    .properties =
        {{"codes have length 1 and inner products -1 / (C - 1), and add up to 0",
          [] {
            for (const Index ways : {2, 3, 5, 20})
              for (const Index width : {ways, ways + 7}) {
                const Numbers codes = elmes_codes<double>(ways, width);
                const double n = static_cast<double>(ways);
                const Numbers expected = n / (n - 1) * eye<double>(ways) - full<double>({ways, ways}, 1 / (n - 1));
                CHECK(codes.shape() == Shape{ways, width});
                CHECK(gap(matmul(codes, codes, {.transpose_b = true}), expected) < 1e-15);
                CHECK(max(abs(sum(codes, {0}))).item() < 1e-14);
                CHECK(max(abs(sum(codes, {1}))).item() < 1e-14);
              }
            CHECK(same_bits(elmes_codes<double>(1, 3), tensor<double>({{1, 0, 0}})));
          }},
         {"inductive, and the order of the support does not matter",
          [] {
            const Episode<double> e = embedded_episode();
            check_inductive(in_context<double>(), e);
            const Numbers logits = in_context<double>()(e, Context());
            CHECK(gap(in_context<double>()(with_permuted_support(e, Random(3)), Context()), logits) < 1e-13);
            CHECK(gap(in_context<double>()(with_renamed_classes(e, {1, 2, 0}), Context()), logits) > 1e-3);
          }},
         {"what is attended to are the support tokens",
          [] {
            const auto model = in_context<double>();
            const Episode<double> e = embedded_episode();
            const Numbers known =
                concat<double>({e.support.x, model.scale * gather(model.codes.value, e.support.y)}, 1);
            const Numbers asked = concat<double>({e.query.x, broadcast_to(model.unknown, {5, 4})}, 1);
            Tensor<bool> seen = generate({1, 11}, [](Index, Index token) { return token < 6; });
            const Numbers out = model.transformer(reshape(concat<double>({known, asked}, 0), {1, 11, 8}),
                                                  {.key_mask = seen}, Context());
            const Numbers expected =
                matmul(slice(reshape(out, {11, 8}), 0, 6, 11), model.output.weight, {.transpose_b = true});
            CHECK(gap(model(e, Context()), slice(expected, 1, 0, 3)) < 1e-13);
          }},
         {"codes that no class has say nothing",
          [] {
            auto model = in_context<double>();
            const Episode<double> e = embedded_episode();
            const Numbers before = model(e, Context());
            CHECK(before.shape() == Shape{5, 3});
            model.codes.value = concat<double>({slice(model.codes.value, 0, 0, 3), full<double>({1, 4}, 50)}, 0);
            CHECK(same_bits(model(e, Context()), before));
          }},
         {"normalised, an offset of 1e6 changes nothing",
          [] {
            InContextOptions options = tiny;
            options.normalise = true;
            const auto model = in_context<double>(options);
            const Episode<double> e = on_a_grid(embedded_episode());
            CHECK(gap(model(shifted(e, 1e6), Context()), model(e, Context())) < 1e-7);
          }},
         {"trained on tasks of two classes, it learns new ones from their examples",
          [] {
            // Which side of a random line is class 1 is told by the examples alone.
            InContextLearner<float> model(
                Random(2), {.ways = 2, .width = 4, .label_width = 4, .layers = 2, .heads = 2, .hidden = 16});
            const auto task = [](std::uint64_t number) {
              return embedded_episode<float>({.ways = 2, .shots = 3, .queries = 10, .width = 4, .apart = 3}, number);
            };
            const HeadMethod<InContextLearner<float>> method;
            const EpisodeLearner learner{Same(), model};
            auto trained = learner;
            Adam adam(trained);
            for (std::uint64_t step = 0; step < 400; ++step)
              adam.step(trained,
                        grad([&](const auto& m) { return method.train_loss(m, task(step), Context()); }, trained),
                        0.003);
            double before = 0, after = 0;
            for (std::uint64_t number = 1000; number < 1040; ++number) {
              const Episode<float> e = task(number);
              before += share_right(method.adapt(learner, e.support).predict(e.query.x), e) / 40;
              after += share_right(method.adapt(trained, e.support).predict(e.query.x), e) / 40;
            }
            CHECK(before < 0.7);
            CHECK(after > 0.9);
          }}},
}});

// ---- Mixed tasks ----------------------------------------------------------------------------------------------------
/// Largest distance of the sorted numbers' empirical distribution from `cdf`, times the root of their count: above 2.2
/// once in 8000 (Kolmogorov and Smirnov).
template <class F>
double kolmogorov(std::vector<double> numbers, F cdf) {
  std::sort(numbers.begin(), numbers.end());
  const double n = static_cast<double>(numbers.size());
  double most = 0;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const double at = cdf(numbers[i]);
    most = std::max({most, at - static_cast<double>(i) / n, static_cast<double>(i + 1) / n - at});
  }
  return most * std::sqrt(n);
}
std::vector<double> many(Index count, auto draw) {
  std::vector<double> numbers;
  for (Index i = 0; i < count; ++i) numbers.push_back(draw(Random(77).stream(static_cast<std::uint64_t>(i))));
  return numbers;
}
/// A task of 4 classes and items of two numbers, and another.
Episode<double> task_of(std::uint64_t seed, Index shots = 2, Index queries = 8) {
  return embedded_episode({.ways = 4, .shots = shots, .queries = queries, .width = 2, .apart = 4}, seed);
}
Numbers class_means(const LabelledSet<double>& set) { return prototypes(set.x, set.y, 4); }

const bool meta_mix_row = add_method_rows({{
    .name = "meta_mix",
    .header = "graft/fewshot/meta_mix.hpp",
    .paper =
        "Yao et al., Improving generalization in meta-learning via task augmentation, ICML 2021; Yao, Zhang, Finn, "
        "Meta-learning with fewer tasks through task interpolation, ICLR 2022",
    .functions = {"MetaMix", "mix_episode", "interpolate_tasks", "interpolate_shared_tasks", "SoftClassificationLoss",
                  "SoftSet", "MixedEpisode", "beta_draw", "beta_draws", "gamma_draw"},
    .use = "MetaMix<Maml<>>().train_loss(net, episode, context)",
    .run =
        [](const Random& random) {
          const EmbeddedSizes sizes{.ways = 10, .shots = 5, .queries = 100, .width = 64};
          const auto a = embedded_episode<float>(sizes, random.stream("a")),
                     b = embedded_episode<float>(sizes, random.stream("b"));
          const double lambda = beta_draw(2, 2, random.stream("lambda"));
          const auto mixed = mix_episode(interpolate_tasks(a, b, lambda, random.stream("tasks")), random);
          const auto shared = interpolate_shared_tasks(a, b, lambda, random.stream("tasks"));
          const auto flat = [](const Tensor<float>& x) { return reshape(x, {-1}); };
          return concat<float>({flat(mixed.support.x), flat(mixed.query.x), flat(mixed.query.y), flat(shared.query.x),
                                flat(shared.support.y), beta_draws({100}, 0.5, 2, random)},
                               0);
        },
    .loss =
        [](const Numbers& point) {
          Episode<double> a = task_of(1);
          const Episode<double> b = task_of(2);
          a.query.x = reshape(slice(point, 0, 0, 16), {8, 2});
          a.support.x = reshape(slice(point, 0, 16, 32), {8, 2});
          const MetaMix<HeadMethod<ProtoNetHead>> method;
          return method.train_loss(EpisodeLearner{Same(), ProtoNetHead()}, interpolate_tasks(a, b, 0.3, Random(4)),
                                   Context());
        },
    .loss_at = randn<double>({32}, Random(6)),
    .errors =
        {bad_use<ValueError>([] { mix_episode(task_of(1), Random(1), {.alpha = 0}); }, "alpha is 0"),
         bad_use<ValueError>(
             [] {
               mix_episode(with_queries(task_of(1), zeros<double>({2, 2})), Random(1));
             },
             "with labels"),
         bad_use<ShapeError>(
             [] {
               Episode<double> e = task_of(1);
               e.query.x = zeros<double>({8, 3});
               mix_episode(e, Random(1));
             },
             "[8, 3]"),
         bad_use<IndexError>(
             [] {
               Episode<double> e = task_of(1);
               e.ways = 3;
               mix_episode(e, Random(1));
             },
             "index 3"),
         bad_use<ValueError>([] { interpolate_tasks(task_of(1), task_of(2), 1.5, Random(1)); }, "lambda is 1.5"),
         bad_use<ValueError>([] { interpolate_tasks(task_of(1), embedded_episode(), 0.5, Random(1)); }, "4 and 3 ways"),
         bad_use<ValueError>([] { interpolate_tasks(task_of(1), task_of(2, 2, 1), 0.5, Random(1)); },
                             "of b has no item"),
         bad_use<ValueError>([] { interpolate_shared_tasks(task_of(1), task_of(2), NAN, Random(1)); }, "lambda is nan"),
         bad_use<ValueError>([] { interpolate_shared_tasks(task_of(1), task_of(2, 2, 0), 0.5, Random(1)); },
                             "no query items"),
         bad_use<ValueError>([] { beta_draw(-1, 2, Random(1)); }, "a is -1"),
         bad_use<ValueError>([] { beta_draws({3}, 2, INFINITY, Random(1)); }, "b is inf"),
         bad_use<ValueError>([] { gamma_draw(1e-300, Random(1)); }, "1e-250 or more")},
    .properties =
        {{"a mixed query is lambda x + (1 - lambda) x' with its label's parts, partners used evenly",
          [] {
            const Episode<double> e = task_of(1, 2, 20);
            const auto mixed = mix_episode(e, Random(5));
            CHECK(same_bits(mixed.support.x, e.support.x));
            CHECK((mixed.lambda > 0 && mixed.lambda < 1));
            std::vector<int> used(8);
            for (Index q = 0; q < 20; ++q) {
              int found = 0;
              for (Index s = 0; s < 8; ++s) {
                double off = 0;
                for (Index w = 0; w < 2; ++w)
                  off += std::abs(mixed.query.x.at({q, w}) - mixed.lambda * e.query.x.at({q, w}) -
                                  (1 - mixed.lambda) * e.support.x.at({s, w}));
                if (off > 1e-13) continue;
                ++found, ++used[static_cast<std::size_t>(s)];
                for (Index k = 0; k < 4; ++k)
                  CHECK(mixed.query.y.at({q, k}) == Approx(mixed.lambda * (e.query.y.at({q}) == k) +
                                                           (1 - mixed.lambda) * (e.support.y.at({s}) == k)));
              }
              CHECK(found == 1);
            }
            CHECK(*std::min_element(used.begin(), used.end()) == 2);
            CHECK(*std::max_element(used.begin(), used.end()) == 3);
            CHECK_FALSE(same_bits(mix_episode(e, Random(6)).query.x, mixed.query.x));
          }},
         {"lambda is Beta(2, 2) once an episode",
          [] {
            const Episode<double> e = task_of(1, 1, 4);
            const auto drawn = many(2000, [&](const Random& random) { return mix_episode(e, random).lambda; });
            CHECK(kolmogorov(drawn, [](double x) { return x * x * (3 - 2 * x); }) < 2.2);
          }},
         {"a method's loss on mixed queries is the cross-entropy with the mixed labels",
          [] {
            const Episode<double> e = task_of(1, 2, 20);
            const EpisodeLearner learner{Same(), ProtoNetHead()};
            const MetaMix<HeadMethod<ProtoNetHead>> method;
            const auto mixed = mix_episode(e, Context().stream("meta mix"));
            const Numbers logits = learner(with_queries(e, mixed.query.x), Context());
            CHECK(method.train_loss(learner, e, Context()).item() ==
                  Approx(cross_entropy(logits, mixed.query.y).item()).epsilon(1e-12));
            CHECK(same_bits(method.adapt(learner, e.support).predict(e.query.x), learner(e, Context())));
            // The same of MAML, which takes the mixed episode as it is.
            const TanhLayer<double> net(2, 4, Random(3));
            const MamlOptions inner{.alpha = 0.2, .steps = 2};
            const auto soft = [](const TanhLayer<double>& phi, const auto& set) {
              return SoftClassificationLoss()(phi, set);
            };
            const MetaMix<Maml<>> maml{.method = {inner}};
            CHECK(maml.train_loss(net, e, Context()).item() ==
                  Approx(maml_loss(net, mixed, soft, inner).item()).epsilon(1e-12));
          }},
         {"two tasks: lambda 1 is the first, 0 the other with its classes renamed, and class means lie between",
          [] {
            const Episode<double> a = task_of(1), b = task_of(2);
            const auto mixed = [&](double lambda) { return interpolate_tasks(a, b, lambda, Random(8)); };
            CHECK(same_bits(mixed(1).support.x, a.support.x));
            CHECK(same_bits(mixed(1).query.x, a.query.x));
            CHECK(same_bits(mixed(0.3).query.y, a.query.y));
            const Numbers other = class_means(mixed(0).support), of_b = class_means(b.support);
            // Class k is pair(k) of b, the same in support and queries, every class once.
            const Tensor<std::int64_t> pair = argmin(squared_distances(other, of_b), 1);
            CHECK(gap(other, gather(of_b, pair)) < 1e-14);
            CHECK(gap(class_means(mixed(0).query), gather(class_means(b.query), pair)) < 1e-14);
            std::vector<bool> seen(4);
            for (const std::int64_t k : pair.span()) seen[static_cast<std::size_t>(k)] = true;
            CHECK(std::count(seen.begin(), seen.end(), true) == 4);
            CHECK(gap(class_means(mixed(0.3).support), 0.3 * class_means(a.support) + 0.7 * other) < 1e-14);
            bool renamed = false;
            for (std::uint64_t seed = 0; seed < 4; ++seed)
              renamed |= !same_bits(interpolate_tasks(a, b, 0, Random(seed)).support.x, mixed(0).support.x);
            CHECK(renamed);
            // A smaller task serves again from its start.
            CHECK(interpolate_tasks(a, task_of(2, 1, 4), 0.3, Random(8)).support.x.size(0) == 8);
          }},
         {"tasks that share labels mix them with the items",
          [] {
            const Episode<double> a = task_of(1), b = task_of(2);
            const auto mixed = interpolate_shared_tasks(a, b, 0.25, Random(8));
            // Each item of b serves once: sums over all items are known.
            for (const auto& [set, own, other] :
                 {std::tuple(mixed.support, a.support, b.support), std::tuple(mixed.query, a.query, b.query)}) {
              CHECK(gap(sum(set.x, {0}), 0.25 * sum(own.x, {0}) + 0.75 * sum(other.x, {0})) < 1e-13);
              CHECK(gap(sum(set.y, {0}), full<double>({4}, 2)) < 1e-14);
              CHECK(gap(sum(set.y, {1}), ones<double>({8})) < 1e-15);
            }
            CHECK(same_bits(interpolate_shared_tasks(a, b, 1, Random(8)).support.y, one_hot<double>(a.support.y, 4)));
          }},
         {"gamma draws: moments and distributions",
          [] {
            const Index count = 20000;
            for (const double shape : {0.3, 0.5, 1.0, 2.0, 7.5}) {
              const auto drawn = many(count, [&](const Random& random) { return gamma_draw(shape, random); });
              double mean_of = 0, square_of = 0;
              for (const double x : drawn) mean_of += x / count, square_of += x * x / count;
              const double n = static_cast<double>(count);
              // Mean a, variance a; of x^2 mean a (a + 1), variance (4 a^3 + 10 a^2 + 6 a). Five standard errors.
              CHECK(std::abs(mean_of - shape) < 5 * std::sqrt(shape / n));
              CHECK(std::abs(square_of - shape * (shape + 1)) <
                    5 * std::sqrt((4 * shape * shape * shape + 10 * shape * shape + 6 * shape) / n));
              if (shape == 0.5) CHECK(kolmogorov(drawn, [](double x) { return std::erf(std::sqrt(x)); }) < 2.2);
              if (shape == 1) CHECK(kolmogorov(drawn, [](double x) { return 1 - std::exp(-x); }) < 2.2);
              if (shape == 2) CHECK(kolmogorov(drawn, [](double x) { return 1 - std::exp(-x) * (1 + x); }) < 2.2);
            }
          }},
         {"beta draws: distributions, moments and ends",
          [] {
            const auto drawn = [](double a, double b) {
              return many(20000, [&](const Random& random) { return beta_draw(a, b, random); });
            };
            CHECK(kolmogorov(drawn(2, 2), [](double x) { return x * x * (3 - 2 * x); }) < 2.2);
            CHECK(kolmogorov(drawn(1, 1), [](double x) { return x; }) < 2.2);
            CHECK(kolmogorov(drawn(0.5, 0.5), [](double x) { return std::asin(std::sqrt(x)) / std::asin(1.0); }) < 2.2);
            CHECK(kolmogorov(drawn(0.2, 1), [](double x) { return std::pow(x, 0.2); }) < 2.2);
            CHECK(kolmogorov(drawn(1, 5), [](double x) { return 1 - std::pow(1 - x, 5); }) < 2.2);
            // Mean a / (a + b) and variance a b / ((a + b)^2 (a + b + 1)).
            double first = 0, second = 0;
            for (const double x : drawn(3, 1.5)) first += x / 20000, second += x * x / 20000;
            CHECK(std::abs(first - 2.0 / 3) < 5 * std::sqrt(2.0 / 9 / 5.5 / 20000));
            CHECK(second - first * first == Approx(2.0 / 9 / 5.5).epsilon(0.05));
            // Tiny shapes give an end, b's as often as a / (a + b) says.
            double ones_of = 0;
            for (const double x : drawn(1e-200, 3e-200)) {
              CHECK((x == 0 || x == 1));
              ones_of += x / 20000;
            }
            CHECK(std::abs(ones_of - 0.25) < 5 * std::sqrt(0.25 * 0.75 / 20000));
            const Numbers all = beta_draws<double>({2, 3}, 2, 2, Random(4));
            CHECK(all.at({1, 2}) == beta_draw(2, 2, Random(4).stream(5)));
          }}},
}});

}  // namespace
