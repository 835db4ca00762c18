// Rows of the method table for few-shot methods that condition on the task, or learn in context.

#include <algorithm>
#include <cmath>

#include "catch.hpp"
#include "graft/fewshot/arml.hpp"
#include "graft/fewshot/episode_learner.hpp"
#include "graft/fewshot/in_context.hpp"
#include "graft/fewshot/maml.hpp"
#include "graft/fewshot/protonet.hpp"
#include "graft/fewshot/tadam.hpp"
#include "graft/optim/adam.hpp"
#include "heads.hpp"
#include "layers.hpp"

using namespace graft;

namespace {

using Numbers = Tensor<double>;

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
                     auto model = tadam<double>();
                     model.encoders.pop_back();
                     model(embedded_episode(), Context());
                   },
                   "1 encoders for 2 stages"),
               bad_use<ValueError>(
                   [] {
                     tadam<double>().embed(zeros<double>({3, 4}), std::vector<Film<double>>(1), Context());
                   },
                   "1 films for 2 stages"),
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

}  // namespace
