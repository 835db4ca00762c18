// Rows of the op table: scaled dot-product attention, and the splitting of heads. The reference is the formula with one
// exp a query and key, in double, without a running maximum.

#include <algorithm>
#include <cmath>
#include <limits>

#include "graft/ops/attention.hpp"
#include "op_table.hpp"

using namespace graft;

namespace {

/// Every third key of every sample but the first is masked, and all keys of the last of several samples.
Tensor<bool> some_keys(const Shape& k) {
  Tensor<bool> mask = detail::fresh<bool>({k[0], k[2]});
  for (Index b = 0; b < k[0]; ++b)
    for (Index j = 0; j < k[2]; ++j)
      detail::writable(mask)[b * k[2] + j] = b == 0 || (b + 1 < k[0] && (j + b) % 3 != 0);
  return mask;
}

/// Does a query see a key? The first query of the last head sees none.
bool sees(Index b, Index h, Index heads, Index i, Index j) {
  return (b + 2 * h + 3 * i + 5 * j) % 4 != 0 && !(h + 1 == heads && i == 0);
}
/// `sees` as a mask for all samples, or for all heads.
enum class ByQuery { none, head, sample };
Tensor<bool> some_pairs(ByQuery kind, const Shape& q, const Shape& k) {
  const Index batch = kind == ByQuery::sample ? q[0] : 1, heads = kind == ByQuery::head ? q[1] : 1;
  const Tensor<bool> mask = detail::fresh<bool>({batch, heads, q[2], k[2]});
  bool* to = detail::writable(mask);
  for (Index b = 0; b < batch; ++b)
    for (Index h = 0; h < heads; ++h)
      for (Index i = 0; i < q[2]; ++i)
        for (Index j = 0; j < k[2]; ++j) *to++ = sees(b, h, heads, i, j);
  return mask;
}

struct Case {
  bool causal = false, masked = false;
  double scale = 0;  // 0: 1 / sqrt(depth)
  double dropout = 0;
  ByQuery by_query = ByQuery::none;
  bool sloped = false;
};

/// A slope a head, of both signs.
template <class T>
Tensor<T> some_slopes(Index heads) {
  return generate({heads}, [](Index head) { return static_cast<T>(0.3 - 0.25 * static_cast<double>(head)); });
}

template <class T>
AttentionOptions<T> attention_options(Case c, const Tensor<T>& q, const Tensor<T>& k) {
  AttentionOptions<T> options{.causal = c.causal, .dropout = c.dropout, .random = Random(3).stream("weights")};
  if (c.scale != 0) options.scale = c.scale;
  if (c.masked) options.key_mask = some_keys(k.shape());
  if (c.by_query != ByQuery::none) options.mask = some_pairs(c.by_query, q.shape(), k.shape());
  if (c.sloped) options.slopes = some_slopes<T>(q.size(1));
  return options;
}

/// x = q, k, v and perhaps a bias.
auto attention_reference(Case c) {
  return [c](const Arrays& x) {
    const Shape q = x[0].shape(), k = x[1].shape(), v = x[2].shape(), scores{q[0], q[1], q[2], k[2]};
    const double scale = c.scale != 0 ? c.scale : 1 / std::sqrt(static_cast<double>(q[3]));
    const Tensor<bool> mask = some_keys(k);
    const Tensor<double> slopes = some_slopes<double>(q[1]);
    const Index shared = k[1] > 0 ? q[1] / k[1] : 1;  // heads in a row that share keys and values
    // The numbers of `dropout`, which has rows of its own, on ones.
    const Tensor<double> dropout_factors = dropout(ones<double>(scores), c.dropout, Random(3).stream("weights"));
    std::vector<double> out;
    std::vector<double> weights(k[2]);
    constexpr double unseen = -std::numeric_limits<double>::infinity();
    for (Index b = 0; b < q[0]; ++b)
      for (Index h = 0; h < q[1]; ++h)
        for (Index i = 0; i < q[2]; ++i) {
          double peak = unseen, total = 0;
          for (Index j = 0; j < k[2]; ++j) {
            const Index flat = ((b * q[1] + h) * q[2] + i) * k[2] + j;
            double score = 0;
            for (Index d = 0; d < q[3]; ++d) score += scale * x[0].at({b, h, i, d}) * x[1].at({b, h / shared, j, d});
            if (c.sloped) score -= slopes.at({h}) * std::abs(static_cast<double>(i + k[2] - q[2] - j));
            if (x.size() > 3)
              score += x[3].data()[broadcast_offset(static_cast<std::size_t>(flat), scores, x[3].shape())];
            bool seen = (!c.causal || j + q[2] <= i + k[2]) && (!c.masked || mask.at({b, j}));
            if (c.by_query == ByQuery::head) seen &= sees(0, h, q[1], i, j);
            if (c.by_query == ByQuery::sample) seen &= sees(b, 0, 1, i, j);
            weights[j] = seen ? score : unseen;
            if (seen) peak = std::max(peak, score);
          }
          for (Index j = 0; j < k[2]; ++j) {
            double& weight = weights[j];
            weight = weight == unseen ? 0 : std::exp(weight - peak);
            total += weight;
            if (c.dropout > 0) weight *= dropout_factors.data()[((b * q[1] + h) * q[2] + i) * k[2] + j];
          }
          for (Index d = 0; d < v[3]; ++d) {
            double sum = 0;
            for (Index j = 0; j < k[2]; ++j) sum += weights[j] * x[2].at({b, h / shared, j, d});
            out.push_back(total == 0 ? 0 : sum / total);
          }
        }
    return array({q[0], q[1], q[2], v[3]}, out);
  };
}

OpRow attention_row(const char* name, Case c, std::vector<Input> inputs) {
  OpRow row{.name = name,
            .family = "attention",
            .call =
                [c](const auto& x) {
                  auto options = attention_options(c, x[0], x[1]);
                  if (x.size() > 3) options.bias = x[3];
                  return scaled_dot_product_attention(x[0], x[1], x[2], options);
                },
            .inputs = std::move(inputs),
            .reference = attention_reference(c),
            .rounding = {.products = {0, 1, 2}, .because = "scores and their gradients are sums of products"}};
  if (row.inputs.size() > 3) {
    row.rounding.sums = {3};
    row.rounding.because += ", rounded once more by adding the bias";
  }
  for (std::size_t i : {0, 1}) {
    row.inputs[i].never = kHuge;
    row.inputs[i].because = "scores and their gradients leave the range";
  }
  if (c.causal || c.by_query != ByQuery::none)
    for (Input& input : row.inputs) input.spreads = "keys that a query does not see are multiplied by 0";
  row.float_tolerance = 5e-6;
  return row;
}

std::vector<OpRow> attention_rows() {
  const std::vector<Input> plain = {{{2, 3, 5, 4}}, {{2, 3, 7, 4}}, {{2, 3, 7, 6}}};
  const std::vector<Input> equal = {{{2, 2, 5, 4}}, {{2, 2, 5, 4}}, {{2, 2, 5, 4}}};
  const auto with_bias = [](std::vector<Input> inputs, Shape bias) {
    inputs.push_back({bias});
    return inputs;
  };
  std::vector<OpRow> rows;
  OpRow row = attention_row("scaled_dot_product_attention", {}, plain);
  row.variants = {{{0, 3, 5, 4}, {0, 3, 7, 4}, {0, 3, 7, 6}}, {{1, 1, 0, 4}, {1, 1, 7, 4}, {1, 1, 7, 4}},
                  {{1, 2, 3, 4}, {1, 2, 0, 4}, {1, 2, 0, 4}}, {{1, 2, 3, 4}, {1, 2, 7, 4}, {1, 2, 7, 0}},
                  {{1, 1, 1, 1}, {1, 1, 1, 1}, {1, 1, 1, 1}}, {{1, 1, 70, 3}, {1, 1, 150, 3}, {1, 1, 150, 17}}};
  row.large = {{3, 2, 100, 16}, {3, 2, 140, 16}, {3, 2, 140, 16}};
  row.rows_of = {0, 1, 2};
  row.errors = {
      bad<ShapeError>([](const auto& x) { scaled_dot_product_attention(x[0], x[2], x[1]); }),
      bad<ShapeError>([](const auto& x) {
        scaled_dot_product_attention(reshape(x[0], {6, 5, 4}), x[1], x[2]);
      }),
      bad<ShapeError>(
          [](const auto& x) { scaled_dot_product_attention(x[0], x[1], x[2], {.key_mask = some_keys(x[0].shape())}); },
          "mask"),
      bad<ShapeError>(
          [](const auto& x) {
            scaled_dot_product_attention(x[0], x[1], x[2],
                                         {.mask = some_pairs(ByQuery::head, x[1].shape(), x[0].shape())});
          },
          "mask [1, 3, 7, 5]"),
      bad<ShapeError>(
          [](const auto& x) { scaled_dot_product_attention(x[0], x[1], x[2], {.mask = detail::fresh<bool>({7})}); },
          "mask [7]"),
      bad<ShapeError>([](const auto& x) { scaled_dot_product_attention(x[0], x[1], x[2], {.bias = x[0]}); }, "bias"),
      bad<ShapeError>([](const auto& x) { scaled_dot_product_attention(x[0], repeat(x[1], 2, 1), repeat(x[2], 2, 1)); },
                      "key_heads dividing heads"),
      bad<ShapeError>([](const auto& x) { scaled_dot_product_attention(x[0], slice(x[1], 1, 0, 1), x[2]); }, "k [2, 1"),
      bad<ShapeError>(
          [](const auto& x) {
            scaled_dot_product_attention(x[0], x[1], x[2], {.slopes = some_slopes<ScalarOf<decltype(x)>>(4)});
          },
          "slopes [4]"),
      bad<ValueError>([](const auto& x) { scaled_dot_product_attention(x[0], x[1], x[2], {.dropout = 1}); })};
  rows.push_back(row);

  row = attention_row("scaled_dot_product_attention, causal", {.causal = true}, equal);
  row.variants = {{{1, 1, 7, 3}, {1, 1, 4, 3}, {1, 1, 4, 3}},
                  {{1, 1, 3, 3}, {1, 1, 9, 3}, {1, 1, 9, 3}},
                  {{1, 1, 150, 2}, {1, 1, 150, 2}, {1, 1, 150, 2}}};
  row.large = {{3, 2, 140, 16}, {3, 2, 140, 16}, {3, 2, 140, 16}};
  rows.push_back(row);

  row = attention_row("scaled_dot_product_attention, key mask", {.masked = true, .scale = -0.7},
                      {{{3, 2, 4, 3}}, {{3, 2, 6, 3}}, {{3, 2, 6, 3}}});
  row.large = {{4, 2, 100, 8}, {4, 2, 140, 8}, {4, 2, 140, 8}};
  rows.push_back(row);

  row = attention_row("scaled_dot_product_attention, bias", {}, with_bias(plain, {3, 5, 7}));
  row.large = {{2, 3, 80, 8}, {2, 3, 140, 8}, {2, 3, 140, 8}, {3, 80, 140}};
  rows.push_back(row);
  row = attention_row("scaled_dot_product_attention, bias of a key", {.masked = true},
                      with_bias({{{3, 2, 4, 3}}, {{3, 2, 6, 3}}, {{3, 2, 6, 3}}}, {3, 1, 1, 6}));
  row.large = {{3, 2, 80, 8}, {3, 2, 140, 8}, {3, 2, 140, 8}, {3, 1, 1, 140}};
  rows.push_back(row);
  row = attention_row("scaled_dot_product_attention, bias of a query, causal", {.causal = true},
                      with_bias(equal, {5, 1}));
  row.large = {{3, 2, 140, 8}, {3, 2, 140, 8}, {3, 2, 140, 8}, {140, 1}};
  rows.push_back(row);

  row = attention_row("scaled_dot_product_attention, dropout", {.causal = true, .dropout = 0.4}, equal);
  row.large = {{3, 2, 140, 16}, {3, 2, 140, 16}, {3, 2, 140, 16}};
  rows.push_back(row);

  row = attention_row("scaled_dot_product_attention, mask by head and query", {.by_query = ByQuery::head}, plain);
  row.variants = {{{1, 1, 3, 4}, {1, 1, 1, 4}, {1, 1, 1, 2}}, {{1, 2, 70, 3}, {1, 2, 150, 3}, {1, 2, 150, 5}}};
  row.large = {{3, 2, 100, 16}, {3, 2, 140, 16}, {3, 2, 140, 16}};
  row.rows_of = {0, 1, 2};
  rows.push_back(row);
  row = attention_row("scaled_dot_product_attention, all masks and a bias",
                      {.causal = true, .masked = true, .dropout = 0.2, .by_query = ByQuery::sample},
                      with_bias({{{3, 2, 5, 4}}, {{3, 2, 7, 4}}, {{3, 2, 7, 6}}}, {2, 1, 7}));
  row.large = {{3, 2, 100, 8}, {3, 2, 140, 8}, {3, 2, 140, 8}, {2, 1, 140}};
  rows.push_back(row);

  row =
      attention_row("scaled_dot_product_attention, shared keys", {}, {{{2, 6, 5, 4}}, {{2, 2, 7, 4}}, {{2, 2, 7, 3}}});
  row.variants = {{{1, 4, 3, 2}, {1, 1, 5, 2}, {1, 1, 5, 2}},
                  {{2, 0, 3, 2}, {2, 0, 5, 2}, {2, 0, 5, 2}},
                  {{1, 4, 70, 3}, {1, 2, 150, 3}, {1, 2, 150, 5}}};
  row.large = {{3, 4, 100, 16}, {3, 2, 140, 16}, {3, 2, 140, 16}};
  row.rows_of = {0, 1, 2};
  rows.push_back(row);
  row = attention_row("scaled_dot_product_attention, shared keys, masks and a bias",
                      {.causal = true, .masked = true, .dropout = 0.2, .by_query = ByQuery::head},
                      with_bias({{{3, 4, 5, 4}}, {{3, 2, 7, 4}}, {{3, 2, 7, 6}}}, {4, 1, 7}));
  row.large = {{3, 4, 100, 8}, {3, 2, 140, 8}, {3, 2, 140, 8}, {4, 1, 140}};
  rows.push_back(row);
  row = attention_row("scaled_dot_product_attention, slopes", {.sloped = true}, plain);
  row.variants = {{{1, 1, 3, 4}, {1, 1, 1, 4}, {1, 1, 1, 2}}, {{1, 2, 70, 3}, {1, 2, 150, 3}, {1, 2, 150, 5}}};
  row.large = {{3, 2, 100, 16}, {3, 2, 140, 16}, {3, 2, 140, 16}};
  rows.push_back(row);
  row = attention_row("scaled_dot_product_attention, slopes, causal, shared keys", {.causal = true, .sloped = true},
                      {{{2, 4, 5, 4}}, {{2, 2, 5, 4}}, {{2, 2, 5, 4}}});
  row.large = {{2, 4, 140, 8}, {2, 2, 140, 8}, {2, 2, 140, 8}};
  rows.push_back(row);

  // Squared, so that orders above the first are not all zero.
  rows.push_back(
      {.name = "split_heads",
       .family = "attention",
       .call = [](const auto& x) { return split_heads(x[0] * x[0], 2); },
       .inputs = {{{2, 3, 4}}},
       .reference =
           [](const Arrays& x) {
             const Shape s = x[0].shape();
             std::vector<double> out;
             for (Index b = 0; b < s[0]; ++b)
               for (Index h = 0; h < 2; ++h)
                 for (Index t = 0; t < s[1]; ++t)
                   for (Index d = 0; d < s[2] / 2; ++d) {
                     const double number = x[0].at({b, t, h * (s[2] / 2) + d});
                     out.push_back(number * number);
                   }
             return array({s[0], 2, s[1], s[2] / 2}, out);
           },
       .variants = {{{0, 3, 4}}, {{1, 1, 2}}, {{1, 2, 0}}},
       .large = {{8, 300, 64}},
       .errors = {bad<ShapeError>([](const auto& x) { split_heads(x[0], 3); }), bad<ShapeError>([](const auto& x) {
                    split_heads(reshape(x[0], {6, 4}), 2);
                  })}});
  rows.push_back({.name = "merge_heads",
                  .family = "attention",
                  .call = [](const auto& x) { return merge_heads(x[0] * x[0]); },
                  .inputs = {{{2, 3, 4, 2}}},
                  .reference =
                      [](const Arrays& x) {
                        const Shape s = x[0].shape();
                        std::vector<double> out;
                        for (Index b = 0; b < s[0]; ++b)
                          for (Index t = 0; t < s[2]; ++t)
                            for (Index h = 0; h < s[1]; ++h)
                              for (Index d = 0; d < s[3]; ++d)
                                out.push_back(x[0].at({b, h, t, d}) * x[0].at({b, h, t, d}));
                        return array({s[0], s[2], s[1] * s[3]}, out);
                      },
                  .variants = {{{0, 3, 4, 2}}, {{1, 1, 1, 1}}, {{1, 2, 3, 0}}},
                  .large = {{8, 4, 300, 16}},
                  .errors = {bad<ShapeError>([](const auto& x) {
                    merge_heads(reshape(x[0], {6, 4, 2}));
                  })}});
  return rows;
}

const bool added = add_op_rows(attention_rows());

}  // namespace
