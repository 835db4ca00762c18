// Rows of the method table for generalise/.

#include <cmath>

#include "catch.hpp"
#include "graft/generalise/irm.hpp"
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
    .functions = {"irm_penalty", "irm_objective", "irm_weight"},
    .use = "irm_objective(risks, penalties, irm_weight(options, step))",
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
               bad_use<ShapeError>([] { objective({ones<double>({2})}, {Numbers(1.0)}, 1); }, "risk [2]")},
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
                    }}},
}});

}  // namespace
