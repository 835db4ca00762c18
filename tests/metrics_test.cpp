// Figures of rankings: values by hand and of scikit-learn's documentation, ties, what has no value.

#include <cmath>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "graft/evaluate/metrics.hpp"
#include "messages.hpp"

using namespace graft;

TEST_CASE("auc is the share of pairs in the right order, ties half", "[evaluate]") {
  const auto labels = tensor<std::int64_t>({0, 0, 1, 1});
  // The example of scikit-learn's roc_auc_score.
  CHECK(auc(tensor<double>({0.1, 0.4, 0.35, 0.8}), labels) == 0.75);
  CHECK(auc(tensor<float>({1, 2, 3, 4}), labels) == 1);
  CHECK(auc(tensor<float>({4, 3, 2, 1}), labels) == 0);
  CHECK(auc(tensor<float>({7, 7, 7, 7}), labels) == 0.5);
  // Of the pairs (2, 2), (2, 1), (3, 2), (3, 1) of a positive and a negative one ties, three are right.
  CHECK(auc(tensor<float>({2, 1, 2, 3}), labels) == 3.5 / 4);
  const float inf = std::numeric_limits<float>::infinity();
  CHECK(auc(tensor<float>({-inf, inf, -inf, inf}), labels) == 0.5);
}

TEST_CASE("average precision is the area under the steps of precision over recall", "[evaluate]") {
  const auto labels = tensor<std::int64_t>({0, 0, 1, 1});
  // The example of scikit-learn's average_precision_score, which prints 0.83: 1/2 (1/1) + 1/2 (2/3).
  CHECK(average_precision(tensor<double>({0.1, 0.4, 0.35, 0.8}), labels) == Approx(5.0 / 6).epsilon(1e-15));
  CHECK(average_precision(tensor<float>({1, 2, 3, 4}), labels) == 1);
  CHECK(average_precision(tensor<float>({4, 3, 2, 1}), labels) == Approx((1.0 / 3 + 2.0 / 4) / 2).epsilon(1e-15));
  CHECK(average_precision(tensor<float>({7, 7, 7, 7}), labels) == 0.5);  // one step: the share of label 1
  // 3: 1/2 (1/1); 2, a tie of both labels: 1/2 (2/3).
  CHECK(average_precision(tensor<float>({2, 1, 2, 3}), labels) == Approx(5.0 / 6).epsilon(1e-15));
  CHECK(average_precision(tensor<float>({1, 2}), tensor<std::int64_t>({1, 1})) == 1);
}

TEST_CASE("figures of rankings do not depend on the order of the items", "[evaluate]") {
  std::vector<float> scores;
  std::vector<std::int64_t> labels;
  const Random random(1);
  for (std::uint64_t i = 0; i < 50; ++i) {
    scores.push_back(static_cast<float>(random.below(2 * i, 9)));  // many ties
    labels.push_back(random.below(2 * i + 1, 2));
  }
  std::vector<float> mixed_scores;
  std::vector<std::int64_t> mixed_labels;
  for (const Index i : random.permutation(50)) {
    mixed_scores.push_back(scores[i]);
    mixed_labels.push_back(labels[i]);
  }
  const auto x = from_vector(scores), mixed = from_vector(mixed_scores);
  const auto y = from_vector(labels), mixed_y = from_vector(mixed_labels);
  CHECK(auc(mixed, mixed_y) == auc(x, y));
  CHECK(average_precision(mixed, mixed_y) == average_precision(x, y));
  double right = 0, pairs = 0;  // the definition
  for (std::size_t i = 0; i < 50; ++i)
    for (std::size_t j = 0; j < 50; ++j) {
      if (labels[i] != 1 || labels[j] != 0) continue;
      ++pairs;
      right += scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0;
    }
  CHECK(auc(x, y) == right / pairs);
}

TEST_CASE("figures over classes are means of each class against all others", "[evaluate]") {
  // Of two classes with opposite scores both give the same area: the example above.
  const auto two = tensor<std::int64_t>({0, 0, 1, 1});
  const Tensor<double> first = tensor({0.1, 0.4, 0.35, 0.8});
  CHECK(macro_auc(stack(std::vector{-first, first}, 1), two) == 0.75);
  // Class 0 ranks first of three items, 1 second and 2 first, so that precision is 1, 1/2 and 1.
  const Tensor<> scores = tensor<float>({{3, 2, 0}, {1, 1, 0}, {2, 0, 5}});
  const auto labels = tensor<std::int64_t>({0, 1, 2});
  CHECK(macro_auc(scores, labels) == Approx((1 + 0.5 + 1) / 3).epsilon(1e-15));
  CHECK(mean_average_precision(scores, labels) == Approx((1 + 0.5 + 1) / 3).epsilon(1e-15));

  const Random random(2);
  std::vector<std::int64_t> drawn;
  for (std::uint64_t i = 0; i < 40; ++i) drawn.push_back(random.below(i, 4));
  const auto classes = from_vector(drawn);
  const Tensor<double> many = randn<double>({40, 4}, random.stream("scores"));
  double area = 0, precision = 0;  // the definition
  for (Index c = 0; c < 4; ++c) {
    const Tensor<double> column = gather(transpose(many), tensor<std::int64_t>({c}));
    const auto is_class = cast<std::int64_t>(classes == c);
    area += auc(reshape(column, {40}), is_class) / 4;
    precision += average_precision(reshape(column, {40}), is_class) / 4;
  }
  CHECK(macro_auc(many, classes) == Approx(area).epsilon(1e-14));
  CHECK(mean_average_precision(many, classes) == Approx(precision).epsilon(1e-14));

  const char *op = "macro_auc", *mean = "mean_average_precision";
  const auto swapped = tensor<std::int64_t>({1, 0});
  const Tensor<> lost = tensor<float>({{1, 2}, {1, NAN}});
  CHECK(refusal_fault<ShapeError>(op, "labels [3]", [&] { macro_auc(zeros({2, 3}), labels); }) == "");
  CHECK(refusal_fault<IndexError>(op, "label 3 of 3", [&] { macro_auc(scores, labels + 1); }) == "");
  CHECK(refusal_fault(op, "of 1 classes", [&] { macro_auc(zeros({2, 1}), zeros<std::int64_t>({2})); }) == "");
  CHECK(refusal_fault(op, "no item has the label 2", [&] { macro_auc(zeros({2, 3}), swapped); }) == "");
  const auto none = zeros<std::int64_t>({0});
  CHECK(refusal_fault(mean, "no item has the label 0", [&] { mean_average_precision(zeros({0, 2}), none); }) == "");
  CHECK(refusal_fault(mean, "item 1", [&] { mean_average_precision(lost, swapped); }) == "");
}

TEST_CASE("figures of rankings without a value are refused", "[evaluate]") {
  const auto both = [](auto scores, auto labels, auto check) {
    check([&] { auc(scores, labels); });
    check([&] { average_precision(scores, labels); });
  };
  const auto labels = tensor<std::int64_t>({0, 1});
  both(tensor<float>({1, 2, 3}), labels, [](auto run) { CHECK_THROWS_AS(run(), ShapeError); });
  both(tensor<float>({1, 2}), tensor<std::int64_t>({0, 2}), [](auto run) { CHECK_THROWS_AS(run(), IndexError); });
  both(tensor<float>({1, NAN}), labels, [](auto run) { CHECK_THROWS_WITH(run(), contains("item 1")); });
  both(tensor<float>({1, 2}), tensor<std::int64_t>({0, 0}), [](auto run) { CHECK_THROWS_AS(run(), ValueError); });
  both(zeros({0}), zeros<std::int64_t>({0}), [](auto run) { CHECK_THROWS_AS(run(), ValueError); });
  CHECK_THROWS_WITH(auc(tensor<float>({1, 2}), tensor<std::int64_t>({1, 1})), contains("no item has the label 0"));
}
