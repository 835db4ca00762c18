// Rows of the method table for the architectures of multitask/.

#include <cmath>

#include "catch.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/model/grad.hpp"
#include "graft/model/names.hpp"
#include "graft/multitask/cross_stitch.hpp"
#include "graft/multitask/hard_sharing.hpp"
#include "graft/multitask/mmoe.hpp"
#include "graft/multitask/mtan.hpp"
#include "graft/multitask/ple.hpp"
#include "layers.hpp"
#include "method_table.hpp"

using namespace graft;

namespace {

constexpr Index kIn = 4, kWide = 6, kOut = 3;

template <class T>
std::vector<TanhLayer<T>> layers(Index count, Index in, Index out, std::uint64_t seed) {
  std::vector<TanhLayer<T>> all;
  for (Index i = 0; i < count; ++i) all.emplace_back(in, out, Random(seed).stream("layer", i));
  return all;
}
template <class T>
Tensor<T> items(Index count = 5) {
  return randn<T>({count, kIn}, Random(9));
}

template <class T>
auto hard_sharing() {
  return HardSharing{TanhLayer<T>(kIn, kWide, Random(1)), layers<T>(3, kWide, kOut, 2)};
}
template <class T>
auto cross_stitch(double own) {
  std::vector<std::vector<TanhLayer<T>>> nets;
  for (std::uint64_t t = 0; t < 3; ++t)
    nets.push_back({TanhLayer<T>(kIn, kWide, Random(t)), TanhLayer<T>(kWide, kWide, Random(t + 10)),
                    TanhLayer<T>(kWide, kOut, Random(t + 20))});
  return CrossStitch<TanhLayer<T>, T>(nets, {.own = own});
}
template <class T>
auto mmoe(Index experts) {
  return Mmoe<TanhLayer<T>, TanhLayer<T>, T>(layers<T>(experts, kIn, kWide, 1), layers<T>(3, kWide, kOut, 2), kIn,
                                             Random(3));
}
/// Extractions of `own` experts a task and `shared` for all.
template <class T>
auto ple(Index extractions, Index own, Index shared) {
  Ple<TanhLayer<T>, TanhLayer<T>, T> net;
  for (Index l = 0; l < extractions; ++l) {
    const Index in = l == 0 ? kIn : kWide;
    std::vector<std::vector<TanhLayer<T>>> of_tasks;
    for (std::uint64_t t = 0; t < 3; ++t) of_tasks.push_back(layers<T>(own, in, kWide, 30 + t));
    net.extractions.push_back(
        Extraction<TanhLayer<T>, T>(of_tasks, layers<T>(shared, in, kWide, 1), in, Random(3).stream("gates", l)));
  }
  net.heads = layers<T>(3, kWide, kOut, 2);
  return net;
}
template <class T>
using Stage = MtanStage<TanhLayer<T>, TanhLayer<T>, T>;
template <class T>
auto mtan() {
  const BatchNormOptions norm{.mode = BatchNormMode::batch};
  Mtan<Stage<T>, TanhLayer<T>, TanhLayer<T>, T> net;
  for (Index j = 0; j < 2; ++j) {
    Stage<T> stage{TanhLayer<T>(j == 0 ? kIn : kWide, kWide, Random(40).stream("first", j)),
                   TanhLayer<T>(kWide, kWide, Random(40).stream("second", j)),
                   {}};
    for (Index t = 0; t < 3; ++t)
      stage.masks.emplace_back(j == 0 ? kWide : 2 * kWide, 5, kWide, Random(41).stream("mask", 3 * j + t), norm);
    net.stages.push_back(stage);
  }
  net.passes = layers<T>(1, kWide, kWide, 42);
  net.heads = layers<T>(3, kWide, kOut, 2);
  return net;
}

/// Every ReLU far from its kink: normed numbers of twelve items lie within 3.4 of 0.
Mtan<Stage<double>, TanhLayer<double>, TanhLayer<double>, double> off_the_kinks(
    Mtan<Stage<double>, TanhLayer<double>, TanhLayer<double>, double> net) {
  for (auto& stage : net.stages)
    for (auto& mask : stage.masks) mask.squeeze_norm.bias = tensor<double>({4, -4, 4, 4, -4});
  return net;
}

/// The largest difference between two lists of answers.
double gap(const std::vector<Tensor<double>>& a, const std::vector<Tensor<double>>& b) {
  REQUIRE(a.size() == b.size());
  double most = 0;
  for (std::size_t t = 0; t < a.size(); ++t) most = std::max(most, max(abs(a[t] - b[t])).item());
  return most;
}
/// What every architecture is held to: the answers to the same items are the tasks' own.
template <class Net>
void check_tasks(const Net& net) {
  const Tensor<double> x = items<double>();
  const std::vector<Tensor<double>> all = net.all(x, Context());
  REQUIRE(all.size() == 3);
  for (Index t = 0; t < 3; ++t) CHECK(same_bits(net(x, t, Context()), all[t]));
  CHECK_FALSE(same_bits(all[0], all[1]));
}
/// The gradient of all answers by all parameters, and the answers.
template <class Net>
Tensor<float> trained(const Net& net) {
  const auto [value, gradient] = value_and_grad(
      [&](const Net& n) {
        Tensor<float> total;
        for (const Tensor<float>& answer : n.all(items<float>(200), Context()))
          total = total.defined() ? total + sum(square(answer)) : sum(square(answer));
        return total;
      },
      net);
  return concat(std::vector{reshape(value, {1}), to_vector(gradient)}, 0);
}
/// The sum of squares of all answers as a function of all parameters.
template <class Net>
auto loss_of(const Net& net, Index count = 3) {
  return [net, count](const Tensor<double>& vector) {
    Tensor<double> total = sum(square(zeros<double>({1})));
    for (const Tensor<double>& answer : from_vector(vector, net).all(items<double>(count), Context()))
      total = total + sum(square(answer));
    return total;
  };
}
template <class Net>
BadUse no_such_task(const Net& net) {
  return bad_use<IndexError>([net] { net(items<double>(), 3, Context()); }, "task 3 of 3");
}
/// Of a net whose lists of parts were changed by hand and do not fit any more.
template <class Net, class Change>
BadUse parts_that_disagree(Net net, const Change& change, const char* message) {
  change(net);
  return bad_use<ValueError>([net] { net.all(items<double>(), Context()); }, message);
}

const bool hard_sharing_row = add_method_rows({{
    .name = "hard_sharing",
    .header = "graft/multitask/hard_sharing.hpp",
    .paper = "Caruana, Multitask learning, Machine Learning 1997",
    .functions = {"HardSharing"},
    .use = "HardSharing{trunk, heads}(x, task, context)",
    .run = [](const Random&) { return trained(hard_sharing<float>()); },
    .loss = loss_of(hard_sharing<double>()),
    .loss_at = to_vector(hard_sharing<double>()),
    .errors = {no_such_task(hard_sharing<double>()),
               bad_use<ValueError>(
                   [] {
                     HardSharing{TanhLayer<double>(kIn, kWide, Random(1)), std::vector<TanhLayer<double>>{}}.all(
                         items<double>(), Context());
                   },
                   "no tasks")},
    .properties = {{"all answers are the tasks' own", [] { check_tasks(hard_sharing<double>()); }}},
}});

const bool cross_stitch_row = add_method_rows({{
    .name = "cross_stitch",
    .header = "graft/multitask/cross_stitch.hpp",
    .paper = "Misra, Shrivastava, Gupta, Hebert, Cross-stitch networks for multi-task learning, CVPR 2016",
    .functions = {"CrossStitch"},
    .use = "CrossStitch<Layer>(nets)(x, task, context)",
    .run = [](const Random&) { return trained(cross_stitch<float>(0.9)); },
    .loss = loss_of(cross_stitch<double>(0.9)),
    .loss_at = to_vector(cross_stitch<double>(0.9)),
    .errors = {no_such_task(cross_stitch<double>(0.9)),
               bad_use<ValueError>([] { cross_stitch<double>(NAN); }, "own is nan"),
               bad_use<ValueError>([] { cross_stitch<double>(0.9)({items<double>()}, Context()); }, "1 inputs for 3"),
               bad_use<ValueError>(
                   [] { CrossStitch<TanhLayer<double>, double>(std::vector<std::vector<TanhLayer<double>>>(3)); },
                   "without layers"),
               bad_use<ValueError>(
                   [] {
                     CrossStitch<TanhLayer<double>, double>(
                         std::vector{layers<double>(1, 2, 2, 1), layers<double>(2, 2, 2, 1)});
                   },
                   "nets of 1 and of 2 layers"),
               parts_that_disagree(
                   cross_stitch<double>(0.9), [](auto& net) { net.nets[1].pop_back(); }, "nets of 3 and of 2 layers"),
               parts_that_disagree(
                   cross_stitch<double>(0.9), [](auto& net) { net.stitches.pop_back(); },
                   "1 stitches for 2 gaps between layers")},
    .properties = {{"all answers are the tasks' own", [] { check_tasks(cross_stitch<double>(0.9)); }},
                   {"the identity makes independent nets",
                    [] {
                      const auto net = cross_stitch<double>(1);
                      std::vector<Tensor<double>> alone;
                      for (const auto& layers : net.nets)
                        alone.push_back(layers[2](layers[1](layers[0](items<double>()))));
                      CHECK(gap(net.all(items<double>(), Context()), alone) < 1e-15);
                    }},
                   {"a stitch of equal numbers gives the tasks the mean of their activations",
                    [] {
                      const auto net = cross_stitch<double>(1.0 / 3);
                      const auto mean_of = [&](const Tensor<double>& a, const Tensor<double>& b,
                                               const Tensor<double>& c, std::size_t layer) {
                        return (net.nets[0][layer](a) + net.nets[1][layer](b) + net.nets[2][layer](c)) / 3.0;
                      };
                      const Tensor<double> x = items<double>(), first = mean_of(x, x, x, 0),
                                           second = mean_of(first, first, first, 1);
                      std::vector<Tensor<double>> expected;
                      for (const auto& layers : net.nets) expected.push_back(layers[2](second));
                      CHECK(gap(net.all(x, Context()), expected) < 1e-14);
                    }},
                   {"the stitches start at 0.9 of a task's own activations and even shares of the others'",
                    [] {
                      const auto net = cross_stitch<double>(0.9);
                      REQUIRE(net.stitches.size() == 2);
                      for (const Tensor<double>& a : net.stitches)
                        CHECK(all_close(a, 0.05 + 0.85 * eye<double>(3), 1e-14, 0.0));
                    }}},
}});

const bool mmoe_row = add_method_rows({{
    .name = "mmoe",
    .header = "graft/multitask/mmoe.hpp",
    .paper =
        "Ma et al., Modeling task relationships in multi-task learning with multi-gate mixture-of-experts, KDD 2018",
    .functions = {"Mmoe"},
    .use = "Mmoe(experts, heads, width, random)(x, task, context)",
    .run = [](const Random&) { return trained(mmoe<float>(4)); },
    .loss = loss_of(mmoe<double>(2)),
    .loss_at = to_vector(mmoe<double>(2)),
    .errors = {no_such_task(mmoe<double>(2)), bad_use<ValueError>([] { mmoe<double>(0); }, "0 experts, 3 heads"),
               parts_that_disagree(
                   mmoe<double>(2), [](auto& net) { net.gates.pop_back(); }, "2 gates for 3 tasks"),
               bad_use<ValueError>(
                   [] {
                     auto net = mmoe<double>(2);
                     net.heads.push_back(net.heads[0]);
                     net(items<double>(), 3, Context());
                   },
                   "3 gates for 4 tasks"),
               parts_that_disagree(
                   mmoe<double>(2), [](auto& net) { net.experts.pop_back(); }, "1 experts for 2 scores of the gate")},
    .properties = {{"all answers are the tasks' own", [] { check_tasks(mmoe<double>(3)); }},
                   {"one expert is hard sharing",
                    [] {
                      const auto net = mmoe<double>(1);
                      const HardSharing sharing{net.experts[0], net.heads};
                      CHECK(gap(net.all(items<double>(), Context()), sharing.all(items<double>(), Context())) == 0);
                    }},
                   {"gates of zeros take the mean of the experts",
                    [] {
                      auto net = mmoe<double>(3);
                      for (auto& gate : net.gates) gate.weight = zeros<double>(gate.weight.shape());
                      const Tensor<double> x = items<double>(),
                                           mean = (net.experts[0](x) + net.experts[1](x) + net.experts[2](x)) / 3.0;
                      std::vector<Tensor<double>> expected;
                      for (const auto& head : net.heads) expected.push_back(head(mean));
                      CHECK(gap(net.all(x, Context()), expected) < 1e-14);
                    }},
                   {"an item's mixture does not depend on the other items",
                    [] {
                      const auto net = mmoe<double>(3);
                      const Tensor<double> x = items<double>(), whole = net(x, 1, Context());
                      CHECK(all_close(net(slice(x, 0, 2, 3), 1, Context()), slice(whole, 0, 2, 3), 1e-14, 1e-14));
                    }}},
}});

const bool ple_row = add_method_rows({{
    .name = "ple",
    .header = "graft/multitask/ple.hpp",
    .paper = "Tang, Liu, Zhao, Gong, Progressive layered extraction (PLE), RecSys 2020",
    .functions = {"Ple", "Extraction"},
    .use = "Ple<Expert, Head>{{extraction}, heads}(x, task, context)",
    .run = [](const Random&) { return trained(ple<float>(2, 2, 2)); },
    .loss = loss_of(ple<double>(2, 1, 1)),
    .loss_at = to_vector(ple<double>(2, 1, 1)),
    .errors = {no_such_task(ple<double>(1, 1, 1)), bad_use<ValueError>([] { ple<double>(1, 0, 0); }, "no expert"),
               bad_use<ValueError>([] { ple<double>(1, 1, 1).extractions[0]({items<double>()}, Context()); },
                                   "1 inputs for 3 tasks"),
               parts_that_disagree(
                   ple<double>(1, 1, 1), [](auto& net) { net.extractions[0].gates.pop_back(); }, "2 gates for 3 tasks"),
               parts_that_disagree(
                   ple<double>(1, 1, 1), [](auto& net) { net.extractions[0].own[1].clear(); },
                   "1 experts for 2 scores of the gate")},
    .properties = {{"all answers are the tasks' own", [] { check_tasks(ple<double>(2, 2, 1)); }},
                   {"without shared experts, one a task, the tasks are separate nets",
                    [] {
                      const auto net = ple<double>(1, 1, 0);
                      std::vector<Tensor<double>> alone;
                      for (std::size_t t = 0; t < 3; ++t)
                        alone.push_back(net.heads[t](net.extractions[0].own[t][0](items<double>())));
                      CHECK(gap(net.all(items<double>(), Context()), alone) == 0);
                    }},
                   {"without experts of the tasks' own it is MMoE",
                    [] {
                      const auto net = ple<double>(1, 0, 3);
                      Mmoe<TanhLayer<double>, TanhLayer<double>, double> other;
                      other.experts = net.extractions[0].shared;
                      other.heads = net.heads;
                      other.gates = net.extractions[0].gates;
                      CHECK(gap(net.all(items<double>(), Context()), other.all(items<double>(), Context())) == 0);
                    }},
                   {"the shared gate of the last extraction has no effect, that of one before has",
                    [] {
                      const auto net = ple<double>(2, 1, 1);
                      for (const std::size_t l : {0, 1}) {
                        auto other = net;
                        other.extractions[l].shared_gate.weight = 5.0 * other.extractions[l].shared_gate.weight;
                        const double moved =
                            gap(net.all(items<double>(), Context()), other.all(items<double>(), Context()));
                        CHECK((moved > 0) == (l == 0));
                      }
                    }}},
}});

const bool mtan_row = add_method_rows({{
    .name = "mtan",
    .header = "graft/multitask/mtan.hpp",
    .paper = "Liu, Johns, Davison, End-to-end multi-task learning with attention, CVPR 2019",
    .functions = {"Mtan", "MtanMask"},
    .use = "Mtan<Stage, Pass, Head>{stages, passes, heads}(x, task, context)",
    .run = [](const Random&) { return trained(mtan<float>()); },
    .loss = loss_of(mtan<double>(), 12),  // with few items batch norm is steep
    .loss_at = to_vector(off_the_kinks(mtan<double>())),
    .errors = {no_such_task(mtan<double>()),
               bad_use<ValueError>(
                   [] {
                     auto net = mtan<double>();
                     net.passes.clear();
                     net.all(items<double>(), Context());
                   },
                   "0 passes between 2 stages"),
               bad_use<ValueError>(
                   [] {
                     auto net = mtan<double>();
                     net.stages[1].masks.pop_back();
                     net.all(items<double>(), Context());
                   },
                   "2 masks for 3 tasks")},
    .properties = {{"all answers are the tasks' own", [] { check_tasks(mtan<double>()); }},
                   {"masks of 1 are hard sharing",
                    [] {
                      auto net = mtan<double>();
                      for (auto& stage : net.stages)
                        for (auto& mask : stage.masks) {
                          mask.spread_norm.weight = zeros<double>({kWide});
                          mask.spread_norm.bias = full<double>({kWide}, 50);  // sigmoid(50) is 1 in double
                        }
                      Tensor<double> p = items<double>();
                      for (const auto& stage : net.stages) p = stage.second(stage.first(p));
                      std::vector<Tensor<double>> expected;
                      for (const auto& head : net.heads) expected.push_back(head(p));
                      CHECK(gap(net.all(items<double>(), Context()), expected) < 1e-15);
                    }},
                   {"masks lie in (0, 1)",
                    [] {
                      const Tensor<double> mask =
                          mtan<double>().stages[0].masks[0](randn<double>({20, kWide}, Random(3)), Context());
                      CHECK(min(mask).item() > 0);
                      CHECK(max(mask).item() < 1);
                    }}},
}});

}  // namespace
