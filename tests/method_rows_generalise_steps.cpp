// Rows of the method table for generalise/: methods that change the step itself, or the features and logits it is taken
// by.

#include <algorithm>
#include <cmath>

#include "adaptation.hpp"
#include "catch.hpp"
#include "graft/fewshot/reptile.hpp"
#include "graft/generalise/erm.hpp"
#include "graft/generalise/fish.hpp"
#include "graft/generalise/fishr.hpp"
#include "graft/generalise/mixstyle.hpp"
#include "graft/generalise/mldg.hpp"
#include "graft/generalise/rsc.hpp"
#include "graft/generalise/sam.hpp"
#include "graft/generalise/sd.hpp"
#include "method_table.hpp"

using namespace graft;
using namespace adaptation;

namespace {

template <class T = double>
using Domains = std::vector<LabelledSet<T>>;

/// Items [6, 3] of two classes a domain, each domain moved by its number.
Domains<> small_domains(Index count = 3) {
  Domains<> domains;
  for (Index e = 0; e < count; ++e) {
    LabelledSet<double> set =
        embedded_episode({.ways = 2, .shots = 1, .queries = 6, .width = 3}, static_cast<std::uint64_t>(10 + e)).query;
    set.x = set.x + static_cast<double>(e) * 0.5;
    domains.push_back(set);
  }
  return domains;
}
Domains<float> large_domains(const Random& random) {
  Domains<float> domains;
  for (Index e = 0; e < 3; ++e)
    domains.push_back(
        embedded_episode<float>({.ways = 5, .shots = 1, .queries = 50, .width = 48}, random.stream("domain", e)).query);
  return domains;
}
/// The loss of a method, which is copied: each call sees what it remembers now.
template <class Method>
auto on_domains(const Method& method, const Domains<>& domains, Index step = 0, std::uint64_t seed = 1) {
  return [=](const auto& model) {
    Method own = method;
    return own.train_loss(model, domains, step, Context(Phase::training, Random(seed)));
  };
}
/// Loss and gradient in one vector.
template <class F, class M>
auto loss_and_gradient(F loss, const M& model) {
  const auto [value, gradient] = value_and_grad(loss, model);
  using T = ModelScalar<M>;
  return concat<T>({reshape(value, {1}), reshape(to_vector(gradient), {-1})}, 0);
}
Tensor<double> erm_on(const Domains<>& domains) { return loss_and_gradient(on_domains(Erm(), domains), small_net()); }

template <class Method>
std::function<Tensor<float>(const Random&)> run_of(const Method& method) {
  return [method](const Random& random) {
    const Domains<float> domains = large_domains(random);
    Method own = method;
    Context context(Phase::training, random.stream("training"));
    return loss_and_gradient([&](const Net<float>& model) { return own.train_loss(model, domains, 0, context); },
                             large_net(random));
  };
}
/// As a function of all weights of a small net.
template <class Method>
std::function<Tensor<double>(const Tensor<double>&)> smooth(const Method& method) {
  return [method](const Tensor<double>& x) { return on_domains(method, small_domains())(from_vector(x, small_net())); };
}
/// What every method refuses: no domains, or one where two are needed, a domain that is empty or without labels.
template <class Method>
std::vector<BadUse> bad_domains(const Method& method, bool alone) {
  const auto use = [method](const Domains<>& domains) { on_domains(method, domains)(small_net()); };
  const auto with = [](const LabelledSet<double>& set) {
    Domains<> domains = small_domains();
    domains[1] = set;
    return domains;
  };
  std::vector<BadUse> uses{bad_use<ValueError>([=] { use({}); }, "0 domains"),
                           bad_use<ValueError>(
                               [=] {
                                 use(with({zeros<double>({0, 3}), zeros<std::int64_t>({0})}));
                               },
                               "domain 1 has no items"),
                           bad_use<ShapeError>(
                               [=] {
                                 use(with({zeros<double>({4, 3}), zeros<std::int64_t>({3})}));
                               },
                               "domain 1 needs items"),
                           bad_use<ShapeError>(
                               [=] {
                                 use(with({zeros<double>({4, 2}), zeros<std::int64_t>({4})}));
                               },
                               "[4, 2]")};
  if (!alone) uses.push_back(bad_use<ValueError>([=] { use(small_domains(1)); }, "1 domain, expected"));
  return uses;
}

// ---- Quadratic domains, a/2 (theta - c)^2 ---------------------------------------------------------------------------
Domains<> quadratic_domains(const std::vector<std::pair<double, double>>& all) {
  Domains<> domains;
  for (const auto& [a, c] : all) domains.push_back(quadratic_set({{a, c}}));
  return domains;
}
template <class Method>
double slope_of(const Method& method, const Domains<>& domains, double theta, std::uint64_t seed = 1) {
  return grad(on_domains(method, domains, 0, seed), Tensor<double>(theta)).item();
}
/// One item of NaN.
Domains<> broken() { return quadratic_domains({{1, NAN}, {1, 0}, {1, 1}}); }

// ---- MLDG -----------------------------------------------------------------------------------------------------------
const bool mldg_row = add_method_rows({{
    .name = "mldg",
    .header = "graft/generalise/mldg.hpp",
    .paper = "Li, Yang, Song, Hospedales, Learning to generalize: meta-learning for domain generalization, AAAI 2018",
    .functions = {"Mldg", "MldgOptions"},
    .use = "Mldg<>().train_loss(net, domains, step, context)",
    .run = run_of(Mldg<>{{.alpha = 0.1}}),
    .loss = smooth(Mldg<>{{.alpha = 0.3, .beta = 0.7, .meta_test = 1}}),
    .loss_at = to_vector(small_net()),
    .errors = joined(
        {bad_use<ValueError>([] { on_domains(Mldg<>(), small_domains(2))(small_net()); },
                             "2 domains, expected 3 or more"),
         bad_use<ValueError>([] { on_domains(Mldg<>{{.beta = -1}}, small_domains())(small_net()); }, "beta is -1"),
         bad_use<ValueError>([] { on_domains(Mldg<>{{.alpha = NAN}}, small_domains())(small_net()); }, "alpha is nan"),
         bad_use<ValueError>([] { on_domains(Mldg<>{{.meta_test = 0}}, small_domains())(small_net()); },
                             "meta_test is 0"),
         bad_use<ValueError>(
             [] {
               const Domains<> domains = quadratic_domains({{1, NAN}, {1, NAN}, {1, NAN}});
               on_domains(Mldg<QuadraticLoss>(), domains)(Tensor<double>(1));
             },
             "not finite")},
        bad_domains(Mldg<>(), false)),
    .properties =
        {{"on quadratics F' + beta (1 - alpha F'') G'(theta'), first order without the factor",
          [] {
            const std::vector<std::pair<double, double>> all{{1, 0.5}, {3, -1}, {0.5, 2}, {2, 1}};
            const double alpha = 0.2, beta = 0.7, theta = 0.3;
            for (const bool first_order : {false, true}) {
              const Mldg<QuadraticLoss> method{{alpha, beta, 2, first_order}};
              int seen = 0;
              std::vector<bool> found(6);
              for (std::uint64_t seed = 0; seed < 60; ++seed) {
                const double slope = slope_of(method, quadratic_domains(all), theta, seed);
                int pair = 0;
                for (std::size_t i = 0; i < 4; ++i)
                  for (std::size_t j = i + 1; j < 4; ++j, ++pair) {  // meta-test domains i and j
                    double train = 0, curvature = 0, test = 0;
                    for (std::size_t k = 0; k < 4; ++k)
                      if (k != i && k != j) {
                        train += all[k].first * (theta - all[k].second) / 2;
                        curvature += all[k].first / 2;
                      }
                    const double there = theta - alpha * train;
                    for (const std::size_t k : {i, j}) test += all[k].first * (there - all[k].second) / 2;
                    const double factor = first_order ? 1 : 1 - alpha * curvature;
                    if (std::abs(slope - (train + beta * factor * test)) > 1e-14) continue;
                    ++seen;
                    found[pair] = true;
                  }
              }
              CHECK(seen == 60);
              CHECK(std::count(found.begin(), found.end(), true) == 6);
            }
          }},
         {"value and first-order gradient agree with the second-order ones where the inner rate is 0",
          [] {
            const auto of = [](bool first_order) {
              return loss_and_gradient(on_domains(Mldg<>{{.alpha = 0, .first_order = first_order}}, small_domains()),
                                       small_net());
            };
            CHECK(gap(of(false), of(true)) < 1e-15);
            CHECK(on_domains(Mldg<>{{.alpha = 0.5, .first_order = true}}, small_domains())(small_net()).item() ==
                  Approx(on_domains(Mldg<>{{.alpha = 0.5}}, small_domains())(small_net()).item()).epsilon(1e-15));
          }},
         {"beta 0 is the mean of the meta-train domains' risks, bit for bit",
          [] {
            const Domains<> domains = small_domains(3);
            const Tensor<double> off =
                loss_and_gradient(on_domains(Mldg<>{{.beta = 0, .meta_test = 2}}, domains), small_net());
            int same = 0;
            for (const LabelledSet<double>& domain : domains)
              same += same_bits(
                  off,
                  loss_and_gradient([&](const Net<double>& m) { return ClassificationLoss()(m, domain, Context()); },
                                    small_net()));
            CHECK(same == 1);
          }}},
}});

// ---- Fish -----------------------------------------------------------------------------------------------------------
const bool fish_row = add_method_rows({{
    .name = "fish",
    .header = "graft/generalise/fish.hpp",
    .paper = "Shi et al., Gradient matching for domain generalization, ICLR 2022",
    .functions = {"Fish", "FishOptions"},
    .use = "Fish<>().train_loss(net, domains, step, context)",
    .run = run_of(Fish<>{{.alpha = 0.1}}),
    .errors = joined(
        {bad_use<ValueError>([] { on_domains(Fish<>{{.alpha = -1}}, small_domains())(small_net()); }, "alpha is -1"),
         bad_use<ValueError>([] { on_domains(Fish<QuadraticLoss>(), broken())(Tensor<double>(1)); },
                             "the loss of domain 0 is not finite"),
         bad_use<ValueError>(
             [] {
               const Domains<> domains = quadratic_domains({{1e200, 1}, {1e200, 1}});
               on_domains(Fish<QuadraticLoss>{{.alpha = 1e150}}, domains)(Tensor<double>(1.5));
             },
             "not finite")},
        bad_domains(Fish<>(), false)),
    .properties = {{"two domains: over both orders alpha (g1 + g2) - alpha^2 / 2 d <g1, g2>, exactly on quadratics",
                    [] {
                      const double alpha = 0.1, theta = 0.4;
                      const Domains<> domains = quadratic_domains({{1, 2}, {3, -1}});
                      const double g1 = 1 * (theta - 2), g2 = 3 * (theta + 1);
                      const double first = alpha * (g1 + g2) - alpha * alpha * 3 * g1,  // domain 0, then domain 1
                          second = alpha * (g1 + g2) - alpha * alpha * 1 * g2;
                      CHECK(0.5 * (first + second) ==
                            Approx(alpha * (g1 + g2) - alpha * alpha / 2 * (1 * g2 + 3 * g1)).epsilon(1e-14));
                      int firsts = 0, seconds = 0;
                      for (std::uint64_t seed = 0; seed < 40; ++seed) {
                        const double slope = slope_of(Fish<QuadraticLoss>{{alpha}}, domains, theta, seed);
                        firsts += std::abs(slope - first) < 1e-14;
                        seconds += std::abs(slope - second) < 1e-14;
                      }
                      CHECK(firsts + seconds == 40);
                      CHECK(std::min(firsts, seconds) > 8);  // 4 deviations of a fair coin
                    }},
                   {"of equal domains it is Reptile with as many steps",
                    [] {
                      const LabelledSet<double> set = small_domains(1)[0];
                      const Reptile<> reptile{{.alpha = 0.2, .steps = 4, .batch = 0, .adam = false}};
                      const auto by_reptile = [&](const Net<double>& m) {
                        return reptile.train_loss(m, Episode<double>{set, {}, 2}, Context());
                      };
                      CHECK(gap(loss_and_gradient(on_domains(Fish<>{{.alpha = 0.2}}, Domains<>(4, set)), small_net()),
                                loss_and_gradient(by_reptile, small_net())) < 1e-15);
                    }},
                   {"to first order in the rate: the sum of the domains' gradients",
                    [] {
                      const Tensor<double> slope =
                          to_vector(grad(on_domains(Fish<>{{.alpha = 1e-7}}, small_domains()), small_net()));
                      const Tensor<double> erm = slice(erm_on(small_domains()), 0, 1, 1 + slope.count());
                      CHECK(gap(1e7 * slope, 3.0 * erm) < 1e-5);
                    }}},
}});

// ---- Fishr ----------------------------------------------------------------------------------------------------------
/// v of one domain from its definition: the variances of (p - y) x^T and of p - y over items, [classes * width +
/// classes].
std::vector<double> variances(const Net<double>& model, const LabelledSet<double>& set) {
  const Tensor<double> z = model.body(set.x), p = softmax(model.head(z));
  const Index items = z.size(0), width = z.size(1), classes = p.size(1);
  std::vector<double> v;
  for (const bool of_bias : {false, true})
    for (Index c = 0; c < classes; ++c)
      for (Index k = 0; k < (of_bias ? 1 : width); ++k) {
        double sum = 0, squares = 0;
        for (Index i = 0; i < items; ++i) {
          const double g = (p.at({i, c}) - (set.y.at({i}) == c ? 1 : 0)) * (of_bias ? 1 : z.at({i, k}));
          sum += g;
          squares += g * g;
        }
        const double mean = sum / static_cast<double>(items);
        v.push_back(squares / static_cast<double>(items) - mean * mean);
      }
  return v;
}
double penalty(const std::vector<std::vector<double>>& v) {
  double total = 0;
  const auto domains = static_cast<double>(v.size()), n = static_cast<double>(v[0].size());
  for (std::size_t k = 0; k < v[0].size(); ++k) {
    double mean = 0;
    for (const auto& own : v) mean += own[k] / domains;
    for (const auto& own : v) total += (own[k] - mean) * (own[k] - mean) / (domains * n);
  }
  return total;
}
double fishr_penalty(Fishr<double>& method, const Net<double>& model, const Domains<>& domains, Index step) {
  return method.train_loss(model, domains, step, Context()).item() - erm_on(domains).at({0});
}

const bool fishr_row = add_method_rows({{
    .name = "fishr",
    .header = "graft/generalise/fishr.hpp",
    .paper = "Rame, Dancette, Cord, Fishr: invariant gradient variances for out-of-distribution generalization, ICML "
             "2022",
    .functions = {"Fishr", "FishrOptions"},
    .use = "Fishr<>().train_loss(net, domains, step, context)",
    .run = run_of(Fishr<float>({.start = 0})),
    .loss = smooth(Fishr<double>({.weight = 30, .start = 0})),
    .loss_at = to_vector(small_net()),
    .errors = joined({bad_use<ValueError>([] { Fishr<double>({.weight = -1}); }, "weight is -1"),
                      bad_use<ValueError>([] { Fishr<double>({.decay = 1}); }, "decay is 1"),
                      bad_use<ValueError>([] { Fishr<double>({.start = -1}); }, "start is -1"),
                      bad_use<ValueError>([] { Fishr<double>({}, -1); }, "domains is -1"),
                      bad_use<ValueError>([] { Fishr<double>({}, 2, -1); }, "numbers is -1"),
                      bad_use<ValueError>(
                          [] {
                            Fishr<double> method;
                            method.train_loss(small_net(), small_domains(3), 0, Context());
                            method.train_loss(small_net(), small_domains(2), 1, Context());
                          },
                          "other domains")},
                     bad_domains(Fishr<double>(), false)),
    .properties = {{"the penalty from (p - y) x^T, in loops",
                    [] {
                      Fishr<double> method({.weight = 2, .start = 0});
                      std::vector<std::vector<double>> v;
                      for (const auto& domain : small_domains()) v.push_back(variances(small_net(), domain));
                      CHECK(fishr_penalty(method, small_net(), small_domains(), 0) ==
                            Approx(2 * penalty(v)).epsilon(1e-10));
                    }},
                   {"moving averages: decay m + (1 - decay) v over 1 - decay, step by step",
                    [] {
                      const double decay = 0.6;
                      Fishr<double> method({.weight = 1, .decay = decay, .start = 2});
                      std::vector<std::vector<double>> m;
                      for (Index step = 0; step < 4; ++step) {
                        const Domains<> all = small_domains(5);
                        const Domains<> domains(all.begin() + step % 3, all.begin() + step % 3 + 2);
                        std::vector<std::vector<double>> shown;
                        for (std::size_t e = 0; e < 2; ++e) {
                          std::vector<double> v = variances(small_net(), domains[e]);
                          if (m.size() < 2) m.push_back(std::vector<double>(v.size(), 0));
                          for (std::size_t k = 0; k < v.size(); ++k) {
                            m[e][k] = decay * m[e][k] + (1 - decay) * v[k];
                            v[k] = m[e][k] / (1 - decay);
                          }
                          shown.push_back(v);
                        }
                        const double found = fishr_penalty(method, small_net(), domains, step);
                        if (step < 2)
                          CHECK(found == 0);
                        else
                          CHECK(found == Approx(penalty(shown)).epsilon(1e-10));
                      }
                    }},
                   {"identical domains have no penalty; weight 0 and steps before the start are ERM, bit for bit",
                    [] {
                      Fishr<double> method({.start = 0});
                      CHECK(std::abs(fishr_penalty(method, small_net(), Domains<>(3, small_domains()[0]), 0)) < 1e-15);
                      for (const FishrOptions& options : {FishrOptions{.weight = 0, .start = 0}, FishrOptions{}})
                        CHECK(same_bits(
                            loss_and_gradient(on_domains(Fishr<double>(options), small_domains()), small_net()),
                            erm_on(small_domains())));
                    }},
                   {"made for its domains and its head before the first step it is the same, bit for bit",
                    [] {
                      CHECK(same_bits(
                          loss_and_gradient(on_domains(Fishr<double>({.start = 0}), small_domains()), small_net()),
                          loss_and_gradient(on_domains(Fishr<double>({.start = 0}, 3, 10), small_domains()),
                                            small_net())));
                    }},
                   {"the optimiser starts anew where the penalty sets in",
                    [] {
                      CHECK(restarts_optimiser(Fishr<>(), 1500));
                      CHECK_FALSE(restarts_optimiser(Fishr<>(), 1499));
                      CHECK_FALSE(restarts_optimiser(Fishr<>({.start = 0}), 0));
                      CHECK_FALSE(restarts_optimiser(Fishr<>({.weight = 0}), 1500));
                    }}},
}});

// ---- RSC ------------------------------------------------------------------------------------------------------------
/// Linear features and a linear head without bias: everything about the masks is known.
BodyHead<Same, Linear<double>> plain_head(const Tensor<double>& weight) {
  BodyHead<Same, Linear<double>> model{{}, Linear<double>(weight.size(1), weight.size(0), Random(1), {.bias = false})};
  model.head.weight = weight;
  return model;
}

const bool rsc_row = add_method_rows({{
    .name = "rsc",
    .header = "graft/generalise/rsc.hpp",
    .paper = "Huang, Wang, Xing, Huang, Self-challenging improves cross-domain generalization, ECCV 2020",
    .functions = {"Rsc", "RscOptions"},
    .use = "Rsc().train_loss(net, domains, step, context)",
    .run = run_of(Rsc()),
    .loss = smooth(Rsc()),
    .loss_at = to_vector(small_net()),
    .errors = joined(
        {bad_use<ValueError>([] { on_domains(Rsc{{.features = 1.5}}, small_domains())(small_net()); },
                             "features is 1.5"),
         bad_use<ValueError>([] { on_domains(Rsc{{.items = NAN}}, small_domains())(small_net()); }, "items is nan"),
         bad_use<ValueError>(
             [] {
               Net<double> model = small_net();
               model.head.weight = full<double>({2, 4}, INFINITY);
               on_domains(Rsc(), small_domains())(model);
             },
             "not finite"),
         bad_use<ShapeError>(
             [] {
               const Domains<> images{{zeros<double>({2, 3, 3}), zeros<std::int64_t>({2})}};
               on_domains(Rsc(), images)(plain_head(zeros<double>({2, 3})));
             },
             "[2, 3, 3]")},
        bad_domains(Rsc(), true)),
    .properties =
        {{"a share of 0 is ERM, bit for bit",
          [] {
            for (const RscOptions& options : {RscOptions{.features = 0}, RscOptions{.items = 0}})
              CHECK(same_bits(loss_and_gradient(on_domains(Rsc{options}, small_domains()), small_net()),
                              erm_on(small_domains())));
          }},
         {"a linear head: the features of the true class's largest weights, in the items that lose most by it",
          [] {
            // Class 0 leans on features 0 and 1, class 1 on 4 and 5; items of class 1 with a large feature 5 lose most.
            const Tensor<double> weight = tensor<double>({{4, 3, 0, 0, -1, -1}, {-1, -1, 0, 0, 3, 4}});
            const Tensor<double> x = tensor<double>({{0.1, 0, 1, 1, 0, 0},
                                                     {0.2, 0.1, 1, 1, 0, 0},
                                                     {0, 0, 1, 1, 0.1, 0.5},
                                                     {0, 0, 1, 1, 0.1, 0.9},
                                                     {0.1, 0.1, 1, 1, 0, 0},
                                                     {0, 0, 1, 1, 0, 0.1}});
            const auto labels = tensor<std::int64_t>({0, 0, 1, 1, 0, 1});
            // Two of six features and two of six items: 4 and 5 in items 2 and 3.
            const Tensor<double> seen = x * tensor<double>({{1, 1, 1, 1, 1, 1},
                                                            {1, 1, 1, 1, 1, 1},
                                                            {1, 1, 1, 1, 0, 0},
                                                            {1, 1, 1, 1, 0, 0},
                                                            {1, 1, 1, 1, 1, 1},
                                                            {1, 1, 1, 1, 1, 1}});
            const auto model = plain_head(weight);
            const auto by_hand = [&](const auto& m) { return cross_entropy(m.head(seen), labels); };
            CHECK(gap(loss_and_gradient(on_domains(Rsc(), Domains<>{{x, labels}}), model),
                      loss_and_gradient(by_hand, model)) < 1e-15);
          }},
         {"all features of all items muted: the logits are the bias",
          [] {
            const double expected =
                cross_entropy(broadcast_to(*small_net().head.bias, {6, 2}), small_domains(1)[0].y).item();
            CHECK(on_domains(Rsc{{.features = 1, .items = 1}}, small_domains(1))(small_net()).item() ==
                  Approx(expected).epsilon(1e-15));
          }}},
}});

// ---- SAM ------------------------------------------------------------------------------------------------------------
/// l/2 theta^2, whatever the domains.
struct Bowl {
  double l;
  Tensor<double> operator()(const Tensor<double>& theta, const Domains<>&, ContextRef) const {
    return 0.5 * l * sum(square(theta));
  }
};
/// Notes the random numbers that it is given.
struct Listening {
  std::vector<double>* drawn;
  Tensor<double> operator()(const Tensor<double>& theta, const Domains<>&, ContextRef context) const {
    drawn->push_back(context->stream("dropout").uniform(0));
    return sum(square(theta));
  }
};

const bool sam_row = add_method_rows({{
    .name = "sam",
    .header = "graft/generalise/sam.hpp",
    .paper = "Foret, Kleiner, Mobahi, Neyshabur, Sharpness-aware minimization, ICLR 2021; Kwon et al., ASAM, ICML 2021",
    .functions = {"Sam", "SamOptions", "MeanRisk"},
    .use = "Sam<>().train_loss(net, domains, step, context)",
    .run = run_of(Sam<>{{.rho = 0.5, .adaptive = true}}),
    .errors =
        joined({bad_use<ValueError>([] { on_domains(Sam<>{{.rho = -1}}, small_domains())(small_net()); }, "rho is -1"),
                bad_use<ValueError>([] { on_domains(Sam<>{{.eta = 0}}, small_domains())(small_net()); }, "eta is 0"),
                bad_use<ValueError>(
                    [] {
                      on_domains(Sam<Bowl>{{}, {1}}, small_domains())(Tensor<double>(NAN));
                    },
                    "the gradient is not finite")},
               bad_domains(Sam<>(), true)),
    .properties =
        {{"l theta^2 / 2 has the gradient l (theta + rho sign theta); its value is that there",
          [] {
            for (const double theta : {-2.0, 0.3, 1e6}) {
              const auto [value, slope] =
                  value_and_grad(on_domains(Sam<Bowl>{{.rho = 0.1}, {3}}, small_domains()), Tensor<double>(theta));
              const double there = theta + 0.1 * (theta < 0 ? -1 : 1);
              CHECK(slope.item() == Approx(3 * there).epsilon(1e-14));
              CHECK(value.item() == Approx(1.5 * there * there).epsilon(1e-14));
            }
            // At a point without slope there is nowhere to go.
            CHECK(grad(on_domains(Sam<Bowl>{{}, {3}}, small_domains()), Tensor<double>(0)).item() == 0);
          }},
         {"adaptive: rho T^2 g / |T g| with T = |theta| + eta",
          [] {
            const Tensor<double> theta = tensor<double>({2, -0.5, 0}), g = 3.0 * theta;
            const double rho = 0.5, eta = 0.01;
            double length = 0;
            for (Index i = 0; i < 3; ++i) length += std::pow((std::abs(theta.at({i})) + eta) * g.at({i}), 2);
            const Tensor<double> slope = grad(on_domains(Sam<Bowl>{{rho, true, eta}, {3}}, small_domains()), theta);
            for (Index i = 0; i < 3; ++i) {
              const double t = std::abs(theta.at({i})) + eta, e = rho * t * t * g.at({i}) / std::sqrt(length);
              CHECK(slope.at({i}) == Approx(3 * (theta.at({i}) + e)).epsilon(1e-13));
            }
          }},
         {"a net: the gradient at theta + rho g / |g|; rho 0 is ERM, bit for bit",
          [] {
            const auto erm = on_domains(Erm(), small_domains());
            const Net<double> model = small_net(), g = grad(erm, model);
            const Net<double> there = model + 0.2 / norm(g).item() * g;
            CHECK(gap(loss_and_gradient(on_domains(Sam<>{{.rho = 0.2}}, small_domains()), model),
                      loss_and_gradient(erm, there)) < 1e-14);
            CHECK(same_bits(loss_and_gradient(on_domains(Sam<>{{.rho = 0}}, small_domains()), model),
                            erm_on(small_domains())));
          }},
         {"both passes have the same random numbers, and later layers go on behind them",
          [] {
            std::vector<double> drawn;
            Context context(Phase::training, Random(3)), other = context;
            Sam<Listening>{{}, {&drawn}}.train_loss(Tensor<double>(1), small_domains(), 0, context);
            REQUIRE(drawn.size() == 2);
            CHECK(drawn[0] == drawn[1]);
            other.stream("dropout");
            CHECK(context.stream("dropout") == other.stream("dropout"));
          }}},
}});

// ---- Spectral decoupling --------------------------------------------------------------------------------------------
const bool sd_row = add_method_rows({{
    .name = "sd",
    .header = "graft/generalise/sd.hpp",
    .paper = "Pezeshki et al., Gradient starvation: a learning proclivity in neural networks, NeurIPS 2021",
    .functions = {"SpectralDecoupling", "SpectralDecouplingOptions"},
    .use = "SpectralDecoupling().train_loss(net, domains, step, context)",
    .run = run_of(SpectralDecoupling()),
    .loss = smooth(SpectralDecoupling{{.weight = 3}}),
    .loss_at = to_vector(small_net()),
    .errors = joined(
        {bad_use<ValueError>([] { on_domains(SpectralDecoupling{{.weight = -1}}, small_domains())(small_net()); },
                             "weight is -1")},
        bad_domains(SpectralDecoupling(), true)),
    .properties = {{"the risk and the mean square of the logits",
                    [] {
                      double squares = 0;
                      for (const auto& domain : small_domains())
                        squares += sum(square(small_net()(domain.x, Context()))).item() / 36;  // 3 x 6 x 2
                      CHECK(on_domains(SpectralDecoupling{{.weight = 3}}, small_domains())(small_net()).item() ==
                            Approx(erm_on(small_domains()).at({0}) + 3 * squares).epsilon(1e-14));
                    }},
                   {"weight 0 is ERM, bit for bit",
                    [] {
                      CHECK(same_bits(loss_and_gradient(on_domains(SpectralDecoupling{{.weight = 0}}, small_domains()),
                                                        small_net()),
                                      erm_on(small_domains())));
                    }}},
}});

// ---- MixStyle -------------------------------------------------------------------------------------------------------
struct Style {
  double mean = 0, deviation = 0;  ///< of a sample
};
Style style_of(const Tensor<double>& maps, Index item, Index channel) {
  double total = 0, squares = 0;
  const auto n = static_cast<double>(maps.size(1));
  for (Index k = 0; k < maps.size(1); ++k) total += maps.at({item, k, channel}) / n;
  for (Index k = 0; k < maps.size(1); ++k) squares += std::pow(maps.at({item, k, channel}) - total, 2);
  return {total, std::sqrt(squares / (n - 1))};
}
/// Maps [5, 7, 2] whose items have styles of their own.
Tensor<double> some_maps() {
  return randn<double>({5, 7, 2}, Random(1)) * (1 + rand<double>({5, 1, 2}, Random(2))) +
         3.0 * randn<double>({5, 1, 2}, Random(3));
}

const bool mixstyle_row = add_method_rows({{
    .name = "mixstyle",
    .header = "graft/generalise/mixstyle.hpp",
    .paper = "Zhou, Yang, Qiao, Xiang, Domain generalization with MixStyle, ICLR 2021",
    .functions = {"MixStyle"},
    .use = "MixStyle()(maps, context)",
    .run =
        [](const Random& random) {
          return MixStyle{.rate = 1}(randn<float>({40, 8, 8, 16}, random), Context(Phase::training, random));
        },
    .errors =
        {bad_use<ShapeError>(
             [] {
               MixStyle()(zeros<double>({2, 3}), training());
             },
             "[2, 3]"),
         bad_use<ShapeError>(
             [] {
               MixStyle()(zeros<double>({2, 1, 1, 3}), training());
             },
             "two positions"),
         bad_use<ValueError>([] { MixStyle{.rate = 1.5}(some_maps(), training()); }, "rate is 1.5"),
         bad_use<ValueError>([] { MixStyle{.mixing = 0}(some_maps(), training()); }, "mixing is 0"),
         bad_use<ValueError>([] { MixStyle{.eps = -1}(some_maps(), training()); }, "eps is -1"),
         bad_use<ShapeError>([] { MixStyle()(some_maps(), zeros<std::int64_t>({4}), training()); }, "domains [4]"),
         bad_use<ValueError>([] { MixStyle()(some_maps(), zeros<std::int64_t>({5}), training()); }, "of one domain")},
    .properties = {{"evaluation, and a rate of 0: the maps as they are, bit for bit",
                    [] {
                      CHECK(same_bits(MixStyle{.rate = 1}(some_maps(), Context()), some_maps()));
                      CHECK(same_bits(MixStyle{.rate = 0}(some_maps(), training()), some_maps()));
                    }},
                   {"each item's style becomes a mixture of its own and one other's, by one ratio",
                    [] {
                      const Tensor<double> x = some_maps();
                      const auto domains = tensor<std::int64_t>({0, 1, 0, 1, 0});
                      for (const bool known : {false, true})
                        for (std::uint64_t seed = 1; seed < 6; ++seed) {
                          const MixStyle layer{.rate = 1, .mixing = 1, .eps = 1e-12};
                          const Tensor<double> y = known ? layer(x, domains, training(seed)) : layer(x, training(seed));
                          int strangers = 0;
                          for (Index i = 0; i < 5; ++i) {
                            bool explained = false;
                            for (Index j = 0; j < 5; ++j) {
                              // One ratio for the means and deviations of both channels.
                              const auto ratio_of = [](double mixed, double own, double other) {
                                return (mixed - other) / (own - other);
                              };
                              const double r = i == j ? 1
                                                      : ratio_of(style_of(y, i, 0).mean, style_of(x, i, 0).mean,
                                                                 style_of(x, j, 0).mean);
                              if (r < -1e-9 || r > 1 + 1e-9) continue;
                              bool fits = true;
                              for (Index c = 0; c < 2; ++c) {
                                const Style own = style_of(x, i, c), other = style_of(x, j, c), now = style_of(y, i, c);
                                fits = fits && std::abs(r * own.mean + (1 - r) * other.mean - now.mean) < 1e-9 &&
                                       std::abs(r * own.deviation + (1 - r) * other.deviation - now.deviation) < 1e-9;
                              }
                              if (!fits) continue;
                              explained = true;
                              strangers += domains.at({i}) != domains.at({j});
                            }
                            CHECK(explained);
                          }
                          if (known) CHECK(strangers == 5);
                        }
                    }},
                   {"styles are constants: the gradient passes as s' / s",
                    [] {
                      const MixStyle layer{.rate = 1, .eps = 1e-12};
                      const Tensor<double> x = some_maps(), y = layer(x, training());
                      const Tensor<double> slope =
                          grad([&](const Tensor<double>& at) { return sum(layer(at, training())); }, x);
                      for (Index i = 0; i < 5; ++i)
                        for (Index c = 0; c < 2; ++c)
                          for (Index k = 0; k < 7; ++k)
                            CHECK(slope.at({i, k, c}) ==
                                  Approx(style_of(y, i, c).deviation / style_of(x, i, c).deviation).epsilon(1e-9));
                    }},
                   {"it applies to a share of the batches, and a flat map stays finite",
                    [] {
                      int applied = 0;
                      for (std::uint64_t seed = 0; seed < 400; ++seed)
                        applied += !same_bits(MixStyle{.rate = 0.3}(some_maps(), training(seed)), some_maps());
                      CHECK(std::abs(applied - 120) < 46);  // 5 deviations of the binomial count
                      const Tensor<double> flat = MixStyle{.rate = 1}(ones<double>({4, 3, 2}), training());
                      CHECK(gap(flat, ones<double>({4, 3, 2})) < 1e-12);
                    }}},
}});

}  // namespace
