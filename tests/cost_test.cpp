// What models cost: counts by hand.

#include <cmath>

#include "catch.hpp"
#include "graft/evaluate/cost.hpp"
#include "graft/model/arithmetic.hpp"
#include "layers.hpp"
#include "messages.hpp"

using namespace graft;

namespace {

struct TwoHeads {
  Linear<> body, head, helper;
  Buffer<> mean;
  GRAFT_FIELDS(body, head, helper, mean)
};
Graph ring(Index nodes) {
  std::vector<GraphEdge> edges;
  for (Index i = 0; i < nodes; ++i) edges.push_back({i, (i + 1) % nodes});
  return Graph(nodes, edges);
}

}  // namespace

TEST_CASE("parameters: in all, not frozen, deployed", "[evaluate]") {
  const Random random(1);
  TwoHeads model{Linear<>(4, 3, random), Linear<>(3, 2, random), Linear<>(3, 5, random, {.bias = false}), {}};
  model.mean.value = zeros({100});
  const ParameterCounts all = parameter_counts(model);
  CHECK(all.total == 15 + 8 + 15);
  CHECK(all.trainable == 38);
  CHECK(all.deployed == 38);
  const ParameterCounts some =
      parameter_counts(freeze(model, {"body", "head.bias"}), std::pair(model.body, model.head));
  CHECK(some.total == 38);
  CHECK(some.trainable == 6 + 15);
  CHECK(some.deployed == 23);
  CHECK(parameter_counts(Same()).total == 0);
}

TEST_CASE("multiply-adds of maps and convolutions", "[evaluate]") {
  const Random random(1);
  const Linear<> map(7, 5, random);
  CHECK(multiply_adds(map, {7}) == 35);
  CHECK(multiply_adds(map, {3, 7}) == 3 * 35);
  CHECK(multiply_adds(map, {2, 3, 7}) == 6 * 35);
  CHECK(multiply_adds(map, {0, 7}) == 0);
  // 3 x 3 windows in steps of 2 over 9 x 7 pixels: 4 x 3 places.
  CHECK(multiply_adds(Conv2d<>(6, 4, 3, random, {.stride = 2}), {5, 9, 7, 6}) == 5 * 4 * 3 * 4 * 6 * 9);
  CHECK(multiply_adds(Conv2d<>(6, 4, 3, random, {.padding = 1}), {1, 9, 7, 6}) == 9 * 7 * 4 * 6 * 9);
  CHECK(multiply_adds(Conv2d<>(6, 4, {1, 3}, random, {.groups = 2}), {1, 9, 7, 6}) == 9 * 5 * 4 * 3 * 3);
  CHECK(multiply_adds(ConvBlock<>(6, 4, random), {2, 8, 8, 6}) == 2 * 64 * 4 * 6 * 9);
  CHECK(refusal_fault<ShapeError>("multiply_adds", "7 elements", [&] { multiply_adds(map, {3, 6}); }) == "");
  CHECK(refusal_fault<ShapeError>("multiply_adds", "[8, 8, 6]", [&] {
          multiply_adds(ConvBlock<>(6, 4, random), {8, 8, 6});
        }) == "");
}

TEST_CASE("the convolutional network of few-shot learning: 9.8 million an image", "[evaluate]") {
  // Four 3 x 3 convolutions to 64 channels of 28, 14, 7 and 3 pixels a side.
  const Conv4<> net(Random(1), {.channels = {64, 64, 64, 64}});
  const Index by_hand = 28 * 28 * 64 * 9 + (14 * 14 + 7 * 7 + 3 * 3) * 64 * 64 * 9;
  CHECK(by_hand == 9'815'040);
  CHECK(multiply_adds(net, {1, 28, 28, 1}) == by_hand);
  CHECK(multiply_adds(net, {600, 28, 28, 1}) == 600 * by_hand);
  CHECK_THROWS_AS(multiply_adds(net, {28, 28, 1}), ShapeError);
}

TEST_CASE("multiply-adds of attention", "[evaluate]") {
  const Random random(1);
  // Width 12: four projections of 5 tokens, then 5 x 5 scores of 12 products and sums of as many.
  const MultiHeadAttention<> self(12, 3, random);
  CHECK(multiply_adds(self, {5, 12}, {5, 12}) == 4 * 5 * 144 + 2 * 25 * 12);
  CHECK(multiply_adds(self, {2, 5, 12}, {2, 5, 12}) == 2 * (4 * 5 * 144 + 2 * 25 * 12));
  CHECK(multiply_adds(self, {2, 5, 12}, {2, 7, 12}) == 2 * (2 * 5 * 144 + 2 * 7 * 144 + 2 * 35 * 12));
  // One head of keys and values for three: a third of their projections; scores as before.
  CHECK(multiply_adds(MultiHeadAttention<>(12, 3, random, {.key_heads = 1}), {5, 12}, {5, 12}) ==
        2 * 5 * 144 + 2 * 5 * 12 * 4 + 2 * 25 * 12);
  CHECK(multiply_adds(MultiHeadAttention<>(12, 3, random, {.memory_width = 8}), {5, 12}, {7, 8}) ==
        2 * 5 * 144 + 2 * 7 * 8 * 12 + 2 * 35 * 12);
  CHECK(refusal_fault<ShapeError>("multiply_adds", "key [3, 5, 12]", [&] {
          multiply_adds(self, {2, 5, 12}, {3, 5, 12});
        }) == "");
  CHECK(refusal_fault<ShapeError>("multiply_adds", "12 elements", [&] {
          multiply_adds(self, {5, 12}, {5, 11});
        }) == "");

  const TransformerEncoder<> encoder(2, 12, 3, 20, random);
  const Index layer = 2 * (4 * 5 * 144 + 2 * 25 * 12) + 10 * 2 * 12 * 20;
  CHECK(multiply_adds(encoder.layers[0], {2, 5, 12}) == layer);
  CHECK(multiply_adds(encoder, {2, 5, 12}) == 2 * layer);
  const TransformerEncoderLayer<> gated(12, 3, 20, random, {.glu = true});
  CHECK(multiply_adds(gated, {2, 5, 12}) == layer + 10 * 12 * 20);

  // 49 patches of 16 pixels to 64 numbers.
  const PatchTransformer<> patches{random};
  const Index block = 4 * 49 * 64 * 64 + 2 * 49 * 49 * 64 + 2 * 49 * 64 * 128;
  CHECK(multiply_adds(patches, {3, 28, 28, 1}) == 3 * (49 * 16 * 64 + 3 * block));
}

TEST_CASE("multiply-adds of graph attention", "[evaluate]") {
  const Random random(1);
  // 6 nodes and edges, 5 features to 4 heads of 3.
  const Gat<> gat(5, 3, random, {.heads = 4});
  CHECK(multiply_adds(gat, ring(6)) == 6 * 5 * 12 + (6 + 6 + 6) * 12);
  CHECK(multiply_adds(GatV2<>(5, 3, random, {.heads = 4}), ring(6)) == 2 * 6 * 5 * 12 + 2 * 6 * 12);
  const Gat<> with_edges(5, 3, random, {.heads = 4, .edge_features = 2});
  CHECK(multiply_adds(with_edges, ring(6)) == 6 * 5 * 12 + 18 * 12 + 12 * 2 + 6 * 2 * 4);
  CHECK(multiply_adds(GatV2<>(5, 3, random, {.heads = 4, .edge_features = 2}), ring(6)) ==
        2 * 6 * 5 * 12 + 2 * 6 * 12 + 6 * 12 * 2);
  const std::vector<GraphEdge> edges{{0, 0}, {1, 0}, {2, 1}};
  const Graph bipartite(3, 2, edges);
  CHECK(multiply_adds(gat, bipartite) == (3 + 2) * 5 * 12 + (3 + 2 + 3) * 12);
  CHECK(multiply_adds(Gat<>(5, 3, random, {.heads = 4, .in_destinations = 7}), bipartite) ==
        3 * 5 * 12 + 2 * 7 * 12 + (3 + 2 + 3) * 12);
  CHECK(multiply_adds(GatV2<>(5, 3, random, {.heads = 4, .in_destinations = 7}), bipartite) ==
        3 * 5 * 12 + 2 * 7 * 12 + 2 * 3 * 12);
}

TEST_CASE("steps to a target", "[evaluate]") {
  const TrainingCurve rising{{0, 100, 200, 300}, {0.2, 0.7, 0.6, 0.8}};
  CHECK(steps_to_target(rising, 0.1) == 0);
  CHECK(steps_to_target(rising, 0.7) == 100);   // reached exactly
  CHECK(steps_to_target(rising, 0.65) == 100);  // measured, not interpolated to 90
  CHECK(steps_to_target(rising, 0.75) == 300);
  CHECK_FALSE(steps_to_target(rising, 0.9));
  const TrainingCurve loss{{10, 20, 30}, {2, NAN, 1}, false};
  CHECK(steps_to_target(loss, 1.5) == 30);  // a NaN reaches nothing
  CHECK_FALSE(steps_to_target(loss, 0.5));
  CHECK_FALSE(steps_to_target({}, 1));
  CHECK(refusal_fault("steps_to_target", "2 numbers of steps and 1 figures", [] {
          steps_to_target({{1, 2}, {1}}, 1);
        }) == "");
  CHECK(refusal_fault("steps_to_target", "number 1 of steps is 1", [] { steps_to_target({{1, 1}, {1, 2}}, 1); }) == "");
  CHECK(refusal_fault("steps_to_target", "number 0 of steps is -1", [] { steps_to_target({{-1}, {1}}, 1); }) == "");
  CHECK(refusal_fault("steps_to_target", "the target is nan", [] { steps_to_target({}, NAN); }) == "");
}
