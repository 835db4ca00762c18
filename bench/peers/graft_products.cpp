// Matrix products, by the kernel that `matmul` calls: the other side is a C function too.

#include "graft/backend/cpu/gemm.hpp"
#include "product.hpp"

namespace peers {
namespace {

const bool products = add_product([](const Product& p, float* to) {
  if (p.batch == 1)
    graft::cpu::gemm(p.transpose_a, p.transpose_b, p.m, p.n, p.k, p.a.data(), p.lda(), p.b.data(), p.ldb(), to, p.n);
  else
    graft::cpu::gemm_batched(p.transpose_a, p.transpose_b, p.batch, p.m, p.n, p.k, p.a.data(), p.lda(), p.m * p.k,
                             p.b.data(), p.ldb(), p.k * p.n, to, p.n, p.m * p.n);
});

}  // namespace
}  // namespace peers
