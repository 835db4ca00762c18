// Models as values: the vector space, names, the frozen mark, `only`, and MAML written as the paper's algorithm box,
// held against closed forms.

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "catch.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/model/grad.hpp"
#include "graft/model/names.hpp"
#include "graft/nn/linear.hpp"

using namespace graft;

namespace {

/// Every kind of field: a layer with and one without a bias, a list, an optional, a buffer, indices, a number.
struct Everything {
  Linear<double> first;
  std::vector<Linear<double>> rest;
  std::optional<Tensor<double>> scale;
  Buffer<double> statistics;
  Tensor<std::int64_t> order;
  int steps = 0;
  GRAFT_FIELDS(first, rest, scale, statistics, order)
};

Everything everything(std::uint64_t seed, double statistic = 0, int steps = 0) {
  const Random random(seed);
  return {Linear<double>(3, 2, random.stream("first")),
          {Linear<double>(2, 2, random.stream(0)), Linear<double>(2, 1, random.stream(1), {.bias = false})},
          randn<double>({2}, random.stream("scale")),
          {full<double>({2}, statistic)},
          tensor<std::int64_t>({4, 5}),
          steps};
}

template <class M>
bool equal_models(const M& a, const M& b) {
  bool equal = true;
  for_each_parameter([&](const auto& x, const auto& y) { equal = equal && same_bits(x, y); }, a, b);
  return equal;
}
template <class M>
bool close_models(const M& a, const M& b, double relative = 1e-12) {
  bool close = true;
  for_each_parameter([&](const auto& x, const auto& y) { close = close && all_close(x, y, relative, relative); }, a, b);
  return close;
}

template <class A, class B = A>
concept CanAdd = requires(const A& a, const B& b) {
  a + b;
};
template <class A, class B>
concept CanMultiply = requires(const A& a, const B& b) {
  a* b;
};

struct Foreign {};

}  // namespace

TEST_CASE("model operators take models and nothing else", "[nn]") {
  STATIC_REQUIRE(CanAdd<Everything>);
  STATIC_REQUIRE(CanAdd<std::vector<Tensor<>>>);
  STATIC_REQUIRE(CanAdd<std::pair<Tensor<>, Linear<>>>);
  STATIC_REQUIRE(CanMultiply<double, Everything>);
  STATIC_REQUIRE(CanMultiply<Everything, int>);
  STATIC_REQUIRE(CanMultiply<Tensor<double>, Everything>);
  STATIC_REQUIRE_FALSE(CanAdd<Foreign>);
  STATIC_REQUIRE_FALSE(CanAdd<std::vector<double>>);
  STATIC_REQUIRE_FALSE(CanAdd<std::vector<Foreign>>);
  STATIC_REQUIRE_FALSE(CanAdd<std::tuple<>>);
  STATIC_REQUIRE_FALSE(CanAdd<Everything, Linear<>>);
  STATIC_REQUIRE_FALSE(CanAdd<Everything, double>);
  STATIC_REQUIRE_FALSE(CanMultiply<Everything, Everything>);
  // Tensors keep their own operators: these broadcast, those of models would not.
  CHECK((tensor<double>({1, 2}) + Tensor<double>(1)).shape() == Shape{2});
}

TEST_CASE("models form a vector space", "[nn]") {
  const Everything a = everything(1, 7, 70), b = everything(2, 8, 80);
  CHECK(equal_models(a + b, b + a));
  CHECK(equal_models(a + a, 2 * a));
  CHECK(equal_models(a - b, a + (-b)));
  CHECK(equal_models(a - a, zeros_like(a)));
  CHECK(equal_models(a * 0.25, 0.25 * a));
  CHECK(equal_models(Tensor<double>(0.25) * a, 0.25 * a));
  CHECK(equal_models(a * tensor<float>({0.25f}), 0.25 * a));
  CHECK(close_models(0.3 * (a + b), 0.3 * a + 0.3 * b));
  CHECK(close_models(axpy(-0.3, a, b), b - 0.3 * a));

  SECTION("what is no parameter is the left operand's") {
    const Everything sum = a + 2 * b;
    CHECK(sum.steps == 70);
    CHECK(sum.statistics.value.at({0}) == 7);
    CHECK(same_bits(sum.order, a.order));
    CHECK(axpy(2, a, b).steps == 80);
  }
  SECTION("inner product and norm are those of the flat vectors") {
    CHECK(dot(a, b).item() == Approx(sum(to_vector(a) * to_vector(b)).item()).epsilon(1e-13));
    CHECK(norm(a).item() == Approx(std::sqrt(dot(a, a).item())).epsilon(1e-14));
    const std::vector<Tensor<>> sides{tensor<float>({3}), tensor<float>({4})};
    CHECK(norm(sides).item() == 5);
  }
  SECTION("the gradient of the norm is m / |m|, and 0 at 0") {
    const auto gradient = grad([](const Everything& m) { return norm(m); }, a);
    CHECK(close_models(gradient, a * (1 / norm(a).item())));
    const Everything zero = zeros_like(a);
    CHECK(equal_models(grad([](const Everything& m) { return norm(m); }, zero), zero));
  }
  SECTION("gradients flow to the factor and through every operator") {
    // f(s) = |s a - b|^2 / 2 has f' = s |a|^2 - <a, b>.
    const auto f = [&](const Tensor<double>& s) {
      const Everything gap = s * a - b;
      return dot(gap, gap) / 2;
    };
    const double expected = 0.7 * dot(a, a).item() - dot(a, b).item();
    CHECK(grad(f, Tensor<double>(0.7)).item() == Approx(expected).epsilon(1e-12));
    const auto second =
        grad([&](const Tensor<double>& s) { return grad(f, s, {.create_graph = true}); }, Tensor<double>(0.7));
    CHECK(second.item() == Approx(dot(a, a).item()).epsilon(1e-12));
    // d/dm <axpy(2, m, m), b> = 3 b.
    CHECK(close_models(grad([&](const Everything& m) { return dot(axpy(2, m, m), b); }, a), 3 * b));
  }
}

TEST_CASE("models that do not fit are refused by the parameter's name", "[nn]") {
  Everything a = everything(1), b = everything(2);
  b.rest[0].weight = zeros<double>({2, 5});
  CHECK_THROWS_AS(a + b, ShapeError);
  CHECK_THROWS_WITH(a - b, contains("rest.0.weight") && contains("[2, 2]") && contains("[2, 5]"));
  CHECK_THROWS_WITH(dot(a, b), contains("rest.0.weight") && contains("model_test.cpp"));
  b = everything(2);
  b.rest.pop_back();
  CHECK_THROWS_AS(a + b, ShapeError);
  b = everything(2);
  b.scale.reset();
  CHECK_THROWS_AS(a + b, ShapeError);
  CHECK_THROWS_WITH((tensor<float>({1, 2}) * std::vector<Tensor<>>{ones({3})}), contains("one element"));
}

TEST_CASE("names, count and flat vectors follow the fields", "[nn]") {
  const Everything a = everything(1);
  CHECK(names(a) == std::vector<std::string>{"first.weight", "first.bias", "rest.0.weight", "rest.0.bias",
                                             "rest.1.weight", "scale"});
  CHECK(count(a) == 6 + 2 + 4 + 2 + 2 + 2);
  const Tensor<double> flat = to_vector(a);
  CHECK(flat.shape() == Shape{18});
  CHECK(flat.at({0}) == a.first.weight.at({0, 0}));
  CHECK(flat.at({17}) == a.scale->at({1}));
  CHECK(equal_models(from_vector(flat, everything(9)), a));
  // Both directions are linear and one is the other's transpose: d/dv <from_vector(v), a> = to_vector(a).
  CHECK(same_bits(grad([&](const Tensor<double>& v) { return dot(from_vector(v, a), a); }, flat), flat));
  CHECK(equal_models(grad([&](const Everything& m) { return sum(to_vector(m) * flat); }, a), a));
  CHECK_THROWS_WITH(from_vector(zeros<double>({17}), a), contains("18") && contains("[17]"));
}

TEST_CASE("zip applies a function at every place", "[nn]") {
  const Everything a = everything(1), g = everything(2);
  Everything rates = zip([](const auto& x) { return mean(abs(x)); }, a);  // one number a tensor
  CHECK(rates.first.weight.shape() == Shape{});
  const Everything stepped = zip([](const auto& p, const auto& r, const auto& s) { return p - r * s; }, a, rates, g);
  CHECK(all_close(stepped.first.bias.value(), a.first.bias.value() - mean(abs(*a.first.bias)) * *g.first.bias));
  CHECK(stepped.first.weight.shape() == Shape{2, 3});
}

TEST_CASE("clip_by_norm is torch's clip_grad_norm_", "[nn]") {
  const std::vector<Tensor<double>> g{tensor<double>({3, 0}), tensor<double>({4})};
  CHECK(norm(clip_by_norm(g, 1)).item() == Approx(5 / (5 + 1e-6)).epsilon(1e-12));
  CHECK(clip_by_norm(g, 1)[1].item() == Approx(4 / (5 + 1e-6)).epsilon(1e-12));
  CHECK(equal_models(clip_by_norm(g, 10), g));
  CHECK(equal_models(clip_by_norm(zeros_like(g), 1), zeros_like(g)));
  CHECK_THROWS_AS(clip_by_norm(g, -1), ValueError);
}

TEST_CASE("frozen parameters", "[nn]") {
  const Everything a = everything(1);
  const auto loss = [](const Everything& m) { return dot(m, m); };
  const Everything frozen = freeze(a, {"rest", "first.bias"});

  SECTION("get zero gradients, the others what they got before") {
    const Everything gradient = grad(loss, frozen);
    CHECK(same_bits(gradient.first.weight, 2 * a.first.weight));
    CHECK(same_bits(gradient.first.bias.value(), zeros<double>({2})));
    CHECK(same_bits(gradient.rest[0].weight, zeros<double>({2, 2})));
    CHECK(same_bits(*gradient.scale, 2 * *a.scale));
  }
  SECTION("the mark travels with copies and with the left operand") {
    CHECK_FALSE(a.rest[0].weight.frozen());
    const Everything copy = frozen;
    CHECK((copy - 0.1 * a).rest[0].weight.frozen());
    CHECK((-frozen).first.bias->frozen());
    CHECK((frozen * 2).rest[1].weight.frozen());
    CHECK(axpy(2, a, frozen).rest[0].bias->frozen());
    CHECK_FALSE((a + frozen).rest[0].weight.frozen());
    CHECK_FALSE(frozen.first.weight.frozen());
    CHECK(detach(frozen).rest[0].weight.frozen());
    CHECK(from_vector(to_vector(a), frozen).rest[0].weight.frozen());
  }
  SECTION("a gradient step leaves their numbers as they are") {
    const Everything stepped = frozen - 0.1 * grad(loss, frozen);
    CHECK(same_bits(stepped.rest[0].weight, a.rest[0].weight));
    CHECK_FALSE(same_bits(stepped.first.weight, a.first.weight));
  }
  SECTION("unfreeze") {
    const Everything thawed = unfreeze(frozen, {"rest.0"});
    CHECK_FALSE(thawed.rest[0].weight.frozen());
    CHECK(thawed.rest[1].weight.frozen());
    CHECK(equal_models(grad(loss, unfreeze(frozen)), grad(loss, a)));
    CHECK(equal_models(frozen, a));
  }
  SECTION("inside a function to differentiate, the outer gradient still flows") {
    // f(m) = |m - 0.1 grad|n|^2 at n = m frozen|^2 with the gradient 2 n of the free parameters: (1 - 0.2)^2 |free|^2 +
    // |frozen|^2, whose gradient is 2 x 0.64 free and 2 frozen.
    const auto f = [&](const Everything& m) {
      const Everything inner = freeze(m, {"rest"});
      const Everything stepped = inner - 0.1 * grad(loss, inner, {.create_graph = true});
      return dot(stepped, stepped);
    };
    const Everything gradient = grad(f, a);
    CHECK(all_close(gradient.first.weight, 1.28 * a.first.weight, 1e-12));
    CHECK(all_close(gradient.rest[0].weight, 2 * a.rest[0].weight, 1e-12));
  }
  SECTION("an unknown name is an error that lists the names") {
    CHECK_THROWS_AS(freeze(a, {"first", "last"}), ValueError);
    CHECK_THROWS_WITH(freeze(a, {"last"}),
                      contains("'last'") && contains("rest.1.weight") && contains("model_test.cpp"));
    CHECK_THROWS_AS(freeze(a, {"fir"}), ValueError);
    CHECK_THROWS_AS(unfreeze(a, {"statistics"}), ValueError);
  }
}

TEST_CASE("grad with respect to named parts", "[nn]") {
  const Everything a = everything(1);
  const auto loss = [](const Everything& m) { return dot(m, m); };
  const auto [value, gradient] = value_and_grad(loss, a, only("rest.0", "scale"));
  CHECK(value.item() == loss(a).item());
  CHECK(same_bits(gradient.rest[0].weight, 2 * a.rest[0].weight));
  CHECK(same_bits(*gradient.scale, 2 * *a.scale));
  CHECK(same_bits(gradient.first.weight, zeros<double>({2, 3})));
  CHECK(same_bits(gradient.rest[1].weight, zeros<double>({1, 2})));
  CHECK_FALSE(gradient.first.weight.frozen());

  // ANIL: the inner step moves the head alone; the outer gradient reaches both. With f = |m - 0.1 grad_scale|^2 the
  // named part has gradient 2 (1 - 0.2)^2 m, the others 2 m.
  const auto f = [&](const Everything& m) {
    const Everything stepped = m - 0.1 * grad(loss, m, only("scale"), {.create_graph = true});
    return dot(stepped, stepped);
  };
  const Everything outer = grad(f, a);
  CHECK(all_close(*outer.scale, 1.28 * *a.scale, 1e-12));
  CHECK(all_close(outer.first.weight, 2 * a.first.weight, 1e-12));

  CHECK_THROWS_WITH(grad(loss, a, only("head")), contains("'head'") && contains("rest.0.weight"));
  const auto first_only = [](const Everything& m) { return sum(square(m.first.weight)); };
  CHECK_THROWS_WITH(grad(first_only, a, only("scale")), contains("scale"));
  CHECK_NOTHROW(grad(first_only, a, only("scale", "first")));
  CHECK_THROWS_WITH(grad(first_only, a, only("scale", "first.weight"), {.strict = true}), contains("scale"));
}

// ---- MAML -----------------------------------------------------------------------------------------------------------

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
