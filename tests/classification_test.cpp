// Confusion matrices and what follows from them: examples of scikit-learn's documentation, matrices by hand, classes
// without items.

#include <cmath>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "graft/evaluate/classification.hpp"
#include "graft/evaluate/metrics.hpp"
#include "messages.hpp"

using namespace graft;

namespace {

using Labels = Tensor<std::int64_t>;

void check_figures(const PrecisionRecall& figures, double precision, double recall, double f1) {
  CHECK(figures.precision == Approx(precision).epsilon(1e-14));
  CHECK(figures.recall == Approx(recall).epsilon(1e-14));
  CHECK(figures.f1 == Approx(f1).epsilon(1e-14));
}

}  // namespace

TEST_CASE("a confusion matrix counts labels by predictions", "[evaluate]") {
  // The example of scikit-learn's confusion_matrix.
  const Labels labels = tensor<std::int64_t>({2, 0, 2, 2, 0, 1}), predicted = tensor<std::int64_t>({0, 0, 2, 2, 0, 2});
  const Labels counts = tensor<std::int64_t>({{2, 0, 0}, {0, 0, 1}, {1, 0, 2}});
  CHECK(same_bits(confusion_matrix(predicted, labels, 3), counts));
  const Tensor<std::int32_t> labels32 = tensor<std::int32_t>({2, 0}), predicted32 = tensor<std::int32_t>({0, 0});
  CHECK(same_bits(confusion_matrix(predicted32, labels32, 3), tensor<std::int64_t>({{1, 0, 0}, {0, 0, 0}, {1, 0, 0}})));

  // The same predictions as logits; the first of equal ones counts, and infinities are numbers.
  const float inf = std::numeric_limits<float>::infinity();
  const Tensor<> logits =
      tensor<float>({{1, 1, 1}, {3, 2, 1}, {-inf, -inf, 0}, {0, 1, 2}, {inf, inf, 5}, {-3, -2, -1}});
  CHECK(same_bits(confusion_matrix(logits, labels), counts));

  // Batches add up; nothing counts nothing.
  const Labels first = confusion_matrix(tensor<std::int64_t>({0, 0, 2}), tensor<std::int64_t>({2, 0, 2}), 3);
  const Labels second = confusion_matrix(tensor<std::int64_t>({2, 0, 2}), tensor<std::int64_t>({2, 0, 1}), 3);
  CHECK(same_bits(first + second, counts));
  CHECK(
      same_bits(confusion_matrix(zeros<std::int64_t>({0}), zeros<std::int64_t>({0}), 2), zeros<std::int64_t>({2, 2})));
  CHECK(same_bits(confusion_matrix(zeros({0, 2}), zeros<std::int64_t>({0})), zeros<std::int64_t>({2, 2})));
}

TEST_CASE("precision, recall and F1 are those of scikit-learn's examples", "[evaluate]") {
  // classification_report of y_true = [0, 1, 2, 2, 2], y_pred = [0, 0, 2, 2, 1] prints 0.50 1.00 0.67, 0.00 0.00 0.00,
  // 1.00 0.67 0.80, macro 0.50 0.56 0.49, weighted 0.70 0.60 0.61, accuracy 0.60.
  const Labels report =
      confusion_matrix(tensor<std::int64_t>({0, 0, 2, 2, 1}), tensor<std::int64_t>({0, 1, 2, 2, 2}), 3);
  const std::vector<PrecisionRecall> classes = precision_recall(report);
  REQUIRE(classes.size() == 3);
  check_figures(classes[0], 0.5, 1, 2.0 / 3);
  check_figures(classes[1], 0, 0, 0);
  check_figures(classes[2], 1, 2.0 / 3, 0.8);
  CHECK((classes[0].items == 1 && classes[1].items == 1 && classes[2].items == 3));
  check_figures(precision_recall(report, ClassAverage::macro), 0.5, 5.0 / 9, (2.0 / 3 + 0.8) / 3);
  check_figures(precision_recall(report, ClassAverage::weighted), 0.7, 0.6, (2.0 / 3 + 3 * 0.8) / 5);
  check_figures(precision_recall(report, ClassAverage::micro), 0.6, 0.6, 0.6);
  CHECK(precision_recall(report, ClassAverage::macro).items == 5);
  CHECK(class_accuracies(report) == std::vector<double>{1, 0, 2.0 / 3});

  // precision_recall_fscore_support of cat, dog, pig, cat, dog, pig taken for cat, pig, dog, cat, cat, dog prints
  // 0.22, 0.33, 0.26 (macro and weighted), 0.33 (micro), and of each class 0.66, 0, 0; 1, 0, 0; 0.8, 0, 0.
  const Labels animals =
      confusion_matrix(tensor<std::int64_t>({0, 2, 1, 0, 0, 1}), tensor<std::int64_t>({0, 1, 2, 0, 1, 2}), 3);
  check_figures(precision_recall(animals)[0], 2.0 / 3, 1, 0.8);
  check_figures(precision_recall(animals)[1], 0, 0, 0);
  check_figures(precision_recall(animals, ClassAverage::macro), 2.0 / 9, 1.0 / 3, 0.8 / 3);
  check_figures(precision_recall(animals, ClassAverage::weighted), 2.0 / 9, 1.0 / 3, 0.8 / 3);
  check_figures(precision_recall(animals, ClassAverage::micro), 1.0 / 3, 1.0 / 3, 1.0 / 3);
}

TEST_CASE("what divides by nothing is 0", "[evaluate]") {
  // Class 0: two items, both found; 1: no items, one prediction; 2: one item, never predicted; 3: neither.
  const Labels counts = tensor<std::int64_t>({{2, 0, 0, 0}, {0, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 0, 0}});
  const std::vector<PrecisionRecall> classes = precision_recall(counts);
  check_figures(classes[0], 1, 1, 1);
  for (const std::size_t c : {1, 2, 3}) check_figures(classes[c], 0, 0, 0);
  CHECK(class_accuracies(counts) == std::vector<double>{1, 0, 0, 0});
  check_figures(precision_recall(counts, ClassAverage::macro), 0.25, 0.25, 0.25);
  check_figures(precision_recall(counts, ClassAverage::weighted), 2.0 / 3, 2.0 / 3, 2.0 / 3);
  check_figures(precision_recall(counts, ClassAverage::micro), 2.0 / 3, 2.0 / 3, 2.0 / 3);

  const Labels one = tensor<std::int64_t>({{7}});
  for (const auto average : {ClassAverage::micro, ClassAverage::macro, ClassAverage::weighted})
    check_figures(precision_recall(one, average), 1, 1, 1);
}

TEST_CASE("averages do not depend on the names of classes, and micro figures are the accuracy", "[evaluate]") {
  const Random random(2);
  std::vector<std::int64_t> labels, predicted, renamed_labels, renamed_predicted;
  for (std::uint64_t i = 0; i < 60; ++i) {
    labels.push_back(random.below(3 * i, 5));
    predicted.push_back(random.below(3 * i + 1, 3) == 0 ? random.below(3 * i + 2, 5) : labels.back());
    renamed_labels.push_back((2 * labels.back() + 1) % 5);  // another order of the five classes
    renamed_predicted.push_back((2 * predicted.back() + 1) % 5);
  }
  const Labels counts = confusion_matrix(from_vector(predicted), from_vector(labels), 5);
  const Labels renamed = confusion_matrix(from_vector(renamed_predicted), from_vector(renamed_labels), 5);
  for (const auto average : {ClassAverage::micro, ClassAverage::macro, ClassAverage::weighted}) {
    const PrecisionRecall figures = precision_recall(counts, average);
    check_figures(precision_recall(renamed, average), figures.precision, figures.recall, figures.f1);
  }
  const double right = accuracy(from_vector(predicted), from_vector(labels));
  check_figures(precision_recall(counts, ClassAverage::micro), right, right, right);
  CHECK(precision_recall(counts, ClassAverage::weighted).recall == Approx(right).epsilon(1e-14));
}

TEST_CASE("confusion matrices refuse what they cannot count", "[evaluate]") {
  const Labels two = tensor<std::int64_t>({0, 1}), three = tensor<std::int64_t>({0, 1, 1});
  const char *op = "confusion_matrix", *items = "precision_recall";
  CHECK(refusal_fault<ShapeError>(op, "labels [3]", [&] { confusion_matrix(two, three, 2); }) == "");
  CHECK(refusal_fault(op, "of 0 classes", [&] { confusion_matrix(two, two, 0); }) == "");
  CHECK(refusal_fault<ShapeError>(op, "more bytes", [&] { confusion_matrix(two, two, Index{1} << 40); }) == "");
  CHECK(refusal_fault<IndexError>(op, "label 1 of 1", [&] { confusion_matrix(zeros<std::int64_t>({2}), two, 1); }) ==
        "");
  CHECK(refusal_fault<IndexError>(op, "prediction -1", [&] { confusion_matrix(two - 1, two, 2); }) == "");
  CHECK(refusal_fault<ShapeError>(op, "logits [2]", [&] { confusion_matrix(zeros({2}), two); }) == "");
  CHECK(refusal_fault(op, "of no classes", [&] { confusion_matrix(zeros({2, 0}), two); }) == "");
  CHECK(refusal_fault<IndexError>(op, "label 1 of 1", [&] { confusion_matrix(zeros({2, 1}), two); }) == "");
  CHECK(refusal_fault(op, "item 1", [&] { confusion_matrix(tensor<float>({{0, 1}, {0, NAN}}), two); }) == "");

  const Labels wide = zeros<std::int64_t>({2, 3}), none = zeros<std::int64_t>({2, 2});
  CHECK(refusal_fault<ShapeError>(items, "[2, 3]", [&] { precision_recall(wide); }) == "");
  CHECK(refusal_fault<ShapeError>(items, "[2, 3]", [&] { precision_recall(wide, ClassAverage::macro); }) == "");
  CHECK(refusal_fault(items, "no items", [&] { precision_recall(none); }) == "");
  CHECK(refusal_fault(items, "no items", [&] { precision_recall(none, ClassAverage::micro); }) == "");
  CHECK(refusal_fault(items, "a count of -1", [&] { precision_recall(none - 1); }) == "");
  CHECK(refusal_fault("class_accuracies", "no items", [&] { class_accuracies(none); }) == "");
}
