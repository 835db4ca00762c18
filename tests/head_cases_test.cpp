// Few-shot heads that solve for their classifier against another implementation, scikit-learn (make_head_cases.py).

#include <vector>

#include "gap.hpp"
#include "graft/fewshot/ridge.hpp"
#include "graft/fewshot/svm.hpp"

using namespace graft;

namespace {

struct MachineCase {
  std::size_t episode;
  double c, ridge;
  Tensor<double> duals, answers;
  double tolerance;
};
struct RegressionCase {
  std::size_t episode;
  RidgeIntercept intercept;
  double lambda;
  Tensor<double> answers;
};
#include "head_cases.inc"

}  // namespace

TEST_CASE("the support vector machine of a head is that of another implementation", "[fewshot]") {
  for (const MachineCase& one : kMachines) {
    CAPTURE(one.episode, one.c, one.ridge);
    const SvmHead<double> head({.c = one.c, .ridge = one.ridge});
    CHECK(gap(head.duals(kEpisodes[one.episode]), one.duals) < one.tolerance);
    CHECK(gap(head(kEpisodes[one.episode], Context()), one.answers) < one.tolerance);
  }
}

TEST_CASE("the ridge regression of a head is that of another implementation", "[fewshot]") {
  for (const RegressionCase& one : kRegressions) {
    CAPTURE(one.episode, one.intercept, one.lambda);
    const RidgeHead<double> head({.intercept = one.intercept, .lambda = one.lambda, .scale = 1});
    CHECK(gap(head(kEpisodes[one.episode], Context()), one.answers) < 1e-12);
  }
}
