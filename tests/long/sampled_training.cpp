// Neighbour-sampled training of a two-layer GraphSAGE on a generated graph of 1 M nodes and 10 M edges, batches of 1024
// seeds with fan-out 10 x 10. The loss must fall below a third of its first value, the process stay under 4 GB, and
// with every neighbour a batch must give the bits of the whole graph.

#include <cstdio>

#include "graft/evaluate/machine.hpp"
#include "graft/graft.hpp"
#include "graft/graph/sage.hpp"
#include "graft/graph/sampling.hpp"
#include "graft/train/progress.hpp"

using namespace graft;

namespace {

constexpr Index kNodes = 1'000'000, kDegree = 10, kClasses = 8, kWidth = 32;

/// Each node hears ten others, six of them of its own class: node i is of class i % 8.
Graph make_graph(const Random& random) {
  std::vector<GraphEdge> edges;
  edges.reserve(kNodes * kDegree);
  for (Index i = 0; i < kNodes; ++i)
    for (Index e = 0; e < kDegree; ++e) {
      const Index drawn = random.below(static_cast<std::uint64_t>(i * kDegree + e), kNodes);
      edges.push_back({e < 6 ? drawn - drawn % kClasses + i % kClasses : drawn, i});
    }
  return Graph(kNodes, edges);
}

struct Net {
  Sage<> first, second;
  GRAFT_FIELDS(first, second)
  Tensor<float> operator()(const SampledBatch& batch, const Tensor<float>& x, ContextRef context) const {
    const auto own = [](const Tensor<float>& h, const Graph& graph) { return slice(h, 0, 0, graph.destinations()); };
    const Graph &inner = batch.blocks[0].graph, &outer = batch.blocks[1].graph;
    const Tensor<float> h = relu(first(inner, x, own(x, inner), context));
    return second(outer, h, own(h, outer), context);
  }
};

int failures = 0;
void check(bool right, const char* what) {
  std::printf("%s: %s\n", right ? "ok" : "FAILED", what);
  failures += !right;
}

}  // namespace

int main() {
  const Stopwatch watch;
  const Random random(1);
  const Graph graph = make_graph(random.stream("graph"));
  std::vector<std::int64_t> classes;
  for (Index i = 0; i < kNodes; ++i) classes.push_back(i % kClasses);
  const Tensor<std::int64_t> labels = from_vector(classes);
  const Random noise = random.stream("noise");
  // The class's own feature stands 1 above noise of standard deviation 1: one node alone says little.
  const Tensor<float> features = randn<float>({kNodes, kWidth}, noise) + one_hot<float>(labels, kWidth);
  Net net{{kWidth, 64, random.stream("first")}, {64, kClasses, random.stream("second")}};
  std::printf("%ld nodes, %ld edges, %.2f GB\n", static_cast<long>(graph.sources()), static_cast<long>(graph.edges()),
              static_cast<double>(peak_bytes()) / 1e9);
  Adam optimizer(net);
  const NeighbourLoader loader(graph, arange<std::int64_t>(kNodes), {}, random.stream("loader"));
  const NeighbourLoader::Epoch epoch = loader.epoch(0);
  double first = 0, last = 0;
  constexpr Index steps = 100;
  for (Index step = 0; step < steps; ++step) {
    const SampledBatch batch = epoch.batch(step);
    const Tensor<float> x = gather(features, batch.nodes());
    const Tensor<std::int64_t> targets = gather(labels, batch.seeds);
    Context context(Phase::training, random.stream("training", step));
    const auto [value, gradient] =
        value_and_grad([&](const Net& model) { return cross_entropy(model(batch, x, context), targets); }, net);
    optimizer.step(net, gradient, 0.01);
    last = static_cast<double>(value.item());
    if (step == 0) first = last;
    if (step % 20 == 0 || step == steps - 1) std::printf("step %ld: loss %.3f\n", static_cast<long>(step), last);
  }
  check(last < first / 3, "the loss falls below a third");

  const SampledBatch whole =
      sample_neighbours(graph, arange<std::int64_t>(256), {kAllNeighbours, kAllNeighbours}, random);
  Context context(Phase::evaluation, random);
  const Tensor<float> sampled = net(whole, gather(features, whole.nodes()), context);
  const Tensor<float> h = relu(net.first(graph, features, context));
  check(same_bits(sampled, slice(net.second(graph, h, context), 0, 0, 256)),
        "all neighbours give the whole graph's bits");
  std::printf("peak %.2f GB, %.0f s\n", static_cast<double>(peak_bytes()) / 1e9, watch.seconds());
  check(peak_bytes() < 4'000'000'000, "memory stays under 4 GB");
  return failures;
}
