// Scores of graphs from all layers, tagged [graph]: the formula, graphs that do not hear one another, derivatives.

#include "graft/graph/classifier.hpp"
#include "graft/graph/gcn.hpp"
#include "graft/graph/gps.hpp"
#include "graft/graph/sage.hpp"
#include "graphs.hpp"
#include "layers.hpp"

using namespace graft;

namespace {

using Numbers = Tensor<double>;

const std::vector<Graph> three_graphs{Graph(4, ring(4)), Graph(1, EdgeList{}), Graph(3, EdgeList{{0, 1}, {2, 1}})};

GraphClassifier<Sage<double>> two_layers(const GraphClassifierOptions& options) {
  const Index in = options.input ? 4 : 3;
  return {{Sage<double>(in, 4, Random(1)), Sage<double>(4, 4, Random(2))}, 3, 4, 2, Random(3), options};
}

}  // namespace

TEST_CASE("GraphClassifier adds the scores of the features and of every layer", "[graph]") {
  const GraphBatch batch(three_graphs);
  const Numbers x = normal_numbers({8, 3}, 1);
  const auto score = [&](const Linear<double>& lin, const Numbers& rows) {
    return lin(segment_sum(rows, batch.offsets));
  };
  const auto net = two_layers({});
  CHECK_FALSE(net.input);
  const Numbers one = net.layers[0](batch.graph, x, Context()), two = net.layers[1](batch.graph, one, Context());
  const Numbers expected = score(net.scores[0], x) + score(net.scores[1], one) + score(net.scores[2], two);
  CHECK(all_close(net(batch, x, Context()), expected, 1e-12, 1e-12));

  const auto lifted = two_layers({.input = true});
  const Numbers zero = (*lifted.input)(x), first = lifted.layers[0](batch.graph, zero, Context()),
                second = lifted.layers[1](batch.graph, first, Context());
  CHECK(all_close(lifted(batch, x, Context()),
                  score(lifted.scores[0], zero) + score(lifted.scores[1], first) + score(lifted.scores[2], second),
                  1e-12, 1e-12));
  CHECK(names(lifted) == Names{"input.weight", "input.bias", "layers.0.lin_l.weight", "layers.0.lin_l.bias",
                               "layers.0.lin_r.weight", "layers.1.lin_l.weight", "layers.1.lin_l.bias",
                               "layers.1.lin_r.weight", "scores.0.weight", "scores.0.bias", "scores.1.weight",
                               "scores.1.bias", "scores.2.weight", "scores.2.bias"});
  check_orders(lifted, [&](const auto& m) { return m(batch, x, Context()); });
  CHECK_THROWS_AS(lifted(batch, zeros<double>({7, 3}), Context()), ShapeError);

  // With almost everything dropped most scores are 0; none is in evaluation.
  const auto dropped = two_layers({.dropout = 0.999});
  CHECK(largest(dropped(batch, x, training())) == 0);
  CHECK(same_bits(dropped(batch, x, Context()), net(batch, x, Context())));
}

TEST_CASE("GraphClassifier scores each graph of a batch as if it were alone", "[graph]") {
  const GraphBatch batch(three_graphs);
  const Numbers x = normal_numbers({8, 4}, 1);
  // Gps takes the batch: its attention must not cross from one graph to another.
  using Layer = Gps<Sage<double>>;
  const GraphClassifier<Layer> net({Layer(4, Sage<double>(4, 4, Random(1)), Random(2), {.heads = 2})}, 4, 4, 2,
                                   Random(3));
  const Numbers together = net(batch, x, Context());
  Index row = 0;
  for (Index g = 0; g < 3; ++g) {
    const Graph& graph = three_graphs[g];
    const Numbers alone = net(GraphBatch(std::vector{graph}), slice(x, 0, row, row + graph.sources()), Context());
    CHECK(all_close(slice(together, 0, g, g + 1), alone, 1e-12, 1e-12));
    row += graph.sources();
  }
  GraphClassifier<Layer> less = net;
  less.scores.pop_back();
  CHECK_THROWS_WITH(less(batch, x, Context()), contains("1 scores for 2 layers and the features"));
}
