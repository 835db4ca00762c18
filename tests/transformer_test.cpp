// Layers of the Transformer: attention with several heads, encoder layers and their stack, patches of images; against
// plain ops, the equations of Vaswani et al., NeurIPS 2017, and their invariances.

#include <array>
#include <cmath>
#include <limits>

#include "catch.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/model/check_gradients.hpp"
#include "graft/model/grad.hpp"
#include "graft/model/names.hpp"
#include "graft/nn/patch.hpp"
#include "graft/nn/transformer.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/softmax.hpp"
#include "layers.hpp"

using namespace graft;

namespace {

/// d^2/dt^2 of value(m + t d, context) at 0 from a Hessian-vector product is a central difference of the gradient.
template <class F, class M>
void check_second_derivative(F value, const M& m) {
  const auto f = [&](const M& at) {
    Context context;
    return value(at, context);
  };
  const M d = zip(
      [](const auto& p) { return randn<double>(p.shape(), Random(77).stream(static_cast<std::uint64_t>(p.count()))); },
      m);
  const double h = 2e-5;
  const auto slope = [&](double t) { return dot(grad(f, axpy(t, d, m)), d).item(); };
  CHECK(dot(hvp(f, m, d).second, d).item() == Approx((slope(h) - slope(-h)) / (2 * h)).epsilon(1e-6));
}

/// Reorders the rows of [batch, time, width].
Tensor<double> shuffled(const Tensor<double>& x) { return gather(x, tensor<std::int64_t>({2, 0, 3, 1}), 1); }

}  // namespace

TEST_CASE("the weights of attention are the softmax of its scores, and make its heads", "[nn]") {
  MultiHeadAttention<double> layer(8, 4, Random(1), {.dropout = 0.5, .key_heads = 2, .alibi = true});
  *layer.in_proj_bias = randn<double>({16}, Random(2));
  const Tensor<double> x = randn<double>({2, 5, 8}, Random(3));
  const auto part = [&](Index first, Index heads) {  // by head, two numbers each
    const Tensor<double> weight = slice(layer.in_proj_weight, 0, 2 * first, 2 * (first + heads));
    const Tensor<double> bias = slice(*layer.in_proj_bias, 0, 2 * first, 2 * (first + heads));
    return split_heads(matmul(x, weight, {.transpose_b = true}) + bias, heads);
  };
  const Tensor<double> keys = repeat(part(4, 2), 2, 1), values = repeat(part(6, 2), 2, 1);
  // ALiBi of four heads: slopes 1/4, 1/16, 1/64, 1/256 (Press et al.); causal: no key after the query.
  const Tensor<double> places = generate({4, 5, 5}, [](Index head, Index i, Index j) {
    return j > i ? -std::numeric_limits<double>::infinity() : std::pow(0.25, head + 1) * static_cast<double>(j - i);
  });
  const Tensor<double> scores = matmul(part(0, 4), keys, {.transpose_b = true}) / std::sqrt(2.0) + places;
  const Tensor<double> weights = layer.weights(x, {.causal = true});
  CHECK(all_close(weights, softmax(scores), 1e-12, 1e-13));
  CHECK(all_close(layer(x, {.causal = true}, Context()), layer.out_proj(merge_heads(matmul(weights, values))), 1e-12,
                  1e-13));

  // Another sequence, and keys that are hidden, which have no weight.
  const Tensor<double> memory = randn<double>({2, 3, 8}, Random(4));
  const Tensor<bool> seen = tensor<bool>({{true, false, true}, {true, true, true}});
  const Tensor<double> to_memory = layer.weights(x, memory, {.key_mask = seen});
  CHECK(to_memory.shape() == Shape{2, 4, 5, 3});
  CHECK(all_close(sum(to_memory, {3}), ones<double>({2, 4, 5}), 1e-12, 1e-12));
  CHECK(largest(slice(slice(to_memory, 0, 0, 1), 3, 1, 2)) == 0);
  CHECK_THROWS_AS(layer.weights(slice(x, 2, 0, 7)), ShapeError);
  CHECK_THROWS_AS(layer.weights(reshape(x, {10, 8})), ShapeError);
  CHECK_THROWS_AS(layer.weights(x, {.keys = 3}), ValueError);
}

TEST_CASE("multi-head attention", "[nn]") {
  const Random random(3);
  Context context;
  const MultiHeadAttention<double> layer(8, 2, random);
  CHECK(names(layer) == Names{"in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"});
  CHECK(layer.in_proj_weight.shape() == Shape{24, 8});
  CHECK(largest(*layer.in_proj_bias) == 0);
  CHECK(largest(*layer.out_proj.bias) == 0);
  CHECK(largest(layer.in_proj_weight) <= std::sqrt(6.0 / 32));
  const Tensor<double> x = randn<double>({2, 4, 8}, random.stream("x"));

  SECTION("one head with identity projections is the formula") {
    MultiHeadAttention<double> plain(3, 1, random, {.bias = false});
    plain.in_proj_weight = concat<double>({eye<double>(3), eye<double>(3), eye<double>(3)}, 0);
    plain.out_proj.weight = eye<double>(3);
    const Tensor<double> v = randn<double>({5, 3}, random);
    const Tensor<double> expected = matmul(softmax(matmul(v, v, {.transpose_b = true}) / std::sqrt(3.0)), v);
    CHECK(all_close(plain(v, context), expected, 1e-12, 1e-12));
  }
  SECTION("heads are separate: two heads are two one-head layers of half the width") {
    const Tensor<double> y = layer(x, context);
    Tensor<double> expected;
    for (Index head = 0; head < 2; ++head) {
      const auto rows = [&](Index part) {
        return slice(layer.in_proj_weight, 0, 8 * part + 4 * head, 8 * part + 4 * head + 4);
      };
      const auto of = [&](Index part) { return matmul(x, rows(part), {.transpose_b = true}); };
      const Tensor<double> weights = softmax(matmul(of(0), of(1), {.transpose_b = true}) / 2.0);
      const Tensor<double> out = matmul(matmul(weights, of(2)), slice(layer.out_proj.weight, 1, 4 * head, 4 * head + 4),
                                        {.transpose_b = true});
      expected = expected.defined() ? expected + out : out;
    }
    CHECK(all_close(y, expected, 1e-11, 1e-11));
  }
  SECTION("no query: the mean of the values") {
    MultiHeadAttention<double> blind = layer;
    blind.in_proj_weight = concat<double>({zeros<double>({8, 8}), slice(layer.in_proj_weight, 0, 8, 24)}, 0);
    const Tensor<double> values = matmul(x, slice(layer.in_proj_weight, 0, 16, 24), {.transpose_b = true});
    const Tensor<double> expected = broadcast_to(layer.out_proj(mean(values, {1}, true)), x.shape());
    CHECK(all_close(blind(x, context), expected, 1e-11, 1e-11));
  }
  SECTION("reordering the sequence reorders the result") {
    CHECK(all_close(layer(shuffled(x), context), shuffled(layer(x, context)), 1e-11, 1e-11));
  }
  SECTION("without a batch axis it is a batch of one") {
    const Tensor<double> one = slice(x, 0, 1, 2);
    CHECK(same_bits(reshape(layer(one, context), {4, 8}), layer(reshape(one, {4, 8}), context)));
  }
  SECTION("masked keys are as if they were not there") {
    Tensor<bool> seen =
        from_span(std::span<const bool>(std::array{true, true, true, false, true, true, true, false}), {2, 4});
    const Tensor<double> kept = slice(x, 1, 0, 3);
    const Tensor<double> y = layer(x, {.key_mask = seen}, context);
    CHECK(all_close(slice(y, 1, 0, 3), layer(kept, context), 1e-11, 1e-11));
    const auto gradient =
        grad([&](const Tensor<double>& v) { return sum(square(layer(x, v, v, {.key_mask = seen}, context))); }, x);
    CHECK(largest(slice(gradient, 1, 3, 4)) == 0);
    CHECK(largest(slice(gradient, 1, 0, 3)) > 0);
  }
  SECTION("a query with every key masked gets the output bias and passes no gradient") {
    Tensor<bool> none =
        from_span(std::span<const bool>(std::array{false, false, false, false, true, true, true, true}), {2, 4});
    MultiHeadAttention<double> biased = layer;
    biased.out_proj.bias = randn<double>({8}, random);
    const Tensor<double> y = biased(x, {.key_mask = none}, context);
    CHECK(all_close(slice(y, 0, 0, 1), broadcast_to(*biased.out_proj.bias, {1, 4, 8}), 1e-12, 1e-12));
    const auto gradient =
        grad([&](const Tensor<double>& v) { return sum(square(biased(v, {.key_mask = none}, context))); }, x);
    CHECK(largest(slice(gradient, 0, 0, 1)) == 0);
    CHECK(largest(gradient) > 0);
  }
  SECTION("causal: no gradient from a result to later inputs") {
    const auto gradient = grad(
        [&](const Tensor<double>& v) { return sum(square(slice(layer(v, {.causal = true}, context), 1, 1, 2))); }, x);
    CHECK(largest(slice(gradient, 1, 2, 4)) == 0);
    CHECK(largest(slice(gradient, 1, 0, 2)) > 0);
  }
  SECTION("of the first keys alone: attention to the beginning of the sequence") {
    const Tensor<double> kept = slice(x, 1, 0, 3), one = reshape(slice(x, 0, 1, 2), {4, 8});
    CHECK(same_bits(layer(x, {.keys = 3}, context), layer(x, kept, kept, context)));
    CHECK(same_bits(layer(one, {.keys = 3}, context), layer(one, slice(one, 0, 0, 3), slice(one, 0, 0, 3), context)));
    CHECK(same_bits(layer(x, {.keys = 4}, context), layer(x, context)));
    Tensor<bool> seen = from_span(std::span<const bool>(std::array{true, true, false, true, true, false}), {2, 3});
    CHECK(all_close(layer(x, {.key_mask = seen, .keys = 3}, context), layer(x, {.keys = 2}, context), 1e-11, 1e-11));
    CHECK(same_bits(layer(x, {.keys = 0}, context), broadcast_to(*layer.out_proj.bias, x.shape())));
    for (const Index keys : {-1, 5})
      CHECK_THROWS_WITH(layer(x, {.keys = keys}, context), contains("MultiHeadAttention: keys is") &&
                                                               contains("of 4 places") && contains("[2, 4, 8]"));
  }
  SECTION("dropout acts in training only and repeats with a copied context") {
    MultiHeadAttention<double> dropping = layer;
    dropping.dropout = 0.5;
    CHECK(same_bits(dropping(x, context), layer(x, context)));
    Context first = training(), second = training();
    const Tensor<double> y = dropping(x, first);
    CHECK(same_bits(y, dropping(x, second)));
    CHECK_FALSE(same_bits(y, layer(x, context)));
    CHECK_FALSE(same_bits(y, dropping(x, first)));
  }
  SECTION("second derivatives equal differences of the first") {
    check_second_derivative([&](const auto& m, Context& c) { return sum(square(m(x, c))); }, layer);
  }
  SECTION("errors") {
    CHECK_THROWS_WITH(layer(zeros<double>({2, 4, 6}), context),
                      contains("MultiHeadAttention") && contains("query [2, 4, 6]"));
    CHECK_THROWS_AS(layer(x, reshape(x, {8, 8}), x, context), ShapeError);
    CHECK_THROWS_AS(MultiHeadAttention<double>(8, 3, random), ValueError);
  }
  SECTION("fields that were set by hand and disagree are refused, wherever they are used") {
    const auto refused = [&](const auto& change, const char* part) {
      MultiHeadAttention<double> wrong = layer;
      change(wrong);
      KvCache<double> cache = layer.remember(x);
      CHECK_THROWS_WITH(wrong(x, context), contains(part));
      CHECK_THROWS_WITH(wrong.weights(x), contains(part));
      CHECK_THROWS_WITH(wrong.step(x, cache), contains(part));
      CHECK_THROWS_WITH(wrong.recall(x, cache), contains(part));
      CHECK_THROWS_WITH(wrong.remember(x), contains(part));
    };
    using Attention = MultiHeadAttention<double>;
    refused([](Attention& m) { m.key_heads = 1; }, "in_proj_weight is not that of 2 heads and 1 of keys");
    refused([](Attention& m) { m.heads = 4; }, "in_proj_weight is not that of 4 heads and 2 of keys");
    refused([](Attention& m) { m.heads = m.key_heads = 3; }, "in_proj_weight is not that of 3 heads");
    refused([](Attention& m) { m.heads = m.key_heads = 0; }, "in_proj_weight is not that of 0 heads");
    refused([](Attention& m) { m.key_heads = -2; }, "-2 of keys and values");
    refused([](Attention& m) { m.in_proj_weight = zeros<double>({32, 8}); }, "in_proj_weight [32, 8]");
    refused([](Attention& m) { m.in_proj_bias = zeros<double>({32}); }, "expected [24]");
    refused([](Attention& m) { m.q_proj_weight = zeros<double>({8, 8}); }, "some are there and some are not");
    refused(
        [](Attention& m) {
          m.q_proj_weight = m.k_proj_weight = zeros<double>({8, 8});
          m.v_proj_weight = zeros<double>({16, 8});
        },
        "v_proj_weight [16, 8]");
    // As torch's, whose layers have no other number of key heads.
    MultiHeadAttention<double> by_hand;
    by_hand.in_proj_weight = layer.in_proj_weight;
    by_hand.out_proj = layer.out_proj;
    by_hand.heads = 2;
    CHECK_THROWS_WITH(by_hand(x, context), contains("MultiHeadAttention: in_proj_weight is not that of 2 heads and 1"));
    by_hand.key_heads = 2;
    by_hand.in_proj_bias = layer.in_proj_bias;
    CHECK(same_bits(by_hand(x, context), layer(x, context)));
  }
}

TEST_CASE("Transformer encoder layer", "[nn]") {
  const Random random(4);
  Context context;
  const Tensor<double> x = randn<double>({2, 4, 8}, random.stream("x"));
  const TransformerEncoderLayer<double> post(8, 2, 12, random);
  const TransformerEncoderLayer<double> pre(8, 2, 12, random, {.activation = Activation::gelu, .norm_first = true});
  CHECK(names(post) == Names{"self_attn.in_proj_weight", "self_attn.in_proj_bias", "self_attn.out_proj.weight",
                             "self_attn.out_proj.bias", "linear1.weight", "linear1.bias", "linear2.weight",
                             "linear2.bias", "norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"});

  SECTION("the two forms, written out") {
    const Tensor<double> h = post.norm1(x + post.self_attn(x, context));
    CHECK(all_close(post(x, context), post.norm2(h + post.linear2(relu(post.linear1(h)))), 1e-12, 1e-12));
    const Tensor<double> k = x + pre.self_attn(pre.norm1(x), context);
    CHECK(all_close(pre(x, context), k + pre.linear2(gelu(pre.linear1(pre.norm2(k)))), 1e-12, 1e-12));
  }
  SECTION("branches that give 0 leave the identity (pre-norm) or two layer norms (post-norm)") {
    const auto silent = [](TransformerEncoderLayer<double> layer) {
      layer.self_attn.out_proj = zeros_like(layer.self_attn.out_proj);
      layer.linear2 = zeros_like(layer.linear2);
      return layer;
    };
    Context c = training();
    CHECK(same_bits(silent(pre)(x, c), x));
    CHECK(same_bits(silent(post)(x, c), post.norm2(post.norm1(x))));
  }
  SECTION("reordering the sequence reorders the result") {
    CHECK(all_close(pre(shuffled(x), context), shuffled(pre(x, context)), 1e-11, 1e-11));
  }
  SECTION("padding does not matter") {
    Tensor<bool> seen =
        from_span(std::span<const bool>(std::array{true, true, true, false, true, true, true, false}), {2, 4});
    CHECK(all_close(slice(post(x, {.key_mask = seen}, context), 1, 0, 3), post(slice(x, 1, 0, 3), context), 1e-11,
                    1e-11));
  }
  SECTION("second derivatives equal differences of the first") {
    for (const auto& layer : {pre, TransformerEncoderLayer<double>(8, 2, 12, random, {.activation = Activation::gelu})})
      check_second_derivative([&](const auto& m, Context& c) { return sum(tanh(m(x, c))); }, layer);
  }
  SECTION("without biases: the same initial weights, and what zero biases give") {
    const TransformerEncoderLayer<double> bare(8, 2, 12, random, {.bias = false});
    CHECK(names(bare) == Names{"self_attn.in_proj_weight", "self_attn.out_proj.weight", "linear1.weight",
                               "linear2.weight", "norm1.weight", "norm2.weight"});
    TransformerEncoderLayer<double> zero = post;
    zero.linear1.bias = zeros<double>({12});
    zero.linear2.bias = zeros<double>({8});  // those of norms and attention are zero from the start
    CHECK(all_close(bare(x, context), zero(x, context), 1e-13, 1e-13));
  }
  SECTION("training with dropout repeats with the context") {
    Context first = training(), second = training(), third = training(2);
    const Tensor<double> y = post(x, first);
    CHECK(same_bits(y, post(x, second)));
    CHECK_FALSE(same_bits(y, post(x, third)));
  }
}

TEST_CASE("gates of a Transformer encoder layer", "[nn]") {
  const Random random(4);
  Context context;
  const Tensor<double> x = randn<double>({2, 4, 8}, random.stream("x"));
  const auto layer = [&](bool norm_first, std::optional<double> gate) {
    return TransformerEncoderLayer<double>(
        8, 2, 12, random, {.activation = Activation::gelu, .norm_first = norm_first, .gate = gate});
  };
  /// Every parameter random, so that no gradient is 0 by symmetry.
  const auto shaken = [](const TransformerEncoderLayer<double>& m) {
    return zip([](const auto& p) { return p + 0.3 * randn<double>(p.shape(), Random(8)); }, m);
  };

  SECTION("follow the other parameters, and change none of them") {
    const auto plain = layer(true, {}), gated = layer(true, 0.25);
    Names expected = names(plain);
    CHECK(expected.size() == 12);
    expected.insert(expected.end(), {"gate1", "gate2"});
    CHECK(names(gated) == expected);
    CHECK(same_bits(*gated.gate1, full<double>({8}, 0.25)));
    CHECK(same_bits(*gated.gate2, full<double>({8}, 0.25)));
    auto opened = gated;
    opened.gate1.reset(), opened.gate2.reset();
    CHECK(largest(to_vector(opened) - to_vector(plain)) == 0);
  }
  SECTION("of 0 leave the identity (pre-norm) or two layer norms (post-norm), of 1 what there is without gates") {
    Context c = training();
    CHECK(same_bits(layer(true, 0)(x, c), x));
    CHECK(same_bits(layer(false, 0)(x, c), layer(false, 0).norm2(layer(false, 0).norm1(x))));
    for (const bool norm_first : {true, false})
      CHECK(same_bits(layer(norm_first, 1)(x, context), layer(norm_first, {})(x, context)));
  }
  SECTION("scale each branch channel by channel: the two forms, written out") {
    const auto pre = shaken(layer(true, 0.5)), post = shaken(layer(false, 0.5));
    const Tensor<double> k = x + *pre.gate1 * pre.self_attn(pre.norm1(x), context);
    CHECK(all_close(pre(x, context), k + *pre.gate2 * pre.linear2(gelu(pre.linear1(pre.norm2(k)))), 1e-12, 1e-12));
    const Tensor<double> h = post.norm1(x + *post.gate1 * post.self_attn(x, context));
    CHECK(all_close(post(x, context), post.norm2(h + *post.gate2 * post.linear2(gelu(post.linear1(h)))), 1e-12, 1e-12));
  }
  SECTION("at 0 learn from the branches, which do not learn yet") {
    const auto gated = layer(true, 0);
    const auto loss = [&](const TransformerEncoderLayer<double>& m) { return sum(square(m(x, context))); };
    const auto gradient = grad(loss, gated);
    // d sum y^2 / d gate1 = sum 2 y branch, where y = x.
    const Tensor<double> branch = gated.self_attn(gated.norm1(x), context);
    CHECK(all_close(*gradient.gate1, sum(2.0 * x * branch, {0, 1}), 1e-12, 1e-12));
    CHECK(largest(*gradient.gate2) > 0);
    for_each_named_parameter(
        [](const std::string& name, const auto& leaf) {
          INFO(name);
          if (!name.starts_with("gate")) CHECK(largest(leaf) == 0);
        },
        gradient);
  }
  SECTION("gradients to the third order equal differences, of every parameter and of x") {
    for (const bool norm_first : {true, false}) {
      const auto gated = shaken(layer(norm_first, 0.5));
      const auto of_parameters = check_gradients(
          [&](const auto& m) { return mean(square(m(x, Context()))); }, gated, {.orders = 3});
      const auto of_x = check_gradients(
          [&](const Tensor<double>& v) { return mean(square(gated(v, {.keys = 3}, Context()))); }, x, {.orders = 3});
      INFO(of_parameters.errors[2] << ' ' << of_x.errors[2]);
      CHECK(of_parameters.passed);
      CHECK(of_x.passed);
    }
  }
  SECTION("must start finite") {
    CHECK_THROWS_WITH(layer(true, NAN), contains("TransformerEncoderLayer: gate is nan"));
    CHECK_THROWS_AS(layer(true, INFINITY), ValueError);
  }
}

TEST_CASE("Transformer encoder stacks layers", "[nn]") {
  const Random random(5);
  Context context;
  const TransformerEncoder<double> encoder(2, 8, 2, 12, random, {.layer = {.norm_first = true}, .final_norm = true});
  const Names all = names(encoder);
  CHECK(all.size() == 26);
  CHECK(all.front() == "layers.0.self_attn.in_proj_weight");
  CHECK(all.back() == "norm.bias");
  const TransformerEncoder<double> bare(2, 8, 2, 12, random, {.layer = {.bias = false}, .final_norm = true});
  CHECK(names(bare).size() == 13);
  const TransformerEncoder<double> gated(2, 8, 2, 12, random, {.layer = {.norm_first = true, .gate = 0}});
  CHECK(names(gated).back() == "layers.1.gate2");
  CHECK(names(bare).back() == "norm.weight");
  const Tensor<double> x = randn<double>({3, 8}, random);
  CHECK(same_bits(encoder(x, context), (*encoder.norm)(encoder.layers[1](encoder.layers[0](x, context), context))));
  CHECK_FALSE(same_bits(encoder.layers[0].linear1.weight, encoder.layers[1].linear1.weight));
  CHECK_THROWS_WITH(
      encoder(zeros<double>({3, 7}), context),
      contains("TransformerEncoder > layers.0 > TransformerEncoderLayer") && contains("transformer_test.cpp"));
}

TEST_CASE("patch embedding is a linear map of every patch, plus its place", "[nn]") {
  const Random random(6);
  const PatchEmbedding<double> layer(4, 6, 2, 5, random, {.channels = 3, .class_token = true});
  CHECK(names(layer) == Names{"projection.weight", "projection.bias", "class_token", "positions"});
  const Tensor<double> x = randn<double>({2, 4, 6, 3}, random);
  const Tensor<double> y = layer(x);
  CHECK(y.shape() == Shape{2, 7, 5});
  // Patch (1, 2) of image 1 is token 6, channel o: sum over the 2 x 2 x 3 numbers.
  for (Index o = 0; o < 5; ++o) {
    double expected = layer.projection.bias->at({o}) + layer.positions.at({6, o});
    for (Index i = 0; i < 2; ++i)
      for (Index j = 0; j < 2; ++j)
        for (Index c = 0; c < 3; ++c) expected += x.at({1, 2 + i, 4 + j, c}) * layer.projection.weight.at({o, c, i, j});
    CHECK(y.at({1, 6, o}) == Approx(expected).epsilon(1e-12));
    CHECK(y.at({1, 0, o}) == Approx(layer.class_token->at({o}) + layer.positions.at({0, o})).epsilon(1e-14));
  }
  CHECK_THROWS_AS(PatchEmbedding<>(5, 4, 2, 8, random), ValueError);
  CHECK_THROWS_AS(layer(zeros<double>({1, 4, 4, 3})), ShapeError);
}
