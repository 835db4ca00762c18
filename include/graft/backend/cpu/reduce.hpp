#pragma once
// Reductions over one axis. Chunks and the order of additions depend on the shape alone, so bits do not depend on
// threads.

#include <limits>

#include "graft/core/parallel.hpp"
#include "graft/core/tensor.hpp"
#include "graft/number/simd.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace cpu {

/// Numbers that one partial sum covers before partial sums are added in order.
inline constexpr Index kSumChunk = 4096;

/// Sum of `count` contiguous numbers: four running batches over a chunk of `kSumChunk`, chunk sums added in order.
template <class T>
[[gnu::noinline]] T sum_row(const T* x, Index count) {
  using B = Simd<T>;
  T total = 0;
  for (Index begin = 0; begin < count; begin += kSumChunk) {
    const Index end = begin + kSumChunk < count ? begin + kSumChunk : count;
    B sums[4] = {B(0), B(0), B(0), B(0)};
    Index i = begin;
    for (; i + 4 * B::size <= end; i += 4 * B::size)
      for (Index u = 0; u < 4; ++u) sums[u] += B::load(x + i + u * B::size);
    for (; i + B::size <= end; i += B::size) sums[0] += B::load(x + i);
    if (i < end) sums[1] += B::load_part(x + i, end - i);
    total += sum_lanes((sums[0] + sums[1]) + (sums[2] + sums[3]));
  }
  return total;
}

/// to[i] = sum over r of from[r, i], rows added in order.
template <class T>
[[gnu::noinline]] void add_rows(const T* from, Index rows, Index inner, T* to) {
  using B = Simd<T>;
  for (Index i = 0; i < inner; i += B::size) {
    B sum(0);
    for (Index r = 0; r < rows; ++r) sum += B::load(from + r * inner + i);
    store_lanes(sum, to + i, inner - i);
  }
}

/// out[o, i] = sum over r of x[o, r, i].
template <class T>
void sum_axis(const T* x, Index outer, Index reduced, Index inner, T* out) {
  if (outer == 0 || inner == 0) return;
  if (inner == 1) {
    // One long row: chunks in parallel, their sums in order, as `sum_row` does it.
    const bool split = outer == 1 && reduced > 4 * kSumChunk;
    const Index jobs = split ? (reduced + kSumChunk - 1) / kSumChunk : outer;
    const detail::Workspace<T> chunk_sums(split ? jobs : 0);
    T* const sums = split ? chunk_sums.data() : out;
    parallel_for(jobs, split ? 4 : 1 + 16384 / (reduced + 1), [&](Index begin, Index end) {
      for (Index j = begin; j < end; ++j) {
        const Index first = split ? j * kSumChunk : 0;
        const Index count = split && first + kSumChunk < reduced ? kSumChunk : reduced - first;
        sums[j] = sum_row(x + (split ? first : j * reduced), count);
      }
    });
    if (!split) return;
    T total = 0;
    for (Index j = 0; j < jobs; ++j) total += sums[j];
    *out = total;
    return;
  }
  // Columns: rows are added in order within fixed groups of rows, groups in order.
  const Index group = inner >= 256 ? 64 : 16384 / inner;
  const Index groups = reduced <= group ? 1 : (reduced + group - 1) / group;
  const detail::Workspace<T> group_sums(groups > 1 ? outer * groups * inner + Simd<T>::size : 0);
  T* const sums = groups > 1 ? group_sums.data() : out;
  parallel_for(outer * groups, groups > 1 ? 1 : 1 + 16384 / (reduced * inner + 1), [&](Index begin, Index end) {
    for (Index job = begin; job < end; ++job) {
      const Index o = job / groups, first = job % groups * group;
      const Index rows = first + group < reduced ? group : reduced - first;
      add_rows(x + (o * reduced + first) * inner, rows, inner, sums + job * inner);
    }
  });
  if (groups > 1)
    for (Index o = 0; o < outer; ++o) add_rows(sums + o * groups * inner, groups, inner, out + o * inner);
}

// Folds: reductions whose result does not depend on the order of the numbers. `start`, a step by one number, and the
// join of two parts.

/// The largest number (Sign = 1) or the smallest (-1); NaN if there is one.
template <class T, int Sign>
struct Extreme {
  static constexpr T start = std::numeric_limits<T>::has_infinity ? Sign * -std::numeric_limits<T>::infinity()
                             : Sign > 0                           ? std::numeric_limits<T>::lowest()
                                                                  : std::numeric_limits<T>::max();
  /// True when `x` goes before `best`.
  static bool better(T x, T best) { return Sign > 0 ? x > best : x < best; }
  static T step(T best, T x) { return static_cast<bool>(better(x, best) | (x != x)) ? x : best; }
  static T join(T a, T b) { return step(a, b); }
};
struct AnyTrue {
  static constexpr bool start = false;
  static bool step(bool so_far, bool x) { return so_far | x; }
  static bool join(bool a, bool b) { return a | b; }
};
struct AllTrue {
  static constexpr bool start = true;
  static bool step(bool so_far, bool x) { return so_far & x; }
  static bool join(bool a, bool b) { return a & b; }
};
template <class T>
struct CountNonzero {
  static constexpr std::int64_t start = 0;
  static std::int64_t step(std::int64_t so_far, T x) { return so_far + (x != T(0)); }
  static std::int64_t join(std::int64_t a, std::int64_t b) { return a + b; }
};

/// Sums of whole numbers, which wrap around at the ends of int64.
template <class T>
struct SumWhole {
  static constexpr std::int64_t start = 0;
  static std::int64_t step(std::int64_t so_far, T x) { return join(so_far, static_cast<std::int64_t>(x)); }
  static std::int64_t join(std::int64_t a, std::int64_t b) {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
  }
};

/// out[i] = fold over r of x[r, i]. Runs of a fixed length are folded side by side, which compilers turn into SIMD.
template <class Fold, class In, class Out>
void fold_rows(const In* x, Index rows, Index inner, Out* out) {
  constexpr Index kLanes = 16;
  Out lanes[kLanes];
  if (inner == 1) {
    for (Out& lane : lanes) lane = Fold::start;
    Index i = 0;
    for (; i + kLanes <= rows; i += kLanes)
      for (Index l = 0; l < kLanes; ++l) lanes[l] = Fold::step(lanes[l], x[i + l]);
    for (Index l = 0; i < rows; ++i, ++l) lanes[l] = Fold::step(lanes[l], x[i]);
    Out total = lanes[0];
    for (Index l = 1; l < kLanes; ++l) total = Fold::join(total, lanes[l]);
    *out = total;
    return;
  }
  Index first = 0;
  for (; first + kLanes <= inner; first += kLanes) {
    for (Out& lane : lanes) lane = Fold::start;
    for (Index r = 0; r < rows; ++r)
      for (Index l = 0; l < kLanes; ++l) lanes[l] = Fold::step(lanes[l], x[r * inner + first + l]);
    for (Index l = 0; l < kLanes; ++l) out[first + l] = lanes[l];
  }
  if (first == inner) return;
  for (Out& lane : lanes) lane = Fold::start;
  for (Index r = 0; r < rows; ++r)
    for (Index i = first; i < inner; ++i) lanes[i - first] = Fold::step(lanes[i - first], x[r * inner + i]);
  for (Index i = first; i < inner; ++i) out[i] = lanes[i - first];
}

/// out[o, i] = fold over r of x[o, r, i]; long reductions are cut into parts that are joined.
template <class Fold, class In, class Out>
void fold_axis(const In* x, Index outer, Index reduced, Index inner, Out* out) {
  if (outer * inner == 0) return;
  constexpr Index kPart = 16384;
  const Index part = inner >= kPart / 64 ? 64 : kPart / inner;
  const Index parts = reduced <= part ? 1 : (reduced + part - 1) / part;
  if (parts == 1) {
    parallel_for(outer, 1 + kPart / (reduced * inner + 1), [&](Index begin, Index end) {
      for (Index o = begin; o < end; ++o) fold_rows<Fold>(x + o * reduced * inner, reduced, inner, out + o * inner);
    });
    return;
  }
  void* memory = detail::allocate_block(static_cast<std::size_t>(outer * parts * inner) * sizeof(Out));
  Out* partial = static_cast<Out*>(memory);
  parallel_for(outer * parts, 1, [&](Index begin, Index end) {
    for (Index job = begin; job < end; ++job) {
      const Index o = job / parts, first = job % parts * part;
      const Index rows = first + part < reduced ? part : reduced - first;
      fold_rows<Fold>(x + (o * reduced + first) * inner, rows, inner, partial + job * inner);
    }
  });
  for (Index o = 0; o < outer; ++o)
    for (Index i = 0; i < inner; ++i) {
      Out total = Fold::start;
      for (Index p = 0; p < parts; ++p) total = Fold::join(total, partial[(o * parts + p) * inner + i]);
      out[o * inner + i] = total;
    }
  detail::free_block(memory, static_cast<std::size_t>(outer * parts * inner) * sizeof(Out));
}

/// out[o, i] = the first r at which x[o, r, i] is extreme; a NaN is more extreme than any number.
template <int Sign, class T>
void arg_axis(const T* x, Index outer, Index reduced, Index inner, std::int64_t* out) {
  const auto goes_before = [](T a, T b) { return Extreme<T, Sign>::better(a, b) || (a != a && b == b); };
  parallel_for(outer, 1 + 8192 / (reduced * inner + 1), [&](Index begin, Index end) {
    for (Index o = begin; o < end; ++o) {
      const T* from = x + o * reduced * inner;
      std::int64_t* to = out + o * inner;
      if (inner == 1) {  // the extreme number first, at the speed of SIMD, then its place
        T best;
        fold_rows<Extreme<T, Sign>>(from, reduced, 1, &best);
        Index r = 0;
        while (from[r] != best && (best == best || from[r] == from[r])) ++r;
        *to = r;
        continue;
      }
      for (Index i = 0; i < inner; ++i) to[i] = 0;
      for (Index r = 1; r < reduced; ++r)
        for (Index i = 0; i < inner; ++i)
          if (goes_before(from[r * inner + i], from[to[i] * inner + i])) to[i] = r;
    }
  });
}

/// out[o, r, i] = sum of x[o, s, i] over s <= r, or over s >= r when `reverse`; added one by one.
template <class T>
void cumsum_axis(const T* x, Index outer, Index size, Index inner, bool reverse, T* out) {
  parallel_for(outer, 1 + 8192 / (size * inner + 1), [&](Index begin, Index end) {
    for (Index o = begin; o < end; ++o) {
      const Index base = o * size * inner;
      if (inner == 1) {
        T total = 0;
        for (Index step = 0; step < size; ++step) {
          const Index i = base + (reverse ? size - 1 - step : step);
          out[i] = total += x[i];
        }
        continue;
      }
      for (Index step = 0; step < size; ++step) {
        const Index row = base + (reverse ? size - 1 - step : step) * inner;
        const Index before = reverse ? row + inner : row - inner;
        for (Index i = 0; i < inner; ++i) out[row + i] = step == 0 ? x[row + i] : out[before + i] + x[row + i];
      }
    }
  });
}

}  // namespace cpu
}  // namespace GRAFT_ABI
}  // namespace graft
