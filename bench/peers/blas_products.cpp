// The same products by a BLAS in a shared library, named by the environment variables PEERS_BLAS (its path) and
// PEERS_BLAS_PREFIX (of its symbols), or by Eigen when there is none.

#include <dlfcn.h>

#include <cstdlib>
#include <stdexcept>

#include <Eigen/Core>

#include "work.hpp"

namespace peers {
namespace {

constexpr int kRowMajor = 101, kPlain = 111, kTransposed = 112;
using Sgemm = void (*)(int order, int ta, int tb, int m, int n, int k, float alpha, const float* a, int lda,
                       const float* b, int ldb, float beta, float* c, int ldc);
/// MKL's only.
using SgemmBatch = void (*)(int order, int ta, int tb, int m, int n, int k, float alpha, const float* a, int lda,
                            int stride_a, const float* b, int ldb, int stride_b, float beta, float* c, int ldc,
                            int stride_c, int batch);

template <class F>
F symbol(const char* name) {
  const char* const path = std::getenv("PEERS_BLAS");
  if (!path) return nullptr;
  void* const library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
  if (!library) throw std::runtime_error(dlerror());
  const char* const prefix = std::getenv("PEERS_BLAS_PREFIX");
  return reinterpret_cast<F>(dlsym(library, ((prefix ? prefix : "") + std::string(name)).c_str()));
}

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

void eigen_product(bool ta, bool tb, Index m, Index n, Index k, const float* a, const float* b, float* c) {
  const Eigen::Map<const Matrix> left(a, ta ? k : m, ta ? m : k), right(b, tb ? n : k, tb ? k : n);
  Eigen::Map<Matrix> to(c, m, n);
  if (ta && tb)
    to.noalias() = left.transpose() * right.transpose();
  else if (ta)
    to.noalias() = left.transpose() * right;
  else if (tb)
    to.noalias() = left * right.transpose();
  else
    to.noalias() = left * right;
}

const bool products = add_work("product", [](const Inputs& in) {
  const Index batch = in.number("batch"), m = in.number("m"), n = in.number("n"), k = in.number("k");
  const bool ta = in.number("transpose_a") != 0, tb = in.number("transpose_b") != 0;
  const Tensor<float> a = in.tensor("a"), b = in.tensor("b");
  Tensor<float> c = graft::zeros<float>({batch, m, n});
  const auto sgemm = symbol<Sgemm>("cblas_sgemm");
  const auto many = symbol<SgemmBatch>("cblas_sgemm_batch_strided");
  const auto step = [=]() mutable {
    const auto i = [](Index size) { return static_cast<int>(size); };
    float* const to = graft::detail::writable(c);
    const int lda = i(ta ? m : k), ldb = i(tb ? k : n);
    const int a_order = ta ? kTransposed : kPlain, b_order = tb ? kTransposed : kPlain;
    if (batch > 1 && many) {
      many(kRowMajor, a_order, b_order, i(m), i(n), i(k), 1, a.data(), lda, i(m * k), b.data(), ldb, i(k * n), 0, to,
           i(n), i(m * n), i(batch));
      return;
    }
    for (Index p = 0; p < batch; ++p)
      if (sgemm)
        sgemm(kRowMajor, a_order, b_order, i(m), i(n), i(k), 1, a.data() + p * m * k, lda, b.data() + p * k * n, ldb, 0,
              to + p * m * n, i(n));
      else
        eigen_product(ta, tb, m, n, k, a.data() + p * m * k, b.data() + p * k * n, to + p * m * n);
  };
  return Work{step, [c] { return Results{{"c", array_of(c)}}; }};
});

}  // namespace
}  // namespace peers
