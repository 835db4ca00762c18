// Checkpoints: every kind of field comes back bit for bit, resuming equals never having stopped, and a file that does
// not fit is refused in one line without touching the tree.

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "graft/io/checkpoint.hpp"
#include "graft/io/weights.hpp"
#include "graft/model/grad.hpp"
#include "graft/nn/linear.hpp"
#include "graft/optim/adam.hpp"

using namespace graft;

namespace {

namespace fs = std::filesystem;

struct Tree {
  std::vector<Linear<>> layers;
  Tensor<double> precise;
  std::optional<Tensor<>> absent;
  Buffer<std::int64_t> counter;
  Buffer<> empty;
  Tensor<bool> mask;
  GRAFT_FIELDS(layers, precise, absent, counter, empty, mask)
};

Tree make_tree(std::uint64_t seed) {
  const Random random(seed);
  return {{Linear<>(3, 2, random.stream(0)), Linear<>(2, 1, random.stream(1), {.bias = false})},
          randn<double>({2, 0, 3}, random),
          {},
          {Tensor<std::int64_t>(static_cast<std::int64_t>(seed))},
          {},
          from_span(std::span<const bool>(std::array{seed % 2 == 0, true}), {2})};
}

bool equal_trees(const Tree& a, const Tree& b) {
  bool equal = a.layers.size() == b.layers.size();
  for (std::size_t i = 0; equal && i < a.layers.size(); ++i) equal = same_bits(a.layers[i].weight, b.layers[i].weight);
  return equal && same_bits(*a.layers[0].bias, *b.layers[0].bias) && same_bits(a.precise, b.precise) &&
         same_bits(a.counter.value, b.counter.value) && same_bits(a.mask, b.mask);
}

}  // namespace

TEST_CASE("a checkpoint brings every field back", "[io]") {
  const Folder folder;
  const std::string path = folder / "tree.npz";
  const Tree saved = make_tree(2);
  save_checkpoint(path, saved,
                  {{"step", 12},
                   {"seed", std::numeric_limits<std::uint64_t>::max()},
                   {"accuracy", 0.1},
                   {"options", "ways=5\nshots=1"},
                   {"empty", ""}});
  Tree loaded = make_tree(3);
  REQUIRE_FALSE(equal_trees(saved, loaded));
  Metadata metadata = load_checkpoint(path, loaded);
  CHECK(equal_trees(saved, loaded));
  CHECK(metadata.size() == 5);
  CHECK(std::get<std::int64_t>(metadata["step"]) == 12);
  CHECK(std::get<std::uint64_t>(metadata["seed"]) == std::numeric_limits<std::uint64_t>::max());
  CHECK(std::get<double>(metadata["accuracy"]) == 0.1);
  CHECK(std::get<std::string>(metadata["options"]) == "ways=5\nshots=1");
  CHECK(read_checkpoint_metadata(path) == metadata);

  SECTION("the file is a plain npz whose arrays have the names of the fields") {
    const ArrayFile file = read_npz(path);
    CHECK(file.at("layers.1.weight").shape == Shape{1, 2});
    CHECK(file.at("layers.1.weight").as<float>()[1] == saved.layers[1].weight.at({0, 1}));
    CHECK(file.contains("layers.0.bias"));
    CHECK_FALSE(file.contains("layers.1.bias"));
    CHECK_FALSE(file.contains("absent"));
    CHECK_FALSE(file.contains("empty"));
  }
  SECTION("equal contents give equal bytes") {
    save_checkpoint(folder / "again.npz", loaded, metadata);
    CHECK(InputFile(path).read_text() == InputFile(folder / "again.npz").read_text());
  }
}

TEST_CASE("frozen marks are saved and replaced by loading", "[io]") {
  const Folder folder;
  const Tree plain = make_tree(2);
  save_checkpoint(folder / "frozen.npz", freeze(plain, {"layers.0"}));
  save_checkpoint(folder / "plain.npz", plain);
  Tree tree = plain;
  load_checkpoint(folder / "frozen.npz", tree);
  CHECK(tree.layers[0].weight.frozen());
  CHECK(tree.layers[0].bias->frozen());
  CHECK_FALSE(tree.layers[1].weight.frozen());
  load_checkpoint(folder / "plain.npz", tree);
  CHECK_FALSE(tree.layers[0].weight.frozen());
}

TEST_CASE("a bare tensor can be saved", "[io]") {
  const Folder folder;
  const Tensor<> saved = randn({3}, Random(1));
  save_checkpoint(folder / "x.npz", saved);
  Tensor<> loaded = zeros({3});
  load_checkpoint(folder / "x.npz", loaded);
  CHECK(same_bits(saved, loaded));
}

TEST_CASE("training on after loading equals never having stopped", "[io]") {
  struct State {
    Linear<> model;
    Adam<Linear<>> optimizer;
    GRAFT_FIELDS(model, optimizer)
  };
  const auto start = [](std::uint64_t seed) {
    const Linear<> model(4, 2, Random(seed));
    return State{model, Adam(model)};
  };
  const auto train = [](State& state, int from, int to) {
    for (int step = from; step < to; ++step) {
      const Tensor<> x = randn({8, 4}, Random(5).stream(static_cast<std::uint64_t>(step)));
      state.optimizer.step(state.model, grad([&](const Linear<>& m) { return mean(square(m(x) - 1)); }, state.model),
                           0.01);
    }
  };
  const Folder folder;
  State whole = start(1);
  train(whole, 0, 20);

  State first = start(1);
  train(first, 0, 7);
  save_checkpoint(folder / "state.npz", first, {{"step", 7}});
  State second = start(2);
  Metadata metadata = load_checkpoint(folder / "state.npz", second);
  train(second, static_cast<int>(std::get<std::int64_t>(metadata["step"])), 20);
  CHECK(same_bits(whole.model.weight, second.model.weight));
  CHECK(same_bits(*whole.model.bias, *second.model.bias));
  CHECK(same_bits(whole.optimizer.square.weight, second.optimizer.square.weight));
}

TEST_CASE("files that do not fit are refused and change nothing", "[io]") {
  const Folder folder;
  const Tree before = make_tree(2);
  Tree tree = before;
  const auto refused = [&](const std::string& name) {
    const std::string path = folder / name;
    const std::string message = refusal(path, [&] { load_checkpoint(path, tree); });
    CHECK(equal_trees(tree, before));
    return message;
  };
  const auto changed = [&](auto change) {
    save_checkpoint(folder / "good.npz", make_tree(3));
    auto arrays = read_npz(folder / "good.npz").arrays;
    change(arrays);
    write_npz(folder / "bad.npz", arrays);
    return refused("bad.npz");
  };
  using Arrays = std::map<std::string, Array>;

  CHECK_THAT(refused("missing.npz"), contains("No such file"));
  CHECK_THAT(changed([](Arrays& a) { a.erase("mask"); }), contains("has no array 'mask'"));
  CHECK_THAT(changed([](Arrays& a) { a["more"] = a["mask"]; }), contains("'more'") && contains("the tree has not"));
  CHECK_THAT(changed([](Arrays& a) { a["mask"] = make_array(std::vector<float>{1, 2}, {2}); }), contains("dtype"));
  CHECK_THAT(changed([](Arrays& a) { a["precise"] = make_array(std::vector<double>{1}, {1}); }),
             contains("[1]") && contains("[2, 0, 3]"));
  CHECK_THAT(changed([](Arrays& a) { a.erase("@version"); }), contains("is not a checkpoint"));
  CHECK_THAT(changed([](Arrays& a) { a["@version"] = make_array(std::vector<std::int64_t>{99}, {}); }),
             contains("version 99"));
  CHECK_THAT(changed([](Arrays& a) { a["@version"] = make_array(std::vector<std::int64_t>{}, {0}); }),
             contains("@version"));
  CHECK_THAT(changed([](Arrays& a) { a.erase("@frozen"); }), contains("@frozen"));
  CHECK_THAT(changed([](Arrays& a) { a["@meta/x"] = make_array(std::vector<float>{1}, {}); }), contains("@meta/x"));

  // Cut anywhere, it is never half loaded.
  const std::string whole = InputFile(folder / "good.npz").read_text();
  for (std::size_t length = 0; length < whole.size(); length += 97) {
    OutputFile cut(folder / "cut.npz");
    cut.write(whole.substr(0, length));
    cut.commit();
    refused("cut.npz");
  }
}

TEST_CASE("a checkpoint that cannot be written leaves the old one", "[io]") {
  const Folder folder;
  const Tree tree = make_tree(2);
  refusal("no/such/folder", [&] { save_checkpoint(folder / "no/such/folder/x.npz", tree); });
  fs::create_directory(folder / "taken.npz");
  refusal("taken.npz", [&] { save_checkpoint(folder / "taken.npz", tree); });
}

TEST_CASE("weights that others wrote load by name", "[io]") {
  const Folder folder;
  const std::string path = folder / "weights.npz";
  const auto vector = [](std::initializer_list<double> values, const Shape& shape) {
    return make_array(std::vector<double>(values), shape);
  };
  // As numpy.savez("weights.npz", **{"net.weight": ..., "net.bias": ..., "other": ...}) writes them, in double.
  write_npz(path, {{"net.weight", vector({1, 2, 3, 4, 5, 6}, {2, 3})},
                   {"net.bias", vector({7, 8}, {2})},
                   {"other", vector({9}, {1})}});
  Linear<> layer(3, 2, Random(1));
  load_weights(path, layer, {.prefix = "net"});
  CHECK(same_bits(layer.weight, tensor<float>({{1, 2, 3}, {4, 5, 6}})));
  CHECK(same_bits(*layer.bias, tensor<float>({7, 8})));

  SECTION("what does not match is an error that names it, and leaves the model as it was") {
    struct Larger {
      Linear<> net, head;
      GRAFT_FIELDS(net, head)
    };
    const Larger before{Linear<>(3, 2, Random(2)), Linear<>(2, 2, Random(3))};
    Larger larger = before;
    CHECK_THROWS_WITH(load_weights(path, larger), contains("weights.npz: has no 'head.weight', 'head.bias'") &&
                                                      contains("the model has not, 'other'"));
    CHECK(same_bits(larger.net.weight, before.net.weight));
    const LoadWeightsReport report = load_weights(path, larger, {.strict = false});
    CHECK(report.missing == std::vector<std::string>{"head.weight", "head.bias"});
    CHECK(report.unused == std::vector<std::string>{"other"});
    CHECK(same_bits(larger.net.weight, layer.weight));
    CHECK(same_bits(larger.head.weight, before.head.weight));
  }
  SECTION("another shape is an error in any case") {
    Linear<> wide(4, 2, Random(4));
    CHECK_THROWS_AS(load_weights(path, wide, {.prefix = "net", .strict = false}), FileError);
  }
  SECTION("a checkpoint's own arrays do not count") {
    save_checkpoint(path, layer);
    Linear<> other(3, 2, Random(5));
    CHECK(load_weights(path, other).unused.empty());
    CHECK(same_bits(other.weight, layer.weight));
  }
}
