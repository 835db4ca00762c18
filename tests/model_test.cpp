// Models as values: the vector space, names, the frozen mark, `only`, gradients and solvers.

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "catch.hpp"
#include "graft/model/any_model.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/model/check_gradients.hpp"
#include "graft/model/descent.hpp"
#include "graft/model/grad.hpp"
#include "graft/model/names.hpp"
#include "graft/model/solvers.hpp"
#include "graft/nn/linear.hpp"
#include "graft/optim/adam.hpp"
#include "graft/optim/sgd.hpp"
#include "messages.hpp"

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
  GRAFT_CONFIG(steps)
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

TEST_CASE("two parameters that hold one tensor are refused by name, and can be parted", "[nn]") {
  struct Tied {
    Tensor<double> encoder, decoder;
    GRAFT_FIELDS(encoder, decoder)
  };
  const auto loss = [](const Tied& m) { return sum(m.encoder * m.decoder); };
  const Tensor<double> weight = randn<double>({2, 3}, Random(1));
  const Tied tied{weight, weight};
  for (const auto& text : {message<ValueError>([&] { grad(loss, tied); }), message<ValueError>([&] { Sgd<Tied>{tied}; }),
                           message<ValueError>([&] { Adam<Tied>{tied}; })}) {
    CHECK_THAT(text, contains("encoder and decoder hold one tensor"));
    CHECK_THAT(text, contains("model_test.cpp"));
  }
  CHECK(same_bits(grad(loss, untied(tied)).encoder, weight));
  // A view of a tensor's beginning is another tensor, and so are equal numbers.
  CHECK_NOTHROW(grad([](const Tied& m) { return sum(m.encoder) * sum(m.decoder); }, Tied{weight, slice(weight, 0, 0, 1)}));
  // A list of arguments is no model: one may be passed twice.
  CHECK_NOTHROW(grad([](const std::vector<Tensor<double>>& x) { return sum(x[0] * x[1]); }, std::vector{weight, weight}));
  // 200 parameters of one model are all told apart, the two last of 201 are not.
  std::vector<Tensor<double>> many;
  for (std::uint64_t i = 0; i < 200; ++i) many.push_back(randn<double>({3}, Random(i)));
  const auto total = [](const std::vector<Tensor<double>>& xs) {
    Tensor<double> result(0.0);
    for (const auto& x : xs) result = result + sum(square(x));
    return result;
  };
  CHECK(same_bits(grad(total, many)[199], 2 * many[199]));
  CHECK_NOTHROW(Sgd<std::vector<Tensor<double>>>(many));
  many.push_back(many[150]);
  CHECK_THAT(message<ValueError>([&] { Sgd<std::vector<Tensor<double>>>{many}; }), contains("150 and 200"));
}

TEST_CASE("a gradient inside a differentiated function keeps its graph unless told not to", "[nn]") {
  // f(x) = x^3, so d/dx (f(x) f'(x)) = 15 x^4; with f' constant 9 x^4.
  const auto cube = [](const Tensor<double>& x) { return x * x * x; };
  const Tensor<double> x(2.0);
  CHECK(grad([&](const Tensor<double>& v) { return cube(v) * grad(cube, v); }, x).item() == Approx(240));
  CHECK(grad([&](const Tensor<double>& v) { return cube(v) * grad(cube, v, {.create_graph = false}); }, x).item() ==
        Approx(144));
  // Its own argument is a constant and the outer one captured, as in a penalty on a gradient: d/dv (d/dw (w v^2))^2.
  const auto penalty = [](const Tensor<double>& v) {
    return square(grad([&](const Tensor<double>& w) { return w * v * v; }, Tensor<double>(1.0)));
  };
  CHECK(grad(penalty, x).item() == Approx(32));
  // Outside, nothing is kept.
  CHECK_FALSE(grad(cube, x).tracked());
  CHECK(grad(cube, variable(x)).tracked());
}

TEST_CASE("the Jacobian of losses by a model has the gradients as rows", "[nn]") {
  const Everything a = everything(1);
  const auto losses = [](const Everything& m) {
    return stack<double>({sum(square(m.first.weight)), sum(m.rest[0].weight) * sum(*m.scale), Tensor<double>(3.0)});
  };
  const Tensor<double> rows = jacobian(losses, a);
  CHECK(rows.shape() == Shape{3, count(a)});
  for (Index i = 0; i < 3; ++i) {
    const auto one = [&](const Everything& m) { return sum(slice(losses(m), 0, i, i + 1)); };
    const Tensor<double> row = reshape(slice(rows, 0, i, i + 1), {count(a)});
    CHECK(all_close(row, i < 2 ? to_vector(grad(one, a)) : zeros<double>({count(a)}), 0, 0));
  }
  CHECK_THROWS_AS(jacobian([](const Everything& m) { return m.first.weight; }, a), ShapeError);
}

TEST_CASE("models with float and double parts have Hessian-vector products", "[nn]") {
  struct Mixed {
    Tensor<float> a;
    Tensor<double> b;
    GRAFT_FIELDS(a, b)
  };
  // f = sum(a)^2 / 2 + sum(a) sum(b): the Hessian times (u, v) is (sum(u) + sum(v), sum(u)) in every element.
  const auto f = [](const Mixed& m) {
    const Tensor<float> s = sum(m.a);
    return 0.5f * s * s + s * cast<float>(sum(m.b));
  };
  const Mixed at{full<float>({2}, 1.0f), full<double>({3}, 2.0)}, v{full<float>({2}, 3.0f), full<double>({3}, 1.0)};
  const auto [gradient, curved] = hvp(f, at, v);
  CHECK(all_close(gradient.a, full<float>({2}, 8.0f)));
  CHECK(all_close(curved.a, full<float>({2}, 9.0f)));
  CHECK(all_close(curved.b, full<double>({3}, 6.0)));
}

TEST_CASE("conjugate gradients solve systems of models", "[nn]") {
  // A = diag(1, 2, ..., 12) on the parameters in order: exact after 12 steps, A x = b.
  const Everything b = everything(3);
  const Tensor<double> diagonal = 1.0 + arange<double>(count(b));
  const auto apply = [&](const Everything& v) { return from_vector(diagonal * to_vector(v), v); };
  const auto solved = conjugate_gradient(apply, b, {.iterations = static_cast<int>(count(b)), .tolerance = 0});
  CHECK(all_close(to_vector(solved.solution), to_vector(b) / diagonal, 1e-9, 1e-12));
  CHECK(solved.residual < 1e-9);
  const auto damped = conjugate_gradient(apply, b, {.iterations = 100, .tolerance = 1e-12, .damping = 3});
  CHECK(all_close(to_vector(damped.solution), to_vector(b) / (diagonal + 3.0), 1e-9, 1e-12));
  CHECK(damped.iterations < 100);
  CHECK(conjugate_gradient(apply, zeros_like(b)).iterations == 0);
  const auto tensor_solved = conjugate_gradient([&](const Tensor<double>& v) { return 4.0 * v; }, diagonal);
  CHECK(all_close(tensor_solved.solution, 0.25 * diagonal, 1e-12));
  CHECK_THROWS_AS(conjugate_gradient(apply, b, {.damping = -1}), ValueError);
}

TEST_CASE("descent stops at the minimum of a quadratic as its rate says", "[nn]") {
  // Each step of rate a on |m|^2 / 2 multiplies m by 1 - a.
  const Everything m = everything(4);
  const auto loss = [](const Everything& x) { return 0.5 * dot(x, x); };
  CHECK(all_close(to_vector(descend(loss, m, {.alpha = 0.25, .steps = 3})), 0.421875 * to_vector(m), 1e-14));
  CHECK(same_bits(to_vector(descend(loss, m, {.steps = 0})), to_vector(m)));
  // Through the steps the gradient of |descend(m)|^2 / 2 is (1 - a)^2 m; of first order it is (1 - a) m.
  const auto after = [&](bool first_order) {
    return grad([&](const Everything& x) { return loss(descend(loss, x, {0.25, 1, first_order})); }, m);
  };
  CHECK(all_close(to_vector(after(false)), 0.5625 * to_vector(m), 1e-14));
  CHECK(all_close(to_vector(after(true)), 0.75 * to_vector(m), 1e-14));
  CHECK_THROWS_AS(descend(loss, m, {.steps = -1}), ValueError);
}

TEST_CASE("a model of erased type is a model", "[nn]") {
  using Any = AnyModel<Tensor<double>(const Tensor<double>&) const, double>;
  const Linear<double> layer(3, 2, Random(1));
  struct Scaled {
    Tensor<double> factor;
    GRAFT_FIELDS(factor)
    Tensor<double> operator()(const Tensor<double>& x) const { return factor * x; }
  };
  const Any erased = layer, other = Scaled{full<double>({3}, 2.0)};
  const Tensor<double> x = randn<double>({4, 3}, Random(2));
  const auto loss = [&](const auto& m) { return sum(square(m(x))); };
  CHECK(same_bits(erased(x), layer(x)));
  CHECK(names(erased) == names(layer));
  CHECK(same_bits(to_vector(grad(loss, erased)), to_vector(grad(loss, layer))));
  CHECK(same_bits(to_vector(erased - 0.1 * grad(loss, erased)), to_vector(layer - 0.1 * grad(loss, layer))));
  CHECK(all_close(to_vector(grad(loss, other)), sum(2.0 * 2.0 * square(x), {0}), 1e-12));
  // Steps change the copy alone.
  Any copy = erased;
  Sgd<Any> sgd(copy);
  sgd.step(copy, grad(loss, copy), 0.1);
  CHECK(same_bits(erased(x), layer(x)));
  CHECK_FALSE(same_bits(copy(x), layer(x)));
  CHECK_THROWS_AS(erased + other, ShapeError);
  CHECK_THROWS_AS(Any()(x), ValueError);
}

TEST_CASE("norms of models whose squares leave the range of the type", "[nn]") {
  const std::vector<Tensor<>> large{full<float>({2}, 3e30f), full<float>({2}, 4e30f)};
  CHECK(norm(large).item() == Approx(std::sqrt(50.0) * 1e30).epsilon(1e-6));
  CHECK(norm(std::vector{full<float>({1}, 3e-30f), full<float>({1}, 4e-30f)}).item() == Approx(5e-30).epsilon(1e-6));
  CHECK(all_close(clip_by_norm(large, 1)[0], full<float>({2}, static_cast<float>(3 / std::sqrt(50.0))), 1e-5));
  CHECK(norm(std::vector{zeros({3})}).item() == 0);
  CHECK(std::isinf(norm(std::vector{full<float>({1}, INFINITY)}).item()));
  CHECK(all_finite(large));
  CHECK_FALSE(all_finite(std::vector{zeros({2}), full<float>({1}, NAN)}));
}

TEST_CASE("gradients are checked against finite differences", "[nn]") {
  const Everything m = everything(6);
  const auto right = [](const Everything& x) { return sum(tanh(x.first.weight)) * dot(x, x); };
  const auto checked = check_gradients(right, m, {.orders = 3});
  CHECK(checked.passed);
  CHECK(checked.errors.size() == 3);
  CHECK(check_gradients(right, freeze(m, {"first"})).passed);
  // The square with a slope of x instead of 2 x.
  const auto wrong = [](const Tensor<double>& x) {
    return record("wrong", sum(square(x)).detach(), Edge(x, [x](const Tensor<double>& g) { return g * x; }));
  };
  const auto failed = check_gradients(wrong, randn<double>({5}, Random(1)), {.orders = 1});
  CHECK_FALSE(failed.passed);
  CHECK(failed.errors[0] > 0.1);
  CHECK_THROWS_AS(check_gradients(right, m, {.orders = 4}), ValueError);
}
