#pragma once
// Matrix products with transpose flags, batched over leading axes. The derivative of a product is two products.

#include "graft/backend/cpu/gemm.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Which operands of `matmul` are read transposed (their last two axes swapped), without a copy.
struct MatmulOptions {
  bool transpose_a = false;
  bool transpose_b = false;
};

/// op(a) op(b): [..., m, k] [..., k, n] -> [..., m, n]. Leading axes are equal, or one operand is a plain matrix that
/// serves all products. Summation over k is in fixed blocks: bits depend on neither threads nor the number of rows.
template <Real T>
Tensor<T> matmul(const Tensor<T>& a, const Tensor<T>& b, MatmulOptions options = {}, Site site = Site::current()) {
  const auto [ta, tb] = options;
  const int rank_a = a.rank(), rank_b = b.rank();
  if (rank_a < 2 || rank_b < 2)
    fail<ShapeError>("matmul", "operands need rank 2 or more", {{"a", a.shape()}, {"b", b.shape()}}, site);
  const Index m = a.shape()[ta ? -1 : -2], k = a.shape()[ta ? -2 : -1];
  const Index n = b.shape()[tb ? -2 : -1], k_b = b.shape()[tb ? -1 : -2];
  if (k != k_b)
    fail<ShapeError>("matmul", {"inner sizes differ, ", k, " and ", k_b},
                     {{ta ? "a (transposed)" : "a", a.shape()}, {tb ? "b (transposed)" : "b", b.shape()}}, site);
  const Shape& leading = rank_a > 2 ? a.shape() : b.shape();
  Shape shape;
  for (int axis = 0; axis < leading.rank() - 2; ++axis) {
    if (rank_a > 2 && rank_b > 2 && (rank_a != rank_b || a.shape()[axis] != b.shape()[axis]))
      fail<ShapeError>("matmul", "leading sizes differ", {{"a", a.shape()}, {"b", b.shape()}}, site);
    shape.push_back(leading[axis]);
  }
  shape.push_back(m);
  shape.push_back(n);
  // Rows of a batch times one matrix are one long product.
  if (rank_a > 2 && rank_b == 2 && !ta)
    return reshape(matmul(reshape(a, {k == 0 ? shape.count() / (n == 0 ? 1 : n) : a.count() / k, k}), b, options, site),
                   shape, site);

  Tensor<T> value = detail::fresh<T>(shape, "matmul", site);
  const Index batch = shape.count() == 0 ? 0 : shape.count() / (m * n);
  const Index lda = a.shape()[-1], ldb = b.shape()[-1];
  if (batch == 1)
    cpu::gemm(ta, tb, m, n, k, a.data(), lda, b.data(), ldb, detail::writable(value), n);
  else if (batch > 1)
    cpu::gemm_batched(ta, tb, batch, m, n, k, a.data(), lda, rank_a > 2 ? m * k : 0, b.data(), ldb,
                      rank_b > 2 ? k * n : 0, detail::writable(value), n, m * n);
  if (!recorded(a, b)) return value;
  return record("matmul", std::move(value),
                Edge(a,
                     [b, ta = ta, tb = tb, own = a.shape()](const Tensor<T>& g) {
                       return sum_to(ta ? matmul(b, g, {tb, true}) : matmul(g, b, {false, !tb}), own);
                     }),
                Edge(b, [a, ta = ta, tb = tb, own = b.shape()](const Tensor<T>& g) {
                  return sum_to(tb ? matmul(g, a, {true, ta}) : matmul(a, g, {!ta, false}), own);
                }));
}
/// Of other element types there is none.
template <class T, class U>
  requires(!Real<T> || !std::is_same_v<T, U>)
Tensor<T> matmul(const Tensor<T>& a, const Tensor<U>&, MatmulOptions = {}, Site = {}) {
  static_assert(std::is_void_v<T>, "matmul wants two tensors of float or two of double: convert by cast<float>(x)");
  return a;
}

}  // namespace GRAFT_ABI
}  // namespace graft
