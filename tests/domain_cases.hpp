#pragma once
// What the rows of generalise/ share: a small model, batches of a few domains, and DomainBed's numbers.

#include <functional>
#include <string>
#include <vector>

#include "catch.hpp"
#include "graft/common/adversarial_model.hpp"
#include "graft/common/domains.hpp"
#include "graft/generalise/erm.hpp"
#include "graft/generalise/mixup.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/reduce.hpp"
#include "method_table.hpp"

template <class T>
struct DomainBody {
  graft::Linear<T> layer;
  bool linear = false;
  GRAFT_FIELDS(layer)
  GRAFT_CONFIG(linear)
  graft::Tensor<T> operator()(const graft::Tensor<T>& x) const { return linear ? layer(x) : tanh(layer(x)); }
};
template <class T>
using DomainNet = graft::AdversarialModel<DomainBody<T>, graft::Linear<T>, graft::Linear<T>, T>;

/// 3 classes, and a discriminator of as many domains.
template <class T>
DomainNet<T> domain_net(graft::Index inputs = 4, graft::Index width = 3, graft::Index domains = 3) {
  using namespace graft;
  const Random random(7);
  return {{Linear<T>(inputs, width, random.stream("body"))},
          Linear<T>(width, 3, random.stream("head")),
          Linear<T>(width, domains, random.stream("discriminator")),
          randn<T>({3, width}, random.stream("embedding"))};
}
/// Domain e has items [items, inputs] about e / 2, of all three classes.
template <class T>
std::vector<graft::LabelledSet<T>> domain_batches(graft::Index domains, graft::Index items = 6,
                                                  graft::Index inputs = 4) {
  using namespace graft;
  std::vector<LabelledSet<T>> batches;
  for (Index e = 0; e < domains; ++e)
    batches.push_back({randn<T>({items, inputs}, Random(11).stream("items", e)) + static_cast<T>(0.5 * e),
                       generate({items}, [](Index i) -> std::int64_t { return i % 3; })});
  return batches;
}
inline graft::Context domain_context() { return graft::Context(graft::Phase::training, graft::Random(3)); }

/// train_loss of a method that is a copy, so that the given one remembers nothing. Called at `site`, which is in the
/// row's file.
template <class Method>
double domain_loss(Method method, const std::vector<graft::LabelledSet<double>>& domains, graft::Index step = 0,
                   graft::Site site = graft::Site::current()) {
  return method.train_loss(domain_net<double>(), domains, step, domain_context(), site).item();
}
/// The same of the method itself.
template <class Method>
void domain_step(Method& method, const std::vector<graft::LabelledSet<double>>& domains,
                 const DomainNet<double>& net = domain_net<double>()) {
  method.train_loss(net, domains, 0, domain_context());
}
template <class T>
graft::Tensor<T> net_gradient(const std::function<graft::Tensor<T>(const DomainNet<T>&)>& loss,
                              const DomainNet<T>& net) {
  return to_vector(grad(loss, net));
}
template <class Method>
graft::Tensor<double> domain_gradient(Method method, const std::vector<graft::LabelledSet<double>>& domains,
                                      graft::Index step = 0) {
  return net_gradient<double>(
      [&](const DomainNet<double>& net) { return method.train_loss(net, domains, step, domain_context()); },
      domain_net<double>());
}
/// That a method whose coefficient is 0 has the bits of `Erm`, loss and gradient, and that ERM draws nothing that it
/// would not draw either.
template <class Method>
void check_off_is_erm(const Method& method) {
  const auto domains = domain_batches<double>(3);
  for (const graft::Index step : {0, 1000}) {
    CHECK(domain_loss(method, domains, step) == domain_loss(graft::Erm(), domains, step));
    CHECK(same_bits(domain_gradient(method, domains, step), domain_gradient(graft::Erm(), domains, step)));
  }
  graft::Context context = domain_context();
  Method own = method;
  own.train_loss(domain_net<double>(), domains, 0, context);
  CHECK(context.stream("dropout") == domain_context().stream("dropout"));
}

/// `run` of a row: the gradient in a larger model.
template <class Method>
std::function<graft::Tensor<float>(const graft::Random&)> domain_run(Method method) {
  return [method](const graft::Random& random) {
    static const auto domains = domain_batches<float>(2, 48, 64);
    const graft::Random own = random;
    return net_gradient<float>(
        [&](const DomainNet<float>& net) {
          Method copy = method;
          return copy.train_loss(net, domains, 1000, graft::Context(graft::Phase::training, own));
        },
        from_vector(to_vector(domain_net<float>(64, 40)) +
                        0.01f * randn<float>({count(domain_net<float>(64, 40))}, own.stream("model")),
                    domain_net<float>(64, 40)));
  };
}
/// `loss` of a row, in the items of three domains.
template <class Method>
std::function<graft::Tensor<double>(const graft::Tensor<double>&)> domain_loss_of_items(Method method) {
  return [method](const graft::Tensor<double>& x) {
    auto domains = domain_batches<double>(3);
    for (graft::Index e = 0; e < 3; ++e) domains[e].x = reshape(slice(x, 0, 24 * e, 24 * e + 24), {6, 4});
    Method copy = method;
    return copy.train_loss(domain_net<double>(), domains, 0, domain_context());
  };
}
inline graft::Tensor<double> domain_items_at() { return graft::randn<double>({72}, graft::Random(5)); }

// ---- DomainBed's numbers ----

struct DomainBedCase {
  std::string name;
  double objective;
  std::vector<std::vector<double>> gradients;
};
namespace {
using graft::MixedPair;
#include "domainbed_cases.inc"
}  // namespace

inline DomainNet<double> case_net() {
  using namespace graft;
  const auto linear = [](const std::vector<double>& numbers, Index out, Index in) {
    Linear<double> layer;
    layer.weight = reshape(from_vector(numbers), {out, in});
    return layer;
  };
  return {{linear(kBody, 3, 4), true},
          linear(kHead, 3, 3),
          linear(kDiscriminator, 3, 3),
          reshape(from_vector(kEmbedding), {3, 3})};
}
inline std::vector<graft::LabelledSet<double>> case_batches() {
  using namespace graft;
  return {{reshape(from_vector(kItems0), {6, 4}), from_vector(kLabels0)},
          {reshape(from_vector(kItems1), {6, 4}), from_vector(kLabels1)},
          {reshape(from_vector(kItems2), {6, 4}), from_vector(kLabels2)}};
}
/// The value of `loss(net)` and its gradients in body, head and, where the case has them, discriminator and embeddings.
inline void check_case_of(const std::function<graft::Tensor<double>(const DomainNet<double>&)>& loss,
                          const DomainBedCase& expected, double beyond = 0, double tolerance = 1e-11) {
  INFO(expected.name);
  CHECK(loss(case_net()).item() == Approx(expected.objective + beyond).epsilon(tolerance));
  const graft::Tensor<double> found = net_gradient<double>(loss, case_net());
  graft::Index at = 0;
  for (const std::vector<double>& part : expected.gradients)
    for (const double number : part)
      CHECK(found.at({at++}) == Approx(number).epsilon(100 * tolerance).margin(tolerance));
}
template <class Method>
void check_case(const Method& method, std::size_t number, graft::Index step = 0, double beyond = 0,
                double tolerance = 1e-11) {
  Method copy = method;
  const auto loss = [&](const DomainNet<double>& net) {
    Method once = copy;
    return once.train_loss(net, case_batches(), step, domain_context());
  };
  check_case_of(loss, kCases[number], beyond, tolerance);
}
