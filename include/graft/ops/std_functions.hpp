#pragma once
// std::exp(x) of a tensor or in a map lambda is a slip for exp(x), and a compiler answers it with every exp that it
// knows. These answer with the right word: those of tensors, with which every lambda is compiled first; the others are
// declared for the lambda's sake and nowhere defined. They stand in namespace std because a qualified name is looked up
// nowhere else; they take graft's own types alone, and no program that calls one can be built.

#include "graft/core/tensor.hpp"
#include "graft/number/batch.hpp"
#include "graft/number/dual.hpp"
#include "graft/number/known.hpp"

namespace std {

// Written out: a compiler's message would tell of every macro on its way.
#define GRAFT_NOT_OF_STD "graft's functions are called without std: exp(x), not std::exp(x)"
template <class T, class... More>
graft::Tensor<T> exp(const graft::Tensor<T>& x, const More&...) {
  static_assert(std::is_void_v<T>, GRAFT_NOT_OF_STD);
  return x;
}
template <class T, class... More>
graft::Tensor<T> expm1(const graft::Tensor<T>& x, const More&...) {
  static_assert(std::is_void_v<T>, GRAFT_NOT_OF_STD);
  return x;
}
template <class T, class... More>
graft::Tensor<T> log(const graft::Tensor<T>& x, const More&...) {
  static_assert(std::is_void_v<T>, GRAFT_NOT_OF_STD);
  return x;
}
template <class T, class... More>
graft::Tensor<T> log1p(const graft::Tensor<T>& x, const More&...) {
  static_assert(std::is_void_v<T>, GRAFT_NOT_OF_STD);
  return x;
}
template <class T, class... More>
graft::Tensor<T> sqrt(const graft::Tensor<T>& x, const More&...) {
  static_assert(std::is_void_v<T>, GRAFT_NOT_OF_STD);
  return x;
}
template <class T, class... More>
graft::Tensor<T> pow(const graft::Tensor<T>& x, const More&...) {
  static_assert(std::is_void_v<T>, GRAFT_NOT_OF_STD);
  return x;
}
template <class T, class... More>
graft::Tensor<T> sin(const graft::Tensor<T>& x, const More&...) {
  static_assert(std::is_void_v<T>, GRAFT_NOT_OF_STD);
  return x;
}
template <class T, class... More>
graft::Tensor<T> cos(const graft::Tensor<T>& x, const More&...) {
  static_assert(std::is_void_v<T>, GRAFT_NOT_OF_STD);
  return x;
}
template <class T, class... More>
graft::Tensor<T> tanh(const graft::Tensor<T>& x, const More&...) {
  static_assert(std::is_void_v<T>, GRAFT_NOT_OF_STD);
  return x;
}
template <class T, class... More>
graft::Tensor<T> erf(const graft::Tensor<T>& x, const More&...) {
  static_assert(std::is_void_v<T>, GRAFT_NOT_OF_STD);
  return x;
}
template <class T, class... More>
graft::Tensor<T> abs(const graft::Tensor<T>& x, const More&...) {
  static_assert(std::is_void_v<T>, GRAFT_NOT_OF_STD);
  return x;
}
template <class T, class... More>
graft::Tensor<T> fabs(const graft::Tensor<T>& x, const More&...) {
  static_assert(std::is_void_v<T>, GRAFT_NOT_OF_STD);
  return x;
}
#undef GRAFT_NOT_OF_STD

#define GRAFT_NOT_OF_STD(function)                                                 \
  template <class T, class... More>                                                \
  graft::Batch<T> function(graft::Batch<T>, const More&...);                       \
  template <class V, int N, class... More>                                         \
  graft::Dual<V, N> function(const graft::Dual<V, N>&, const More&...);            \
  template <int N, class... More>                                                  \
  graft::KnownSlopes<N> function(const graft::KnownSlopes<N>&, const More&...);
GRAFT_NOT_OF_STD(exp)
GRAFT_NOT_OF_STD(expm1)
GRAFT_NOT_OF_STD(log)
GRAFT_NOT_OF_STD(log1p)
GRAFT_NOT_OF_STD(sqrt)
GRAFT_NOT_OF_STD(pow)
GRAFT_NOT_OF_STD(sin)
GRAFT_NOT_OF_STD(cos)
GRAFT_NOT_OF_STD(tanh)
GRAFT_NOT_OF_STD(erf)
GRAFT_NOT_OF_STD(abs)
GRAFT_NOT_OF_STD(fabs)
#undef GRAFT_NOT_OF_STD

}  // namespace std
