// Calibration: examples of TorchMetrics' documentation, bins by hand, and temperatures with a closed form.

#include <cmath>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "graft/evaluate/calibration.hpp"
#include "messages.hpp"

using namespace graft;

namespace {

using Labels = Tensor<std::int64_t>;

/// Rows of logits and labels that are drawn from their softmax.
struct Sampled {
  Tensor<double> logits;
  Labels labels;
};
Sampled sampled(Index items, Index classes, const Random& random) {
  const Tensor<double> logits = 2 * randn<double>({items, classes}, random.stream("logits"));
  return {logits, categorical_from_logits(logits, random.stream("labels"))};
}

}  // namespace

TEST_CASE("the expected calibration error is that of TorchMetrics' examples", "[evaluate]") {
  // multiclass_calibration_error(preds, target, num_classes=3, n_bins=3, norm='l1') prints 0.2000: 3/4 (0.5667 - 1/3) +
  // 1/4 (1 - 0.9).
  const Tensor<double> probabilities =
      tensor<double>({{0.25, 0.20, 0.55}, {0.55, 0.05, 0.40}, {0.10, 0.30, 0.60}, {0.90, 0.05, 0.05}});
  const Labels labels = tensor<std::int64_t>({0, 1, 2, 0});
  CHECK(expected_calibration_error(log(probabilities), labels, {.bins = 3}) == Approx(0.2).epsilon(1e-12));

  // binary_calibration_error of these with n_bins=2, norm='l1' prints 0.2900: 2/5 0.25 + 3/5 (1 - 0.6833).
  const Tensor<double> confidences = tensor({0.25, 0.25, 0.55, 0.75, 0.75});
  const Tensor<bool> right = tensor<bool>({false, false, true, true, true});
  CHECK(expected_calibration_error(confidences, right, {.bins = 2}) == Approx(0.29).epsilon(1e-12));

  // One bin: the mean confidence against the share that is right.
  CHECK(expected_calibration_error(confidences, right, {.bins = 1}) == Approx(0.6 - 0.51).epsilon(1e-12));
}

TEST_CASE("bins of confidence hold their upper edge", "[evaluate]") {
  const Tensor<double> confidences = tensor({0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 0.21});
  const Tensor<bool> right = tensor<bool>({true, false, true, true, false, true, true});
  const std::vector<CalibrationBin> bins = calibration_bins(confidences, right, {.bins = 5});
  REQUIRE(bins.size() == 5);
  const Index items[] = {2, 2, 1, 1, 1};
  const double confidence[] = {0.1, 0.305, 0.6, 0.8, 1.0}, accuracy[] = {0.5, 1, 1, 0, 1};
  for (std::size_t b = 0; b < 5; ++b) {
    INFO(b);
    CHECK(bins[b].items == items[b]);
    CHECK(bins[b].confidence == Approx(confidence[b]));
    CHECK(bins[b].accuracy == accuracy[b]);
  }
  const std::vector<CalibrationBin> usual = calibration_bins(confidences, right);
  CHECK(usual.size() == 15);  // the paper's
  CHECK((usual[1].items == 0 && usual[1].confidence == 0 && usual[1].accuracy == 0));
  // Every edge of a hundred bins is in the bin below it, whatever b / 100 is in binary.
  for (Index b = 1; b <= 100; ++b) {
    const Tensor<double> edge = full<double>({1}, static_cast<double>(b) / 100);
    CHECK(calibration_bins(edge, tensor<bool>({true}), {.bins = 100})[b - 1].items == 1);
  }
}

TEST_CASE("confidences that come true have no calibration error", "[evaluate]") {
  const Tensor<> quarters = full({4}, 0.75f);
  CHECK(expected_calibration_error(quarters, tensor<bool>({true, false, true, true})) == 0);
  CHECK(expected_calibration_error(ones({3}), tensor<bool>({true, true, true})) == 0);
  CHECK(expected_calibration_error(ones({3}), tensor<bool>({false, false, false})) == 1);
  // Equal logits: confidence 1 / classes in the first class.
  CHECK(expected_calibration_error(zeros({4, 4}), tensor<std::int64_t>({0, 1, 2, 3})) == Approx(0).margin(1e-15));
  // Classes that are out of the question do not count; a row of one class is sure.
  const float inf = std::numeric_limits<float>::infinity();
  CHECK(expected_calibration_error(tensor<float>({{-inf, 3, -inf}}), tensor<std::int64_t>({1})) == 0);
  CHECK(expected_calibration_error(zeros({2, 1}), tensor<std::int64_t>({0, 0})) == 0);
}

TEST_CASE("a temperature has its closed form for two classes and one margin", "[evaluate]") {
  // Of rows (g, 0) a share q has label 0: the loss is smallest where softmax(g / T) = q, at T = g / log(q / (1 - q)).
  const Labels labels = tensor<std::int64_t>({0, 0, 1, 0});
  for (const double g : {2.0, 1e-30, 0.3, 700.0, 1e30, 1e-300, 1e300}) {
    INFO(g);
    const Tensor<double> logits = stack<double>({full<double>({4}, g), zeros<double>({4})}, 1);
    CHECK(fit_temperature(logits, labels) == Approx(g / std::log(3.0)).epsilon(1e-12));
    if (std::abs(std::log10(g)) < 40)
      CHECK(fit_temperature(cast<float>(logits), labels) == Approx(g / std::log(3.0)).epsilon(1e-6));
    // A number added to a whole row changes nothing.
    const Tensor<double> offsets = from_vector(std::vector<double>{4 * g, 0, -g, 2 * g}, {4, 1});
    CHECK(fit_temperature(logits + offsets, labels) == Approx(g / std::log(3.0)).epsilon(1e-12));
  }
}

TEST_CASE("a temperature finds what logits were multiplied by, and where the loss is smallest", "[evaluate]") {
  const Sampled drawn = sampled(20000, 5, Random(3));
  const Tensor<double> sharp = 3 * drawn.logits;
  // The deviation of 1 / T is about 1 / sqrt(items x mean variance of the logits under their softmax, 1): 0.7 %.
  const double temperature = fit_temperature(sharp, drawn.labels);
  CHECK(temperature == Approx(3).epsilon(0.04));
  CHECK(fit_temperature(drawn.logits, drawn.labels) == Approx(temperature / 3).epsilon(1e-10));
  const auto loss = [&](double t) { return cross_entropy(sharp / t, drawn.labels).item(); };
  CHECK(loss(temperature) < loss(1.001 * temperature));
  CHECK(loss(temperature) < loss(0.999 * temperature));
  CHECK(loss(temperature) < loss(1));

  // What is left is the chance of labels: about 0.4 sqrt(bins / items), 0.011.
  CHECK(expected_calibration_error(sharp, drawn.labels) > 0.1);
  CHECK(expected_calibration_error(sharp / temperature, drawn.labels) < 0.03);
}

TEST_CASE("calibration refuses what has no value", "[evaluate]") {
  const Labels two = tensor<std::int64_t>({0, 1});
  const Tensor<bool> right = tensor<bool>({true, false});
  const Tensor<> logits = tensor<float>({{1, 0}, {1, 0}}), lost = tensor<float>({{1, 0}, {NAN, 0}});
  const char *op = "calibration_bins", *ece = "expected_calibration_error", *fit = "fit_temperature";
  CHECK(refusal_fault<ShapeError>(op, "logits [2]", [&] { calibration_bins(zeros({2}), two); }) == "");
  CHECK(refusal_fault<ShapeError>(op, "right [2]", [&] { calibration_bins(zeros({3}), right); }) == "");
  CHECK(refusal_fault<IndexError>(op, "label 2", [&] { calibration_bins(logits, two + 1); }) == "");
  CHECK(refusal_fault(op, "0 bins", [&] { calibration_bins(logits, two, {.bins = 0}); }) == "");
  CHECK(refusal_fault(op, "no items", [&] { calibration_bins(zeros({0, 2}), zeros<std::int64_t>({0})); }) == "");
  CHECK(refusal_fault(op, "no items", [&] { calibration_bins(zeros({0}), zeros<bool>({0})); }) == "");
  CHECK(refusal_fault(op, "item 1 is 1.5", [&] { calibration_bins(tensor({0.5, 1.5}), right); }) == "");
  CHECK(refusal_fault(op, "item 0", [&] { calibration_bins(tensor<float>({NAN, 1}), right); }) == "");
  CHECK(refusal_fault(ece, "item 1", [&] { expected_calibration_error(lost, two); }) == "");
  CHECK(refusal_fault(ece, "item 0", [&] { expected_calibration_error(tensor({-0.5, 1.0}), right); }) == "");
  CHECK(refusal_fault(ece, "-1 bins", [&] { expected_calibration_error(logits, two, {.bins = -1}); }) == "");

  CHECK(refusal_fault<ShapeError>(fit, "labels [2]", [&] { fit_temperature(zeros({3, 2}), two); }) == "");
  CHECK(refusal_fault<IndexError>(fit, "label -1", [&] { fit_temperature(logits, two - 1); }) == "");
  CHECK(refusal_fault(fit, "no items", [&] { fit_temperature(zeros({0, 2}), zeros<std::int64_t>({0})); }) == "");
  CHECK(refusal_fault(fit, "item 1", [&] { fit_temperature(lost, two); }) == "");
  CHECK(refusal_fault(fit, "inf apart", [&] {
          fit_temperature(tensor<double>({{1e308, -1e308}, {1, 0}}), two);
        }) == "");
  CHECK(refusal_fault(fit, "every item is right", [&] { fit_temperature(eye(2), two); }) == "");
  CHECK(refusal_fault(fit, "not above", [&] { fit_temperature(logits, two); }) == "");  // as often right as wrong
  CHECK(refusal_fault(fit, "not above", [&] { fit_temperature(-eye(2), two); }) == "");
  CHECK(refusal_fault(fit, "not above", [&] { fit_temperature(ones({2, 3}), two); }) == "");
}
