#pragma once
// Matrix products with transpose flags, batched over leading axes, which broadcast. The derivative of a product is two
// products.

#include "graft/core/refuse.hpp"
#include "graft/backend/cpu/gemm.hpp"
#include "graft/core/list.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Which operands of `matmul` are read transposed (their last two axes swapped), without a copy.
struct MatmulOptions {
  bool transpose_a = false;
  bool transpose_b = false;
};

namespace detail {

/// The sizes of the axes before the last two.
inline Shape leading_sizes(const Shape& shape) {
  Shape leading;
  for (int axis = 0; axis < shape.rank() - 2; ++axis) leading.push_back(shape[axis]);
  return leading;
}
/// Which of an operand's matrices each product reads, when its leading sizes `own` broadcast to `joined`.
inline List<Index> broadcast_matrices(const Shape& own, const Shape& joined) {
  List<Index> which(joined.count(), 0);
  Index step = 1, inner = 1;  // matrices in an operand, and products, per step of an axis
  for (int axis = 1; axis <= own.rank(); ++axis) {
    const Index size = joined[-axis];
    if (own[-axis] != 1)
      for (Index i = 0; i < which.size(); ++i) which[i] += i / inner % size * step;
    step *= own[-axis];
    inner *= size;
  }
  return which;
}

}  // namespace detail

/// op(a) op(b): [..., m, k] [..., k, n] -> [..., m, n], where leading axes broadcast by the NumPy rule. A vector is a
/// row on the left and a column on the right, whatever its flag, and the result goes without that axis: [k] [k] -> [],
/// [..., m, k] [k] -> [..., m], [k] [..., k, n] -> [..., n]. Summation over k is in fixed blocks: bits depend on
/// neither threads nor the number of rows. Throws ShapeError.
template <Real T>
Tensor<T> matmul(const Tensor<T>& a, const Tensor<T>& b, MatmulOptions options = {}, Site site = Site::current()) {
  const int rank_a = a.rank(), rank_b = b.rank();
  if (rank_a == 0 || rank_b == 0)
    fail<ShapeError>("matmul", "operands need rank 1 or more", {{"a", a.shape()}, {"b", b.shape()}}, site);
  const bool row = rank_a == 1, column = rank_b == 1;
  const bool ta = options.transpose_a && !row, tb = options.transpose_b && !column;
  const Index k = a.shape()[ta ? -2 : -1], k_b = b.shape()[tb || column ? -1 : -2];
  if (k != k_b)
    fail<ShapeError>("matmul", {"inner sizes differ, ", k, " and ", k_b},
                     {{ta ? "a (transposed)" : "a", a.shape()}, {tb ? "b (transposed)" : "b", b.shape()}}, site);
  if (row || column) {
    const Tensor<T> product = matmul(row ? reshape(a, {1, k}) : a, column ? reshape(b, {k, 1}) : b, {ta, tb}, site);
    Shape shape = product.shape();
    if (row) shape = shape.without(shape.rank() - 2);
    if (column) shape = shape.without(shape.rank() - 1);
    return reshape(product, shape);
  }
  const Index m = a.shape()[ta ? -1 : -2], n = b.shape()[tb ? -2 : -1];
  const Shape of_a = detail::leading_sizes(a.shape()), of_b = detail::leading_sizes(b.shape());
  Shape shape;
  if (!broadcast_shapes(of_a, of_b, shape))
    fail<ShapeError>("matmul", "leading sizes do not broadcast", {{"a", a.shape()}, {"b", b.shape()}}, site);
  const Shape leading = shape;
  shape.push_back(m);
  shape.push_back(n);
  // Rows of a batch times one matrix are one long product.
  if (rank_a > 2 && rank_b == 2 && !ta)
    return reshape(matmul(reshape(a, {leading.count() * m, k}), b, {ta, tb}, site), shape, site);

  Tensor<T> value = detail::fresh<T>(shape, "matmul", site);
  const Index batch = leading.count(), lda = a.shape()[-1], ldb = b.shape()[-1];
  const auto in_order = [&](const Shape& own) { return own == leading || own.count() == 1; };
  if (batch == 1) {
    cpu::gemm(ta, tb, m, n, k, a.data(), lda, b.data(), ldb, detail::writable(value), n);
  } else if (in_order(of_a) && in_order(of_b)) {
    cpu::gemm_batched(ta, tb, batch, m, n, k, a.data(), lda, of_a.count() == 1 ? 0 : m * k, b.data(), ldb,
                      of_b.count() == 1 ? 0 : k * n, detail::writable(value), n, m * n);
  } else if (value.count() > 0) {
    const List<Index> in_a = detail::broadcast_matrices(of_a, leading);
    const List<Index> in_b = detail::broadcast_matrices(of_b, leading);
    cpu::gemm_each(batch, m * n * (k + 1), [&](Index i) {
      cpu::gemm(ta, tb, m, n, k, a.data() + in_a[i] * m * k, lda, b.data() + in_b[i] * k * n, ldb,
                detail::writable(value) + i * m * n, n);
    });
  }
  if (!recorded(a, b)) return value;
  return record("matmul", std::move(value),
                Edge(a,
                     [b, ta, tb, own = a.shape()](const Tensor<T>& g) {
                       return sum_to(ta ? matmul(b, g, {tb, true}) : matmul(g, b, {false, !tb}), own);
                     }),
                Edge(b, [a, ta, tb, own = b.shape()](const Tensor<T>& g) {
                  return sum_to(tb ? matmul(g, a, {true, ta}) : matmul(a, g, {!ta, false}), own);
                }));
}

/// Refused at compile time.
template <class T, class U>
  requires(!Real<T> || !std::is_same_v<T, U>)
Tensor<T> matmul(const Tensor<T>& a, const Tensor<U>&, MatmulOptions = {}, Site = {}) {
  return detail::refuse_types<T, U>(a);
}

}  // namespace GRAFT_ABI
}  // namespace graft
