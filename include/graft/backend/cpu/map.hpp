#pragma once
// Elementwise kernels: one expression over whole tensors with NumPy broadcasting, several inputs and outputs in one
// pass. Only the loop over one row is compiled for every expression; shapes, broadcasting and chunks are handled once
// for all.

#include <array>
#include <tuple>

#include "graft/backend/cpu/rows.hpp"
#include "graft/core/tensor.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

/// Most inputs, and most outputs, of one elementwise kernel.
inline constexpr int kMaxMapInputs = 8;
/// Elements of one parallel chunk of elementwise work.
inline constexpr Index kMapChunk = 16384;
/// From one row to the next where there is one row.
inline constexpr Index kNoStrides[kMaxMapInputs] = {};

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

  /// True when input n is the same row of numbers in every row.
  bool repeats_row(int n) const { return rank == 2 && moving[n] && strides[1][n] == 0; }
  /// Element offset of each input at the start of `row`.
  void offsets(Index row, Index* at) const {
    for (int n = 0; n < inputs; ++n) at[n] = 0;
    for (int r = 1; r < rank; ++r) {
      const bool last = r + 1 == rank;  // needs no division
      const Index here = last ? row : row % sizes[r];
      for (int n = 0; n < inputs; ++n) at[n] += here * strides[r][n];
      if (!last) row /= sizes[r];
    }
  }

  Index rows_of_chunk() const { return width >= kMapChunk ? 1 : kMapChunk / width; }
  /// How far each input advances from one row to the next, as long as `rows_below` says.
  const Index* row_strides() const { return rows > 1 ? strides[1] : kNoStrides; }
  /// Rows from `row` on, itself counted, that lie `row_strides` apart; none goes beyond its chunk.
  Index rows_below(Index row) const {
    const Index chunk = rows_of_chunk();
    return std::min(chunk - row % chunk, sizes[1] - row % sizes[1]);
  }
  /// Calls run(row, count, first, last) for all rows, `count` of them together, or for chunks of the only row, in
  /// parallel. `streams`: run writes by `Simd::stream`.
  template <class Run>
  void each(const Run& run, bool streams = false) const {
    const bool one = rows == 1;
    parallel_for(one ? width : rows, one ? kMapChunk : rows_of_chunk(), [&](Index begin, Index end) {
      if (one) run(Index{0}, Index{1}, begin, end);
      for (Index row = begin, count; !one && row < end; row += count) {
        count = std::min(rows_below(row), end - row);
        run(row, count, Index{0}, width);
      }
      if (streams) native::finish_streams();
    });
  }
};

/// Where the numbers of a row go: written, written past the caches, or added to what is there; null: nowhere. Those of
/// the next row go `stride` further.
template <class T>
struct RowOutput {
  enum How : char { kStore, kStream, kAdd };
  T* to;
  How how;
  Index stride = 0;
};
/// What a kernel reads: where each input is at the first row, whether it advances along a row, and how far it advances
/// from row to row.
template <class T>
struct RowInputs {
  const T* const* from;
  const bool* moving;
  const Index* strides;
};
/// The loop over `rows` rows of `width` numbers.
template <class T>
using RowKernel = void (*)(const void* expression, const RowOutput<T>* to, const RowInputs<T>& inputs, Index rows,
                           Index width);

/// The row kernel of `F`, which maps std::array<Simd<T>, N> to std::array<Simd<T>, M>. Only one for `Gradients` adds
/// and has outputs that may be null.
template <class T, int N, int M, class F, bool Gradients>
[[gnu::flatten]] void map_row(const void* expression, const RowOutput<T>* to, const RowInputs<T>& inputs, Index rows,
                              Index width) {
  using B = Simd<T>;
  using Output = RowOutput<T>;
  const F& call = *static_cast<const F*>(expression);
  const T* const* const from = inputs.from;
  const bool* const moving = inputs.moving;
  const Index* const strides = inputs.strides;
  // Loops over inputs and outputs are written out as folds: only so do compilers keep all of this in registers.
  [&]<std::size_t... n, std::size_t... m>(std::index_sequence<n...>, std::index_sequence<m...>) {
    for (Index row = 0; row < rows; ++row) {
      // An input that stays on one number is read from a batch of it, over and over: at offset i & 0.
      alignas(64) T still[N][B::size];
      ((moving[n] ? void() : B(from[n][row * strides[n]]).store(still[n])), ...);
      const T* const start[] = {moving[n] ? from[n] + row * strides[n] : still[n]...};
      const Index mask[] = {moving[n] ? ~Index{0} : Index{0}...};
      const Output out[] = {{to[m].to + row * to[m].stride, to[m].how}...};
      for (Index i = 0; i < width; i += B::size) {
        const std::array<B, M> y = call(std::array<B, N>{B::load(start[n] + (i & mask[n]))...});
        const auto write = [i, width](const Output& output, B value) __attribute__((always_inline)) {
          if (Gradients && !output.to) return;
          T* const place = output.to + i;
          if (Gradients && output.how == Output::kAdd) value += B::load(place);
          store_lanes(value, place, width - i, output.how == Output::kStream);
        };
        (write(out[m], y[m]), ...);
      }
    }
  }(std::make_index_sequence<N>(), std::make_index_sequence<M>());
}

/// Runs `kernel` over all rows of `shape`, to which the inputs broadcast. Null outputs stay null. An output in `summed`
/// (which may be null) is the sum of all rows, one row of numbers: sums over fixed chunks of rows, then over chunks.
template <class T>
void map_rows(const Shape& shape, T* const* outputs, const bool* summed, int output_count,
              const Tensor<T>* const* inputs, int input_count, RowKernel<T> kernel, const void* expression) {
  using Output = RowOutput<T>;
  if (shape.count() == 0) return;
  const Shape* shapes[kMaxMapInputs];
  const T* data[kMaxMapInputs];
  for (int n = 0; n < input_count; ++n) {
    shapes[n] = &inputs[n]->shape();
    data[n] = inputs[n]->data();
  }
  const BroadcastWalk walk(shape, shapes, input_count);
  Output whole[kMaxMapInputs];
  for (int m = 0; m < output_count; ++m) whole[m] = {outputs[m], Output::kStore, outputs[m] ? walk.width : 0};
  if (walk.rows == 1 && walk.width <= kMapChunk) {  // most small ops
    kernel(expression, whole, {data, walk.moving, walk.row_strides()}, 1, walk.width);
    return;
  }
  bool streams = false;
  Index sums = 0;
  for (int m = 0; m < output_count; ++m) {
    if (summed && summed[m]) {
      ++sums;
    } else if (outputs[m] && worth_streaming(outputs[m], input_count + 1, shape.count(), walk.width)) {
      whole[m].how = Output::kStream;
      streams = true;
    }
  }
  const Index chunk = walk.rows_of_chunk(), chunks = (walk.rows + chunk - 1) / chunk;
  const Index stride = whole_batches<T>(walk.width);
  const detail::Workspace<T> parts(sums * chunks * stride);
  walk.each(
      [&](Index row, Index count, Index first, Index last) {
        Index at[kMaxMapInputs];
        walk.offsets(row, at);
        const T* from[kMaxMapInputs];
        for (int n = 0; n < input_count; ++n) from[n] = data[n] + at[n] + (walk.moving[n] ? first : 0);
        Output to[kMaxMapInputs];
        const RowInputs<T> rows{from, walk.moving, walk.row_strides()};
        const bool starts = row % chunk == 0;  // the sums of a chunk
        Index part = row / chunk * stride;
        for (int m = 0; m < output_count; ++m) {
          to[m] = whole[m];
          if (summed && summed[m]) {
            to[m] = {parts.data() + part, starts ? Output::kStore : Output::kAdd};
            part += chunks * stride;
          } else if (outputs[m]) {
            to[m].to += row * walk.width + first;
          }
        }
        if (sums > 0 && starts) {
          kernel(expression, to, rows, 1, last - first);
          for (int m = 0; m < output_count; ++m) {
            to[m].to += to[m].stride;
            if (summed[m]) to[m].how = Output::kAdd;
          }
          for (int n = 0; n < input_count; ++n) from[n] += rows.strides[n];
          --count;
        }
        kernel(expression, to, rows, count, last - first);
      },
      streams);
  Index part = 0;
  for (int m = 0; sums > 0 && m < output_count; ++m) {
    if (!summed[m]) continue;
    add_parts(parts.data() + part, chunks, stride, walk.width, outputs[m]);
    part += chunks * stride;
  }
}

/// outputs[m][i] = f(inputs...)[m] for every element i of `shape`. `f` maps std::array<Simd<T>, N> to
/// std::array<Simd<T>, M>.
template <class T, int N, int M, class F>
void map_kernel(const Shape& shape, const std::array<T*, M>& outputs, const std::array<const Tensor<T>*, N>& inputs,
                const F& f) {
  static_assert(N <= kMaxMapInputs && M <= kMaxMapInputs);
  map_rows<T>(shape, outputs.data(), nullptr, M, inputs.data(), N, map_row<T, N, M, F, false>, &f);
}
/// Like `map_kernel`, for gradients: null outputs are skipped, those in `summed` are summed over rows (`map_rows`).
template <class T, int N, int M, class F>
void map_gradients(const Shape& shape, const std::array<T*, M>& outputs, const std::array<bool, M>& summed,
                   const std::array<const Tensor<T>*, N>& inputs, const F& f) {
  static_assert(N <= kMaxMapInputs && M <= kMaxMapInputs);
  map_rows<T>(shape, outputs.data(), summed.data(), M, inputs.data(), N, map_row<T, N, M, F, true>, &f);
}
/// Sets same_row[n] where input n is one short row of numbers, the same in every row of `shape`.
template <class T>
void find_same_rows(const Shape& shape, const Tensor<T>* const* inputs, int count, bool* same_row) {
  constexpr Index kLongest = 4096;  // with longer rows, sums of chunks would be as large as what is summed
  const Shape* shapes[kMaxMapInputs] = {};
  for (int n = 0; n < count; ++n) shapes[n] = &inputs[n]->shape();
  const BroadcastWalk walk(shape, shapes, count);
  for (int n = 0; n < count; ++n)
    same_row[n] = walk.repeats_row(n) && walk.width <= kLongest && shape.count() > 0;
}

template <class T>
[[gnu::noinline]] Tensor<T> mapped_rows(const char* op, Site site, const Tensor<T>* const* inputs, int count,
                                        RowKernel<T> kernel, const void* expression) {
  const Index elements = inputs[0]->count();
  bool small = elements <= kMapChunk;
  for (int n = 1; n < count; ++n) small = small && inputs[n]->shape() == inputs[0]->shape();
  if (small) {  // and of equal shapes: nothing to broadcast, nothing to check
    static constexpr bool kMoving[kMaxMapInputs] = {true, true, true, true, true, true, true, true};
    Tensor<T> value(detail::new_block(inputs[0]->shape(), elements, sizeof(T)));
    const RowOutput<T> to{detail::writable(value), RowOutput<T>::kStore};
    const T* from[kMaxMapInputs];
    for (int n = 0; n < count; ++n) from[n] = inputs[n]->data();
    kernel(expression, &to, {from, kMoving, kNoStrides}, 1, elements);
    return value;
  }
  Shape shape = inputs[0]->shape();
  for (int n = 1; n < count; ++n)
    if (!(inputs[n]->shape() == shape))
      shape = detail::checked_broadcast(op, {"x", shape}, {"y", inputs[n]->shape()}, site);
  Tensor<T> value = detail::fresh<T>(shape, op, site);
  T* const to = detail::writable(value);
  map_rows<T>(shape, &to, nullptr, 1, inputs, count, kernel, expression);
  return value;
}

/// f(inputs...) as a tensor, inputs broadcast: value[i] = f({x[i], y[i] ...}). Throws ShapeError in the name of `op`.
template <class F, class T, class... Ts>
Tensor<T> mapped(const char* op, Site site, const F& f, const Tensor<T>& x, const Ts&... rest) {
  constexpr int N = 1 + sizeof...(Ts);
  static_assert(N <= kMaxMapInputs);
  const Tensor<T>* const inputs[] = {&x, &rest...};
  return mapped_rows<T>(op, site, inputs, N, map_row<T, N, 1, F, false>, &f);
}

/// output[i] = f(inputs[i]...) one number at a time, for element types that do not fit one register (masks, indices).
template <class Out, class F, class... Ts>
void map_scalars(const Shape& shape, Out* output, F f, const Tensor<Ts>&... inputs) {
  if (shape.count() == 0) return;
  const Shape* shapes[] = {&inputs.shape()...};
  const std::tuple data(inputs.data()...);
  const BroadcastWalk walk(shape, shapes, sizeof...(Ts));
  walk.each([&](Index row, Index count, Index first, Index last) {
    Index at[kMaxMapInputs];
    walk.offsets(row, at);
    const Index* strides = walk.row_strides();
    Out* out = output + row * walk.width;
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      for (Index r = 0; r < count; ++r, out += walk.width)
        for (Index i = first; i < last; ++i)
          out[i] = f(std::get<I>(data)[at[I] + r * strides[I] + (walk.moving[I] ? i : 0)]...);
    }(std::index_sequence_for<Ts...>());
  });
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
