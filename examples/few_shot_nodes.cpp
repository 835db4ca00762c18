// Few-shot node classification on several graphs by one learner: an input layer for each graph, then graph attention
// along its edges and a Transformer over the episode, which all graphs share. See docs/few-shot-nodes.md.

#include "experiment.hpp"
#include "graft/common/backbones.hpp"
#include "graft/data/node_episodes.hpp"
#include "graft/fewshot/episode_learner.hpp"
#include "graft/fewshot/protonet.hpp"
#include "graft/graft.hpp"
#include "graft/graph/dgi.hpp"
#include "graft/graph/stack.hpp"

using namespace graft;
using Parts = EpisodeLearner<Backbone, AnyEpisodeLearner>;
constexpr Index width = 64;

struct Settings : examples::ExperimentSettings {
  std::vector<std::string> data{"communities", "communities"};
};

GraphStack<Gcn<>> make_gcn(const NodeLabels& nodes, const Random& random) {
  return GraphStack<Gcn<>>(
      {Gcn<>(nodes.features.columns(), 128, random.stream("first")), Gcn<>(128, width, random.stream("second"))});
}
AnyEpisodeLearner centroid(const Tensor<>& rows, Index first) {
  return Parts{NodeRows<>{{rows}, first}, ProtoNetHead()};
}

/// The learner of an arm for episodes of graph g.
AnyEpisodeLearner make_learner(const std::string& arm, const NodeSets& sets, const std::vector<NodeTables>& tables,
                               std::size_t g, const Random& random) {
  const NodeLabels& nodes = sets.graphs[g];
  const Index first = sets.first_node[g];
  if (arm == "raw_centroid") return centroid(tables[g].raw, first);
  if (arm == "sgc_centroid") return centroid(tables[g].smooth, first);
  if (arm == "label_propagation") return Parts{SameItems(), NodeLabelPropagation{nodes.graph, first}};
  if (arm == "gcn_protonet")
    return Parts{EncodedNodes<GraphStack<Gcn<>>>{make_gcn(nodes, random), nodes.graph, nodes.features, first},
                 ProtoNetHead()};
  const Index graph_layers = arm == "no_graph" || arm == "neither" ? 0 : 2,
              transformer_layers = arm == "no_transformer" || arm == "neither" ? 0 : 2;
  std::vector<Tensor<>> rows;
  std::vector<Graph> edges;
  for (const NodeLabels& each : sets.graphs) {
    rows.push_back(tables[edges.size()].coordinates);
    edges.push_back(arm == "shuffled_edges" ? shuffled_edges(each.graph, random.stream("edges", edges.size()))
                                            : each.graph);
  }
  const NodeAttention<> embedding(rows, edges, width, random.stream("nodes"), {.layers = graph_layers});
  const GraphTransformer<> head(
      random.stream("head"),
      {.width = width, .graph_layers = 0, .transformer_layers = transformer_layers, .gate = 0, .scale = 8});
  return Parts{arm == "uniform_attention" ? examples::with_uniform_attention(embedding) : embedding, head};
}

void compare(examples::Program& program, Settings& o) {
  o.by_profile(program, {2, 1, 5}, {1000, 2, 20});
  const NodeSets sets(o.data);
  const std::vector<NodeTables> tables = compared_tables(sets, 8, width, Random(0));
  for (std::size_t g = 0; g < tables.size(); ++g) {
    const NodeLabels& nodes = sets.graphs[g];
    const auto work = [&](const ExperimentUnit& unit, Index rounds, Index checks, Index tests) -> UnitResult {
      const Random random = Random(program.seed).stream("seed", unit.seed).stream("fold", unit.fold);
      std::vector<ClassSplit> splits;  // of the other graphs, that of a pair as well
      for (std::size_t k = 0; k < tables.size(); ++k) splits.push_back(sets.pair_split(k, unit.fold, Random(k)));
      const auto draw = [&](const std::vector<Index>& classes, Index count, const char* name) {
        return examples::draw_kinds(sets.items, classes, {{2, 1, 10}, {2, 5, 10}}, count, random.stream(name));
      };
      const EpisodeSuite chosen = draw(splits[g].validation, 50, "validation"),
                         asked = draw(splits[g].test, tests, "test");
      const auto tested = [&](const AnyEpisodeLearner& learner, Index done, double seconds) -> UnitResult {
        return {examples::test_accuracies(unit, learner, sets.items, asked, random), done, seconds};
      };
      EpisodeTraining how =
          examples::training_of(unit, random, rounds, checks, unit.arm == "gcn_protonet" ? 1e-4 : 2e-5);
      how.episode = {.ways = 2, .shots = 5, .queries = 10, .fewest_shots = 1};
      if (unit.arm == "dgi") {
        const auto probe = [&](const auto& own) {
          return centroid(centred_units(own.encoder(nodes.graph, nodes.features, Context())), sets.first_node[g]);
        };
        const auto loss = [&](const auto& own, const Random& draws) {
          return own.loss(nodes.graph, nodes.features, Context(Phase::training, draws));
        };
        const auto figure = [&](const auto& own) {
          return mean_figure(episode_accuracies(probe(own), sets.items, chosen));
        };
        const auto trained = run_pretraining(Dgi(make_gcn(nodes, random), width, random), loss, figure,
                                             {.protocol = how.protocol, .train = how.train});
        return tested(probe(trained.model), rounds, trained.seconds);
      }
      const AnyEpisodeLearner learner = make_learner(unit.arm, sets, tables, g, random);
      if (count(learner) == 0) return tested(learner, 0, 0);
      std::vector<std::vector<Index>> tasks{splits[g].train};
      for (std::size_t k = 0; k < tables.size() && unit.arm != "alone" && unit.arm != "gcn_protonet"; ++k)
        if (k != g) tasks.push_back(splits[k].train);
      const auto trained = train_on_episodes(learner, sets.items, tasks, chosen, how);
      return tested(trained.model, rounds, trained.seconds);
    };
    examples::ExperimentSettings part = o;
    part.folds = std::min(o.folds, sets.pairs(g));
    if (!o.records.empty()) part.records += "/" + sets.names[g];
    examples::run_experiment(program, part, {sets.names[g] + ", 1-shot", sets.names[g] + ", 5-shot"},
                             sets.fingerprints(), work);
  }
}

int main(int argc, char** argv) {
  examples::Program program("few_shot_nodes", "Few-shot node classification on several graphs by one learner.");
  Settings o;
  program.names("--data", o.data, "graphs, .npz files in the layout of Cora").in_identity = false;
  o.arms = {"raw_centroid", "sgc_centroid", "gcn_protonet", "dgi", "label_propagation", "learner", "alone"};
  o.controls = {"sgc_centroid", "gcn_protonet", "dgi"};
  o.share["alone"] = 0.5;
  o.add_to(program, {"no_graph", "no_transformer", "neither", "shuffled_edges", "uniform_attention", "permuted_labels"},
           1000);
  return program.run(argc, argv, [&] { compare(program, o); });
}
