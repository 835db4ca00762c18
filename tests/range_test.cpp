// The elementwise functions of one argument and their first and second derivatives, against closed forms in extended
// precision, at every exponent of float and double, at denormals, infinities and NaN: plain gradients, gradients with a
// kept graph, and Hessian-vector products, of the function itself and of the same inside `map`.

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "catch.hpp"
#include "graft/model/grad.hpp"
#include "graft/ops/map.hpp"
#include "number_grid.hpp"
#include "op_table.hpp"

using namespace graft;

namespace {

// ---- Closed forms --------------------------------------------------------------------------------------------------

constexpr Wide kPi = 3.14159265358979323846264338327950288L;

/// a b, and 0 for a factor that vanishes faster than the other grows.
Wide tail(Wide a, Wide b) { return a == 0 || b == 0 ? 0 : a * b; }
Wide sech_square(Wide x) { return 1 / (std::cosh(x) * std::cosh(x)); }
Wide logistic(Wide x) { return 1 / (1 + std::exp(-x)); }
Wide density(Wide x) { return sech_square(x / 2) / 4; }
Wide density_slope(Wide x) { return -density(x) * std::tanh(x / 2); }
Wide soft(Wide x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }
Wide gaussian(Wide x) { return 2 / std::sqrt(kPi) * std::exp(-x * x); }
Wide normal(Wide x) { return std::exp(-x * x / 2) / std::sqrt(2 * kPi); }
Wide normal_cdf(Wide x) { return std::erfc(-x / std::sqrt(Wide(2))) / 2; }
/// 2 u of gelu_tanh = x (a + b x^2), and its slope.
constexpr double kCubicA = 1.5957691216057307, kCubicB = 0.071354816272600234;
Wide cubic(Wide x) { return x * (kCubicA + kCubicB * x * x); }
Wide cubic_slope(Wide x) { return kCubicA + 3 * kCubicB * x * x; }

struct Form {
  const char* name;
  OpCall direct, mapped;
  Wide (*value)(Wide);
  Wide (*slope)(Wide);  ///< null where the function is piecewise constant
  Wide (*second)(Wide);
};
// clang-format off
#define CALLS(op) #op, [](const auto& x) { return op(x[0]); }, \
                  [](const auto& x) { return map([](auto v) { return op(v); }, x[0]); }
#define OF_X(expression) [](Wide x) -> Wide { (void)x; return expression; }
#define FORM(op, value, slope, second) {CALLS(op), OF_X(value), OF_X(slope), OF_X(second)},
#define INDICATOR(op, value) {CALLS(op), OF_X(value), nullptr, nullptr},

const std::vector<Form>& forms() {
  static const std::vector<Form> all = {
      FORM(exp, std::exp(x), std::exp(x), std::exp(x))
      FORM(expm1, std::expm1(x), std::exp(x), std::exp(x))
      FORM(log, std::log(x), 1 / x, -1 / (x * x))
      FORM(log1p, std::log1p(x), 1 / (1 + x), -1 / ((1 + x) * (1 + x)))
      FORM(sqrt, std::sqrt(x), 1 / (2 * std::sqrt(x)), -1 / (4 * x * std::sqrt(x)))
      FORM(rsqrt, 1 / std::sqrt(x), -1 / (2 * x * std::sqrt(x)), 3 / (4 * x * x * std::sqrt(x)))
      FORM(square, x * x, 2 * x, 2)
      FORM(reciprocal, 1 / x, -1 / (x * x), 2 / (x * x * x))
      FORM(sin, std::sin(x), std::cos(x), -std::sin(x))
      FORM(cos, std::cos(x), -std::sin(x), -std::cos(x))
      FORM(tan, std::tan(x), 1 + std::tan(x) * std::tan(x), 2 * std::tan(x) * (1 + std::tan(x) * std::tan(x)))
      FORM(atan, std::atan(x), 1 / (1 + x * x), std::isinf(x) ? 0 : -2 * x / ((1 + x * x) * (1 + x * x)))
      FORM(sinh, std::sinh(x), std::cosh(x), std::sinh(x))
      FORM(cosh, std::cosh(x), std::sinh(x), std::cosh(x))
      FORM(tanh, std::tanh(x), sech_square(x), -2 * std::tanh(x) * sech_square(x))
      FORM(erf, std::erf(x), gaussian(x), tail(-2 * x, gaussian(x)))
      FORM(erfc, std::erfc(x), -gaussian(x), tail(2 * x, gaussian(x)))
      FORM(sigmoid, logistic(x), density(x), density_slope(x))
      FORM(logistic_density, density(x), density_slope(x),
           density(x) * (std::tanh(x / 2) * std::tanh(x / 2) - sech_square(x / 2) / 2))
      FORM(softplus, soft(x), logistic(x), density(x))
      FORM(abs, std::fabs(x), Wide((x > 0) - (x < 0)), Wide(0))
      FORM(relu, x < 0 ? 0 : x, Wide(x > 0), Wide(0))
      FORM(silu, tail(x, logistic(x)), logistic(x) + tail(x, density(x)), 2 * density(x) + tail(x, density_slope(x)))
      FORM(gelu, tail(x, normal_cdf(x)), normal_cdf(x) + tail(x, normal(x)), tail(2 - x * x, normal(x)))
      FORM(gelu_tanh, tail(x, logistic(cubic(x))),
           logistic(cubic(x)) + tail(tail(x, cubic_slope(x)), density(cubic(x))),
           tail(2 * cubic_slope(x) + tail(6 * kCubicB * x, x), density(cubic(x))) +
               tail(tail(x, cubic_slope(x) * cubic_slope(x)), density_slope(cubic(x))))
      FORM(log_sigmoid, -soft(-x), logistic(-x), -density(x))
      FORM(mish, tail(x, std::tanh(soft(x))),
           std::tanh(soft(x)) + tail(x, tail(sech_square(soft(x)), logistic(x))),
           tail(sech_square(soft(x)),
                2 * logistic(x) + tail(x, density(x) - 2 * tail(std::tanh(soft(x)), logistic(x) * logistic(x)))))
      INDICATOR(sign, Wide((x > 0) - (x < 0)))
      INDICATOR(step, Wide(x > 0))
      INDICATOR(floor, std::floor(x))
  };
  return all;
}
// clang-format on

// ---- Checks --------------------------------------------------------------------------------------------------------

/// Numbers at every exponent, and the ends; for derivatives without denormals, which count as zeros on the way back.
template <class T>
Tensor<T> points(bool denormals) {
  std::vector<T> numbers;
  for (T x : everywhere<T>())
    if (denormals || std::fabs(x) >= Limits<T>::min()) numbers.push_back(x);
  numbers.insert(numbers.end(), {T(0), Limits<T>::infinity(), -Limits<T>::infinity(), Limits<T>::quiet_NaN()});
  return from_vector(numbers);
}

/// A closed form at points, and how far a value may be from it for each unit that it may be off: a unit of the last
/// place of the value, or of the point.
struct Exact {
  std::vector<Wide> value, step;

  template <class T>
  Exact(const Tensor<T>& x, Wide (*f)(Wide)) {
    for (const T at : x.span()) {
      const Wide here = f(at), move = static_cast<Wide>(at) * Limits<T>::epsilon();
      value.push_back(here);
      step.push_back(unit<T>(here) + std::fmax(std::fabs(f(at + move) - here), std::fabs(f(at - move) - here)));
    }
  }
};

/// Every value is within `units` of the closed form, give or take `lost`: a product one of whose factors underflowed.
template <class T>
void check_values(const std::string& what, const Tensor<T>& x, const Tensor<T>& y, const Exact& exact, int units,
                  Wide lost) {
  int shown = 0;
  for (std::size_t i = 0; i < exact.value.size() && shown < 3; ++i) {
    const T value = y.data()[i];
    const Wide right = exact.value[i];
    bool good = true;
    if (!is_end(value, right, good)) good = std::fabs(static_cast<Wide>(value) - right) <= units * exact.step[i] + lost;
    if (good) continue;
    ++shown;
    FAIL_CHECK(what << " at " << x.data()[i] << " is " << value << ", expected " << static_cast<T>(right));
  }  CHECK(shown == 0);
}

// Measured: at most 7 units for values, 8 for slopes, 11 for second derivatives.
template <class T>
void check_form(const Form& form) {
  // Factors below the smallest normal number count as zero, and are at most a million times smaller than the product;
  // but for the second derivative of atan, -2 x / (1 + x^2)^2, which is computed from the left.
  const Wide lost = 1e6 * Wide(Limits<T>::min());
  const Wide lost_second = form.name == std::string("atan") ? 2 * std::pow(Wide(Limits<T>::min()), Wide(0.75)) : lost;
  const std::string name = std::string(form.name) + (sizeof(T) == 4 ? " of floats" : " of doubles");
  const Tensor<T> all = points<T>(true), x = points<T>(false), one = full<T>(x.shape(), T(1));
  const Exact value(all, form.value);
  check_values<T>(name, all, form.direct(Inputs<T>{all}), value, 10, lost);
  check_values<T>(name + " in map", all, form.mapped(Inputs<T>{all}), value, 10, lost);
  if (!form.slope) return;
  const Exact slope(x, form.slope), second(x, form.second);
  for (const OpCall* call : {&form.direct, &form.mapped}) {
    const auto total = [&](const Tensor<T>& at) { return sum((*call)(Inputs<T>{at})); };
    const std::string of = " of " + name + (call == &form.mapped ? " in map" : "");
    const auto [with_graph, product] = hvp(total, x, one);
    check_values<T>("slope" + of, x, grad(total, x), slope, 12, lost);
    check_values<T>("slope with a graph" + of, x, with_graph, slope, 12, lost);
    check_values<T>("second derivative" + of, x, product, second, 16, lost_second);
  }
}

}  // namespace

TEMPLATE_TEST_CASE("elementwise functions and their derivatives are right at every exponent", "[elementwise]", float,
                   double) {
  for (const Form& form : forms()) check_form<TestType>(form);
}
