// Tensors as values: making, reading, sharing; errors that name the op, the shapes and the line; sizes that overflow.

#include <limits>

#include "catch.hpp"
#include "graft/model/grad.hpp"
#include "graft/ops/map.hpp"
#include "graft/ops/matmul.hpp"
#include "messages.hpp"

using namespace graft;

TEST_CASE("tensors are made with shapes and numbers", "[tensor]") {
  const Tensor<> matrix = tensor<float>({{1, 2, 3}, {4, 5, 6}});
  CHECK(matrix.shape() == Shape{2, 3});
  CHECK(matrix.rank() == 2);
  CHECK(matrix.count() == 6);
  CHECK(matrix.size(0) == 2);
  CHECK(matrix.size(-1) == 3);
  CHECK(matrix.at({1, 0}) == 4);
  CHECK(matrix.span()[5] == 6);
  CHECK(host(matrix)[5] == 6);
  CHECK(tensor<double>({1, 2}).shape() == Shape{2});
  CHECK(Tensor<double>(2.5).item() == 2.5);
  CHECK(Tensor<double>(2.5).rank() == 0);
  CHECK(zeros({2, 2}).at({1, 1}) == 0);
  CHECK(ones<std::int64_t>({3}).at({2}) == 1);
  CHECK(full<std::uint8_t>({2}, 200).at({1}) == 200);
  CHECK(arange<std::int32_t>(4).at({3}) == 3);
  CHECK(eye<double>(3).at({2, 2}) == 1);
  CHECK(eye<double>(3).at({2, 1}) == 0);
  CHECK(from_vector(std::vector<double>{1, 2, 3, 4}, {2, 2}).at({1, 0}) == 3);
  const double numbers[] = {1, 2, 3};
  CHECK(from_span(std::span(numbers), {3}).at({2}) == 3);
  CHECK(zeros({0, 5}).count() == 0);
  CHECK_FALSE(Tensor<>().defined());
  CHECK_FALSE(Tensor<>().tracked());
}

TEST_CASE("a tensor copies what it is made from and shares what it is", "[tensor]") {
  std::vector<float> numbers = {1, 2, 3};
  const Tensor<> x = from_vector(numbers);
  numbers[0] = 9;
  CHECK(x.at({0}) == 1);
  const Tensor<> copy = x, other = reshape(x, {3, 1});
  CHECK(copy.data() == x.data());
  CHECK(other.data() == x.data());
  CHECK_FALSE(detail::sole_owner(x));
  CHECK(detail::sole_owner(x * 2.0f));
  // A view keeps the numbers alive.
  Tensor<> outlives;
  {
    const Tensor<> source = tensor<float>({{1, 2}, {3, 4}});
    outlives = reshape(source, {4});
  }
  CHECK(outlives.at({3}) == 4);
}

TEST_CASE("numbers are aligned, padded with zeros and may be read one batch past the end", "[tensor]") {
  for (Index count : {0, 1, 3, 15, 16, 17, 64, 1000}) {
    const Tensor<> x = ones({count});
    CHECK(reinterpret_cast<std::uintptr_t>(x.data()) % 64 == 0);
    for (Index i = count; i < count + 16; ++i) CHECK(x.data()[i] == 0);
  }
}

TEST_CASE("equality of bits and of numbers", "[tensor]") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(same_bits(tensor<double>({1, nan}), tensor<double>({1, nan})));
  CHECK_FALSE(same_bits(tensor<double>({0.0}), tensor<double>({-0.0})));
  CHECK_FALSE(same_bits(zeros({2, 3}), zeros({3, 2})));
  CHECK(all_close(tensor<double>({1, 0}), tensor<double>({1 + 1e-9, 0})));
  CHECK_FALSE(all_close(tensor<double>({1}), tensor<double>({1.001})));
  CHECK_FALSE(all_close(tensor<double>({nan}), tensor<double>({nan})));
  CHECK_FALSE(all_close(tensor<double>({nan}), tensor<double>({1}), 1e9, 1e9));
  CHECK_FALSE(all_close(tensor<double>({1}), tensor<double>({nan}), 1e9, 1e9));
  CHECK(all_close(tensor<double>({INFINITY}), tensor<double>({INFINITY})));
  CHECK_FALSE(all_close(tensor<double>({INFINITY}), tensor<double>({-INFINITY})));
  CHECK_FALSE(all_close(zeros({2}), zeros({1})));
}

TEST_CASE("casts cut off fractions and keep what fits", "[tensor]") {
  CHECK(same_bits(cast<std::int64_t>(tensor<double>({2.9, -2.9, 0.5})), tensor<std::int64_t>({2, -2, 0})));
  CHECK(cast<float>(tensor<double>({0.1})).item() == 0.1f);
  CHECK(cast<double>(tensor<bool>({true, false})).at({0}) == 1);
  CHECK(cast<std::uint8_t>(tensor<float>({255})).item() == 255);
  const Tensor<std::int64_t> same = arange<std::int64_t>(3);
  CHECK(cast<std::int64_t>(same).data() == same.data());
}

TEST_CASE("errors name the op, the arguments, their shapes and the line", "[tensor]") {
  const Tensor<> a = zeros({32, 64}), b = zeros({48, 10});
  const std::string text = message<ShapeError>([&] { matmul(a, b); });
  const std::string line = std::to_string(__LINE__ - 1);
  CHECK(text ==
        "graft: matmul: inner sizes differ, 64 and 48\n  a [32, 64]\n  b [48, 10]\n  at tensor_test.cpp:" + line);
  // An operator cannot know its line: the innermost named call or layer says where it is.
  const std::string bare = message<ShapeError>([&] { a + b; });
  CHECK(bare == "graft: add: shapes do not broadcast\n  x [32, 64]\n  y [48, 10]");
  const auto layer = [&](Site site = Site::current()) {
    const Named encoder("encoder", site);
    const Named attention("attention");
    a + b;
  };
  const std::string named = message<ShapeError>([&] { layer(); });
  CHECK(named == bare + "\n  at tensor_test.cpp:" + std::to_string(__LINE__ - 1) + "\n  in encoder > attention");
  CHECK(message<ShapeError>([&] { a + b; }) == bare);
  // Every error is an Error and a std::runtime_error.
  CHECK_THROWS_AS(matmul(a, b), Error);
  CHECK_THROWS_AS(matmul(a, b), std::runtime_error);
}

TEST_CASE("what a tensor cannot be or do is an error", "[tensor]") {
  const Tensor<> x = zeros({2, 3});
  CHECK_THROWS_WITH(Tensor<>().shape(), contains("before it was given a value"));
  CHECK_THROWS_WITH(Tensor<>() + x, contains("before it was given a value"));
  CHECK(message<ShapeError>([&] { x.item(); }).find("Tensor::item") != std::string::npos);
  CHECK(message<IndexError>([&] { x.at({2, 0}); }).find("index 2 on axis 0\n  tensor [2, 3]") != std::string::npos);
  CHECK(message<IndexError>([&] { x.at({0, -4}); }).find("index -4") != std::string::npos);
  CHECK(message<IndexError>([&] { x.at({0}); }).find("1 indices") != std::string::npos);
  CHECK(message<IndexError>([&] { x.size(2); }).find("axis 2 of rank 2") != std::string::npos);
  CHECK(message<ShapeError>([&] {
          from_vector(std::vector<float>{1, 2}, {3});
        }).find("from_vector: 2 values\n  shape [3]") != std::string::npos);
  CHECK(message<ShapeError>([&] { zeros({2, -1}); }).find("negative size") != std::string::npos);
  CHECK(message<ShapeError>([&] {
          zeros({1, 1, 1, 1, 1, 1, 1});
        }).find("rank 7 is above 6\n  shape [1, 1, 1, 1, 1, 1, ...]") != std::string::npos);
  CHECK(message<ShapeError>([&] { tensor<float>({{1, 2}, {3}}); }).find("unequal length") != std::string::npos);
  CHECK(message<ValueError>([&] { set_threads(-1); }).find("set_threads") != std::string::npos);
}

TEST_CASE("sizes that overflow are an error, not a small tensor", "[tensor]") {
  const Index huge = Index{1} << 40, most = std::numeric_limits<Index>::max();
  const Index before = memory_stats().bytes_in_use;
  for (const Shape& shape :
       {Shape{huge, huge}, Shape{most}, Shape{most, 2}, Shape{huge, 1 << 10}, Shape{huge, huge, 0}}) {
    CHECK_THROWS_AS(zeros<double>(shape), ShapeError);
    CHECK_THROWS_AS(from_vector(std::vector<double>{1}, shape), ShapeError);
    CHECK_THROWS_AS(broadcast_to(Tensor<double>(1.0), shape), ShapeError);
    CHECK_THROWS_AS(reshape(Tensor<double>(1.0), shape), ShapeError);
  }
  CHECK(zeros<double>({most, 0}).count() == 0);
  // Small operands whose result is beyond all memory.
  const Tensor<double> column = zeros<double>({1 << 22, 1}), row = zeros<double>({1 << 22});
  CHECK_THROWS_WITH(column + row, contains("add: more bytes than can be addressed") && contains("[4194304, 4194304]"));
  CHECK_THROWS_WITH(matmul(column, reshape(row, {1, 1 << 22})), contains("matmul: more bytes"));
  CHECK_THROWS_WITH(map([](auto x, auto y) { return x * y; }, column, row), contains("map: more bytes"));
  CHECK(memory_stats().bytes_in_use - before <= Index{2} << 26);
}

TEST_CASE("broadcasting follows NumPy's rule", "[tensor]") {
  const auto joined = [](Shape a, Shape b) {
    Shape result;
    return broadcast_shapes(a, b, result) ? to_string(result) : "none";
  };
  CHECK(joined({}, {}) == "[]");
  CHECK(joined({3}, {}) == "[3]");
  CHECK(joined({2, 3}, {3}) == "[2, 3]");
  CHECK(joined({2, 1}, {3}) == "[2, 3]");
  CHECK(joined({8, 1, 6, 1}, {7, 1, 5}) == "[8, 7, 6, 5]");
  CHECK(joined({0}, {1}) == "[0]");
  CHECK(joined({0, 3}, {1, 3}) == "[0, 3]");
  CHECK(joined({2}, {3}) == "none");
  CHECK(joined({0}, {2}) == "none");
  CHECK(joined({2, 1}, {8, 4, 3}) == "none");
}

TEST_CASE("elementwise functions at the edges of their domain", "[tensor]") {
  const double inf = INFINITY, nan = std::numeric_limits<double>::quiet_NaN();
  const auto check = [](auto f, std::initializer_list<std::pair<double, double>> cases) {
    for (const auto& [at, expected] : cases) {
      const double in_double = f(Tensor<double>(at)).item();
      const float in_float = f(Tensor<float>(static_cast<float>(at))).item();
      INFO("at " << at << " expected " << expected << " double " << in_double << " float " << in_float);
      CHECK((in_double == expected || (in_double != in_double && expected != expected)));
      CHECK((in_float == static_cast<float>(expected) || (in_float != in_float && expected != expected)));
    }
  };
  check([](auto x) { return exp(x); }, {{-inf, 0}, {inf, inf}, {0, 1}, {nan, nan}, {-1e6, 0}, {1e6, inf}});
  check([](auto x) { return log(x); }, {{0, -inf}, {inf, inf}, {1, 0}, {-1, nan}, {nan, nan}});
  check([](auto x) { return sqrt(x); }, {{0, 0}, {inf, inf}, {4, 2}, {-1, nan}});
  check([](auto x) { return tanh(x); }, {{-inf, -1}, {inf, 1}, {0, 0}, {nan, nan}, {50, 1}});
  check([](auto x) { return sigmoid(x); }, {{-inf, 0}, {inf, 1}, {0, 0.5}, {nan, nan}});
  check([](auto x) { return softplus(x); }, {{-inf, 0}, {inf, inf}, {1000, 1000}, {nan, nan}});
  check([](auto x) { return relu(x); }, {{-inf, 0}, {inf, inf}, {0, 0}, {nan, nan}});
  check([](auto x) { return abs(x); }, {{-inf, inf}, {-2, 2}, {nan, nan}});
  check([](auto x) { return reciprocal(x); }, {{inf, 0}, {0, inf}, {nan, nan}});
  check([](auto x) { return log_sigmoid(x); }, {{1000, 0}, {-1000, -1000}});
  check([](auto x) { return pow(x, 2); }, {{0, 0}, {inf, inf}});
  // Slopes at kinks are as documented.
  const auto slope = [](auto f, double at) {
    return grad([&](const Tensor<double>& x) { return f(x); }, Tensor<double>(at)).item();
  };
  CHECK(slope([](auto x) { return abs(x); }, 0) == 0);
  CHECK(slope([](auto x) { return relu(x); }, 0) == 0);
  CHECK(slope([](auto x) { return maximum(x, 0); }, 0) == 0.5);
  CHECK(slope([](auto x) { return clamp(x, 0, 1); }, 1) == 1);
  CHECK(slope([](auto x) { return clamp(x, 0, 1); }, 1.5) == 0);
  CHECK(slope([](auto x) { return where(x > 0, x, x * 3); }, 0) == 3);
}

TEST_CASE("generate takes the results of a function of the place", "[core]") {
  const Tensor<double> hilbert =
      generate({2, 3}, [](Index i, Index j) { return 1.0 / static_cast<double>(i + j + 1); });
  CHECK(same_bits(hilbert, tensor<double>({{1, 1. / 2, 1. / 3}, {1. / 2, 1. / 3, 1. / 4}})));
  // One index is the place in row-major order, and elements are made in that order.
  std::vector<Index> order;
  const Tensor<bool> odd = generate({2, 2}, [&](Index i) {
    order.push_back(i);
    return i % 2 == 1;
  });
  CHECK(same_bits(odd, reshape(tensor<bool>({false, true, false, true}), {2, 2})));
  CHECK(order == std::vector<Index>{0, 1, 2, 3});
  const auto cube = generate({2, 1, 3}, [](Index i, Index j, Index k) { return 100 * i + 10 * j + k; });
  CHECK(same_bits(cube, reshape(tensor<std::int64_t>({0, 1, 2, 100, 101, 102}), {2, 1, 3})));
  CHECK(generate({}, [](Index i) { return static_cast<float>(i + 7); }).item() == 7);
  CHECK(generate({2, 0}, [](Index, Index) { return 1.0; }).shape() == Shape{2, 0});
  CHECK_THROWS_WITH(generate({2, 3, 4}, [](Index, Index) { return 1.f; }),
                    contains("generate: f takes 2 indices") && contains("[2, 3, 4]") && contains("tensor_test.cpp"));
}
