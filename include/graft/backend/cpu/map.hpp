#pragma once
// Elementwise kernels: one expression over whole tensors with NumPy broadcasting, several inputs and outputs in one
// pass. Only the loop over one row is compiled for every expression; shapes, broadcasting and chunks are handled once
// for all.

#include <array>
#include <tuple>

#include "graft/core/parallel.hpp"
#include "graft/core/tensor.hpp"
#include "graft/number/batch.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

/// Most inputs, and most outputs, of one elementwise kernel.
inline constexpr int kMaxMapInputs = 8;
/// Elements of one parallel chunk of elementwise work.
inline constexpr Index kMapChunk = 16384;

/// How inputs are walked over an output shape: axes along which all inputs advance alike are merged, so that what is
/// left is rows of `width` elements along which each input advances by one or stays on one number.
struct BroadcastWalk {
  int inputs, rank = 0;
  Index width = 1, rows = 1;
  bool moving[kMaxMapInputs];
  Index sizes[kMaxRank], strides[kMaxRank][kMaxMapInputs];  ///< innermost axis, the row, first

  BroadcastWalk(const Shape& out, const Shape* const* shapes, int count) : inputs(count) {
    bool contiguous = true;
    for (int n = 0; n < count; ++n) contiguous = contiguous && *shapes[n] == out;
    for (int n = 0; n < count; ++n) moving[n] = contiguous;
    if (contiguous) {
      width = out.count();
      return;
    }
    Index next[kMaxMapInputs];  // numbers of each input inside the axes seen so far
    for (int n = 0; n < count; ++n) next[n] = 1;
    for (int axis = out.rank() - 1; axis >= 0; --axis) {
      const Index size = out[axis];
      if (size == 1) continue;
      Index* const stride = strides[rank];
      bool merges = rank > 0;
      for (int n = 0; n < count; ++n) {
        const int own = axis - (out.rank() - shapes[n]->rank());
        const bool repeats = own < 0 || (*shapes[n])[own] == 1;
        stride[n] = repeats ? 0 : next[n];
        if (!repeats) next[n] *= size;
        merges = merges && stride[n] == strides[rank - 1][n] * sizes[rank - 1];
      }
      if (merges)
        sizes[rank - 1] *= size;
      else
        sizes[rank++] = size;
    }
    if (rank == 0) return;  // a single element
    width = sizes[0];
    for (int n = 0; n < count; ++n) moving[n] = strides[0][n] != 0;
    for (int r = 1; r < rank; ++r) rows *= sizes[r];
  }

  /// Element offset of each input at the start of `row`.
  void offsets(Index row, Index* at) const {
    for (int n = 0; n < inputs; ++n) at[n] = 0;
    for (int r = 1; r < rank; ++r) {
      for (int n = 0; n < inputs; ++n) at[n] += row % sizes[r] * strides[r][n];
      row /= sizes[r];
    }
  }

  /// Calls run(row, first, last) for every row, or for chunks of the only row, in parallel.
  template <class Run>
  void each(const Run& run) const {
    const bool one = rows == 1;
    const Index rows_of_chunk = width >= kMapChunk ? 1 : kMapChunk / width;
    parallel_for(one ? width : rows, one ? kMapChunk : rows_of_chunk, [&](Index begin, Index end) {
      for (Index row = one ? 0 : begin; row < (one ? 1 : end); ++row) run(row, one ? begin : 0, one ? end : width);
    });
  }
};

/// The loop over one row: `to` and `from` point at its first element; `moving` says which inputs advance.
template <class T>
using RowKernel = void (*)(const void* expression, T* const* to, const T* const* from, const bool* moving, Index width);

/// The row kernel of `F`, which maps std::array<Batch<T>, N> to std::array<Batch<T>, M>.
template <class T, int N, int M, class F>
[[gnu::flatten]] void map_row(const void* expression, T* const* to, const T* const* from, const bool* moving,
                              Index width) {
  using B = Batch<T>;
  const F& call = *static_cast<const F*>(expression);
  std::array<B, N> x;
  for (std::size_t n = 0; n < N; ++n) x[n] = B(*from[n]);
  for (Index i = 0; i < width; i += B::size) {
    for (std::size_t n = 0; n < N; ++n)
      if (moving[n]) x[n] = B::load(from[n] + i);
    const std::array<B, M> y = call(x);
    for (std::size_t m = 0; m < M; ++m) {
      if (M > 1 && !to[m]) continue;
      if (width - i >= B::size)
        y[m].store(to[m] + i);
      else
        y[m].store_part(to[m] + i, width - i);
    }
  }
}

/// Runs `kernel` over all rows of `shape`, to which the inputs broadcast. Null outputs stay null.
template <class T>
void map_rows(const Shape& shape, T* const* outputs, int output_count, const Tensor<T>* const* inputs, int input_count,
              RowKernel<T> kernel, const void* expression) noexcept {
  if (shape.count() == 0) return;
  const Shape* shapes[kMaxMapInputs];
  const T* data[kMaxMapInputs];
  for (int n = 0; n < input_count; ++n) {
    shapes[n] = &inputs[n]->shape();
    data[n] = inputs[n]->data();
  }
  const BroadcastWalk walk(shape, shapes, input_count);
  if (walk.rows == 1 && walk.width <= kMapChunk) {  // most small ops
    kernel(expression, outputs, data, walk.moving, walk.width);
    return;
  }
  walk.each([&](Index row, Index first, Index last) {
    Index at[kMaxMapInputs];
    walk.offsets(row, at);
    const T* from[kMaxMapInputs];
    T* to[kMaxMapInputs];
    for (int n = 0; n < input_count; ++n) from[n] = data[n] + at[n] + (walk.moving[n] ? first : 0);
    for (int m = 0; m < output_count; ++m) to[m] = outputs[m] ? outputs[m] + row * walk.width + first : nullptr;
    kernel(expression, to, from, walk.moving, last - first);
  });
}

/// outputs[m][i] = f(inputs...)[m] for every element i of `shape`. `f` maps std::array<Batch<T>, N> to
/// std::array<Batch<T>, M>. A null output is skipped.
template <class T, int N, int M, class F>
void map_kernel(const Shape& shape, const std::array<T*, M>& outputs, const std::array<const Tensor<T>*, N>& inputs,
                const F& f) {
  static_assert(N <= kMaxMapInputs && M <= kMaxMapInputs);
  map_rows<T>(shape, outputs.data(), M, inputs.data(), N, map_row<T, N, M, F>, &f);
}

template <class T>
[[gnu::noinline]] Tensor<T> mapped_rows(const char* op, Site site, const Tensor<T>* const* inputs, int count,
                                        RowKernel<T> kernel, const void* expression) {
  Shape shape = inputs[0]->shape();
  for (int n = 1; n < count; ++n)
    if (!(inputs[n]->shape() == shape))
      shape = detail::checked_broadcast(op, {"x", shape}, {"y", inputs[n]->shape()}, site);
  Tensor<T> value = detail::fresh<T>(shape, op, site);
  T* const to = detail::writable(value);
  map_rows<T>(shape, &to, 1, inputs, count, kernel, expression);
  return value;
}

/// f(inputs...) as a tensor, inputs broadcast: value[i] = f({x[i], y[i] ...}). Throws ShapeError in the name of `op`.
template <class F, class T, class... Ts>
Tensor<T> mapped(const char* op, Site site, const F& f, const Tensor<T>& x, const Ts&... rest) {
  constexpr int N = 1 + sizeof...(Ts);
  static_assert(N <= kMaxMapInputs);
  const Tensor<T>* const inputs[] = {&x, &rest...};
  return mapped_rows<T>(op, site, inputs, N, map_row<T, N, 1, F>, &f);
}

/// output[i] = f(inputs[i]...) one number at a time, for element types that do not fit one register (masks, indices).
template <class Out, class F, class... Ts>
void map_scalars(const Shape& shape, Out* output, F f, const Tensor<Ts>&... inputs) {
  if (shape.count() == 0) return;
  const Shape* shapes[] = {&inputs.shape()...};
  const std::tuple data(inputs.data()...);
  const BroadcastWalk walk(shape, shapes, sizeof...(Ts));
  walk.each([&](Index row, Index first, Index last) {
    Index at[kMaxMapInputs];
    walk.offsets(row, at);
    Out* out = output + row * walk.width;
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      for (Index i = first; i < last; ++i) out[i] = f(std::get<I>(data)[at[I] + (walk.moving[I] ? i : 0)]...);
    }(std::index_sequence_for<Ts...>());
  });
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
