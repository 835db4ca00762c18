#pragma once
// The work "product" of both C++ programs: c [batch, m, n] = op(a) op(b) for every one of the batch.

#include "work.hpp"

namespace peers {

/// Sizes and operands, matrices one behind the other, rows without gaps.
struct Product {
  Index batch, m, n, k;
  bool transpose_a, transpose_b;
  Tensor<float> a, b, c;

  explicit Product(const Inputs& in)
      : batch(in.number("batch")),
        m(in.number("m")),
        n(in.number("n")),
        k(in.number("k")),
        transpose_a(in.number("transpose_a") != 0),
        transpose_b(in.number("transpose_b") != 0),
        a(in.tensor("a")),
        b(in.tensor("b")),
        c(graft::zeros<float>({batch, m, n})) {}
  Index lda() const { return transpose_a ? m : k; }
  Index ldb() const { return transpose_b ? k : n; }
};

/// Adds the work; `multiply(product, to)` is one repetition, which writes to the numbers of c.
template <class Multiply>
bool add_product(Multiply multiply) {
  return add_work("product", [=](const Inputs& in) {
    const auto product = std::make_shared<Product>(in);
    return Work{[=] { multiply(*product, graft::detail::writable(product->c)); },
                [=] { return Results{{"c", product->c}}; }};
  });
}

}  // namespace peers
