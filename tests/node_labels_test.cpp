// Graphs whose nodes are to be labelled: the file's layout, what it must not hold, the drawn graphs.

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "graft/data/node_labels.hpp"
#include "graft/ops/reduce.hpp"

using namespace graft;

namespace {

using Arrays = std::map<std::string, Array>;

template <class T>
Array array_of(const Tensor<T>& x) {
  return make_array(host(x), x.shape());
}

Tensor<> dense(const SparseMatrix<>& x) { return matmul(x, eye(x.columns())); }

Arrays one_path() {  // nodes 0 - 1 - 2 - 3, three features
  Arrays arrays;
  arrays["edge_index"] = array_of(tensor<std::int64_t>({{0, 1, 1, 2, 2, 3}, {1, 0, 2, 1, 3, 2}}));
  arrays["feature_indptr"] = array_of(tensor<std::int64_t>({0, 2, 3, 3, 4}));
  arrays["feature_indices"] = array_of(tensor<std::int64_t>({0, 2, 1, 2}));
  arrays["feature_values"] = array_of(tensor({1.0f, 3.0f, -2.0f, 1.0f}));
  arrays["feature_shape"] = array_of(tensor<std::int64_t>({4, 3}));
  arrays["y"] = array_of(tensor<std::int64_t>({1, 0, 2, 0}));
  arrays["train_mask"] = array_of(tensor<std::uint8_t>({0, 1, 0, 0}));
  arrays["val_mask"] = array_of(tensor<std::uint8_t>({1, 0, 0, 0}));
  arrays["test_mask"] = array_of(tensor<std::uint8_t>({0, 0, 1, 1}));
  return arrays;
}

}  // namespace

TEST_CASE("a graph with labels is read from arrays", "[data][io]") {
  const Folder folder;
  const std::string path = folder / "graph.npz";
  Arrays arrays = one_path();
  write_npz(path, arrays);
  const NodeLabels data = load_node_labels(path);
  CHECK(data.nodes() == 4);
  CHECK(data.graph.edges() == 6);
  CHECK(data.classes == 3);
  CHECK(same_bits(dense(data.features), tensor<float>({{1, 0, 3}, {0, -2, 0}, {0, 0, 0}, {0, 0, 1}})));
  CHECK(same_bits(data.train, tensor<std::int64_t>({1})));
  CHECK(same_bits(data.validation, tensor<std::int64_t>({0})));
  CHECK(same_bits(data.test, tensor<std::int64_t>({2, 3})));
  CHECK(same_bits(dense(rows_to_one(data.features)),
                  tensor<float>({{0.25f, 0, 0.75f}, {0, -1, 0}, {0, 0, 0}, {0, 0, 1}})));

  const auto refused = [&](const char* name, const Array& array, const char* reason) {
    Arrays wrong = arrays;
    wrong[name] = array;
    write_npz(path, wrong);
    const std::string text = refusal(path, [&] { load_node_labels(path); });
    CHECK_THAT(text, contains(reason));
  };
  refused("edge_index", array_of(tensor<std::int64_t>({{0, 4}, {1, 0}})), "4");
  refused("edge_index", array_of(tensor<std::int64_t>({0, 1})), "edge_index");
  refused("feature_indptr", array_of(tensor<std::int64_t>({0, 2, 3, 4})), "feature_indptr");
  refused("feature_indices", array_of(tensor<std::int64_t>({0, 2, 3, 2})), "3");
  refused("feature_values", array_of(tensor({1.0f, INFINITY, 1.0f, 1.0f})), "not finite");
  refused("feature_shape", array_of(tensor<std::int64_t>({0, 3})), "0 x 3");
  refused("feature_shape", array_of(tensor<std::int64_t>({std::int64_t{1} << 62, 3})), "[4]");
  refused("feature_shape", array_of(tensor<std::int64_t>({4, std::int64_t{1} << 62})), "4 x 4611686018427387904");
  refused("y", array_of(tensor<std::int64_t>({1, 0, -1, 0})), "-1");
  refused("val_mask", array_of(tensor<std::uint8_t>({0, 1, 0, 0})), "another mask");
  refused("test_mask", array_of(tensor<std::uint8_t>({0, 0, 0, 0})), "no node");
  refused("labelled", array_of(tensor<std::uint8_t>({1, 1, 1, 0})), "no label");
  arrays.erase("y");
  write_npz(path, arrays);
  CHECK_THAT(refusal(path, [&] { load_node_labels(path); }), contains("y"));
}

TEST_CASE("communities: more edges inside, words of one's own, every part", "[data]") {
  const CommunityOptions options;
  const NodeLabels data = make_communities(Random(1), options);
  CHECK(data.nodes() == 600);
  CHECK(data.train.count() == 40);
  CHECK(data.validation.count() == 120);
  CHECK(data.test.count() == 440);

  const std::span<const std::int64_t> labels = host(data.labels);
  double inside = 0, outside = 0;
  for (const GraphEdge& edge : edge_list(data.graph)) {
    CHECK(edge.source != edge.destination);
    (labels[edge.source] == labels[edge.destination] ? inside : outside)++;
  }
  // Binomial counts of both directions: 4 x 150 x 149 pairs at 0.02, 4 x 150 x 450 at 0.002; five deviations.
  CHECK(std::abs(inside - 1788) < 5 * std::sqrt(2 * 1788.0));
  CHECK(std::abs(outside - 540) < 5 * std::sqrt(2 * 540.0));
  const Tensor<> sums = sum(abs(dense(data.features)), {1});
  CHECK(all_close(sums, ones({600}), 1e-5, 1e-6));
  const NodeLabels again = make_communities(Random(1), options);
  CHECK(same_bits(dense(data.features), dense(again.features)));
  CHECK_THROWS_AS(make_communities(Random(1), {.nodes = 100}), ValueError);
}
