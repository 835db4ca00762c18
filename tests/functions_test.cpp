// Functions of SIMD registers against the C++ library's in extended precision: at every exponent of their type, closely
// around zero, at denormals, infinities and NaN. Whatever the instruction set, the same bounds hold.

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "catch.hpp"
#include "graft/core/float_mode.hpp"
#include "graft/number/functions.hpp"
#include "number_grid.hpp"

using namespace graft;

namespace {

template <class T, class F>
T at(F f, std::type_identity_t<T> x) {
  return first_lane(Simd<T>(f(Simd<T>(x))));
}

template <class T, class F, class G>
void check_everywhere(const char* name, F f, G exact, double units) {
  Wide worst = 0;
  T worst_at = 0;
  for (std::size_t i = 0; i < everywhere<T, 4>().size(); i += Simd<T>::size) {
    alignas(64) T y[Simd<T>::size];
    Simd<T>(f(Simd<T>::load(&everywhere<T, 4>()[i]))).store(y);
    for (Index l = 0; l < Simd<T>::size; ++l) {
      const T x = everywhere<T, 4>()[i + static_cast<std::size_t>(l)];
      const Wide value = exact(static_cast<Wide>(x));
      bool right = true;
      if (is_end(y[l], value, right)) {
        if (!right) FAIL_CHECK(name << "(" << x << ") is " << y[l] << ", expected " << static_cast<T>(value));
        continue;
      }
      const Wide error = std::fabs(static_cast<Wide>(y[l]) - value) / unit<T>(value);
      if (!(error <= worst)) worst = error, worst_at = x;
    }
  }
  INFO(name << "(" << worst_at << ")");
  CHECK(static_cast<double>(worst) < units);
  for (const T x : {T(0), T(-0.0), Limits<T>::infinity(), -Limits<T>::infinity(), Limits<T>::quiet_NaN()}) {
    const Wide value = exact(static_cast<Wide>(x));
    INFO(name << "(" << x << ") is " << at<T>(f, x) << ", expected " << static_cast<double>(value));
    CHECK((at<T>(f, x) == static_cast<T>(value) || (std::isnan(value) && std::isnan(at<T>(f, x)))));
  }
}

}  // namespace

// The bounds are those of number/functions.hpp, a little higher for products and sums that are rounded apart (no FMA).
#define GRAFT_CHECK(function, units) \
  check_everywhere<TestType>(        \
      #function, [](auto x) { return native::function(x); }, [](Wide x) { return std::function(x); }, units)

TEMPLATE_TEST_CASE("functions of a register are right at every exponent and at the ends", "[number]", float, double) {
  GRAFT_CHECK(exp, 1.3);
  GRAFT_CHECK(expm1, 2.5);
  GRAFT_CHECK(log, 1);
  GRAFT_CHECK(log1p, 2);
  GRAFT_CHECK(sinh, 3);
  GRAFT_CHECK(cosh, 2);
  GRAFT_CHECK(tanh, sizeof(TestType) == 4 ? 6 : 3);
  GRAFT_CHECK(atan, 2.5);
  GRAFT_CHECK(sin, 3);
  GRAFT_CHECK(cos, 3);
  GRAFT_CHECK(erf, 10);
  GRAFT_CHECK(erfc, 10);
  GRAFT_CHECK(sqrt, 0.51);
  GRAFT_CHECK(floor, 0.01);
  GRAFT_CHECK(abs, 0.01);
}
#undef GRAFT_CHECK

TEMPLATE_TEST_CASE("exp is cut to zero exactly below the normal range, and infinite exactly above it", "[number]",
                   float, double) {
  using T = TestType;
  const auto f = [](Simd<T> x) { return native::exp(x); };
  const T low = static_cast<T>(std::log(static_cast<Wide>(Limits<T>::min()))),
          high = static_cast<T>(std::log(static_cast<Wide>(Limits<T>::max())));
  CHECK(at<T>(f, low * (1 + 2 * Limits<T>::epsilon())) == 0);
  CHECK(at<T>(f, low * (1 - 2 * Limits<T>::epsilon())) >= Limits<T>::min());
  CHECK(at<T>(f, high * (1 + 2 * Limits<T>::epsilon())) == Limits<T>::infinity());
  CHECK(at<T>(f, high * (1 - 2 * Limits<T>::epsilon())) < Limits<T>::infinity());
  CHECK(at<T>(f, 0) == 1);
}

TEMPLATE_TEST_CASE("tanh and erf are odd, never above one, and exactly one in the tail", "[number]", float, double) {
  using T = TestType;
  const auto check = [](auto f) {
    for (T x = 0; x < 25; x += T(0.001)) {
      const T y = at<T>(f, x);
      if (!(y <= 1) || at<T>(f, -x) != -y) FAIL_CHECK("f(" << x << ") is " << y << ", f(-x) is " << at<T>(f, -x));
    }
    CHECK(at<T>(f, 20) == 1);
    CHECK(at<T>(f, -1e30f) == -1);
    CHECK(std::signbit(at<T>(f, T(-0.0))));
  };
  check([](Simd<T> x) { return native::tanh(x); });
  check([](Simd<T> x) { return native::erf(x); });
}

TEMPLATE_TEST_CASE("pow of a register is C's, within two units", "[number]", float, double) {
  using T = TestType;
  const auto power = [](T x, T y) { return first_lane(native::pow(Simd<T>(x), Simd<T>(y))); };
  const auto check = [&](T x, T y) {
    const T value = power(x, y);
    const Wide exact = std::pow(static_cast<Wide>(x), static_cast<Wide>(y));
    bool right = true;
    if (!is_end(value, exact, right)) right = std::fabs(static_cast<Wide>(value) - exact) < 2 * unit<T>(exact);
    right = right && (std::isnan(value) || std::signbit(value) == std::signbit(exact));
    if (!right) FAIL_CHECK(x << "^" << y << " is " << value << ", expected " << static_cast<T>(exact));
  };
  // C17 7.12.7.4 and annex F.10.4.4 name the cases: zeros, ones, infinities, NaN, whole and odd exponents, the ends.
  std::vector<T> special = {0,
                            1,
                            2,
                            3,
                            4,
                            T(0.5),
                            T(1.5),
                            T(1e-3),
                            7,
                            1025,
                            3e7f,
                            Limits<T>::infinity(),
                            Limits<T>::max(),
                            Limits<T>::min(),
                            Limits<T>::denorm_min()};
  special.push_back(T(1) + Limits<T>::epsilon());
  for (std::size_t i = special.size(); i-- > 0;) special.push_back(-special[i]);
  special.push_back(Limits<T>::quiet_NaN());
  for (const T x : special)
    for (const T y : special) check(x, y);
  // Values all over the range, from bases near 1, of moderate size, and from the whole range.
  std::mt19937_64 engine(2);
  std::uniform_real_distribution<double> number(-1, 1);
  for (int i = 0; i < 200000; ++i) {
    const double widest = i % 3 == 0 ? 0.1 : i % 3 == 1 ? 5.0 : Limits<T>::max_exponent - 1;
    const T x = static_cast<T>(std::exp2(widest * number(engine)));
    check(x, static_cast<T>(1.02 * Limits<T>::max_exponent * number(engine) / std::log2(static_cast<double>(x))));
  }
  // Powers that are whole numbers of the type are exact.
  for (int x = 2; x < 12; ++x)
    for (int y = 2; std::pow(x, y) < std::ldexp(1.0, Limits<T>::digits); ++y)
      CHECK(power(static_cast<T>(x), static_cast<T>(y)) == static_cast<T>(std::pow(x, y)));
}

TEMPLATE_TEST_CASE("quotients and roots are rounded correctly, large ones and infinities too", "[number]", float,
                   double) {
  using T = TestType;
  const auto same = [](T a, T b) { return a == b || (std::isnan(a) && std::isnan(b)); };
  const std::vector<T>& numbers = everywhere<T, 4>();
  std::vector<std::array<T, 2>> pairs = {{3e38f, 3e38f},
                                         {Limits<T>::infinity(), 2},
                                         {2, Limits<T>::infinity()},
                                         {1, 0},
                                         {-1, 0},
                                         {0, 0},
                                         {Limits<T>::max(), T(0.5)},
                                         {25, 5}};
  for (std::size_t i = 0; i + 7 < numbers.size(); i += 3) pairs.push_back({numbers[i], numbers[i + 7]});
  for (const auto& [x, y] : pairs) {
    const T quotient = first_lane(Simd<T>(x) / Simd<T>(y)), root = first_lane(native::sqrt(Simd<T>(x)));
    if (!same(quotient, x / y)) FAIL_CHECK(x << " / " << y << " is " << quotient << ", expected " << x / y);
    if (!same(root, std::sqrt(x))) FAIL_CHECK("root of " << x << " is " << root << ", expected " << std::sqrt(x));
  }
}

TEMPLATE_TEST_CASE("max and min of registers take the second where one is a NaN, on every CPU", "[number]", float,
                   double) {
  using T = TestType;
  const T nan = Limits<T>::quiet_NaN();
  const auto max = [](T a, T b) { return first_lane(native::max(Simd<T>(a), Simd<T>(b))); };
  const auto min = [](T a, T b) { return first_lane(native::min(Simd<T>(a), Simd<T>(b))); };
  CHECK(max(nan, 1) == 1);
  CHECK(std::isnan(max(1, nan)));
  CHECK(min(nan, 1) == 1);
  CHECK(std::isnan(min(1, nan)));
  CHECK(max(2, 1) == 2);
  CHECK(min(2, 1) == 1);
}

TEMPLATE_TEST_CASE("denormals count as zero while a mode says so", "[number]", float, double) {
  if (detail::kFlushDenormals == 0) return;
  volatile TestType smallest = Limits<TestType>::min(), denormal = Limits<TestType>::denorm_min();
  const auto half = [&] { return first_lane(Simd<TestType>(smallest) * Simd<TestType>(TestType(0.5))); };
  const auto scaled = [&] { return first_lane(Simd<TestType>(denormal) / Simd<TestType>(Limits<TestType>::min())); };
  CHECK(half() > 0);
  CHECK(scaled() > 0);
  {
    const detail::DenormalMode flushed(detail::kFlushDenormals);
    CHECK(half() == 0);
    CHECK(scaled() == 0);
  }
  CHECK(half() > 0);
}
