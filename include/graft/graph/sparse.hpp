#pragma once
// Matrices of constants that are mostly zeros (bags of words, normalised adjacency) and their products with tensors.

#include "graft/backend/cpu/sparse.hpp"
#include "graft/graph/csr.hpp"
#include "graft/ops/dropout.hpp"
#include "graft/ops/matmul.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// A constant matrix [rows, columns] in compressed rows, both ways round: number e stands where edge e of `pattern`
/// leads, from its column (source) to its row (destination). A cheap handle; no gradient flows to the numbers.
template <Real T = float>
class SparseMatrix {
 public:
  /// Numbers [edges], in destination order, on the edges of a graph; those of equal edges add up. Throws ShapeError.
  SparseMatrix(const Graph& pattern, const Tensor<T>& values, Site site = Site::current())
      : pattern_(pattern), values_(values.detach()) {
    if (!(values.shape() == Shape{pattern.edges()}))
      fail<ShapeError>("SparseMatrix", {"values must be one number for each of ", pattern.edges(), " edges"},
                       {{"values", values.shape()}}, site);
  }
  /// The numbers of `dense` [rows, columns] that are not zero. Throws ShapeError.
  explicit SparseMatrix(const Tensor<T>& dense, Site site = Site::current()) {
    if (dense.rank() != 2) fail<ShapeError>("SparseMatrix", "needs a matrix", {{"dense", dense.shape()}}, site);
    const Index rows = dense.size(0), columns = dense.size(1);
    std::vector<GraphEdge> edges;
    std::vector<T> numbers;  // rows and columns in rising order, which is destination order
    for (Index i = 0; i < dense.count(); ++i)
      if (dense.data()[i] != 0) {
        edges.push_back({i % columns, i / columns});
        numbers.push_back(dense.data()[i]);
      }
    pattern_ = Graph(columns, rows, edges, site);
    values_ = from_vector(numbers);
  }

  Index rows() const { return pattern_.destinations(); }
  Index columns() const { return pattern_.sources(); }
  const Graph& pattern() const { return pattern_; }
  /// [edges] in destination order.
  const Tensor<T>& values() const { return values_; }

 private:
  Graph pattern_;
  Tensor<T> values_;
};

/// op(a) op(b) for a sparse a: [m, k] [k, n] -> [m, n]. Zeros of `a`, stored or not, count for nothing,
/// against infinities too. Sums run in the order of the columns of op(a). Throws ShapeError.
template <Real T>
Tensor<T> matmul(const SparseMatrix<T>& a, const Tensor<T>& b, MatmulOptions options = {},
                 Site site = Site::current()) {
  const auto [ta, tb] = options;
  if (tb) return matmul(a, b.rank() == 2 ? transpose(b) : b, {.transpose_a = ta}, site);
  const Index m = ta ? a.columns() : a.rows(), k = ta ? a.rows() : a.columns();
  if (b.rank() != 2 || b.size(0) != k)
    fail<ShapeError>("matmul", {"the dense operand must be a matrix of ", k, " rows"},
                     {{ta ? "sparse a (transposed)" : "sparse a", {a.rows(), a.columns()}}, {"b", b.shape()}}, site);
  const Graph& graph = a.pattern();
  Tensor<T> value = detail::fresh<T>({m, b.size(1)}, "matmul", site);
  const cpu::GraphArrays arrays = detail::arrays(graph);
  cpu::sparse_product(ta ? arrays.by_source : arrays.by_destination, ta ? arrays.edge_by_source : nullptr,
                      a.values().data(), b.data(), b.size(1), detail::writable(value));
  return record("matmul", std::move(value),
                Edge(b, [a, ta = ta](const Tensor<T>& g) { return matmul(a, g, {.transpose_a = !ta}); }));
}

/// Drops what `dropout` drops from the whole matrix: the same numbers are kept and scaled. Numbers of equal edges share
/// their place, and so their fate.
template <Real T>
SparseMatrix<T> dropout(const SparseMatrix<T>& x, double rate, const Random& random, Site site = Site::current()) {
  detail::check_dropout_rate(rate, {x.rows(), x.columns()}, site);
  if (rate == 0) return x;
  Tensor<T> kept = detail::fresh<T>(x.values().shape());
  cpu::sparse_dropout(detail::arrays(x.pattern()).by_destination, x.columns(), x.values().data(), random.bits(0),
                      detail::dropout_threshold(rate), static_cast<T>(1 / (1 - rate)), detail::writable(kept));
  return SparseMatrix<T>(x.pattern(), kept, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
