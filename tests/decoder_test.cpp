// Transformer blocks beyond the encoder's usual form: decoders (Vaswani et al., NeurIPS 2017), gated perceptrons
// (Shazeer 2020), RMS norms (Zhang, Sennrich, NeurIPS 2019), stochastic depth (Huang et al., ECCV 2016), and the cache
// of keys and values, which must not change a result.

#include <cmath>

#include "catch.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/model/check_gradients.hpp"
#include "graft/model/grad.hpp"
#include "graft/model/names.hpp"
#include "graft/nn/decoder.hpp"
#include "layers.hpp"

using namespace graft;

namespace {

template <class T>
Tensor<T> tokens(const Tensor<T>& x, Index begin, Index end) {
  return slice(x, 1, begin, end);
}

}  // namespace

TEST_CASE("Transformer decoder layer", "[nn]") {
  const Random random(1);
  const Tensor<double> x = randn<double>({2, 4, 8}, random.stream("x"));
  const Tensor<double> memory = randn<double>({2, 5, 8}, random.stream("memory"));
  const TransformerDecoderLayer<double> post(8, 2, 12, random);
  const TransformerDecoderLayer<double> pre(8, 2, 12, random, {.activation = Activation::gelu, .norm_first = true});
  // names of torch.nn.TransformerDecoderLayer(8, 2, 12).
  CHECK(names(post) == Names{"self_attn.in_proj_weight", "self_attn.in_proj_bias", "self_attn.out_proj.weight",
                             "self_attn.out_proj.bias", "multihead_attn.in_proj_weight", "multihead_attn.in_proj_bias",
                             "multihead_attn.out_proj.weight", "multihead_attn.out_proj.bias", "linear1.weight",
                             "linear1.bias", "linear2.weight", "linear2.bias", "norm1.weight", "norm1.bias",
                             "norm2.weight", "norm2.bias", "norm3.weight", "norm3.bias"});
  Context context;
  SECTION("the two forms, written out") {
    const Tensor<double> h = post.norm1(x + post.self_attn(x, {.causal = true}, context));
    const Tensor<double> k = post.norm2(h + post.multihead_attn(h, memory, memory, context));
    CHECK(all_close(post(x, memory, context), post.norm3(k + post.linear2(relu(post.linear1(k)))), 1e-12, 1e-12));
    const Tensor<double> a = x + pre.self_attn(pre.norm1(x), {.causal = true}, context);
    const Tensor<double> b = a + pre.multihead_attn(pre.norm2(a), memory, memory, context);
    CHECK(all_close(pre(x, memory, context), b + pre.linear2(gelu(pre.linear1(pre.norm3(b)))), 1e-12, 1e-12));
  }
  SECTION("branches that give 0 leave the identity (pre-norm)") {
    TransformerDecoderLayer<double> silent = pre;
    silent.self_attn.out_proj = zeros_like(silent.self_attn.out_proj);
    silent.multihead_attn.out_proj = zeros_like(silent.multihead_attn.out_proj);
    silent.linear2 = zeros_like(silent.linear2);
    CHECK(same_bits(silent(x, memory, context), x));
    const TransformerDecoderLayer<double> gated(8, 2, 12, random, {.norm_first = true, .gate = 0});
    CHECK(same_bits(gated(x, memory, context), x));
    CHECK(names(gated).back() == "gate3");
  }
  SECTION("causal: no gradient from a result to later tokens, some to all of the memory") {
    const auto loss = [&](const std::vector<Tensor<double>>& at) {
      return sum(square(tokens(pre(at[0], at[1], context), 1, 2)));
    };
    const auto gradient = grad(loss, std::vector{x, memory});
    CHECK(largest(tokens(gradient[0], 2, 4)) == 0);
    CHECK(largest(tokens(gradient[0], 0, 2)) > 0);
    for (Index t = 0; t < 5; ++t) CHECK(largest(tokens(gradient[1], t, t + 1)) > 0);
  }
  SECTION("padding of the memory does not matter, whatever it holds") {
    const Tensor<bool> seen = tensor<bool>({{true, true, true, false, false}, {true, true, true, false, false}});
    Tensor<double> other = concat<double>({tokens(memory, 0, 3), full<double>({2, 2, 8}, 1e9)}, 1);
    const DecoderMask<double> mask{.memory = {.key_mask = seen}};
    CHECK(same_bits(post(x, memory, mask, context), post(x, other, mask, context)));
    CHECK(all_close(post(x, memory, mask, context), post(x, tokens(memory, 0, 3), context), 1e-12, 1e-12));
  }
  SECTION("gradients to the third order equal differences") {
    for (const auto& layer :
         {pre, TransformerDecoderLayer<double>(8, 2, 0, random,
                                               {.activation = Activation::silu, .glu = true, .norm = NormKind::rms})}) {
      const auto result =
          check_gradients([&](const auto& m) { return mean(square(m(x, memory, Context()))); }, layer, {.orders = 3});
      INFO(result.errors[0] << ' ' << result.errors[1] << ' ' << result.errors[2]);
      CHECK(result.passed);
    }
  }
  SECTION("errors name the part") {
    CHECK_THROWS_WITH(
        post(x, zeros<double>({2, 5, 7}), context),
        contains("TransformerDecoderLayer > multihead_attn > MultiHeadAttention") && contains("decoder_test.cpp"));
  }
}

TEST_CASE("blocks with gated perceptrons and RMS norms", "[nn]") {
  const Random random(2);
  const Tensor<double> x = randn<double>({2, 4, 6}, random.stream("x"));
  const TransformerEncoderLayer<double> block(
      6, 2, 0, random,
      {.activation = Activation::silu, .glu = true, .norm_first = true, .norm = NormKind::rms, .bias = false});
  CHECK(names(block) == Names{"self_attn.in_proj_weight", "self_attn.out_proj.weight", "linear1.weight",
                              "linear2.weight", "linear_gate.weight", "norm1.weight", "norm2.weight"});
  // 8/3 of 6 is 16; of 384, 1024; of 64, 170.67, rounded up to 176.
  CHECK(block.linear1.weight.shape() == Shape{16, 6});
  CHECK(usual_hidden(384, true) == 1024);
  CHECK(usual_hidden(64, true) == 176);
  CHECK(usual_hidden(64, false) == 256);
  SECTION("written out") {
    const auto norm = [](const Tensor<double>& v) { return v / sqrt(mean(square(v), {-1}, true) + 1e-5); };
    const Tensor<double> h = x + block.self_attn(norm(x), Context()), n = norm(h);
    const Tensor<double> gate = (*block.linear_gate)(n);
    CHECK(all_close(block(x, Context()), h + block.linear2(gate * sigmoid(gate) * block.linear1(n)), 1e-12, 1e-12));
  }
  SECTION("the other gates") {
    const auto with = [&](Activation activation, auto function) {
      TransformerEncoderLayer<double> other(6, 2, 16, random,
                                            {.activation = activation, .glu = true, .norm_first = true});
      const Tensor<double> h = x + other.self_attn(other.norm1(x), Context()), n = other.norm2(h);
      CHECK(all_close(other(x, Context()), h + other.linear2(function((*other.linear_gate)(n)) * other.linear1(n)),
                      1e-12, 1e-12));
    };
    with(Activation::gelu, [](const auto& v) { return gelu(v); });
    with(Activation::gelu_tanh, [](const auto& v) { return gelu_tanh(v); });
    with(Activation::relu, [](const auto& v) { return relu(v); });
    with(Activation::sigmoid, [](const auto& v) { return sigmoid(v); });
  }
  SECTION("an RMS norm does not see the scale of its input, but for eps") {
    BlockNorm<double> norm(6, {.norm = NormKind::rms, .eps = 0});
    CHECK(all_close(norm(1000.0 * x), norm(x), 1e-12, 1e-12));
  }
  SECTION("gradients to the third order equal differences") {
    CHECK(check_gradients([&](const auto& m) { return mean(square(m(x, Context()))); }, block, {.orders = 3}).passed);
  }
}

TEST_CASE("stochastic depth", "[nn]") {
  const Random random(3);
  SECTION("leaves out whole samples, and keeps the expectation") {
    const StochasticDepth depth{0.3};
    const Tensor<double> x = ones<double>({4000, 2, 3});
    Context context = training();
    const Tensor<double> y = depth(x, context);
    Index kept = 0;
    for (Index i = 0; i < 4000; ++i) {
      const double first = y.at({i, 0, 0});
      CHECK((first == 0 || first == Approx(1 / 0.7).epsilon(1e-15)));
      for (Index j = 0; j < 6; ++j) REQUIRE(y.data()[6 * i + j] == first);
      kept += first != 0;
    }
    // 4000 draws of probability 0.7: five standard deviations are 145.
    CHECK(std::abs(static_cast<double>(kept) - 2800) < 145);
    CHECK(same_bits(depth(x, Context()), x));
    CHECK_THROWS_AS(StochasticDepth{1}(x, training()), ValueError);
  }
  SECTION("in a block: a sample is either in both scales or left as it is; rates rise with the layer") {
    const TransformerOptions options{.dropout = 0, .norm_first = true, .stochastic_depth = 0.5};
    const TransformerEncoder<double> encoder(4, 8, 2, 12, random, {.layer = options});
    for (Index i = 0; i < 4; ++i)
      CHECK(encoder.layers[i].options.stochastic_depth == Approx(0.5 * static_cast<double>(i + 1) / 4).epsilon(1e-15));
    const TransformerEncoderLayer<double> block(8, 2, 12, random, options);
    const Tensor<double> x = randn<double>({64, 3, 8}, random.stream("x"));
    Context context = training();
    const Tensor<double> y = block(x, context);
    Index untouched = 0;
    for (Index i = 0; i < 64; ++i) untouched += same_bits(slice(y, 0, i, i + 1), slice(x, 0, i, i + 1));
    CHECK(untouched > 4);  // a quarter of 64 is expected
    CHECK(untouched < 32);
    // Without a batch axis, a sequence is one sample.
    Context one = training(7);
    const Tensor<double> z = StochasticDepth{0.5}(ones<double>({1, 3, 8}), one);
    CHECK((largest(z) == 0 || largest(z) == 2));
    CHECK_THROWS_WITH((TransformerEncoderLayer<>(8, 2, 12, random, {.stochastic_depth = 1})),
                      contains("stochastic_depth is 1"));
  }
}

TEST_CASE("a cache of keys and values grows, is cut and copied", "[nn]") {
  const Random random(4);
  const Tensor<double> k = randn<double>({2, 3, 40, 4}, random.stream("k"));
  const Tensor<double> v = randn<double>({2, 3, 40, 5}, random.stream("v"));
  KvCache<double> cache;
  CHECK(cache.length() == 0);
  CHECK_THROWS_WITH(cache.reserve(10), contains("KvCache: nothing was appended yet"));
  Index grown = 0, capacity = 0;
  for (Index t = 0; t < 40; ++t) {
    cache.append(slice(k, 2, t, t + 1), slice(v, 2, t, t + 1));
    grown += cache.capacity() != capacity;
    capacity = cache.capacity();
  }
  CHECK(cache.length() == 40);
  CHECK(grown == 3);  // 16, 32, 64
  CHECK(same_bits(cache.keys(), k));
  CHECK(same_bits(cache.values(), v));
  const KvCache<double> before = cache;
  cache.truncate(10);
  cache.append(slice(k, 2, 20, 22), slice(v, 2, 20, 22));
  CHECK(same_bits(cache.keys(), concat<double>({slice(k, 2, 0, 10), slice(k, 2, 20, 22)}, 2)));
  CHECK(same_bits(before.keys(), k));
  const Tensor<double> q = randn<double>({2, 6, 7, 4}, random.stream("q"));
  CHECK(same_bits(before.attend(q, {.causal = true}), scaled_dot_product_attention(q, k, v, {.causal = true})));
  CHECK_THROWS_WITH(cache.truncate(13), contains("KvCache: cannot keep 13 of 12 places"));
  CHECK_THROWS_WITH(cache.append(slice(k, 1, 0, 1), slice(v, 1, 0, 1)), contains("kept keys [2, 3, 12, 4]"));
  CHECK_THROWS_WITH(before.attend(slice(q, 1, 0, 4)), contains("q [2, 4, 7, 4]"));
  CHECK_THROWS_WITH(grad([&](const Tensor<double>& x) { return sum(before.attend(x)); }, q),
                    contains("no gradients flow through a cache"));
}

TEST_CASE("token by token is the full pass", "[nn]") {
  const Random random(5);
  const auto check = [&]<class T>(const TransformerOptions& options, T tolerance) {
    const TransformerEncoder<T> stack(2, 8, 4, 0, random, {.layer = options, .final_norm = options.norm_first});
    const Tensor<T> x = randn<T>({3, 24, 8}, random.stream("x"));
    const Tensor<T> whole = stack(x, {.causal = true}, Context());
    TransformerCache<T> cache;
    for (Index t = 0; t < 24; ++t)
      CHECK(all_close(stack.step(tokens(x, t, t + 1), cache), tokens(whole, t, t + 1), tolerance, tolerance));
    CHECK(cache.length() == 24);
    // After truncation, in portions; a copy goes on by itself.
    cache.truncate(5);
    TransformerCache<T> other = cache;
    CHECK(all_close(stack.step(tokens(x, 5, 9), cache), tokens(whole, 5, 9), tolerance, tolerance));
    CHECK(all_close(stack.step(tokens(x, 9, 24), cache), tokens(whole, 9, 24), tolerance, tolerance));
    CHECK(all_close(stack.step(tokens(x, 5, 24), other), tokens(whole, 5, 24), tolerance, tolerance));
  };
  const std::vector<TransformerOptions> all{
      {},
      {.norm_first = true, .rotary = RotaryOptions()},
      {.norm_first = true, .key_heads = 2, .rotary = RotaryOptions{.layout = RotaryLayout::interleaved}},
      {.activation = Activation::silu, .glu = true, .norm_first = true, .norm = NormKind::rms, .alibi = true}};
  for (std::size_t i = 0; i < all.size(); ++i) {
    INFO("options " << i);
    check(all[i], 1e-5f);
    check(all[i], 1e-12);
  }
  const TransformerEncoder<float> stack(2, 8, 4, 0, random), longer(3, 8, 4, 0, random);
  TransformerCache<float> cache;
  stack.step(zeros({1, 2, 8}), cache);
  const auto loss = [&](const TransformerEncoder<float>& m) { return sum(m.step(zeros({1, 3, 8}), cache)); };
  CHECK_THROWS_WITH(grad(loss, stack),
                    contains("TransformerEncoder > layers.0") && contains("no gradients flow through a cache"));
  CHECK(cache.length() == 2);
  CHECK_THROWS_WITH(longer.step(zeros({1, 1, 8}), cache), contains("the cache is one of 2 layers, there are 3"));
}

TEST_CASE("a decoder token by token is the full pass", "[nn]") {
  const Random random(6);
  const TransformerDecoder<double> decoder(
      2, 8, 2, 12, random,
      {.layer = {.norm_first = true, .rotary = RotaryOptions(), .memory_width = 6}, .final_norm = true});
  CHECK(names(decoder).front() == "layers.0.self_attn.in_proj_weight");
  CHECK(names(decoder).back() == "norm.bias");
  const Tensor<double> x = randn<double>({2, 10, 8}, random.stream("x"));
  const Tensor<double> memory = randn<double>({2, 3, 6}, random.stream("memory"));
  const Tensor<bool> seen = tensor<bool>({{true, true, false}, {true, true, true}});
  const Tensor<double> whole = decoder(x, memory, {.memory = {.key_mask = seen}}, Context());
  DecoderCache<double> cache = decoder.start(memory, seen);
  for (Index t = 0; t < 10; ++t)
    CHECK(all_close(decoder.step(tokens(x, t, t + 1), cache), tokens(whole, t, t + 1), 1e-12, 1e-12));
  cache.truncate(4);
  CHECK(cache.length() == 4);
  CHECK(all_close(decoder.step(tokens(x, 4, 10), cache), tokens(whole, 4, 10), 1e-12, 1e-12));
}
