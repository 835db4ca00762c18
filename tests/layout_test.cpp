// What the op table cannot say about ops that move numbers: shared storage, element types without gradients, many
// inputs, and what a mask draws.

#include <cmath>

#include "catch.hpp"
#include "graft/model/grad.hpp"
#include "graft/ops/dropout.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/reduce.hpp"

using namespace graft;

TEST_CASE("a range of the leading axis shares storage, other slices do not", "[ops]") {
  const auto x = reshape(arange<float>(24), {4, 3, 2});
  CHECK(slice(x, 0, 1, 3).data() == x.data() + 6);
  CHECK(slice(slice(x, 0, 1, 4), 0, 1, 2).data() == x.data() + 12);
  CHECK(slice(slice(x, 0, 2, 3), 1, 1, 3).data() == x.data() + 14);  // axes of size one do not matter
  CHECK(split(x, {1, 3})[1].data() == x.data() + 6);
  CHECK(unsqueeze(x, 1).data() == x.data());
  CHECK(permute(unsqueeze(x, 0), {1, 0, 2, 3}).data() == x.data());
  CHECK(concat(std::vector{x}).data() == x.data());
  CHECK(slice(x, 1, 0, 1).data() != x.data());
  CHECK(slice(x, 0, 0, 4, 2).data() != x.data());
}

TEST_CASE("a view keeps its numbers alive and never changes", "[ops]") {
  Tensor<float> part;
  {
    const auto whole = arange<float>(1000);
    part = slice(whole, 0, 500, 502);
  }
  const auto other = full<float>({1000}, 7);  // would reuse the block, had it been freed
  CHECK(same_bits(part, tensor<float>({500, 501})));
  CHECK(other.at({0}) == 7);
}

TEMPLATE_TEST_CASE("every element type can be moved", "[ops]", bool, std::uint8_t, std::uint16_t, std::int32_t,
                   std::int64_t, float, double) {
  // Sizes around the tiles of the transposition; compared with moving by hand.
  for (const Shape& shape : {Shape{2, 3}, Shape{16, 16}, Shape{33, 17}, Shape{64, 70}}) {
    std::vector<TestType> numbers;
    for (Index i = 0; i < shape.count(); ++i) numbers.push_back(static_cast<TestType>(i * 7 % 11 > 5 ? i % 200 : 0));
    Tensor<TestType> x = detail::fresh<TestType>(shape);
    std::copy(numbers.begin(), numbers.end(), detail::writable(x));
    const auto t = transpose(x), f = flip(x, 1), p = pad(x, 1, 1, 2), s = slice(x, 1, 1, -1),
               c = concat(std::vector{x, x}, 1);
    bool right = true;
    for (Index i = 0; i < shape[0]; ++i)
      for (Index j = 0; j < shape[1]; ++j) {
        const TestType v = x.at({i, j});
        right &= t.at({j, i}) == v && f.at({i, shape[1] - 1 - j}) == v && p.at({i, j + 1}) == v &&
                 c.at({i, j + shape[1]}) == v;
        if (j >= 1 && j < shape[1] - 1) right &= s.at({i, j - 1}) == v;
      }
    CHECK(right);
    CHECK(p.at({0, 0}) == TestType(0));
    CHECK(p.at({shape[0] - 1, shape[1] + 2}) == TestType(0));
    CHECK(same_bits(transpose(t), x));
    CHECK(same_bits(flip(f, 1), x));
    CHECK(same_bits(stack(std::vector{x, x}, 0), reshape(concat(std::vector{x, x}), {2, shape[0], shape[1]})));
  }
}

TEST_CASE("concat of a thousand tensors, some of them tracked and one of them twice", "[ops]") {
  const auto total = [](const std::vector<Tensor<double>>& xs) {
    std::vector<Tensor<double>> parts = xs;
    parts.push_back(xs[0]);
    parts.push_back(full<double>({1}, 3));
    const auto joined = concat(parts);
    return sum(square(joined) * joined);  // sum of x^3
  };
  std::vector<Tensor<double>> xs;
  for (int i = 0; i < 1000; ++i) xs.push_back(full<double>({1}, 1 + i * 0.001));
  const auto g = grad(total, xs);
  double worst = 0;
  for (std::size_t i = 0; i < xs.size(); ++i) {
    const double x = xs[i].item(), expected = (i == 0 ? 2 : 1) * 3 * x * x;
    worst = std::max(worst, std::abs(g[i].item() - expected));
  }
  CHECK(worst < 1e-14);
}

TEST_CASE("jacobian stacks its rows", "[ops]") {
  const auto j = jacobian([](const Tensor<double>& x) { return x * flip(x, 0); }, tensor<double>({2, 3}));
  CHECK(all_close(j, tensor<double>({{3, 2}, {3, 2}})));
}

TEST_CASE("masks of causal attention", "[ops]") {
  CHECK(same_bits(causal_mask(2, 4), reshape(tensor<bool>({true, true, true, false, true, true, true, true}), {2, 4})));
  CHECK(same_bits(tril_mask(2, 3), reshape(tensor<bool>({true, false, false, true, true, false}), {2, 3})));
  CHECK(same_bits(tril_mask(2, 2, -1), reshape(tensor<bool>({false, false, true, false}), {2, 2})));
  CHECK(same_bits(one_hot<bool>(tensor<std::int32_t>({1, 0}), 2),
                  reshape(tensor<bool>({false, true, true, false}), {2, 2})));
}

TEST_CASE("gather and scatter_add are transposes of each other", "[ops]") {
  const Random random(4);
  std::vector<std::int64_t> picks;
  for (std::uint64_t i = 0; i < 500; ++i) picks.push_back(random.below(i, 40));
  const auto indices = from_vector(picks);
  const auto x = randn<double>({3, 40, 5}, random.stream("x")), y = randn<double>({3, 500, 5}, random.stream("y"));
  // <gather x, y> = <x, scatter y>
  CHECK(sum(gather(x, indices, 1) * y).item() == Approx(sum(x * scatter_add(y, indices, 40, 1)).item()).epsilon(1e-12));
  CHECK(same_bits(gather(tensor<bool>({true, false}), tensor<std::int32_t>({1, 1, 0})),
                  tensor<bool>({false, false, true})));
}

TEST_CASE("along an axis, what argmax names is the maximum, for every element type", "[ops]") {
  const auto x = randn<double>({4, 6, 3}, Random(5));
  for (int axis : {0, 1, -1}) CHECK(same_bits(take_along_axis(x, argmax(x, axis, true), axis), max(x, {axis}, true)));
  const auto labels = reshape(tensor<std::int32_t>({7, 8, 9, 10}), {2, 2});
  CHECK(same_bits(take_along_axis(labels, reshape(tensor<std::int64_t>({-1, 0}), {1, 2})),
                  reshape(tensor<std::int32_t>({8, 7, 10, 9}), {2, 2})));
  const auto y = randn<double>({4, 9, 3}, Random(6));
  std::vector<std::int32_t> picks;
  for (std::uint64_t i = 0; i < 4 * 9 * 3; ++i) picks.push_back(static_cast<std::int32_t>(Random(7).below(i, 12)) - 6);
  const auto indices = from_vector(picks, {4, 9, 3});
  // <take x, y> = <x, add y>
  CHECK(sum(take_along_axis(x, indices, 1) * y).item() ==
        Approx(sum(x * add_along_axis(y, indices, 6, 1)).item()).epsilon(1e-12));
}

TEST_CASE("nonzero gives the places that gather reads", "[ops]") {
  const auto x = tensor<double>({0, -2, 0, 3, std::nan("")});
  CHECK(same_bits(nonzero(x), tensor<std::int64_t>({1, 3, 4})));
  CHECK(same_bits(gather(x, nonzero(x > 0)), tensor<double>({3})));
  CHECK(same_bits(nonzero(tensor<std::int32_t>({{0, 5}, {6, 0}})), tensor<std::int64_t>({1, 2})));
  CHECK(nonzero(zeros({3, 0})).shape() == Shape{0});
}

TEST_CASE("negative indices count from the end of what is read, but are no labels", "[ops]") {
  const auto x = tensor<double>({{1, 2, 3}, {4, 5, 6}});
  CHECK(x.at({-1, 0}) == 4);
  CHECK_THROWS_WITH(x.at({0, -4}), contains("index -4 on axis 1"));
  CHECK(same_bits(gather(x, tensor<std::int64_t>({-1, 0}), 1), tensor<double>({{3, 1}, {6, 4}})));
  CHECK(same_bits(take_along(x, tensor<std::int64_t>({-1, -3})), tensor<double>({3, 4})));
  CHECK(same_bits(scatter_add(tensor<double>({1, 2, 4}), tensor<std::int64_t>({-1, 0, -1}), 3),
                  tensor<double>({2, 0, 5})));
  CHECK_THROWS_WITH(one_hot(tensor<std::int64_t>({-1}), 3), contains("index -1 at position 0 is outside 0 .. 2"));
}

TEST_CASE("dropout keeps the expectation and draws a mask of its own for every stream", "[ops]") {
  constexpr Index count = 1 << 20;
  const auto x = ones<double>({count});
  for (double rate : {0.1, 0.5, 0.9}) {
    const auto y = dropout(x, rate, Random(1).stream("mask"));
    // The number kept is binomial: five standard deviations.
    const double kept = static_cast<double>(count_nonzero(y).item()), n = static_cast<double>(count);
    CHECK(std::abs(kept - n * (1 - rate)) < 5 * std::sqrt(n * rate * (1 - rate)));
    CHECK(max(y).item() == 1 / (1 - rate));
    CHECK(same_bits(y, dropout(x, rate, Random(1).stream("mask"))));
  }
  // Independent masks agree at half of the places (rate 1/2), and so does a mask with itself moved by any small step.
  const auto a = dropout(x, 0.5, Random(1).stream("a")), b = dropout(x, 0.5, Random(1).stream("b"));
  const double slack = 5 * std::sqrt(count / 4.0);
  CHECK(std::abs(static_cast<double>(count_nonzero(a == b).item()) - count / 2.0) < slack);
  for (Index step : {1, 4, 16, 64, 1024}) {
    const auto moved = slice(a, 0, step, count), still = slice(a, 0, 0, count - step);
    CHECK(std::abs(static_cast<double>(count_nonzero(moved == still).item()) - static_cast<double>(count - step) / 2) <
          slack);
  }
}

TEST_CASE("dropout at rate 0 is the tensor itself, and drops infinities to 0", "[ops]") {
  const auto x = tensor<float>({1, 2});
  CHECK(dropout(x, 0, Random(1)).data() == x.data());
  const auto y = dropout(full<float>({1000}, HUGE_VALF), 0.5, Random(1));
  for (float v : y.span()) CHECK((v == 0 || v == HUGE_VALF));
  CHECK_THROWS_WITH(dropout(x, 1, Random(1)), contains("dropout: rate is 1") && contains("layout_test.cpp"));
}
