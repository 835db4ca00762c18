// Graph attention over random graphs: value alone, and value with gradient. Eight heads of sixteen, twenty edges a
// node.
//   graph_attention --benchmark_repetitions=9 --benchmark_report_aggregates_only=true

#include <benchmark/benchmark.h>

#include "graft/ops/graph_attention.hpp"
#include "graft/model/grad.hpp"

using namespace graft;

namespace {

constexpr Index kHeads = 8, kWidth = 16, kDegree = 20;

Graph random_graph(Index nodes) {
  const Random random(1);
  std::vector<GraphEdge> edges;
  for (Index e = 0; e < nodes * kDegree; ++e)
    edges.push_back({random.below(2 * static_cast<std::uint64_t>(e), nodes),
                     random.below(2 * static_cast<std::uint64_t>(e) + 1, nodes)});
  return Graph(nodes, edges);
}

/// Arguments: nodes, threads.
template <class Run>
void measure(benchmark::State& state, Run run) {
  const Index nodes = state.range(0);
  const Graph graph = random_graph(nodes);
  const std::vector<Tensor<>> x{randn({nodes, kHeads, kWidth}, Random(2)), randn({nodes, kHeads, kWidth}, Random(3)),
                                randn({kHeads, kWidth}, Random(4))};
  set_threads(static_cast<int>(state.range(1)));
  for (auto _ : state) benchmark::DoNotOptimize(run(graph, x));
  set_threads(0);
  state.counters["edges/s"] =
      benchmark::Counter(static_cast<double>(graph.edges() * state.iterations()), benchmark::Counter::kIsRate);
}

Tensor<> gat(const Graph& graph, const std::vector<Tensor<>>& x) {
  return graph_attention(graph, x[0], sum(x[0] * x[2], {2}), sum(x[1] * x[2], {2}));
}
Tensor<> gatv2(const Graph& graph, const std::vector<Tensor<>>& x) {
  return graph_attention_v2(graph, x[0], x[1], x[2]);
}

template <Tensor<> (*attend)(const Graph&, const std::vector<Tensor<>>&)>
void value(benchmark::State& state) {
  measure(state, attend);
}
template <Tensor<> (*attend)(const Graph&, const std::vector<Tensor<>>&)>
void value_and_gradient(benchmark::State& state) {
  measure(state, [](const Graph& graph, const std::vector<Tensor<>>& x) {
    return grad([&](const std::vector<Tensor<>>& v) { return sum(attend(graph, v)); }, x);
  });
}

void sizes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"nodes", "threads"})->UseRealTime()->Unit(benchmark::kMillisecond);
  for (Index nodes : {100, 10000, 100000})
    for (Index count : {1, 2}) bench->Args({nodes, count});
}
BENCHMARK(value<gat>)->Apply(sizes);
BENCHMARK(value_and_gradient<gat>)->Apply(sizes);
BENCHMARK(value<gatv2>)->Apply(sizes);
BENCHMARK(value_and_gradient<gatv2>)->Apply(sizes);

}  // namespace

BENCHMARK_MAIN();
