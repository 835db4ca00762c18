// Convolution and pooling beyond the op table: sizes of many blocks of pixels, what one map may know of another, ties.

#include <cmath>
#include <limits>

#include "catch.hpp"
#include "graft/model/grad.hpp"
#include "graft/ops/conv_norm_pool.hpp"

using namespace graft;

namespace {

/// <a, b> in double.
template <class T>
double inner(const Tensor<T>& a, const Tensor<T>& b) {
  double total = 0;
  for (Index i = 0; i < a.count(); ++i) total += static_cast<double>(a.data()[i]) * static_cast<double>(b.data()[i]);
  return total;
}
/// Norm of a times norm of b: what an inner product's rounding is measured by.
template <class T>
double scale_of(const Tensor<T>& a, const Tensor<T>& b) {
  return std::sqrt(inner(a, a) * inner(b, b));
}

/// One element of the definition, in double.
template <class T>
double conv_element(const Tensor<T>& x, const Tensor<T>& w, ConvOptions o, Index b, Index i, Index j, Index out) {
  double total = 0;
  const Index first = out / (w.size(0) / o.groups) * w.size(1);
  for (Index c = 0; c < w.size(1); ++c)
    for (Index k = 0; k < w.size(2); ++k)
      for (Index l = 0; l < w.size(3); ++l) {
        const Index row = i * o.stride.rows + k * o.dilation.rows - o.padding.widths().rows;
        const Index column = j * o.stride.columns + l * o.dilation.columns - o.padding.widths().columns;
        if (row >= 0 && row < x.size(1) && column >= 0 && column < x.size(2))
          total += static_cast<double>(x.at({b, row, column, first + c})) * static_cast<double>(w.at({out, c, k, l}));
      }
  return total;
}

struct Case {
  Shape x, w;
  ConvOptions options;
};

}  // namespace

TEST_CASE("conv2d over many blocks is the sum of its definition", "[ops]") {
  const Case cases[] = {{{9, 28, 28, 1}, {64, 1, 3, 3}, {.padding = 1}},
                        {{5, 14, 14, 64}, {33, 64, 3, 3}, {.padding = 1}},
                        {{3, 29, 30, 16}, {20, 8, 3, 3}, {.stride = 2, .padding = 1, .groups = 2}},
                        {{40, 3, 3, 32}, {32, 32, 3, 3}, {.padding = 1}},
                        {{2, 30, 30, 40}, {24, 40, 1, 1}, {}},
                        {{2, 30, 30, 4}, {24, 4, 1, 1}, {.stride = 2}},
                        {{3, 29, 30, 16}, {20, 16, 3, 5}, {.stride = {1, 2}, .padding = {1, 4}, .dilation = {1, 2}}}};
  for (const Case& c : cases) {
    const auto x = randn<float>(c.x, Random(1)), w = randn<float>(c.w, Random(2));
    const auto y = conv2d(x, w, c.options);
    // Roundings of a sum of n terms of size about 1 grow like n eps at worst.
    const double terms = static_cast<double>(c.w.count() / c.w[0]);
    Index wrong = 0, seen = 0;
    for (Index at = 0; at < y.count(); at += 7, ++seen) {
      const Index out = at % y.size(3), j = at / y.size(3) % y.size(2), i = at / y.size(3) / y.size(2) % y.size(1);
      const double exact = conv_element(x, w, c.options, at / y.size(3) / y.size(2) / y.size(1), i, j, out);
      if (!(std::abs(y.data()[at] - exact) < 2e-7 * terms + 1e-6)) ++wrong;
    }
    CAPTURE(to_string(c.x), to_string(c.w));
    CHECK(wrong == 0);
    CHECK(seen > 100);
  }
}

TEST_CASE("conv2d, conv2d_input and conv2d_weight are transposes of one another at every size", "[ops]") {
  // <conv2d(x, w), y> = <x, conv2d_input(y, w)> = <w, conv2d_weight(x, y)>: they are one trilinear form.
  const Case cases[] = {{{60, 28, 28, 1}, {32, 1, 3, 3}, {.padding = 1}},
                        {{25, 14, 14, 32}, {40, 32, 3, 3}, {.padding = 1}},
                        {{13, 15, 14, 24}, {32, 24, 3, 3}, {.stride = 2, .padding = 1}},
                        {{7, 21, 20, 12}, {18, 4, 3, 5}, {.stride = 3, .padding = 2, .dilation = 2, .groups = 3}},
                        {{7, 20, 20, 6}, {18, 6, 1, 1}, {.stride = 2, .padding = 1}}};
  for (const Case& c : cases) {
    const auto x = randn<float>(c.x, Random(1)), w = randn<float>(c.w, Random(2));
    const auto forward = conv2d(x, w, c.options);
    const auto y = randn<float>(forward.shape(), Random(3));
    const double form = inner(forward, y), tolerance = 1e-5 * scale_of(forward, y);
    CAPTURE(to_string(c.x), to_string(c.w));
    CHECK(std::abs(inner(x, conv2d_input(y, w, c.x, c.options)) - form) < tolerance);
    CHECK(std::abs(inner(w, conv2d_weight(x, y, c.w, c.options)) - form) < tolerance);
    CHECK(scale_of(forward, y) > 1);
  }
}

TEST_CASE("conv2d of patches is a linear map of the patches", "[ops]") {
  // Dosovitskiy et al., ICLR 2021: kernel = stride = patch. One number of one patch reaches one pixel of the output.
  auto x = zeros<double>({1, 8, 12, 2});
  detail::writable(x)[(5 * 12 + 9) * 2 + 1] = 1;  // row 1, column 1 of patch (1, 2), channel 1
  const auto w = randn<double>({3, 2, 4, 4}, Random(4));
  const auto y = conv2d(x, w, {.stride = 4});
  REQUIRE(y.shape() == Shape{1, 2, 3, 3});
  for (Index i = 0; i < 2; ++i)
    for (Index j = 0; j < 3; ++j)
      for (Index o = 0; o < 3; ++o) CHECK(y.at({0, i, j, o}) == (i == 1 && j == 2 ? w.at({o, 1, 1, 1}) : 0.0));
}

TEST_CASE("maps know nothing of one another", "[ops]") {
  // Map 1 is NaN; windows are gathered by whole registers across its borders.
  auto x = randn<float>({3, 5, 5, 3}, Random(5));
  const auto clean = from_span(x.span(), x.shape());
  for (Index i = 75; i < 150; ++i) detail::writable(x)[i] = std::numeric_limits<float>::quiet_NaN();
  const auto w = randn<float>({5, 3, 3, 3}, Random(6));
  const auto check = [](const Tensor<float>& dirty, const Tensor<float>& expected) {
    const Index map = dirty.count() / 3;
    Index different = 0, numbers = 0;
    for (Index i = 0; i < dirty.count(); ++i) {
      const bool middle = i >= map && i < 2 * map;
      if (!middle && dirty.data()[i] != expected.data()[i]) ++different;
      if (middle && !std::isnan(dirty.data()[i])) ++numbers;
    }
    CHECK(different == 0);
    CHECK(numbers == 0);
  };
  check(conv2d(x, w, {.padding = 1}), conv2d(clean, w, {.padding = 1}));
  check(conv2d(x, w, {.stride = 2, .padding = 1}), conv2d(clean, w, {.stride = 2, .padding = 1}));
  const auto back = randn<float>({3, 3, 3, 3}, Random(7));
  check(conv2d_input(x, back, x.shape(), {.padding = 1}), conv2d_input(clean, back, x.shape(), {.padding = 1}));
  check(max_pool2d(x, {.kernel = 3, .stride = 1, .padding = 1}),
        max_pool2d(clean, {.kernel = 3, .stride = 1, .padding = 1}));
  check(avg_pool2d(x), avg_pool2d(clean));
}

TEST_CASE("max_pool2d gives a tie's gradient to the first", "[ops]") {
  const auto x = from_vector(std::vector<float>{2, 7, 7, 1, 7, 0, 3, 3}, {1, 2, 4, 1});
  const auto gradient = grad([](const Tensor<float>& v) { return sum(max_pool2d(v)); }, x);
  const std::vector<float> expected{0, 1, 1, 0, 0, 0, 0, 0};  // windows {2, 7, 7, 0} and {7, 1, 3, 3}
  CHECK(std::vector<float>(gradient.span().begin(), gradient.span().end()) == expected);
}

TEST_CASE("max_pool2d never chooses padding", "[ops]") {
  const auto x = full<double>({1, 3, 3, 2}, -5);
  const auto y = max_pool2d(x, {.kernel = 2, .padding = 1});
  REQUIRE(y.shape() == Shape{1, 2, 2, 2});
  for (double v : y.span()) CHECK(v == -5);
}

TEST_CASE("pooling a map of one number per window gives that number", "[ops]") {
  const auto x = randn<float>({2, 3, 4, 5}, Random(8));
  const auto largest = max_pool2d(x, {.kernel = 1}), average = avg_pool2d(x, {.kernel = 1});
  for (Index i = 0; i < x.count(); ++i) {
    CHECK(largest.data()[i] == x.data()[i]);
    CHECK(average.data()[i] == x.data()[i]);
  }
}

TEST_CASE("conv_batch_norm_pool and conv_group_norm_pool are their four ops", "[ops]") {
  struct Size {
    Shape x, kernel;
    ConvOptions options;
  };
  // Strips of an image and several images a block, odd rows and columns, maps kept and computed again, ends of batches.
  const Size sizes[] = {{{3, 28, 28, 1}, {64, 1, 3, 3}, {.padding = 1}},
                        {{3, 15, 13, 5}, {20, 5, 3, 3}, {.padding = 1}},
                        {{70, 3, 3, 8}, {36, 8, 3, 3}, {.padding = 1}},
                        {{3, 14, 14, 64}, {64, 64, 3, 3}, {.padding = 1}},
                        {{2, 40, 40, 3}, {100, 3, 3, 3}, {}},
                        {{2, 30, 20, 6}, {8, 3, 3, 3}, {.stride = 2, .padding = 1, .groups = 2}}};
  for (const Size& size : sizes)
    for (const Index groups : {0, 4}) {
      const Shape shape = size.x, kernel_shape = size.kernel;
      const ConvOptions options = size.options;
      const Random random(3);
      const Shape channel{kernel_shape[0]};
      const std::vector<Tensor<double>> at{
          randn<double>(shape, random.stream("x")), randn<double>(kernel_shape, random.stream("kernel")),
          randn<double>(channel, random.stream("weight")), randn<double>(channel, random.stream("bias"))};
      const auto fused = [&](const auto& v) {
        return groups > 0 ? conv_group_norm_pool(v[0], v[1], groups, v[2], v[3], options)
                          : conv_batch_norm_pool(v[0], v[1], v[2], v[3], options).value;
      };
      const auto apart = [&](const auto& v) {
        const Tensor<double> map = conv2d(v[0], v[1], options);
        return relu(max_pool2d(groups > 0 ? group_norm(map, groups, v[2], v[3]) : batch_norm(map, v[2], v[3])));
      };
      const auto slopes = [&](const auto& op) {
        return grad([&](const auto& v) { return sum(square(op(v)) * op(v)); }, at);
      };
      CAPTURE(to_string(shape), groups);
      CHECK(all_close(fused(at), apart(at), 1e-11, 1e-11));
      const auto own = slopes(fused), expected = slopes(apart);
      for (std::size_t i = 0; i < at.size(); ++i) {
        const double norm = std::sqrt(inner(expected[i], expected[i]));
        CHECK(all_close(own[i] / norm, expected[i] / norm, 1e-11, 1e-11));
      }
    }
}
