// Rows for matrix products (ops/matmul.hpp).

#include "graft/ops/matmul.hpp"
#include "op_table.hpp"

using namespace graft;

namespace {

/// op(a) op(b) for each of the leading sizes; an operand of rank 2 serves all products.
Tensor<double> product(const Arrays& x, bool ta, bool tb) {
  const Shape &a = x[0].shape(), &b = x[1].shape();
  const Index m = a[ta ? -1 : -2], k = a[ta ? -2 : -1], n = b[tb ? -2 : -1];
  Shape shape;
  const Shape& leading = a.rank() > 2 ? a : b;
  Index batch = 1;
  for (int axis = 0; axis < leading.rank() - 2; ++axis) shape.push_back(leading[axis]), batch *= leading[axis];
  shape.push_back(m);
  shape.push_back(n);
  std::vector<double> out(static_cast<std::size_t>(shape.count()), 0.0);
  for (Index s = 0; s < batch; ++s)
    for (Index i = 0; i < m; ++i)
      for (Index j = 0; j < n; ++j)
        for (Index l = 0; l < k; ++l)
          out[static_cast<std::size_t>((s * m + i) * n + j)] +=
              x[0].data()[(a.rank() > 2 ? s * m * k : 0) + (ta ? l * m + i : i * k + l)] *
              x[1].data()[(b.rank() > 2 ? s * k * n : 0) + (tb ? j * k + l : l * n + j)];
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
                         shapes({2, 3, 2, 2}, {2, 3, 2, 2}), shapes({0, 3, 5}, {5, 4}), shapes({0, 3, 5}, {0, 5, 4})},
            .large = shapes({150, 140}, {140, 130}),
            .errors = {bad<ShapeError>([](const auto& x) { matmul(reshape(x[0], {15}), x[1]); }, "rank 2"),
                       bad<ShapeError>([](const auto& x) { matmul(x[0], wrong_length(x[0])); }, "b [5]"),
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
                           "leading")}};
  if (!ta) row.rows_of = {0};
  return row;
}
const bool product_rows =
    add_op_rows({matmul_row<false, false>("matmul"), matmul_row<true, false>("matmul, a transposed"),
                 matmul_row<false, true>("matmul, b transposed"), matmul_row<true, true>("matmul, both transposed")});

}  // namespace
