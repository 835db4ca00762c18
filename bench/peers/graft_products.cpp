// Matrix products, by the kernel that `matmul` calls: the other side is a C function too.

#include "graft/backend/cpu/gemm.hpp"
#include "work.hpp"

namespace peers {
namespace {

/// c [batch, m, n] = op(a) op(b) for every one of the batch.
const bool products = add_work("product", [](const Inputs& in) {
  const Index batch = in.number("batch"), m = in.number("m"), n = in.number("n"), k = in.number("k");
  const bool ta = in.number("transpose_a") != 0, tb = in.number("transpose_b") != 0;
  const Tensor<float> a = in.tensor("a"), b = in.tensor("b");
  Tensor<float> c = graft::zeros<float>({batch, m, n});
  const auto step = [=]() mutable {
    float* const to = graft::detail::writable(c);
    const Index lda = ta ? m : k, ldb = tb ? k : n;
    if (batch == 1)
      graft::cpu::gemm(ta, tb, m, n, k, a.data(), lda, b.data(), ldb, to, n);
    else
      graft::cpu::gemm_batched(ta, tb, batch, m, n, k, a.data(), lda, m * k, b.data(), ldb, k * n, to, n, m * n);
  };
  return Work{step, [c] { return Results{{"c", array_of(c)}}; }};
});

}  // namespace
}  // namespace peers
