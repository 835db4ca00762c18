#pragma once
// The eigenvectors of a matrix of as many rows as there are tasks, for solvers on the host, which decide one by one
// what counts as 0.

#include "graft/core/list.hpp"
#include "graft/ops/linalg_spectral.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// Of a symmetric matrix [n, n]; eigenvalues ascend.
class HostEigen {
 public:
  HostEigen(const Tensor<double>& matrix, Site site) : HostEigen(symmetric_eigen(matrix, site)) {}

  double value(Index e) const { return values_[e]; }
  double largest() const { return values_.back(); }
  /// <v_e, x>
  double along(Index e, const List<double>& x) const {
    double sum = 0;
    for (Index i = 0; i < values_.size(); ++i) sum += component(i, e) * x[i];
    return sum;
  }
  /// y <- y + factor v_e
  void add(Index e, double factor, List<double>& y) const {
    for (Index i = 0; i < values_.size(); ++i) y[i] += factor * component(i, e);
  }

 private:
  explicit HostEigen(const SymmetricEigen<double>& eigen)
      : values_(host(eigen.values)), vectors_(host(eigen.vectors)) {}
  double component(Index i, Index e) const { return vectors_[i * values_.size() + e]; }

  List<double> values_, vectors_;
};

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
