// Rows for every elementwise op of the library's own table (graft/ops/elementwise_table.hpp). A new row there is tested as
// soon as it has a reference below; without one the table test fails and names it.

#include <cmath>
#include <string_view>

#include "graft/ops/reduce.hpp"
#include "op_table.hpp"

using namespace graft;

namespace {

using Real80 = long double;

struct UnaryReference {
  std::string_view name;
  Real80 (*value)(Real80);
};
struct BinaryReference {
  std::string_view name;
  Real80 (*value)(Real80, Real80);
};

Real80 logistic(Real80 x) { return 1 / (1 + std::exp(-x)); }
Real80 softplus_reference(Real80 x) { return std::log(1 + std::exp(x)); }

// The standard library's functions in extended precision, or the definition written with them.
constexpr UnaryReference unary_references[] = {
    {"exp", [](Real80 x) { return std::exp(x); }},
    {"expm1", [](Real80 x) { return std::expm1(x); }},
    {"log", [](Real80 x) { return std::log(x); }},
    {"log1p", [](Real80 x) { return std::log1p(x); }},
    {"sqrt", [](Real80 x) { return std::sqrt(x); }},
    {"rsqrt", [](Real80 x) { return 1 / std::sqrt(x); }},
    {"square", [](Real80 x) { return x * x; }},
    {"reciprocal", [](Real80 x) { return 1 / x; }},
    {"sin", [](Real80 x) { return std::sin(x); }},
    {"cos", [](Real80 x) { return std::cos(x); }},
    {"atan", [](Real80 x) { return std::atan(x); }},
    {"tanh", [](Real80 x) { return std::tanh(x); }},
    {"erf", [](Real80 x) { return std::erf(x); }},
    {"erfc", [](Real80 x) { return std::erfc(x); }},
    {"sigmoid", logistic},
    {"logistic_density", [](Real80 x) { return logistic(x) * logistic(-x); }},
    {"softplus", softplus_reference},
    {"abs", [](Real80 x) { return std::fabs(x); }},
    {"relu", [](Real80 x) { return std::fmax(x, Real80(0)); }},
    {"sign", [](Real80 x) { return Real80((x > 0) - (x < 0)); }},
    {"step", [](Real80 x) { return Real80(x > 0); }},
    {"floor", [](Real80 x) { return std::floor(x); }},
    {"silu", [](Real80 x) { return x * logistic(x); }},
    {"gelu", [](Real80 x) { return x * std::erfc(-x / std::sqrt(Real80(2))) / 2; }},
    {"gelu_tanh",
     [](Real80 x) {
       return x / 2 * (1 + std::tanh(std::sqrt(2 / std::acos(Real80(-1))) * (x + Real80(0.044715L) * x * x * x)));
     }},
    {"tan", [](Real80 x) { return std::tan(x); }},
    {"sinh", [](Real80 x) { return std::sinh(x); }},
    {"cosh", [](Real80 x) { return std::cosh(x); }},
    {"log_sigmoid", [](Real80 x) { return std::log(logistic(x)); }},
    {"mish", [](Real80 x) { return x * std::tanh(softplus_reference(x)); }},
};
constexpr BinaryReference binary_references[] = {
    {"add", [](Real80 x, Real80 y) { return x + y; }},
    {"subtract", [](Real80 x, Real80 y) { return x - y; }},
    {"multiply", [](Real80 x, Real80 y) { return x * y; }},
    {"chain_product", [](Real80 x, Real80 y) { return x * y; }},
    {"divide", [](Real80 x, Real80 y) { return x / y; }},
    {"pow", [](Real80 x, Real80 y) { return std::pow(x, y); }},
    {"maximum", [](Real80 x, Real80 y) { return std::fmax(x, y); }},
    {"minimum", [](Real80 x, Real80 y) { return std::fmin(x, y); }},
    {"greater", [](Real80 x, Real80 y) { return Real80(x > y); }},
    {"equal", [](Real80 x, Real80 y) { return Real80(x == y); }},
};

/// The reference of row `name`; a row without one gives NaN, which no value equals.
template <std::size_t N, class R>
decltype(R::value) find_reference(const R (&references)[N], std::string_view name, decltype(R::value) missing) {
  for (const R& reference : references)
    if (reference.name == name) return reference.value;
  return missing;
}

// No test point is near 0, where some rows have kinks; those of these are tested on both sides.
OpRow unary_row(const char* name, OpCall call, double low, double high, int orders) {
  const auto f = find_reference(unary_references, name, [](Real80) -> Real80 { return std::nanl("no reference"); });
  const std::string_view op = name;
  std::vector<std::array<double, 2>> other_side;
  if (op == "relu" || op == "abs") other_side = {{-high, -low}};
  return {.name = name,
          .family = orders > 0 ? "elementwise" : "indicator",
          .call = std::move(call),
          .inputs = {{.shape = {5, 7}, .low = low, .high = high, .away_from = {0}, .also = other_side}},
          .reference =
              [f](const Arrays& x) { return by_number(x[0], [f](double v) { return static_cast<double>(f(v)); }); },
          .variants = {{{}}, {{1}}, {{0}}, {{3, 0}}, {{67}}},
          .large = {{3, 16411}},
          .orders = orders,
          .rows_of = {0},
          .value_tolerance = 1e-14,
          .float_tolerance = 1e-6};
}

OpRow binary_row(const char* name, OpCall call, BadCall mismatch, Input x, Input y, int orders) {
  const auto f =
      find_reference(binary_references, name, [](Real80, Real80) -> Real80 { return std::nanl("no reference"); });
  const std::string_view op = name;
  if (op == "pow") {
    y.never = kTiny;
    y.because = "of a tiny x too, x^(y - 2) leaves the range before it is multiplied by y";
  }
  const bool kinked = op == "maximum" || op == "minimum";
  if (kinked) x.also = {{2 * y.low, y.low - 0.5}};  // below all of y, where x is above it elsewhere
  return {.name = name,
          .family = orders > 0 ? "binary" : "indicator",
          .call = std::move(call),
          .inputs = {x, y},
          .reference =
              [f](const Arrays& in) {
                return by_pair(joined(in), in[0], in[1],
                               [f](double a, double b) { return static_cast<double>(f(a, b)); });
              },
          .variants = {{{}, {}},
                       {{1}, {1}},
                       {{0}, {0}},
                       {{0, 3}, {3}},
                       {{4, 3}, {3}},
                       {{3}, {4, 3}},
                       {{4, 1}, {3}},
                       {{2, 1, 3}, {5, 1}},
                       {{}, {17}},
                       {{17}, {}},
                       {{1, 0}, {3, 1}}},
          .large = {{3, 16411}, {16411}},
          .errors = {std::move(mismatch)},
          .orders = orders,
          .smooth_when_aliased = !kinked,
          .value_tolerance = 1e-14,
          .float_tolerance = 1e-6};
}

#define UNARY(op, value, slope, low, high, doc) \
  unary_row(                                    \
      #op, [](const auto& x) { return op(x[0]); }, low, high, 3),
#define DERIVED(op, value, low, high, doc) \
  unary_row(                               \
      #op, [](const auto& x) { return op(x[0]); }, low, high, 3),
#define INDICATOR(op, value, doc) \
  unary_row(                      \
      #op, [](const auto& x) { return op(x[0]); }, -3, 3, 0),
#define BINARY(op, value, slope_x, slope_y, low_x, high_x, low_y, high_y, doc)                    \
  binary_row(                                                                                     \
      #op, [](const auto& x) { return op(x[0], x[1]); },                                          \
      bad<ShapeError>([](const auto& x) { op(x[0], zeros<ScalarOf<decltype(x)>>({5})); }, "[5]"), \
      {{3, 4}, low_x, high_x}, {{3, 4}, low_y, high_y}, 3),
#define BINARY_INDICATOR(op, value, doc)                                                                           \
  binary_row(                                                                                                      \
      #op, [](const auto& x) { return op(x[0], x[1]); },                                                           \
      bad<ShapeError>([](const auto& x) { op(x[0], zeros<ScalarOf<decltype(x)>>({5})); }, "[5]"), {{3, 4}, -1, 1}, \
      {{3, 4}, -1, 1}, 0),

const bool rows = add_op_rows({GRAFT_UNARY_ROWS(UNARY)          //
                               GRAFT_DERIVED_ROWS(DERIVED)      //
                               GRAFT_INDICATOR_ROWS(INDICATOR)  //
                               GRAFT_BINARY_ROWS(BINARY)        //
                               GRAFT_BINARY_INDICATOR_ROWS(BINARY_INDICATOR)});

}  // namespace
