#pragma once
// What methods that adapt by gradient steps share: losses that end a diverging inner loop, steps of some parts of a
// model, mini-batches, rates that are learned, and a scalar with a gradient of somebody's own.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "graft/common/few_shot.hpp"
#include "graft/model/descent.hpp"
#include "graft/ops/indexing.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// A classifier in two parts, head(body(x)), each called as `part(x, context)` or `part(x)`.
template <class Body, class Head>
struct BodyHead {
  Body body;  ///< items -> features [items, width]
  Head head;  ///< features -> logits [items, classes]
  GRAFT_FIELDS(body, head)

  template <class X>
  auto operator()(const X& x, ContextRef context) const {
    return answer_of(head, answer_of(body, x, context), context);
  }
};
template <class Body, class Head>
BodyHead(Body, Head) -> BodyHead<Body, Head>;

/// A model and the rates of its inner steps, which are trained with it: `rates` has the model's structure, and for
/// every parameter a tensor of rates; its buffers are left out. Called, it is the model.
template <Model M>
struct ModelWithRates {
  M model;
  M rates;
  GRAFT_FIELDS(model, rates)

  template <class X>
  auto operator()(const X& x, ContextRef context) const {
    return answer_of(model, x, context);
  }
};
template <class M>
ModelWithRates(M, M) -> ModelWithRates<M>;

namespace detail {

/// `loss`, a support loss before step number `step`. Throws ValueError that names the method unless it is finite.
template <class T>
Tensor<T> finite_support(const char* op, const Tensor<T>& loss, int step, Site site) {
  if (!std::isfinite(loss.item(site))) fail(op, {"the support loss is not finite at step ", step}, {}, site);
  return loss;
}
/// `loss`, a query loss after `steps` steps. Throws ValueError that names the method unless it is finite.
template <class T>
Tensor<T> finite_query(const char* op, const Tensor<T>& loss, int steps, Site site) {
  if (!std::isfinite(loss.item(site))) fail(op, {"the query loss is not finite after ", steps, " steps"}, {}, site);
  return loss;
}
/// `model`, adapted in `steps` steps. Throws ValueError that names the method unless all of it is finite.
template <Model M>
M finite_model(const char* op, M model, int steps, Site site) {
  if (!all_finite(model)) fail(op, {"the adapted parameters are not finite after ", steps, " steps"}, {}, site);
  return model;
}

/// How inner gradients are taken: of first order, they count as constants.
inline GradOptions inner_gradient(bool first_order) {
  GradOptions how;
  if (first_order) how.create_graph = false;
  return how;
}

/// phi_{k+1} = phi_k - alpha grad loss(phi_k) for the named parts alone; all else of the result are the tensors of
/// `theta` themselves. `loss(phi, k)` is the scalar of step k.
template <class M, class Loss>
M descend_parts(const char* op, Loss loss, const M& theta, const Only& parts, const DescentOptions& options,
                Site site) {
  check_count(op, "steps", options.steps, 0, site);
  for_each_scalar<M>([&]<class T>() { check_option<T>(op, "alpha", options.alpha, Range::finite, site); });
  std::vector<bool> chosen;
  parts.names.choose(op, parameters_of(theta), chosen, site);
  const GradOptions how = inner_gradient(options.first_order);
  M phi = theta;
  for (int k = 0; k < options.steps; ++k) {
    const M slope = grad([&](const M& at) { return loss(at, k); }, phi, parts, how, site);
    const LeafList to = parameters_of(phi), from = parameters_of(slope);
    for_each_scalar<M>([&]<class T>() { add_scaled<T>(to, -options.alpha, from, chosen); });
  }
  return phi;
}

/// `head` as a choice of parameters. Throws ValueError that names the method for a name that the model does not have.
template <class M>
Only head_parts(const char* op, const M& model, const std::vector<std::string>& head, Site site) {
  const Only parts(head);
  parts.names.check(op, parameters_of(model), site);
  return parts;
}
/// All parameters but those of `head`. Throws ValueError as `head_parts`, and when none is left.
template <class M>
Only body_parts(const char* op, const M& model, const std::vector<std::string>& head, Site site) {
  const Only parts = head_parts(op, model, head, site);
  std::vector<std::string> body;
  for (std::string& name : names(model))
    if (!parts.names.holds(name)) body.push_back(std::move(name));
  if (body.empty()) fail(op, "every parameter belongs to the head; there is no body", {}, site);
  return Only(std::move(body));
}

/// rates_of(parameter) in the place of every parameter. What is no parameter is left out, or it would be twice in a
/// `ModelWithRates`.
template <class M, class F>
M rates_like(const M& model, F rates_of) {
  M rates = zip(rates_of, detach(model));
  for (const Leaf& leaf : leaves_of(rates))
    if (!leaf.is_parameter()) *leaf.tensor = AnyTensor();
  return rates;
}

/// A scalar of the value of `value` with the gradient `direction` in `theta`: value + <theta - theta', direction>,
/// where theta' has the numbers of theta and is constant. Its second derivative is zero.
template <class T, class M>
Tensor<T> with_gradient(const Tensor<T>& value, const M& theta, const M& direction) {
  Tensor<T> total = value.detach();
  for_each_parameter(
      [&](const auto& leaf, const auto& slope) {
        if (leaf.defined() && leaf.tracked()) total = total + cast<T>(sum((leaf - leaf.detach()) * slope.detach()));
      },
      theta, direction);
  return total;
}

/// Mini-batches of a labelled set: permutations of the items one after another, cut into pieces, so that every item is
/// drawn as often as any other but for one time. All items in their order where a batch has as many, or is of size 0.
class MiniBatches {
 public:
  MiniBatches(Index batch, const Random& random) : batch_(batch), random_(random) {}

  template <class T>
  LabelledSet<T> next(const LabelledSet<T>& set) {
    const Index items = set.x.size(0);
    if (batch_ == 0 || batch_ >= items) return set;
    std::vector<std::int64_t> places;
    while (static_cast<Index>(places.size()) < batch_) {
      if (at_ == order_.size()) {
        order_ = random_.stream(round_++).permutation(items);
        at_ = 0;
      }
      places.push_back(order_[at_++]);
    }
    const Tensor<std::int64_t> chosen = from_vector(places);
    return {gather(set.x, chosen), gather(set.y, chosen)};
  }

 private:
  Index batch_;
  Random random_;
  std::vector<Index> order_;
  std::size_t at_ = 0;
  std::uint64_t round_ = 0;
};

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
