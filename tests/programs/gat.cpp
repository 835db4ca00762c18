// Two layers of graph attention classify the nodes of a planted partition: three groups of a hundred nodes, edges mostly
// within a group, features that say little by themselves. A tenth of the nodes have labels.
#include <cstdio>
#include <vector>

#include "graft/evaluate/metrics.hpp"
#include "graft/graft.hpp"

using namespace graft;

namespace program {

constexpr Index kNodes = 300, kGroups = 3, kFeatures = 16, kLabelled = 30;

struct Net {
  Gat<> first, second;
  Dropout dropout{0.3};
  GRAFT_FIELDS(first, second)
  GRAFT_CONFIG(dropout)

  Tensor<> operator()(const Graph& graph, const Tensor<>& x, ContextRef context) const {
    const Tensor<> hidden = elu(first(graph, dropout(x, context), context));
    return second(graph, dropout(hidden, context), context);
  }
};

Index group_of(Index node) { return node % kGroups; }

Graph planted_partition(const Random& random) {
  const Tensor<> draws = rand({kNodes, kNodes}, random);
  std::vector<GraphEdge> edges;
  for (Index i = 0; i < kNodes; ++i)
    for (Index j = 0; j < kNodes; ++j) {
      const float probability = group_of(i) == group_of(j) ? 0.05f : 0.005f;
      if (i != j && draws.at({i, j}) < probability) edges.push_back({i, j});
    }
  return with_self_loops(Graph(kNodes, edges));
}

int run() {
  const Random random(1);
  const Graph graph = planted_partition(random.stream("edges"));
  std::vector<std::int64_t> groups;
  for (Index i = 0; i < kNodes; ++i) groups.push_back(group_of(i));
  const Tensor<std::int64_t> labels = from_vector(groups);
  const Tensor<> centres = randn({kGroups, kFeatures}, random.stream("centres"));
  const Tensor<> x = 0.4 * gather(centres, labels) + randn({kNodes, kFeatures}, random.stream("noise"));

  Net net{.first = {kFeatures, 8, random.stream("first"), {.heads = 4}},
          .second = {32, kGroups, random.stream("second"), {.heads = 2, .concatenate = false}}};
  Adam optimizer(net, {.weight_decay = 5e-4});
  const auto loss = [&](const Net& model, ContextRef context) {
    const Tensor<> logits = model(graph, x, context);
    return cross_entropy(slice(logits, 0, 0, kLabelled), slice(labels, 0, 0, kLabelled));
  };
  for (int step = 0; step < 100; ++step) {
    Context context(Phase::training, random.stream("training", step));
    const auto [value, gradient] = value_and_grad([&](const Net& model) { return loss(model, context); }, net);
    optimizer.step(net, gradient, 5e-3);
    if (step == 0) std::printf("first loss %.3f\n", static_cast<double>(value.item()));
  }
  const Tensor<> logits = net(graph, x, Context());
  const double right = accuracy(slice(logits, 0, kLabelled, kNodes), slice(labels, 0, kLabelled, kNodes));
  std::printf("accuracy of the unlabelled %.3f\n", right);
  return right > 0.9 ? 0 : 1;
}

}  // namespace program

int main() { return program::run(); }
