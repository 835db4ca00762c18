// Rows of the method table for the adversarial methods of generalise/, and the reversed gradient.

#include <cmath>

#include "catch.hpp"
#include "domain_cases.hpp"
#include "graft/common/gradient_reversal.hpp"
#include "graft/generalise/cdann.hpp"
#include "graft/generalise/dann.hpp"
#include "graft/model/grad.hpp"
#include "method_table.hpp"

using namespace graft;

namespace {

using Numbers = Tensor<double>;
using Net = DomainNet<double>;

/// The method's loss in the discriminator's parameters alone, of which its gradient is one.
template <class Method>
std::function<Numbers(const Numbers&)> loss_of_discriminator(Method method) {
  return [method](const Numbers& x) {
    Net net = domain_net<double>();
    net.discriminator = from_vector(x, net.discriminator);
    return method.train_loss(net, domain_batches<double>(3), 0, domain_context());
  };
}
/// The parts of a gradient in body and discriminator, as two vectors.
template <class Method>
std::pair<Numbers, Numbers> parts_of_gradient(const Method& method, Index step = 0) {
  const Net slope = from_vector(domain_gradient(method, domain_batches<double>(3), step), domain_net<double>());
  return {to_vector(slope.body), to_vector(slope.discriminator)};
}
double largest(const Numbers& x) { return max(abs(x)).item(); }
/// The three domains have the same items: nobody can tell them apart.
std::vector<LabelledSet<double>> equal_domains() {
  const auto batch = domain_batches<double>(1)[0];
  return {batch, batch, batch};
}
/// A discriminator that answers 0 whatever it sees.
Net unsure_net() {
  Net net = domain_net<double>();
  net.discriminator = zeros_like(net.discriminator);
  return net;
}
template <class Method>
std::vector<BadUse> bad_uses() {
  return {bad_use<ValueError>([] { domain_loss(Method(), {domain_batches<double>(3)[0]}); }, "1 domain, expected 2"),
          bad_use<ValueError>([] { domain_loss(Method{{.lambda = -1}}, domain_batches<double>(3)); }, "lambda is -1"),
          bad_use<ValueError>([] { domain_loss(Method{{.penalty = -1}}, domain_batches<double>(3)); }, "penalty is -1"),
          bad_use<ShapeError>([] { domain_loss(Method(), domain_batches<double>(4)); }, "logits of 4 domains")};
}

const bool reversal_row = add_method_rows({{
    .name = "gradient_reversal",
    .header = "graft/common/gradient_reversal.hpp",
    .paper = "Ganin, Lempitsky, Unsupervised domain adaptation by backpropagation, ICML 2015",
    .functions = {"reverse_gradient"},
    .use = "discriminator(reverse_gradient(features, lambda))",
    .run =
        [](const Random& random) {
          return grad([](const Tensor<float>& x) { return sum(exp(reverse_gradient(x, 0.5))); },
                      randn<float>({20000}, random));
        },
    .errors = {bad_use<ValueError>([] { reverse_gradient(ones<double>({2}), std::nan("")); }, "lambda is nan"),
               bad_use<ValueError>([] { reverse_gradient(ones<float>({2}), 1e300); }, "representable as float")},
    .properties = {{"the identity forwards, -lambda times the gradient backwards, lambda^2 times the second derivative",
                    [] {
                      const Numbers x = randn<double>({5}, Random(1));
                      const auto plain = [](const Numbers& at) { return sum(exp(at)); };
                      for (const double lambda : {1.0, 0.3, -2.0, 0.0}) {
                        const auto turned = [&](const Numbers& at) { return sum(exp(reverse_gradient(at, lambda))); };
                        CHECK(same_bits(reverse_gradient(x, lambda), x));
                        CHECK(largest(grad(turned, x) + lambda * grad(plain, x)) < 1e-15);
                        const Numbers v = randn<double>({5}, Random(2));
                        CHECK(largest(hvp(turned, x, v).second - lambda * lambda * hvp(plain, x, v).second) < 1e-14);
                      }
                    }},
                   {"lambda zero: zeros, for an infinite gradient too",
                    [] {
                      const Numbers at =
                          grad([](const Numbers& x) { return sum(log(reverse_gradient(x, 0))); }, zeros<double>({3}));
                      CHECK(same_bits(at, zeros<double>({3})));
                    }},
                   {"twice is the identity of both",
                    [] {
                      const Numbers x = randn<double>({5}, Random(1));
                      const auto twice = [](const Numbers& at) {
                        return sum(exp(reverse_gradient(reverse_gradient(at))));
                      };
                      CHECK(same_bits(grad(twice, x), grad([](const Numbers& at) { return sum(exp(at)); }, x)));
                    }}},
}});

const bool dann_row = add_method_rows({{
    .name = "dann",
    .header = "graft/generalise/dann.hpp",
    .paper = "Ganin et al., Domain-adversarial training of neural networks, JMLR 2016",
    .functions = {"Dann", "dann_lambda"},
    .use = "Dann{{.schedule = 10, .steps = 5000}}.train_loss(AdversarialModel{body, head, discriminator}, domains, "
           "step, context)",
    .run = domain_run(Dann{{.penalty = 0.5}}),
    .loss = loss_of_discriminator(Dann{{.penalty = 0.5}}),
    .loss_at = randn<double>({12}, Random(5)),
    .errors = joined(
        bad_uses<Dann>(),
        {bad_use<ValueError>([] { dann_lambda({.schedule = 10}, 3); }, "over 0 steps"),
         bad_use<ValueError>([] { domain_loss(Dann{{.schedule = 10}}, domain_batches<double>(3)); }, "steps is 0"),
         bad_use<ValueError>([] { domain_loss(Dann{{.schedule = -1}}, domain_batches<double>(3)); },
                             "schedule is -1")}),
    .properties =
        {{"domains that are alike, and a discriminator that cannot tell: the risk and ln E",
          [] {
            const double risk = domain_loss(Erm(), equal_domains());
            CHECK(Dann().train_loss(unsure_net(), equal_domains(), 0, domain_context()).item() ==
                  Approx(risk + std::log(3.0)).epsilon(1e-14));
            // There the discriminator is at its optimum, and the body gets no gradient of it.
            const auto loss = [](const Net& net) {
              return Dann().train_loss(net, equal_domains(), 0, domain_context());
            };
            const Net slope = grad(loss, unsure_net());
            CHECK(largest(to_vector(slope.discriminator)) < 1e-15);
          }},
         {"the body gets -lambda times the gradient that the discriminator's loss has in it; the discriminator all",
          [] {
            const auto plain = [](const Net& net) {
              const auto batches = domain_batches<double>(3);
              return cross_entropy(net.discriminator(net.body(detail::all_items(batches, {}))),
                                   detail::domain_labels(batches));
            };
            const Net slope = grad(plain, domain_net<double>());
            const auto [erm, none] = parts_of_gradient(Erm());
            for (const double lambda : {1.0, 0.2}) {
              const auto [body, discriminator] = parts_of_gradient(Dann{{.lambda = lambda}});
              CHECK(largest(body - erm + lambda * to_vector(slope.body)) < 1e-15);
              CHECK(largest(discriminator - to_vector(slope.discriminator)) < 1e-15);
            }
            CHECK(largest(none) == 0);
          }},
         {"the paper's schedule: 0 at the start, when the body has ERM's bits and the discriminator learns",
          [] {
            const DannOptions options{.lambda = 2, .schedule = 10, .steps = 100};
            CHECK(dann_lambda(options, 0) == 0);
            CHECK(dann_lambda(options, 10) == Approx(2 * (2 / (1 + std::exp(-1.0)) - 1)).epsilon(1e-14));
            CHECK(dann_lambda(options, 100) == Approx(2 * std::tanh(5.0)).epsilon(1e-14));
            CHECK(dann_lambda(options, 1000) == dann_lambda(options, 100));
            CHECK(dann_lambda({.lambda = 0.3}, 7) == 0.3);
            const auto [body, discriminator] = parts_of_gradient(Dann{options});
            CHECK(same_bits(body, parts_of_gradient(Erm()).first));
            CHECK(largest(discriminator) > 0.01);
          }},
         {"lambda zero is risk minimisation bit for bit", [] { check_off_is_erm(Dann{{.lambda = 0, .penalty = 1}}); }},
         {"as DomainBed, whose steps of body and of discriminator are one here",
          [] { check_case(Dann{{.lambda = 0.7, .penalty = 0.3}}, 7, 0, kDANNAdversary); }}},
}});

const bool cdann_row = add_method_rows({{
    .name = "cdann",
    .header = "graft/generalise/cdann.hpp",
    .paper = "Li et al., Deep domain generalization via conditional invariant adversarial networks, ECCV 2018",
    .functions = {"Cdann"},
    .use = "Cdann().train_loss(AdversarialModel{body, head, discriminator, embedding}, domains, step, context)",
    .run = domain_run(Cdann{{.penalty = 0.5}}),
    .loss = loss_of_discriminator(Cdann{{.penalty = 0.5}}),
    .loss_at = randn<double>({12}, Random(5)),
    .errors = joined(bad_uses<Cdann>(), {bad_use<ShapeError>(
                                             [] {
                                               Net net = domain_net<double>();
                                               net.class_embedding = {};
                                               Cdann().train_loss(net, domain_batches<double>(3), 0, domain_context());
                                             },
                                             "needs a class_embedding"),
                                         bad_use<IndexError>(
                                             [] {
                                               Net net = domain_net<double>();
                                               net.class_embedding = slice(net.class_embedding, 0, 0, 2);
                                               Cdann().train_loss(net, domain_batches<double>(3), 0, domain_context());
                                             },
                                             "label 2 of 2")}),
    .properties =
        {{"every class weighs the same, however many items it has: ln E where nothing tells domains apart",
          [] {
            auto batches = equal_domains();
            for (auto& [x, y] : batches) y = tensor<std::int64_t>({0, 0, 0, 0, 1, 2});
            CHECK(Cdann().train_loss(unsure_net(), batches, 0, domain_context()).item() ==
                  Approx(domain_loss(Erm(), batches) + std::log(3.0)).epsilon(1e-14));
          }},
         {"the mean over classes of the mean over their items, a class that is absent not counted",
          [] {
            auto batches = domain_batches<double>(2);
            batches[0].y = tensor<std::int64_t>({0, 0, 0, 2, 0, 0});
            batches[1].y = tensor<std::int64_t>({0, 2, 2, 0, 0, 0});
            const Net net = domain_net<double>();
            double expected = 0;
            for (const std::int64_t label : {0, 2}) {
              double total = 0, items = 0;
              for (std::size_t e = 0; e < 2; ++e)
                for (Index i = 0; i < 6; ++i) {
                  if (batches[e].y.at({i}) != label) continue;
                  const Numbers z =
                      net.body(slice(batches[e].x, 0, i, i + 1)) + slice(net.class_embedding, 0, label, label + 1);
                  total += cross_entropy(net.discriminator(z), full<std::int64_t>({1}, static_cast<Index>(e))).item();
                  ++items;
                }
              expected += total / items / 2;
            }
            CHECK(domain_loss(Cdann(), batches) - domain_loss(Erm(), batches) == Approx(expected).epsilon(1e-12));
          }},
         {"lambda zero is risk minimisation bit for bit", [] { check_off_is_erm(Cdann{{.lambda = 0, .penalty = 1}}); }},
         {"as DomainBed, which rounds the items' shares to float",
          [] { check_case(Cdann{{.lambda = 0.7, .penalty = 0.3}}, 8, 0, kCDANNAdversary, 3e-8); }}},
}});

}  // namespace
