#pragma once
// Factorisations and solves by Eigen, differentiable to any order: every rule is written in ops that are themselves
// here or elsewhere in ops/. Includes Eigen, so it is not part of graft.hpp. A matrix to be factorised that holds a NaN
// or an infinity is an error (ValueError): there is nothing sensible to return. Eigenvalues and singular values are in
// ops/linalg_spectral.hpp.
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

#include "graft/ops/compare.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/matmul.hpp"

// After graft's own headers: number/simd.hpp includes the CPU's intrinsics with a compiler's false warnings off.
#include <Eigen/Cholesky>
#include <Eigen/LU>
#include <Eigen/QR>

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
               return where(tril_mask(lower.size(-1), lower.size(-1)), -outer, 0);  // 0 above, even where outer is NaN
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

// What graft::compiled holds of this header: here and not in graft/compiled_list.inc, which is read without Eigen.
#ifdef GRAFT_COMPILED
#ifndef GRAFT_COMPILED_LINALG
#define GRAFT_COMPILED_LINALG extern template
#endif
#define GRAFT_LINALG_INSTANCES(T)                                                                   \
  GRAFT_COMPILED_LINALG Tensor<T> triangular_solve(const Tensor<T>&, const Tensor<T>&, bool, Site); \
  GRAFT_COMPILED_LINALG Tensor<T> cholesky(const Tensor<T>&, Site);                                 \
  GRAFT_COMPILED_LINALG Tensor<T> solve(const Tensor<T>&, const Tensor<T>&, Site);                  \
  GRAFT_COMPILED_LINALG Tensor<T> cholesky_solve(const Tensor<T>&, const Tensor<T>&, Site);         \
  GRAFT_COMPILED_LINALG Tensor<T> detail::gram_solve(const Tensor<T>&, const Tensor<T>&);           \
  GRAFT_COMPILED_LINALG Tensor<T> least_squares(const Tensor<T>&, const Tensor<T>&, Site);
GRAFT_LINALG_INSTANCES(float)
GRAFT_LINALG_INSTANCES(double)
#undef GRAFT_LINALG_INSTANCES
#endif

}  // namespace GRAFT_ABI
}  // namespace graft
