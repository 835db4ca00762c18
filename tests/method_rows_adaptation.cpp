// Rows of the method table for the methods of fewshot/ that adapt by gradient steps.

#include <algorithm>
#include <cmath>

#include "adaptation.hpp"
#include "catch.hpp"
#include "graft/fewshot/anil.hpp"
#include "graft/fewshot/baseline.hpp"
#include "graft/fewshot/boil.hpp"
#include "graft/fewshot/imaml.hpp"
#include "graft/fewshot/maml.hpp"
#include "graft/fewshot/maml_plus_plus.hpp"
#include "graft/fewshot/meta_sgd.hpp"
#include "graft/fewshot/reptile.hpp"

using namespace graft;
using namespace adaptation;

namespace {

// Here and not beside the tasks: an error must name the file of the rows.
template <class Method>
BadUse diverging(const Method& method) {
  return bad_use<ValueError>([method] { method.adapt(Tensor<double>(0), quadratic_set({{4, 1}})); }, "not finite");
}

// ---- ANIL, NIL and BOIL ---------------------------------------------------------------------------------------------
const bool anil_row = add_method_rows({{
    .name = "anil",
    .header = "graft/fewshot/anil.hpp",
    .paper = "Raghu, Raghu, Bengio, Vinyals, Rapid learning or feature reuse?, ICLR 2020",
    .functions = {"Anil", "Nil", "CosineVote"},
    .use = "Anil<>{{.head = {\"head\"}}}.train_loss(net, episode, context)",
    .run =
        [](const Random& random) {
          const Net<float> model = large_net(random);
          const Episode<float> episode = large_episode(random);
          return concat<float>({trained(Anil<>{{.steps = 2}}, model, episode, random),
                                reshape(Nil<>().adapt(model, episode.support).predict(episode.query.x), {-1})},
                               0);
        },
    .loss = loss_of(Anil<>{{.steps = 2}}, small_net()),
    .loss_at = to_vector(small_net()),
    .errors = {bad_use<ValueError>([] { Anil<>{{.head = {"tail"}}}.adapt(small_net(), small_episode().support); },
                                   "no parameter is named 'tail'"),
               bad_use<ValueError>([] { Anil<>{{.steps = -1}}.adapt(small_net(), small_episode().support); },
                                   "steps is -1"),
               bad_use<ValueError>([] { Anil<>{{.alpha = INFINITY}}.adapt(small_net(), small_episode().support); },
                                   "alpha is inf"),
               bad_use<ValueError>(
                   [] {
                     Nil<>().adapt(small_net(),
                                   LabelledSet<double>{small_episode().support.x, tensor<std::int64_t>({0, 2, 0, 2})});
                   },
                   "class 1 of 3 has no support item"),
               diverging(Anil<QuadraticLoss>{{.head = {""}, .alpha = 1e200, .steps = 3}})},
    .properties =
        {{"the body keeps its bits, the head does not",
          [] {
            const Net<double> adapted = Anil<>{{.steps = 3}}.adapt(small_net(), small_episode().support).model;
            CHECK(same_bits_of(adapted.body, small_net().body));
            CHECK_FALSE(same_bits_of(adapted.head, small_net().head));
          }},
         {"a rate of 0, or no steps: joint training",
          [] {
            const Net<double> joint = joint_gradient(small_net(), small_episode().query);
            CHECK(gap_of(gradient_of(Anil<>{{.alpha = 0, .steps = 3}}, small_net(), small_episode()), joint) == 0);
            CHECK(gap_of(gradient_of(Anil<>{{.steps = 0}}, small_net(), small_episode()), joint) == 0);
          }},
         {"the head adapts as MAML adapts a model with a frozen body, and all parts named are MAML",
          [] {
            const Episode<double> task = small_episode();
            CHECK(same_bits_of(Anil<>{{.steps = 3}}.adapt(small_net(), task.support).model,
                               Maml<>{{.steps = 3}}.adapt(freeze(small_net(), {"body"}), task.support).model));
            CHECK(gap_of(gradient_of(Anil<>{{.head = {"body", "head"}, .steps = 2}}, small_net(), task),
                         gradient_of(Maml<>{{.steps = 2}}, small_net(), task)) < 1e-15);
          }},
         {"NIL: shares of a vote by cosines, which no positive factor of the features changes",
          [] {
            struct Features {
              double factor;
              GRAFT_FIELDS()
              GRAFT_CONFIG(factor)
              Tensor<double> operator()(const Tensor<double>& x) const { return factor * x; }
            };
            const Episode<double> task = embedded_episode({.ways = 5, .shots = 1, .queries = 7});
            const auto shares = [&](double factor) {
              const BodyHead model{Features{factor}, Linear<double>(4, 5, Random(1))};
              return exp(Nil<>().adapt(model, task.support).predict(task.query.x));
            };
            CHECK(gap(shares(1), shares(1e6)) < 1e-14);
            CHECK(gap(sum(shares(1), {1}), ones<double>({7})) < 1e-14);
            const double bound = std::exp(2) / (std::exp(2) + 4);  // all others opposite
            CHECK(bound == Approx(0.6488).epsilon(1e-4));
            CHECK(max(shares(1)).item() < bound);
            const Tensor<double> by_hand =
                softmax(matmul(unit_rows(task.query.x), unit_rows(task.support.x), {.transpose_b = true}), 1);
            CHECK(gap(shares(1), by_hand) < 1e-14);
          }},
         {"NIL: one class that all others are opposite to gets the largest share that there is",
          [] {
            const BodyHead model{Same(), Linear<double>(1, 2, Random(1))};
            const LabelledSet<double> support{tensor<double>({{3}, {-1}, {-2}}), tensor<std::int64_t>({0, 1, 2})};
            const Tensor<double> logits = Nil<>().adapt(model, support).predict(tensor<double>({{5}, {0}}));
            CHECK(std::exp(logits.at({0, 0})) == Approx(std::exp(2) / (std::exp(2) + 2)).epsilon(1e-14));
            for (Index way = 0; way < 3; ++way) CHECK(logits.at({1, way}) == Approx(std::log(1.0 / 3)).epsilon(1e-14));
          }}},
}});

const bool boil_row = add_method_rows({{
    .name = "boil",
    .header = "graft/fewshot/boil.hpp",
    .paper = "Oh, Yoo, Kim, Yun, BOIL: Towards representation change for few-shot learning, ICLR 2021",
    .functions = {"Boil"},
    .use = "Boil<>{{.head = {\"head\"}}}.train_loss(net, episode, context)",
    .run =
        [](const Random& random) {
          return trained(Boil<>{{.steps = 2}}, large_net(random), large_episode(random), random);
        },
    .loss = loss_of(Boil<>{{.steps = 2}}, small_net()),
    .loss_at = to_vector(small_net()),
    .errors = {bad_use<ValueError>([] { Boil<>{{.head = {"tail"}}}.adapt(small_net(), small_episode().support); },
                                   "no parameter is named 'tail'"),
               bad_use<ValueError>(
                   [] {
                     Boil<>{{.head = {"body", "head"}}}.adapt(small_net(), small_episode().support);
                   },
                   "there is no body"),
               bad_use<ValueError>([] { Boil<>{{.steps = -1}}.adapt(small_net(), small_episode().support); },
                                   "steps is -1"),
               diverging(Boil<QuadraticLoss>{{.head = {}, .alpha = 1e200, .steps = 3}})},
    .properties = {{"the head keeps its bits, the body does not",
                    [] {
                      const Net<double> adapted =
                          Boil<>{{.steps = 3}}.adapt(small_net(), small_episode().support).model;
                      CHECK(same_bits_of(adapted.head, small_net().head));
                      CHECK_FALSE(same_bits_of(adapted.body, small_net().body));
                    }},
                   {"a rate of 0, or no steps: joint training",
                    [] {
                      const Net<double> joint = joint_gradient(small_net(), small_episode().query);
                      CHECK(gap_of(gradient_of(Boil<>{{.alpha = 0, .steps = 3}}, small_net(), small_episode()),
                                   joint) == 0);
                      CHECK(gap_of(gradient_of(Boil<>{{.steps = 0}}, small_net(), small_episode()), joint) == 0);
                    }},
                   {"the body adapts as MAML adapts a model with a frozen head",
                    [] {
                      const Episode<double> task = small_episode();
                      CHECK(same_bits_of(
                          Boil<>{{.steps = 3}}.adapt(small_net(), task.support).model,
                          Maml<>{{.alpha = 0.5, .steps = 3}}.adapt(freeze(small_net(), {"head"}), task.support).model));
                    }}},
}});

// ---- Meta-SGD -------------------------------------------------------------------------------------------------------
const bool meta_sgd_row = add_method_rows({{
    .name = "meta_sgd",
    .header = "graft/fewshot/meta_sgd.hpp",
    .paper = "Li, Zhou, Chen, Li, Meta-SGD: Learning to learn quickly for few-shot learning, arXiv 2017",
    .functions = {"MetaSgd", "meta_sgd_model"},
    .use = "MetaSgd<>().train_loss(meta_sgd_model(net, random), episode, context)",
    .run =
        [](const Random& random) {
          return trained(MetaSgd<>{{.steps = 2}}, meta_sgd_model(large_net(random), random), large_episode(random),
                         random);
        },
    .loss = loss_of(MetaSgd<>{{.steps = 2}}, meta_sgd_model(small_net(), Random(3), {0.2, 0.5})),
    .loss_at = to_vector(meta_sgd_model(small_net(), Random(3), {0.2, 0.5})),
    .errors = {bad_use<ValueError>([] { meta_sgd_model(small_net(), Random(1), {.low = 1}); }, "above high"),
               bad_use<ValueError>([] { meta_sgd_model(small_net(), Random(1), {.high = NAN}); }, "high is nan"),
               bad_use<ValueError>(
                   [] {
                     MetaSgd<>{{.steps = -1}}.adapt(meta_sgd_model(small_net(), Random(1)), small_episode().support);
                   },
                   "steps is -1"),
               bad_use<ShapeError>(
                   [] { MetaSgd<>().adapt(maml_plus_plus_model(small_net()), small_episode().support); }, "[5]"),
               bad_use<ValueError>(
                   [] {
                     MetaSgd<QuadraticLoss>{{.steps = 3}}.adapt(
                         ModelWithRates{Tensor<double>(0), Tensor<double>(1e200)}, quadratic_set({{4, 1}}));
                   },
                   "the support loss is not finite at step 1")},
    .properties =
        {{"the gradient of the rates is minus the support gradient times the query gradient",
          [] {
            const auto model = meta_sgd_model(small_net(), Random(3));
            const Episode<double> task = small_episode();
            const Net<double> adapted = MetaSgd<>().adapt(model, task.support).model;
            const Net<double> support = joint_gradient(small_net(), task.support),
                              query = joint_gradient(adapted, task.query);
            for (const bool first_order : {false, true}) {
              const Net<double> rates = gradient_of(MetaSgd<>{{.first_order = first_order}}, model, task).rates;
              CHECK(gap(to_vector(rates), -to_vector(support) * to_vector(query)) < 1e-15);
            }
          }},
         {"equal rates are MAML",
          [] {
            const auto model = meta_sgd_model(small_net(), Random(3), {0.3, 0.3});
            const Maml<> maml{{.alpha = 0.3, .steps = 2}};
            const MetaSgd<> method{{.steps = 2}};
            CHECK(gap_of(gradient_of(method, model, small_episode()).model,
                         gradient_of(maml, small_net(), small_episode())) < 1e-14);
          }},
         {"initial rates lie between 0.005 and 0.1, and differ",
          [] {
            const Tensor<float> rates = to_vector(meta_sgd_model(large_net(Random(1)), Random(3)).rates);
            CHECK(min(rates).item() >= 0.005f);
            CHECK(max(rates).item() <= 0.1f);
            CHECK(mean(rates).item() == Approx(0.0525).epsilon(0.02));
            CHECK(stddev(rates).item() == Approx(0.095 / std::sqrt(12)).epsilon(0.03));
          }},
         {"a negative rate climbs",
          [] {
            const ModelWithRates model{Tensor<double>(0), Tensor<double>(-0.5)};
            CHECK(MetaSgd<QuadraticLoss>().adapt(model, quadratic_set({{2, 1}})).model.item() == -1);
          }},
         {"for tasks of one curvature a the rate becomes 1/a, and one step solves each",
          [] {
            const double a = 2;
            ModelWithRates<Tensor<double>> model{Tensor<double>(0.3), Tensor<double>(0.05)};
            const std::vector<Episode<double>> tasks{quadratic_task(a, -1), quadratic_task(a, 1), quadratic_task(a, 2)};
            const auto loss = [&](const auto& m) {
              Tensor<double> total(0);
              for (const auto& task : tasks) total = total + MetaSgd<QuadraticLoss>().train_loss(m, task, Context());
              return total;
            };
            for (int step = 0; step < 2000; ++step) model = axpy(-0.02, grad(loss, model), model);
            CHECK(model.rates.item() == Approx(1 / a).epsilon(1e-7));
            CHECK(loss(model).item() < 1e-12);
          }}},
}});

// ---- Reptile --------------------------------------------------------------------------------------------------------
/// Value and slope at 0 of a polynomial of degree 2, from its values at 0.1, 0.2 and 0.3.
template <class F>
std::pair<double, double> value_and_slope_at_zero(F f) {
  const double one = f(0.1), two = f(0.2), three = f(0.3);
  return {3 * one - 3 * two + three, (-5 * one + 8 * two - 3 * three) / 0.2};
}

const bool reptile_row = add_method_rows({{
    .name = "reptile",
    .header = "graft/fewshot/reptile.hpp",
    .paper = "Nichol, Achiam, Schulman, On first-order meta-learning algorithms, arXiv 2018",
    .functions = {"Reptile", "reptile_direction"},
    .use = "Reptile<>().train_loss(net, episode, context)",
    .run =
        [](const Random& random) {
          const Net<float> model = large_net(random);
          const Episode<float> episode = large_episode(random);
          return concat<float>({trained(Reptile<>(), model, episode, random),
                                trained(Reptile<>{{.alpha = 0.1, .adam = false}}, model, episode, random)},
                               0);
        },
    .errors = {bad_use<ValueError>([] { Reptile<>{{.steps = 0}}.adapt(small_net(), small_episode().support); },
                                   "steps is 0"),
               bad_use<ValueError>([] { Reptile<>{{.batch = -1}}.adapt(small_net(), small_episode().support); },
                                   "batch is -1"),
               bad_use<ValueError>([] { Reptile<>{{.alpha = -1}}.adapt(small_net(), small_episode().support); },
                                   "alpha is -1"),
               bad_use<ShapeError>([] { reptile_direction(small_net(), net<double>(3, 5, 2, Random(1))); }, "body.map"),
               diverging(Reptile<QuadraticLoss>{{.alpha = 1e200, .steps = 3, .adam = false}})},
    .properties =
        {{"one plain step on all items: the gradient of the support loss, times alpha",
          [] {
            const Episode<double> task = small_episode();
            const Reptile<> method{{.alpha = 0.25, .steps = 1, .batch = 0, .adam = false}};
            CHECK(gap_of(gradient_of(method, small_net(), task), 0.25 * joint_gradient(small_net(), task.support)) <
                  1e-15);
            CHECK(method.train_loss(small_net(), task, Context()).item() ==
                  Approx(ClassificationLoss()(small_net(), task.support, Context()).item()).epsilon(1e-15));
          }},
         {"fixed points on quadratic tasks: weights 1 - (1 - alpha a)^steps",
          [] {
            const auto method = [](int steps) {
              return Reptile<QuadraticLoss>{{.alpha = 0.1, .steps = steps, .batch = 0, .adam = false}};
            };
            CHECK(std::abs(fixed_point(method(1)) - 0.75) < 5e-8);
            CHECK(std::abs(fixed_point(method(2)) - 0.7285714) < 5e-8);
            const double one = 1 - std::pow(0.9, 5), three = 1 - std::pow(0.7, 5);
            CHECK(fixed_point(method(5)) == Approx(three / (one + three)).epsilon(1e-12));
          }},
         {"series of two mini-batches: MAML (1, -2 alpha), FOMAML (1, -alpha), Reptile (2, -alpha)",
          [] {
            // Nichol et al. 2018, section 5.1: the mean over both orders of the mini-batches is, to first order in
            // alpha, so many times the mean gradient and the mean of H_2 g_1. Tasks (a, c) = (1, 0) and (3, 1) at 0.25
            // have gradients 0.25 and -2.25.
            const double mean_gradient = (0.25 - 2.25) / 2, mean_inner = (3 * 0.25 - 1 * 2.25) / 2;
            const LabelledSet<double> first = quadratic_set({{1, 0}}), second = quadratic_set({{3, 1}});
            const Tensor<double> theta(0.25);
            const auto check = [&](auto gradient, double of_gradient, double of_inner) {
              const auto [value, slope] = value_and_slope_at_zero(gradient);
              CHECK(value == Approx(of_gradient * mean_gradient).epsilon(1e-10));
              CHECK(slope == Approx(of_inner * mean_inner).epsilon(1e-10));
            };
            const auto maml = [&](bool first_order) {
              return [&, first_order](double alpha) {
                const Maml<QuadraticLoss> method{{.alpha = alpha, .first_order = first_order}};
                return (gradient_of(method, theta, Episode<double>{first, second, 1}).item() +
                        gradient_of(method, theta, Episode<double>{second, first, 1}).item()) /
                       2;
              };
            };
            check(maml(false), 1, -2);
            check(maml(true), 1, -1);
            const Episode<double> both{quadratic_set({{1, 0}, {3, 1}}), {}, 1};
            const auto direction = [&](double alpha, int steps, std::uint64_t seed) {
              const Reptile<QuadraticLoss> method{{.alpha = alpha, .steps = steps, .batch = 1, .adam = false}};
              const auto loss = [&](const Tensor<double>& at) {
                return method.train_loss(at, both, Context(Phase::training, Random(seed)));
              };
              return grad(loss, theta).item() / alpha;
            };
            std::uint64_t seeds[2] = {0, 0};  // that draw the one task first, and the other
            while (direction(0.1, 1, seeds[0]) < 0) ++seeds[0];
            while (direction(0.1, 1, seeds[1]) > 0) ++seeds[1];
            check([&](double alpha) { return (direction(alpha, 2, seeds[0]) + direction(alpha, 2, seeds[1])) / 2; }, 2,
                  -1);
          }},
         {"the gradient is theta - phi with Adam too, whose first step goes by alpha in every direction",
          [] {
            const Episode<double> task = small_episode();
            const Reptile<> method{{.steps = 1, .batch = 0}};
            const Net<double> direction = gradient_of(method, small_net(), task);
            CHECK(gap_of(direction, reptile_direction(small_net(), method.adapt(small_net(), task.support).model)) <
                  1e-15);
            const Tensor<double> slope = to_vector(joint_gradient(small_net(), task.support));
            CHECK(gap(to_vector(direction), 1e-3 * slope / (abs(slope) + 1e-8)) < 1e-12);
            // Two steps on (theta - 1)^2 from 0, slopes -2 and -1.8: no mean of slopes, the mean of squares corrected.
            const double square = (0.999 * 0.001 * 4 + 0.001 * 1.8 * 1.8) / (1 - 0.999 * 0.999);
            const Reptile<QuadraticLoss> twice{{.alpha = 0.1, .steps = 2, .batch = 0}};
            CHECK(twice.adapt(Tensor<double>(0), quadratic_set({{2, 1}})).model.item() ==
                  Approx(0.1 + 0.1 * 1.8 / std::sqrt(square)).epsilon(1e-7));
          }},
         {"mini-batches are drawn by the context's numbers, each item as often as any other",
          [] {
            const auto adapted = [](std::uint64_t seed) {
              return Reptile<>{{.steps = 3, .batch = 2}}
                  .adapt(small_net(), small_episode().support, {}, Context(Phase::training, Random(seed)))
                  .model;
            };
            CHECK(same_bits_of(adapted(1), adapted(1)));
            CHECK_FALSE(same_bits_of(adapted(1), adapted(2)));
            struct SeenLoss {
              std::vector<double>* seen;
              Tensor<double> operator()(const Tensor<double>& theta, const LabelledSet<double>& set, ContextRef) const {
                for (const double item : set.x.span()) seen->push_back(item);
                return sum(set.x * theta);
              }
            };
            std::vector<double> seen;
            const Reptile<SeenLoss> method{{.steps = 4, .batch = 3, .adam = false}, {&seen}};
            method.adapt(Tensor<double>(1),
                         LabelledSet<double>{tensor<double>({1, 2, 3, 4, 5, 6}), zeros<std::int64_t>({6})});
            REQUIRE(seen.size() == 12);
            std::vector<double> first(seen.begin(), seen.begin() + 6), second(seen.begin() + 6, seen.end());
            CHECK(first != second);
            for (std::vector<double>* pass : {&first, &second}) {
              std::sort(pass->begin(), pass->end());
              CHECK(*pass == std::vector<double>{1, 2, 3, 4, 5, 6});
            }
          }}},
}});

// ---- iMAML ----------------------------------------------------------------------------------------------------------
const Imaml<> accurate{{.lambda = 2, .alpha = 0.5, .steps = 200, .cg_steps = 40}};

const bool imaml_row = add_method_rows({{
    .name = "imaml",
    .header = "graft/fewshot/imaml.hpp",
    .paper = "Rajeswaran, Finn, Kakade, Levine, Meta-learning with implicit gradients, NeurIPS 2019",
    .functions = {"Imaml"},
    .use = "Imaml<>{{.lambda = 2}}.train_loss(net, episode, context)",
    .run =
        [](const Random& random) {
          return trained(Imaml<>{{.steps = 3, .cg_steps = 2}}, large_net(random), large_episode(random), random);
        },
    .errors =
        {bad_use<ValueError>([] { Imaml<>{{.lambda = 0}}.adapt(small_net(), small_episode().support); }, "lambda is 0"),
         bad_use<ValueError>([] { Imaml<>{{.alpha = NAN}}.adapt(small_net(), small_episode().support); },
                             "alpha is nan"),
         bad_use<ValueError>([] { Imaml<>{{.steps = -1}}.adapt(small_net(), small_episode().support); }, "steps is -1"),
         bad_use<ValueError>([] { Imaml<>{{.cg_steps = -1}}.adapt(small_net(), small_episode().support); },
                             "cg_steps is -1"),
         diverging(Imaml<QuadraticLoss>{{.lambda = 1e-100, .alpha = 1e90, .steps = 9}})},
    .properties =
        {{"fixed points on quadratic tasks: weights a (lambda / (a + lambda))^2",
          [] {
            const auto method = [](double lambda) {
              return Imaml<QuadraticLoss>{{.lambda = lambda, .alpha = 0.1, .steps = 400}};
            };
            CHECK(std::abs(fixed_point(method(10)) - 0.6823308) < 5e-8);
            for (const double lambda : {0.5, 2.0}) {
              const double one = std::pow(lambda / (1 + lambda), 2), three = 3 * std::pow(lambda / (3 + lambda), 2);
              CHECK(fixed_point(method(lambda)) == Approx(three / (one + three)).epsilon(1e-10));
            }
          }},
         {"solves the dense system of a model of 10 parameters, and is the slope of the query loss at the minimum",
          [] {
            const Net<double> model = net<double>(1, 2, 2, Random(4));
            REQUIRE(count(model) == 10);
            const Episode<double> task = embedded_episode({.ways = 2, .shots = 3, .queries = 8, .width = 1}, 5);
            const Net<double> phi = accurate.adapt(model, task.support).model;
            // At the minimum  grad L_S(phi) + lambda (phi - theta) = 0.
            CHECK(gap_of(joint_gradient(phi, task.support), -2 * (phi - model)) < 1e-12);
            const auto slope = [&](const Tensor<double>& at) {
              return to_vector(joint_gradient(from_vector(at, model), task.support));
            };
            const Tensor<double> system = eye<double>(10) + jacobian(slope, to_vector(phi)) / 2.0;
            const Tensor<double> v = to_vector(gradient_of(accurate, model, task));
            CHECK(gap(reshape(matmul(system, reshape(v, {10, 1})), {10}), to_vector(joint_gradient(phi, task.query))) <
                  1e-9);
            const Tensor<double> direction = randn<double>({10}, Random(6));
            const double by_differences = slope_at_zero([&](double t) {
              return accurate.train_loss(from_vector(to_vector(model) + t * direction, model), task, Context()).item();
            });
            CHECK(sum(v * direction).item() == Approx(by_differences).epsilon(1e-7));
          }},
         {"for a large lambda, and without steps, the joint gradient",
          [] {
            const Net<double> joint = joint_gradient(small_net(), small_episode().query);
            CHECK(gap_of(gradient_of(Imaml<>{{.lambda = 1e9}}, small_net(), small_episode()), joint) < 1e-8);
            CHECK(gap_of(gradient_of(Imaml<>{{.steps = 0, .cg_steps = 0}}, small_net(), small_episode()), joint) == 0);
          }},
         {"the value is the query loss of the adapted model",
          [] {
            const Episode<double> task = small_episode();
            const Net<double> phi = Imaml<>().adapt(small_net(), task.support).model;
            CHECK(Imaml<>().train_loss(small_net(), task, Context()).item() ==
                  ClassificationLoss()(phi, task.query, Context()).item());
          }},
         {"a random support loss is one function for all steps",
          [] {
            struct NoisyLoss {
              Tensor<double> operator()(const Tensor<double>& theta, const LabelledSet<double>&,
                                        ContextRef context) const {
                return 0.5 * square(theta - context->stream("noise").normal(0));
              }
            };
            const Imaml<NoisyLoss> method{{.lambda = 2, .alpha = 0.5, .steps = 100}};
            const auto adapted =
                method.adapt(Tensor<double>(3), quadratic_set({{1, 0}}), {}, Context(Phase::training, Random(7)));
            const double noise = Context(Phase::training, Random(7)).stream("noise").normal(0);
            CHECK(adapted.model.item() == Approx((noise + 2 * 3) / (1 + 2)).epsilon(1e-12));
          }},
         {"curvature below minus lambda leaves the query gradient",
          [] {
            // -4/2 (theta - 1)^2 on the support, 1/2 theta^2 on the query.
            const Episode<double> task{quadratic_set({{-4, 1}}), quadratic_set({{1, 0}}), 1};
            const Imaml<QuadraticLoss> method{{.lambda = 2, .steps = 0}};
            CHECK(gradient_of(method, Tensor<double>(0.5), task).item() == 0.5);
          }}},
}});

// ---- Baseline and Baseline++ ----------------------------------------------------------------------------------------
template <class T>
using CosineNet = BodyHead<TanhLayer<T>, CosineLinear<T>>;
template <class T>
CosineNet<T> cosine_net(Index in, Index width, Index classes, const Random& random) {
  return {TanhLayer<T>(in, width, random.stream("body")), CosineLinear<T>(width, classes, random.stream("head"))};
}

const bool baseline_row = add_method_rows({{
    .name = "baseline",
    .header = "graft/fewshot/baseline.hpp",
    .paper = "Chen, Liu, Kira, Wang, Huang, A closer look at few-shot classification, ICLR 2019",
    .functions = {"Baseline", "BaselinePlusPlus", "CosineLinear"},
    .use = "BaselinePlusPlus<>().adapt(BodyHead{body, CosineLinear<>(64, classes, random)}, support)",
    .run =
        [](const Random& random) {
          const Episode<float> episode = large_episode(random);
          const BaselineOptions options{.steps = 20};
          return concat<float>(
              {trained(Baseline<>{options}, large_net(random), episode, random),
               trained(BaselinePlusPlus<>{options}, cosine_net<float>(48, 96, 5, random), episode, random)},
              0);
        },
    .loss = loss_of(BaselinePlusPlus<>(), cosine_net<double>(3, 4, 2, Random(1))),
    .loss_at = to_vector(cosine_net<double>(3, 4, 2, Random(1))),
    .errors = {bad_use<ValueError>([] { Baseline<>{{.steps = -1}}.adapt(small_net(), small_episode().support); },
                                   "steps is -1"),
               bad_use<ValueError>([] { Baseline<>{{.batch = -1}}.adapt(small_net(), small_episode().support); },
                                   "batch is -1"),
               bad_use<ValueError>([] { Baseline<>{{.alpha = -1}}.adapt(small_net(), small_episode().support); },
                                   "alpha is -1"),
               bad_use<ValueError>([] { CosineLinear<>(4, 2, Random(1), {.scale = 0}); }, "scale is 0"),
               bad_use<ShapeError>(
                   [] {
                     CosineLinear<>(4, 2, Random(1))(zeros({3, 5}));
                   },
                   "[3, 5]"),
               bad_use<ValueError>([] { Baseline<>().train_loss(small_net(), Episode<double>(), Context()); },
                                   "no items"),
               bad_use<ValueError>(
                   [] {
                     Baseline<>().adapt(small_net(), LabelledSet<double>{small_episode().support.x,
                                                                         tensor<std::int64_t>({0, 2, 0, 2})});
                   },
                   "class 1 of 3"),
               bad_use<ValueError>([] { Baseline<>{{.alpha = 1e300}}.adapt(small_net(), small_episode().support); },
                                   "not finite")},
    .properties =
        {{"the body keeps its bits, and the head is new and of the task's ways",
          [] {
            const Episode<double> task = embedded_episode({.ways = 4, .shots = 2, .queries = 4, .width = 3});
            const auto linear = Baseline<>().adapt(small_net(), task.support).model;
            CHECK(same_bits_of(linear.body, small_net().body));
            CHECK(linear.head.weight.shape() == Shape{4, 4});
            const auto model = cosine_net<double>(3, 4, 2, Random(1));
            const auto cosine = BaselinePlusPlus<>().adapt(model, task.support).model;
            CHECK(same_bits_of(cosine.body, model.body));
            CHECK(cosine.head.weight.shape() == Shape{4, 4});
          }},
         {"the new head depends on the context's random numbers, not on the old head",
          [] {
            const auto head = [](std::uint64_t seed, std::uint64_t old) {
              auto model = small_net();
              model.head = Linear<double>(4, 2, Random(old));
              return Baseline<>()
                  .adapt(model, small_episode().support, {}, Context(Phase::training, Random(seed)))
                  .model.head;
            };
            CHECK(same_bits_of(head(1, 1), head(1, 2)));
            CHECK_FALSE(same_bits_of(head(1, 1), head(2, 1)));
          }},
         {"cosine logits do not change with the length of features and weights",
          [] {
            const CosineLinear<double> head(4, 3, Random(1));
            const Tensor<double> x = randn<double>({6, 4}, Random(2)), logits = head(x);
            CHECK(max(abs(logits)).item() <= 2);
            CosineLinear<double> longer = head;
            longer.weight = tensor<double>({{1e-3}, {7}, {1e6}}) * head.weight;
            const Tensor<double> lengths = exp(5.0 * randn<double>({6, 1}, Random(3)));
            CHECK(gap(longer(lengths * x), logits) < 1e-14);
            CHECK(max(abs(head(zeros<double>({1, 4})))).item() == 0);
          }},
         {"two steps by hand, with momentum, dampening and weight decay",
          [] {
            const LabelledSet<double> support = small_episode().support;
            const auto model = [&](int steps) {
              return Baseline<>{{.alpha = 0.5, .steps = steps, .batch = 0}}.adapt(small_net(), support).model;
            };
            const auto full = [&](const Net<double>& at) { return joint_gradient(at, support).head + 1e-3 * at.head; };
            const Linear<double> first = full(model(0)), second = full(model(1));
            CHECK(gap_of(model(1).head, model(0).head - 0.5 * first) < 1e-15);
            CHECK(gap_of(model(2).head, model(1).head - 0.5 * (0.9 * first + 0.1 * second)) < 1e-15);
          }},
         {"trained long, a head finds the minimum of the support loss with weight decay",
          [] {
            const double decay = 0.1;
            const Baseline<> method{{.alpha = 0.5, .steps = 3000, .batch = 0, .weight_decay = decay}};
            const Episode<double> task = small_episode();
            const auto adapted = method.adapt(small_net(), task.support).model;
            CHECK(gap_of(joint_gradient(adapted, task.support).head, -decay * adapted.head) < 1e-10);
          }},
         {"training is that of a classifier on support and query together",
          [] {
            const Episode<double> task = small_episode();
            const double support = ClassificationLoss()(small_net(), task.support, Context()).item(),
                         query = ClassificationLoss()(small_net(), task.query, Context()).item();
            CHECK(Baseline<>().train_loss(small_net(), task, Context()).item() ==
                  Approx((4 * support + 6 * query) / 10).epsilon(1e-14));
            CHECK(Baseline<>().train_loss(small_net(), Episode<double>{{}, task.query, 2}, Context()).item() == query);
          }}},
}});

}  // namespace
