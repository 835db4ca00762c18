// Layers but those of the Transformer (transformer_test.cpp): what each computes, written out in plain ops or numbers;
// names and defaults of their PyTorch twins; the context that hands out masks and collects running statistics.

#include <optional>

#include "catch.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/model/grad.hpp"
#include "graft/model/names.hpp"
#include "graft/nn/conv_block.hpp"
#include "graft/nn/dropout.hpp"
#include "graft/nn/embedding.hpp"
#include "graft/nn/linear.hpp"
#include "graft/nn/norm.hpp"
#include "graft/nn/sequential.hpp"
#include "layers.hpp"

using namespace graft;

namespace {

template <class T>
double variance(const Tensor<T>& x) {
  const double m = static_cast<double>(mean(x).item());
  return static_cast<double>(mean(square(x - m)).item());
}

}  // namespace

TEST_CASE("initial values have the stated spread", "[nn]") {
  const Random random(1);
  const Shape shape{200, 300};  // fan-out 200, fan-in 300
  CHECK(fans({8, 3, 5, 2}).in == 30);
  CHECK(fans({8, 3, 5, 2}).out == 80);
  // Variances of 60 000 draws: relative deviation below 2 % (three standard errors of a normal's variance).
  CHECK(variance(glorot_uniform(shape, random)) == Approx(2.0 / 500).epsilon(0.02));
  CHECK(variance(glorot_normal(shape, random, 3)) == Approx(9 * 2.0 / 500).epsilon(0.02));
  CHECK(variance(kaiming_uniform(shape, random)) == Approx(2.0 / 300).epsilon(0.02));
  CHECK(variance(kaiming_normal(shape, random)) == Approx(2.0 / 300).epsilon(0.02));
  CHECK(largest(glorot_uniform(shape, random)) <= std::sqrt(6.0 / 500));
  CHECK(largest(torch_default_weight(shape, random)) <= 1 / std::sqrt(300.0));
  CHECK(largest(torch_default_weight(shape, random)) > 0.99 / std::sqrt(300.0));
  CHECK(same_bits(glorot_normal(shape, random), glorot_normal(shape, random)));
  CHECK_THROWS_AS(glorot_normal({3}, random), ShapeError);
}

TEST_CASE("Linear is x W^T + b", "[nn]") {
  Linear<double> layer(3, 2, Random(1));
  CHECK(names(layer) == Names{"weight", "bias"});
  CHECK(largest(layer.weight) <= 1 / std::sqrt(3.0));
  CHECK(largest(*layer.bias) <= 1 / std::sqrt(3.0));
  layer.weight = tensor<double>({{1, 2, 3}, {4, 5, 6}});
  layer.bias = tensor<double>({10, 20});
  const Tensor<double> x = tensor<double>({{1, 0, -1}, {0, 2, 0}});
  CHECK(same_bits(layer(x), tensor<double>({{8, 18}, {14, 30}})));
  CHECK(same_bits(layer(tensor<double>({1, 0, -1})), tensor<double>({8, 18})));
  CHECK(same_bits(layer(reshape(x, {1, 2, 1, 3})), reshape(layer(x), {1, 2, 1, 2})));
  CHECK(layer(zeros<double>({0, 3})).shape() == Shape{0, 2});

  const Linear<double> plain(3, 2, Random(1), {.bias = false});
  CHECK(names(plain) == Names{"weight"});
  CHECK(largest(plain(zeros<double>({2, 3}))) == 0);
  CHECK_THROWS_WITH(layer(zeros<double>({2, 4})), contains("Linear") && contains("x [2, 4]") &&
                                                      contains("weight [2, 3]") && contains("layers_test.cpp"));
}

TEST_CASE("a stack of models serves each its own rows and sends gradients back to the one", "[nn]") {
  const Linear<double> layer(3, 2, Random(1)), plain(3, 2, Random(2), {.bias = false});
  const auto x = randn<double>({4, 5, 3}, Random(3));
  CHECK(all_close(stacked(layer, 4)(x), layer(x), 1e-15));
  CHECK(all_close(stacked(plain, 4)(x), plain(x), 1e-15));

  // Models that differ.
  Linear<double> each = stacked(layer, 2);
  const Linear<double> other(3, 2, Random(4));
  each.weight = stack(std::vector{layer.weight, other.weight});
  each.bias = stack(std::vector{*layer.bias, *other.bias});
  const auto rows = slice(x, 0, 0, 2);
  const auto y = each(rows);
  CHECK(all_close(slice(y, 0, 0, 1), layer(slice(rows, 0, 0, 1)), 1e-15));
  CHECK(all_close(slice(y, 0, 1, 2), other(slice(rows, 0, 1, 2)), 1e-15));

  const auto through_stack = grad([&](const auto& m) { return sum(square(stacked(m, 4)(x))); }, layer);
  const auto directly = grad([&](const auto& m) { return sum(square(m(x))); }, layer);
  CHECK(all_close(to_vector(through_stack), to_vector(directly), 1e-13));
  CHECK_THROWS_WITH(stacked(layer, 0), contains("stacked") && contains("copies is 0"));
}

TEST_CASE("Embedding looks rows up and adds their gradients", "[nn]") {
  const Embedding<double> table(4, 2, Random(1));
  CHECK(names(table) == Names{"weight"});
  const auto indices = tensor<std::int64_t>({{3, 0}, {3, 3}});
  const Tensor<double> rows = table(indices);
  CHECK(rows.shape() == Shape{2, 2, 2});
  CHECK(rows.at({1, 0, 1}) == table.weight.at({3, 1}));
  const auto gradient = grad([&](const Embedding<double>& e) { return sum(e(indices)); }, table);
  CHECK(same_bits(gradient.weight, tensor<double>({{1, 1}, {0, 0}, {0, 0}, {3, 3}})));
  CHECK_THROWS_AS(table(tensor<std::int64_t>({4})), IndexError);
  CHECK_THROWS_WITH(table(tensor<std::int64_t>({-1})), contains("Embedding: index -1 at position 0"));
  // Weights are standard normal: mean and variance of 20 000 draws within three standard errors.
  const Tensor<> many = Embedding<>(1000, 20, Random(2)).weight;
  CHECK(std::abs(mean(many).item()) < 3 / std::sqrt(20000.0));
  CHECK(variance(many) == Approx(1).epsilon(0.03));
}

TEST_CASE("Conv2d is conv2d with its own weight", "[nn]") {
  const Random random(1);
  const Conv2d<double> layer(4, 6, 3, random, {.stride = 2, .padding = 1, .groups = 2});
  CHECK(names(layer) == Names{"weight", "bias"});
  CHECK(layer.weight.shape() == Shape{6, 2, 3, 3});
  CHECK(largest(layer.weight) <= 1 / std::sqrt(18.0));
  const Tensor<double> x = randn<double>({2, 7, 7, 4}, random);
  const Tensor<double> expected = conv2d(x, layer.weight, {.stride = 2, .padding = 1, .groups = 2}) + *layer.bias;
  CHECK(all_close(layer(x), expected, 1e-13, 1e-13));
  CHECK(layer(x).shape() == Shape{2, 4, 4, 6});
  CHECK(names(Conv2d<>(1, 1, 3, random, {.bias = false})) == Names{"weight"});
  CHECK_THROWS_AS(Conv2d<>(3, 4, 3, random, {.groups = 2}), ValueError);
  // A kernel by axis: two rows, five columns; `same` keeps the size of the map.
  const Conv2d<double> wide(4, 3, {2, 5}, random, {.padding = Padding::same});
  CHECK(wide.weight.shape() == Shape{3, 4, 2, 5});
  CHECK(largest(wide.weight) <= 1 / std::sqrt(40.0));
  CHECK(wide(x).shape() == Shape{2, 7, 7, 3});
}

TEST_CASE("norm layers start as the bare normalisation", "[nn]") {
  const Tensor<double> x = randn<double>({5, 3, 4}, Random(1)) * 3 + 1;
  const LayerNorm<double> layer(4);
  CHECK(names(layer) == Names{"weight", "bias"});
  const Tensor<double> centred = x - mean(x, {-1}, true);
  const Tensor<double> deviation = sqrt(mean(square(centred), {-1}, true) + 1e-5);
  CHECK(all_close(layer(x), centred / deviation, 1e-12, 1e-12));
  CHECK(all_close(LayerNorm<double>(4, {.affine = false})(x), layer(x), 1e-14, 1e-14));
  CHECK(names(LayerNorm<double>(4, {.affine = false})).empty());

  const RmsNorm<double> rms(4);
  CHECK(names(rms) == Names{"weight"});
  CHECK(all_close(rms(x), x / sqrt(mean(square(x), {-1}, true) + 1e-6), 1e-12, 1e-12));

  // One group a channel over [batch, 3, channels]: every channel of a sample has mean 0.
  const GroupNorm<double> group(4, 4);
  CHECK(names(group) == Names{"weight", "bias"});
  CHECK(largest(mean(group(x), {1})) < 1e-12);
  // One group: a sample has mean 0 and nearly variance 1.
  CHECK(largest(mean(GroupNorm<double>(1, 4)(x), {1, 2})) < 1e-12);
  CHECK_THROWS_AS(GroupNorm<double>(3, 4)(x), Error);

  // Without bias: the weight alone, by which the result is multiplied.
  const auto without_bias = [&](auto bare, const auto& whole, const auto& call) {
    CHECK(names(bare) == Names{"weight"});
    bare.weight = tensor<double>({1, -2, 3, 0.5});
    CHECK(all_close(call(bare), call(whole) * *bare.weight, 1e-12, 1e-12));
  };
  const auto of_x = [&](const auto& norm) { return norm(x); };
  without_bias(LayerNorm<double>(4, {.bias = false}), layer, of_x);
  without_bias(GroupNorm<double>(4, 4, {.bias = false}), group, of_x);
  const auto in_mode = [](BatchNormMode mode, bool bias) { return BatchNorm<double>(4, {.mode = mode, .bias = bias}); };
  without_bias(in_mode(BatchNormMode::batch, false), in_mode(BatchNormMode::batch, true), of_x);
  BatchNorm<double> running = in_mode(BatchNormMode::running, false);
  CHECK(names(running) == Names{"weight"});
  running.weight = tensor<double>({1, -2, 3, 0.5});
  for (Phase phase : {Phase::training, Phase::evaluation}) {
    Context one(phase, Random(3)), other(phase, Random(3));
    CHECK(all_close(running(x, one), in_mode(BatchNormMode::running, true)(x, other) * *running.weight, 1e-12, 1e-12));
  }
}

TEST_CASE("BatchNorm keeps running statistics through the context", "[nn]") {
  const Tensor<double> x = randn<double>({6, 2}, Random(1)) * 2 + 3;
  const BatchNorm<double> layer(2, {.momentum = 0.25});
  const Tensor<double> average = mean(x, {0}), unbiased = sum(square(x - average), {0}) / 5.0;
  const Tensor<double> normal = (x - average) / sqrt(unbiased * 5.0 / 6.0 + 1e-5);

  Context context = training();
  CHECK(all_close(layer(x, context), normal, 1e-12, 1e-12));
  CHECK(same_bits(layer.running_mean.value, zeros<double>({2})));  // a layer never writes to itself
  CHECK(context.updates().size() == 3);
  const BatchNorm<double> updated = apply_updates(layer, context);
  CHECK(all_close(updated.running_mean.value, 0.25 * average, 1e-13));
  CHECK(all_close(updated.running_var.value, 0.75 + 0.25 * unbiased, 1e-13));
  CHECK(updated.num_batches_tracked.value.item() == 1);

  Context evaluation;
  const Tensor<double> expected = (x - updated.running_mean.value) / sqrt(updated.running_var.value + 1e-5);
  CHECK(all_close(updated(x, evaluation), expected, 1e-12, 1e-12));
  CHECK(evaluation.updates().empty());
  // In evaluation a row does not depend on the other rows.
  CHECK(same_bits(updated(slice(x, 0, 2, 3), evaluation), slice(updated(x, evaluation), 0, 2, 3)));

  SECTION("two batches in one context, and two contexts, are merged in order") {
    const Tensor<double> y = x * 2 - 1;
    Context both = training(), second = training();
    layer(x, both);
    layer(y, both);
    layer(y, second);
    const BatchNorm<double> merged = apply_updates(layer, both);
    const std::vector<Context> tasks{context, second};
    const BatchNorm<double> in_tasks = apply_updates(layer, tasks);
    const Tensor<double> by_hand = 0.75 * (0.25 * mean(x, {0})) + 0.25 * mean(y, {0});
    CHECK(all_close(merged.running_mean.value, by_hand, 1e-13));
    CHECK(same_bits(in_tasks.running_mean.value, merged.running_mean.value));
    CHECK(same_bits(in_tasks.running_var.value, merged.running_var.value));
    CHECK(in_tasks.num_batches_tracked.value.item() == 2);
  }
  SECTION("updates found inside grad belong to the model given to it, and to a stepped copy of it") {
    Context inside = training();
    const auto gradient = grad([&](const BatchNorm<double>& m) { return sum(square(m(x, inside) - 1)); }, layer);
    const BatchNorm<double> after = apply_updates(layer - 0.1 * gradient, inside);
    CHECK(same_bits(after.running_mean.value, updated.running_mean.value));
    CHECK_FALSE(same_bits(*after.weight, *layer.weight));
  }
  SECTION("a layer copied instead of constructed anew is refused") {
    const std::vector<BatchNorm<double>> twice(2, layer);
    CHECK_THROWS_WITH(apply_updates(twice, context), contains("construct each layer anew"));
    const std::vector<BatchNorm<double>> apart{BatchNorm<double>(2), layer};
    const auto result = apply_updates(apart, context);
    CHECK(same_bits(result[0].running_mean.value, zeros<double>({2})));
    CHECK(same_bits(result[1].running_mean.value, updated.running_mean.value));
  }
  SECTION("mode batch has no running statistics and needs no context") {
    const BatchNorm<double> batch(2, {.mode = BatchNormMode::batch});
    CHECK(same_bits(batch(x), batch(x, evaluation)));
    CHECK(all_close(batch(x), normal, 1e-12, 1e-12));
    CHECK_FALSE(batch.running_mean.value.defined());
    CHECK_THROWS_WITH(layer(x), contains("needs a context") || contains("need a context"));
  }
  SECTION("names and buffers are torch's") {
    CHECK(names(layer) == Names{"weight", "bias"});
    CHECK(BatchNorm<double>::graft_field_names() == "weight, bias, running_mean, running_var, num_batches_tracked");
    CHECK_THROWS_AS(layer(zeros<double>({3, 5}), context), ShapeError);
  }
}

TEST_CASE("ConvBlock is its four layers, running statistics included", "[nn]") {
  const Tensor<double> x = randn<double>({3, 6, 5, 2}, Random(1));
  for (const BatchNormMode mode : {BatchNormMode::batch, BatchNormMode::running})
    for (const auto& [affine, bias] : {std::pair(true, true), std::pair(true, false), std::pair(false, false)}) {
      const ConvBlock<double> block(2, 4, Random(2), {.mode = mode, .momentum = 0.25, .affine = affine, .bias = bias});
      const auto by_layers = [&](const ConvBlock<double>& own, Context& context) {
        return relu(max_pool2d(own.norm(own.conv(x), context)));
      };
      Context fused = training(), apart = training(), evaluation;
      CHECK(all_close(block(x, fused), by_layers(block, apart), 1e-12, 1e-12));
      REQUIRE(fused.updates().size() == apart.updates().size());
      const auto updated = apply_updates(block, fused), expected = apply_updates(block, apart);
      if (mode == BatchNormMode::running)
        CHECK(all_close(updated.norm.running_var.value, expected.norm.running_var.value, 1e-12, 1e-12));
      CHECK(all_close(updated(x, evaluation), by_layers(expected, evaluation), 1e-12, 1e-12));
    }
}

TEST_CASE("dropout draws from the context", "[nn]") {
  const Tensor<double> x = ones<double>({100, 100});
  const Dropout half{0.5}, tenth{0.1};
  Context evaluation;
  CHECK(same_bits(half(x, evaluation), x));

  Context context = training();
  const Context copy = context;
  const Tensor<double> first = half(x, context), second = half(x, context);
  CHECK_FALSE(same_bits(first, second));
  // 10 000 coins: the share of survivors is within 4 standard errors (0.02) of a half; survivors are doubled.
  CHECK(mean(first).item() == Approx(1).margin(0.04));
  CHECK(largest(first) == 2);

  Context again = copy;
  CHECK(same_bits(half(x, again), first));
  // The second layer's mask does not depend on the first layer's rate.
  Context other = copy;
  tenth(x, other);
  CHECK(same_bits(half(x, other), second));
  other = copy;
  Dropout{0}(x, other);
  CHECK(same_bits(half(x, other), second));
  // Nor on draws for another purpose.
  other = copy;
  other.stream("attention dropout");
  CHECK(same_bits(half(x, other), first));
  // The gradient passes the same mask.
  const auto gradient = grad(
      [&](const Tensor<double>& v) {
        Context c = copy;
        return sum(half(v, c));
      },
      x);
  CHECK(same_bits(gradient, first));
  CHECK_THROWS_AS((Dropout{1.0}(x, context)), ValueError);
}

TEST_CASE("Sequential composes", "[nn]") {
  const Random random(1);
  const Sequential net(Linear<double>(3, 4, random.stream(0)), Relu(), Dropout{0.5},
                       Linear<double>(4, 2, random.stream(1)), [](const Tensor<double>& x) { return x * 2; });
  CHECK(names(net) == Names{"0.weight", "0.bias", "3.weight", "3.bias"});
  const Tensor<double> x = randn<double>({5, 3}, random);
  Context evaluation;
  const auto& parts = net.layers;
  CHECK(same_bits(net(x, evaluation), std::get<3>(parts)(relu(std::get<0>(parts)(x))) * 2));
  Context context = training(), same = training();
  const Tensor<double> masked = std::get<2>(parts)(relu(std::get<0>(parts)(x)), same);
  CHECK(same_bits(net(x, context), std::get<3>(parts)(masked) * 2));

  auto stepped = net;
  stepped = net - 0.5 * net;
  CHECK(same_bits(std::get<0>(stepped.layers).weight, 0.5 * std::get<0>(parts).weight));

  const Sequential plain(Conv2d<double>(1, 2, 3, random), Tanh(), Flatten(), Linear<double>(8, 1, random), Gelu());
  CHECK(plain(zeros<double>({3, 4, 4, 1})).shape() == Shape{3, 1});
  CHECK(plain(zeros<double>({0, 4, 4, 1})).shape() == Shape{0, 1});
  CHECK_THROWS_WITH(plain(zeros<double>({3, 5, 4, 1})), contains("Sequential > 3 > Linear"));
}
