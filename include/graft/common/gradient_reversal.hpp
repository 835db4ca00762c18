#pragma once
// Gradient reversal. Ganin, Lempitsky, "Unsupervised domain adaptation by backpropagation", ICML 2015; Ganin et al.,
// "Domain-adversarial training of neural networks", JMLR 2016: what comes after learns to tell apart what what comes
// before learns to make alike.

#include "graft/core/options.hpp"
#include "graft/model/arithmetic.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// x itself, through which a gradient g passes as -lambda g; as zeros where lambda is 0, whatever g is. Each pass of a
/// higher derivative through it has the factor again: f(reverse_gradient(x)) has the gradient -lambda f' and the second
/// derivative lambda^2 f''. Throws ValueError for a lambda that is not finite.
template <Real T>
Tensor<T> reverse_gradient(const Tensor<T>& x, double lambda = 1, Site site = Site::current()) {
  detail::check_option<T>("reverse_gradient", "lambda", lambda, detail::Range::finite, site);
  const T factor = -static_cast<T>(lambda);
  return record("reverse_gradient", x, Edge(x, [factor](const Tensor<T>& g) {
                  return factor == T(0) ? zeros<T>(g.shape()) : detail::scaled(factor, g);
                }));
}

}  // namespace GRAFT_ABI
}  // namespace graft
