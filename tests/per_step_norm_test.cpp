// Batch norm of every inner step: the norm of the step that was chosen and no other, through any model.

#include <vector>

#include "catch.hpp"
#include "gap.hpp"
#include "graft/model/any_model.hpp"
#include "graft/model/check_gradients.hpp"
#include "graft/nn/per_step_norm.hpp"
#include "graft/nn/sequential.hpp"
#include "layers.hpp"
#include "messages.hpp"

using namespace graft;

namespace {

/// Weights, biases and averages that differ from step to step and are not at their start.
PerStepBatchNorm<double> layer_of(Index count, BatchNormOptions o = {}) {
  PerStepBatchNorm<double> layer(3, count, o);
  const Random random(7);
  for (Index step = 0; step < count; ++step) {
    BatchNorm<double>& norm = layer.steps[step];
    norm.weight = 1 + 0.3 * randn<double>({3}, random.stream("weight", step));
    norm.bias = randn<double>({3}, random.stream("bias", step));
    if (o.mode == BatchNormMode::batch) continue;
    norm.running_mean.value = randn<double>({3}, random.stream("mean", step));
    norm.running_var.value = 0.5 + rand<double>({3}, random.stream("variance", step));
  }
  return layer;
}
const Tensor<double> batch = 2 * randn<double>({8, 3}, Random(1)) + 1;

}  // namespace

TEST_CASE("a per-step norm is the batch norm of its step", "[nn]") {
  for (const BatchNormMode mode : {BatchNormMode::batch, BatchNormMode::running}) {
    const PerStepBatchNorm<double> layer = layer_of(3, {.mode = mode});
    for (const Phase phase : {Phase::training, Phase::evaluation})
      for (Index step = 0; step < 3; ++step) {
        Context own(phase, Random(1)), other(phase, Random(1));
        const Tensor<double> y = at_inner_step(layer, step)(batch, own);
        CHECK(same_bits(y, layer.steps[step](batch, other)));
        CHECK(own.updates().size() == other.updates().size());
      }
    CHECK(same_bits(layer(batch, Context()), layer.steps[0](batch, Context())));
    CHECK_FALSE(same_bits(layer(batch, Context()), at_inner_step(layer, 1)(batch, Context())));
  }
  const PerStepBatchNorm<> fresh(3, 2);
  CHECK(names(fresh) == Names{"steps.0.weight", "steps.0.bias", "steps.1.weight", "steps.1.bias"});
  for (const BatchNorm<>& norm : fresh.steps) {
    CHECK(same_bits(*norm.weight, ones({3})));
    CHECK(same_bits(*norm.bias, zeros({3})));
  }
  CHECK(names(PerStepBatchNorm<>(3, 1, {.affine = false})).empty());
}

TEST_CASE("running statistics are those of the step", "[nn]") {
  const PerStepBatchNorm<double> layer = layer_of(3, {.momentum = 0.25});
  // Two tasks, the first with a batch in each of steps 0 and 2, the second with another one in step 2.
  const Tensor<double> second = randn<double>({5, 3}, Random(4));
  std::vector<Context> tasks{training(1), training(2)};
  at_inner_step(layer, 0)(batch, tasks[0]);
  at_inner_step(layer, 2)(batch, tasks[0]);
  at_inner_step(layer, 2)(second, tasks[1]);
  const PerStepBatchNorm<double> after = apply_updates(layer, tasks);
  const auto averaged = [](const BatchNorm<double>& norm, const std::vector<Tensor<double>>& batches) {
    Tensor<double> m = norm.running_mean.value;
    for (const Tensor<double>& x : batches) m = 0.75 * m + 0.25 * mean(x, {0});
    return m;
  };
  CHECK(gap(after.steps[0].running_mean.value, averaged(layer.steps[0], {batch})) < 1e-15);
  CHECK(same_bits(after.steps[1].running_mean.value, layer.steps[1].running_mean.value));
  CHECK(same_bits(after.steps[1].running_var.value, layer.steps[1].running_var.value));
  CHECK(gap(after.steps[2].running_mean.value, averaged(layer.steps[2], {batch, second})) < 1e-15);
  CHECK(after.steps[0].num_batches_tracked.value.item() == 1);
  CHECK(after.steps[1].num_batches_tracked.value.item() == 0);
  CHECK(after.steps[2].num_batches_tracked.value.item() == 2);
}

TEST_CASE("gradients go to the norm of the step alone", "[nn]") {
  for (const BatchNormMode mode : {BatchNormMode::batch, BatchNormMode::running}) {
    const PerStepBatchNorm<double> layer = at_inner_step(layer_of(3, {.mode = mode}), 1);
    const auto loss = [](const PerStepBatchNorm<double>& m) { return mean(square(square(m(batch, Context())))); };
    const PerStepBatchNorm<double> slope = grad(loss, layer);
    for (std::size_t step : {0u, 2u}) {
      CHECK(largest(*slope.steps[step].weight) == 0);
      CHECK(largest(*slope.steps[step].bias) == 0);
    }
    CHECK(largest(*slope.steps[1].weight) > 0.1);
    CHECK(check_gradients(loss, layer, {.orders = 3}).passed);
    // Of the input, in training as well.
    const auto of_input = [&](const Tensor<double>& x) { return mean(square(layer(x, training()) * batch)); };
    CHECK(check_gradients(of_input, batch, {.orders = 3}).passed);
  }
}

TEST_CASE("the step is chosen in any model", "[nn]") {
  const Random random(1);
  const auto made = [&] {
    return Sequential(Linear<double>(3, 3, random), layer_of(2), Relu(), Linear<double>(3, 2, random.stream(1)),
                      PerStepBatchNorm<double>(2, 2));
  };
  const auto net = made();
  auto by_hand = net;
  for (Buffer<std::int64_t>* chosen :
       {&std::get<1>(by_hand.layers).inner_step, &std::get<4>(by_hand.layers).inner_step})
    chosen->value = tensor<std::int64_t>({1, 2});
  const auto second = at_inner_step(net, 1);
  CHECK(same_bits(second(batch, Context()), by_hand(batch, Context())));
  CHECK_FALSE(same_bits(second(batch, Context()), net(batch, Context())));
  // Where the type is hidden, in lists, and of a model at another step.
  using Any = AnyModel<Tensor<double>(const Tensor<double>&, ContextRef) const, double>;
  CHECK(same_bits(at_inner_step(Any(net), 1)(batch, Context()), second(batch, Context())));
  CHECK(same_bits(at_inner_step(std::vector{net, net}, 1)[1](batch, Context()), second(batch, Context())));
  CHECK(same_bits(at_inner_step(second, 0)(batch, Context()), net(batch, Context())));
  // The choice stays with the model through arithmetic, and a model without such norms is as it was.
  CHECK(std::get<4>((second - 0.1 * net).layers).inner_step.value.at({0}) == 1);
  const std::pair other{Linear<double>(3, 3, random), BatchNorm<double>(3)};
  CHECK(gap(to_vector(at_inner_step(other, 5)), to_vector(other)) == 0);
  const Buffer<std::int64_t> of_two{tensor<std::int64_t>({4, 5})};  // another buffer of two numbers
  CHECK(at_inner_step(std::pair(of_two, other), 1).first.value.at({0}) == 4);
}

TEST_CASE("steps that there are not", "[nn]") {
  const PerStepBatchNorm<double> layer(3, 2);
  CHECK(refusal_fault<IndexError>("at_inner_step", "step 2 of the 2 of inner_step",
                                  [&] { (void)at_inner_step(layer, 2); }) == "");
  CHECK(refusal_fault<IndexError>("at_inner_step", "step -1", [&] { (void)at_inner_step(layer, -1); }) == "");
  CHECK(refusal_fault("PerStepBatchNorm", "steps is 0", [] { PerStepBatchNorm<>(3, 0); }) == "");
  CHECK_THROWS_WITH(PerStepBatchNorm<>()(ones({2, 3}), Context()), contains("before it was made"));
  CHECK_THROWS_AS(layer(ones<double>({2, 4}), training()), ShapeError);
  for (const Index step : {-1, 3}) {  // as a damaged file may have it
    PerStepBatchNorm<double> lost = layer_of(3);
    lost.inner_step.value = tensor<std::int64_t>({step, 9});
    CHECK_THROWS_AS(lost(batch, Context()), IndexError);
  }
}
