// Properties of the norms: invariances, closed forms, relations between them, and variances that survive a large mean.

#include <cmath>
#include <vector>

#include "catch.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/model/grad.hpp"
#include "graft/ops/norm.hpp"

using namespace graft;

namespace {

/// `count` whole numbers in [-20, 20].
template <class T>
Tensor<T> whole_numbers(const Shape& shape) {
  const Random random = Random(9).stream("whole numbers");
  std::vector<T> values;
  for (Index i = 0; i < shape.count(); ++i)
    values.push_back(static_cast<T>(random.below(static_cast<std::uint64_t>(i), 41) - 20));
  return from_vector(values, shape);
}
template <class T>
double largest_gap(const Tensor<T>& a, const Tensor<T>& b) {
  double most = 0;
  for (Index i = 0; i < a.count(); ++i)
    most = std::fmax(most, std::fabs(static_cast<double>(a.data()[i]) - static_cast<double>(b.data()[i])));
  return most;
}

}  // namespace

TEST_CASE("layer norm gives rows of mean 0 and variance v / (v + eps)", "[ops]") {
  for (Index width : {2, 5, 16, 33, 300}) {
    const auto x = randn<double>({6, width}, Random(1)) * 3 + 1;
    const auto y = layer_norm(x, 0.5);
    const auto centred = x - mean(x, {1}, true);
    const auto v = mean(square(centred), {1});
    CHECK(all_close(mean(y, {1}), zeros<double>({6}), 0, 1e-14));
    CHECK(all_close(mean(square(y), {1}), v / (v + 0.5), 1e-12));
  }
}

TEMPLATE_TEST_CASE("RMS norm does not see the scale of its input as eps goes to 0", "[ops]", float, double) {
  const auto x = randn<TestType>({6, 37}, Random(2));
  const auto weight = randn<TestType>({37}, Random(3));
  // Powers of two scale without rounding: equal bits.
  CHECK(same_bits(rms_norm(x * 4, weight, 0), rms_norm(x, weight, 0)));
  CHECK(same_bits(rms_norm(x * 0.125, 0), rms_norm(x, 0)));
  const double rounding = sizeof(TestType) == 4 ? 1e-6 : 1e-14;
  CHECK(all_close(rms_norm(x * 3, weight, 0), rms_norm(x, weight, 0), 4 * rounding, rounding));
  // The way there: the relative change is half of eps over the mean square, about 1 here.
  double last = 1;
  for (double eps : {1e-1, 1e-3, 1e-5}) {
    const double gap = largest_gap(rms_norm(x * 2, eps), rms_norm(x, eps));
    CHECK(gap < last);
    CHECK(gap < 4 * eps);
    last = gap;
  }
  // And hence no gradient along the input itself.
  const auto g = vjp([](const auto& v) { return rms_norm(v, 0); }, x, randn<TestType>({6, 37}, Random(4))).second;
  CHECK(all_close(sum(g * x, {1}), zeros<TestType>({6}), 0, 40 * rounding));
}

TEMPLATE_TEST_CASE("norms that subtract a mean do not see a shift, nor a scale as eps is 0", "[ops]", float, double) {
  // Whole numbers are shifted and scaled by powers of two without rounding.
  const auto x = whole_numbers<TestType>({8, 5, 12});
  const double rounding = sizeof(TestType) == 4 ? 1e-5 : 1e-13;
  const auto moved = x * 4 + 64;
  CHECK(largest_gap(layer_norm(moved, 0), layer_norm(x, 0)) < rounding);
  CHECK(largest_gap(batch_norm(moved, 0), batch_norm(x, 0)) < rounding);
  CHECK(largest_gap(group_norm(moved, 3, 0), group_norm(x, 3, 0)) < rounding);
  CHECK(largest_gap(rms_norm(moved, 0), rms_norm(x, 0)) > 0.1);
}

TEST_CASE("variances survive a mean ten thousand times as large", "[ops]") {
  // Eighths around 10000 are exact in float, so subtracting 10000 first changes nothing but the difficulty. The mean
  // itself is rounded to 2^-11: an error of up to 5e-4 / 7 of a deviation, and of its square in the variance.
  const auto near_zero = whole_numbers<float>({40000, 3}) / 8, far = near_zero + 10000;
  CHECK(largest_gap(batch_norm(far), batch_norm(near_zero)) < 1e-3);
  const auto a = batch_statistics(near_zero), b = batch_statistics(far);
  CHECK(all_close(b.variance, a.variance, 1e-5, 0));
  CHECK(largest_gap(b.mean - 10000, a.mean) < 1e-3);
  const auto rows = reshape(near_zero, {40, 3000}), far_rows = reshape(far, {40, 3000});
  CHECK(largest_gap(layer_norm(far_rows), layer_norm(rows)) < 2e-3);
  CHECK(largest_gap(group_norm(reshape(far, {4, 10000, 3}), 1), group_norm(reshape(near_zero, {4, 10000, 3}), 1)) <
        1e-3);
}

TEST_CASE("statistics of 0 .. n-1: mean (n - 1) / 2, variance (n^2 - 1) / 12", "[ops]") {
  for (Index n : {1, 2, 7, 1000, 20001})
    for (Index channels : {1, 3, 40, 130}) {
      std::vector<double> values;
      for (Index i = 0; i < n; ++i)
        for (Index c = 0; c < channels; ++c) values.push_back(static_cast<double>((i + c) % n));
      const auto [m, v] = batch_statistics(from_vector(values, {n, channels}));
      const double count = static_cast<double>(n);
      CHECK(all_close(m, full<double>({channels}, (count - 1) / 2), 1e-13, 0));
      CHECK(all_close(v, full<double>({channels}, (count * count - 1) / 12), 1e-12, 0));
    }
}

TEMPLATE_TEST_CASE("batch norm with the batch's own statistics given is batch norm", "[ops]", float, double) {
  const auto x = randn<TestType>({3, 50, 20}, Random(5)), weight = randn<TestType>({20}, Random(6)),
             bias = randn<TestType>({20}, Random(7));
  const auto both = batch_norm_with_statistics(x, weight, bias);
  const auto statistics = batch_statistics(x);
  CHECK(same_bits(both.value, batch_norm(x, weight, bias)));
  CHECK(same_bits(both.statistics.mean, statistics.mean));
  CHECK(same_bits(both.statistics.variance, statistics.variance));
  CHECK(same_bits(batch_norm(x, statistics, weight, bias), batch_norm(x, weight, bias)));
  CHECK_FALSE(batch_norm_with_statistics(variable(x)).statistics.mean.tracked());
}

TEST_CASE("group norm meets layer norm, batch norm and instance norm", "[ops]") {
  const auto x = randn<double>({4, 6, 12}, Random(8));
  // One position: a group of all channels is a row.
  const auto rows = reshape(x, {24, 12});
  CHECK(all_close(group_norm(rows, 1), layer_norm(rows), 1e-12, 1e-14));
  // One sample, a group a channel: a batch of its positions.
  const auto one = reshape(x, {1, 24, 12});
  CHECK(all_close(group_norm(one, 12), batch_norm(one), 1e-12, 1e-14));
  // Groups know nothing of one another: the first three channels alone.
  const auto left = reshape(x, {4, 6, 4, 3});
  std::vector<double> first;
  for (Index i = 0; i < 24; ++i)
    for (Index c = 0; c < 3; ++c) first.push_back(left.data()[i * 12 + c]);
  const auto alone = group_norm(from_vector(first, {4, 6, 3}), 1), together = group_norm(x, 4);
  for (Index i = 0; i < 24; ++i)
    for (Index c = 0; c < 3; ++c) CHECK(together.data()[i * 12 + c] == Approx(alone.data()[i * 3 + c]).epsilon(1e-12));
}

TEST_CASE("RMS norm of rows of mean 0 is layer norm", "[ops]") {
  const auto x = randn<double>({5, 19}, Random(10)), centred = x - mean(x, {1}, true);
  CHECK(all_close(rms_norm(centred, 1e-5), layer_norm(centred, 1e-5), 1e-12, 1e-14));
}

TEST_CASE("a constant input gives the bias and no infinite slope", "[ops]") {
  const auto x = full<double>({6, 4, 10}, 3), weight = full<double>({10}, 2), bias = arange<double>(10);
  const auto expected = broadcast_to(bias, {6, 4, 10}), g = randn<double>({6, 4, 10}, Random(11));
  const auto check = [&](auto norm) {
    CHECK(all_close(norm(x), expected, 0, 1e-13));
    const auto slope = vjp(norm, x, g).second;
    for (double value : slope.span()) CHECK(std::isfinite(value));
  };
  check([&](const auto& v) { return layer_norm(v, weight, bias); });
  check([&](const auto& v) { return batch_norm(v, weight, bias); });
  check([&](const auto& v) { return group_norm(v, 5, weight, bias); });
}

TEST_CASE("a row of infinities spoils its own norm only, on the way back too", "[ops]") {
  const auto g = randn<double>({3, 5}, Random(3)), rows = randn<double>({3, 5}, Random(4));
  const auto spoilt = concat(std::vector{slice(rows, 0, 0, 1), full<double>({1, 5}, INFINITY), slice(rows, 0, 2, 3)});
  const auto gradient = [&](const Tensor<double>& x) {
    return vjp([](const auto& v) { return layer_norm(v) + rms_norm(v); }, x, g).second;
  };
  const auto clean = gradient(rows), mixed = gradient(spoilt);
  for (Index row : {0, 2})
    for (Index i = 0; i < 5; ++i) CHECK(mixed.at({row, i}) == clean.at({row, i}));
  CHECK(std::isnan(mixed.at({1, 0})));
}

TEST_CASE("with its own statistics a batch norm passes nothing back along a shift of a channel", "[ops]") {
  const auto x = randn<double>({70, 33}, Random(12)), g = randn<double>({70, 33}, Random(13));
  const auto own = vjp([](const auto& v) { return batch_norm(v); }, x, g).second;
  CHECK(all_close(sum(own, {0}), zeros<double>({33}), 0, 1e-12));
  const auto statistics = batch_statistics(x);
  const auto given = vjp([&](const auto& v) { return batch_norm(v, statistics); }, x, g).second;
  CHECK(all_close(given, g / sqrt(statistics.variance + 1e-5), 1e-13, 0));
}

TEST_CASE("statistics of millions of rows are as good as those of hundreds", "[ops]") {
  // Each partial sum covers 512 rows in 8 running sums, 71 additions in a row, and partial sums are joined in double:
  // with the product by 1 / rows, relative errors stay below 73 roundings. One running sum would make four million.
  const auto x = full<float>({4000000, 1}, 1.1f);
  const auto [m, v] = batch_statistics(x);
  const double bound = 73 * 0x1p-24;
  CHECK(m.item() == Approx(static_cast<double>(1.1f)).epsilon(bound));
  CHECK(v.item() <= 1.21 * bound * bound);
}
