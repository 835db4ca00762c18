// Rows for linear algebra. References are textbook algorithms in plain loops: Gaussian elimination, Cholesky's
// recurrence, Jacobi rotations. Matrices are drawn well conditioned, so that a result is within a few roundings of the
// exact one.

#include "graft/ops/linalg_spectral.hpp"

#include <algorithm>
#include <cmath>

#include "op_table.hpp"

using namespace graft;

namespace {

// ---- Matrices as nested vectors -------------------------------------------------------------------------------------
using Column = std::vector<double>;
using Matrix = std::vector<Column>;  // rows

Matrix matrix(const Tensor<double>& x) {
  Matrix m(static_cast<std::size_t>(x.size(0)), Column(static_cast<std::size_t>(x.size(1))));
  for (std::size_t i = 0; i < m.size(); ++i)
    for (std::size_t j = 0; j < m[i].size(); ++j) m[i][j] = x.data()[i * m[i].size() + j];
  return m;
}
Tensor<double> result(const Matrix& m, Index columns) {
  Column flat;
  for (const Column& row : m) flat.insert(flat.end(), row.begin(), row.end());
  return array({static_cast<Index>(m.size()), columns}, flat);
}
Matrix flipped(const Matrix& m, std::size_t columns) {
  Matrix t(columns, Column(m.size()));
  for (std::size_t i = 0; i < m.size(); ++i)
    for (std::size_t j = 0; j < columns; ++j) t[j][i] = m[i][j];
  return t;
}
Matrix times(const Matrix& a, const Matrix& b, std::size_t columns) {
  Matrix c(a.size(), Column(columns, 0.0));
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::size_t k = 0; k < b.size(); ++k)
      for (std::size_t j = 0; j < columns; ++j) c[i][j] += a[i][k] * b[k][j];
  return c;
}
/// x with a x = b, by elimination with row pivoting.
Matrix eliminate(Matrix a, Matrix b) {
  const std::size_t n = a.size();
  for (std::size_t k = 0; k < n; ++k) {
    std::size_t pivot = k;
    for (std::size_t i = k; i < n; ++i)
      if (std::abs(a[i][k]) > std::abs(a[pivot][k])) pivot = i;
    std::swap(a[k], a[pivot]);
    std::swap(b[k], b[pivot]);
    for (std::size_t i = 0; i < n; ++i) {
      if (i == k) continue;
      const double factor = a[i][k] / a[k][k];
      for (std::size_t j = 0; j < n; ++j) a[i][j] -= factor * a[k][j];
      for (std::size_t j = 0; j < b[i].size(); ++j) b[i][j] -= factor * b[k][j];
    }
  }
  for (std::size_t i = 0; i < n; ++i)
    for (double& v : b[i]) v /= a[i][i];
  return b;
}
/// Singular values and vectors of a [m, n], m >= n, by one-sided Jacobi rotations; values descending, largest component
/// of each v positive.
struct Triple {
  Matrix u;
  Column values;
  Matrix v;
};
Triple jacobi_svd(Matrix a, std::size_t n) {
  const std::size_t m = a.size();
  Matrix v(n, Column(n, 0.0));
  for (std::size_t i = 0; i < n; ++i) v[i][i] = 1;
  const auto inner = [&](std::size_t p, std::size_t q) {
    double sum = 0;
    for (std::size_t i = 0; i < m; ++i) sum += a[i][p] * a[i][q];
    return sum;
  };
  for (int sweep = 0; sweep < 40; ++sweep)
    for (std::size_t p = 0; p < n; ++p)
      for (std::size_t q = p + 1; q < n; ++q) {
        const double angle = 0.5 * std::atan2(2 * inner(p, q), inner(p, p) - inner(q, q));
        const double c = std::cos(angle), s = std::sin(angle);
        const auto turn = [&](Column& row) {
          const double x = row[p], y = row[q];
          row[p] = c * x + s * y;
          row[q] = c * y - s * x;
        };
        for (Column& row : a) turn(row);
        for (Column& row : v) turn(row);
      }
  std::vector<std::size_t> order(n);
  for (std::size_t j = 0; j < n; ++j) order[j] = j;
  std::sort(order.begin(), order.end(), [&](std::size_t p, std::size_t q) { return inner(p, p) > inner(q, q); });
  Triple out{Matrix(m, Column(n)), Column(n), Matrix(n, Column(n))};
  for (std::size_t j = 0; j < n; ++j) {
    out.values[j] = std::sqrt(inner(order[j], order[j]));
    for (std::size_t i = 0; i < m; ++i) out.u[i][j] = a[i][order[j]] / out.values[j];
    for (std::size_t i = 0; i < n; ++i) out.v[i][j] = v[i][order[j]];
  }
  return out;
}
void make_largest_positive(Matrix& vectors, Matrix* partner = nullptr) {
  for (std::size_t j = 0; !vectors.empty() && j < vectors[0].size(); ++j) {
    double largest = 0;
    for (const Column& row : vectors)
      if (std::abs(row[j]) > std::abs(largest)) largest = row[j];
    if (largest > 0) continue;
    for (Column& row : vectors) row[j] *= -1;
    if (partner)
      for (Column& row : *partner) row[j] *= -1;
  }
}

// ---- Matrices of one kind from any numbers, in ops and in loops -----------------------------------------------------
/// x + n I: dominated by its diagonal; its symmetric part is positive definite.
template <class T>
Tensor<T> dominant(const Tensor<T>& x) {
  return x + eye<T>(x.size(-1)) * static_cast<T>(x.size(-1) + 1);
}
Matrix dominant_matrix(const Tensor<double>& x) {
  Matrix m = matrix(x);
  for (std::size_t i = 0; i < m.size(); ++i) m[i][i] += static_cast<double>(m.size() + 1);
  return m;
}
/// x [m, n] plus 3, 6, 9 ... on the diagonal: singular values (and, of the symmetric part, eigenvalues) apart.
template <class T>
Tensor<T> graded(const Tensor<T>& x) {
  Tensor<T> shift = zeros<T>(x.shape());
  for (Index i = 0; i < std::min(x.size(0), x.size(1)); ++i)
    detail::writable(shift)[i * x.size(1) + i] = static_cast<T>(3 + 3 * i);
  return x + shift;
}
Matrix graded_matrix(const Tensor<double>& x) {
  Matrix m = matrix(x);
  for (std::size_t i = 0; i < m.size() && i < m[i].size(); ++i) m[i][i] += 3.0 + 3.0 * static_cast<double>(i);
  return m;
}
Matrix symmetric(Matrix m) {
  const Matrix before = m;
  for (std::size_t i = 0; i < m.size(); ++i)
    for (std::size_t j = 0; j < m.size(); ++j) m[i][j] = 0.5 * (before[i][j] + before[j][i]);
  return m;
}
Triple graded_svd(const Tensor<double>& x) {
  const auto columns = static_cast<std::size_t>(x.size(1));
  Triple out;
  if (x.size(0) >= x.size(1)) {
    out = jacobi_svd(graded_matrix(x), columns);
  } else {
    out = jacobi_svd(flipped(graded_matrix(x), columns), static_cast<std::size_t>(x.size(0)));
    std::swap(out.u, out.v);
  }
  make_largest_positive(out.v, &out.u);
  return out;
}
/// Eigenvalues (ascending) and vectors of the symmetric part of a graded matrix, which is positive definite here: its
/// singular value decomposition, backwards.
Triple graded_eigen(const Tensor<double>& x) {
  Matrix a = symmetric(graded_matrix(x));
  const double shift = 20;  // makes every symmetric test matrix positive definite
  for (std::size_t i = 0; i < a.size(); ++i) a[i][i] += shift;
  Triple out = jacobi_svd(a, a.size());
  std::reverse(out.values.begin(), out.values.end());
  for (double& value : out.values) value -= shift;
  for (Column& row : out.v) std::reverse(row.begin(), row.end());
  make_largest_positive(out.v);
  return out;
}

/// f(matrix of a, matrix of b) for every matrix of two stacks; one of rank 2 serves all of the other.
template <class F>
Tensor<double> stacked(const Tensor<double>& a, const Tensor<double>& b, F f) {
  const Tensor<double>& longer = a.rank() > 2 ? a : b;
  Shape shape = longer.shape();
  shape[-2] = a.size(-1);
  shape[-1] = b.size(-1);
  const auto matrix_in = [](const Tensor<double>& x, Index i) {
    const Index size = x.size(-2) * x.size(-1), from = x.rank() > 2 ? i * size : 0;
    return array({x.size(-2), x.size(-1)}, {x.data() + from, x.data() + from + size});
  };
  std::vector<double> out;
  Index count = 1;
  for (int axis = 0; axis < longer.rank() - 2; ++axis) count *= longer.size(axis);
  for (Index i = 0; i < count; ++i) {
    const Tensor<double> one = f(matrix_in(a, i), matrix_in(b, i));
    out.insert(out.end(), one.span().begin(), one.span().end());
  }
  return array(shape, out);
}
/// The same matrices and right sides in stacks, and stacks whose leading axes do not fit.
const std::vector<std::vector<Shape>> stacks = {{{2, 3, 3}, {2, 3, 2}}, {{3, 3}, {2, 2, 3, 2}}, {{2, 3, 3}, {3, 2}},
                                                {{1, 1, 1}, {1, 1, 4}}, {{0, 3, 3}, {0, 3, 2}}, {{2, 0, 0}, {2, 0, 1}}};

std::vector<std::vector<Shape>> with_stacks(std::vector<std::vector<Shape>> variants) {
  variants.insert(variants.end(), stacks.begin(), stacks.end());
  return variants;
}
template <class Op>
auto leading_differ(Op op) {
  return [op](const auto& x) {
    using T = ScalarOf<decltype(x)>;
    op(zeros<T>({2, 3, 3}) + eye<T>(3), zeros<T>({4, 3, 1}));
  };
}

const char* const near_singular = "large numbers that nearly agree make a matrix that is singular to working precision";
const char* const refused = "a matrix that is not finite is refused";
/// A matrix to be factorised.
Input matrix_input(const Shape& shape) {
  return {.shape = shape,
          .never = kShifted | kHuge | kTails | kInfinite | kNaN,
          .because = std::string(near_singular) + "; " + refused};
}

template <class X>
auto not_finite(const X& x) {
  using T = ScalarOf<X>;
  return x[0] + std::numeric_limits<T>::quiet_NaN();
}
#define REFUSES_NAN(op, ...) bad<ValueError>([](const auto& x) { op(not_finite(x) __VA_OPT__(, ) __VA_ARGS__); }, "NaN")

template <bool transposed>
OpRow triangular_row(const char* name) {
  return {.name = name,
          .family = "linalg",
          .call = [](const auto& x) { return triangular_solve(dominant(x[0]), x[1], transposed); },
          .inputs = {{.shape = {4, 4}, .never = kShifted | kHuge | kTails, .because = near_singular}, {{4, 3}}},
          .reference =
              [](const Arrays& x) {
                return stacked(x[0], x[1], [](const Tensor<double>& a, const Tensor<double>& b) {
                  Matrix l = dominant_matrix(a);
                  for (std::size_t i = 0; i < l.size(); ++i)
                    for (std::size_t j = i + 1; j < l.size(); ++j) l[i][j] = 0;  // the upper part is not read
                  return result(eliminate(transposed ? flipped(l, l.size()) : l, matrix(b)), b.size(1));
                });
              },
          .variants = with_stacks({{{1, 1}, {1, 1}}, {{0, 0}, {0, 2}}, {{2, 2}, {2, 0}}, {{3, 3}, {3, 3}}}),
          .large = {{60, 60}, {60, 40}},
          .errors = {bad<ShapeError>([](const auto& x) { triangular_solve(x[1], x[1], transposed); }, "l [4, 3]"),
                     bad<ShapeError>(leading_differ([](const auto& l, const auto& b) {
                                       triangular_solve(l, b, transposed);
                                     }),
                                     "leading axes"),
                     bad<ShapeError>([](const auto& x) { triangular_solve(x[0], slice(x[1], 0, 0, 3), transposed); },
                                     "b [3, 3]"),
                     bad<ValueError>([](const auto& x) { triangular_solve(x[0] * 0, x[1], transposed); },
                                     "diagonal is zero")}};
}

const bool solve_rows = add_op_rows({
    {.name = "solve",
     .family = "linalg",
     .call = [](const auto& x) { return solve(dominant(x[0]), x[1]); },
     .inputs = {matrix_input({4, 4}), {{4, 3}}},
     .reference =
         [](const Arrays& x) {
           return stacked(x[0], x[1], [](const Tensor<double>& a, const Tensor<double>& b) {
             return result(eliminate(dominant_matrix(a), matrix(b)), b.size(1));
           });
         },
     .variants = with_stacks({{{1, 1}, {1, 1}}, {{0, 0}, {0, 2}}, {{2, 2}, {2, 0}}, {{3, 3}, {3, 3}}}),
     .large = {{150, 150}, {150, 40}},
     .errors = {bad<ShapeError>([](const auto& x) { solve(x[1], x[1]); }, "a [4, 3]"),
                bad<ShapeError>([](const auto& x) { solve(reshape(x[0], {16}), x[1]); }, "square"),
                bad<ShapeError>([](const auto& x) { solve(x[0], slice(x[1], 0, 0, 3)); }, "b [3, 3]"),
                bad<ShapeError>([](const auto& x) { solve(x[0], reshape(x[1], {12})); }, "b [12]"),
                bad<ShapeError>(leading_differ([](const auto& a, const auto& b) { solve(a, b); }), "leading axes"),
                bad<ValueError>([](const auto& x) { solve(x[0] * 0 + 1, x[1]); }, "singular"),
                bad<ValueError>(  // rows in arithmetic progression: rank 2, but no pivot is exactly zero
                    [](const auto& x) {
                      solve(reshape(arange<ScalarOf<decltype(x)>>(16) + 0.3, {4, 4}), x[1]);
                    },
                    "singular"),
                REFUSES_NAN(solve, x[1])}},
    {.name = "cholesky_solve",
     .family = "linalg",
     .call = [](const auto& x) { return cholesky_solve(dominant(x[0]), x[1]); },
     .inputs = {matrix_input({4, 4}), {{4, 3}}},
     .reference =
         [](const Arrays& x) {
           return stacked(x[0], x[1], [](const Tensor<double>& a, const Tensor<double>& b) {
             return result(eliminate(symmetric(dominant_matrix(a)), matrix(b)), b.size(1));
           });
         },
     .variants = with_stacks({{{1, 1}, {1, 1}}, {{0, 0}, {0, 2}}, {{2, 2}, {2, 0}}, {{3, 3}, {3, 3}}}),
     .large = {{150, 150}, {150, 40}},
     .errors = {bad<ShapeError>([](const auto& x) { cholesky_solve(x[1], x[1]); }, "a [4, 3]"),
                bad<ShapeError>([](const auto& x) { cholesky_solve(x[0], slice(x[1], 0, 0, 3)); }, "b [3, 3]"),
                bad<ValueError>([](const auto& x) { cholesky_solve(-dominant(x[0]), x[1]); }, "not positive definite"),
                REFUSES_NAN(cholesky_solve, x[1])}},
    {.name = "cholesky",
     .family = "linalg",
     .call = [](const auto& x) { return cholesky(dominant(x[0])); },
     .inputs = {matrix_input({4, 4})},
     .reference =
         [](const Arrays& x) {
           return stacked(x[0], x[0], [](const Tensor<double>& a, const Tensor<double>&) {
             Matrix l = symmetric(dominant_matrix(a));
             for (std::size_t j = 0; j < l.size(); ++j) {
               for (std::size_t k = 0; k < j; ++k)
                 for (std::size_t i = j; i < l.size(); ++i) l[i][j] -= l[i][k] * l[j][k];
               const double root = std::sqrt(l[j][j]);
               for (std::size_t i = j; i < l.size(); ++i) l[i][j] /= root;
               for (std::size_t i = 0; i < j; ++i) l[i][j] = 0;
             }
             return result(l, a.size(0));
           });
         },
     .variants = {{{1, 1}}, {{0, 0}}, {{2, 2}}, {{2, 3, 3}}, {{0, 2, 2}}},
     .large = {{150, 150}},
     .errors = {bad<ShapeError>([](const auto& x) { cholesky(slice(x[0], 0, 0, 3)); }, "a [3, 4]"),
                bad<ValueError>([](const auto& x) { cholesky(dominant(x[0]) * -1); }, "not positive definite"),
                bad<ValueError>([](const auto& x) { cholesky(x[0] * 0 + 1); }, "not positive definite"),  // rank 1
                REFUSES_NAN(cholesky)}},
    {.name = "least_squares",
     .family = "linalg",
     .call = [](const auto& x) { return least_squares(graded(x[0]), x[1]); },
     .inputs = {matrix_input({5, 3}), {{5, 2}}},
     .reference =
         [](const Arrays& x) {  // the normal equations
           const Matrix a = graded_matrix(x[0]), b = matrix(x[1]);
           const auto n = static_cast<std::size_t>(x[0].size(1)), c = static_cast<std::size_t>(x[1].size(1));
           const Matrix t = flipped(a, n);
           return result(eliminate(times(t, a, n), times(t, b, c)), x[1].size(1));
         },
     .variants = {{{3, 3}, {3, 3}}, {{1, 1}, {1, 1}}, {{4, 1}, {4, 0}}, {{3, 0}, {3, 2}}, {{0, 0}, {0, 1}}},
     .large = {{120, 60}, {120, 40}},
     .errors = {bad<ShapeError>([](const auto& x) { least_squares(transpose(x[0]), x[1]); }, "a [3, 5]"),
                bad<ShapeError>([](const auto& x) { least_squares(x[0], slice(x[1], 0, 0, 4)); }, "b [4, 2]"),
                bad<ValueError>([](const auto& x) { least_squares(x[0] * 0 + 1, x[1]); }, "dependent"),
                REFUSES_NAN(least_squares, x[1])}},
    triangular_row<false>("triangular_solve"),
    triangular_row<true>("triangular_solve, transposed"),
});

/// A row about one part of a decomposition of a graded matrix.
template <class Part, class Reference>
OpRow part_row(const char* name, Part part, Reference reference, bool square) {
  OpRow row{.name = name,
            .family = "linalg",
            .call = [part](const auto& x) { return part(graded(x[0])); },
            .inputs = {matrix_input(square ? Shape{4, 4} : Shape{4, 3})},
            .reference = [reference](const Arrays& x) { return reference(x[0]); },
            .variants = {{{3, 3}}, {{1, 1}}, {{0, 0}}},
            .large = {{40, 40}}};
  if (square) {
    row.errors = {bad<ShapeError>([part](const auto& x) { part(slice(x[0], 0, 0, 3)); }, "a [3, 4]"),
                  bad<ValueError>([part](const auto& x) { part(not_finite(x)); }, "NaN")};
  } else {
    row.variants.insert(row.variants.end(), {{{2, 4}}, {{5, 1}}, {{1, 3}}, {{3, 0}}, {{0, 2}}});
    row.large = {{50, 30}};
    row.errors = {bad<ShapeError>([part](const auto& x) { part(reshape(x[0], {12})); }, "a [12]"),
                  bad<ValueError>([part](const auto& x) { part(not_finite(x)); }, "NaN")};
  }
  return row;
}
Index smaller(const Tensor<double>& x) { return std::min(x.size(0), x.size(1)); }

const bool decomposition_rows = add_op_rows({
    part_row(
        "symmetric_eigen, values", [](const auto& a) { return symmetric_eigen(a).values; },
        [](const Tensor<double>& x) { return array({x.size(0)}, graded_eigen(x).values); }, true),
    part_row(
        "symmetric_eigen, vectors", [](const auto& a) { return symmetric_eigen(a).vectors; },
        [](const Tensor<double>& x) { return result(graded_eigen(x).v, x.size(0)); }, true),
    part_row(
        "svd, u", [](const auto& a) { return svd(a).u; },
        [](const Tensor<double>& x) { return result(graded_svd(x).u, smaller(x)); }, false),
    part_row(
        "svd, values", [](const auto& a) { return svd(a).values; },
        [](const Tensor<double>& x) { return array({smaller(x)}, graded_svd(x).values); }, false),
    part_row(
        "svd, v", [](const auto& a) { return svd(a).v; },
        [](const Tensor<double>& x) { return result(graded_svd(x).v, smaller(x)); }, false),
    part_row(
        "svd, product of the parts",
        [](const auto& a) {
          const auto parts = svd(a);
          return matmul(parts.u * reshape(parts.values, {1, parts.values.count()}), parts.v, {.transpose_b = true});
        },
        [](const Tensor<double>& x) { return result(graded_matrix(x), x.size(1)); }, false),
});

const bool conversion_rows = add_op_rows({
    {.name = "from_eigen",
     .family = "linalg",
     .call = [](const auto& x) { return from_eigen(eigen_map(x[0].detach()).transpose()); },
     .inputs = {{{3, 2}}},
     .reference =
         [](const Arrays& x) {
           return result(flipped(matrix(x[0]), static_cast<std::size_t>(x[0].size(1))), x[0].size(0));
         },
     .variants = {{{1, 1}}, {{0, 2}}, {{2, 0}}},
     .large = {{100, 200}},
     .orders = 0},
    {.name = "eigen_map",
     .family = "linalg",
     .call = [](const auto& x) { return from_eigen(eigen_map(x[0]) * 2); },
     .inputs = {{{3}}},
     .reference =
         [](const Arrays& x) {  // a vector is one column
           Column doubled(x[0].span().begin(), x[0].span().end());
           for (double& v : doubled) v *= 2;
           return array({x[0].size(0), x[0].rank() == 2 ? x[0].size(1) : 1}, doubled);
         },
     .variants = {{{1}}, {{0}}, {{2, 3}}, {{2, 0}}},
     .large = {{5000}},
     .errors = {bad<ShapeError>(
         [](const auto& x) {
           eigen_map(reshape(x[0], {1, 3, 1}));
         },
         "x [1, 3, 1]")},
     .orders = 0},
});

}  // namespace
