#pragma once
// Averages of the weights of several models of one structure, and the running statistics that an average needs anew: a
// mean of weights has activations of its own.

#include <string>
#include <vector>

#include "graft/common/checks.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/model/context.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// old + share (model - old) for every parameter; what is no parameter is the model's. Where both are alike, so is the
/// result, bit for bit. Throws ShapeError that names the parameter whose shapes differ.
template <Model M>
M moved_towards(const char* op, const M& old, const M& model, double share, Site site) {
  check_same_shapes(op, old, model, site);
  return zip(
      [share](const auto& to, const auto& from) {
        return map([share](auto x, auto y) { return y + share * (x - y); }, to, from);
      },
      model, old);
}

/// Puts the mean of what the layers observed in the place of every buffer that they average, the sum in that of every
/// one that they count.
GRAFT_ONCE
[[gnu::noinline]] void put_observed(const char* op, const LeafList& leaves, const Context& context, Site site) {
  std::vector<const Body*> seen;
  for (const Leaf& leaf : leaves) {
    if (!leaf.buffer || !leaf.tensor->defined()) continue;
    const AnyTensor held = *leaf.tensor;
    int count = 0;
    with_element_type(leaf, [&]<class T>() {
      if constexpr (Real<T> || Integer<T>) {
        Tensor<T> made;
        for (const StateUpdate& update : context.updates()) {
          if (update.target.body() != held.body()) continue;
          const Tensor<T> observed(update.observed);
          ++count;
          if (count == 1)
            made = observed;
          else if constexpr (Real<T>)
            made = made + (observed - made) / static_cast<T>(count);
          else
            made = made + observed;
        }
        if (count > 0) leaf.as<T>() = made;
      }
    });
    if (count == 0) continue;
    for (const Body* other : seen)
      if (other == held.body())
        fail(op, "two buffers of the model share one tensor: construct each layer anew instead of copying one", {},
             site);
    seen.push_back(held.body());
  }
}

}  // namespace detail

/// `model` with the running statistics of its batch norms made anew from `batches`, of items each: it answers each in
/// training, without a gradient, and the mean of the batches' means and variances takes the place of what was there.
/// Batches of equal size count rightly. Other buffers that layers average in training are made anew in the same way.
/// Throws ValueError without batches, and when two buffers hold one tensor.
template <Model M, class X>
[[nodiscard]] M with_batch_statistics(const M& model, const std::vector<X>& batches, const Random& random,
                                      Site site = Site::current()) {
  const char* op = "with_batch_statistics";
  if (batches.empty()) fail(op, "there are no batches", {}, site);
  const Recording off(false);
  Context context(Phase::training, random);
  for (const X& batch : batches) answer_of(model, batch, context);
  M result = model;
  detail::put_observed(op, detail::leaves_of(result), context, site);
  return result;
}

}  // namespace GRAFT_ABI
}  // namespace graft
