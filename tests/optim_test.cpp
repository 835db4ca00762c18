// Optimisers against the formulas of torch.optim written out for one number, and against what holds for any formula:
// copies do not change, frozen parameters do not move, bits do not depend on threads. Schedules against their formulas.

#include <cmath>
#include <numbers>
#include <optional>
#include <vector>

#include "catch.hpp"
#include "graft/model/grad.hpp"
#include "graft/nn/linear.hpp"
#include "graft/optim/adam.hpp"
#include "graft/optim/schedule.hpp"
#include "graft/optim/sgd.hpp"

using namespace graft;

namespace {

struct Two {
  Tensor<double> free, fixed;
  Buffer<double> statistics{ones<double>({2})};
  GRAFT_FIELDS(free, fixed, statistics)
};

/// Gradients of step s, the same for both tensors.
double slope(int step) { return 0.5 * std::cos(step) - 0.1; }
Two gradient_of(int step) { return {full<double>({3}, slope(step)), full<double>({3}, slope(step)), {}}; }

/// Runs `steps` steps of the optimiser from 1 with rate 0.1 and returns the number that all elements of `free` are.
template <class Optimizer>
double run(Optimizer& optimizer, int steps) {
  Two model{ones<double>({3}), ones<double>({3})};
  for (int s = 0; s < steps; ++s) optimizer.step(model, gradient_of(s), 0.1);
  CHECK(same_bits(model.free, model.fixed));
  CHECK(model.free.at({0}) == model.free.at({2}));
  return model.free.at({0});
}
const Two kModel{ones<double>({3}), ones<double>({3})};

}  // namespace

TEST_CASE("SGD follows torch.optim.SGD", "[optim]") {
  for (double momentum : {0.0, 0.9})
    for (double decay : {0.0, 0.2})
      for (bool nesterov : {false, true}) {
        if (nesterov && momentum == 0) continue;
        double p = 1, v = 0;
        for (int s = 0; s < 7; ++s) {
          const double g = slope(s) + decay * p;
          v = s == 0 ? g : momentum * v + g;
          const double d = momentum == 0 ? g : nesterov ? g + momentum * v : v;
          p -= 0.1 * d;
        }
        Sgd optimizer(kModel, {.momentum = momentum, .nesterov = nesterov, .weight_decay = decay});
        CHECK(run(optimizer, 7) == Approx(p).epsilon(1e-13));
      }
  // By hand: p = 1, g = 0.4, rate 0.1, momentum 0.9: v = 0.4, 0.76; p = 0.96, 0.884.
  Sgd optimizer(kModel, {.momentum = 0.9});
  Two model = kModel;
  const Two gradient{full<double>({3}, 0.4), full<double>({3}, 0.4), {}};
  optimizer.step(model, gradient, 0.1);
  CHECK(model.free.at({1}) == Approx(0.96).epsilon(1e-14));
  optimizer.step(model, gradient, 0.1);
  CHECK(model.free.at({1}) == Approx(0.884).epsilon(1e-14));
}

TEST_CASE("three steps by hand with dampening, as torch.optim.SGD takes them", "[optim]") {
  // From p = 1 with gradients 0.4, -0.3, 0.2, rate 0.1, momentum 0.8 and dampening 1/2.
  const auto check = [](SgdOptions options, double first, double second, double third) {
    Sgd optimizer(kModel, options);
    Two model = kModel;
    const double gradients[] = {0.4, -0.3, 0.2}, places[] = {first, second, third};
    for (int s = 0; s < 3; ++s) {
      optimizer.step(model, {full<double>({3}, gradients[s]), full<double>({3}, gradients[s]), {}}, 0.1);
      CHECK(model.free.at({2}) == Approx(places[s]).epsilon(1e-14));
    }
  };
  // v = 0.4; 0.8 * 0.4 - 0.15 = 0.17; 0.8 * 0.17 + 0.1 = 0.236.
  check({.momentum = 0.8, .dampening = 0.5}, 0.96, 0.943, 0.9194);
  // g = -0.4 + 0.5 = v, p = 0.99; g = 0.3 + 0.495, v = 0.08 + 0.3975, p = 0.94225; g = -0.2 + 0.471125,
  // v = 0.382 + 0.1355625.
  check({.momentum = 0.8, .weight_decay = 0.5, .maximize = true, .dampening = 0.5}, 0.99, 0.94225, 0.89049375);
  // Without momentum there is nothing to dampen.
  check({.dampening = 0.5}, 0.96, 0.99, 0.97);

  // A parameter that is unfrozen later takes its first step then.
  Sgd optimizer(kModel, {.momentum = 0.9, .dampening = 0.5});
  Two model = freeze(kModel, {"fixed"});
  for (int s = 0; s < 5; ++s) optimizer.step(model, gradient_of(s), 0.1);
  model = unfreeze(model);
  optimizer.step(model, gradient_of(5), 0.1);
  CHECK(model.fixed.at({0}) == Approx(1 - 0.1 * slope(5)).epsilon(1e-14));
  CHECK(same_bits(optimizer.steps.value, tensor<std::int64_t>({6, 1})));
}

TEST_CASE("Adam and AdamW follow torch.optim", "[optim]") {
  const auto reference = [](double decay, bool decoupled, int steps) {
    double p = 1, m = 0, v = 0;
    for (int s = 0; s < steps; ++s) {
      double g = slope(s);
      if (decoupled)
        p *= 1 - 0.1 * decay;
      else
        g += decay * p;
      m += (g - m) * (1 - 0.9);
      v = 0.999 * v + (1 - 0.999) * g * g;
      const double bias1 = 1 - std::pow(0.9, s + 1), bias2 = 1 - std::pow(0.999, s + 1);
      p -= 0.1 / bias1 * m / (std::sqrt(v) / std::sqrt(bias2) + 1e-8);
    }
    return p;
  };
  for (double decay : {0.0, 0.3}) {
    Adam adam(kModel, {.weight_decay = decay});
    CHECK(run(adam, 9) == Approx(reference(decay, false, 9)).epsilon(1e-12));
    AdamW adamw(kModel, {.weight_decay = decay});
    CHECK(run(adamw, 9) == Approx(reference(decay, true, 9)).epsilon(1e-12));
  }
  CHECK(AdamW(kModel).options.weight_decay == 0.01);
  CHECK(AdamW(kModel).options.beta2 == 0.999);

  // The first step is rate g / (|g| + epsilon), whatever the size of g.
  for (double g : {1e-3, -20.0}) {
    Adam adam(kModel);
    Two model = kModel;
    adam.step(model, {full<double>({3}, g), full<double>({3}, g), {}}, 0.1);
    CHECK(model.free.at({0}) == Approx(1 - 0.1 * g / (std::abs(g) + 1e-8)).epsilon(1e-12));
  }
}

TEST_CASE("two steps by hand with weight decay, as torch.optim takes them", "[optim]") {
  // From p = 1 with gradients 0.4 and -0.3 and rate 0.1; `maximize` turns their sign before the decay is added.
  const auto two_steps = [](auto optimizer) {
    Two model = kModel;
    std::vector<double> places;
    for (double g : {0.4, -0.3}) {
      optimizer.step(model, {full<double>({3}, g), full<double>({3}, g), {}}, 0.1);
      places.push_back(model.free.at({1}));
    }
    return from_vector(places);
  };
  const auto close = [](const Tensor<double>& places, double first, double second) {
    return all_close(places, tensor<double>({first, second}), 1e-12, 0);
  };
  // g = 0.4 + 0.5 = 0.9, p = 1 - 0.09 = 0.91; g = -0.3 + 0.455 = 0.155, p = 0.91 - 0.0155.
  CHECK(close(two_steps(Sgd(kModel, {.weight_decay = 0.5})), 0.91, 0.8945));
  // g = -0.4 + 0.5 = 0.1, p = 0.99; g = 0.3 + 0.495 = 0.795, p = 0.99 - 0.0795.
  CHECK(close(two_steps(Sgd(kModel, {.weight_decay = 0.5, .maximize = true})), 0.99, 0.9105));
  // v = 0.9, p = 0.91; v = 0.8 * 0.9 + 0.155 = 0.875, p = 0.91 - 0.0875.
  CHECK(close(two_steps(Sgd(kModel, {.momentum = 0.8, .weight_decay = 0.5})), 0.91, 0.8225));
  // d = 0.9 + 0.8 * 0.9 = 1.62, p = 0.838; g = -0.3 + 0.419 = 0.119, v = 0.72 + 0.119 = 0.839,
  // d = 0.119 + 0.8 * 0.839 = 0.7902, p = 0.838 - 0.07902.
  CHECK(close(two_steps(Sgd(kModel, {.momentum = 0.8, .nesterov = true, .weight_decay = 0.5})), 0.838, 0.75898));
  // With beta1 = 0 and beta2 = 1/2 a step is rate g / sqrt(v / (1 - 2^-t)). Adam: g = 0.9, v = 0.405, p = 0.9;
  // g = -0.3 + 0.45 = 0.15, v = 0.2025 + 0.01125 = 0.21375, over 3/4: 0.285.
  const AdamOptions plain{.beta1 = 0, .beta2 = 0.5, .epsilon = 1e-300, .weight_decay = 0.5};
  CHECK(close(two_steps(Adam(kModel, plain)), 0.9, 0.9 - 0.015 / std::sqrt(0.285)));
  // AdamW: p = 0.95 - 0.1 = 0.85 from g = 0.4, v = 0.08; g = -0.3, v = 0.04 + 0.045 = 0.085, over 3/4: 0.34 / 3;
  // p = 0.95 * 0.85 + 0.03 / sqrt(0.34 / 3).
  CHECK(close(two_steps(AdamW(kModel, plain)), 0.85, 0.8075 + 0.03 / std::sqrt(0.34 / 3)));
  // Climbing, Adam: g = -0.4 + 0.5 = 0.1, p = 0.9; g = 0.3 + 0.45 = 0.75, v = 0.0025 + 0.28125 = 0.28375.
  AdamOptions climbing = plain;
  climbing.maximize = true;
  CHECK(close(two_steps(Adam(kModel, climbing)), 0.9, 0.9 - 0.075 / std::sqrt(0.28375 / 0.75)));
  // AdamW shrinks p all the same: 0.95 + 0.1 = 1.05; 0.95 * 1.05 - 0.03 / sqrt(0.34 / 3).
  CHECK(close(two_steps(AdamW(kModel, climbing)), 1.05, 0.9975 - 0.03 / std::sqrt(0.34 / 3)));
}

TEST_CASE("a step changes no copy of the model, gradient or optimiser", "[optim]") {
  const auto check = [](auto optimizer) {
    Two model{ones<double>({3}), ones<double>({3})};
    const Two gradient = gradient_of(0);
    optimizer.step(model, gradient, 0.1);
    const Two snapshot = model;
    const auto earlier = optimizer;
    const std::vector<double> before(model.free.span().begin(), model.free.span().end());
    optimizer.step(model, gradient, 0.1);
    CHECK(std::vector<double>(snapshot.free.span().begin(), snapshot.free.span().end()) == before);
    CHECK_FALSE(same_bits(model.free, snapshot.free));
    CHECK(gradient.free.at({0}) == slope(0));
    // The copy of the optimiser takes the same step from the snapshot.
    Two again = snapshot;
    auto repeated = earlier;
    repeated.step(again, gradient, 0.1);
    CHECK(same_bits(again.free, model.free));
  };
  check(Sgd(kModel, {.momentum = 0.9}));
  check(Adam(kModel));
  check(AdamW(kModel));
}

TEST_CASE("a step writes in place where nobody else sees the numbers", "[optim]") {
  Two model{ones<double>({3}), ones<double>({3})};
  Adam adam(model);
  const double* place = model.free.data();
  const double* state = adam.mean.free.data();
  adam.step(model, gradient_of(0), 0.1);
  CHECK(model.free.data() == place);
  CHECK(adam.mean.free.data() == state);

  // A tape that saved the parameter keeps its numbers.
  const Tensor<double> tracked = variable(model.free);
  const Tensor<double> y = sum(square(tracked));
  adam.step(model, gradient_of(1), 0.1);
  CHECK(model.free.data() != place);
  CHECK(all_close(grad(y, tracked), 2 * tracked.detach(), 0, 0));

  // In the steady state nothing is asked of the system.
  const auto allocations = memory_stats().system_allocations;
  for (int s = 0; s < 100; ++s) adam.step(model, gradient_of(s), 0.1);
  CHECK(memory_stats().system_allocations == allocations);
}

TEST_CASE("frozen parameters are not touched, nor their state", "[optim]") {
  const auto check = [](auto optimizer, auto&& state) {
    Two model = freeze(kModel, {"fixed"});
    for (int s = 0; s < 3; ++s) optimizer.step(model, gradient_of(s), 0.1);
    CHECK(same_bits(model.fixed, kModel.fixed));
    CHECK(model.fixed.frozen());
    CHECK_FALSE(same_bits(model.free, kModel.free));
    CHECK(same_bits(state(optimizer).fixed, zeros<double>({3})));
    CHECK(same_bits(model.statistics.value, kModel.statistics.value));
  };
  check(Sgd(kModel, {.momentum = 0.9, .weight_decay = 0.1}), [](auto& o) { return o.velocity; });
  check(Adam(kModel, {.weight_decay = 0.1}), [](auto& o) { return o.mean; });
  check(AdamW(kModel), [](auto& o) { return o.square; });

  // One that is unfrozen later starts its bias correction then: its first step is that of a new optimiser.
  Adam adam(kModel);
  Two model = freeze(kModel, {"fixed"});
  for (int s = 0; s < 5; ++s) adam.step(model, gradient_of(s), 0.1);
  model = unfreeze(model);
  adam.step(model, gradient_of(5), 0.1);
  CHECK(model.fixed.at({0}) == Approx(1 - 0.1 * slope(5) / (std::abs(slope(5)) + 1e-8)).epsilon(1e-12));
  CHECK(same_bits(adam.steps.value, tensor<std::int64_t>({6, 1})));
}

TEST_CASE("averages of vanished gradients end at zero, not in denormals", "[optim]") {
  std::vector<Tensor<>> model{ones({40})};
  Adam adam(model, {.beta2 = 0.99});
  Sgd sgd(model, {.momentum = 0.9});
  const std::vector<Tensor<>> first{full({40}, 1e-15f)}, none{zeros({40})};
  adam.step(model, first, 0.1);
  sgd.step(model, first, 0.1);
  for (int s = 0; s < 2000; ++s) {
    adam.step(model, none, 0.1);
    sgd.step(model, none, 0.1);
    for (float x : {adam.mean[0].at({39}), adam.square[0].at({39}), sgd.velocity[0].at({39})})
      if (x != 0 && std::abs(x) < std::numeric_limits<float>::min()) FAIL("a denormal after " << s << " steps");
  }
  CHECK(adam.square[0].at({0}) == 0);
  CHECK(sgd.velocity[0].at({0}) == 0);
}

TEST_CASE("bits of a step do not depend on threads", "[optim]") {
  const std::vector<Tensor<>> start{randn({70001}, Random(1)), randn({33}, Random(2))};
  const std::vector<Tensor<>> gradient{randn({70001}, Random(3)), randn({33}, Random(4))};
  const auto run_with = [&](int count) {
    set_threads(count);
    auto model = start;
    AdamW optimizer(model);
    for (int s = 0; s < 3; ++s) optimizer.step(model, gradient, 0.01);
    set_threads(0);
    return model;
  };
  const auto one = run_with(1);
  for (int count : {2, 3, 8}) {
    const auto other = run_with(count);
    CHECK(same_bits(one[0], other[0]));
    CHECK(same_bits(one[1], other[1]));
  }
}

TEST_CASE("bad steps are refused and change nothing", "[optim]") {
  Two model = kModel;
  Adam adam(model);
  Two gradient = gradient_of(0);
  gradient.fixed = ones<double>({4});
  CHECK_THROWS_WITH(adam.step(model, gradient, 0.1), contains("Adam::step") && contains("fixed") && contains("[4]"));
  CHECK_THROWS_AS(adam.step(model, gradient_of(0), std::nan("")), ValueError);
  CHECK(same_bits(model.free, kModel.free));
  CHECK(same_bits(adam.steps.value, zeros<std::int64_t>({2})));
  CHECK_THROWS_AS(Sgd(model, {.momentum = 1.5}), ValueError);
  CHECK_THROWS_AS(Sgd(model, {.nesterov = true}), ValueError);
  CHECK_THROWS_AS(Sgd(model, {.momentum = 0.9, .nesterov = true, .dampening = 0.1}), ValueError);
  CHECK_THROWS_AS(Adam(model, {.beta2 = 1}), ValueError);
  CHECK_THROWS_AS(Adam(model, {.epsilon = 0}), ValueError);
}

TEST_CASE("both optimisers find the minimum of a stretched bowl", "[optim]") {
  // f = (x^2 + 25 y^2) / 2 from (1, 1).
  const auto loss = [](const std::vector<Tensor<>>& m) { return sum(square(m[0]) * tensor<float>({0.5f, 12.5f})); };
  std::vector<Tensor<>> by_sgd{ones({2})}, by_adam{ones({2})};
  Sgd sgd(by_sgd, {.momentum = 0.8});
  Adam adam(by_adam);
  const Schedule rate = Schedule::cosine(0.05, 400);
  for (Index s = 0; s < 400; ++s) {
    sgd.step(by_sgd, grad(loss, by_sgd), 0.03);
    adam.step(by_adam, grad(loss, by_adam), rate(s));
  }
  CHECK(norm(by_sgd).item() < 1e-4);
  CHECK(norm(by_adam).item() < 1e-3);
}

TEST_CASE("schedules", "[optim]") {
  CHECK(Schedule::constant(0.3)(0) == 0.3);
  CHECK(Schedule::constant(0.3)(1000000) == 0.3);

  const Schedule step = Schedule::step(1, 10, 0.5);
  CHECK(step(9) == 1);
  CHECK(step(10) == 0.5);
  CHECK(step(35) == 0.125);

  const Schedule cosine = Schedule::cosine(1, 100, 0.2);
  CHECK(cosine(0) == 1);
  CHECK(cosine(50) == Approx(0.6).epsilon(1e-14));
  CHECK(cosine(25) == Approx(0.2 + 0.4 * (1 + std::sqrt(0.5))).epsilon(1e-14));
  CHECK(cosine(100) == Approx(0.2).epsilon(1e-14));
  CHECK(cosine(5000) == Approx(0.2).epsilon(1e-14));

  const Schedule linear = Schedule::linear(1, 3, 4);
  CHECK(linear(1) == 1.5);
  CHECK(linear(9) == 3);

  const Schedule warm = Schedule::warm_up(4, cosine);
  CHECK(warm(0) == Approx(0.25).epsilon(1e-14));
  CHECK(warm(2) == Approx(0.75).epsilon(1e-14));
  CHECK(warm(3) == Approx(1).epsilon(1e-14));
  for (Index s : {0, 1, 50, 100, 200}) CHECK(warm(s + 4) == cosine(s));

  const Schedule joined =
      Schedule::constant(0.1).for_steps(5).then(Schedule::step(1, 2, 0.1)).for_steps(4).then(linear);
  CHECK(joined(4) == 0.1);
  CHECK(joined(5) == 1);
  CHECK(joined(7) == Approx(0.1).epsilon(1e-14));
  CHECK(joined(9) == 1);
  CHECK(joined(11) == 2);

  CHECK_THROWS_AS(Schedule::constant(1).then(linear), ValueError);
  CHECK_THROWS_AS(Schedule::cosine(1, 0), ValueError);
  CHECK_THROWS_AS(linear.for_steps(3), ValueError);
  CHECK_THROWS_AS(linear(-1), ValueError);
}
