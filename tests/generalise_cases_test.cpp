// Methods of domain generalisation against losses and gradients that DomainBed and torch gave
// (make_generalise_cases.py).

#include <string>
#include <vector>

#include "catch.hpp"
#include "gap.hpp"
#include "graft/common/inner_loop.hpp"
#include "graft/generalise/fish.hpp"
#include "graft/generalise/fishr.hpp"
#include "graft/generalise/mldg.hpp"
#include "graft/generalise/rsc.hpp"
#include "graft/generalise/sd.hpp"
#include "graft/generalise/tent.hpp"
#include "graft/nn/norm.hpp"
#include "layers.hpp"

using namespace graft;

namespace {

struct Expected {
  std::string method;
  std::vector<double> numbers;
};
#include "generalise_cases.inc"

using Net = BodyHead<TanhLayer<double>, Linear<double>>;

Net net() { return from_vector(from_vector(kWeights), Net{{3, 6, Random(1)}, {6, 2, Random(1)}}); }
Tensor<double> items(std::size_t domain) { return reshape(from_vector(kItems[domain]), {6, 3}); }
std::vector<LabelledSet<double>> domains(std::size_t count, bool turned = false) {
  std::vector<LabelledSet<double>> all;
  for (std::size_t e = 0; e < count; ++e) all.push_back({turned ? flip(items(e), 0) : items(e), from_vector(kLabels)});
  return all;
}
/// How far the numbers of a case are from the expected ones.
double gap_to(const std::string& method, const Tensor<double>& found) {
  for (const Expected& expected : kExpected)
    if (expected.method == method) return gap(found, from_vector(expected.numbers));
  FAIL("there is no case " << method);
  return 1;
}
template <class Method>
Tensor<double> loss_and_gradient(Method& method, const std::vector<LabelledSet<double>>& set, Index step = 0,
                                 std::uint64_t seed = 1) {
  Context context(Phase::training, Random(seed));
  const auto [value, gradient] =
      value_and_grad([&](const Net& model) { return method.train_loss(model, set, step, context); }, net());
  return concat<double>({reshape(value, {1}), to_vector(gradient)}, 0);
}
/// How often each of some cases is met over forty seeds; every seed must meet one.
template <class Method>
void check_each_is_met(Method method, const std::vector<LabelledSet<double>>& set,
                       const std::vector<std::string>& cases) {
  std::vector<int> met(cases.size());
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const Tensor<double> found = loss_and_gradient(method, set, 0, seed);
    int any = 0;
    for (std::size_t i = 0; i < cases.size(); ++i) {
      const bool here = gap_to(cases[i], found) < 1e-8;
      met[i] += here;
      any += here;
    }
    CHECK(any == 1);
  }
  for (const int times : met) CHECK(times > 0);
}

}  // namespace

TEST_CASE("domain generalisation: DomainBed's losses and gradients", "[generalise_cases_test]") {
  Rsc rsc;
  CHECK(gap_to("Rsc", loss_and_gradient(rsc, domains(3))) < 1e-8);
  SpectralDecoupling decoupling;
  CHECK(gap_to("SpectralDecoupling", loss_and_gradient(decoupling, domains(3))) < 1e-8);
  Fishr<double> fishr({.weight = 30, .start = 0});
  CHECK(gap_to("Fishr, step 0", loss_and_gradient(fishr, domains(3))) < 1e-8);
  CHECK(gap_to("Fishr, step 1", loss_and_gradient(fishr, domains(3, true), 1)) < 1e-7);
  check_each_is_met(Fish<>{{.alpha = 0.2}}, domains(2), {"Fish, 0 before 1", "Fish, 1 before 0"});
}

TEST_CASE("domain generalisation: MLDG's losses and gradients by torch", "[generalise_cases_test]") {
  for (const bool first_order : {false, true}) {
    std::vector<std::string> cases;
    for (const char* test : {"0", "1", "2"})
      cases.push_back(std::string("Mldg, ") + (first_order ? "first" : "second") + " order, " + test);
    check_each_is_met(Mldg<>{{.alpha = 0.3, .beta = 0.7, .meta_test = 1, .first_order = first_order}}, domains(3),
                      cases);
  }
}

namespace {

struct NormedNet {
  Linear<double> first;
  BatchNorm<double> norm;
  Linear<double> last;
  GRAFT_FIELDS(first, norm, last)
  Tensor<double> operator()(const Tensor<double>& x, ContextRef context) const {
    return last(tanh(norm(first(x), context)));
  }
};

}  // namespace

TEST_CASE("domain generalisation: TENT's answers by torch", "[generalise_cases_test]") {
  Tent<NormedNet> tent({net().body.map, BatchNorm<double>(6), net().head}, {.alpha = 0.05});
  std::vector<Tensor<double>> found;
  for (std::size_t e = 0; e < 3; ++e) found.push_back(reshape(tent(items(e), Context()), {-1}));
  found.push_back(*tent.model.norm.weight);
  found.push_back(*tent.model.norm.bias);
  CHECK(gap_to("Tent", concat(found, 0)) < 1e-7);
}
