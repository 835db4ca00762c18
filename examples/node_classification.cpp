// Classes of nodes in a graph from a few labels, by the recipes of the papers: GCN (Kipf, Welling 2017), GAT
// (Velickovic et al. 2018) and others, beside a perceptron that sees no edges. The model that answers the test is the
// one that the recipe's stopping rule chose by the validation nodes.

#include "graft/data/node_labels.hpp"
#include "graft/evaluate/metrics.hpp"
#include "graft/graft.hpp"
#include "graft/graph/gcn.hpp"
#include "graft/graph/label_propagation.hpp"
#include "graft/graph/sage.hpp"
#include "graft/graph/sgc.hpp"
#include "graft/graph/stack.hpp"
#include "graft/train/early_stopping.hpp"
#include "model_table.hpp"

using namespace graft;

/// By default GCN's, in whose code the loss that the stopping rule sees has the decay of the first layer too.
struct Recipe {
  Index epochs = 200;
  double rate = 0.01, decay = 5e-4, dropout = 0.5;
  bool all = false, decay_in_validation = true, loops = false;  // all: layers decay; loops: nodes hear themselves
  EarlyStopping stopping = {.window = 10};
  Activation activation = Activation::relu;
};
/// Of the authors' code; it also drops out between the transformation and the attention, which `Gat` does not.
const Recipe gat_recipe{100000, 0.005, 5e-4, 0.6, true, false, true, {.patience = 100}, Activation::elu};
const Recipe sgc_recipe{100, 0.2, 5e-6, 0, true, false, false, {}};  // the defaults of the authors' code

/// Test accuracy on Cora or Citeseer, of the tables of GCN's, SGC's and GAT's papers.
std::string published(const std::string& model, const NodeLabels& data) {
  const char* papers[][3] = {{"label-propagation", "68.0", "45.3"},
                             {"mlp", "55.1", "46.5"},
                             {"sgc", "81.0", "71.9"},
                             {"gcn", "81.5", "70.3"},
                             {"gat", "83.0", "72.5"}};
  for (const auto& row : papers)
    if (row[0] == model) return data.nodes() == 2708 ? row[1] : data.nodes() == 3327 ? row[2] : "";
  return "";
}

Tensor<> loss_at(const Tensor<>& logits, const NodeLabels& data, const Tensor<std::int64_t>& nodes) {
  return cross_entropy(gather(logits, nodes), gather(data.labels, nodes));
}
double accuracy_at(const Tensor<>& logits, const NodeLabels& data, const Tensor<std::int64_t>& nodes) {
  return accuracy(gather(logits, nodes), gather(data.labels, nodes));
}
/// The test accuracy of layers trained by a recipe; draws what they attend to into a file, if it has a name.
template <class Layer>
double trained_accuracy(const std::vector<Layer>& layers, const NodeLabels& data, Recipe r, const Random& random,
                        const std::string& picture) {
  using M = GraphStack<Layer>;
  M net(layers, r.activation, r.dropout), best = net;
  const Graph graph = r.loops ? with_self_loops(data.graph) : data.graph;
  Adam adam(net);
  const auto decay = [&](const M& m) { return r.decay / 2 * (r.all ? dot(m, m) : dot(m.layers[0], m.layers[0])); };
  for (Index epoch = 0; epoch < r.epochs && !r.stopping.ends; ++epoch) {
    examples::end_if_stopped();
    const auto loss = [&](const M& m) {
      Context training(Phase::training, random.stream("epoch", epoch));
      return loss_at(m(graph, data.features, training), data, data.train) + decay(m);
    };
    adam.step(net, grad(loss, net), r.rate);
    const Tensor<> logits = net(graph, data.features, Context());
    const Tensor<> seen = loss_at(logits, data, data.validation);
    r.stopping.look((r.decay_in_validation ? seen + decay(net) : seen).item(),
                    accuracy_at(logits, data, data.validation));
    if (r.stopping.counts) best = net;
  }
  if constexpr (requires { net.layers[0].attention(graph, data.features); })
    examples::draw_attention(picture, graph, best.layers[0].attention(graph, data.features), data.labels, data.test);
  return accuracy_at(best(graph, data.features, Context()), data, data.test);
}

/// The test accuracy of a model of this name.
double model_accuracy(const std::string& name, const NodeLabels& data, const Random& random, const std::string& file) {
  const Index width = data.features.columns(), classes = data.classes;
  const Random a = random.stream("first"), b = random.stream("second");
  const auto run = [&](const auto& layers, const Recipe& r) { return trained_accuracy(layers, data, r, random, file); };
  const auto two = [&](const auto& first, const auto& second) { return run(std::vector{first, second}, {}); };
  const GatOptions heads{.heads = 8, .dropout = 0.6}, last{.concatenate = false, .dropout = 0.6};
  if (name == "mlp") return two(Linear<>(width, 16, a, {.bias = false}), Linear<>(16, classes, b, {.bias = false}));
  if (name == "gcn") return two(Gcn<>(width, 16, a, {.bias = false}), Gcn<>(16, classes, b, {.bias = false}));
  if (name == "sage") return two(Sage<>(width, 16, a), Sage<>(16, classes, b));
  if (name == "gat") return run(std::vector{Gat<>(width, 8, a, heads), Gat<>(64, classes, b, last)}, gat_recipe);
  if (name == "gatv2") return run(std::vector{GatV2<>(width, 8, a, heads), GatV2<>(64, classes, b, last)}, gat_recipe);
  if (name == "sgc") return run(std::vector{Sgc<>(width, classes, a, {.hops = 2})}, sgc_recipe);
  return accuracy_at(label_propagation(data.graph, data.labels, data.train, classes), data, data.test);
}

void node_classification(examples::Program& program, const std::string& file, const std::vector<std::string>& models,
                         Index seeds) {
  const std::string drawn = examples::drawn_model(program, models, {"gat", "gatv2"});
  const Random root(program.seed);
  NodeLabels data = file.empty() ? make_communities(root.stream("graph")) : load_node_labels(file);
  data.features = rows_to_one(data.features);
  const std::string head = "Accuracy at " + std::to_string(data.test.count()) + " of " + std::to_string(data.nodes()) +
                           " nodes, mean of " + std::to_string(seeds) + " seeds with 95 % interval (deviation):";
  examples::compare_models(
      program, head, {{.head = "test", .metric = "accuracy", .deviation = true}}, models, seeds,
      [&](const std::string& model, Index i) {
        const std::string picture = i == 0 && model == drawn ? program.picture : "";
        return std::vector{model_accuracy(model, data, root.stream("seed", i), picture)};
      },
      [&](const std::string& model) { return published(model, data); });
}

int main(int argc, char** argv) {
  examples::Program program("node_classification", "Classes of the nodes of a graph from a few labels.");
  std::string data;
  std::vector<std::string> models = {"label-propagation", "mlp", "sgc", "gcn", "sage", "gat", "gatv2"};
  Index seeds = 10;
  program.file("--data", data, "graph with labels, an .npz file as docs/files.md says");
  program.models(models);
  program.whole("--seeds", seeds, "seeds of initial values and dropout, run in parallel", 1);
  program.pictures("file for the attention of the first GAT around some test nodes, .svg");
  return program.run(argc, argv, [&] { node_classification(program, data, models, seeds); });
}
