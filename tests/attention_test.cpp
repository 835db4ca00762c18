// Scaled dot-product attention beyond the op table: its limits and invariances (Vaswani et al., NeurIPS 2017), masks,
// sizes of many blocks, extreme scores, memory.

#include <cmath>
#include <cstring>
#include <limits>

#include "catch.hpp"
#include "graft/model/grad.hpp"
#include "graft/ops/attention.hpp"

using namespace graft;

namespace {

template <class T>
bool all_finite(const Tensor<T>& x) {
  for (T v : x.span())
    if (!std::isfinite(v)) return false;
  return true;
}
template <class T>
double largest_difference(const Tensor<T>& a, const Tensor<T>& b) {
  REQUIRE(a.shape() == b.shape());
  double most = 0;
  for (Index i = 0; i < a.count(); ++i) {
    const double difference = std::abs(static_cast<double>(a.data()[i]) - static_cast<double>(b.data()[i]));
    if (!(difference <= most)) most = difference;
  }
  return most;
}
/// A key mask [batch, keys] with `seen(b, j)`.
template <class Seen>
Tensor<bool> key_mask(Index batch, Index keys, Seen seen) {
  const Tensor<bool> mask = detail::fresh<bool>({batch, keys});
  for (Index b = 0; b < batch; ++b)
    for (Index j = 0; j < keys; ++j) detail::writable(mask)[b * keys + j] = seen(b, j);
  return mask;
}
/// Rows [first, last) of axis 2 of [batch, heads, time, depth].
template <class T>
Tensor<T> times(const Tensor<T>& x, Index first, Index last) {
  const Tensor<T> part = detail::fresh<T>({x.size(0), x.size(1), last - first, x.size(3)});
  T* to = detail::writable(part);
  for (Index head = 0; head < x.size(0) * x.size(1); ++head)
    for (Index i = (head * x.size(2) + first) * x.size(3); i < (head * x.size(2) + last) * x.size(3); ++i)
      *to++ = x.data()[i];
  return part;
}
/// The formula for one query in double, exponents shifted by the largest.
template <class T>
std::vector<double> attend(const Tensor<T>& q, const Tensor<T>& k, const Tensor<T>& v, Index query, Index keys) {
  std::vector<double> weights, out(static_cast<std::size_t>(v.size(3)));
  double most = -std::numeric_limits<double>::infinity(), total = 0;
  for (Index j = 0; j < keys; ++j) {
    double score = 0;
    for (Index d = 0; d < q.size(3); ++d)
      score += static_cast<double>(q.at({0, 0, query, d})) * static_cast<double>(k.at({0, 0, j, d}));
    weights.push_back(score / std::sqrt(static_cast<double>(q.size(3))));
    most = std::max(most, weights.back());
  }
  for (double& weight : weights) total += weight = std::exp(weight - most);
  for (Index j = 0; j < keys; ++j)
    for (Index d = 0; d < v.size(3); ++d) out[d] += weights[j] / total * static_cast<double>(v.at({0, 0, j, d}));
  return out;
}

}  // namespace

TEST_CASE("attention with queries of zero is the mean of the values that are seen", "[ops]") {
  const auto k = randn<double>({2, 2, 200, 8}, Random(1)), v = randn<double>({2, 2, 200, 5}, Random(2));
  const auto q = zeros<double>({2, 2, 3, 8});
  const auto mask = key_mask(2, 200, [](Index b, Index j) { return b == 0 || j % 4 == 1; });
  const auto y = scaled_dot_product_attention(q, k, v, {.key_mask = mask});
  for (Index b = 0; b < 2; ++b)
    for (Index h = 0; h < 2; ++h)
      for (Index d = 0; d < 5; ++d) {
        double mean = 0;
        for (Index j = 0; j < 200; ++j)
          if (mask.at({b, j})) mean += v.at({b, h, j, d}) / (b == 0 ? 200 : 50);
        CHECK(y.at({b, h, 2, d}) == Approx(mean).margin(1e-14));
      }
}

TEST_CASE("attention over many blocks is the formula", "[ops]") {
  for (bool causal : {false, true}) {
    const auto q = randn<float>({1, 1, 700, 48}, Random(1)), k = randn<float>({1, 1, 900, 48}, Random(2));
    const auto v = randn<float>({1, 1, 900, 20}, Random(3));
    const auto y = scaled_dot_product_attention(q, k, v, {.causal = causal});
    double worst = 0;
    for (Index i : {0, 1, 63, 64, 127, 128, 500, 511, 512, 699}) {
      const auto exact = attend(q, k, v, i, causal ? i + 201 : 900);
      for (Index d = 0; d < 20; ++d)
        worst = std::max(worst, std::abs(exact[d] - static_cast<double>(y.at({0, 0, i, d}))));
    }
    CHECK(worst < 2e-6);
  }
}

TEST_CASE("attention over several groups of keys has the gradients of the formula", "[ops]") {
  // The formula's own gradients, taken with a kept graph, are compared with finite differences in the op table.
  const std::vector<Tensor<double>> x{
      randn<double>({1, 2, 150, 6}, Random(1)), randn<double>({1, 2, 2200, 6}, Random(2)),
      randn<double>({1, 2, 2200, 4}, Random(3)), randn<double>({2, 1, 2200}, Random(4))};
  const auto weight = randn<double>({1, 2, 150, 4}, Random(5));
  for (bool causal : {false, true}) {
    const auto loss = [&](const std::vector<Tensor<double>>& v) {
      return sum(weight * scaled_dot_product_attention(v[0], v[1], v[2], {.causal = causal, .bias = v[3]}));
    };
    const auto fused = grad(loss, x), formula = grad(loss, x, {.create_graph = true});
    for (std::size_t i = 0; i < x.size(); ++i) CHECK(largest_difference(fused[i], formula[i]) < 1e-12);
  }
}

TEST_CASE("a query that sees no key gives zeros and gets zero gradient", "[ops]") {
  const auto q = randn<double>({2, 2, 5, 4}, Random(1)), k = randn<double>({2, 2, 7, 4}, Random(2));
  const auto v = randn<double>({2, 2, 7, 4}, Random(3));
  const auto no_bias = full<double>({2, 1, 1, 7}, 0.0);
  for (Index j = 7; j < 14; ++j) detail::writable(no_bias)[j] = -std::numeric_limits<double>::infinity();
  const AttentionOptions<double> by_mask{.key_mask = key_mask(2, 7, [](Index b, Index) { return b == 0; })};
  const AttentionOptions<double> by_bias{.bias = no_bias};
  for (const auto& options : {by_mask, by_bias}) {
    const auto f = [&](const std::vector<Tensor<double>>& x) {
      const auto y = scaled_dot_product_attention(x[0], x[1], x[2], options);
      return sum(y * y);
    };
    const auto y = scaled_dot_product_attention(q, k, v, options);
    for (Index i = 40; i < 80; ++i) CHECK(y.data()[i] == 0);
    const std::vector<Tensor<double>> x{q, k, v};
    const auto [gradient, second] = hvp(f, x, x);
    const auto plain = grad(f, x);
    for (std::size_t i = 0; i < 3; ++i) {
      CHECK(all_finite(plain[i]));
      CHECK(all_finite(gradient[i]));
      CHECK(all_finite(second[i]));
      double inside = 0, outside = 0;
      for (Index at = 0; at < x[i].count(); ++at) {
        double& part = at < x[i].count() / 2 ? inside : outside;
        part += std::abs(plain[i].data()[at]) + std::abs(gradient[i].data()[at]) + std::abs(second[i].data()[at]);
      }
      CHECK(inside > 0);
      CHECK(outside == 0);
    }
  }
  // With more queries than keys, the first queries of a causal attention see nothing.
  const auto few = scaled_dot_product_attention(q, times(k, 0, 2), times(v, 0, 2), {.causal = true});
  for (Index i = 0; i < 3; ++i) CHECK(few.at({1, 1, i, 0}) == 0);
  CHECK(few.at({1, 1, 3, 0}) == v.at({1, 1, 0, 0}));
}

TEST_CASE("causal attention: an output has zero gradient to what comes after it", "[ops]") {
  const Index time = 150;
  const std::vector<Tensor<float>> x{randn<float>({1, 2, time, 8}, Random(1)), randn<float>({1, 2, time, 8}, Random(2)),
                                     randn<float>({1, 2, time, 8}, Random(3))};
  for (bool kept_graph : {false, true})
    for (Index t : {0, 5, 63, 64, 127, 128, 149}) {
      const auto gradient = grad(
          [&](const std::vector<Tensor<float>>& v) {
            const auto y = scaled_dot_product_attention(v[0], v[1], v[2], {.causal = true});
            auto chosen = zeros<float>({1, 1, time, 1});
            detail::writable(chosen)[t] = 1;
            return sum(y * y * chosen);
          },
          x, {.create_graph = kept_graph});
      for (const auto& g : gradient) {
        double after = 0, before = 0;
        for (Index h = 0; h < 2; ++h)
          for (Index i = 0; i < time; ++i)
            for (Index d = 0; d < 8; ++d) (i > t ? after : before) += std::abs(g.at({0, h, i, d}));
        CHECK(after == 0);
        // With one key, its weight is 1 whatever the query and the key.
        if (t > 0) CHECK(before > 0);
      }
    }
}

TEST_CASE("attention does not depend on how much padding there is, nor on what it holds", "[ops]") {
  const Index batch = 2, real = 90;
  const auto q = randn<float>({batch, 2, 40, 8}, Random(1));
  const auto k = randn<float>({batch, 2, 200, 8}, Random(2)), v = randn<float>({batch, 2, 200, 8}, Random(3));
  const auto weight = randn<float>({batch, 2, 40, 8}, Random(4));
  const auto run = [&](Index keys, float content) {
    std::vector<Tensor<float>> x{q, times(k, 0, keys), times(v, 0, keys)};
    if (content != 0)
      for (int i : {1, 2})
        for (Index head = 0; head < batch * 2; ++head)
          for (Index at = (head * keys + real) * 8; at < (head + 1) * keys * 8; ++at)
            detail::writable(x[i])[at] = content;
    const AttentionOptions<float> options{.key_mask = key_mask(batch, keys, [&](Index, Index j) { return j < real; })};
    const auto f = [&](const std::vector<Tensor<float>>& y) {
      return sum(weight * scaled_dot_product_attention(y[0], y[1], y[2], options));
    };
    auto results = grad(f, x);
    results.push_back(scaled_dot_product_attention(x[0], x[1], x[2], options));
    for (int i : {1, 2}) {
      const auto& g = results[i];
      for (Index head = 0; head < batch * 2; ++head)
        for (Index at = (head * keys + real) * 8; at < (head + 1) * keys * 8; ++at) REQUIRE(g.data()[at] == 0);
      results[i] = times(g, 0, real);
    }
    return results;
  };
  const auto expected = run(real, 0);
  for (const auto& [keys, content] : {std::pair<Index, float>{91, 0.f},
                                      {200, 0.f},
                                      {200, 1e30f},
                                      {130, std::numeric_limits<float>::quiet_NaN()},
                                      {130, std::numeric_limits<float>::infinity()}}) {
    const auto padded = run(keys, content);
    for (std::size_t i = 0; i < expected.size(); ++i) CHECK(largest_difference(padded[i], expected[i]) == 0);
  }
}

TEST_CASE("attention without positions is equivariant", "[ops]") {
  const Index time = 100;
  const auto order = Random(9).permutation(time);
  const auto permuted = [&](const Tensor<double>& x) {
    const auto y = detail::fresh<double>(x.shape());
    for (Index head = 0; head < 2; ++head)
      for (Index i = 0; i < time; ++i)
        for (Index d = 0; d < 4; ++d) detail::writable(y)[(head * time + i) * 4 + d] = x.at({0, head, order[i], d});
    return y;
  };
  const auto q = randn<double>({1, 2, time, 4}, Random(1)), k = randn<double>({1, 2, time, 4}, Random(2));
  const auto v = randn<double>({1, 2, time, 4}, Random(3));
  const auto y = scaled_dot_product_attention(q, k, v);
  CHECK(largest_difference(scaled_dot_product_attention(permuted(q), k, v), permuted(y)) == 0);
  CHECK(largest_difference(scaled_dot_product_attention(q, permuted(k), permuted(v)), y) < 1e-14);
}

TEST_CASE("causal attention fed one token at a time equals the whole", "[ops]") {
  const auto q = randn<float>({2, 2, 140, 16}, Random(1)), k = randn<float>({2, 2, 140, 16}, Random(2));
  const auto v = randn<float>({2, 2, 140, 16}, Random(3));
  const auto whole = scaled_dot_product_attention(q, k, v, {.causal = true});
  for (Index t : {0, 1, 64, 128, 139}) {
    const auto token =
        scaled_dot_product_attention(times(q, t, t + 1), times(k, 0, t + 1), times(v, 0, t + 1), {.causal = true});
    CHECK(largest_difference(token, times(whole, t, t + 1)) == 0);
  }
}

TEST_CASE("attention with extreme scores stays finite", "[ops]") {
  // Scores of +-1e6: all weight on one key. 200 keys, so the running maximum jumps between blocks.
  const auto q = full<float>({1, 1, 1, 1}, 1.f);
  const auto k = arange<float>(200), v = arange<float>(200);
  const auto keys = reshape(k, {1, 1, 200, 1}), values = reshape(v, {1, 1, 200, 1});
  const auto run = [&](double scale) {
    return value_and_grad(
        [&](const std::vector<Tensor<float>>& x) {
          return sum(scaled_dot_product_attention(x[0], x[1], x[2], {.scale = scale}));
        },
        std::vector<Tensor<float>>{q, keys, values});
  };
  for (double scale : {1e4, -1e4, 1e30}) {
    const auto [value, gradient] = run(scale);
    CHECK(value.item() == (scale > 0 ? 199.f : 0.f));
    for (const auto& g : gradient) CHECK(all_finite(g));
    CHECK(gradient[2].data()[scale > 0 ? 199 : 0] == 1);
  }
  CHECK(run(0).first.item() == Approx(99.5));
}

TEST_CASE("a NaN in a query reaches its own row and no other", "[ops]") {
  auto q = randn<float>({1, 1, 100, 8}, Random(1));
  const auto k = randn<float>({1, 1, 150, 8}, Random(2)), v = randn<float>({1, 1, 150, 8}, Random(3));
  const auto clean = scaled_dot_product_attention(q, k, v);
  const auto dirty_q = from_span(q.span(), q.shape());
  detail::writable(dirty_q)[70 * 8 + 3] = std::numeric_limits<float>::quiet_NaN();
  const auto dirty = scaled_dot_product_attention(dirty_q, k, v);
  for (Index i = 0; i < 100; ++i)
    for (Index d = 0; d < 8; ++d) {
      if (i == 70)
        CHECK(std::isnan(dirty.at({0, 0, i, d})));
      else
        CHECK(dirty.at({0, 0, i, d}) == clean.at({0, 0, i, d}));
    }
}

TEST_CASE("attention and its gradient never store the matrix of scores", "[ops]") {
  const std::vector<Tensor<float>> x(3, randn<float>({1, 1, 4096, 8}, Random(1)));
  release_cached_memory();
  const Index before = memory_stats().system_bytes;
  const auto gradient =
      grad([](const std::vector<Tensor<float>>& v) { return sum(scaled_dot_product_attention(v[0], v[1], v[2])); }, x);
  CHECK(all_finite(gradient[0]));
  CHECK(memory_stats().system_bytes - before < 16'000'000);  // the scores alone would take 67 MB
}

TEST_CASE("split_heads and merge_heads undo one another", "[ops]") {
  const auto x = randn<float>({3, 7, 12}, Random(1));
  const auto heads = split_heads(x, 4);
  REQUIRE(heads.shape() == Shape{3, 4, 7, 3});
  CHECK(heads.at({2, 3, 6, 1}) == x.at({2, 6, 10}));
  CHECK(largest_difference(merge_heads(heads), x) == 0);
}
