#pragma once
// THE TABLE of elementwise ops: one row an op. From a row come the function on tensors, its derivatives of every order,
// the function on SIMD batches and duals (so it can be used inside `map`), its tests, benches and documentation.
//
// A row gives the value as an expression of batches and the slope as a generic expression: evaluated with batches it is
// the first-order backward kernel, with tensors the graph for higher orders, with duals the inside of a `map` backward.
// What makes functions of the rows is in ops/elementwise.hpp.

// ROW(name, value in x, slope in x and y() = the value, lowest and highest test input, documentation)
#define GRAFT_UNARY_ROWS(ROW)                                                                                        \
  ROW(exp, native::exp(x), y(), -3, 3, "e^x; zero below the smallest normal number")                                 \
  ROW(expm1, native::expm1(x), exp(x), -3, 3, "e^x - 1, accurate near 0")                                            \
  ROW(log, native::log(x), 1 / x, 0.2, 4, "natural logarithm")                                                       \
  ROW(log1p, native::log1p(x), 1 / (1 + x), -0.8, 4, "log(1 + x), accurate near 0")                                  \
  ROW(sqrt, native::sqrt(x), 0.5 / y(), 0.2, 4, "square root")                                                       \
  ROW(rsqrt, 1 / native::sqrt(x), -0.5 * y() / x, 0.2, 4, "1 / sqrt(x)")                                             \
  ROW(square, x * x, 2 * x, -3, 3, "x^2")                                                                            \
  ROW(reciprocal, 1 / x, -square(y()), 0.3, 3, "1 / x")                                                              \
  ROW(sin, native::sin(x), cos(x), -3, 3, "sine of x radians")                                                       \
  ROW(cos, native::cos(x), -sin(x), -3, 3, "cosine of x radians")                                                    \
  ROW(tan, native::sin(x) / native::cos(x), 1 + square(y()), -1.2, 1.2, "tangent of x radians")                      \
  ROW(atan, native::atan(x), 1 / (1 + square(x)), -3, 3, "arc tangent in radians")                                   \
  ROW(sinh, native::sinh(x), cosh(x), -3, 3, "hyperbolic sine")                                                      \
  ROW(cosh, native::cosh(x), sinh(x), -3, 3, "hyperbolic cosine")                                                    \
  ROW(tanh, native::tanh(x), 4 * logistic_density(2 * x), -3, 3, "hyperbolic tangent")                               \
  ROW(erf, native::erf(x), 1.1283791670955126 * exp(-square(x)), -2, 2, "error function")                            \
  ROW(erfc, native::erfc(x), -1.1283791670955126 * exp(-square(x)), -2, 2, "1 - erf(x), accurate in its right tail") \
  ROW(sigmoid, native::sigmoid(x), logistic_density(x), -4, 4, "1 / (1 + e^-x)")                                     \
  ROW(logistic_density, native::logistic_density(x), -y() * tanh(0.5 * x), -4, 4,                                    \
      "e^-x / (1 + e^-x)^2, the slope of sigmoid, accurate in both tails")                                           \
  ROW(gelu_tanh, native::chain_product(x, native::sigmoid(gelu_cubic(x))),                                           \
      sigmoid(gelu_cubic(x)) + chain_product(x * gelu_cubic_slope(x), logistic_density(gelu_cubic(x))), -3, 3,       \
      "tanh approximation of gelu: (1 + tanh(u)) / 2 = sigmoid(2 u)")                                                \
  ROW(softplus, native::max(X(0), x) + native::log1p(native::exp(-native::abs(x))), sigmoid(x), -4, 4,               \
      "log(1 + e^x), without overflow")                                                                              \
  ROW(abs, native::abs(x), sign(x), 0.1, 3, "|x|; slope 0 at 0")                                                     \
  ROW(relu, where(x < 0, X(0), x), step(x), 0.1, 3, "max(x, 0); slope 0 at 0")

// ROW(name, value in x, documentation): piecewise constant, so no gradient flows.
#define GRAFT_INDICATOR_ROWS(ROW)                                                    \
  ROW(sign, where(x > 0, X(1), where(x < 0, X(-1), X(0))), "-1, 0 or 1; 0 of a NaN") \
  ROW(step, where(x > 0, X(1), X(0)), "1 where x > 0, else 0")                       \
  ROW(floor, native::floor(x), "largest whole number not above x")

// ROW(name, expression of x in graft's elementwise functions, lowest and highest test input, documentation). Fused by
// map; derivatives come from the expression. A factor that vanishes in a tail is multiplied by `chain_product`, so that
// the limit at infinity is right.
#define GRAFT_DERIVED_ROWS(ROW)                                                               \
  ROW(silu, chain_product(x, sigmoid(x)), -4, 4, "x sigmoid(x) (Elfwing, Uchibe, Doya 2018)") \
  ROW(gelu, chain_product(0.5 * x, erfc(x * -0.70710678118654752)), -3, 3,                    \
      "x P(N(0,1) < x) (Hendrycks, Gimpel 2016)")                                             \
  ROW(log_sigmoid, -softplus(-x), -4, 4, "log(sigmoid(x)), without overflow")                 \
  ROW(mish, chain_product(x, tanh(softplus(x))), -3, 3, "x tanh(softplus(x)) (Misra 2019)")

// ROW(name, value in x and y, slope in x, slope in y, test range of x, of y, documentation); slopes may use z() = the
// value.
#define GRAFT_BINARY_ROWS(ROW)                                                                        \
  ROW(add, x + y, One(), One(), -3, 3, -3, 3, "x + y")                                                \
  ROW(subtract, x - y, One(), MinusOne(), -3, 3, -3, 3, "x - y")                                      \
  ROW(multiply, x * y, y, x, -3, 3, -3, 3, "x y")                                                     \
  ROW(chain_product, native::chain_product(x, y), y, x, -3, 3, -3, 3,                                 \
      "x y, but 0 where x or y is 0, whatever the other: the product of the chain rule")              \
  ROW(divide, x / y, 1 / y, -z() / y, -3, 3, 0.3, 3, "x / y")                                         \
  ROW(pow, native::pow(x, y), chain_product(y, pow(x, y - 1)),                                        \
      where(x == 0 && y == 0, 0, chain_product(z(), log(x))), 0.3, 3, -2, 2,                          \
      "x^y as in C: 1 for y = 0; of a negative x where y is whole, else NaN")                         \
  ROW(maximum, native::maximum(x, y), 1 - (greater(y, x) + 0.5 * equal(x, y)),                        \
      1 - (greater(x, y) + 0.5 * equal(x, y)), 0.6, 3, -3, 0.5,                                       \
      "larger of x and y, NaN if one is; a tie shares the gradient")                                  \
  ROW(minimum, native::minimum(x, y), 1 - (greater(x, y) + 0.5 * equal(x, y)),                        \
      1 - (greater(y, x) + 0.5 * equal(x, y)), 0.6, 3, -3, 0.5,                                       \
      "smaller of x and y, NaN if one is; a tie shares the gradient")

// ROW(name, value in x and y, documentation): piecewise constant, so no gradient flows.
#define GRAFT_BINARY_INDICATOR_ROWS(ROW)                          \
  ROW(greater, where(x > y, X(1), X(0)), "1 where x > y, else 0") \
  ROW(equal, where(x == y, X(1), X(0)), "1 where x = y, else 0")
