// Functions of SIMD registers against the C++ library's in double precision, all over their range in steps, and at the
// values where they leave it; and what is done to lanes, against loops over them.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "graft/number/compress.hpp"

using namespace graft;

namespace {

using B = Batch<float>;

template <class F>
float at(F f, float x) {
  alignas(64) float lanes[B::size];
  f(B(x)).store(lanes);
  return lanes[0];
}

/// The largest error of f over [low, high], in units of 2^-23 of the value (twice the rounding error of a float).
template <class F, class G>
double worst_error(F f, G exact, float low, float high) {
  constexpr Index count = Index{1} << 20;
  double worst = 0;
  for (Index i = 0; i < count; i += B::size) {
    alignas(64) float x[B::size], y[B::size];
    for (Index l = 0; l < B::size; ++l)
      x[l] = low + (high - low) * static_cast<float>(i + l) / static_cast<float>(count - 1);
    f(B::load(x)).store(y);
    for (Index l = 0; l < B::size; ++l) {
      const double value = exact(static_cast<double>(x[l]));
      if (value != 0) worst = std::max(worst, std::fabs((static_cast<double>(y[l]) - value) / value));
    }
  }
  return worst * 0x1p23;
}

constexpr float kInfinity = std::numeric_limits<float>::infinity();

}  // namespace

TEST_CASE("exp of a register is within one unit, cut to zero below the normal range, infinite above it", "[number]") {
  const auto f = [](B x) { return native::exp(x); };
  const auto exact = [](double x) { return std::exp(x); };
  CHECK(worst_error(f, exact, -87.29f, 88.72f) < 1);
  CHECK(worst_error(f, exact, -1, 1) < 1);
  CHECK(at(f, 0) == 1);
  CHECK(at(f, -0.0f) == 1);
  CHECK(at(f, 88.73f) == kInfinity);
  CHECK(at(f, kInfinity) == kInfinity);
  CHECK(at(f, -87.5f) == 0);
  CHECK(at(f, -kInfinity) == 0);
  CHECK(std::isnan(at(f, std::nanf(""))));
}

TEST_CASE("tanh of a register is within three units, odd, and never above one", "[number]") {
  const auto f = [](B x) { return native::tanh(x); };
  const auto exact = [](double x) { return std::tanh(x); };
  CHECK(worst_error(f, exact, -12, 12) < 3);
  CHECK(worst_error(f, exact, -0.01f, 0.01f) < 3);
  for (float x = 0; x < 12; x += 0.001f) {
    const float y = at(f, x);
    if (!(y <= 1) || at(f, -x) != -y) FAIL_CHECK("tanh(" << x << ") is " << y << ", tanh(-x) is " << at(f, -x));
  }
  CHECK(at(f, 20) == 1);
  CHECK(at(f, kInfinity) == 1);
  CHECK(at(f, -kInfinity) == -1);
  CHECK(std::signbit(at(f, -0.0f)));
  CHECK(at(f, 1e-30f) == 1e-30f);
  CHECK(std::isnan(at(f, std::nanf(""))));
}

TEMPLATE_TEST_CASE("what is not zero moves together, with its tags", "[number]", float, double) {
  const TestType nan = std::numeric_limits<TestType>::quiet_NaN();
  const TestType pattern[] = {0, 1, TestType(-0.0), nan, 0, 2, 3, std::numeric_limits<TestType>::denorm_min(), 0};
  for (Index count = 0; count <= 40; ++count)
    for (const bool through_places : {false, true}) {
      std::vector<TestType> values, expected;
      std::vector<std::int32_t> places, tags, expected_tags;
      for (std::int32_t i = 0; i < count; ++i) {
        values.push_back(pattern[(7 * i + count) % 9]);
        places.push_back((5 * i + 3) % static_cast<std::int32_t>(count));
        tags.push_back(100 + i);
      }
      for (std::size_t i = 0; i < values.size(); ++i) {
        const TestType value = through_places ? values[static_cast<std::size_t>(places[i])] : values[i];
        if (value == 0) continue;
        expected.push_back(value);
        expected_tags.push_back(tags[i]);
      }
      std::vector<TestType> to(static_cast<std::size_t>(count) + 16);
      std::vector<std::int32_t> to_tags(to.size());
      const Index kept = keep_nonzero(values.data(), through_places ? places.data() : nullptr, tags.data(), count,
                                      to.data(), to_tags.data());
      REQUIRE(kept == static_cast<Index>(expected.size()));
      REQUIRE(std::memcmp(to.data(), expected.data(), expected.size() * sizeof(TestType)) == 0);
      REQUIRE(std::equal(expected_tags.begin(), expected_tags.end(), to_tags.begin()));
    }
}
