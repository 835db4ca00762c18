#include <string>

#include "catch.hpp"
#include "graft/evaluate/generalised_zero_shot.hpp"
#include "graft/graft.hpp"
#include "graft/protocol/zero_shot.hpp"

using namespace graft;

namespace {

/// Items that are a linear view of their class's five attributes, with noise; every fourth combination is unseen.
struct Planted {
  ZeroShotTask task;
  Tensor<std::int64_t> truth;
};
Planted planted(double noise) {
  const Tensor<> signatures = generate({32, 5}, [](Index c, Index m) { return static_cast<float>(c >> m & 1); });
  const Tensor<bool> seen = generate({32}, [](Index c) { return c % 4 != (c / 4) % 4; });
  const ZeroShotClasses<> classes(signatures, seen);
  const Random random(1);
  const Tensor<> view = randn<float>({5, 10}, random.stream("view"));
  const auto items = [&](const Tensor<std::int64_t>& of, const char* name) {
    return matmul(gather(signatures, of) - 0.5, view) +
           static_cast<float>(noise) * randn<float>({of.count(), 10}, random.stream(name));
  };
  const auto labels = gather(classes.seen_places(), generate({480}, [](Index i) { return i % 24; }));
  const auto truth = generate({320}, [](Index i) { return i % 32; });
  const auto with_ones = [](const Tensor<>& x) { return concat<float>({x, ones<float>({x.size(0), 1})}, 1); };
  return {{with_ones(items(labels, "train")), labels, classes, with_ones(items(truth, "test"))}, truth};
}

}  // namespace

TEST_CASE("zero-shot methods find unseen combinations of planted attributes, controls do not", "[protocol]") {
  const Planted p = planted(0.1);
  for (const std::string& name : zero_shot_methods().names()) {
    const Tensor<> scores = zero_shot_scores(name, p.task, {}, Random(2));
    CHECK(scores.shape() == Shape{320, 32});
    const double area = ausuc(scores, p.truth, p.task.classes.seen);
    const double unseen = zero_shot_figures(scores, p.truth, p.task.classes.seen, 1e30).unseen;
    INFO(name << ": AUSUC " << area << ", unseen classes among themselves " << unseen);
    if (name == "random" || name == "majority") {
      CHECK(unseen < 0.3);  // chance 1 / 8
      CHECK(area < 0.1);
    } else {
      CHECK(unseen > 0.9);
      CHECK(area > 0.6);
    }
    CHECK(same_bits(zero_shot_scores(name, p.task, {}, Random(2)), scores));
  }
}

TEST_CASE("in one space items are matched as they are", "[protocol]") {
  Planted p = planted(0);
  p.task.classes = ZeroShotClasses<>(randn<float>({32, 11}, Random(4)), p.task.classes.seen);
  p.task.test = 3.0f * p.task.classes.signatures;
  p.task.one_space = true;
  const Tensor<> scores = zero_shot_scores("matching", p.task, {.steps = 0}, Random(2));
  CHECK(accuracy(scores, arange<std::int64_t>(32)) == 1);
}

TEST_CASE("features of drawings are learned from the attributes of seen classes, other items are their own",
          "[protocol]") {
  const Random random(5);
  // Two attributes: ink in the upper half, ink in the left half. The fourth combination is unseen.
  const Tensor<> signatures = tensor<float>({{0, 0}, {1, 0}, {0, 1}, {1, 1}});
  AttributedItems items;
  items.labels = generate({120}, [](Index i) { return i % 4; });
  const auto has = [](Index i, Index m) { return i % 4 >> m & 1; };
  items.x = generate({120, 16, 16, 1}, [&](Index i, Index y, Index x, Index) {
    const double noise = random.uniform(static_cast<std::uint64_t>((i * 16 + y) * 16 + x));
    return static_cast<float>(((y < 8) == has(i, 0) ? 0.5 : 0) + ((x < 8) == has(i, 1) ? 0.5 : 0) + 0.2 * noise);
  });
  items.signatures = signatures;
  const ZeroShotClasses<> classes(signatures, tensor<bool>({true, true, true, false}));
  const ZeroShotSplit split = split_zero_shot(items.labels, classes.seen, 0.3, random);
  const Tensor<> x = attribute_features(items, split, classes, {.steps = 60, .batch = 32, .rate = 3e-3}, random);
  CHECK(x.shape() == Shape{120, 32});
  const Tensor<> scaled = standardised(x, split.train), train = gather(scaled, split.train);
  CHECK(max(abs(mean(slice(train, 1, 0, 32), {0}))).item() < 1e-4);
  CHECK(min(slice(scaled, 1, 32, 33)).item() == 1);
  const ZeroShotTask task{train, gather(items.labels, split.train), classes, gather(scaled, split.test)};
  const Tensor<> scores = zero_shot_scores("dap", task, {}, random);
  const auto figures = zero_shot_metrics(scores, gather(items.labels, split.test), classes.seen);
  CHECK(figures.size() == zero_shot_metrics().size());
  CHECK(figures[0] > 0.9);         // S
  CHECK(figures[3] == Approx(1));  // one unseen class among itself
  CHECK(figures[4] > 0.25);        // AUSUC; chance is S U / 2 with a U that any score can order
  items.x = randn<float>({120, 3}, random);
  CHECK(same_bits(attribute_features(items, split, classes, {}, random), items.x));
}

TEST_CASE("unknown names are refused with those that there are", "[protocol]") {
  const Planted p = planted(0);
  CHECK_THROWS_WITH(zero_shot_scores("dab", p.task, {}, Random(2)),
                    contains("none named 'dab'") && contains("iap, eszsl"));
  CHECK_THROWS_WITH(
      fit_on_items(Linear<>(2, 2, Random(1)), zeros<float>({0, 2}), zeros<std::int64_t>({0}), {}, Random(1),
                   [](const Linear<>& m, const Tensor<>& x, const auto&) { return sum(m(x)); }),
      contains("fit_on_items"));
  const DescribedItems set = make_described_items(Random(1), {.classes = 4, .items = 2});
  CHECK_THROWS_WITH(description_figures("max", set, 2, {}, Random(1)),
                    contains("none named 'max'") && contains("mean, one_head"));
  CHECK_THROWS_WITH(description_figures("mean", set, 4, {}, Random(1)), contains("4 of 4 classes"));
}

TEST_CASE("where one token of eight tells, attention finds it, the mean cannot, the oracle bounds both", "[protocol]") {
  const DescribedItems set = make_described_items(Random(1), {.classes = 100, .items = 8});
  const ZeroShotTraining training{.steps = 200, .batch = 64, .rate = 5e-3};
  const auto figures = [&](const char* name) { return description_figures(name, set, 80, training, Random(2)); };
  const DescriptionFigures mean = figures("mean"), attention = figures("attention"), oracle = figures("oracle");
  INFO("mean " << mean.accuracy << ", attention " << attention.accuracy << ", oracle " << oracle.accuracy);
  CHECK(oracle.accuracy > mean.accuracy + 0.2);
  CHECK(attention.accuracy > mean.accuracy + 0.1);
  CHECK(attention.accuracy < oracle.accuracy + 0.05);
  CHECK(mean.accuracy > 0.1);  // chance 0.05
  CHECK(mean.reciprocal_rank >= mean.accuracy);
  CHECK(oracle.parameters == attention.parameters);
  for (const std::string& name : description_poolings().names())
    CHECK(description_figures(name, set, 80, {.steps = 1}, Random(2)).reciprocal_rank > 0.05);
  // The attention has a query of 32 numbers and 32 biases more, of 5 321.
  CHECK(attention.parameters - mean.parameters == 64);
}
