// Places in a sequence: rotary positions (Su et al. 2021), ALiBi (Press et al., ICLR 2022), sinusoids (Vaswani et al.,
// NeurIPS 2017), segments of packed sequences; and heads that share keys and values (Ainslie et al., EMNLP 2023).

#include <array>
#include <cmath>

#include "catch.hpp"
#include "graft/model/check_gradients.hpp"
#include "graft/model/grad.hpp"
#include "graft/model/names.hpp"
#include "graft/nn/attention.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/rotary.hpp"
#include "graft/ops/softmax.hpp"
#include "layers.hpp"

using namespace graft;

namespace {

double product(const Tensor<double>& a, const Tensor<double>& b) { return sum(a * b).item(); }

}  // namespace

TEST_CASE("rotary positions are rotations", "[ops]") {
  const Random random(1);
  const Tensor<double> q = randn<double>({1, 16}, random.stream("q")), k = randn<double>({1, 16}, random.stream("k"));
  for (const RotaryLayout layout : {RotaryLayout::halves, RotaryLayout::interleaved}) {
    const RotaryOptions options{.layout = layout};
    SECTION(layout == RotaryLayout::halves ? "halves" : "interleaved") {
      // <R_m q, R_n k> for m - n = 5, wherever the two stand.
      const double expected = product(rotary(q, 5, options), k);
      for (const Index n : {1, 7, 100, 5000})
        CHECK(product(rotary(q, n + 5, options), rotary(k, n, options)) == Approx(expected).epsilon(1e-11));
      CHECK(product(rotary(q, 6, options), k) != Approx(expected).epsilon(1e-3));
      CHECK(same_bits(rotary(q, 0, options), q));
      for (const Index m : {1, 30, 1000})
        CHECK(product(rotary(q, m, options), rotary(q, m, options)) == Approx(product(q, q)).epsilon(1e-13));
      // Row t of a sequence is what its place alone gives.
      const Tensor<double> x = randn<double>({2, 9, 16}, random);
      const Tensor<double> whole = rotary(x, 3, options);
      for (const Index t : {0, 4, 8})
        CHECK(same_bits(slice(whole, 1, t, t + 1), rotary(slice(x, 1, t, t + 1), 3 + t, options)));
    }
  }
  SECTION("the two layouts are a permutation of one another") {
    const Tensor<double> x = randn<double>({5, 8}, random);
    const Tensor<std::int64_t> evens_first = tensor<std::int64_t>({0, 2, 4, 6, 1, 3, 5, 7});
    // Not to the bit: which of two products is rounded before their sum is the compiler's choice, loop by loop.
    CHECK(all_close(gather(rotary(x, 4, {.layout = RotaryLayout::interleaved}), evens_first, 1),
                    rotary(gather(x, evens_first, 1), 4), 1e-15, 1e-15));
  }
}

TEST_CASE("sinusoidal positions", "[nn]") {
  const Tensor<double> table = sinusoidal_positions<double>(40, 6);
  CHECK(table.at({0, 0}) == 0);
  CHECK(table.at({0, 5}) == 1);
  CHECK(table.at({7, 2}) == Approx(std::sin(7 * std::pow(10000, -2.0 / 6))).epsilon(1e-14));
  CHECK(same_bits(sinusoidal_positions<double>(10, 6, 30), slice(table, 0, 30, 40)));
  // PE(p + k) is a rotation of PE(p) that depends on k alone: pair by pair by the angle k base^(-2 i / width).
  const Index k = 11;
  for (const Index p : {0, 3, 28})
    for (Index i = 0; i < 3; ++i) {
      const double angle = static_cast<double>(k) * std::pow(10000, -2.0 * static_cast<double>(i) / 6);
      const double s = table.at({p, 2 * i}), c = table.at({p, 2 * i + 1});
      CHECK(table.at({p + k, 2 * i}) == Approx(s * std::cos(angle) + c * std::sin(angle)).margin(1e-13));
      CHECK(table.at({p + k, 2 * i + 1}) == Approx(c * std::cos(angle) - s * std::sin(angle)).margin(1e-13));
    }
  CHECK_THROWS_WITH(sinusoidal_positions(4, 5), contains("sinusoidal_positions: width is 5"));
}

TEST_CASE("ALiBi", "[nn]") {
  SECTION("slopes of 8 heads are 1/2 .. 1/256, those of 16 begin with 2^(-1/2)") {
    const Tensor<double> slopes = alibi_slopes<double>(8);
    for (Index h = 0; h < 8; ++h) CHECK(slopes.at({h}) == std::exp2(-static_cast<double>(h + 1)));
    CHECK(alibi_slopes<double>(16).at({0}) == Approx(std::sqrt(0.5)).epsilon(1e-15));
    CHECK(alibi_slopes<double>(1).at({0}) == std::exp2(-8));
  }
  SECTION("of 12 heads: those of 8, then every other one of 16") {
    // get_slopes(12) of the authors' code: get_slopes_power_of_2(8) + get_slopes(16)[0::2][:4].
    const Tensor<double> slopes = alibi_slopes<double>(12), of_16 = alibi_slopes<double>(16);
    for (Index h = 0; h < 8; ++h) CHECK(slopes.at({h}) == std::exp2(-static_cast<double>(h + 1)));
    for (Index h = 8; h < 12; ++h) CHECK(slopes.at({h}) == Approx(of_16.at({2 * (h - 8)})).epsilon(1e-15));
    CHECK_THROWS_WITH(alibi_slopes(0), contains("alibi_slopes: 0 heads"));
  }
  const Random random(2);
  const Tensor<double> q = randn<double>({2, 4, 5, 6}, random.stream("q"));
  const Tensor<double> k = randn<double>({2, 4, 9, 6}, random.stream("k"));
  SECTION("slopes of 0 change no bit") {
    CHECK(same_bits(scaled_dot_product_attention(q, k, k, {.slopes = zeros<double>({4})}),
                    scaled_dot_product_attention(q, k, k)));
  }
  SECTION("is the bias -slope |i - j| written out, the last query at the last key") {
    const Tensor<double> slopes = alibi_slopes<double>(4);
    const Tensor<double> bias = generate({4, 5, 9}, [&](Index h, Index i, Index j) {
      return -slopes.at({h}) * std::abs(static_cast<double>(i + 4 - j));
    });
    for (const bool causal : {false, true})
      CHECK(all_close(scaled_dot_product_attention(q, k, k, {.causal = causal, .slopes = slopes}),
                      scaled_dot_product_attention(q, k, k, {.causal = causal, .bias = bias}), 1e-12, 1e-12));
  }
}

TEST_CASE("segments of packed sequences do not see one another", "[nn]") {
  const Random random(3);
  const Tensor<std::int64_t> segments = tensor<std::int64_t>({{0, 0, 0, 1, 1, -1}, {0, 1, 1, 1, 1, 1}});
  const Tensor<bool> mask = block_mask(segments);
  CHECK(mask.shape() == Shape{2, 1, 6, 6});
  CHECK(mask.at({0, 0, 4, 3}));
  CHECK_FALSE(mask.at({0, 0, 3, 2}));
  CHECK_FALSE(mask.at({0, 0, 5, 5}));
  const MultiHeadAttention<double> layer(8, 2, random, {.rotary = RotaryOptions()});
  const Tensor<double> x = randn<double>({2, 6, 8}, random.stream("x"));
  const Tensor<double> packed = layer(x, {.causal = true, .mask = mask}, Context());
  const auto alone = [&](Index row, Index begin, Index end) {
    return layer(slice(slice(x, 0, row, row + 1), 1, begin, end), {.causal = true}, Context());
  };
  const auto of_packed = [&](Index row, Index begin, Index end) {
    return slice(slice(packed, 0, row, row + 1), 1, begin, end);
  };
  // Rotary positions need not begin anew in every segment: they act by differences.
  CHECK(all_close(of_packed(0, 0, 3), alone(0, 0, 3), 1e-11, 1e-11));
  CHECK(all_close(of_packed(0, 3, 5), alone(0, 3, 5), 1e-11, 1e-11));
  CHECK(all_close(of_packed(1, 1, 6), alone(1, 1, 6), 1e-11, 1e-11));
  CHECK_THROWS_WITH(block_mask(tensor<std::int64_t>({1, 2})), contains("block_mask") && contains("segments [2]"));
}

TEST_CASE("heads that share keys and values", "[nn]") {
  const Random random(4);
  const Tensor<float> q = randn({2, 6, 50, 8}, random.stream("q")), k = randn({2, 2, 70, 8}, random.stream("k"));
  const Tensor<float> v = randn({2, 2, 70, 5}, random.stream("v"));
  SECTION("give what copies of them give, bit for bit") {
    for (const bool causal : {false, true})
      CHECK(same_bits(scaled_dot_product_attention(q, k, v, {.causal = causal}),
                      scaled_dot_product_attention(q, repeat(k, 3, 1), repeat(v, 3, 1), {.causal = causal})));
  }
  SECTION("over several groups of keys get the gradients of the formula") {
    const std::vector<Tensor<double>> x{randn<double>({1, 4, 150, 6}, Random(1)),
                                        randn<double>({1, 2, 1100, 6}, Random(2)),
                                        randn<double>({1, 2, 1100, 4}, Random(3))};
    const auto loss = [](const std::vector<Tensor<double>>& at) {
      return sum(square(scaled_dot_product_attention(at[0], at[1], at[2], {.slopes = alibi_slopes<double>(4)})));
    };
    const auto fused = grad(loss, x), formula = grad(loss, x, {.create_graph = true});
    for (std::size_t i = 0; i < x.size(); ++i) CHECK(all_close(fused[i], formula[i], 1e-11, 1e-11));
  }
  SECTION("in the layer: as many heads of keys with equal rows") {
    const MultiHeadAttention<double> shared(8, 4, random, {.key_heads = 2});
    CHECK(names(shared) == Names{"in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"});
    CHECK(shared.in_proj_weight.shape() == Shape{16, 8});
    MultiHeadAttention<double> full(8, 4, random);
    const auto rows = [&](Index begin) {  // two heads of depth 2, each twice
      const Tensor<double> own = reshape(slice(shared.in_proj_weight, 0, begin, begin + 4), {2, 2, 8});
      return reshape(repeat(own, 2, 0), {8, 8});
    };
    full.in_proj_weight = concat<double>({slice(shared.in_proj_weight, 0, 0, 8), rows(8), rows(12)}, 0);
    full.out_proj = shared.out_proj;
    const Tensor<double> x = randn<double>({2, 5, 8}, random.stream("x"));
    CHECK(all_close(shared(x, Context()), full(x, Context()), 1e-12, 1e-12));
    CHECK_THROWS_WITH((MultiHeadAttention<>(8, 4, random, {.key_heads = 3})), contains("3 heads of keys and values"));
  }
}

TEST_CASE("attention to a memory of another width", "[nn]") {
  const Random random(5);
  const MultiHeadAttention<double> layer(8, 2, random, {.memory_width = 6});
  // Names of torch.nn.MultiheadAttention(8, 2, kdim=6, vdim=6).
  CHECK(names(layer) ==
        Names{"in_proj_bias", "out_proj.weight", "out_proj.bias", "q_proj_weight", "k_proj_weight", "v_proj_weight"});
  CHECK(layer.k_proj_weight->shape() == Shape{8, 6});
  const Tensor<double> x = randn<double>({2, 3, 8}, random.stream("x")), memory = randn<double>({2, 5, 6}, random);
  const Tensor<double> y = layer(x, memory, memory, Context());
  // As with keys and values of the full width, of which only six columns are used.
  MultiHeadAttention<double> wide(8, 2, random);
  wide.in_proj_weight =
      concat<double>({*layer.q_proj_weight, pad(*layer.k_proj_weight, 1, 0, 2), pad(*layer.v_proj_weight, 1, 0, 2)}, 0);
  wide.out_proj = layer.out_proj;
  const Tensor<double> padded = pad(memory, 2, 0, 2);
  CHECK(all_close(y, wide(x, padded, padded, Context()), 1e-12, 1e-12));
  const auto result = check_gradients([&](const auto& m) { return mean(square(m(x, memory, memory, Context()))); },
                                      layer, {.orders = 3});
  CHECK(result.passed);
  CHECK_THROWS_WITH(layer(x, Context()), contains("MultiHeadAttention") && contains("key [2, 3, 8]"));
}

TEST_CASE("attention layers with positions", "[nn]") {
  const Random random(6);
  const Tensor<double> x = randn<double>({2, 5, 8}, random.stream("x"));
  const MultiHeadAttention<double> turned(8, 2, random, {.key_heads = 1, .rotary = RotaryOptions()});
  const MultiHeadAttention<double> sloped(8, 2, random, {.alibi = true}), plain(8, 2, random);
  SECTION("see the order of the tokens") {
    const Tensor<std::int64_t> order = tensor<std::int64_t>({2, 0, 3, 1, 4});
    for (const auto& layer : {turned, sloped})
      CHECK_FALSE(all_close(layer(gather(x, order, 1), Context()), gather(layer(x, Context()), order, 1), 1e-4, 1e-4));
  }
  SECTION("one head of rotary positions, written out") {
    MultiHeadAttention<double> one(4, 1, random, {.bias = false, .rotary = RotaryOptions{.base = 100}});
    one.in_proj_weight = concat<double>({eye<double>(4), eye<double>(4), eye<double>(4)}, 0);
    one.out_proj.weight = eye<double>(4);
    const Tensor<double> v = randn<double>({6, 4}, random), r = rotary(v, 0, {.base = 100});
    CHECK(all_close(one(v, Context()), matmul(softmax(matmul(r, r, {.transpose_b = true}) / 2.0), v), 1e-12, 1e-12));
  }
  SECTION("gradients to the third order equal differences") {
    for (const auto& layer : {turned, sloped})
      CHECK(check_gradients([&](const auto& m) { return mean(square(m(x, {.causal = true}, Context()))); }, layer,
                            {.orders = 3})
                .passed);
  }
  SECTION("count from the last key, so a part of the keys is refused; a head has an even depth") {
    CHECK_THROWS_WITH(turned(x, {.keys = 3}, Context()), contains("keys cannot be used with positions"));
    CHECK_THROWS_WITH((MultiHeadAttention<>(6, 2, random, {.rotary = RotaryOptions()})),
                      contains("turn 3 of the 3 numbers"));
    CHECK(same_bits(plain(x, {.keys = 5}, Context()), plain(x, Context())));
  }
}
