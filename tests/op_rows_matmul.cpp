// Rows for matrix products (ops/matmul.hpp).

#include "graft/ops/matmul.hpp"
#include "op_table.hpp"

using namespace graft;

namespace {

/// op(a) op(b) for each of the leading sizes, which broadcast; a vector is a row or a column.
Tensor<double> product(const Arrays& x, bool ta, bool tb) {
  Shape a = x[0].shape(), b = x[1].shape();
  const bool row = a.rank() == 1, column = b.rank() == 1;
  if (row) a = {1, a[0]}, ta = false;
  if (column) b = {b[0], 1}, tb = false;
  const auto leading = [](const Shape& shape) {
    return Shape(std::span<const Index>(shape.begin(), static_cast<std::size_t>(shape.rank() - 2)));
  };
  const Index m = a[ta ? -1 : -2], k = a[ta ? -2 : -1], n = b[tb ? -2 : -1];
  Shape shape;
  broadcast_shapes(leading(a), leading(b), shape);
  const Shape products = shape;
  if (!row) shape.push_back(m);
  if (!column) shape.push_back(n);
  std::vector<double> out(shape.count(), 0.0);
  for (Index s = 0; s < products.count(); ++s) {
    const auto which = static_cast<std::size_t>(s);
    const double* in_a = x[0].data() + static_cast<Index>(broadcast_offset(which, products, leading(a))) * m * k;
    const double* in_b = x[1].data() + static_cast<Index>(broadcast_offset(which, products, leading(b))) * k * n;
    for (Index i = 0; i < m; ++i)
      for (Index j = 0; j < n; ++j)
        for (Index l = 0; l < k; ++l)
          out[(s * m + i) * n + j] += in_a[ta ? l * m + i : i * k + l] * in_b[tb ? j * k + l : l * n + j];
  }
  return array(shape, out);
}
template <bool ta, bool tb>
OpRow matmul_row(const char* name) {
  const auto swap = [](Shape shape, bool transposed) {
    if (transposed) std::swap(shape[-1], shape[-2]);
    return shape;
  };
  const auto shapes = [swap](Shape a, Shape b) { return std::vector<Shape>{swap(a, ta), swap(b, tb)}; };
  OpRow row{.name = name,
            .family = "matmul",
            .call = [](const auto& x) { return matmul(x[0], x[1], {.transpose_a = ta, .transpose_b = tb}); },
            .inputs = {{swap({3, 5}, ta)}, {swap({5, 4}, tb)}},
            .reference = [](const Arrays& x) { return product(x, ta, tb); },
            .variants = {shapes({4, 4}, {4, 4}), shapes({1, 1}, {1, 1}), shapes({1, 7}, {7, 3}), shapes({9, 1}, {1, 5}),
                         shapes({0, 3}, {3, 4}), shapes({2, 0}, {0, 3}), shapes({2, 3}, {3, 0}),
                         shapes({2, 3, 5}, {2, 5, 4}), shapes({2, 3, 5}, {5, 4}), shapes({3, 5}, {2, 5, 4}),
                         shapes({2, 3, 2, 2}, {2, 3, 2, 2}), shapes({0, 3, 5}, {5, 4}), shapes({0, 3, 5}, {0, 5, 4}),
                         shapes({1, 3, 5}, {2, 5, 4}), shapes({2, 3, 5}, {1, 5, 4}), shapes({2, 1, 2, 3}, {4, 3, 2}),
                         shapes({4, 2, 3}, {2, 1, 3, 2}), shapes({2, 1, 3, 2, 2}, {3, 1, 2, 2}),
                         shapes({0, 1, 2, 2}, {3, 2, 2}), shapes({2, 1, 0, 2}, {3, 2, 2}),
                         shapes({2, 1, 2, 0}, {3, 0, 2})},
            .large = shapes({150, 140}, {140, 130}),
            .errors = {bad<ShapeError>([](const auto& x) { matmul(sum(x[0]), x[1]); }, "rank 1 or more"),
                       bad<ShapeError>([](const auto& x) { matmul(reshape(x[0], {15}), x[1]); }, "a [15]"),
                       bad<ShapeError>([](const auto& x) { matmul(x[0], zeros<ScalarOf<decltype(x)>>({8})); }, "b [8]"),
                       bad<ShapeError>(
                           [](const auto& x) {
                             matmul(x[0], zeros<ScalarOf<decltype(x)>>({6, 6}), {.transpose_a = ta, .transpose_b = tb});
                           },
                           "inner sizes differ, 5 and 6"),
                       bad<ShapeError>(
                           [](const auto& x) {
                             using T = ScalarOf<decltype(x)>;
                             matmul(zeros<T>({2, 3, 3}), zeros<T>({4, 3, 3}));
                           },
                           "leading sizes do not broadcast\n  a [2, 3, 3]")}};
  if (!ta) row.rows_of = {0};
  return row;
}
/// Vectors take flags of their own as no transposition.
template <bool ta, bool tb>
OpRow vector_row(const char* name, std::vector<Shape> shapes, std::vector<std::vector<Shape>> variants,
                 std::vector<Shape> large) {
  return {.name = name,
          .family = "matmul",
          .call = [](const auto& x) { return matmul(x[0], x[1], {.transpose_a = ta, .transpose_b = tb}); },
          .inputs = {{shapes[0]}, {shapes[1]}},
          .reference = [](const Arrays& x) { return product(x, ta, tb); },
          .variants = std::move(variants),
          .large = std::move(large),
          .errors = {bad<ShapeError>([](const auto& x) { matmul(x[0], zeros<ScalarOf<decltype(x)>>({8})); }, "b [8]"),
                     bad<ShapeError>([](const auto& x) { matmul(zeros<ScalarOf<decltype(x)>>({8}), x[1]); },
                                     "inner sizes differ, 8 and")}};
}
OpRow broadcast_row() {
  OpRow row = vector_row<false, false>("matmul, broadcast", {{2, 1, 3, 4}, {3, 4, 2}}, {},
                                       {{4, 1, 30, 70}, {5, 70, 60}});
  row.rows_of = {0};
  return row;
}
const bool product_rows =
    add_op_rows({matmul_row<false, false>("matmul"), matmul_row<true, false>("matmul, a transposed"),
                 matmul_row<false, true>("matmul, b transposed"), matmul_row<true, true>("matmul, both transposed"),
                 vector_row<true, true>("matmul, vectors", {{5}, {5}}, {{{0}, {0}}, {{1}, {1}}}, {{70000}, {70000}}),
                 vector_row<false, true>("matmul, matrix and vector", {{3, 5}, {5}},
                                         {{{2, 3, 5}, {5}}, {{0, 5}, {5}}, {{2, 0}, {0}}, {{1, 1}, {1}}, {{1, 4}, {4}}},
                                         {{900, 1300}, {1300}}),
                 vector_row<true, false>("matmul, transposed matrix and vector", {{5, 3}, {5}},
                                         {{{2, 5, 3}, {5}}, {{5, 0}, {5}}, {{0, 2}, {0}}, {{1, 1}, {1}}},
                                         {{1300, 900}, {1300}}),
                 vector_row<true, false>("matmul, vector and matrix", {{5}, {5, 3}},
                                         {{{5}, {2, 5, 3}}, {{5}, {5, 0}}, {{0}, {0, 2}}, {{1}, {1, 1}}, {{4}, {4, 1}}},
                                         {{1300}, {1300, 900}}),
                 vector_row<false, true>("matmul, vector and transposed matrix", {{5}, {3, 5}},
                                         {{{5}, {2, 3, 5}}, {{0}, {2, 0}}, {{1}, {1, 1}}}, {{1300}, {900, 1300}}),
                 broadcast_row()});

}  // namespace
