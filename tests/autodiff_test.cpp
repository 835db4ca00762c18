// Differentiation as functions of functions: closed forms, nesting, errors, threads, depth and memory.

#include <cmath>
#include <thread>

#include "catch.hpp"
#include "graft/model/per_sample_gradients.hpp"
#include "messages.hpp"

using namespace graft;

namespace {

using D = Tensor<double>;

struct Pair {
  D a, b;
  GRAFT_FIELDS(a, b)
};

D numbers(const Shape& shape, std::uint64_t seed) { return rand<double>(shape, Random(seed), -1, 1); }

}  // namespace

TEST_CASE("gradients of closed forms", "[autodiff]") {
  const D x = tensor<double>({0.5, -1.5, 2});
  // d/dx sum x^3 = 3 x^2, and again 6 x, and again 6, and then 0.
  const auto cube = [](const D& v) { return sum(v * v * v); };
  const auto first = [&](const D& v) { return grad(cube, v, {.create_graph = true}); };
  const auto second = [&](const D& v) {
    return grad([&](const D& u) { return sum(first(u)); }, v, {.create_graph = true});
  };
  CHECK(all_close(grad(cube, x), x * x * 3, 1e-14));
  CHECK(all_close(first(x), x * x * 3, 1e-14));
  CHECK(all_close(second(x), x * 6, 1e-14));
  const D third = grad([&](const D& v) { return sum(second(v)); }, x);
  CHECK(all_close(third, full<double>({3}, 6), 1e-14));
  CHECK_FALSE(third.tracked());

  const auto [value, gradient] = value_and_grad(cube, x);
  CHECK(value.item() == Approx(0.125 - 3.375 + 8));
  CHECK_FALSE(value.tracked());
  CHECK(all_close(gradient, x * x * 3, 1e-14));
}

TEST_CASE("grad of a value keeps its graph", "[autodiff]") {
  const D x = variable(tensor<double>({1, 2})), y = variable(tensor<double>({3, 4}));
  const D z = sum(x * y * y);
  for (int run = 0; run < 2; ++run) {
    const auto [gx, gy] = grad(z, std::pair(x, y));
    CHECK(all_close(gx, tensor<double>({9, 16})));
    CHECK(all_close(gy, tensor<double>({6, 16})));
  }
  // One argument may be computed from another: each gets the gradient along all paths from it.
  const D u = x * 2, w = sum(u * x);
  const auto [gx, gu] = grad(w, std::pair(x, u));
  CHECK(all_close(gx, tensor<double>({4, 8})));
  CHECK(all_close(gu, tensor<double>({1, 2})));
  CHECK_THROWS_WITH(grad(z, tensor<double>({1, 2})),
                    contains("not tracked") && contains("[2]") && contains("autodiff_test.cpp"));
}

TEST_CASE("aliases are arguments of their own", "[autodiff]") {
  const D x = variable(tensor<double>({3}));
  const D left = identity(x), right = identity(x), y = sum(left * left * right);
  CHECK(grad(y, left).item() == Approx(18));  // 2 left right
  CHECK(grad(y, right).item() == Approx(9));
  CHECK(grad(y, x).item() == Approx(27));
  CHECK_FALSE(variable(x).body() == x.body());
  // A variable has no history.
  CHECK(message([&] { grad(sum(variable(x) * 2.0), x); }).find("does not depend") != std::string::npos);
}

TEST_CASE("a gradient step can be differentiated through", "[autodiff]") {
  // f(w) = a w^2 / 2, one step w' = w - r a w, so f(w') = a (1 - r a)^2 w^2 / 2 and its slope is a (1 - r a)^2 w.
  const double a = 3, r = 0.1;
  const auto f = [a](const D& w) { return sum(square(w)) * (a / 2); };
  const D w = tensor<double>({2});
  const D through = grad([&](const D& start) { return f(start - r * grad(f, start, {.create_graph = true})); }, w);
  CHECK(through.item() == Approx(a * (1 - r * a) * (1 - r * a) * 2));
  // By default too. Without the graph the step counts as a constant: a (1 - r a) w.
  CHECK(grad([&](const D& start) { return f(start - r * grad(f, start)); }, w).item() == through.item());
  const D first_order =
      grad([&](const D& start) { return f(start - r * grad(f, start, {.create_graph = false})); }, w);
  CHECK(first_order.item() == Approx(a * (1 - r * a) * 2));
}

TEST_CASE("perturbations of nested derivatives are not confused", "[autodiff]") {
  // d/dx (x d/dy (x + y)) at 1: the inner derivative is 1, so the answer is 1. Siskind and Pearlmutter 2005.
  const D one(1.0);
  const D slope =
      grad([&](const D& x) { return x * grad([&](const D& y) { return x + y; }, one, {.create_graph = true}); }, one);
  CHECK(slope.item() == 1);
}

TEST_CASE("a value that does not reach the argument is an error", "[autodiff]") {
  const Pair model{tensor<double>({1}), tensor<double>({2})};
  const std::string captured = message([&] { grad([&](const Pair&) { return sum(model.a * model.b); }, model); });
  CHECK(captured.find("does not depend on the argument") != std::string::npos);
  CHECK(captured.find("autodiff_test.cpp") != std::string::npos);

  // Unused parameters get zeros; the strict option names them.
  const auto only_a = [](const Pair& m) { return sum(m.a * 3.0); };
  const Pair partial = grad(only_a, model);
  CHECK(partial.a.item() == 3);
  CHECK(partial.b.item() == 0);
  CHECK_THROWS_WITH(grad(only_a, model, {.strict = true}), contains("does not depend on: b"));
  CHECK_THROWS_AS(grad([](const D& x) { return x * 2.0; }, tensor<double>({1, 2})), ShapeError);
}

TEST_CASE("frozen parameters get zero gradients", "[autodiff]") {
  Pair model{tensor<double>({1}), tensor<double>({2})};
  model.b = from_span(model.b.span(), model.b.shape());
  model.b.body()->frozen = true;
  const auto product = [](const Pair& m) { return sum(m.a * m.b); };
  const Pair gradient = grad(product, model, {.strict = true});
  CHECK(gradient.a.item() == 2);
  CHECK(gradient.b.item() == 0);
  // The mark travels with copies and with views of the numbers.
  const Pair copy = model;
  CHECK(copy.b.frozen());
  CHECK(variable(copy.b).frozen());
  CHECK(reshape(copy.b, {1, 1}).frozen());
}

TEST_CASE("vjp, jvp, hvp and jacobian of closed forms", "[autodiff]") {
  const D a = numbers({4, 3}, 1), x = numbers({3}, 2), v = numbers({3}, 3), u = numbers({4}, 4);
  // y = A x + sin(A x): dy/dx = diag(1 + cos(A x)) A.
  const auto f = [&](const D& p) {
    const D ax = reshape(matmul(a, reshape(p, {3, 1})), {4});
    return ax + sin(ax);
  };
  std::vector<double> jac(12), value(4);
  for (int i = 0; i < 4; ++i) {
    double ax = 0;
    for (int j = 0; j < 3; ++j) ax += a.data()[i * 3 + j] * x.data()[j];
    value[i] = ax + std::sin(ax);
    for (int j = 0; j < 3; ++j) jac[i * 3 + j] = (1 + std::cos(ax)) * a.data()[i * 3 + j];
  }
  const D expected = from_vector(jac, {4, 3});
  CHECK(all_close(jacobian(f, x), expected, 1e-12));
  const auto [y, back] = vjp(f, x, u);
  CHECK(all_close(y, from_vector(value), 1e-12));
  CHECK(all_close(back, reshape(matmul(reshape(u, {1, 4}), expected), {3}), 1e-12));
  const auto [y2, forward] = jvp(f, x, v);
  CHECK(same_bits(y, y2));
  CHECK(all_close(forward, reshape(matmul(expected, reshape(v, {3, 1})), {4}), 1e-12));

  // A quadratic form x^T B x / 2 has Hessian (B + B^T) / 2.
  const D b = numbers({3, 3}, 5);
  const auto quadratic = [&](const D& p) { return sum(reshape(p, {3, 1}) * matmul(b, reshape(p, {3, 1}))) * 0.5; };
  const auto [gradient, product] = hvp(quadratic, x, v);
  std::vector<double> g(3), h(3);
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j) {
      const double symmetric = (b.data()[i * 3 + j] + b.data()[j * 3 + i]) / 2;
      g[i] += symmetric * x.data()[j];
      h[i] += symmetric * v.data()[j];
    }
  CHECK(all_close(gradient, from_vector(g), 1e-12));
  CHECK(all_close(product, from_vector(h), 1e-12));
  // All of them are functions and can be differentiated: d/dx of v^T H(x) v for sum x^3 is 6 v^2.
  const auto cube = [](const D& p) { return sum(p * p * p); };
  const D third = grad([&](const D& p) { return sum(hvp(cube, p, v, {.create_graph = true}).second * v); }, x);
  CHECK(all_close(third, v * v * 6, 1e-12));
  const D trace = grad(
      [&](const D& p) { return sum(jacobian([](const D& q) { return q * q * q; }, p, {.create_graph = true})); }, x);
  CHECK(all_close(trace, x * 6, 1e-12));
  const D of_jvp = grad(
      [&](const D& p) { return sum(jvp([](const D& q) { return q * q * q; }, p, v, {.create_graph = true}).second); },
      x);
  CHECK(all_close(of_jvp, x * v * 6, 1e-12));

  // Trees are arguments and directions too, and what a function does not use counts as zero.
  const Pair at{x, numbers({2}, 6)}, along{v, numbers({2}, 7)};
  CHECK(all_close(jvp([](const Pair& p) { return square(p.a); }, at, along).second, x * v * 2, 1e-12));
  CHECK(jvp([](const Pair&) { return D(1.0); }, at, along).second.item() == 0);
  CHECK(vjp([](const Pair& p) { return p.b; }, at, along.b).second.a.data()[0] == 0);

  CHECK_THROWS_WITH(vjp(f, x, v), contains("vjp") && contains("[4]") && contains("[3]"));
  CHECK_THROWS_WITH(jvp(f, x, u), contains("jvp") && contains("[4]") && contains("[3]"));
  CHECK_THROWS_WITH(hvp(cube, x, u), contains("hvp") && contains("[4]") && contains("[3]"));
  CHECK_THROWS_WITH(jacobian(
                        [](const D& p) {
                          return reshape(p, {1, 1, 1, 1, 3});
                        },
                        reshape(x, {3, 1})),
                    contains("rank 7"));
}

TEST_CASE("recording is a property of the thread and of a scope", "[autodiff]") {
  const D x = variable(tensor<double>({1, 2}));
  CHECK((x * x).tracked());
  {
    const Recording off(false);
    CHECK_FALSE((x * x).tracked());
    CHECK(x.tracked());
    const Recording on(true);
    CHECK((x * x).tracked());
    std::thread([&] { CHECK(recording()); }).join();
  }
  CHECK(recording());
  CHECK_FALSE((x.detach() * x.detach()).tracked());
  CHECK(same_bits(x.detach(), x));
  // grad works where recording is off, and leaves it off.
  const Recording off(false);
  CHECK(grad([](const D& v) { return sum(v * v); }, x.detach()).data()[1] == 4);
  CHECK_FALSE(recording());
}

TEST_CASE("the mode that looks for NaN names the op", "[autodiff]") {
  const D x = variable(tensor<double>({-1, 1}));
  CHECK_NOTHROW(log(x));
  const CheckNan check;
  CHECK_THROWS_WITH(log(x), contains("graft: log: the value holds a NaN") && contains("[2]"));
  // sqrt(0) has a value; its infinite slope times a 0 of the matrix is NaN.
  const D zero = variable(tensor<double>({{0, 0}}));
  const D column = tensor<double>({{1}, {0}});
  CHECK_THROWS_WITH(grad(sum(sqrt(matmul(zero, column))), zero),
                    contains("matmul: the gradient of argument 0 holds a NaN"));
  CHECK_NOTHROW(grad(sum(sqrt(matmul(zero, column) + 1.0)), zero));
}

TEST_CASE("contributions are added in an order that the graph fixes", "[autodiff]") {
  // Sums of numbers of very different size give different bits in different orders.
  const auto run = [] {
    const Tensor<float> x = variable(tensor<float>({1}));
    Tensor<float> total = x * 0.0f;
    for (int i = 0; i < 200; ++i) total = total + x * std::pow(-1.9f, static_cast<float>(i % 37)) + identity(x) * 1e-3f;
    return grad(sum(total), x);
  };
  const Tensor<float> once = run();
  for (int i = 0; i < 20; ++i) REQUIRE(same_bits(run(), once));
  for (int i = 0; i < 4; ++i) {
    Tensor<float> elsewhere;
    std::thread([&] { elsewhere = run(); }).join();
    REQUIRE(same_bits(elsewhere, once));
  }
}

TEST_CASE("threads build graphs on shared tensors and differentiate them", "[autodiff][threads]") {
  const D shared = variable(numbers({50}, 8)), scale = numbers({50}, 9);
  const D trunk = tanh(shared * 2.0);
  const auto loss = [&](int i) { return sum(exp(trunk * scale) * (1.0 + i)); };
  std::vector<D> expected, pieces(4), gradients(4);
  for (int i = 0; i < 4; ++i) expected.push_back(grad(loss(i), shared));
  for (int repeat = 0; repeat < 10; ++repeat) {
    std::vector<std::thread> team;
    for (std::size_t i = 0; i < 4; ++i)
      team.emplace_back([&, i] {
        pieces[i] = loss(static_cast<int>(i));
        gradients[i] = grad(pieces[i], shared);
      });
    for (std::thread& thread : team) thread.join();
    for (std::size_t i = 0; i < 4; ++i) REQUIRE(same_bits(gradients[i], expected[i]));
    // Pieces built on several threads join into one graph.
    const D joined = grad(pieces[0] + pieces[1] + pieces[2] + pieces[3], shared);
    REQUIRE(all_close(joined, expected[0] + expected[1] + expected[2] + expected[3], 1e-13));
  }
}

TEST_CASE("a graph of a million ops is built, differentiated and released", "[autodiff]") {
  constexpr int n = 1000000;
  const Tensor<float> x = tensor<float>({2});
  const Index before = memory_stats().bytes_in_use;
  {
    const Tensor<float> start = variable(x);
    Tensor<float> y = start;
    for (int i = 0; i < n; ++i) y = y + x;
    CHECK(grad(sum(y), start).item() == 1);
  }
  CHECK(memory_stats().bytes_in_use == before);
  {
    // Released without being differentiated, from the far end and from the near end.
    Tensor<float> start = variable(x), y = start;
    for (int i = 0; i < n; ++i) y = y * x;
    start = Tensor<float>();
  }
  CHECK(memory_stats().bytes_in_use == before);
  {
    // The graph of the gradient of a long product is as long again.
    const auto product = [](const D& v) {
      D y = v;
      for (int i = 0; i < 100000; ++i) y = y * v * 1.0;
      return sum(y);
    };
    // y = v^(n+1): y' = (n+1) v^n, y'' = (n+1) n v^(n-1), at v = 1.
    const D at = tensor<double>({1});
    const D second = grad([&](const D& v) { return sum(grad(product, v, {.create_graph = true})); }, at);
    CHECK(second.item() == Approx(100001.0 * 100000.0));
  }
  release_cached_memory();
}

TEST_CASE("all memory is given back after each way of differentiating", "[autodiff]") {
  const D x = numbers({30}, 10), v = numbers({30}, 11);
  const auto f = [](const D& p) { return sum(exp(p) * tanh(p)); };
  const auto g = [](const D& p) { return exp(p) * p; };
  const Index before = memory_stats().bytes_in_use;
  grad(f, x);
  grad(f, x, {.create_graph = true});
  hvp(f, x, v);
  vjp(g, x, v);
  jvp(g, x, v);
  jacobian(g, x);
  grad([&](const D& p) { return sum(grad(f, p, {.create_graph = true})); }, x);
  recompute(g, variable(x));
  // Also after an error on the way back.
  CHECK_THROWS(grad(
      [](const D& p) {
        const D y = exp(p);
        return record("broken", sum(y), Edge(y, [](const D&) -> D { fail("broken", "on purpose"); }));
      },
      x));
  CHECK(memory_stats().bytes_in_use == before);
}

TEST_CASE("per-sample gradients of a linear head equal one gradient a sample", "[autodiff]") {
  const Pair head{numbers({3, 5}, 12), numbers({3}, 13)};  // weight [out, in], bias [out]
  const D x = numbers({4, 5}, 14), target = numbers({4, 3}, 15);
  const auto logits = [](const Pair& m, const D& in) { return matmul(in, m.a, {.transpose_b = true}) + m.b; };
  const auto losses = [](const D& z, const D& t) { return sum(exp(z) - z * t, {1}); };
  const auto all = per_sample_gradients([&](const D& z) { return losses(z, target); }, logits(head, x), x);
  REQUIRE(all.weight.shape() == Shape{4, 3, 5});
  REQUIRE(all.bias.shape() == Shape{4, 3});
  for (Index s = 0; s < 4; ++s) {
    const D row = from_span(x.span().subspan(static_cast<std::size_t>(s * 5), 5), {1, 5});
    const D t = from_span(target.span().subspan(static_cast<std::size_t>(s * 3), 3), {1, 3});
    const Pair one = grad([&](const Pair& m) { return sum(losses(logits(m, row), t)); }, head);
    for (Index i = 0; i < 15; ++i) CHECK(all.weight.data()[s * 15 + i] == Approx(one.a.data()[i]).epsilon(1e-12));
    for (Index i = 0; i < 3; ++i) CHECK(all.bias.data()[s * 3 + i] == Approx(one.b.data()[i]).epsilon(1e-12));
  }
  // Their squared norms can be differentiated with respect to the head: against central differences.
  const auto norms = [&](const Pair& m) {
    return sum(square(
        per_sample_gradients([&](const D& z) { return losses(z, target); }, logits(m, x), x, {.create_graph = true})
            .weight));
  };
  const Pair slope = grad(norms, head);
  const double step = 1e-5;
  for (Index i : {0, 7, 14}) {
    std::vector<double> up(head.a.span().begin(), head.a.span().end()), down = up;
    up[i] += step;
    down[i] -= step;
    const double difference =
        norms({from_vector(up, {3, 5}), head.b}).item() - norms({from_vector(down, {3, 5}), head.b}).item();
    CHECK(slope.a.data()[i] == Approx(difference / (2 * step)).epsilon(1e-6));
  }
  CHECK_THROWS_WITH(per_sample_gradients([](const D& z) { return sum(z); }, logits(head, x), x),
                    contains("one loss a sample"));
  CHECK_THROWS_WITH(per_sample_gradients([](const D& z) { return sum(z, {1}); }, logits(head, x), reshape(x, {5, 4})),
                    contains("per_sample_gradients") && contains("[5, 4]"));
}
