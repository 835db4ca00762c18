#pragma once
// The dropout layer: its masks come from the context, so a layer has no state.

#include "graft/model/context.hpp"
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

}  // namespace GRAFT_ABI
}  // namespace graft
