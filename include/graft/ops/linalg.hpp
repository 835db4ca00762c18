#pragma once
// Factorisations and solves of single matrices by Eigen, differentiable to any order: every rule is written in ops that
// are themselves here or elsewhere in ops/. Includes Eigen, so it is not part of graft.hpp. A matrix to be factorised
// that holds a NaN or an infinity is an error (ValueError): there is nothing sensible to return.

// Eigen's threads know nothing of set_threads, and its blocking, hence bits, would depend on their number.
#ifndef EIGEN_DONT_PARALLELIZE
#ifdef EIGEN_CORE_H
#error "include graft/ops/linalg.hpp before Eigen, or define EIGEN_DONT_PARALLELIZE for the whole program"
#endif
#define EIGEN_DONT_PARALLELIZE
#endif

#include <cmath>
#include <memory>

#include "graft/ops/layout.hpp"
#include "graft/ops/matmul.hpp"

// After graft's own headers: number/batch.hpp includes the CPU's intrinsics with a compiler's false warnings off.
#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <Eigen/LU>
#include <Eigen/QR>
#include <Eigen/SVD>

namespace graft {
inline namespace GRAFT_ABI {

/// Row-major matrix of Eigen with graft's element type.
template <class T>
using EigenMatrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// A read-only look at the numbers of a matrix [m, n] (or a vector, as one column). Valid while a handle to `x` lives.
template <class T>
Eigen::Map<const EigenMatrix<T>> eigen_map(const Tensor<T>& x, Site site = Site::current()) {
  if (x.rank() != 1 && x.rank() != 2)
    fail<ShapeError>("eigen_map", "expected a vector or a matrix", {{"x", x.shape()}}, site);
  return {x.data(), x.size(0), x.rank() == 2 ? x.size(1) : 1};
}
/// A copy of an Eigen matrix or expression, [rows, cols].
template <class Derived>
Tensor<typename Derived::Scalar> from_eigen(const Eigen::MatrixBase<Derived>& matrix, Site site = Site::current()) {
  using T = typename Derived::Scalar;
  Tensor<T> result = detail::fresh<T>({matrix.rows(), matrix.cols()}, "from_eigen", site);
  Eigen::Map<EigenMatrix<T>>(detail::writable(result), matrix.rows(), matrix.cols()) = matrix;
  return result;
}

namespace detail {

template <class T>
void require_finite(const char* op, const Tensor<T>& a, Site site) {
  for (T value : a.span())
    if (!std::isfinite(value)) fail(op, "a holds a NaN or an infinity", {{"a", a.shape()}}, site);
}
template <class T>
void require_square(const char* op, const Tensor<T>& a, Site site) {
  if (a.rank() != 2 || a.size(0) != a.size(1))
    fail<ShapeError>(op, "expected a square matrix", {{"a", a.shape()}}, site);
  require_finite(op, a, site);
}
template <class T>
void require_right_side(const char* op, const Tensor<T>& a, const Tensor<T>& b, Site site) {
  if (b.rank() != 2 || b.size(0) != a.size(0))
    fail<ShapeError>(op, "expected b [rows of a, columns]", {{"a", a.shape()}, {"b", b.shape()}}, site);
}
template <class T>
Tensor<T> symmetric_part(const Tensor<T>& a) {
  return T(0.5) * (a + transpose(a));
}
/// [n, n] with `diagonal` on the diagonal and ones below (the lower triangle) or off it.
template <class T>
Tensor<T> pattern(Index n, T diagonal, T below, T above) {
  Tensor<T> mask = fresh<T>({n, n});
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < n; ++j) writable(mask)[i * n + j] = i == j ? diagonal : j < i ? below : above;
  return mask;
}
/// 1 / x, and 0 for x = 0.
template <class T>
Tensor<T> inverse_or_zero(const Tensor<T>& x) {
  return where(x == T(0), T(0), reciprocal(where(x == T(0), T(1), x)));
}
/// 1 / (x_j - x_i) off the diagonal and 0 on it and between equal entries, [n, n].
template <class T>
Tensor<T> inverse_gaps(const Tensor<T>& x) {
  const Index n = x.size(0);
  return inverse_or_zero(reshape(x, {1, n}) - reshape(x, {n, 1}));
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

/// x = l^-1 b (or l^-T b) for a lower triangular `l` [n, n], whose upper part is not read. b, x [n, columns].
/// ValueError when a diagonal element is zero.
template <Real T>
Tensor<T> triangular_solve(const Tensor<T>& l, const Tensor<T>& b, bool transposed = false,
                           Site site = Site::current()) {
  if (l.rank() != 2 || l.size(0) != l.size(1))
    fail<ShapeError>("triangular_solve", "expected a square matrix", {{"l", l.shape()}, {"b", b.shape()}}, site);
  detail::require_right_side("triangular_solve", l, b, site);
  for (Index i = 0; i < l.size(0); ++i)
    if (l.data()[i * l.size(0) + i] == 0)
      fail("triangular_solve", {"element ", i, " of the diagonal is zero"}, {{"l", l.shape()}}, site);
  if (b.count() == 0) return b;
  const auto lower = eigen_map(l).template triangularView<Eigen::Lower>();
  Tensor<T> x = transposed ? from_eigen(EigenMatrix<T>(lower.transpose().solve(eigen_map(b))))
                           : from_eigen(EigenMatrix<T>(lower.solve(eigen_map(b))));
  if (!recorded(l, b)) return x;
  return record("triangular_solve", std::move(x),
                Edge(l,
                     [l, b, transposed](const Tensor<T>& g) {
                       const Tensor<T> solution = triangular_solve(l, b, transposed);
                       const Tensor<T> back = triangular_solve(l, g, !transposed);
                       const Tensor<T> outer = transposed ? matmul(solution, back, {.transpose_b = true})
                                                          : matmul(back, solution, {.transpose_b = true});
                       return -outer * detail::pattern<T>(l.size(0), 1, 1, 0);
                     }),
                Edge(b, [l, transposed](const Tensor<T>& g) { return triangular_solve(l, g, !transposed); }));
}

/// Lower triangular l with l l^T = a, for a symmetric positive definite [n, n] (its symmetric part is used). ValueError
/// when `a` is not positive definite.
template <Real T>
Tensor<T> cholesky(const Tensor<T>& a, Site site = Site::current()) {
  detail::require_square("cholesky", a, site);
  if (a.count() == 0) return a;
  const Tensor<T> symmetric = detail::symmetric_part(a);
  const Eigen::LLT<EigenMatrix<T>> llt(eigen_map(symmetric));
  if (llt.info() != Eigen::Success) fail("cholesky", "the matrix is not positive definite", {{"a", a.shape()}}, site);
  Tensor<T> l = from_eigen(EigenMatrix<T>(llt.matrixL()));
  // Murray, "Differentiation of the Cholesky decomposition", arXiv 1602.07527: l^-T phi(l^T g) l^-1.
  return record("cholesky", std::move(l), Edge(symmetric, [symmetric](const Tensor<T>& g) {
                  const Tensor<T> factor = cholesky(symmetric);
                  const Tensor<T> inner =
                      matmul(factor, g, {.transpose_a = true}) * detail::pattern<T>(factor.size(0), T(0.5), 1, 0);
                  const Tensor<T> left = triangular_solve(factor, inner, true);
                  return detail::symmetric_part(transpose(triangular_solve(factor, transpose(left), true)));
                }));
}

/// x with a x = b. a [n, n], b [n, columns] -> [n, columns]. LU with partial pivoting; the plain backward reuses the
/// factors. ValueError when `a` is singular to working precision (its reciprocal condition is below the type's
/// epsilon).
template <Real T>
Tensor<T> solve(const Tensor<T>& a, const Tensor<T>& b, Site site = Site::current()) {
  detail::require_square("solve", a, site);
  detail::require_right_side("solve", a, b, site);
  if (a.count() == 0) return b;
  auto lu = std::make_shared<Eigen::PartialPivLU<EigenMatrix<T>>>(eigen_map(a));
  if (!(lu->rcond() > std::numeric_limits<T>::epsilon()))
    fail("solve", "the matrix is singular", {{"a", a.shape()}}, site);
  if (b.count() == 0) return b;
  Tensor<T> x = from_eigen(EigenMatrix<T>(lu->solve(eigen_map(b))));
  if (!recorded(a, b)) return x;
  const auto back = [a, lu](const Tensor<T>& g) {
    if (recording()) return solve(transpose(a), g);
    return from_eigen(EigenMatrix<T>(lu->transpose().solve(eigen_map(g))));
  };
  return record("solve", x,
                Edge(a,
                     [a, b, back, x](const Tensor<T>& g) {
                       const Tensor<T> solution = recording() ? solve(a, b) : x;
                       return -matmul(back(g), solution, {.transpose_b = true});
                     }),
                Edge(b, back));
}

/// x with a x = b for a symmetric positive definite a [n, n] (its symmetric part is used). b [n, columns]. Half the
/// work of `solve`; the plain backward reuses the factor. ValueError when `a` is not positive definite.
template <Real T>
Tensor<T> cholesky_solve(const Tensor<T>& a, const Tensor<T>& b, Site site = Site::current()) {
  detail::require_square("cholesky_solve", a, site);
  detail::require_right_side("cholesky_solve", a, b, site);
  if (a.count() == 0) return b;
  const Tensor<T> symmetric = detail::symmetric_part(a);
  auto llt = std::make_shared<Eigen::LLT<EigenMatrix<T>>>(eigen_map(symmetric));
  if (llt->info() != Eigen::Success)
    fail("cholesky_solve", "the matrix is not positive definite", {{"a", a.shape()}}, site);
  if (b.count() == 0) return b;
  Tensor<T> x = from_eigen(EigenMatrix<T>(llt->solve(eigen_map(b))));
  if (!recorded(symmetric, b)) return x;
  const auto back = [symmetric, llt](const Tensor<T>& g) {
    if (recording()) return cholesky_solve(symmetric, g);
    return from_eigen(EigenMatrix<T>(llt->solve(eigen_map(g))));
  };
  return record("cholesky_solve", x,
                Edge(symmetric,
                     [symmetric, b, back, x](const Tensor<T>& g) {
                       const Tensor<T> solution = recording() ? cholesky_solve(symmetric, b) : x;
                       return -detail::symmetric_part(matmul(back(g), solution, {.transpose_b = true}));
                     }),
                Edge(b, back));
}

namespace detail {

/// (a^T a)^-1 g through a = q r, so that the condition of `a` counts once a factor. g [n, columns].
template <class T>
Tensor<T> gram_solve(const Tensor<T>& a, const Tensor<T>& g) {
  const Eigen::ColPivHouseholderQR<EigenMatrix<T>> qr(eigen_map(a));
  const auto r = qr.matrixR().topRows(a.size(1)).template triangularView<Eigen::Upper>();
  const EigenMatrix<T> y = r.transpose().solve(qr.colsPermutation().transpose() * eigen_map(g));
  Tensor<T> x = from_eigen(EigenMatrix<T>(qr.colsPermutation() * EigenMatrix<T>(r.solve(y))));
  if (!recorded(a, g)) return x;
  return record("gram_solve", std::move(x),
                Edge(a,
                     [a, g](const Tensor<T>& h) {
                       const Tensor<T> w = gram_solve(a, h), cross = matmul(gram_solve(a, g), w, {.transpose_b = true});
                       return -matmul(a, cross + transpose(cross));
                     }),
                Edge(g, [a](const Tensor<T>& h) { return gram_solve(a, h); }));
}

}  // namespace detail

/// The x that minimises |a x - b|^2. a [m, n] of full column rank (m >= n), b [m, columns] -> [n, columns]. Householder
/// QR with column pivoting. ValueError when columns of `a` are dependent to working precision.
template <Real T>
Tensor<T> least_squares(const Tensor<T>& a, const Tensor<T>& b, Site site = Site::current()) {
  if (a.rank() != 2 || a.size(0) < a.size(1))
    fail<ShapeError>("least_squares", "expected a [m, n] with m >= n", {{"a", a.shape()}, {"b", b.shape()}}, site);
  detail::require_right_side("least_squares", a, b, site);
  detail::require_finite("least_squares", a, site);
  if (a.count() == 0) return slice(b, 0, 0, 0);
  const Eigen::ColPivHouseholderQR<EigenMatrix<T>> qr(eigen_map(a));
  if (qr.rank() < a.size(1)) fail("least_squares", "columns of a are linearly dependent", {{"a", a.shape()}}, site);
  if (b.count() == 0) return slice(b, 0, 0, a.size(1));
  Tensor<T> x = from_eigen(EigenMatrix<T>(qr.solve(eigen_map(b))));
  if (!recorded(a, b)) return x;
  return record("least_squares", x,
                Edge(a,
                     [a, b, x](const Tensor<T>& g) {
                       const Tensor<T> solution = recording() ? least_squares(a, b) : x;
                       const Tensor<T> p = detail::gram_solve(a, g);
                       return matmul(b - matmul(a, solution), p, {.transpose_b = true}) -
                              matmul(matmul(a, p), solution, {.transpose_b = true});
                     }),
                Edge(b, [a](const Tensor<T>& g) { return matmul(a, detail::gram_solve(a, g)); }));
}

/// Eigenvalues in ascending order [n] and eigenvectors as columns [n, n] (largest component positive).
template <class T>
struct SymmetricEigen {
  Tensor<T> values, vectors;
};

/// Eigenvalues and vectors of a symmetric matrix [n, n] (its symmetric part is used). Derivatives of the vectors need
/// distinct eigenvalues; between equal ones they count as zero.
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
  return unpack(record("symmetric_eigen", packed, Edge(symmetric, [=](const Tensor<T>& g) {
                         const auto [w, v] = recording() ? symmetric_eigen(symmetric) : unpack(packed);
                         const auto [gw, gv] = unpack(g);
                         const Tensor<T> inner = reshape(gw, {1, n}) * eye<T>(n) +
                                                 detail::inverse_gaps(w) * matmul(v, gv, {.transpose_a = true});
                         return detail::symmetric_part(matmul(matmul(v, inner), v, {.transpose_b = true}));
                       })));
}

/// Thin singular value decomposition: u [m, k], values in descending order [k], v [n, k] with a = u diag(values) v^T, k
/// = min(m, n); the largest component of each column of v is positive.
template <class T>
struct Svd {
  Tensor<T> u, values, v;
};

/// Singular value decomposition of `a` [m, n]. Derivatives of u and v need distinct, non-zero singular values; terms
/// that would divide by zero are left out. Townsend, "Differentiating the singular value decomposition", 2016.
template <Real T>
Svd<T> svd(const Tensor<T>& a, Site site = Site::current()) {
  if (a.rank() != 2) fail<ShapeError>("svd", "expected a matrix", {{"a", a.shape()}}, site);
  detail::require_finite("svd", a, site);
  const Index m = a.size(0), n = a.size(1), k = m < n ? m : n;
  const auto unpack = [m, n, k](const Tensor<T>& packed) {
    return Svd<T>{reshape(slice(packed, 0, 0, m * k), {m, k}), slice(packed, 0, m * k, m * k + k),
                  reshape(slice(packed, 0, m * k + k, m * k + k + n * k), {n, k})};
  };
  Tensor<T> packed = detail::fresh<T>({m * k + k + n * k});
  if (k > 0) {
    const Eigen::JacobiSVD<EigenMatrix<T>, Eigen::ColPivHouseholderQRPreconditioner> solver(
        eigen_map(a), Eigen::ComputeThinU | Eigen::ComputeThinV);
    EigenMatrix<T> u = solver.matrixU(), v = solver.matrixV();
    detail::fix_signs(v, &u);
    T* out = detail::writable(packed);
    Eigen::Map<EigenMatrix<T>>(out, m, k) = u;
    Eigen::Map<EigenMatrix<T>>(out + m * k, k, 1) = solver.singularValues();
    Eigen::Map<EigenMatrix<T>>(out + m * k + k, n, k) = v;
  }
  if (!recorded(a)) return unpack(packed);
  return unpack(record(
      "svd", packed, Edge(a, [=](const Tensor<T>& g) {
        const auto [u, s, v] = recording() ? svd(a) : unpack(packed);
        const auto [gu, gs, gv] = unpack(g);
        const Tensor<T> row = reshape(s, {1, k}), column = reshape(s, {k, 1});
        const Tensor<T> inverse = detail::inverse_or_zero(row);
        const Tensor<T> gaps = detail::inverse_gaps(square(s));
        const auto skew = [](const Tensor<T>& x) { return x - transpose(x); };
        const Tensor<T> uu = matmul(u, gu, {.transpose_a = true}), vv = matmul(v, gv, {.transpose_a = true});
        const Tensor<T> core = gaps * skew(uu) * row + column * (gaps * skew(vv)) + reshape(gs, {1, k}) * eye<T>(k);
        Tensor<T> result = matmul(u, matmul(core, v, {.transpose_b = true}));
        if (m > k) result = result + matmul((gu - matmul(u, uu)) * inverse, v, {.transpose_b = true});
        if (n > k) result = result + matmul(u, (gv - matmul(v, vv)) * inverse, {.transpose_b = true});
        return result;
      })));
}

}  // namespace GRAFT_ABI
}  // namespace graft
