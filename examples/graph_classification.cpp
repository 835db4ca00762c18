// Classes of whole graphs by cross-validation: GIN (Xu, Hu, Leskovec, Jegelka, "How powerful are graph neural
// networks?", ICLR 2019), GPS (Rampasek et al., NeurIPS 2022) and GIN on the same graphs without their edges.
//
// The recipe was fixed before any test accuracy was read. GIN: four layers 32 wide, each a perceptron of two layers
// with batch norm inside and behind it; scores of classes from the features and every layer, with dropout 0.5; Adam at
// 0.01, halved six times; an epoch is 50 batches of 32 graphs, each drawn anew. GPS: the same with GIN as local layer,
// 4 heads, random walk encodings of 16 steps and a rate of 0.001. The epoch of the highest accuracy on a tenth of the
// training graphs answers the test; of equal ones that of the lowest loss there, and the first of those.

#include "graft/data/graph_labels.hpp"
#include "graft/evaluate/metrics.hpp"
#include "graft/graft.hpp"
#include "graft/graph/classifier.hpp"
#include "graft/graph/encodings.hpp"
#include "graft/graph/gin.hpp"
#include "graft/graph/gps.hpp"
#include "model_table.hpp"

using namespace graft;

const Index width = 32, depth = 4, walk_steps = 16, batch_size = 32, batches = 50;

auto perceptron(Index in, const Random& random) {
  return Sequential(Linear<>(in, width, random.stream("first")), BatchNorm<>(width), Relu(),
                    Linear<>(width, width, random.stream("second")));
}
struct GinLayer {
  Gin<decltype(perceptron(1, Random()))> gin;
  BatchNorm<> norm;
  GRAFT_FIELDS(gin, norm)
  GinLayer(Index in, const Random& random) : gin(perceptron(in, random)), norm(width) {}
  Tensor<> operator()(const Graph& graph, const Tensor<>& x, ContextRef context) const {
    return relu(norm(gin(graph, x, context), context));
  }
};

/// The test accuracy at the epoch that the validation graphs chose.
template <class Net>
double trained_accuracy(Net net, const GraphLabels& data, const GraphParts& parts, Index epochs, double first_rate,
                        const Random& random) {
  const LabelledBatch validation = data.batch(parts.validation), test = data.batch(parts.test);
  const Index all = parts.train.count(), steps = epochs * batches;
  const Schedule rate = Schedule::step(first_rate, (steps + 6) / 7, 0.5);
  Adam adam(net);
  double highest = -1, least = 0, answer = 0;
  for (Index step = 1; step <= steps; ++step) {
    examples::end_if_stopped();
    const auto drawn = from_vector(random.stream("batch", step).permutation(all, std::min(all, batch_size)));
    const LabelledBatch batch = data.batch(gather(parts.train, drawn));
    Context training(Phase::training, random.stream("training", step));
    const auto loss = [&](const Net& m) {
      return cross_entropy(m(batch.graphs, batch.features, training), batch.labels);
    };
    adam.step(net, grad(loss, net), rate(step - 1));
    net = apply_updates(net, training);
    if (step % batches != 0) continue;
    const Tensor<> seen = net(validation.graphs, validation.features, Context());
    const double right = accuracy(seen, validation.labels), wrong = cross_entropy(seen, validation.labels).item();
    if (right < highest || (right == highest && wrong >= least)) continue;
    highest = right;
    least = wrong;
    answer = accuracy(net(test.graphs, test.features, Context()), test.labels);
  }
  return answer;
}

double model_accuracy(const std::string& name, const GraphLabels& data, Index fold, Index epochs,
                      const Random& random) {
  const GraphParts parts = fold_parts(data, fold, random.stream("validation"));
  const auto trained = [&](const auto& layer, const GraphClassifierOptions& options, double rate) {
    std::vector<decltype(layer(0, random))> layers;
    for (Index i = 0; i < depth; ++i) layers.push_back(layer(i, random.stream("layer", i)));
    const GraphClassifier net(layers, data.features.size(1), width, data.classes, random, options);
    return trained_accuracy(net, data, parts, epochs, rate, random);
  };
  const auto gps = [](Index, const Random& own) {
    return Gps(width, std::optional(Gin(perceptron(width, own.stream("local")))), own, {.heads = 4});
  };
  const auto gin = [&](Index i, const Random& own) { return GinLayer(i == 0 ? data.features.size(1) : width, own); };
  return name == "gps" ? trained(gps, {true, 0.5}, 0.001) : trained(gin, {false, 0.5}, 0.01);
}

void graph_classification(examples::Program& program, const std::string& file, const std::vector<std::string>& models,
                          Index seeds, Index epochs) {
  const Random root(program.seed);
  const GraphLabels data = file.empty() ? make_necklaces(root.stream("graphs")) : load_graph_labels(file);
  GraphLabels bare = data, placed = data;
  std::vector<Tensor<>> walks;
  for (Graph& graph : bare.graphs) {
    walks.push_back(random_walk_encoding(graph, walk_steps));
    graph = Graph(graph.sources(), {});
  }
  placed.features = concat(std::vector{data.features, concat(walks, 0)}, 1);
  const std::string head = "Accuracy on " + std::to_string(data.count()) + " graphs, mean of " +
                           std::to_string(data.folds) + " folds x " + std::to_string(seeds) + " seeds:";
  examples::compare_models(
      program, head, {{.head = "test", .metric = "accuracy", .deviation = true}}, models, data.folds * seeds,
      [&](const std::string& model, Index run) {
        const GraphLabels& seen = model == "no-edges" ? bare : model == "gps" ? placed : data;
        return std::vector{model_accuracy(model, seen, run % data.folds, epochs, root.stream("run", run))};
      },
      // GIN's paper, Table 1, GIN-0. It chose the epoch by the test folds, as had become the custom.
      [&](const std::string& model) -> std::string {
        if (model != "gin") return "";
        return data.count() == 188 ? "89.4 (by test)" : data.count() == 1113 ? "76.2 (by test)" : "";
      });
}

int main(int argc, char** argv) {
  examples::Program program("graph_classification", "Classes of whole graphs, by cross-validation.");
  std::string data;
  std::vector<std::string> models = {"no-edges", "gin", "gps"};
  Index seeds = 3, epochs = 10;
  program.file("--data", data, "graphs with labels, an .npz file as docs/graph-tables.md says");
  program.models(models);
  program.whole("--seeds", seeds, "seeds of everything that is drawn, each on every fold, run in parallel", 1);
  program.whole("--epochs", epochs, "epochs of 50 batches", 1);
  return program.run(argc, argv, [&] { graph_classification(program, data, models, seeds, epochs); });
}
