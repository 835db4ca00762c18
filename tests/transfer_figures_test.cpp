// Figures of transfer: the example of LibMTL, curves and sequences of tasks by hand.

#include <cmath>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "graft/evaluate/transfer_figures.hpp"
#include "messages.hpp"

using namespace graft;

namespace {

using Tasks = std::vector<std::vector<TransferFigure>>;

}  // namespace

TEST_CASE("Delta_p is that of LibMTL's formula on LibMTL's example", "[evaluate]") {
  // count_improvement's example: base {'A': [96, 98], 'B': [0.2]}, new {'A': [93, 99], 'B': [0.5]}, weight {'A': [1,
  // 0], 'B': [1]} with 1 where higher is better: ((-3/96 - 1/98) / 2 + 3/2) / 2.
  const Tasks tasks{{{93, 96, true}, {99, 98, false}}, {{0.5, 0.2, true}}};
  CHECK(delta_p(tasks) == Approx(((-3.0 / 96 - 1.0 / 98) / 2 + 1.5) / 2).epsilon(1e-14));
  CHECK(tasks_hurt(tasks) == 1);
  CHECK(tasks_hurt(tasks, 0.02) == 1);  // the first by 0.0207
  CHECK(tasks_hurt(tasks, 0.03) == 0);
  CHECK(delta_p({{{0.7, 0.7, true}}, {{1.5, 1.5, false}}}) == 0);
  CHECK(tasks_hurt({{{0.7, 0.7, true}}, {{1.5, 1.5, false}}}) == 0);
}

TEST_CASE("a transfer ratio is above 0 where joint training is better", "[evaluate]") {
  CHECK(transfer_ratio({0.6, 0.5, true}) == Approx(0.2));
  CHECK(transfer_ratio({0.4, 0.5, true}) == Approx(-0.2));
  CHECK(transfer_ratio({0.4, 0.5, false}) == Approx(0.2));  // a loss that fell
  CHECK(transfer_ratio({0.6, 0.5, false}) == Approx(-0.2));
  CHECK(transfer_ratio({-0.4, -0.5, true}) == Approx(0.2));  // a log-likelihood that rose
  CHECK(transfer_ratio({-0.6, -0.5, true}) == Approx(-0.2));
}

TEST_CASE("labels to reach a figure lie on lines over their logarithm", "[evaluate]") {
  const LearningCurve curve{{10, 100, 1000}, {0.5, 0.7, 0.8}};
  CHECK(labels_to_reach(curve, 0.6) == Approx(std::pow(10.0, 1.5)).epsilon(1e-12));
  CHECK(labels_to_reach(curve, 0.75) == Approx(std::pow(10.0, 2.5)).epsilon(1e-12));
  CHECK(labels_to_reach(curve, 0.7) == 100);
  CHECK(labels_to_reach(curve, 0.8) == 1000);
  CHECK(labels_to_reach(curve, 0.5) == 10);
  CHECK(labels_to_reach(curve, 0.1) == 10);  // the fewest that were tried
  CHECK(labels_to_reach(curve, 0.81) == std::numeric_limits<double>::infinity());
  // Errors fall; a curve that comes back counts where it first arrives.
  const LearningCurve error{{1, 4, 16, 64}, {0.8, 0.4, 0.6, 0.2}, false};
  CHECK(labels_to_reach(error, 0.6) == Approx(2).epsilon(1e-12));
  CHECK(labels_to_reach(error, 0.4) == 4);
  CHECK(labels_to_reach(error, 0.3) == Approx(16 * std::pow(4, 0.75)).epsilon(1e-12));
  CHECK(labels_to_reach({{5}, {0.9}}, 0.9) == 5);
}

TEST_CASE("label efficiency is the factor between two curves", "[evaluate]") {
  // The same figures with a quarter of the labels: 4, at whatever figure.
  const LearningCurve single{{20, 40, 200, 800}, {0.3, 0.45, 0.7, 0.75}}, joint{{5, 10, 50, 200}, single.figures};
  for (const double figure : {0.3, 0.31, 0.5, 0.7, 0.74, 0.75})
    CHECK(label_efficiency(single, joint, figure) == Approx(4).epsilon(1e-12));
  CHECK(label_efficiency(joint, single, 0.5) == Approx(0.25).epsilon(1e-12));
  CHECK(label_efficiency(single, single, 0.5) == 1);
}

TEST_CASE("backward and forward transfer along a sequence of tasks", "[evaluate]") {
  const Tensor<double> results = tensor<double>({{0.9, 0.2, 0.1}, {0.7, 0.8, 0.3}, {0.6, 0.75, 0.95}});
  CHECK(backward_transfer(results) == Approx(((0.6 - 0.9) + (0.75 - 0.8)) / 2).epsilon(1e-14));
  CHECK(forward_transfer(results, tensor<double>({0.1, 0.15, 0.1})) ==
        Approx(((0.2 - 0.15) + (0.3 - 0.1)) / 2).epsilon(1e-14));
  // Tasks that have nothing to do with one another: learned to 0.9 when their turn comes, and never changed else.
  const Tensor<> apart = generate({4, 4}, [](Index i, Index j) { return j <= i ? 0.9f : 0.25f; });
  CHECK(backward_transfer(apart) == 0);
  CHECK(forward_transfer(apart, full({4}, 0.25f)) == 0);
}

TEST_CASE("figures of transfer refuse what has no value", "[evaluate]") {
  const char *ratio = "transfer_ratio", *delta = "delta_p", *hurt = "tasks_hurt";
  CHECK(refusal_fault(ratio, "single 0", [] { transfer_ratio({0.5, 0}); }) == "");
  CHECK(refusal_fault(ratio, "joint is nan", [] { transfer_ratio({std::nan(""), 1}); }) == "");
  CHECK(refusal_fault(ratio, "single inf", [] { transfer_ratio({1, INFINITY}); }) == "");
  CHECK(refusal_fault(delta, "no tasks", [] { delta_p({}); }) == "");
  CHECK(refusal_fault(delta, "task 1 has no metrics", [] { delta_p({{{1, 1}}, {}}); }) == "");
  CHECK(refusal_fault(delta, "single 0", [] { delta_p({{{1, 1}}, {{1, 0}}}); }) == "");
  CHECK(refusal_fault(hurt, "no tasks", [] { tasks_hurt({}); }) == "");
  CHECK(refusal_fault(hurt, "margin is -1", [] { tasks_hurt({{{1, 1}}}, -1); }) == "");

  const char *labels = "labels_to_reach", *efficiency = "label_efficiency";
  const LearningCurve curve{{1, 2}, {0.5, 0.6}}, better{{1, 2}, {0.5, 0.9}};
  CHECK(refusal_fault(labels, "0 numbers", [] { labels_to_reach({}, 0.5); }) == "");
  CHECK(refusal_fault(labels, "and 1 figures", [] { labels_to_reach({{1, 2}, {0.5}}, 0.5); }) == "");
  CHECK(refusal_fault(labels, "number 0 of", [] { labels_to_reach({{0, 2}, {0.5, 0.6}}, 0.5); }) == "");
  CHECK(refusal_fault(labels, "number 1 of", [] { labels_to_reach({{2, 2}, {0.5, 0.6}}, 0.5); }) == "");
  CHECK(refusal_fault(labels, "number 1 of", [] { labels_to_reach({{2, INFINITY}, {0.5, 0.6}}, 0.5); }) == "");
  CHECK(refusal_fault(labels, "figure 1 is", [] { labels_to_reach({{1, 2}, {0.5, NAN}}, 0.5); }) == "");
  CHECK(refusal_fault(labels, "to reach is nan", [&] { labels_to_reach(curve, NAN); }) == "");
  CHECK(refusal_fault(efficiency, "of single training", [&] { label_efficiency(curve, better, 0.8); }) == "");
  CHECK(refusal_fault(efficiency, "of joint training", [&] { label_efficiency(better, curve, 0.8); }) == "");

  const char *back = "backward_transfer", *forward = "forward_transfer";
  const Tensor<> two = full({2, 2}, 0.5f), lost = tensor<float>({{1, 1}, {NAN, 1}});
  CHECK(refusal_fault<ShapeError>(back, "[2, 3]", [] { backward_transfer(ones({2, 3})); }) == "");
  CHECK(refusal_fault(back, "less than two", [] { backward_transfer(ones({1, 1})); }) == "");
  CHECK(refusal_fault(back, "of task 0 after task 1", [&] { backward_transfer(lost); }) == "");
  CHECK(refusal_fault<ShapeError>(forward, "untrained [3]", [&] { forward_transfer(two, ones({3})); }) == "");
  CHECK(refusal_fault(forward, "of task 0 after task 1", [&] { forward_transfer(lost, ones({2})); }) == "");
  CHECK(refusal_fault(forward, "task 1 is", [&] { forward_transfer(two, tensor<float>({1, NAN})); }) == "");
}
