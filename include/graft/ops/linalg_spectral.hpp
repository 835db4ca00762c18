#pragma once
// Eigenvalues and singular values by Eigen, differentiable to any order where they are smooth.

#include "graft/ops/linalg.hpp"

// After graft's own headers, as there.
#include <Eigen/Eigenvalues>
#include <Eigen/SVD>

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// 1 / x, and 0 for x = 0.
template <class T>
Tensor<T> inverse_or_zero(const Tensor<T>& x) {
  return where(x == T(0), T(0), reciprocal(where(x == T(0), T(1), x)));
}
/// Which of the values [n] of a decomposition coincide: so near to each other that rounding may have parted them.
template <class T>
struct Coinciding {
  Tensor<T> pairs;  ///< [n, n], 1 for different ones that coincide, else 0
  Tensor<T> zeros;  ///< [1, n], 1 where a value is 0
  bool any_pairs = false, any_zeros = false;
  T nothing = 0;  ///< sums up to this are roundings of 0

  explicit Coinciding(const Tensor<T>& values)
      : pairs(fresh<T>({values.size(0), values.size(0)})), zeros(fresh<T>({1, values.size(0)})) {
    const Index n = values.size(0);
    const T* w = values.data();
    for (Index i = 0; i < n; ++i) nothing = std::max(nothing, std::abs(w[i]));
    nothing *= 8 * static_cast<T>(n) * std::numeric_limits<T>::epsilon();
    for (Index i = 0; i < n; ++i) {
      writable(zeros)[i] = w[i] == 0;
      any_zeros |= w[i] == 0;
      for (Index j = 0; j < n; ++j) {
        const bool same = i != j && std::abs(w[i] - w[j]) <= nothing;
        writable(pairs)[i * n + j] = same;
        any_pairs |= same;
      }
    }
  }
};
/// 1 / (x_j - x_i) off the diagonal and 0 on it and between values that coincide, [n, n].
template <class T>
Tensor<T> inverse_gaps(const Tensor<T>& x, const Coinciding<T>& same) {
  const Index n = x.size(0);
  return inverse_or_zero((reshape(x, {1, n}) - reshape(x, {n, 1})) * (1 - same.pairs));
}

/// The second derivatives [n, n] of a function of the first n numbers of `source`, from its gradient `g` [n] to them; 0
/// where that was not recorded, is constant, or has no finite derivative.
template <class T>
Tensor<T> second_derivatives(const Tensor<T>& g, Node* source) {
  const Index n = g.size(0);
  if (!g.tracked()) return zeros<T>({n, n});
  std::vector<Tensor<T>> rows;
  for (Index i = 0; i < n; ++i) {
    Tensor<T> unit = zeros<T>({n});
    writable(unit)[i] = 1;
    AnyTensor row = backward(g, unit, std::span<Node* const>(&source, 1), true, true)[0];
    rows.push_back(row.defined() ? slice(Tensor<T>(std::move(row)), 0, 0, n) : zeros<T>({n}));
  }
  const Tensor<T> all = stack(rows);
  return where(abs(all.detach()) < std::numeric_limits<T>::infinity(), all, 0);
}
/// c[i, j] = a[i, i] + sign a[i, j].
template <class T>
Tensor<T> diagonal_and(const Tensor<T>& a, T sign) {
  return sum(a * eye<T>(a.size(0)), {1}, true) + sign * a;
}
/// Turns columns so that the largest component of each is positive: eigenvectors are then continuous functions.
template <class V>
void fix_signs(V& vectors, V* partner = nullptr) {
  for (Eigen::Index j = 0; j < vectors.cols(); ++j) {
    Eigen::Index largest = 0;
    vectors.col(j).cwiseAbs().maxCoeff(&largest);
    if (vectors(largest, j) >= 0) continue;
    vectors.col(j) *= -1;
    if (partner) partner->col(j) *= -1;
  }
}

}  // namespace detail

/// Eigenvalues in ascending order [n] and eigenvectors as columns [n, n] (largest component positive).
template <class T>
struct SymmetricEigen {
  Tensor<T> values, vectors;
};

/// Eigenvalues and vectors of a symmetric matrix [n, n] (its symmetric part is used). Derivatives of the vectors need
/// distinct eigenvalues; between equal ones they count as zero. A symmetric function of the eigenvalues alone has its
/// first and second derivatives at equal ones too; of higher ones, terms between them are left out. Lewis, Sendov,
/// "Twice differentiable spectral functions", SIAM J. Matrix Anal. Appl. 23, 2001.
template <Real T>
SymmetricEigen<T> symmetric_eigen(const Tensor<T>& a, Site site = Site::current()) {
  detail::require_square("symmetric_eigen", a, site);
  const Tensor<T> symmetric = detail::symmetric_part(a);
  const Index n = a.size(0);
  const auto unpack = [n](const Tensor<T>& packed) {
    return SymmetricEigen<T>{slice(packed, 0, 0, n), reshape(slice(packed, 0, n, n + n * n), {n, n})};
  };
  // Both results are cut from one tensor, so that one node serves them.
  Tensor<T> packed = detail::fresh<T>({n + n * n});
  if (n > 0) {
    const Eigen::SelfAdjointEigenSolver<EigenMatrix<T>> solver(eigen_map(symmetric));
    if (solver.info() != Eigen::Success) fail("symmetric_eigen", "did not converge", {{"a", a.shape()}}, site);
    EigenMatrix<T> vectors = solver.eigenvectors();
    detail::fix_signs(vectors);
    Eigen::Map<EigenMatrix<T>>(detail::writable(packed), n, 1) = solver.eigenvalues();
    Eigen::Map<EigenMatrix<T>>(detail::writable(packed) + n, n, n) = vectors;
  }
  if (!recorded(symmetric)) return unpack(packed);
  const auto node = std::make_shared<detail::Node*>();  // that of the result, for its own rule
  const Tensor<T> result =
      record("symmetric_eigen", packed, Edge(symmetric, [=](const Tensor<T>& g) {
               const auto [w, v] = recording() ? symmetric_eigen(symmetric) : unpack(packed);
               const auto [gw, gv] = unpack(g);
               const detail::Coinciding<T> same(unpack(packed).values);
               Tensor<T> inner = reshape(gw, {1, n}) * eye<T>(n) +
                                 detail::inverse_gaps(w, same) * matmul(v, gv, {.transpose_a = true});
               if (recording() && same.any_pairs) {
                 // Between eigenvalues that part, the derivative of v diag(gw) v^T along d is (gw_i - gw_j) / (w_i -
                 // w_j) (v^T d v)_ij. The limit for equal ones is a second derivative, here as what multiplies a matrix
                 // that is 0.
                 const Tensor<T> d = matmul(matmul(v, symmetric - symmetric.detach(), {.transpose_a = true}), v);
                 inner = inner + same.pairs * detail::diagonal_and(detail::second_derivatives(gw, *node), T(-1)) * d;
               }
               return detail::symmetric_part(matmul(matmul(v, inner), v, {.transpose_b = true}));
             }));
  *node = detail::node_of(result);
  return unpack(result);
}

/// Thin singular value decomposition: u [m, k], values in descending order [k], v [n, k] with a = u diag(values) v^T, k
/// = min(m, n); the largest component of each column of v is positive.
template <class T>
struct Svd {
  Tensor<T> u, values, v;
};

/// Singular value decomposition of `a` [m, n]. Derivatives of u and v need distinct, non-zero singular values; terms
/// that would divide by zero are left out. Townsend, "Differentiating the singular value decomposition", 2016. A
/// symmetric function of the singular values alone has its first and second derivatives at equal ones too, and at 0
/// where it is even; of higher ones, terms between them are left out.
template <Real T>
Svd<T> svd(const Tensor<T>& a, Site site = Site::current()) {
  if (a.rank() != 2) fail<ShapeError>("svd", "expected a matrix", {{"a", a.shape()}}, site);
  detail::require_finite("svd", a, site);
  const Index m = a.size(0), n = a.size(1), k = m < n ? m : n;
  const auto unpack = [m, n, k](const Tensor<T>& packed) {
    return Svd<T>{reshape(slice(packed, 0, k, k + m * k), {m, k}), slice(packed, 0, 0, k),
                  reshape(slice(packed, 0, k + m * k, k + m * k + n * k), {n, k})};
  };
  Tensor<T> packed = detail::fresh<T>({m * k + k + n * k});
  if (k > 0) {
    const Eigen::JacobiSVD<EigenMatrix<T>, Eigen::ColPivHouseholderQRPreconditioner> solver(
        eigen_map(a), Eigen::ComputeThinU | Eigen::ComputeThinV);
    EigenMatrix<T> u = solver.matrixU(), v = solver.matrixV();
    detail::fix_signs(v, &u);
    T* out = detail::writable(packed);
    Eigen::Map<EigenMatrix<T>>(out, k, 1) = solver.singularValues();
    Eigen::Map<EigenMatrix<T>>(out + k, m, k) = u;
    Eigen::Map<EigenMatrix<T>>(out + k + m * k, n, k) = v;
  }
  if (!recorded(a)) return unpack(packed);
  const auto node = std::make_shared<detail::Node*>();  // that of the result, for its own rule
  const Tensor<T> tracked = record(
      "svd", packed, Edge(a, [=](const Tensor<T>& g) {
        const auto [u, s, v] = recording() ? svd(a) : unpack(packed);
        const auto [gu, gs, gv] = unpack(g);
        const Tensor<T> row = reshape(s, {1, k}), column = reshape(s, {k, 1});
        const Tensor<T> inverse = detail::inverse_or_zero(row);
        const detail::Coinciding<T> same(unpack(packed).values);
        const Tensor<T> gaps = detail::inverse_gaps(square(s), same);
        const auto skew = [](const Tensor<T>& x) { return x - transpose(x); };
        Tensor<T> uu = matmul(u, gu, {.transpose_a = true}), vv = matmul(v, gv, {.transpose_a = true});
        Tensor<T> core = gaps * skew(uu) * row + column * (gaps * skew(vv)) + reshape(gs, {1, k}) * eye<T>(k);
        Tensor<T> beside_u = (gu - matmul(u, uu)) * inverse, beside_v = (gv - matmul(v, vv)) * inverse;
        if (recording() && (same.any_pairs || (same.any_zeros && m != n))) {
          // Between singular values that part, the derivative of u diag(gs) v^T along d is, of the symmetric part of
          // u^T d v, (gs_i - gs_j) / (s_i - s_j) times it, and of the other (gs_i + gs_j) / (s_i + s_j) times it;
          // beside the columns of u and v it is gs_j / s_j times d. The limits are second derivatives, here as what
          // multiplies a matrix that is 0.
          const Tensor<T> d = a - a.detach(), second = detail::second_derivatives(gs, *node);
          const Tensor<T> du = matmul(u, d, {.transpose_a = true}), dv = matmul(d, v), inside = matmul(du, v);
          const Tensor<T> sums = row + column, g_row = reshape(gs, {1, k});
          const Tensor<T> ratio =
              where(sums.detach() > same.nothing, (g_row + transpose(g_row)) * detail::inverse_or_zero(sums),
                    detail::diagonal_and(second, T(1)));
          core = core + same.pairs * T(0.5) *
                            (detail::diagonal_and(second, T(-1)) * (inside + transpose(inside)) + ratio * skew(inside));
          const Tensor<T> at_zero = same.zeros * sum(second * eye<T>(k), {0}, true);
          beside_u = beside_u + (dv - matmul(u, inside)) * at_zero;
          beside_v = beside_v + (transpose(du) - matmul(v, transpose(inside))) * at_zero;
        }
        Tensor<T> result = matmul(u, matmul(core, v, {.transpose_b = true}));
        if (m > k) result = result + matmul(beside_u, v, {.transpose_b = true});
        if (n > k) result = result + matmul(u, beside_v, {.transpose_b = true});
        return result;
      }));
  *node = detail::node_of(tracked);
  return unpack(tracked);
}

#ifdef GRAFT_COMPILED
#define GRAFT_SPECTRAL_INSTANCES(T)                                                \
  GRAFT_COMPILED_LINALG SymmetricEigen<T> symmetric_eigen(const Tensor<T>&, Site); \
  GRAFT_COMPILED_LINALG Svd<T> svd(const Tensor<T>&, Site);
GRAFT_SPECTRAL_INSTANCES(float)
GRAFT_SPECTRAL_INSTANCES(double)
#undef GRAFT_SPECTRAL_INSTANCES
#endif

}  // namespace GRAFT_ABI
}  // namespace graft
