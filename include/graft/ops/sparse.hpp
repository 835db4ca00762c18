#pragma once
// Matrices of constants that are mostly zeros (bags of words, normalised adjacency) and their products with tensors.

#include "graft/backend/cpu/sparse.hpp"
#include "graft/ops/csr.hpp"
#include "graft/ops/dropout.hpp"
#include "graft/ops/matmul.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// A constant matrix [rows, columns] in compressed rows, both ways round: number e stands where edge e of `pattern`
/// leads, from its column (source) to its row (destination). A cheap handle; no gradient flows to the numbers.
template <Real T = float>
class SparseMatrix {
 public:
  /// values[e] at (row[e], column[e]), in any order; those of equal places add up. `row`, `column`, `values` [entries].
  /// Throws ShapeError, IndexError for a place outside the matrix.
  template <Integer I>
  static SparseMatrix from_coordinates(Index rows, Index columns, const Tensor<I>& row, const Tensor<I>& column,
                                       const Tensor<T>& values, Site site = Site::current()) {
    const char* op = "SparseMatrix::from_coordinates";
    if (values.rank() != 1 || !(row.shape() == values.shape()) || !(column.shape() == values.shape()))
      fail<ShapeError>(op, "row, column and values must be lists of one length",
                       {{"row", row.shape()}, {"column", column.shape()}, {"values", values.shape()}}, site);
    std::vector<GraphEdge> edges;
    for (Index e = 0; e < values.count(); ++e) edges.push_back({column.data()[e], row.data()[e]});
    check_places(op, rows, columns, edges, site);
    return in_given_order(Graph(columns, rows, edges, site), values, site);
  }
  /// Compressed rows, as SciPy's csr_matrix((values, columns, offsets)): the numbers of row i are those from offsets[i]
  /// up to offsets[i + 1], in any order of their columns. `offsets` [rows + 1], `column` and `values` [entries]. Throws
  /// ShapeError, IndexError for a column outside the matrix, ValueError unless the offsets rise from 0 to the entries.
  template <Integer I>
  static SparseMatrix from_csr(Index columns, const Tensor<I>& offsets, const Tensor<I>& column,
                               const Tensor<T>& values, Site site = Site::current()) {
    const char* op = "SparseMatrix::from_csr";
    if (values.rank() != 1 || !(column.shape() == values.shape()) || offsets.rank() != 1 || offsets.count() == 0)
      fail<ShapeError>(op, "offsets must be [rows + 1], columns and values lists of one length",
                       {{"offsets", offsets.shape()}, {"column", column.shape()}, {"values", values.shape()}}, site);
    const Index rows = offsets.count() - 1;
    const I* const from = offsets.data();
    bool rising = from[0] == 0 && from[rows] == values.count();
    for (Index i = 0; i < rows; ++i) rising = rising && from[i] <= from[i + 1];
    if (!rising) fail(op, {"offsets must rise from 0 to the number of values, ", values.count()}, {}, site);
    std::vector<GraphEdge> edges;
    for (Index i = 0; i < rows; ++i)
      for (Index e = from[i]; e < from[i + 1]; ++e) edges.push_back({column.data()[e], i});
    check_places(op, rows, columns, edges, site);
    return in_given_order(Graph(columns, rows, edges, site), values, site);
  }
  /// A number for each edge of a graph, [edges], in the order of the list that the graph was made from; those of equal
  /// edges add up. Throws ShapeError.
  SparseMatrix(const Graph& pattern, const Tensor<T>& values, Site site = Site::current())
      : SparseMatrix(in_given_order(pattern, values, site)) {}
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

  /// Other numbers [edges] on the same pattern, in destination order as `values` has them. Throws ShapeError.
  SparseMatrix with_values(const Tensor<T>& values, Site site = Site::current()) const {
    check_values(pattern_, values, site);
    SparseMatrix result = *this;
    result.values_ = values.detach();
    return result;
  }

 private:
  SparseMatrix() = default;
  static void check_values(const Graph& pattern, const Tensor<T>& values, Site site) {
    if (!(values.shape() == Shape{pattern.edges()}))
      fail<ShapeError>("SparseMatrix", {"values must be one number for each of ", pattern.edges(), " edges"},
                       {{"values", values.shape()}}, site);
  }
  static void check_places(const char* op, Index rows, Index columns, const std::vector<GraphEdge>& edges, Site site) {
    for (const GraphEdge& edge : edges)
      if (edge.source < 0 || edge.source >= columns || edge.destination < 0 || edge.destination >= rows)
        fail<IndexError>(op,
                         {"a number at row ", edge.destination, ", column ", edge.source, " of ", rows, " x ", columns},
                         {}, site);
  }
  static SparseMatrix in_given_order(const Graph& pattern, const Tensor<T>& values, Site site) {
    check_values(pattern, values, site);
    SparseMatrix result;
    result.pattern_ = pattern;
    Tensor<T> sorted = detail::fresh<T>(values.shape());
    for (Index e = 0; e < values.count(); ++e)
      detail::writable(sorted)[e] = values.data()[pattern.input_order().data()[e]];
    result.values_ = sorted;
    return result;
  }
  Graph pattern_;
  Tensor<T> values_;
};

/// op(a) op(b) for a sparse a: [m, k] [k, n] -> [m, n], or [m, k] [k] -> [m]. Zeros of `a`, stored or not, count for
/// nothing, against infinities too. Sums run in the order of the columns of op(a). Throws ShapeError.
template <Real T>
Tensor<T> matmul(const SparseMatrix<T>& a, const Tensor<T>& b, MatmulOptions options = {},
                 Site site = Site::current()) {
  const bool ta = options.transpose_a, column = b.rank() == 1, tb = options.transpose_b && !column;
  const Index m = ta ? a.columns() : a.rows(), k = ta ? a.rows() : a.columns();
  if (b.rank() < 1 || b.rank() > 2 || b.size(tb ? 1 : 0) != k)
    fail<ShapeError>("matmul", {"the dense operand must be a matrix or vector of ", k, " rows"},
                     {{ta ? "sparse a (transposed)" : "sparse a", {a.rows(), a.columns()}},
                      {tb ? "b (transposed)" : "b", b.shape()}},
                     site);
  if (column) return reshape(matmul(a, reshape(b, {k, 1}), {.transpose_a = ta}, site), {m});
  if (tb) return matmul(a, transpose(b), {.transpose_a = ta}, site);
  const Graph& graph = a.pattern();
  Tensor<T> value = detail::fresh<T>({m, b.size(1)}, "matmul", site);
  const cpu::GraphArrays arrays = detail::arrays(graph);
  cpu::sparse_product(ta ? arrays.by_source : arrays.by_destination, ta ? arrays.edge_by_source : nullptr,
                      a.values().data(), b.data(), b.size(1), detail::writable(value));
  return record("matmul", std::move(value),
                Edge(b, [a, ta](const Tensor<T>& g) { return matmul(a, g, {.transpose_a = !ta}); }));
}
/// op(a) op(b) for a sparse b: [m, k] [k, n] -> [m, n], or [k] [k, n] -> [n], as the transpose of op(b)^T op(a)^T.
/// Throws ShapeError.
template <Real T>
Tensor<T> matmul(const Tensor<T>& a, const SparseMatrix<T>& b, MatmulOptions options = {},
                 Site site = Site::current()) {
  const bool tb = options.transpose_b, row = a.rank() == 1, ta = options.transpose_a && !row;
  const Index k = tb ? b.columns() : b.rows();
  if (a.rank() < 1 || a.rank() > 2 || a.size(ta || row ? 0 : 1) != k)
    fail<ShapeError>("matmul", {"the dense operand must be a matrix or vector of ", k, " columns"},
                     {{ta ? "a (transposed)" : "a", a.shape()},
                      {tb ? "sparse b (transposed)" : "sparse b", {b.rows(), b.columns()}}},
                     site);
  const Tensor<T> product = matmul(b, a, {.transpose_a = !tb, .transpose_b = !ta}, site);
  return row ? product : transpose(product);
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
  return x.with_values(kept, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
