#pragma once
// THE TABLE of elementwise ops: one row an op. From a row come the function on tensors, its derivatives of every order,
// the function on SIMD batches and duals (so it can be used inside `map`), its tests, benches and documentation.
//
// A row gives the value as an expression of batches and the slope as a generic expression: evaluated with batches it is
// the first-order backward kernel, with tensors the graph for higher orders, with duals the inside of a `map` backward.
// What makes functions of the rows is in ops/elementwise.hpp.

// ROW(name, value in x, slope in x and y() = the value, lowest and highest test input, documentation)
#define GRAFT_UNARY_ROWS(ROW)                                                                          \
  ROW(exp, native::exp(x), y(), -3, 3, "e^x; zero below the smallest normal number")                   \
  ROW(expm1, native::expm1(x), y() + 1, -3, 3, "e^x - 1, accurate near 0")                             \
  ROW(log, native::log(x), 1 / x, 0.2, 4, "natural logarithm")                                         \
  ROW(log1p, native::log1p(x), 1 / (1 + x), -0.8, 4, "log(1 + x), accurate near 0")                    \
  ROW(sqrt, native::sqrt(x), 0.5 / y(), 0.2, 4, "square root")                                         \
  ROW(rsqrt, 1 / native::sqrt(x), -0.5 * y() / x, 0.2, 4, "1 / sqrt(x)")                               \
  ROW(square, x * x, 2 * x, -3, 3, "x^2")                                                              \
  ROW(reciprocal, 1 / x, -square(y()), 0.3, 3, "1 / x")                                                \
  ROW(sin, native::sin(x), cos(x), -3, 3, "sine of x radians")                                         \
  ROW(cos, native::cos(x), -sin(x), -3, 3, "cosine of x radians")                                      \
  ROW(atan, native::atan(x), 1 / (1 + square(x)), -3, 3, "arc tangent in radians")                     \
  ROW(tanh, native::tanh(x), 1 - square(y()), -3, 3, "hyperbolic tangent")                             \
  ROW(erf, native::erf(x), 1.1283791670955126 * exp(-square(x)), -2, 2, "error function")              \
  ROW(sigmoid, 1 / (1 + native::exp(-x)), y() * (1 - y()), -4, 4, "1 / (1 + e^-x)")                    \
  ROW(softplus, native::max(x, X(0)) + native::log1p(native::exp(-native::abs(x))), sigmoid(x), -4, 4, \
      "log(1 + e^x), without overflow")                                                                \
  ROW(abs, native::abs(x), sign(x), 0.1, 3, "|x|; slope 0 at 0")                                       \
  ROW(relu, where(x < 0, X(0), x), step(x), 0.1, 3, "max(x, 0); slope 0 at 0")

// ROW(name, value in x, documentation): piecewise constant, so no gradient flows.
#define GRAFT_INDICATOR_ROWS(ROW)                                        \
  ROW(sign, where(x > 0, X(1), where(x < 0, X(-1), X(0))), "-1, 0 or 1") \
  ROW(step, where(x > 0, X(1), X(0)), "1 where x > 0, else 0")           \
  ROW(floor, native::floor(x), "largest whole number not above x")

// ROW(name, expression of x in graft's elementwise functions, lowest and highest test input, documentation). Fused by
// map; derivatives come from the expression.
#define GRAFT_DERIVED_ROWS(ROW)                                                                              \
  ROW(silu, x * sigmoid(x), -4, 4, "x sigmoid(x) (Elfwing, Uchibe, Doya 2018)")                              \
  ROW(gelu, 0.5 * x * (1 + erf(x * 0.70710678118654752)), -3, 3, "x P(N(0,1) < x) (Hendrycks, Gimpel 2016)") \
  ROW(gelu_tanh, x * sigmoid(x * (1.5957691216057307 + 0.071354816272600234 * x * x)), -3, 3,                \
      "tanh approximation of gelu: (1 + tanh(u)) / 2 = sigmoid(2 u)")                                        \
  ROW(tan, sin(x) / cos(x), -1.2, 1.2, "tangent of x radians")                                               \
  ROW(sinh, 0.5 * (exp(x) - exp(-x)), -3, 3, "hyperbolic sine")                                              \
  ROW(cosh, 0.5 * (exp(x) + exp(-x)), -3, 3, "hyperbolic cosine")                                            \
  ROW(log_sigmoid, -softplus(-x), -4, 4, "log(sigmoid(x)), without overflow")                                \
  ROW(mish, x * tanh(softplus(x)), -3, 3, "x tanh(softplus(x)) (Misra 2019)")

// ROW(name, value in x and y, slope in x, slope in y, test range of x, of y, documentation); slopes may use z() = the
// value.
#define GRAFT_BINARY_ROWS(ROW)                                                                          \
  ROW(add, x + y, One(), One(), -3, 3, -3, 3, "x + y")                                                  \
  ROW(subtract, x - y, One(), MinusOne(), -3, 3, -3, 3, "x - y")                                        \
  ROW(multiply, x * y, y, x, -3, 3, -3, 3, "x y")                                                       \
  ROW(divide, x / y, 1 / y, -z() / y, -3, 3, 0.3, 3, "x / y")                                           \
  ROW(pow, native::pow(x, y), y * pow(x, y - 1), z() * log(maximum(x, X(1e-37))), 0.3, 3, -2, 2,        \
      "x^y for x >= 0")                                                                                 \
  ROW(maximum, native::max(x, y), greater(x, y) + 0.5 * equal(x, y), greater(y, x) + 0.5 * equal(x, y), \
      0.6, 3, -3, 0.5, "larger of x and y; a tie shares the gradient")                                  \
  ROW(minimum, native::min(x, y), greater(y, x) + 0.5 * equal(x, y), greater(x, y) + 0.5 * equal(x, y), \
      0.6, 3, -3, 0.5, "smaller of x and y; a tie shares the gradient")

// ROW(name, value in x and y, documentation): piecewise constant, so no gradient flows.
#define GRAFT_BINARY_INDICATOR_ROWS(ROW)                          \
  ROW(greater, where(x > y, X(1), X(0)), "1 where x > y, else 0") \
  ROW(equal, where(x == y, X(1), X(0)), "1 where x = y, else 0")
