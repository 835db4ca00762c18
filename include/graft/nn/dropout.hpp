#pragma once
// Dropout of numbers and of whole branches: masks come from the context, so a layer has no state.

#include "graft/model/context.hpp"
#include "graft/ops/arithmetic.hpp"
#include "graft/ops/dropout.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// In training each number is 0 with probability `rate`, else divided by 1 - rate; the identity in evaluation. Every
/// call takes the context's next stream named "dropout", whatever the rate, so one layer's rate moves no other layer's
/// masks. Configuration, not a model: leave it out of GRAFT_FIELDS.
struct Dropout {
  double rate = 0.5;

  /// `x`: whatever `dropout` takes, a tensor or a sparse matrix.
  template <class X>
  requires requires(const X& x, const Random& random, Site site) {
    { dropout(x, 0.5, random, site) } -> std::same_as<X>;
  }
  X operator()(const X& x, ContextRef context, Site site = Site::current()) const {
    const Named here("Dropout", site);
    if (!context->training()) return x;
    return dropout(x, rate, context->stream("dropout"), site);
  }
};

/// Stochastic depth of a residual branch [batch, ...]: in training each sample's branch is 0 with probability `rate`,
/// else divided by 1 - rate, so that its expectation is kept; the identity in evaluation. Huang, Sun, Liu, Sedra,
/// Weinberger, "Deep networks with stochastic depth", ECCV 2016, sample by sample as is customary since. Every call
/// takes the context's next stream named "stochastic depth", whatever the rate. Configuration, as `Dropout`.
struct StochasticDepth {
  double rate = 0;

  template <Real T>
  Tensor<T> operator()(const Tensor<T>& branch, ContextRef context, Site site = Site::current()) const {
    const Named here("StochasticDepth", site);
    if (!context->training()) return branch;
    const Random random = context->stream("stochastic depth");
    if (rate == 0) return branch;
    Shape samples;
    for (int axis = 0; axis < branch.rank(); ++axis) samples.push_back(axis == 0 ? branch.shape()[0] : 1);
    return branch * dropout(ones<T>(samples, site), rate, random, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
