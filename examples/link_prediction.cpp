// Links that a graph lacks, from the dot products of what an encoder makes of its nodes: graph auto-encoders (Kipf,
// Welling, "Variational graph auto-encoders", 2016) with GCN or GAT as the encoder, and a perceptron that hears no
// edge.
//
// The recipe was fixed before any test figure was read. Two layers, 32 and 16 wide, no dropout, Adam at 0.01, 200
// epochs; the loss is the cross-entropy of the training edges and as many pairs without an edge there, drawn anew each
// epoch. GAT has 4 heads of 8, then one of 16, and self-loops. 85, 5 and 10 % of the edges are for training, validation
// and test; the pairs without an edge that validation and test are measured with are drawn once, and so are the parts.
// The epoch of the highest AUC on the validation edges answers the test.

#include "graft/data/edge_split.hpp"
#include "graft/data/node_labels.hpp"
#include "graft/evaluate/metrics.hpp"
#include "graft/graft.hpp"
#include "graft/graph/gat.hpp"
#include "graft/graph/gcn.hpp"
#include "graft/graph/stack.hpp"
#include "model_table.hpp"

using namespace graft;

/// The logit of an edge between the nodes of each pair, for what was made of the nodes.
Tensor<> dot_products(const Tensor<>& nodes, const NodePairs& pairs) {
  return sum(gather(nodes, pairs.first) * gather(nodes, pairs.second), {1});
}

/// Scores of pairs with an edge, then of pairs without, and labels 1 and 0.
struct Answers {
  Tensor<> scores;
  Tensor<std::int64_t> labels;
  Answers(const Tensor<>& nodes, const NodePairs& right, const NodePairs& wrong)
      : scores(concat(std::vector{dot_products(nodes, right), dot_products(nodes, wrong)}, 0)),
        labels(generate({scores.count()}, [&](Index i) { return std::int64_t{i < right.count()}; })) {}
};

/// AUC and average precision of the test edges at the epoch that the validation edges chose.
template <class Encoder>
std::vector<double> trained_figures(Encoder net, const EdgeSplit& split, const Graph& graph,
                                    const SparseMatrix<>& features, Index epochs, const Random& random) {
  Adam adam(net);
  double highest = -1;
  std::vector<double> figures;
  for (Index epoch = 0; epoch < epochs; ++epoch) {
    examples::end_if_stopped();
    const NodePairs wrong = draw_unlinked(split.graph, split.train.count(), random.stream("wrong", epoch));
    const auto loss = [&](const Encoder& m) {
      Context training(Phase::training, random.stream("epoch", epoch));
      const Answers answers(m(graph, features, training), split.train, wrong);
      return binary_cross_entropy_with_logits(answers.scores, cast<float>(answers.labels));
    };
    adam.step(net, grad(loss, net), 0.01);
    const Tensor<> nodes = net(graph, features, Context());
    const Answers validation(nodes, split.validation, split.validation_negatives);
    const double reached = auc(validation.scores, validation.labels);
    if (reached <= highest) continue;
    highest = reached;
    const Answers test(nodes, split.test, split.test_negatives);
    figures = {auc(test.scores, test.labels), average_precision(test.scores, test.labels)};
  }
  return figures;
}

std::vector<double> model_figures(const std::string& name, const EdgeSplit& split, const SparseMatrix<>& features,
                                  Index epochs, const Random& random) {
  const Index width = features.columns();
  const Random a = random.stream("first"), b = random.stream("second");
  const auto two = [&](const auto& first, const auto& second, const Graph& graph, Activation activation) {
    return trained_figures(GraphStack(std::vector{first, second}, activation), split, graph, features, epochs, random);
  };
  if (name == "mlp") return two(Linear<>(width, 32, a), Linear<>(32, 16, b), split.graph, Activation::relu);
  if (name == "gcn") {
    const GcnOptions plain{.bias = false};
    return two(Gcn<>(width, 32, a, plain), Gcn<>(32, 16, b, plain), split.graph, Activation::relu);
  }
  return two(Gat<>(width, 8, a, {.heads = 4}), Gat<>(32, 16, b), with_self_loops(split.graph), Activation::elu);
}

void link_prediction(examples::Program& program, const std::string& file, const std::vector<std::string>& models,
                     Index seeds, Index epochs) {
  const Random root(program.seed);
  const NodeLabels data = file.empty() ? make_communities(root.stream("graph")) : load_node_labels(file);
  const SparseMatrix<> features = rows_to_one(data.features);
  const EdgeSplit split = split_edges(data.graph, root.stream("split"));
  const std::string head = "Scores of " + std::to_string(split.test.count()) +
                           " edges that were held back beside as many " + "pairs without one, " +
                           std::to_string(data.nodes()) + " nodes, mean of " + std::to_string(seeds) +
                           " seeds with 95 % interval (deviation):";
  examples::compare_models(
      program, head,
      {{.head = "AUC", .metric = "auc", .deviation = true},
       {.head = "AP", .metric = "average_precision", .deviation = true}},
      models, seeds,
      [&](const std::string& model, Index i) {
        return model_figures(model, split, features, epochs, root.stream("seed", i));
      },
      // AUC and AP of GAE with features, in the table of its paper.
      [&](const std::string& model) -> std::string {
        if (model != "gcn") return "";
        return data.nodes() == 2708 ? "91.0, 92.0" : data.nodes() == 3327 ? "89.5, 89.9" : "";
      });
}

int main(int argc, char** argv) {
  examples::Program program("link_prediction", "Links that a graph lacks, by dot products of encoded nodes.");
  std::string data;
  std::vector<std::string> models = {"mlp", "gcn", "gat"};
  Index seeds = 10, epochs = 200;
  program.file("--data", data, "graph with features, an .npz file as docs/graph-tables.md says");
  program.models(models);
  program.whole("--seeds", seeds, "seeds of initial values and training pairs, run in parallel", 1);
  program.whole("--epochs", epochs, "epochs of training", 1);
  return program.run(argc, argv, [&] { link_prediction(program, data, models, seeds, epochs); });
}
