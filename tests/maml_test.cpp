// MAML written as the paper's algorithm box, held against closed forms.

#include <cmath>
#include <vector>

#include "catch.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/model/grad.hpp"
#include "graft/nn/linear.hpp"
#include "messages.hpp"

using namespace graft;

namespace {

struct Net {
  Linear<> hidden, head;
  GRAFT_FIELDS(hidden, head)
  Tensor<> operator()(const Tensor<>& x) const { return head(relu(hidden(x))); }
};

struct Batch2 {
  Tensor<> x, y;
};
struct Episode {
  Batch2 support, query;
};
struct MamlOptions {
  double alpha = 0.1;
  int steps = 1;
  bool first_order = false;
};

// Model-agnostic meta-learning. Finn, Abbeel, Levine, ICML 2017, Algorithm 2.
template <Model M, class Loss>
Tensor<> maml_loss(const M& theta, const Episode& task, Loss loss, MamlOptions o) {
  M phi = theta;                     // copies handles
  for (int k = 0; k < o.steps; ++k)  // lines 6-7
    phi =
        phi - o.alpha * grad([&](const M& m) { return loss(m, task.support); }, phi, {.create_graph = !o.first_order});
  return loss(phi, task.query);  // line 10
}

const auto squared_error = [](const auto& net, const Batch2& batch) { return mean(square(net(batch.x) - batch.y)); };

/// As Net, without kinks: a step across a kink of relu makes the adapted loss jump, which differences would see.
struct SmoothNet {
  Linear<> hidden, head;
  GRAFT_FIELDS(hidden, head)
  Tensor<> operator()(const Tensor<>& x) const { return head(tanh(hidden(x))); }
};

Episode sine_episode(const Random& random) {
  const auto batch = [&](const char* name) {
    const Tensor<> x = rand({8, 1}, random.stream(name), -3, 3);
    return Batch2{x, sin(x)};
  };
  return {batch("support"), batch("query")};
}

template <class M = Net>
M sine_net() {
  return {Linear<>(1, 16, Random(1).stream("hidden")), Linear<>(16, 1, Random(1).stream("head"))};
}

/// A one-parameter model and the task a/2 (theta - c)^2.
struct Point {
  Tensor<double> theta;
  GRAFT_FIELDS(theta)
};
struct Quadratic {
  double a, c;
  Tensor<double> operator()(const Point& m) const { return a / 2 * square(m.theta - c); }
};

}  // namespace

TEST_CASE("MAML as printed: gradient by differentiating through the steps", "[nn]") {
  const Episode task = sine_episode(Random(2));
  const MamlOptions options{.alpha = 0.05, .steps = 2};
  const Net net = sine_net();
  CHECK(norm(grad([&](const Net& theta) { return maml_loss(theta, task, squared_error, options); }, net)).item() > 0);

  const SmoothNet smooth = sine_net<SmoothNet>();
  const auto meta_gradient = [&](MamlOptions o) {
    return grad([&](const SmoothNet& theta) { return maml_loss(theta, task, squared_error, o); }, smooth);
  };
  const SmoothNet gradient = meta_gradient(options);
  // Against a central difference of the same float loss (truncation h^2, rounding 1e-7 / h), along a direction of
  // random sizes and the gradient's signs, so that nothing cancels.
  const SmoothNet direction = zip(
      [](const auto& g) { return sign(g) * rand(g.shape(), Random(3).stream(static_cast<std::uint64_t>(g.count()))); },
      gradient);
  const double h = 3e-3;
  const auto along = [&](double t) {
    return maml_loss(axpy(t, direction, smooth), task, squared_error, options).item();
  };
  CHECK(dot(gradient, direction).item() == Approx((along(h) - along(-h)) / (2 * h)).epsilon(2e-3));
  // First order drops the Hessian, so it is another gradient.
  const SmoothNet first = meta_gradient({.alpha = 0.05, .steps = 2, .first_order = true});
  CHECK(norm(first - gradient).item() > 1e-2 * norm(gradient).item());
}

TEST_CASE("MAML on quadratics has its closed forms", "[nn]") {
  // Task i: a_i/2 (theta - c_i)^2, k inner steps of size al. Every method's mean gradient vanishes at
  // sum w_i c_i / sum w_i with the weights below (a = (1, 3), c = (0, 1), al = 0.1).
  const std::vector<Quadratic> tasks{{1, 0}, {3, 1}};
  const double al = 0.1;
  const auto adapted = [&](const Quadratic& task, const Point& theta, int k, bool create_graph) {
    Point phi = theta;
    for (int j = 0; j < k; ++j) phi = phi - al * grad(task, phi, {.create_graph = create_graph});
    return phi;
  };
  const auto fixed_point = [&](auto direction) {
    Point theta{Tensor<double>(0.2)};
    for (int step = 0; step < 200; ++step) theta = theta - 0.3 * direction(theta);
    return theta.theta.item();
  };
  const auto meta = [&](int k, bool create_graph) {
    return [&, k, create_graph](const Point& theta) {
      return grad(
          [&](const Point& m) {
            return tasks[0](adapted(tasks[0], m, k, create_graph)) + tasks[1](adapted(tasks[1], m, k, create_graph));
          },
          theta);
    };
  };
  const auto reptile = [&](int k) {
    return [&, k](const Point& theta) {
      return 2 * theta - (adapted(tasks[0], theta, k, false) + adapted(tasks[1], theta, k, false));
    };
  };
  const auto closed = [&](auto weight) {
    const double first = weight(1.0), second = weight(3.0);
    return second / (first + second);
  };
  CHECK(fixed_point(meta(0, true)) == Approx(0.75).epsilon(1e-9));
  for (int k : {1, 2, 3}) {
    CHECK(fixed_point(meta(k, true)) ==
          Approx(closed([&](double a) { return a * std::pow(1 - al * a, 2 * k); })).epsilon(1e-9));
    CHECK(fixed_point(meta(k, false)) ==
          Approx(closed([&](double a) { return a * std::pow(1 - al * a, k); })).epsilon(1e-9));
    CHECK(fixed_point(reptile(k)) ==
          Approx(closed([&](double a) { return 1 - std::pow(1 - al * a, k); })).epsilon(1e-9));
  }
  // The same numbers, worked out by hand.
  CHECK(fixed_point(meta(1, true)) == Approx(0.6447368).epsilon(1e-6));
  CHECK(fixed_point(meta(2, true)) == Approx(0.5233217).epsilon(1e-6));
  CHECK(fixed_point(meta(1, false)) == Approx(0.7).epsilon(1e-9));
  CHECK(fixed_point(reptile(2)) == Approx(0.7285714).epsilon(1e-6));
}

// GRAFT_SOAK_STEPS says how many steps; tests/long.sh takes a million.
TEST_CASE("a thousand MAML steps hold no more memory than ten", "[nn][soak]") {
  const int steps = amount("GRAFT_SOAK_STEPS", 1000);
  Net net = sine_net();
  const auto run = [&](int from, int to) {
    for (int step = from; step < to; ++step) {
      const Episode task = sine_episode(Random(4).stream(static_cast<std::uint64_t>(step)));
      net = net -
            1e-3 *
                grad([&](const Net& m) { return maml_loss(m, task, squared_error, {.alpha = 0.01, .steps = 2}); }, net);
    }
  };
  run(0, 10);
  const MemoryStats before = memory_stats();
  run(10, 10 + steps);
  const MemoryStats after = memory_stats();
  CHECK(after.bytes_in_use == before.bytes_in_use);
  CHECK(after.system_bytes == before.system_bytes);
  CHECK(after.system_allocations == before.system_allocations);
}
