// Which key has which value? Brody, Alon, Yahav, "How attentive are graph attention networks?", ICLR 2022, section 4.1:
// k sources with a key and a value each are all heard by k destinations with a key, which must answer its value. What a
// destination attends to has to depend on its own key, which GAT's ranking of sources does not (graph/gat.hpp).

#include "graft/evaluate/metrics.hpp"
#include "graft/graft.hpp"
#include "graft/graph/gatv2.hpp"
#include "graft/nn/embedding.hpp"
#include "graft/optim/schedule.hpp"
#include "model_table.hpp"

using namespace graft;

struct Settings {
  std::vector<std::string> models = {"gat", "gat-8-heads", "gatv2"};
  Index keys = 10, width = 128, batch = 32, steps = 4000, seeds = 3;
  double rate = 3e-3;
};

/// Permutations of the values. As in the authors' code some pairs of a key and a value, 1 - 0.8^(1 / k) of all, never
/// occur in training, and every permutation of the test has one of them.
struct Dictionaries {
  Index keys;
  List<char> held_out;  // [keys * keys]

  Dictionaries(Index count, const Random& random) : keys(count), held_out(count * count) {
    const auto trained_on = static_cast<std::size_t>(std::pow(0.8, 1 / double(keys)) * double(keys * keys));
    const std::vector<Index> order = random.permutation(keys * keys);
    for (std::size_t i = trained_on; i < order.size(); ++i) held_out[order[i]] = 1;
  }
  /// Values of all keys of so many dictionaries, [count * keys].
  Tensor<std::int64_t> draw(Index count, bool for_test, const Random& random) const {
    List<Index> values;
    for (Index made = 0, tried = 0; made < count; ++tried) {
      const std::vector<Index> order = random.stream(static_cast<std::uint64_t>(tried)).permutation(keys);
      Index held = 0, key = 0;
      for (const Index value : order) held += held_out[key++ * keys + value];
      if ((held > 0) != for_test) continue;
      for (const Index value : order) values.push_back(value);
      ++made;
    }
    return from_vector(values);
  }
};

template <class Layer>
struct LookupNet {
  Embedding<> keys, values;  // of values one more, for nodes without
  Layer layer;
  Linear<> answer;
  GRAFT_FIELDS(keys, values, layer, answer)

  /// Scores of the values, [nodes, keys], of dictionaries side by side.
  Tensor<> operator()(const Graph& graph, const Tensor<std::int64_t>& value_of) const {
    const Index nodes = value_of.count(), count = answer.weight.size(0);
    const Tensor<std::int64_t> key_of = generate({nodes}, [&](Index i) { return i % count; });
    const Tensor<> sources = relu(keys(key_of) + values(value_of));
    const Tensor<> destinations = relu(keys(key_of) + values(full<std::int64_t>({nodes}, count)));
    return answer(layer(graph, sources, destinations, Context()));
  }
};

/// Accuracy on dictionaries of pairs that were trained on, and on others.
template <class Layer>
std::vector<double> accuracies(const Layer& layer, const Settings& o, const Random& random) {
  std::vector<GraphEdge> edges;  // of one dictionary: everybody hears everybody
  for (Index i = 0; i < o.keys * o.keys; ++i) edges.push_back({i / o.keys, i % o.keys});
  const Graph graph = disjoint_union(std::vector(static_cast<std::size_t>(o.batch), Graph(o.keys, edges)));
  const Dictionaries dictionaries(o.keys, random.stream("pairs"));
  LookupNet<Layer> net{{o.keys, o.width, random.stream("keys")},
                       {o.keys + 1, o.width, random.stream("values")},
                       layer,
                       {o.width, o.keys, random.stream("answer"), {.bias = false}}};
  AdamW adam(net, {.weight_decay = 0.1});
  const Schedule rate = Schedule::cosine(o.rate, o.steps);
  for (Index step = 0; step < o.steps; ++step) {
    examples::end_if_stopped();
    const Tensor<std::int64_t> values = dictionaries.draw(o.batch, false, random.stream("training", step));
    const auto loss = [&](const LookupNet<Layer>& m) { return cross_entropy(m(graph, values), values); };
    adam.step(net, clip_by_norm(grad(loss, net), 1), rate(step));
  }
  const auto accuracy_of = [&](bool for_test, const Random& draws) {
    double mean = 0;
    for (Index i = 0; i < 20; ++i) {
      const Tensor<std::int64_t> values = dictionaries.draw(o.batch, for_test, draws.stream("batch", i));
      mean += accuracy(net(graph, values), values) / 20;
    }
    return mean;
  };
  return {accuracy_of(false, random.stream("seen")), accuracy_of(true, random.stream("test"))};
}

/// Test accuracies as read from the paper's figure.
std::string published(const std::string& model, Index keys) {
  if (model == "gatv2") return "100";
  const bool one_head = model == "gat";
  return keys == 10 ? (one_head ? "about 20" : "about 87") : keys == 20 ? (one_head ? "about 11" : "about 43") : "";
}

int main(int argc, char** argv) {
  examples::Program program("dictionary_lookup", "Which key has which value, asked of graph attention layers.");
  Settings o;
  program.models(o.models);
  program.whole("--keys", o.keys, "keys of a dictionary", 2, 1000);
  program.whole("--steps", o.steps, "steps of training", 1);
  program.whole("--seeds", o.seeds, "seeds of initial values and dictionaries, run in parallel", 1);
  return program.run(argc, argv, [&] {
    examples::compare_models(
        program, "Accuracy with " + std::to_string(o.keys) + " keys, mean of " + std::to_string(o.seeds) + " seeds:",
        {{"trained pairs", "training-accuracy"}, {"test", "accuracy", 100, true}}, o.models, o.seeds,
        [&](const std::string& model, Index i) {
          const Random random = Random(program.seed).stream("seed", i), own = random.stream("layer");
          if (model == "gatv2") return accuracies(GatV2<>(o.width, o.width, own), o, random);
          const Index heads = model == "gat" ? 1 : 8;
          return accuracies(Gat<>(o.width, o.width / heads, own, {.heads = heads}), o, random);
        },
        [&](const std::string& model) { return published(model, o.keys); });
  });
}
