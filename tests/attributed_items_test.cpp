#include "graft/data/attributed_items.hpp"

#include <algorithm>
#include <set>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "graft/graft.hpp"

using namespace graft;

namespace {

Tensor<> all_signatures(Index attributes) {
  return generate({Index{1} << attributes, attributes},
                  [](Index c, Index m) { return static_cast<float>(c >> m & 1); });
}
std::vector<float> signature(const Tensor<>& x, Index r) {
  std::vector<float> values;
  for (Index i = 0; i < x.size(1); ++i) values.push_back(x.at({r, i}));
  return values;
}

}  // namespace

TEST_CASE("classes with equal signatures are one combination", "[data]") {
  const Tensor<> signatures = tensor<float>({{1, 0}, {0, 0}, {1, 0}, {1, 1}, {0, 0}});
  const AttributeCombinations found = attribute_combinations(signatures);
  CHECK(same_bits(found.of, tensor<std::int64_t>({0, 1, 0, 2, 1})));
  CHECK(same_bits(found.signatures, tensor<float>({{1, 0}, {0, 0}, {1, 1}})));
  CHECK(same_bits(gather(found.signatures, found.of), signatures));
  CHECK_THROWS_AS(attribute_combinations(zeros<float>({3})), ShapeError);
}

TEST_CASE("unseen classes are combinations that no seen class has, of attributes that seen ones have", "[data]") {
  // 40 classes of 5 attributes: some signatures come twice.
  for (const std::uint64_t seed : {1u, 2u, 3u, 4u}) {
    const Tensor<> signatures = gather(all_signatures(5), generate({40}, [&](Index c) {
                                         return Random(seed).stream("class").below(static_cast<std::uint64_t>(c), 32);
                                       }));
    const Tensor<bool> seen = split_combinations(signatures, 12, Random(seed));
    std::set<std::vector<float>> of_seen, of_unseen;
    for (Index c = 0; c < 40; ++c) (seen.at({c}) ? of_seen : of_unseen).insert(signature(signatures, c));
    CHECK(count_nonzero(seen).item() == 28);
    for (const auto& each : of_unseen) CHECK(of_seen.count(each) == 0);
    for (const auto& each : of_unseen)
      for (std::size_t m = 0; m < 5; ++m)
        CHECK(std::any_of(of_seen.begin(), of_seen.end(), [&](const auto& other) { return other[m] == each[m]; }));
    CHECK(same_bits(split_combinations(signatures, 12, Random(seed)), seen));
    CHECK_FALSE(same_bits(split_combinations(signatures, 12, Random(seed + 100)), seen));
  }
}

TEST_CASE("a class that alone has an attribute stays seen", "[data]") {
  const Tensor<> signatures = tensor<float>({{1, 0, 0}, {0, 1, 0}, {0, 1, 1}, {0, 0, 0}, {1, 1, 0}, {0, 0, 0}});
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Tensor<bool> seen = split_combinations(signatures, 1, Random(seed));
    CHECK(seen.at({2}));  // the only one with the third
    CHECK(seen.at({3}));  // 3 and 5 are one combination of two classes
    CHECK(seen.at({5}));
    CHECK(count_nonzero(seen).item() == 5);
  }
  CHECK_THROWS_WITH(split_combinations(signatures, 5, Random(1)),
                    contains("classes can be unseen") && contains("not 5"));
  CHECK_THROWS_WITH(split_combinations(signatures, 6, Random(1)), contains("6 unseen classes of 6"));
  CHECK_THROWS_AS(split_combinations(signatures, 0, Random(1)), ValueError);
}

TEST_CASE("any classes may be unseen where attributes do not matter", "[data]") {
  std::vector<Index> unseen(5);
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const Tensor<bool> seen = split_classes(5, 2, Random(seed));
    CHECK(count_nonzero(seen).item() == 3);
    for (Index c = 0; c < 5; ++c) unseen[c] += !seen.at({c});
  }
  for (const Index count : unseen) CHECK(std::abs(count - 80) < 35);  // five deviations of 200 draws of chance 2 / 5
  CHECK_THROWS_WITH(split_classes(3, 3, Random(1)), contains("3 unseen classes of 3"));
  CHECK_THROWS_AS(split_classes(3, 0, Random(1)), ValueError);
}

TEST_CASE("items of seen classes are split, those of unseen ones tested", "[data]") {
  const auto labels = generate({50}, [](Index i) { return i % 5; });
  const Tensor<bool> seen = tensor<bool>({true, false, true, true, false});
  const ZeroShotSplit split = split_zero_shot(labels, seen, 0.3, Random(1));
  std::set<std::int64_t> train, test;
  for (const std::int64_t i : host(split.train)) train.insert(i);
  for (const std::int64_t i : host(split.test)) test.insert(i);
  CHECK(train.size() == 21);  // 7 of each of three
  CHECK(test.size() == 29);
  std::vector<Index> counts(5);
  for (const std::int64_t i : train) {
    CHECK(test.count(i) == 0);
    ++counts[i % 5];
  }
  CHECK(counts == std::vector<Index>{7, 0, 7, 7, 0});
  CHECK(same_bits(split.seen, seen));
  // Two items: one each; one item: trained on.
  const ZeroShotSplit small = split_zero_shot(tensor<std::int64_t>({0, 1, 1}), ones<bool>({2}), 0.9, Random(1));
  CHECK(small.train.count() == 2);
  CHECK(small.test.count() == 1);
  CHECK_THROWS_AS(split_zero_shot(labels, tensor<bool>({true}), 0.3, Random(1)), IndexError);
  CHECK_THROWS_WITH(split_zero_shot(labels, seen, 1, Random(1)), contains("share 1"));
}

TEST_CASE("half of the items describe their class, the other half are its items", "[data]") {
  const Tensor<> x = generate({12, 3}, [](Index i, Index m) { return static_cast<float>((7 * i + m) % 12) / 12; });
  const auto labels = generate({12}, [](Index i) { return i % 3; });
  const AttributedItems items = halves_as_signatures(x, labels, 3, Random(1));
  CHECK(items.x.shape() == Shape{6, 3});
  CHECK(items.signatures.shape() == Shape{3, 3});
  for (Index c = 0; c < 3; ++c)
    for (Index m = 0; m < 3; ++m) {
      double all = 0, kept = 0;
      for (Index i = c; i < 12; i += 3) all += x.at({i, m});
      for (Index i = 0; i < 6; ++i)
        if (items.labels.at({i}) == c) kept += items.x.at({i, m});
      CHECK(2 * items.signatures.at({c, m}) == Approx(all - kept).margin(1e-6));  // the two that were set aside
    }
  CHECK_THROWS_AS(halves_as_signatures(x, tensor<std::int64_t>({0}), 3, Random(1)), ShapeError);
  CHECK_THROWS_WITH(halves_as_signatures(x, labels, 4, Random(1)), contains("class 3 has 0 items"));
}

TEST_CASE("files of items with attributes give back what was written, over the largest number", "[data]") {
  const Folder folder;
  const std::string path = folder / "set.npz";
  const std::vector<float> x{1, 0, 8, 0, 0, 4, 1, 0, 8, 0, 0, 4};
  const std::vector<std::int64_t> y{0, 1, 0, 1};
  const auto write = [&](const std::vector<float>& numbers, const std::vector<std::int64_t>& labels) {
    write_npz(path, {{"x", make_array(numbers, {std::ssize(numbers) / 3, 3})},
                     {"y", make_array(labels, {std::ssize(labels)})}});
  };
  write(x, y);
  AttributedItems items = load_attributed_items(path, Random(1));
  CHECK(items.source == path);
  CHECK(items.x.shape() == Shape{2, 3});
  CHECK(same_bits(items.signatures, tensor<float>({{1, 0, 1}, {0, 0, 0.5}})));
  CHECK(items.class_names == std::vector<std::string>{"class 0", "class 1"});
  CHECK(items.attribute_names[2] == "attribute 2");
  put(folder / "classes.txt", "cat\ndog\n");
  put(folder / "attributes.txt", "hair\nwings\nlegs\n");
  items = load_attributed_items(path, Random(1));
  CHECK(items.class_names == std::vector<std::string>{"cat", "dog"});
  CHECK(items.attribute_names == std::vector<std::string>{"hair", "wings", "legs"});

  const auto refused = [&](const std::string& text) {
    CHECK_THROWS_AS(load_attributed_items(path, Random(1)), FileError);
    CHECK_THROWS_WITH(load_attributed_items(path, Random(1)), contains(text));
  };
  put(folder / "classes.txt", "cat\n");
  refused("classes.txt");
  put(folder / "classes.txt", "cat\ndog\n");
  write({1, 0, 8, 0, 0, 4, 1, 0, 8, 0, 0, -4}, y);
  refused("element 11 is -4");
  write(x, {0, 1, 0, 3});
  refused("class 1 has 1 items");
  write(x, {0, 1, 0, -1});
  refused("a label is -1");
  write(x, {0, 1, 0});
  refused("has no row of attributes for each of 3 items");
}
