#pragma once
// The Cholesky factor of a matrix of as many rows as there are tasks, for solvers on the host, which decide row by row
// what is left of a pivot.

#include <cmath>

#include "graft/core/list.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// The lower triangle L of a matrix A = L L', a row at a time.
class HostCholesky {
 public:
  /// Forgets all rows; at most `rows` follow.
  void start(Index rows) {
    capacity_ = rows;
    rows_ = 0;
    factor_.resize(static_cast<std::size_t>(rows * rows));
  }
  Index rows() const { return rows_; }

  /// Row i = rows() of L but for its last number, from row(j) = A_ij for j <= i. Returns the square of the last one,
  /// which rounding or a dependent row may leave at 0 or below: `accept` takes what the caller makes of it.
  template <class Row>
  double next(const Row& row) {
    for (Index j = 0; j < rows_; ++j) {
      double value = row(j);
      for (Index k = 0; k < j; ++k) value -= at(rows_, k) * at(j, k);
      at(rows_, j) = value / at(j, j);
    }
    double square = row(rows_);
    for (Index k = 0; k < rows_; ++k) square -= at(rows_, k) * at(rows_, k);
    return square;
  }
  void accept(double square) {
    at(rows_, rows_) = std::sqrt(square);
    ++rows_;
  }
  /// L_ij, also of the row that is not accepted yet.
  double operator()(Index i, Index j) const { return factor_[i * capacity_ + j]; }

  /// b <- L^-1 b of the accepted rows.
  void forward(List<double>& b) const {
    for (Index i = 0; i < rows_; ++i) {
      for (Index k = 0; k < i; ++k) b[i] -= (*this)(i, k) * b[k];
      b[i] /= (*this)(i, i);
    }
  }
  /// b <- L'^-1 b of the accepted rows.
  void backward(List<double>& b) const {
    for (Index i = rows_ - 1; i >= 0; --i) {
      for (Index k = i + 1; k < rows_; ++k) b[i] -= (*this)(k, i) * b[k];
      b[i] /= (*this)(i, i);
    }
  }

 private:
  double& at(Index i, Index j) { return factor_[i * capacity_ + j]; }

  Index capacity_ = 0, rows_ = 0;
  List<double> factor_;
};

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
