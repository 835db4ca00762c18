// Methods that learn to adapt against losses and gradients that torch gave (make_torch_meta_cases.py).

#include <functional>
#include <string>
#include <vector>

#include "catch.hpp"
#include "gap.hpp"
#include "graft/fewshot/anil.hpp"
#include "graft/fewshot/boil.hpp"
#include "graft/fewshot/imaml.hpp"
#include "graft/fewshot/maml.hpp"
#include "graft/fewshot/meta_sgd.hpp"
#include "graft/fewshot/ridge.hpp"
#include "graft/nn/linear.hpp"
#include "layers.hpp"

using namespace graft;

namespace {

struct Expected {
  std::string method;
  std::vector<double> numbers;
};
struct Embeddings {
  Index width;
  std::vector<double> support, query;
};
struct Regression {
  Index width;
  RidgeIntercept intercept;
  std::vector<double> numbers;
};
#include "torch_meta_cases.inc"

Tensor<double> items(const std::vector<double>& x, Index width) {
  return reshape(from_vector(x), {static_cast<Index>(x.size()) / width, width});
}

using Net = BodyHead<TanhLayer<double>, Linear<double>>;

Net net(const std::vector<double>& weights) {
  return from_vector(from_vector(weights), Net{{3, 4, Random(1)}, {4, 3, Random(1)}});
}
const Episode<double>& task() {
  static const Episode<double> one{
      {items(kSupport, 3), from_vector(kLabels)}, {items(kQuery, 3), from_vector(kAnswers)}, 3};
  return one;
}

/// The loss of a method for the model, and its gradient.
template <class Method, class M>
Tensor<double> loss_and_gradient(const Method& method, const M& model) {
  const auto loss = [&](const M& at) { return method.train_loss(at, task(), Context()); };
  const auto [value, gradient] = value_and_grad(loss, model);
  return concat<double>({reshape(value, {1}), to_vector(gradient)}, 0);
}
template <class Method>
Tensor<double> of_net(const Method& method) {
  return loss_and_gradient(method, net(kWeights));
}
Tensor<double> meta_sgd(bool first_order) {
  const ModelWithRates<Net> model{net(kWeights), net(kRates)};
  return loss_and_gradient(MetaSgd<>{{.steps = 2, .first_order = first_order}}, model);
}

struct Row {
  std::string method;  ///< as in kExpected
  std::function<Tensor<double>()> numbers;
};
const std::vector<Row> kRows = {
    {"Maml", [] { return of_net(Maml<>{{.alpha = 0.4, .steps = 2}}); }},
    {"Maml, first order", [] { return of_net(Maml<>{{.alpha = 0.4, .steps = 2, .first_order = true}}); }},
    {"Anil", [] { return of_net(Anil<>{{.alpha = 0.4, .steps = 2}}); }},
    {"Boil", [] { return of_net(Boil<>{{.alpha = 0.4, .steps = 2}}); }},
    {"MetaSgd", [] { return meta_sgd(false); }},
    {"MetaSgd, first order", [] { return meta_sgd(true); }},
    // So many steps and conjugate gradients, more than the net has numbers, that both end at what they look for.
    {"Imaml", [] { return of_net(Imaml<>{{.lambda = 2, .alpha = 0.4, .steps = 200, .cg_steps = 40}}); }},
};

/// The file has nine digits; rounding in double is far below.
constexpr double kPrinted = 1e-8;

/// Equal up to `kPrinted` of the largest number.
void check_close(const Tensor<double>& got, const std::vector<double>& expected) {
  const Tensor<double> want = from_vector(expected);
  CHECK(gap(got, want) <= kPrinted * max(abs(want)).item());
}

/// What a ridge regression depends on.
struct RidgeInputs {
  Tensor<double> support, query;
  RidgeHead<double> head;
  GRAFT_FIELDS(support, query, head)
};

}  // namespace

TEST_CASE("meta-gradients are those of torch", "[fewshot]") {
  REQUIRE(kRows.size() == kExpected.size());
  for (std::size_t i = 0; i < kRows.size(); ++i) {
    CAPTURE(kRows[i].method);
    REQUIRE(kRows[i].method == kExpected[i].method);
    check_close(kRows[i].numbers(), kExpected[i].numbers);
  }
}

TEST_CASE("ridge regression and its gradients are those of torch's least squares", "[fewshot]") {
  for (const Regression& expected : kRegressions)
    for (const Embeddings& given : kEmbeddings) {
      if (given.width != expected.width) continue;
      CAPTURE(expected.width, static_cast<int>(expected.intercept));
      RidgeHead<double> head({.intercept = expected.intercept, .scale = 3});
      head.log_lambda = Tensor<double>(-0.7);
      head.bias = Tensor<double>(0.25);
      const RidgeInputs inputs{items(given.support, given.width), items(given.query, given.width), head};
      const auto logits = [](const RidgeInputs& x) {
        return x.head({{x.support, from_vector(kRidgeLabels)}, {x.query, {}}, 3}, Context());
      };
      const Tensor<double> answers = one_hot<double>(from_vector(kRidgeAnswers), 3);
      const auto loss = [&](const RidgeInputs& x) { return mse(logits(x), answers); };
      const Tensor<double> gradient = to_vector(grad(loss, inputs));
      check_close(concat<double>({reshape(logits(inputs), {-1}), gradient}, 0), expected.numbers);
    }
}
