// Aggregators of gradients and weightings of losses against those of another implementation, TorchJD
// (make_aggregator_cases.py, which says how far its own solvers are from the answers).

#include <limits>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "aggregators.hpp"
#include "catch.hpp"
#include "graft/model/grad.hpp"
#include "graft/multitask/aligned_mtl.hpp"
#include "graft/multitask/cagrad.hpp"
#include "graft/multitask/conflict_free.hpp"
#include "graft/multitask/constant.hpp"
#include "graft/multitask/dualproj.hpp"
#include "graft/multitask/dwa.hpp"
#include "graft/multitask/fairgrad.hpp"
#include "graft/multitask/famo.hpp"
#include "graft/multitask/gls.hpp"
#include "graft/multitask/graddrop.hpp"
#include "graft/multitask/gradvac.hpp"
#include "graft/multitask/imtl_g.hpp"
#include "graft/multitask/imtl_l.hpp"
#include "graft/multitask/krum.hpp"
#include "graft/multitask/mean.hpp"
#include "graft/multitask/mgda.hpp"
#include "graft/multitask/nash_mtl.hpp"
#include "graft/multitask/pcgrad.hpp"
#include "graft/multitask/stch.hpp"
#include "graft/multitask/sum.hpp"
#include "graft/multitask/trimmed_mean.hpp"
#include "graft/multitask/uncertainty.hpp"
#include "graft/multitask/upgrad.hpp"

using namespace graft;

namespace {

struct DirectionCase {
  std::string method;
  std::size_t jacobian;
  std::vector<double> direction;
  double tolerance;
};
struct LossCase {
  std::string method;
  std::vector<double> losses, state;
  double value;
  std::vector<double> by_losses, by_state;
};
struct RoundCase {
  std::vector<double> losses, after, weights;
};
#include "aggregator_cases.inc"

/// Of a task's numbers, those of the first tasks.
List<double> first(const std::vector<double>& all, Index tasks) {
  return List<double>(std::span(all).first(static_cast<std::size_t>(tasks)));
}

Aggregator aggregator(const std::string& method, Index tasks) {
  const auto majority = [](const Numbers& purity) { return where(purity > 0.5, Numbers(1.0), Numbers(0.0)); };
  // Theirs; with the one here the shortest of rows of scales 2^-10 to 2^10 has no direction of its own.
  const double rank = static_cast<double>(tasks) * std::numeric_limits<double>::epsilon();
  const std::map<std::string, Aggregator> all = {
      {"Sum", SumGradient()},
      {"Mean", MeanGradient()},
      {"Constant", ConstantWeights{first({0.5, 2, 0, 1.25, 3}, tasks)}},
      {"MGDA", Mgda()},
      {"PCGrad", PcGrad()},
      {"UPGrad", UpGrad()},
      {"DualProj", DualProj()},
      {"CAGrad, c = 0.2", CaGrad{{.c = 0.2}}},
      {"CAGrad, c = 0.5", CaGrad()},
      {"CAGrad, c = 1.5", CaGrad{{.c = 1.5}}},
      {"NashMTL", NashMtl(0, {.max_norm = 0})},
      {"NashMTL, cut to length 1", NashMtl()},
      {"FairGrad, alpha = 0.5", FairGrad{{.alpha = 0.5}}},
      {"FairGrad, alpha = 1", FairGrad()},
      {"FairGrad, alpha = 2", FairGrad{{.alpha = 2}}},
      {"IMTLG", ImtlG()},
      {"AlignedMTL, min", AlignedMtl{{.rank_tolerance = rank}}},
      {"AlignedMTL, median", AlignedMtl{{.scale = AlignedScale::median, .rank_tolerance = rank}}},
      {"AlignedMTL, rmse", AlignedMtl{{.scale = AlignedScale::rmse, .rank_tolerance = rank}}},
      {"ConFIG", ConFig()},
      {"Krum, 0, 1", Krum()},
      {"Krum, 1, 2", Krum{{.byzantine = 1, .selected = 2}}},
      {"TrimmedMean, 1", TrimmedMean()},
      {"TrimmedMean, 2", TrimmedMean{{.trimmed = 2}}},
      {"GradDrop", GradDrop{{.leak = first({0.5, 0, 1, 0.25, 0.125}, tasks), .probability = majority}}},
  };
  return all.at(method);
}

/// Relative to each number: exponentials of numbers in the hundreds keep 13 digits.
void check_equal(const Numbers& found, const std::vector<double>& expected) {
  REQUIRE(found.count() == static_cast<Index>(expected.size()));
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(host(found)[i] == Approx(expected[i]).epsilon(1e-12));
}

}  // namespace

TEST_CASE("aggregators give the directions of another implementation", "[multitask]") {
  std::set<std::string> methods;
  for (const DirectionCase& one : kDirections) {
    const auto& [name, jacobian] = kJacobians.at(one.jacobian);
    CAPTURE(one.method, name, one.tolerance);
    Aggregator of = aggregator(one.method, jacobian.size(0));
    CHECK(length_of(direction(of, jacobian) - from_vector(one.direction)) <= one.tolerance);
    methods.insert(one.method);
  }
  CHECK(methods.size() == 25);
}

TEST_CASE("gradient vaccine remembers cosines as another implementation does", "[multitask]") {
  Aggregator of = GradVac(2, {.beta = 0.25});
  for (const auto& [jacobian, expected] : kGradVac)
    CHECK(length_of(direction(of, jacobian) - from_vector(expected)) < 1e-13);
}

TEST_CASE("weighted losses are those of another implementation, and so are their derivatives", "[multitask]") {
  for (const LossCase& one : kLosses) {
    CAPTURE(one.method, one.losses);
    const auto value = [&](const Numbers& losses, const Numbers& state) {
      if (one.method == "UW") return uncertainty_loss(losses, state);
      if (one.method == "IMTLL") return imtl_l_loss(losses, state);
      if (one.method == "GeometricMean") return gls_loss(losses);
      REQUIRE(one.method == "STCH");
      return stch_loss(losses, {.mu = 0.3, .preference = {0.5, 1.25, 0.25}, .ideal = {0, -0.5, 1}});
    };
    const Numbers losses = from_vector(one.losses), state = from_vector(one.state);
    CHECK(value(losses, state).item() == Approx(one.value).epsilon(1e-12));
    check_equal(grad([&](const Numbers& x) { return value(x, state); }, losses), one.by_losses);
    if (!one.state.empty()) check_equal(grad([&](const Numbers& x) { return value(losses, x); }, state), one.by_state);
  }
}

TEST_CASE("weightings with a memory give the weights of another implementation", "[multitask]") {
  Dwa dwa(3, {.temperature = 1.5, .period = 2});
  for (const RoundCase& round : kDwa) {
    TaskGradients gradients(zeros<double>({3, 1}), from_vector(round.losses), Random(1));
    check_equal(dwa(gradients).weights, round.weights);
  }
  Famo famo(3, {.learning_rate = 0.1, .decay = 0.01, .lower_bounds = {0, -0.5, 0.25}});
  for (const RoundCase& round : kFamo) {
    TaskGradients gradients(zeros<double>({3, 1}), from_vector(round.losses), Random(1));
    check_equal(famo(gradients).weights, round.weights);
    famo.after(from_vector(round.after));
  }
}
