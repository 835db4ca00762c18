// Graphs that are to be labelled: the file's layout, what it must not hold, the parts of a fold, the drawn graphs.

#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "graft/data/graph_labels.hpp"

using namespace graft;

namespace {

Array array_of(const Tensor<std::int64_t>& x) { return make_array(host(x), x.shape()); }

/// A path 0 - 1 - 2, an edge 3 - 4, a node 5.
std::map<std::string, Array> three_graphs() {
  std::map<std::string, Array> arrays;
  arrays["edge_index"] = array_of(tensor<std::int64_t>({{0, 1, 1, 2, 3, 4}, {1, 0, 2, 1, 4, 3}}));
  arrays["graph_id"] = array_of(tensor<std::int64_t>({0, 0, 0, 1, 1, 2}));
  arrays["node_label"] = array_of(tensor<std::int64_t>({2, 0, 0, 2, 2, 0}));
  arrays["graph_label"] = array_of(tensor<std::int64_t>({1, 0, 1}));
  arrays["fold"] = array_of(tensor<std::int64_t>({0, -1, 1}));
  return arrays;
}

}  // namespace

TEST_CASE("graphs with labels are read from arrays", "[data][io]") {
  const Folder folder;
  const std::string path = folder / "graphs.npz";
  std::map<std::string, Array> arrays = three_graphs();
  write_npz(path, arrays);
  const GraphLabels data = load_graph_labels(path);
  CHECK(data.count() == 3);
  CHECK(data.classes == 2);
  CHECK(data.folds == 2);
  CHECK(same_bits(data.offsets, tensor<std::int64_t>({0, 3, 5, 6})));
  CHECK(edge_list(data.graphs[0]) == std::vector<GraphEdge>{{0, 1}, {1, 0}, {1, 2}, {2, 1}});
  CHECK(edge_list(data.graphs[1]) == std::vector<GraphEdge>{{0, 1}, {1, 0}});
  CHECK(data.graphs[2].sources() == 1);
  CHECK(data.graphs[2].edges() == 0);
  CHECK(same_bits(data.features, tensor<float>({{0, 0, 1}, {1, 0, 0}, {1, 0, 0}, {0, 0, 1}, {0, 0, 1}, {1, 0, 0}})));
  const LabelledBatch batch = data.batch(tensor<std::int64_t>({2, 0}));
  CHECK(same_bits(batch.graphs.offsets, tensor<std::int64_t>({0, 1, 4})));
  CHECK(edge_list(batch.graphs.graph) == std::vector<GraphEdge>{{1, 2}, {2, 1}, {2, 3}, {3, 2}});
  CHECK(same_bits(batch.features, tensor<float>({{1, 0, 0}, {0, 0, 1}, {1, 0, 0}, {1, 0, 0}})));
  CHECK(same_bits(batch.labels, tensor<std::int64_t>({1, 1})));
  CHECK_THROWS_AS(data.batch(tensor<std::int64_t>({3})), IndexError);

  const auto refused = [&](const char* name, const Tensor<std::int64_t>& array, const char* reason) {
    std::map<std::string, Array> wrong = arrays;
    wrong[name] = array_of(array);
    write_npz(path, wrong);
    const std::string text = refusal(path, [&] { load_graph_labels(path); });
    CHECK_THAT(text, contains(name));
    CHECK_THAT(text, contains(reason));
  };
  refused("edge_index", tensor<std::int64_t>({{0, 6}, {1, 0}}), "node 6 in edge 1");
  refused("edge_index", tensor<std::int64_t>({{0, -1}, {1, 0}}), "node -1 in edge 1");
  refused("edge_index", tensor<std::int64_t>({{0, 2}, {1, 3}}), "edge 1 from graph 0 to graph 1");
  refused("edge_index", tensor<std::int64_t>({0, 1}), "shape");
  refused("graph_id", tensor<std::int64_t>({0, 0, 0, 1, 1, 3}), "holds 3 at position 5");
  refused("graph_id", tensor<std::int64_t>({0, 0, 0, 2, 2, 2}), "holds 2 at position 3");
  refused("graph_id", tensor<std::int64_t>({0, 1, 0, 1, 1, 2}), "holds 0 at position 2");
  refused("graph_id", tensor<std::int64_t>({1, 1, 1, 1, 2, 2}), "holds 1 at position 0");
  refused("graph_id", tensor<std::int64_t>({0, 0, 0, 1, 1, 1}), "no node of graph 2");
  refused("node_label", tensor<std::int64_t>({2, 0, 0, -2, 2, 0}), "holds -2 at position 3");
  refused("node_label", tensor<std::int64_t>({2, 0, 0, 4096, 2, 0}), "holds 4096 at position 3");
  refused("node_label", tensor<std::int64_t>({2, 0, 0, 2, 2}), "shape");
  refused("graph_label", tensor<std::int64_t>({1, 0, -1}), "holds -1 at position 2");
  refused("fold", tensor<std::int64_t>({0, -2, 1}), "holds -2 at position 1");
  refused("fold", tensor<std::int64_t>({-1, -1, -1}), "no fold");
  refused("fold", tensor<std::int64_t>({0, -1, 2}), "0 of 3 graphs in fold 1");
  refused("fold", tensor<std::int64_t>({0, 0, 1}), "2 of 3 graphs in fold 0");
  arrays.erase("fold");
  write_npz(path, arrays);
  CHECK_THAT(refusal(path, [&] { load_graph_labels(path); }), contains("fold"));
}

TEST_CASE("a fold's test is what is in it, a tenth of the others is for validation", "[data]") {
  const GraphLabels data = make_necklaces(Random(1));
  std::set<std::int64_t> tested;
  for (Index fold = 0; fold < data.folds; ++fold) {
    const GraphParts parts = fold_parts(data, fold, Random(2));
    CHECK(parts.test.count() == 20);
    CHECK(parts.validation.count() == 18);
    CHECK(parts.train.count() == 162);
    std::set<std::int64_t> all;
    for (const auto& part : {parts.train, parts.validation, parts.test})
      all.insert(host(part).begin(), host(part).end());
    CHECK(all.size() == 200);  // no graph is in two parts
    tested.insert(host(parts.test).begin(), host(parts.test).end());
    CHECK(same_bits(fold_parts(data, fold, Random(2)).validation, parts.validation));
    CHECK_FALSE(same_bits(fold_parts(data, fold, Random(3)).validation, parts.validation));
  }
  CHECK(tested.size() == 200);
  CHECK_THROWS_AS(fold_parts(data, 10, Random()), IndexError);
  const GraphLabels small = make_necklaces(Random(1), {.graphs = 2, .classes = 1, .folds = 2});
  CHECK_THROWS_AS(fold_parts(small, 0, Random()), ValueError);
}

TEST_CASE("necklaces are rings with as many beads of one colour as of the other", "[data]") {
  const NecklaceOptions options{.graphs = 600, .classes = 3};
  const GraphLabels data = make_necklaces(Random(1), options);
  CHECK(data.count() == 600);
  const std::span<const std::int64_t> offsets = host(data.offsets);
  const std::span<const float> colours = host(data.features);
  double expected[3] = {}, variance[3] = {}, found[3] = {};
  for (std::size_t g = 0; g < 600; ++g) {
    const auto nodes = static_cast<std::size_t>(offsets[g + 1] - offsets[g]);
    const auto of = [&](std::size_t i) { return colours[2 * (static_cast<std::size_t>(offsets[g]) + i % nodes)]; };
    CHECK(nodes >= 16);
    CHECK(nodes <= 32);
    float first = 0;
    double begun = 0;  // runs of the first colour
    for (std::size_t i = 0; i < nodes; ++i) {
      first += of(i);
      begun += of(i + 1) > of(i);
    }
    CHECK(2 * first == static_cast<float>(nodes));
    std::set<Index> pairs;
    for (const GraphEdge& edge : edge_list(data.graphs[g])) {
      const Index step = (edge.destination - edge.source + data.graphs[g].sources()) % data.graphs[g].sources();
      CHECK((step == 1 || step + 1 == data.graphs[g].sources()));
      pairs.insert(edge.source * 1000 + edge.destination);
    }
    CHECK(pairs.size() == 2 * nodes);
    const std::size_t own = g % 3;
    const double chance = (3.0 - static_cast<double>(own)) / 4, draws = static_cast<double>(nodes) / 2 - 1;
    expected[own] += 1 + draws * chance;
    variance[own] += draws * chance * (1 - chance);
    found[own] += begun;
  }
  for (const int own : {0, 1, 2}) CHECK(std::abs(found[own] - expected[own]) < 5 * std::sqrt(variance[own]));
  CHECK(same_bits(make_necklaces(Random(1), options).features, data.features));
  CHECK_THROWS_AS(make_necklaces(Random(1), {.graphs = 5}), ValueError);
  CHECK_THROWS_AS(make_necklaces(Random(1), {.shortest = 1}), ValueError);
}
