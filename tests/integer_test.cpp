// Whole numbers: comparisons with numbers as mathematics has them, arithmetic, sums, `where`, broadcasting. What is
// expected at the ends of types and for negative numbers is C++'s or Python's, as docs/conventions.md says.

#include <cmath>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "graft/ops/reduce.hpp"

using namespace graft;

namespace {

template <class T>
std::vector<T> numbers(const Tensor<T>& x) {
  return std::vector<T>(x.span().begin(), x.span().end());
}

/// -1, 0 or 1 as a is below, equal to or above b; 2 where one is a NaN.
template <class T, class S>
int order(T a, S b) {
  const auto wide = [](auto x) {
    if constexpr (std::is_integral_v<decltype(x)>)
      return static_cast<__int128>(x);
    else
      return x;
  };
  // A whole number and a fraction: by the whole part first.
  if constexpr (std::is_integral_v<T> != std::is_integral_v<S>) {
    if constexpr (std::is_integral_v<S>) {
      const int mirrored = order(b, a);
      return mirrored == 2 ? 2 : -mirrored;
    } else {
      if (b != b) return 2;
      if (std::fabs(b) > 0x1p100) return b > 0 ? -1 : 1;
      const auto floor = static_cast<__int128>(std::floor(b));
      return wide(a) < floor ? -1 : wide(a) > floor ? 1 : std::floor(b) == b ? 0 : -1;
    }
  } else {
    return wide(a) < wide(b) ? -1 : wide(a) > wide(b) ? 1 : wide(a) == wide(b) ? 0 : 2;
  }
}

/// All six comparisons of the elements of x with `number`, on either side.
template <class T, class S>
void check_comparisons(const std::vector<T>& values, S number) {
  const Tensor<T> x = from_vector(values);
  const Tensor<bool> outcomes[] = {x < number, x <= number, x > number, x >= number, x == number, x != number,
                                   number > x, number >= x, number < x, number <= x, number == x, number != x};
  for (std::size_t i = 0; i < values.size(); ++i) {
    const T value = values[i];
    const int place = order(value, number);
    const bool expected[] = {place == -1, place == -1 || place == 0, place == 1, place == 1 || place == 0,
                             place == 0,  place != 0};
    for (std::size_t c = 0; c < 12; ++c)
      if (outcomes[c].data()[i] != expected[c % 6]) FAIL_CHECK(+value << " and " << +number << ", comparison " << c);
  }
}
/// The same with numbers of every type near the ends of every type.
template <class T>
void check_all_comparisons(const std::vector<T>& values) {
  using I64 = std::numeric_limits<std::int64_t>;
  if constexpr (!Real<T>)
    for (const double number : {0., -0.5, 0.5, 1., 1.5, 2.5, 255., 255.5, 256., -1., 2147483647.5, -2147483648.5,
                                0x1p53, 0x1p63, -0x1p63, 1e300, -1e300, HUGE_VAL, -HUGE_VAL, std::nan("")}) {
      check_comparisons(values, number);
      check_comparisons(values, static_cast<float>(number));
    }
  for (const std::int64_t number : {I64::min(), std::int64_t{-1}, std::int64_t{0}, std::int64_t{1}, std::int64_t{2},
                                    std::int64_t{255}, std::int64_t{256}, std::int64_t{16777216},
                                    std::int64_t{16777217}, std::int64_t{2147483648}, std::int64_t{9007199254740992},
                                    std::int64_t{9007199254740993}, I64::max()})
    check_comparisons(values, number);
  for (const std::uint64_t number : {std::uint64_t{3}, std::uint64_t{1} << 63, ~std::uint64_t{0}})
    check_comparisons(values, number);
  check_comparisons(values, 7);
  check_comparisons(values, true);
  check_comparisons(values, 'a');
}

}  // namespace

TEST_CASE("comparing with a number is exact, whatever the types", "[integer]") {
  using I64 = std::numeric_limits<std::int64_t>;
  check_all_comparisons<bool>({false, true});
  check_all_comparisons<std::uint8_t>({0, 1, 2, 97, 255});
  check_all_comparisons<std::uint16_t>({0, 1, 255, 256, 65535});
  check_all_comparisons<std::int32_t>({0, 1, -1, 2, 97, 16777217, 2147483647, -2147483647 - 1});
  check_all_comparisons<std::int64_t>({0, 1, -1, 2, 3, 9007199254740992, 9007199254740993, I64::max(), I64::min()});
  check_all_comparisons<float>({0, 1, -1, 2, 16777216, 0x1p31f, 0x1p53f, 0x1p63f, -0x1p63f, 0x1p64f, HUGE_VALF,
                                -HUGE_VALF, std::nanf("")});
  check_all_comparisons<double>({0, 1, 0.5, -1, 16777217, 0x1p53, 9007199254740994., 0x1p63, -0x1p63, 0x1p64, HUGE_VAL,
                                 std::nan("")});
  CHECK((full<std::uint8_t>({2}, 255) < 256).data()[1]);
  CHECK_FALSE((Tensor<std::int64_t>(2) == 2.5).item());
}

TEST_CASE("a floating number is rounded to a floating tensor's type before it is compared", "[integer]") {
  CHECK((Tensor<float>(0.1f) == 0.1).item());
  CHECK_FALSE((Tensor<float>(0.1f) > 0.1).item());
}

TEST_CASE("arithmetic of whole numbers is C++'s, in int32 where elements are narrower", "[integer]") {
  using Narrow = Tensor<std::int32_t>;
  const auto bytes = tensor<std::uint8_t>({3, 200, 255}), others = tensor<std::uint8_t>({5, 100, 255});
  const Narrow difference = bytes - others, total = bytes + others, product = bytes * others;
  CHECK(numbers(difference) == std::vector<std::int32_t>{-2, 100, 0});
  CHECK(numbers(total) == std::vector<std::int32_t>{8, 300, 510});
  CHECK(numbers(product) == std::vector<std::int32_t>{15, 20000, 65025});
  const Narrow masks = tensor<bool>({true, true, false}) + tensor<bool>({true, false, false});
  CHECK(numbers(masks) == std::vector<std::int32_t>{2, 1, 0});
  const Narrow less = tensor<std::uint16_t>({1, 65535}) - 2, from = 2 - tensor<std::uint16_t>({1, 65535});
  CHECK(numbers(less) == std::vector<std::int32_t>{-1, 65533});
  CHECK(numbers(from) == std::vector<std::int32_t>{1, -65533});
  CHECK(numbers(-tensor<std::uint8_t>({1, 255})) == std::vector<std::int32_t>{-1, -255});
  const Tensor<std::int64_t> wide = tensor<std::int64_t>({1, -2}) * 3 + 1;
  CHECK(numbers(wide) == std::vector<std::int64_t>{4, -5});
}

TEMPLATE_TEST_CASE("whole numbers wrap around at their ends", "[integer]", std::int32_t, std::int64_t) {
  using T = TestType;
  constexpr T most = std::numeric_limits<T>::max(), least = std::numeric_limits<T>::min();
  CHECK((Tensor<T>(most) + 1).item() == least);
  CHECK((Tensor<T>(least) - 1).item() == most);
  CHECK((Tensor<T>(most) * 2).item() == -2);
  CHECK((-Tensor<T>(least)).item() == least);
  CHECK(floor_divide(Tensor<T>(least), -1).item() == least);
  CHECK(remainder(Tensor<T>(least), -1).item() == 0);
}

TEST_CASE("floor_divide and remainder round down for every sign, as in Python", "[integer]") {
  for (int a = -7; a <= 7; ++a)
    for (int b = -3; b <= 3; ++b) {
      if (b == 0) continue;
      const int quotient = static_cast<int>(std::floor(static_cast<double>(a) / b));
      INFO(a << " and " << b);
      CHECK(floor_divide(Tensor<std::int32_t>(a), Tensor<std::int32_t>(b)).item() == quotient);
      CHECK(remainder(Tensor<std::int64_t>(a), b).item() == a - b * quotient);
    }
  CHECK_THROWS_AS(floor_divide(tensor<std::int32_t>({1, 2}), tensor<std::int32_t>({1, 0})), ValueError);
  CHECK_THROWS_WITH(remainder(Tensor<std::int64_t>(1), 0),
                    contains("remainder: division by zero") && contains("at integer_test.cpp"));
}

TEST_CASE("maximum, minimum, where, broadcasting and sums of whole numbers", "[integer]") {
  using I = std::int64_t;
  const auto x = tensor<I>({{1, -5, 3}, {4, 0, -6}});
  const auto row = tensor<I>({2, 0, 2});
  CHECK(numbers(maximum(x, row)) == std::vector<I>{2, 0, 3, 4, 0, 2});
  CHECK(numbers(minimum(x, 1)) == std::vector<I>{1, -5, 1, 1, 0, -6});
  CHECK(numbers(where(x < 0, row, x)) == std::vector<I>{1, 0, 3, 4, 0, 2});
  CHECK(numbers(where(x < 0, 7, x)) == std::vector<I>{1, 7, 3, 4, 0, 7});
  CHECK(numbers(where(row == 2, tensor<bool>({false, true, false}), row == 0)) ==
        std::vector<bool>{false, true, false});
  CHECK(numbers(x + row) == std::vector<I>{3, -5, 5, 6, 0, -4});
  CHECK(numbers(broadcast_to(row, {2, 3})) == std::vector<I>{2, 0, 2, 2, 0, 2});
  CHECK(numbers(tile(row, 2)) == std::vector<I>{2, 0, 2, 2, 0, 2});
  CHECK(numbers(repeat(tensor<bool>({true, false}), 2)) == std::vector<bool>{true, true, false, false});
  CHECK(sum(x).item() == -3);
  CHECK(numbers(sum(x, {0})) == std::vector<I>{5, -5, -3});
  CHECK(numbers(sum(x, {1}, true)) == std::vector<I>{-1, -2});
  CHECK(sum(x, {1}, true).shape() == Shape{2, 1});
  CHECK(sum(full<std::uint8_t>({1000}, 255)).item() == 255000);
  CHECK(numbers(sum(x > 0, {1})) == std::vector<I>{2, 1});
  CHECK(sum(zeros<std::int32_t>({0})).item() == 0);
  CHECK(sum(full<std::int32_t>({3}, 2147483647)).item() == I{3} * 2147483647);
}

TEST_CASE("numbers outside a tensor's range, and shapes that do not broadcast, are refused by name", "[integer]") {
  const auto x = tensor<std::int32_t>({1, 2});
  CHECK_THROWS_WITH(x + 3000000000, contains("operator+: the number 3000000000 is outside the range"));
  CHECK_THROWS_AS(where(x > 0, x, 3000000000), ValueError);
  CHECK_THROWS_AS(x * tensor<std::int32_t>({1, 2, 3}), ShapeError);
  CHECK_THROWS_WITH(maximum(x, tensor<std::int32_t>({1, 2, 3})),
                    contains("maximum") && contains("at integer_test.cpp"));
}
