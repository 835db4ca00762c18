// Rejection: thresholds by hand, ties, and normal scores with a closed form.

#include <cmath>
#include <numbers>
#include <vector>

#include "catch.hpp"
#include "graft/evaluate/rejection.hpp"
#include "messages.hpp"

using namespace graft;

namespace {

/// 1, 2 ... count.
Tensor<double> counted(Index count) { return arange<double>(count) + 1; }

}  // namespace

TEST_CASE("false positives are counted where 95 % of the known items are accepted", "[evaluate]") {
  // Of 1 .. 20, 19 reach 2, and so do three of five unknown scores. The known ones above these: 20, 19 1/2, 18 1/2, 18
  // and 0 of 20.
  const Tensor<double> known = counted(20), unknown = tensor<double>({0, 1, 2, 2.5, 30});
  const RejectionFigures figures = rejection_figures(known, unknown);
  CHECK(figures.threshold == 2);
  CHECK(figures.fpr95 == 3.0 / 5);
  CHECK(figures.auroc == 76.0 / 100);

  const Tensor<double> scores = concat<double>({unknown, known}, 0);
  const auto labels = concat<std::int64_t>({zeros<std::int64_t>({5}), ones<std::int64_t>({20})}, 0);
  CHECK(fpr_at_tpr(scores, labels) == figures.fpr95);
  CHECK(auc(scores, labels) == figures.auroc);
  CHECK(fpr_at_tpr(scores, labels, 1) == 4.0 / 5);     // all known ones reach 1
  CHECK(fpr_at_tpr(scores, labels, 0.9) == 1.0 / 5);   // 18 reach 3
  CHECK(fpr_at_tpr(scores, labels, 0.91) == 3.0 / 5);  // 18 are too few
  CHECK(fpr_at_tpr(scores, labels, 1e-9) == 1.0 / 5);  // one at least
}

TEST_CASE("scores that separate, mislead or say nothing have the figures of that", "[evaluate]") {
  const RejectionFigures apart = rejection_figures(tensor<float>({3, 4}), tensor<float>({1, 2}));
  CHECK((apart.auroc == 1 && apart.fpr95 == 0 && apart.threshold == 3));
  const RejectionFigures reversed = rejection_figures(tensor<float>({1, 2}), tensor<float>({3, 4, 5}));
  CHECK((reversed.auroc == 0 && reversed.fpr95 == 1 && reversed.threshold == 1));
  const RejectionFigures equal = rejection_figures(tensor<float>({7, 7, 7}), tensor<float>({7, 7}));
  CHECK((equal.auroc == 0.5 && equal.fpr95 == 1 && equal.threshold == 7));
  const float inf = std::numeric_limits<float>::infinity();
  const RejectionFigures infinite = rejection_figures(tensor<float>({inf, 0}), tensor<float>({-inf, inf}));
  CHECK((infinite.auroc == (0.5 + 1 + 1) / 4 && infinite.fpr95 == 0.5 && infinite.threshold == 0));
}

TEST_CASE("a share of the items is not one more by rounding", "[evaluate]") {
  // Of 1 .. 100, p reach 101 - p, which an unknown score half below does not; 0.55 times 100 is above 55 in binary.
  const auto labels = concat<std::int64_t>({zeros<std::int64_t>({1}), ones<std::int64_t>({100})}, 0);
  for (Index p = 1; p <= 100; ++p) {
    const Tensor<double> unknown = full<double>({1}, 100.5 - static_cast<double>(p));
    INFO(p);
    CHECK(fpr_at_tpr(concat<double>({unknown, counted(100)}, 0), labels, static_cast<double>(p) / 100) == 0);
  }
}

TEST_CASE("normal scores that are d apart have their closed form", "[evaluate]") {
  // AUROC = Phi(d / sqrt 2), FPR95 = Phi(z - d) with z = 1.6449 the 0.95 quantile. Of 20000 scores each the first
  // deviates by up to 0.003, the threshold by sqrt(0.05 0.95 / 20000) over the density there, 0.015, the second by
  // both.
  const Random random(4);
  const auto phi = [](double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); };
  for (const double d : {0.0, 1.0, 2.0}) {
    const Tensor<double> known = randn<double>({20000}, random.stream("known")) + d;
    const RejectionFigures figures = rejection_figures(known, randn<double>({20000}, random.stream("unknown")));
    INFO(d);
    CHECK(std::abs(figures.auroc - phi(d / std::numbers::sqrt2)) < 5 * 0.003);
    CHECK(std::abs(figures.fpr95 - phi(1.6448536 - d)) < 5 * 0.0066);
    CHECK(std::abs(figures.threshold - (d - 1.6448536)) < 5 * 0.015);
  }
}

TEST_CASE("figures of rejection refuse what has no value", "[evaluate]") {
  const Tensor<> two = tensor<float>({1, 2}), none = zeros({0}), matrix = zeros({2, 2}), lost = tensor<float>({1, NAN});
  const auto labels = tensor<std::int64_t>({0, 1});
  const char *op = "rejection_figures", *at = "fpr_at_tpr";
  CHECK(refusal_fault<ShapeError>(op, "known [2, 2]", [&] { rejection_figures(matrix, two); }) == "");
  CHECK(refusal_fault(op, "known [0]", [&] { rejection_figures(none, two); }) == "");
  CHECK(refusal_fault(op, "unknown [0]", [&] { rejection_figures(two, none); }) == "");
  CHECK(refusal_fault(op, "unknown item 1", [&] { rejection_figures(two, lost); }) == "");
  CHECK(refusal_fault(op, " known item 1", [&] { rejection_figures(lost, two); }) == "");
  for (const double tpr : {0.0, 1.1, -1.0, std::nan("")})
    CHECK(refusal_fault(at, "tpr is ", [&] { fpr_at_tpr(two, labels, tpr); }) == "");
  CHECK(refusal_fault<ShapeError>(at, "scores [2, 2]", [&] { fpr_at_tpr(matrix, labels); }) == "");
  CHECK(refusal_fault<IndexError>(at, "label 2", [&] { fpr_at_tpr(two, labels + 1); }) == "");
  CHECK(refusal_fault(at, "item 1", [&] { fpr_at_tpr(lost, labels); }) == "");
  CHECK(refusal_fault(at, "no item has the label 1", [&] { fpr_at_tpr(two, zeros<std::int64_t>({2})); }) == "");
  CHECK(refusal_fault(at, "no item has the label 0", [&] { fpr_at_tpr(two, ones<std::int64_t>({2})); }) == "");
}
