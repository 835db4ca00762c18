// Few-shot heads against the scores that an independent Python package gave (make_easyfsl_cases.py).

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "catch.hpp"
#include "graft/fewshot/bd_cspn.hpp"
#include "graft/fewshot/feat.hpp"
#include "graft/fewshot/laplacian_shot.hpp"
#include "graft/fewshot/matching.hpp"
#include "graft/fewshot/protonet.hpp"
#include "graft/fewshot/pt_map.hpp"
#include "graft/fewshot/relation.hpp"
#include "graft/fewshot/simpleshot.hpp"
#include "graft/fewshot/tim.hpp"
#include "graft/optim/adam.hpp"
#include "heads.hpp"

using namespace graft;

namespace {

struct Given {
  Index ways;
  std::vector<std::int64_t> labels;
  std::vector<double> support, query;
};
struct Expected {
  std::string method;
  std::size_t episode;
  std::vector<double> scores;
};
#include "easyfsl_cases.inc"

using Embedded = Episode<double>;
using Scores = Tensor<double>;

Embedded embedded(const Given& given) {
  const auto items = [](const std::vector<double>& x) {
    return reshape(from_vector(x), {static_cast<Index>(x.size()) / 6, 6});
  };
  return {{items(given.support), from_vector(given.labels)}, {items(given.query), {}}, given.ways};
}

/// Logits of squared distances as the package's, of distances.
Scores of_distances(const Scores& logits) { return -sqrt(-logits); }
SimpleShotHead<double> simple_shot(FeatureTransform transform) {
  return {.base_mean = {from_vector(kBaseMean)}, .transform = transform};
}
/// Where a class has one item, of length 1: |x - y|^2 = 2 - 2 cos(x, y).
Scores of_cosines(const Scores& logits) { return 1.0 + logits / 2.0; }
/// The package adds 1e-6 to probabilities before it takes logarithms.
Scores matching(const Embedded& e, double scale) {
  return log(exp(MatchingHead<double>({.scale = scale})(e, Context())) + 1e-6);
}
/// The package answers with the assignments after the last update, and among its 3 neighbours is the item itself.
Scores laplacian(const Embedded& e, bool unit) {
  const LaplacianShotOptions options{.lambda = 0.7, .neighbours = 2, .steps = 3, .unit = unit};
  return softmax(LaplacianShot{options}(e, Context()), 1);
}
/// The package's weights and temperature, which it leaves out of its answers.
TimOptions tim_options(bool unit) {
  return {.solver = TimSolver::gradient, .steps = 10, .support = 1, .temperature = 10, .unit = unit, .alpha = 0.1};
}
Scores tim(const Embedded& e, bool unit) { return Tim{tim_options(unit)}(e, Context()) / 10.0; }
/// What `Tim` lowers, lowered by Adam as the package does.
Scores tim_by_adam(const Embedded& e) {
  const Tim method{tim_options(true)};
  Tensor<double> weights = prototypes(unit_rows(e.support.x), e.support.y, e.ways);
  Adam adam(weights);
  const auto objective = [&](const Tensor<double>& at) { return method.objective(e, at); };
  for (int step = 0; step < 10; ++step) adam.step(weights, grad(objective, weights), 0.05);
  return -0.5 * squared_distances(unit_rows(e.query.x), weights);
}
Scores feat(const Embedded& e, Index heads) {
  const Feat<double> made(6, Random(1), {.heads = heads, .temperature = 1});
  return of_distances(from_vector(from_vector(kFeatWeights), made)(e, Context()));
}
Scores relation(const Embedded& e) {
  const RelationHead<double> made(Random(1), {.width = 6, .hidden = 5, .last = 4, .of_class = RelationClass::mean});
  return from_vector(from_vector(kRelationWeights), made)(e, Context());
}

/// The file has nine digits, and numbers between are about as large as answers.
constexpr double kPrinted = 1e-8;
/// The package's and graft's Sinkhorn iterations each end when rows are off by 1e-6, after another half of a round.
constexpr double kSinkhorn = 1e-5;

struct Row {
  std::string method;  ///< as in kExpected
  std::function<Scores(const Embedded&)> scores;
  double tolerance = kPrinted;  ///< of the largest score
};
const std::vector<Row> kRows = {
    {"PrototypicalNetworks", [](const Embedded& e) { return of_distances(ProtoNetHead{}(e, Context())); }},
    {"PrototypicalNetworks, length 1",
     [](const Embedded& e) { return of_distances(simple_shot(FeatureTransform::l2)(e, Context())); }},
    {"PrototypicalNetworks, centred, length 1",
     [](const Embedded& e) { return of_distances(simple_shot(FeatureTransform::centred_l2)(e, Context())); }},
    {"SimpleShot, length 1",
     [](const Embedded& e) { return of_cosines(simple_shot(FeatureTransform::l2)(e, Context())); }},
    {"SimpleShot, centred, length 1",
     [](const Embedded& e) { return of_cosines(simple_shot(FeatureTransform::centred_l2)(e, Context())); }},
    {"MatchingNetworks, scale 1", [](const Embedded& e) { return matching(e, 1); }},
    {"MatchingNetworks, scale 4", [](const Embedded& e) { return matching(e, 4); }},
    {"BDCSPN", [](const Embedded& e) { return BdCspn{{.temperature = 1}}(e, Context()); }},
    {"LaplacianShot", [](const Embedded& e) { return laplacian(e, false); }},
    {"LaplacianShot, length 1", [](const Embedded& e) { return laplacian(e, true); }},
    {"TIM, SGD", [](const Embedded& e) { return tim(e, false); }},
    {"TIM, length 1, SGD", [](const Embedded& e) { return tim(e, true); }},
    {"TIM, length 1, Adam", tim_by_adam},
    {"PTMAP",  // of embeddings that are not negative, as the package makes them
     [](const Embedded& e) {
       const Embedded positive = with_embeddings(e, [](const Tensor<double>& x) { return abs(x); });
       return exp(PtMap{{.lambda = 3, .steps = 10}}(positive, Context()));
     },
     kSinkhorn},
    {"FEAT, 1 heads", [](const Embedded& e) { return feat(e, 1); }},
    {"FEAT, 2 heads", [](const Embedded& e) { return feat(e, 2); }},
    {"RelationNetworks", relation},
};

}  // namespace

TEST_CASE("few-shot heads give the scores of an independent package", "[fewshot]") {
  std::size_t compared = 0;
  for (const Row& row : kRows) {
    const std::size_t before = compared;
    for (const Expected& expected : kExpected) {
      if (expected.method != row.method) continue;
      CAPTURE(row.method, expected.episode);
      const Embedded episode = embedded(kGiven.at(expected.episode));
      const Scores want = reshape(from_vector(expected.scores), {episode.query.x.size(0), episode.ways});
      CHECK(gap(row.scores(episode), want) <= row.tolerance * max(abs(want)).item());
      ++compared;
    }
    CHECK(compared > before);
  }
  CHECK(compared == kExpected.size());
}
