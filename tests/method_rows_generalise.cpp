// Rows of the method table for generalise/.

#include <cmath>

#include "catch.hpp"
#include "domain_cases.hpp"
#include "graft/generalise/coral.hpp"
#include "graft/generalise/erm.hpp"
#include "graft/generalise/group_dro.hpp"
#include "graft/generalise/irm.hpp"
#include "graft/generalise/mixup.hpp"
#include "graft/generalise/mmd.hpp"
#include "graft/generalise/vrex.hpp"
#include "graft/model/grad.hpp"
#include "graft/ops/losses.hpp"
#include "graft/ops/map.hpp"
#include "method_table.hpp"

using namespace graft;

namespace {

using Numbers = Tensor<double>;

template <class T>
auto squared_risk(const Tensor<T>& y) {
  return [y](const Tensor<T>& logits) { return mean(square(logits - y)); };
}
template <class T>
auto logistic_risk(const Tensor<T>& y) {
  return [y](const Tensor<T>& logits) { return binary_cross_entropy_with_logits(logits, y); };
}
Numbers objective(const std::vector<Numbers>& risks, const std::vector<Numbers>& penalties, double weight) {
  return irm_objective(risks, penalties, weight);
}
/// Labels 0 1 0 1 ...
template <class T>
Tensor<T> alternating(Index count) {
  return map([](auto i) { return i - 2 * floor(i / 2); }, arange<T>(count));
}

/// Domain with spread `t`: x1 cause, y = x1 + noise, x2 = y + noise of the domain, over all eight signs of (x1, noise,
/// noise of the domain) with sizes (1, s, t). All mixed moments are exactly zero.
struct Domain {
  Numbers x1, x2, y;
};
constexpr double s = 0.5;
Domain domain(double t) {
  std::vector<double> x1, x2, y;
  for (int signs = 0; signs < 8; ++signs) {
    const auto sign = [&](int bit) { return signs >> bit & 1 ? 1.0 : -1.0; };
    x1.push_back(sign(0));
    y.push_back(sign(0) + s * sign(1));
    x2.push_back(y.back() + t * sign(2));
  }
  return {from_vector(x1), from_vector(x2), from_vector(y)};
}

const bool irm_row = add_method_rows({{
    .name = "irm",
    .header = "graft/generalise/irm.hpp",
    .paper = "Arjovsky, Bottou, Gulrajani, Lopez-Paz, Invariant risk minimization, arXiv 1907.02893",
    .functions = {"irm_penalty", "irm_objective", "irm_weight", "Irm"},
    .use = "Irm{{.penalty_weight = 100}}.train_loss(net, domains, step, context)",
    .run =
        [](const Random& random) {
          static const Tensor<float> y = alternating<float>(17000);
          return grad([](const Tensor<float>& z) { return irm_penalty(z, logistic_risk(y)); },
                      randn<float>({17000}, random));
        },
    .loss =
        [](const Numbers& z) {
          const auto risk = logistic_risk(alternating<double>(7));
          return objective({risk(z), risk(2 * z)}, {irm_penalty(z, risk), irm_penalty(2 * z, risk)}, 30);
        },
    .loss_at = randn<double>({7}, Random(4)),
    .errors = {bad_use<ShapeError>([] { irm_penalty(zeros<double>({0}), squared_risk(zeros<double>({0}))); }, "[0]"),
               bad_use<ShapeError>([] { irm_penalty(ones<double>({3}), [](const Numbers& z) { return square(z); }); },
                                   "risk [3]"),
               bad_use<ValueError>([] { objective({}, {}, 1); }, "0 risks"),
               bad_use<ValueError>(
                   [] {
                     objective({Numbers(1.0)}, {Numbers(1.0), Numbers(2.0)}, 1);
                   },
                   "1 risks and 2"),
               bad_use<ShapeError>([] { objective({ones<double>({2})}, {Numbers(1.0)}, 1); }, "risk [2]"),
               bad_use<ValueError>([] { domain_loss(Irm(), {}); }, "0 domains"),
               bad_use<ValueError>([] { domain_loss(Irm(), {domain_batches<double>(3)[0]}); }, "1 domain, expected 2"),
               bad_use<ValueError>([] { domain_loss(Irm{{.penalty_weight = -1}}, domain_batches<double>(3)); },
                                   "penalty_weight is -1"),
               bad_use<ValueError>([] { domain_loss(Irm{{.annealing_steps = -1}}, domain_batches<double>(3)); },
                                   "annealing_steps is -1")},
    .properties = {{"logistic penalty: (mean of z (sigmoid(z) - y))^2",
                    [] {
                      const Numbers z = 2 * randn<double>({50}, Random(1)), y = alternating<double>(50);
                      double slope = 0;
                      for (Index i = 0; i < 50; ++i)
                        slope += z.at({i}) * (1 / (1 + std::exp(-z.at({i}))) - y.at({i})) / 50;
                      CHECK(irm_penalty(z, logistic_risk(y)).item() == Approx(slope * slope).epsilon(1e-12));
                    }},
                   {"squared penalty: (2 mean of z (z - y))^2",
                    [] {
                      const Numbers z = randn<double>({50}, Random(1)), y = randn<double>({50}, Random(2));
                      double slope = 0;
                      for (Index i = 0; i < 50; ++i) slope += 2 * z.at({i}) * (z.at({i}) - y.at({i})) / 50;
                      CHECK(irm_penalty(z, squared_risk(y)).item() == Approx(slope * slope).epsilon(1e-12));
                    }},
                   {"zero in all domains only for the predictor from the cause",
                    [] {
                      const Domain first = domain(0.2), second = domain(1);
                      const auto penalties = [&](double a, double b) {
                        const auto of = [&](const Domain& e) {
                          return irm_penalty(a * e.x1 + b * e.x2, squared_risk(e.y)).item();
                        };
                        return of(first) + of(second);
                      };
                      CHECK(penalties(1, 0) < 1e-28);
                      // The slopes of the domains differ by 2 b^2 (t1^2 - t2^2), so p1 + p2 >= that squared / 2 for
                      // every b.
                      for (double a = -1; a <= 2; a += 0.25)
                        for (double b : {-1.0, -0.5, 0.25, 0.5, 0.9, 1.0}) {
                          const double difference = 2 * b * b * (0.04 - 1);
                          CHECK(penalties(a, b) >= 0.5 * difference * difference * (1 - 1e-12));
                        }
                      // One domain alone cannot tell: x2 at its own best scale is free there.
                      const double scale = (1 + s * s) / (1 + s * s + 1);
                      CHECK(irm_penalty(scale * second.x2, squared_risk(second.y)).item() < 1e-28);
                      CHECK(irm_penalty(scale * first.x2, squared_risk(first.y)).item() > 0.1);
                    }},
                   {"weight zero is risk minimisation, and lambda is annealed",
                    [] {
                      CHECK(objective({Numbers(1.0), Numbers(4.0)}, {Numbers(7.0), Numbers(9.0)}, 0).item() == 2.5);
                      CHECK(objective({Numbers(1.0), Numbers(4.0)}, {Numbers(7.0), Numbers(9.0)}, 10).item() == 82.5);
                      CHECK(irm_weight({.penalty_weight = 50, .annealing_steps = 3}, 2) == 1);
                      CHECK(irm_weight({.penalty_weight = 50, .annealing_steps = 3}, 3) == 50);
                      check_off_is_erm(Irm{{.penalty_weight = 0}});
                    }},
                   {"the method is mean risk and mean penalty, and asks for a new optimiser where lambda jumps",
                    [] {
                      const auto batches = domain_batches<double>(3);
                      const DomainNet<double> net = domain_net<double>();
                      double risks = 0, penalties = 0;
                      for (const auto& [x, y] : batches) {
                        const Numbers logits = net(x, Context());
                        risks += cross_entropy(logits, y).item() / 3;
                        // d CE(w z) / dw at 1 is the mean of sum_c softmax(z)_c z_c - z_y.
                        double slope = 0;
                        for (Index i = 0; i < logits.size(0); ++i) {
                          double total = 0, mean = 0;
                          for (Index c = 0; c < 3; ++c) total += std::exp(logits.at({i, c}));
                          for (Index c = 0; c < 3; ++c) mean += std::exp(logits.at({i, c})) / total * logits.at({i, c});
                          slope += (mean - logits.at({i, static_cast<Index>(y.at({i}))})) / logits.size(0);
                        }
                        penalties += slope * slope / 3;
                      }
                      const Irm method{{.penalty_weight = 40, .annealing_steps = 5}};
                      CHECK(domain_loss(method, batches, 4) == Approx(risks + penalties).epsilon(1e-12));
                      CHECK(domain_loss(method, batches, 5) == Approx(risks + 40 * penalties).epsilon(1e-12));
                      CHECK((method.restarts_optimiser(5) && !method.restarts_optimiser(4) &&
                             !method.restarts_optimiser(6)));
                      CHECK(restarts_optimiser(method, 5));
                      CHECK(!restarts_optimiser(Erm(), 5));
                    }}},
}});

const bool erm_row = add_method_rows({{
    .name = "erm",
    .header = "graft/generalise/erm.hpp",
    .paper = "Vapnik, Statistical learning theory, Wiley 1998",
    .functions = {"Erm"},
    .use = "Erm().train_loss(net, domains, step, context)",
    .run = domain_run(Erm()),
    .loss = domain_loss_of_items(Erm()),
    .loss_at = domain_items_at(),
    .errors = {bad_use<ValueError>([] { domain_loss(Erm(), {}); }, "0 domains, expected 1"),
               bad_use<ValueError>(
                   [] {
                     auto batches = domain_batches<double>(3);
                     batches[1] = {zeros<double>({0, 4}), zeros<std::int64_t>({0})};
                     domain_loss(Erm(), batches);
                   },
                   "domain 1 has no items"),
               bad_use<ShapeError>(
                   [] {
                     auto batches = domain_batches<double>(3);
                     batches[2].y = zeros<std::int64_t>({2});
                     domain_loss(Erm(), batches);
                   },
                   "domain 2 needs items and a label each"),
               bad_use<ShapeError>(
                   [] {
                     auto batches = domain_batches<double>(3);
                     batches[2].x = zeros<double>({6, 5});
                     domain_loss(Erm(), batches);
                   },
                   "another shape")},
    .properties = {{"the mean of the domains' risks, whatever their sizes",
                    [] {
                      auto batches = domain_batches<double>(3);
                      batches[1] = {slice(batches[1].x, 0, 0, 2), slice(batches[1].y, 0, 0, 2)};
                      double expected = 0;
                      for (const auto& [x, y] : batches)
                        expected += cross_entropy(domain_net<double>()(x, Context()), y).item() / 3;
                      CHECK(domain_loss(Erm(), batches) == Approx(expected).epsilon(1e-14));
                      CHECK(domain_loss(Erm(), {batches[0]}) ==
                            Approx(cross_entropy(domain_net<double>()(batches[0].x, Context()), batches[0].y).item())
                                .epsilon(1e-14));
                    }},
                   {"as DomainBed", [] { check_case(Erm(), 0); }},
                   {"data that a program asks about: classes, a domain with one class, one domain",
                    [] {
                      CHECK(classes_of(domain_batches<double>(2)) == 3);
                      auto batches = domain_batches<double>(2);
                      CHECK_THROWS_WITH(classes_of(std::vector{batches[0]}),
                                        contains("1 domain, expected 2"));
                      batches[1].y = full<std::int64_t>({6}, 2);
                      CHECK_THROWS_WITH(classes_of(batches),
                                        contains("domain 1 has items of one class only"));
                      batches[1].y = full<std::int64_t>({6}, -1);
                      CHECK_THROWS_WITH(classes_of(batches), contains("label -1 in domain 1"));
                    }}},
}});

const bool vrex_row = add_method_rows({{
    .name = "vrex",
    .header = "graft/generalise/vrex.hpp",
    .paper = "Krueger et al., Out-of-distribution generalization via risk extrapolation, ICML 2021",
    .functions = {"vrex_objective", "Vrex"},
    .use = "Vrex{{.penalty_weight = 10}}.train_loss(net, domains, step, context)",
    .run = domain_run(Vrex{{.annealing_steps = 0}}),
    .loss = domain_loss_of_items(Vrex{{.annealing_steps = 0}}),
    .loss_at = domain_items_at(),
    .errors = {bad_use<ValueError>([] { vrex_objective(std::vector<Numbers>(), 1); }, "no risks"),
               bad_use<ValueError>([] { vrex_objective(std::vector{Numbers(1.0)}, -1); }, "weight is -1"),
               bad_use<ShapeError>(
                   [] {
                     vrex_objective(std::vector{Numbers(1.0), ones<double>({2})}, 1);
                   },
                   "risk of domain 1"),
               bad_use<ValueError>([] { domain_loss(Vrex(), {domain_batches<double>(3)[0]}); }, "1 domain, expected 2"),
               bad_use<ValueError>([] { domain_loss(Vrex{{.penalty_weight = -1}}, domain_batches<double>(3)); },
                                   "penalty_weight is -1"),
               bad_use<ValueError>([] { domain_loss(Vrex{{.annealing_steps = -1}}, domain_batches<double>(3)); },
                                   "annealing_steps is -1")},
    .properties = {{"mean and variance: risks 1, 2, 6 have 3 + 14/3 w",
                    [] {
                      const std::vector<Numbers> risks{Numbers(1.0), Numbers(2.0), Numbers(6.0)};
                      CHECK(vrex_objective(risks, 0).item() == 3);
                      CHECK(vrex_objective(risks, 1.5).item() == Approx(3 + 1.5 * 14 / 3).epsilon(1e-15));
                    }},
                   {"equal risks: the value and the gradient of the mean risk",
                    [] {
                      const auto batch = domain_batches<double>(1)[0];
                      const std::vector equal{batch, batch};
                      CHECK(domain_loss(Vrex(), equal, 600) == domain_loss(Erm(), equal));
                      CHECK(same_bits(domain_gradient(Vrex(), equal, 600), domain_gradient(Erm(), equal)));
                    }},
                   {"weight zero is risk minimisation bit for bit",
                    [] { check_off_is_erm(Vrex{{.penalty_weight = 0}}); }},
                   {"as DomainBed, in and after the annealing",
                    [] {
                      check_case(Vrex{{.penalty_weight = 10, .annealing_steps = 5}}, 1, 0);
                      check_case(Vrex{{.penalty_weight = 10, .annealing_steps = 5}}, 2, 7);
                      CHECK((Vrex().restarts_optimiser(500) && !Vrex().restarts_optimiser(499)));
                      CHECK(!Vrex{{.penalty_weight = 1}}.restarts_optimiser(500));
                      CHECK(!Vrex{{.annealing_steps = 0}}.restarts_optimiser(0));
                    }}},
}});

const bool group_dro_row = add_method_rows({{
    .name = "group_dro",
    .header = "graft/generalise/group_dro.hpp",
    .paper = "Sagawa, Koh, Hashimoto, Liang, Distributionally robust neural networks for group shifts, ICLR 2020",
    .functions = {"GroupDro"},
    .use = "GroupDro(domains).train_loss(net, batches, step, context)",
    .run = domain_run(GroupDro(2, {.eta = 1})),
    .errors = {bad_use<ValueError>([] { domain_loss(GroupDro(), {domain_batches<double>(3)[0]}); },
                                   "1 domain, expected 2"),
               bad_use<ValueError>([] { domain_loss(GroupDro(2), domain_batches<double>(3)); },
                                   "3 domains, but weights of 2"),
               bad_use<ValueError>([] { GroupDro(-1); }, "domains is -1"),
               bad_use<ValueError>([] { GroupDro(2, {.eta = -1}); }, "eta is -1"),
               bad_use<ValueError>(
                   [] {
                     auto batches = domain_batches<double>(3);
                     batches[1].x = full<double>({6, 4}, std::nan(""));
                     domain_loss(GroupDro(), batches);
                   },
                   "risk of domain 1 is nan")},
    .properties = {{"constant risks: q is softmax(eta t R), and so large an eta does not overflow",
                    [] {
                      const auto batches = domain_batches<double>(3);
                      for (const double eta : {0.01, 0.5, 3e4}) {
                        GroupDro method(0, {.eta = eta});
                        for (int step = 0; step < 4; ++step) domain_step(method, batches);
                        double largest = 0, total = 0, risks[3];
                        for (std::size_t e = 0; e < 3; ++e)
                          largest = std::max(largest, risks[e] = domain_loss(Erm(), {batches[e]}));
                        for (const double risk : risks) total += std::exp(4 * eta * (risk - largest));
                        for (Index e = 0; e < 3; ++e)
                          CHECK(method.weights().at({e}) ==
                                Approx(std::exp(4 * eta * (risks[e] - largest)) / total).epsilon(1e-9).margin(1e-300));
                      }
                    }},
                   {"the gradient is that of sum q R with constant q",
                    [] {
                      const auto batches = domain_batches<double>(2);
                      GroupDro method(2, {.eta = 2});
                      const Numbers found = domain_gradient(method, batches);
                      domain_step(method, batches);
                      const Numbers q = method.weights();
                      const Numbers expected = q.at({0}) * domain_gradient(Erm(), {batches[0]}) +
                                               q.at({1}) * domain_gradient(Erm(), {batches[1]});
                      CHECK(max(abs(found - expected)).item() < 1e-14);
                    }},
                   {"eta zero is risk minimisation bit for bit", [] { check_off_is_erm(GroupDro(0, {.eta = 0})); }},
                   {"as DomainBed",
                    [] {
                      check_case(GroupDro(3, {.eta = 0.5}), 3);
                      GroupDro method(3, {.eta = 0.5});
                      domain_step(method, case_batches(), case_net());
                      for (Index e = 0; e < 3; ++e)
                        CHECK(method.weights().at({e}) == Approx(kGroupWeights[e]).epsilon(1e-12));
                    }},
                   {"its memory is a model: it is copied, and saved, with the weights",
                    [] {
                      GroupDro method(3);
                      CHECK(names(method).empty());  // nothing to train
                      CHECK(method.weights().at({2}) == Approx(1.0 / 3).epsilon(1e-15));
                      const GroupDro before = method;
                      domain_step(method, domain_batches<double>(3));
                      CHECK(!same_bits(before.weights(), method.weights()));
                    }}},
}});

const bool mixup_row = add_method_rows({{
    .name = "mixup",
    .header = "graft/generalise/mixup.hpp",
    .paper = "Zhang, Cisse, Dauphin, Lopez-Paz, mixup: Beyond empirical risk minimization, ICLR 2018; Wang, Li, Kot, "
             "Heterogeneous domain generalization via domain mixup, ICASSP 2020",
    .functions = {"mixup_pairs", "Mixup"},
    .use = "Mixup{{.alpha = 0.2}}.train_loss(net, domains, step, context)",
    .run = domain_run(Mixup{{.alpha = 1}}),
    .loss = domain_loss_of_items(Mixup{{.alpha = 1}}),
    .loss_at = domain_items_at(),
    .errors =
        {bad_use<ValueError>([] { mixup_pairs(1, 0.2, Random(1)); }, "domains is 1"),
         bad_use<ValueError>([] { mixup_pairs(2, 0, Random(1)); }, "alpha is 0"),
         bad_use<ValueError>([] { domain_loss(Mixup(), {domain_batches<double>(3)[0]}); }, "1 domain, expected 2"),
         bad_use<ValueError>([] { domain_loss(Mixup{{.alpha = -1}}, domain_batches<double>(3)); }, "alpha is -1")},
    .properties = {{"pairs: each domain once first and once second, lambda of Beta(alpha, alpha)",
                    [] {
                      double total = 0, squares = 0;
                      for (std::uint64_t seed = 0; seed < 2000; ++seed) {
                        std::vector<int> first(5), second(5);
                        for (const MixedPair& pair : mixup_pairs(5, 0.2, Random(seed))) {
                          ++first[pair.first], ++second[pair.second];
                          CHECK(pair.first != pair.second);
                          total += pair.lambda, squares += (pair.lambda - 0.5) * (pair.lambda - 0.5);
                        }
                        CHECK((first == std::vector<int>(5, 1) && second == std::vector<int>(5, 1)));
                      }
                      // Mean 1/2 and variance 1 / (4 (2 alpha + 1)) = 0.17857; six standard errors of 10000 draws.
                      CHECK(std::abs(total / 10000 - 0.5) < 6 * 0.4226 / 100);
                      CHECK(std::abs(squares / 10000 - 1 / (4 * 1.4)) < 6 * 0.25 / 100);
                    }},
                   {"alpha zero is risk minimisation bit for bit", [] { check_off_is_erm(Mixup{{.alpha = 0}}); }},
                   {"the mean over the pairs of the mixed losses, as DomainBed with its draws",
                    [] {
                      // What train_loss computes from its own pairs, and DomainBed from its.
                      const auto objective = [](const DomainNet<double>& net, const auto& batches, const auto& pairs) {
                        Numbers total(0.0);
                        for (const auto& [i, j, lambda] : pairs) {
                          const auto &a = batches[i], &b = batches[j];
                          const Numbers logits = net(lambda * a.x + (1 - lambda) * b.x, Context());
                          total =
                              total + lambda * cross_entropy(logits, a.y) + (1 - lambda) * cross_entropy(logits, b.y);
                        }
                        return total / static_cast<double>(pairs.size());
                      };
                      const DomainNet<double> net = case_net();
                      const auto batches = case_batches();
                      check_case_of([&](const DomainNet<double>& at) { return objective(at, batches, kPairs); },
                                    kCases[6]);
                      const auto pairs = mixup_pairs(3, 0.2, domain_context().stream("mixup"));
                      Context context = domain_context();
                      CHECK(Mixup().train_loss(net, batches, 0, context).item() ==
                            Approx(objective(net, batches, pairs).item()).epsilon(1e-13));
                    }},
                   {"batches of unequal sizes: as many items as the smaller has",
                    [] {
                      auto batches = domain_batches<double>(2), front = batches;
                      batches[0] = front[0] = {slice(batches[0].x, 0, 0, 4), slice(batches[0].y, 0, 0, 4)};
                      front[1] = {slice(batches[1].x, 0, 0, 4), slice(batches[1].y, 0, 0, 4)};
                      CHECK(domain_loss(Mixup(), batches) == domain_loss(Mixup(), front));
                    }}},
}});

const bool coral_row = add_method_rows({{
    .name = "coral",
    .header = "graft/generalise/coral.hpp",
    .paper = "Sun, Saenko, Deep CORAL: Correlation alignment for deep domain adaptation, ECCV Workshops 2016",
    .functions = {"coral_parts", "Coral"},
    .use = "Coral().train_loss(BodyHead{body, head}, domains, step, context)",
    .run = domain_run(Coral{{.weight = 30}}),
    .loss = domain_loss_of_items(Coral{{.weight = 30}}),
    .loss_at = domain_items_at(),
    .errors =
        {bad_use<ShapeError>(
             [] {
               coral_parts(ones<double>({3, 2}), ones<double>({3, 3}));
             },
             "[3, 3]"),
         bad_use<ValueError>(
             [] {
               coral_parts(ones<double>({1, 2}), ones<double>({3, 2}));
             },
             "1 and 3"),
         bad_use<ValueError>([] { domain_loss(Coral(), {domain_batches<double>(3)[0]}); }, "1 domain, expected 2"),
         bad_use<ValueError>(
             [] {
               auto batches = domain_batches<double>(2);
               batches[1] = {slice(batches[1].x, 0, 0, 1), slice(batches[1].y, 0, 0, 1)};
               domain_loss(Coral(), batches);
             },
             "domain 1 has one item"),
         bad_use<ValueError>([] { domain_loss(Coral{{.weight = -1}}, domain_batches<double>(3)); }, "weight is -1")},
    .properties = {{"by hand: means 1 and 3, covariances 1/2 I and [[0, 0], [0, 2]]",
                    [] {
                      // Rows (0, 1), (1, 1), (1/2, 1 +- ...) would do as well; these have divisor n - 1 = 1.
                      const Numbers a = tensor<double>({{0, 2}, {1, 1}}), b = tensor<double>({{2, 1}, {2, 3}});
                      // Means (1/2, 3/2) and (2, 2): ((3/2)^2 + (1/2)^2) / 2. C_a = [[1/2, -1/2], [-1/2, 1/2]], C_b =
                      // diag(0, 2).
                      const auto parts = coral_parts(a, b);
                      CHECK(parts.means.item() == Approx(1.25).epsilon(1e-15));
                      CHECK(parts.covariances.item() == Approx((0.25 + 0.25 + 0.25 + 2.25) / 4).epsilon(1e-15));
                    }},
                   {"zero for equal moments: a set and its mirror image about the mean",
                    [] {
                      const Numbers a = randn<double>({7, 3}, Random(1)), b = 2 * mean(a, {0}, true) - a;
                      CHECK(coral_parts(a, b).means.item() < 1e-30);
                      CHECK(coral_parts(a, b).covariances.item() < 1e-30);
                    }},
                   {"the covariance part does not see a shift, of a million either; the other sees nothing else",
                    [] {
                      const Numbers a = randn<double>({7, 3}, Random(1)), b = 2 * randn<double>({9, 3}, Random(2));
                      const auto plain = coral_parts(a, b), moved = coral_parts(a, b + 1e6),
                                 both = coral_parts(a + 1e6, b + 1e6);
                      CHECK(moved.covariances.item() == Approx(plain.covariances.item()).epsilon(1e-8));
                      CHECK(both.covariances.item() == Approx(plain.covariances.item()).epsilon(1e-8));
                      CHECK(both.means.item() == Approx(plain.means.item()).epsilon(1e-8));
                      CHECK(moved.means.item() == Approx(1e12).epsilon(1e-5));
                      const Numbers shift = tensor<double>({{1, 2, 2}});
                      CHECK(coral_parts(a, a + shift).means.item() == Approx(3).epsilon(1e-12));
                      CHECK(coral_parts(a, a + shift).covariances.item() < 1e-28);
                    }},
                   {"weight zero is risk minimisation bit for bit", [] { check_off_is_erm(Coral{{.weight = 0}}); }},
                   {"as DomainBed", [] { check_case(Coral{{.weight = 0.5}}, 4); }}},
}});

const bool mmd_row = add_method_rows({{
    .name = "mmd",
    .header = "graft/generalise/mmd.hpp",
    .paper = "Li, Pan, Wang, Kot, Domain generalization with adversarial feature learning, CVPR 2018; Gretton et al., "
             "A kernel two-sample test, JMLR 2012",
    .functions = {"gaussian_mmd", "Mmd"},
    .use = "Mmd().train_loss(BodyHead{body, head}, domains, step, context)",
    .run = domain_run(Mmd{{.weight = 30}}),
    .loss = domain_loss_of_items(Mmd{{.weight = 30}}),
    .loss_at = domain_items_at(),
    .errors = {bad_use<ShapeError>(
                   [] {
                     gaussian_mmd(ones<double>({3, 2}), ones<double>({3, 3}));
                   },
                   "[3, 3]"),
               bad_use<ValueError>(
                   [] {
                     gaussian_mmd(zeros<double>({0, 2}), ones<double>({3, 2}));
                   },
                   "empty"),
               bad_use<ValueError>([] { domain_loss(Mmd(), {domain_batches<double>(3)[0]}); }, "1 domain, expected 2"),
               bad_use<ValueError>([] { domain_loss(Mmd{{.weight = -1}}, domain_batches<double>(3)); },
                                   "weight is -1")},
    .properties = {{"one item each: 2 (7 - k(d)), the slow sum over all pairs",
                    [] {
                      const auto kernel = [](const Numbers& a, Index i, const Numbers& b, Index j) {
                        double d = 0, k = 0;
                        for (Index c = 0; c < a.size(1); ++c) d += std::pow(a.at({i, c}) - b.at({j, c}), 2);
                        for (int power = -3; power <= 3; ++power) k += std::exp(-std::pow(10.0, power) * d);
                        return k;
                      };
                      const auto slow = [&](const Numbers& a, const Numbers& b) {
                        const auto mean = [&](const Numbers& u, const Numbers& v) {
                          double total = 0;
                          for (Index i = 0; i < u.size(0); ++i)
                            for (Index j = 0; j < v.size(0); ++j) total += kernel(u, i, v, j);
                          return total / static_cast<double>(u.size(0) * v.size(0));
                        };
                        return mean(a, a) + mean(b, b) - 2 * mean(a, b);
                      };
                      const Numbers a = randn<double>({5, 3}, Random(1)), b = randn<double>({8, 3}, Random(2)) + 1;
                      CHECK(gaussian_mmd(a, b).item() == Approx(slow(a, b)).epsilon(1e-10));
                      CHECK(gaussian_mmd(a + 1e6, b + 1e6).item() == Approx(slow(a, b)).epsilon(1e-6));
                      const Numbers one = slice(a, 0, 0, 1), other = slice(b, 0, 0, 1);
                      CHECK(gaussian_mmd(one, other).item() == Approx(2 * (7 - kernel(a, 0, b, 0))).epsilon(1e-12));
                    }},
                   {"the same sample: 0, in another order too; another is never below 0",
                    [] {
                      const Numbers a = randn<double>({6, 3}, Random(1));
                      CHECK(gaussian_mmd(a, a).item() == 0);
                      CHECK(std::abs(gaussian_mmd(a, flip(a, 0)).item()) < 1e-11);
                      for (std::uint64_t seed = 0; seed < 50; ++seed)
                        CHECK(gaussian_mmd(a, randn<double>({4, 3}, Random(seed))).item() > 0);
                    }},
                   {"permutation test: two samples of one distribution are not told apart, shifted ones are",
                    [] {
                      const auto rank = [](double shift) {
                        const Numbers all = concat(
                            std::vector{randn<double>({20, 2}, Random(1)), randn<double>({20, 2}, Random(2)) + shift});
                        const auto distance = [&](const std::vector<Index>& order) {
                          const std::vector<std::int64_t> places(order.begin(), order.end());
                          const Numbers mixed = gather(all, from_vector(places));
                          return gaussian_mmd(slice(mixed, 0, 0, 20), slice(mixed, 0, 20, 40)).item();
                        };
                        std::vector<Index> order(40);
                        for (Index i = 0; i < 40; ++i) order[i] = i;
                        const double own = distance(order);
                        int above = 0;
                        for (std::uint64_t draw = 0; draw < 199; ++draw)
                          above += distance(Random(draw).permutation(40)) >= own;
                        return (above + 1) / 200.0;  // the p-value
                      };
                      CHECK(rank(0) > 0.05);
                      CHECK(rank(2) == 0.005);
                    }},
                   {"weight zero is risk minimisation bit for bit", [] { check_off_is_erm(Mmd{{.weight = 0}}); }},
                   {"as DomainBed", [] { check_case(Mmd{{.weight = 0.5}}, 5); }}},
}});

}  // namespace
