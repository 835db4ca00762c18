// Rows of the method table for MAML++: rates of every step, a loss of every step, a batch norm of every step.

#include <algorithm>
#include <cmath>

#include "adaptation.hpp"
#include "catch.hpp"
#include "graft/fewshot/anil.hpp"
#include "graft/fewshot/maml.hpp"
#include "graft/fewshot/maml_plus_plus.hpp"
#include "graft/nn/per_step_norm.hpp"

using namespace graft;
using namespace adaptation;

namespace {

// ---- MAML++ ---------------------------------------------------------------------------------------------------------
/// A network with a norm between two maps.
template <class Norm>
struct NormNet {
  Linear<double> map;
  Norm norm;
  Linear<double> head;
  GRAFT_FIELDS(map, norm, head)

  Tensor<double> operator()(const Tensor<double>& x, ContextRef context) const {
    return head(tanh(norm(map(x), context)));
  }
};
template <class Norm>
NormNet<Norm> norm_net(const Norm& norm) {
  return {Linear<double>(3, 4, Random(3)), norm, Linear<double>(4, 2, Random(4))};
}
/// Two norms that differ.
PerStepBatchNorm<double> two_norms(BatchNormMode mode) {
  PerStepBatchNorm<double> norms(4, 2, {.mode = mode});
  norms.steps[0].bias = tensor<double>({0.5, -0.5, 1, 0});
  norms.steps[1].weight = tensor<double>({0.5, 1.5, 2, -1});
  return norms;
}

const bool maml_plus_plus_row = add_method_rows({{
    .name = "maml_plus_plus",
    .header = "graft/fewshot/maml_plus_plus.hpp",
    .paper = "Antoniou, Edwards, Storkey, How to train your MAML, ICLR 2019",
    .functions = {"MamlPlusPlus", "maml_plus_plus_model", "multi_step_weights"},
    .use = "MamlPlusPlus<>{{.round = epoch}}.train_loss(maml_plus_plus_model(net), episode, context)",
    .run =
        [](const Random& random) {
          return trained(MamlPlusPlus<>{{.round = 3}}, maml_plus_plus_model(large_net(random), {.steps = 2}),
                         large_episode(random), random);
        },
    .loss = loss_of(MamlPlusPlus<>{{.round = 3}}, maml_plus_plus_model(small_net(), {.steps = 2})),
    .loss_at = to_vector(maml_plus_plus_model(small_net(), {.steps = 2})),
    .errors = {bad_use<ValueError>([] { maml_plus_plus_model(small_net(), {.steps = 0}); }, "steps is 0"),
               bad_use<ValueError>([] { maml_plus_plus_model(small_net(), {.alpha = NAN}); }, "alpha is nan"),
               bad_use<ValueError>([] { multi_step_weights(0, 0.5); }, "steps is 0"),
               bad_use<ValueError>([] { multi_step_weights(3, NAN); }, "progress is nan"),
               bad_use<ValueError>(
                   [] {
                     MamlPlusPlus<>{{.round = -1}}.train_loss(maml_plus_plus_model(small_net()), small_episode(),
                                                              Context());
                   },
                   "round is -1"),
               bad_use<ShapeError>(
                   [] {
                     MamlPlusPlus<>().adapt(ModelWithRates{small_net(), small_net()}, small_episode().support);
                   },
                   "rates [4, 3]"),
               bad_use<ValueError>([] { maml_plus_plus_model(small_net(), {.kept = {"norm"}}); }, "'norm'"),
               bad_use<IndexError>(
                   [] {
                     const auto model = maml_plus_plus_model(norm_net(two_norms(BatchNormMode::batch)), {.steps = 3});
                     MamlPlusPlus<>().train_loss(model, small_episode(), Context());
                   },
                   "step 2 of the 2 of norm.inner_step"),
               bad_use<ValueError>(
                   [] {
                     const auto model = maml_plus_plus_model(Tensor<double>(0), {.steps = 3, .alpha = 1e200});
                     MamlPlusPlus<QuadraticLoss>().adapt(model, quadratic_set({{4, 1}}));
                   },
                   "the support loss is not finite at step 1")},
    .properties =
        {{"weights of the steps are equal at first, one at the last step in the end, and sum to 1",
          [] {
            for (const double weight : multi_step_weights(4, 0)) CHECK(weight == 0.25);
            for (const double progress : {1.0, 7.0})
              CHECK(multi_step_weights(3, progress) == std::vector<double>{0, 0, 1});
            const std::vector<double> half = multi_step_weights(4, 0.5);
            CHECK(half == std::vector<double>{0.125, 0.125, 0.125, 0.625});
            CHECK(multi_step_weights(1, 0) == std::vector<double>{1});
          }},
         {"after the annealing, and with equal rates, MAML",
          [] {
            const auto model = maml_plus_plus_model(small_net(), {.steps = 3, .alpha = 0.3});
            const Maml<> maml{{.alpha = 0.3, .steps = 3}};
            CHECK(gap_of(gradient_of(MamlPlusPlus<>{{.round = 10}}, model, small_episode()).model,
                         gradient_of(maml, small_net(), small_episode())) < 1e-14);
            CHECK(gap_of(MamlPlusPlus<>().adapt(model, small_episode().support).model,
                         maml.adapt(small_net(), small_episode().support).model) < 1e-14);
          }},
         {"before, the mean of the query losses after every step",
          [] {
            const auto model = maml_plus_plus_model(small_net(), {.steps = 3, .alpha = 0.3});
            double mean = 0;
            for (const int steps : {1, 2, 3})
              mean +=
                  Maml<>{{.alpha = 0.3, .steps = steps}}.train_loss(small_net(), small_episode(), Context()).item() / 3;
            CHECK(MamlPlusPlus<>().train_loss(model, small_episode(), Context()).item() == Approx(mean).epsilon(1e-14));
          }},
         {"gradients are of first order for the first rounds",
          [] {
            const auto model = maml_plus_plus_model(small_net(), {.steps = 2, .alpha = 0.3});
            const auto gradient = [&](Index round) {
              return gradient_of(MamlPlusPlus<>{{.anneal_rounds = 0, .first_order_rounds = 5, .round = round}}, model,
                                 small_episode());
            };
            const Net<double> fomaml =
                gradient_of(Maml<>{{.alpha = 0.3, .steps = 2, .first_order = true}}, small_net(), small_episode());
            CHECK(gap_of(gradient(4).model, fomaml) < 1e-14);
            CHECK(gap_of(gradient(5).model, fomaml) > 1e-3);
            CHECK(max(abs(to_vector(gradient(4).rates))).item() > 1e-3);
          }},
         {"the gradient of a last rate is minus the product of its support and query gradients",
          [] {
            const auto model = maml_plus_plus_model(small_net(), {.steps = 2, .alpha = 0.3});
            const Episode<double> task = small_episode();
            const auto gradient = gradient_of(MamlPlusPlus<>{{.round = 10}}, model, task);
            const Net<double> before = Maml<>{{.alpha = 0.3, .steps = 1}}.adapt(small_net(), task.support).model,
                              after = Maml<>{{.alpha = 0.3, .steps = 2}}.adapt(small_net(), task.support).model;
            const Net<double> support_gradient = joint_gradient(before, task.support),
                              query_gradient = joint_gradient(after, task.query);
            for_each_parameter(
                [](const auto& rate, const auto& support, const auto& query) {
                  CHECK(rate.at({1}) == Approx(-sum(support * query).item()).epsilon(1e-12));
                },
                gradient.rates, support_gradient, query_gradient);
          }},
         {"kept parts have no rates and keep their bits, and are trained by the outer loop",
          [] {
            const auto model = maml_plus_plus_model(small_net(), {.steps = 3, .alpha = 0.3, .kept = {"body"}});
            CHECK(names(model.rates) == Names{"head.weight", "head.bias"});
            const Anil<> anil{{.alpha = 0.3, .steps = 3}};  // the body is kept there too
            CHECK(gap_of(gradient_of(MamlPlusPlus<>{{.round = 10}}, model, small_episode()).model,
                         gradient_of(anil, small_net(), small_episode())) < 1e-14);
            const Net<double> adapted = MamlPlusPlus<>().adapt(model, small_episode().support).model;
            CHECK(same_bits_of(adapted.body, small_net().body));
            CHECK(gap_of(adapted, anil.adapt(small_net(), small_episode().support).model) < 1e-14);
          }},
         {"steps by hand with the norm of each step",
          [] {
            const Episode<double> task = small_episode();
            const auto model =
                maml_plus_plus_model(norm_net(two_norms(BatchNormMode::batch)), {.steps = 2, .alpha = 0.3});
            // Step k by plain batch norm k in a net of its own; the maps go on from step to step.
            auto phi = norm_net(model.model.norm.steps[0]);
            double expected = 0;
            for (const std::size_t k : {0u, 1u}) {
              phi.norm = model.model.norm.steps[k];
              phi = phi -
                    0.3 * grad([&](const auto& m) { return ClassificationLoss()(m, task.support, Context()); }, phi);
              expected += 0.5 * ClassificationLoss()(phi, task.query, Context()).item();
            }
            CHECK(MamlPlusPlus<>().train_loss(model, task, Context()).item() == Approx(expected).epsilon(1e-14));
            const Tensor<double> logits = MamlPlusPlus<>().adapt(model, task.support).predict(task.query.x);
            CHECK(gap(logits, phi(task.query.x, Context())) < 1e-14);
            // Both norms, and the rates of their own steps alone, get gradients of the right size.
            const auto loss = [&](const auto& m) { return MamlPlusPlus<>().train_loss(m, task, Context()); };
            CHECK(check_gradients(loss, model).passed);
            const auto slope = grad(loss, model);
            for (const Index k : {0, 1}) {
              const Tensor<double>& rates = *slope.rates.norm.steps[k].weight;
              CHECK(std::abs(rates.at({k})) > 1e-4);
              CHECK(rates.at({1 - k}) == 0);
            }
          }},
         {"equal norms that are kept are one batch norm",
          [] {
            const PerStepBatchNorm<double> norms(4, 2, {.mode = BatchNormMode::batch});
            const MamlPlusPlusRates rates{.steps = 2, .alpha = 0.3, .kept = {"norm"}};
            const Episode<double> task = small_episode();
            const auto many = maml_plus_plus_model(norm_net(norms), rates);
            const auto one = maml_plus_plus_model(norm_net(norms.steps[0]), rates);
            for (const Index round : {0, 10}) {
              const MamlPlusPlus<> method{{.round = round}};
              CHECK(same_bits(method.train_loss(many, task, Context()), method.train_loss(one, task, Context())));
            }
            CHECK(same_bits(MamlPlusPlus<>().adapt(many, task.support).predict(task.query.x),
                            MamlPlusPlus<>().adapt(one, task.support).predict(task.query.x)));
          }},
         {"running statistics of a step are of its support and its query, and make the method inductive",
          [] {
            const auto model =
                maml_plus_plus_model(norm_net(two_norms(BatchNormMode::running)), {.steps = 2, .kept = {"norm"}});
            const Episode<double> task = small_episode();
            for (const Index round : {0, 10}) {  // annealed, the query is looked at in the last step alone
              Context context = training();
              MamlPlusPlus<>{{.round = round}}.train_loss(model, task, context);
              const auto& norms = apply_updates(model, context).model.norm.steps;
              CHECK(norms[0].num_batches_tracked.value.item() == (round == 0 ? 2 : 1));
              CHECK(norms[1].num_batches_tracked.value.item() == 2);
              if (round == 0) continue;
              const Tensor<double> support_mean = mean(model.model.map(task.support.x), {0});
              CHECK(gap(norms[0].running_mean.value, 0.1 * support_mean) < 1e-15);
            }
            const auto adapted = MamlPlusPlus<>().adapt(model, task.support);
            const Tensor<double> all = adapted.predict(task.query.x);
            CHECK(gap(adapted.predict(slice(task.query.x, 0, 0, 1)), slice(all, 0, 0, 1)) < 1e-15);
          }}},
}});

}  // namespace
