#pragma once
// Factorisations and solves by Eigen, differentiable to any order: every rule is written in ops that are themselves
// here or elsewhere in ops/. Includes Eigen, so it is not part of graft.hpp. A matrix to be factorised that holds a NaN
// or an infinity is an error (ValueError): there is nothing sensible to return.
//
// Solves and Cholesky factors take stacks of matrices [..., n, n] too, matrix by matrix; of the two arguments of a
// solve one of rank 2 serves all matrices of the other.

// Eigen's threads know nothing of set_threads, and its blocking, hence bits, would depend on their number.
#ifndef EIGEN_DONT_PARALLELIZE
#ifdef EIGEN_CORE_H
#error "include graft/ops/linalg.hpp before Eigen, or define EIGEN_DONT_PARALLELIZE for the whole program"
#endif
#define EIGEN_DONT_PARALLELIZE
#endif

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "graft/ops/layout.hpp"
#include "graft/ops/matmul.hpp"

// After graft's own headers: number/simd.hpp includes the CPU's intrinsics with a compiler's false warnings off.
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

namespace detail {

/// Matrices [..., rows, columns] one after the other.
template <class T>
Index stacked_matrices(const Tensor<T>& x) {
  Index count = 1;
  for (int axis = 0; axis < x.rank() - 2; ++axis) count *= x.size(axis);
  return count;
}
/// Matrix i of a stack.
template <class T>
Eigen::Map<const EigenMatrix<T>> matrix_of(const Tensor<T>& x, Index i) {
  const Index rows = x.size(-2), columns = x.size(-1);
  return {x.data() + i * rows * columns, rows, columns};
}
/// A stack shaped like `like` of f(i), matrix by matrix on several threads. `work` is about the number of
/// multiplications of one. The exception of the lowest is thrown.
template <class T, class F>
Tensor<T> stack_of(const Tensor<T>& like, Index work, const F& f) {
  const Tensor<T> result = fresh<T>(like.shape());
  const Index count = stacked_matrices(like), rows = like.size(-2), columns = like.size(-1);
  const Index chunk = 1 + 262144 / (work + 1);
  parallel_tasks((count + chunk - 1) / chunk, [&](Index task) {
    for (Index i = task * chunk; i < std::min((task + 1) * chunk, count); ++i)
      Eigen::Map<EigenMatrix<T>>(writable(result) + i * rows * columns, rows, columns) = f(i);
  });
  return result;
}

}  // namespace detail

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
void require_square_stack(const char* op, const char* name, const Tensor<T>& a, Site site) {
  if (a.rank() < 2 || a.size(-1) != a.size(-2))
    fail<ShapeError>(op, "expected square matrices", {{name, a.shape()}}, site);
}
/// Of a solve: b has as many rows as `a`, and leading axes that fit.
template <class T>
void require_right_side(const char* op, const char* name, const Tensor<T>& a, const Tensor<T>& b, Site site) {
  if (b.rank() < 2 || b.size(-2) != a.size(-2))
    fail<ShapeError>(op, {"expected b [..., rows of ", name, ", columns]"}, {{name, a.shape()}, {"b", b.shape()}},
                     site);
  bool fit = a.rank() == 2 || b.rank() == 2 || a.rank() == b.rank();
  for (int axis = 0; fit && a.rank() == b.rank() && axis < a.rank() - 2; ++axis) fit = a.size(axis) == b.size(axis);
  if (!fit) fail<ShapeError>(op, "leading axes differ", {{name, a.shape()}, {"b", b.shape()}}, site);
}
/// run(a, b) for a stack of solves, where `run` wants equal leading axes. One matrix for all right sides gets them side
/// by side.
template <class T, class Run>
Tensor<T> solve_stack(const Tensor<T>& a, const Tensor<T>& b, const Run& run) {
  if (a.rank() == b.rank()) return run(a, b);
  if (b.rank() == 2) return run(a, broadcast_to(b, a.shape().with(-1, b.size(-1))));
  std::vector<int> there{b.rank() - 2}, back;
  for (int axis = 0; axis < b.rank(); ++axis)
    if (axis != b.rank() - 2) there.push_back(axis);
  for (int axis = 1; axis < b.rank() - 1; ++axis) back.push_back(axis);
  back.push_back(0);
  back.push_back(b.rank() - 1);
  const Tensor<T> across = permute(b, there);
  const Tensor<T> x = run(a, reshape(across, {b.size(-2), stacked_matrices(b) * b.size(-1)}));
  return permute(reshape(x, across.shape()), back);
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

/// x = l^-1 b (or l^-T b) for a lower triangular `l` [..., n, n], whose upper part is not read. b, x [..., n, columns].
/// ValueError when a diagonal element is zero.
template <Real T>
Tensor<T> triangular_solve(const Tensor<T>& l, const Tensor<T>& b, bool transposed = false,
                           Site site = Site::current()) {
  detail::require_square_stack("triangular_solve", "l", l, site);
  detail::require_right_side("triangular_solve", "l", l, b, site);
  const Index n = l.size(-1);
  for (Index i = 0; i < l.count() / std::max(n, Index{1}); ++i)
    if (l.data()[i * n + i % n] == 0)
      fail("triangular_solve", {"element ", i % n, " of the diagonal is zero"}, {{"l", l.shape()}}, site);
  const auto run = [transposed](const Tensor<T>& lower, const Tensor<T>& right) {
    if (right.count() == 0) return right;
    const Index rows = lower.size(-1);
    Tensor<T> x = detail::stack_of(right, rows * rows * right.size(-1), [&](Index i) -> EigenMatrix<T> {
      const auto matrix = detail::matrix_of(lower, i);
      const auto view = matrix.template triangularView<Eigen::Lower>();
      if (transposed) return view.transpose().solve(detail::matrix_of(right, i));
      return view.solve(detail::matrix_of(right, i));
    });
    if (!recorded(lower, right)) return x;
    return record(
        "triangular_solve", std::move(x),
        Edge(lower,
             [lower, right, transposed](const Tensor<T>& g) {
               const Tensor<T> solution = triangular_solve(lower, right, transposed);
               const Tensor<T> back = triangular_solve(lower, g, !transposed);
               const Tensor<T> outer = transposed ? matmul(solution, back, {.transpose_b = true})
                                                  : matmul(back, solution, {.transpose_b = true});
               return -outer * detail::pattern<T>(lower.size(-1), 1, 1, 0);
             }),
        Edge(right, [lower, transposed](const Tensor<T>& g) { return triangular_solve(lower, g, !transposed); }));
  };
  return detail::solve_stack(l, b, run);
}

/// Lower triangular l with l l^T = a, for symmetric positive definite a [..., n, n] (symmetric parts are used).
/// ValueError when one is not positive definite.
template <Real T>
Tensor<T> cholesky(const Tensor<T>& a, Site site = Site::current()) {
  detail::require_square_stack("cholesky", "a", a, site);
  detail::require_finite("cholesky", a, site);
  if (a.count() == 0) return a;
  const Tensor<T> symmetric = detail::symmetric_part(a);
  const Index n = a.size(-1);
  Tensor<T> l = detail::stack_of(symmetric, n * n * n, [&](Index i) -> EigenMatrix<T> {
    const Eigen::LLT<EigenMatrix<T>> llt(detail::matrix_of(symmetric, i));
    if (llt.info() != Eigen::Success) fail("cholesky", "the matrix is not positive definite", {{"a", a.shape()}}, site);
    return llt.matrixL();
  });
  // Murray, "Differentiation of the Cholesky decomposition", arXiv 1602.07527: l^-T phi(l^T g) l^-1.
  return record("cholesky", std::move(l), Edge(symmetric, [symmetric](const Tensor<T>& g) {
                  const Tensor<T> factor = cholesky(symmetric);
                  const Tensor<T> inner =
                      matmul(factor, g, {.transpose_a = true}) * detail::pattern<T>(factor.size(-1), T(0.5), 1, 0);
                  const Tensor<T> left = triangular_solve(factor, inner, true);
                  return detail::symmetric_part(transpose(triangular_solve(factor, transpose(left), true)));
                }));
}

namespace detail {

/// The factors of a stack of matrices: what `factorise(i)` makes of each.
template <class Factor, class F>
std::shared_ptr<std::vector<Factor>> factors_of(Index count, Index work, const F& factorise) {
  auto factors = std::make_shared<std::vector<Factor>>(static_cast<std::size_t>(count));
  const Index chunk = 1 + 262144 / (work + 1);
  parallel_tasks((count + chunk - 1) / chunk, [&](Index task) {
    for (Index i = task * chunk; i < std::min((task + 1) * chunk, count); ++i)
      (*factors)[static_cast<std::size_t>(i)] = factorise(i);
  });
  return factors;
}

}  // namespace detail

/// x with a x = b. a [..., n, n], b [..., n, columns] -> [..., n, columns]. LU with partial pivoting; the plain
/// backward reuses the factors. ValueError when a matrix is singular to working precision (its reciprocal condition is
/// below the type's epsilon).
template <Real T>
Tensor<T> solve(const Tensor<T>& a, const Tensor<T>& b, Site site = Site::current()) {
  detail::require_square_stack("solve", "a", a, site);
  detail::require_finite("solve", a, site);
  detail::require_right_side("solve", "a", a, b, site);
  const auto run = [site](const Tensor<T>& m, const Tensor<T>& right) {
    using Factor = Eigen::PartialPivLU<EigenMatrix<T>>;
    if (m.count() == 0) return right;
    const Index n = m.size(-1), work = n * n * right.size(-1);
    const auto lu = detail::factors_of<Factor>(detail::stacked_matrices(m), n * n * n, [&](Index i) {
      Factor factor(detail::matrix_of(m, i));
      if (!(factor.rcond() > std::numeric_limits<T>::epsilon()))
        fail("solve", "the matrix is singular", {{"a", m.shape()}}, site);
      return factor;
    });
    if (right.count() == 0) return right;
    const auto of = [lu](Index i) -> const Factor& { return (*lu)[static_cast<std::size_t>(i)]; };
    Tensor<T> x = detail::stack_of(right, work,
                                   [&](Index i) -> EigenMatrix<T> { return of(i).solve(detail::matrix_of(right, i)); });
    if (!recorded(m, right)) return x;
    const auto back = [m, of, work](const Tensor<T>& g) {
      if (recording()) return solve(transpose(m), g);
      return detail::stack_of(
          g, work, [&](Index i) -> EigenMatrix<T> { return of(i).transpose().solve(detail::matrix_of(g, i)); });
    };
    return record("solve", x,
                  Edge(m,
                       [m, right, back, x](const Tensor<T>& g) {
                         const Tensor<T> solution = recording() ? solve(m, right) : x;
                         return -matmul(back(g), solution, {.transpose_b = true});
                       }),
                  Edge(right, back));
  };
  return detail::solve_stack(a, b, run);
}

/// x with a x = b for symmetric positive definite a [..., n, n] (symmetric parts are used). b [..., n, columns]. Half
/// the work of `solve`; the plain backward reuses the factors. ValueError when a matrix is not positive definite.
template <Real T>
Tensor<T> cholesky_solve(const Tensor<T>& a, const Tensor<T>& b, Site site = Site::current()) {
  detail::require_square_stack("cholesky_solve", "a", a, site);
  detail::require_finite("cholesky_solve", a, site);
  detail::require_right_side("cholesky_solve", "a", a, b, site);
  const auto run = [site](const Tensor<T>& m, const Tensor<T>& right) {
    using Factor = Eigen::LLT<EigenMatrix<T>>;
    if (m.count() == 0) return right;
    const Tensor<T> symmetric = detail::symmetric_part(m);
    const Index n = m.size(-1), work = n * n * right.size(-1);
    const auto llt = detail::factors_of<Factor>(detail::stacked_matrices(m), n * n * n, [&](Index i) {
      Factor factor(detail::matrix_of(symmetric, i));
      if (factor.info() != Eigen::Success)
        fail("cholesky_solve", "the matrix is not positive definite", {{"a", m.shape()}}, site);
      return factor;
    });
    if (right.count() == 0) return right;
    const auto solved = [llt, work](const Tensor<T>& g) {
      return detail::stack_of(g, work, [&](Index i) -> EigenMatrix<T> {
        return (*llt)[static_cast<std::size_t>(i)].solve(detail::matrix_of(g, i));
      });
    };
    Tensor<T> x = solved(right);
    if (!recorded(symmetric, right)) return x;
    const auto back = [symmetric, solved](const Tensor<T>& g) {
      return recording() ? cholesky_solve(symmetric, g) : solved(g);
    };
    return record("cholesky_solve", x,
                  Edge(symmetric,
                       [symmetric, right, back, x](const Tensor<T>& g) {
                         const Tensor<T> solution = recording() ? cholesky_solve(symmetric, right) : x;
                         return -detail::symmetric_part(matmul(back(g), solution, {.transpose_b = true}));
                       }),
                  Edge(right, back));
  };
  return detail::solve_stack(a, b, run);
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
  if (b.rank() != 2 || b.size(0) != a.size(0))
    fail<ShapeError>("least_squares", "expected b [rows of a, columns]", {{"a", a.shape()}, {"b", b.shape()}}, site);
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

}  // namespace GRAFT_ABI
}  // namespace graft
