// The same products by a BLAS in a shared library, named by the environment variables PEERS_BLAS (its path) and
// PEERS_BLAS_PREFIX (of its symbols), or by Eigen when there is none.

#include <dlfcn.h>

#include <cstdlib>
#include <stdexcept>

#include <Eigen/Core>

#include "product.hpp"

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

void eigen_product(const Product& p, const float* a, const float* b, float* c) {
  const Eigen::Map<const Matrix> left(a, p.transpose_a ? p.k : p.m, p.lda());
  const Eigen::Map<const Matrix> right(b, p.transpose_b ? p.n : p.k, p.ldb());
  Eigen::Map<Matrix> to(c, p.m, p.n);
  if (p.transpose_a && p.transpose_b)
    to.noalias() = left.transpose() * right.transpose();
  else if (p.transpose_a)
    to.noalias() = left.transpose() * right;
  else if (p.transpose_b)
    to.noalias() = left * right.transpose();
  else
    to.noalias() = left * right;
}

const bool products = add_product([](const Product& p, float* to) {
  static const auto sgemm = symbol<Sgemm>("cblas_sgemm");
  static const auto many = symbol<SgemmBatch>("cblas_sgemm_batch_strided");
  const auto i = [](Index size) { return static_cast<int>(size); };
  const int a_order = p.transpose_a ? kTransposed : kPlain, b_order = p.transpose_b ? kTransposed : kPlain;
  if (p.batch > 1 && many) {
    many(kRowMajor, a_order, b_order, i(p.m), i(p.n), i(p.k), 1, p.a.data(), i(p.lda()), i(p.m * p.k), p.b.data(),
         i(p.ldb()), i(p.k * p.n), 0, to, i(p.n), i(p.m * p.n), i(p.batch));
    return;
  }
  const float *a = p.a.data(), *b = p.b.data();
  for (Index each = 0; each < p.batch; ++each, a += p.m * p.k, b += p.k * p.n, to += p.m * p.n)
    if (sgemm)
      sgemm(kRowMajor, a_order, b_order, i(p.m), i(p.n), i(p.k), 1, a, i(p.lda()), b, i(p.ldb()), 0, to, i(p.n));
    else
      eigen_product(p, a, b, to);
});

}  // namespace
}  // namespace peers
