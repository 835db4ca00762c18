#pragma once
// Rotary positions (Su, Lu, Pan, Murtadha, Wen, Liu, "RoFormer: enhanced Transformer with rotary position embedding",
// 2021): pairs of numbers turn by an angle that grows with the place, so that the dot product of a query and a key
// depends on how far apart they are and on nothing else of their places. A rotation is linear and its own inverse's
// transpose: the derivative is the op that turns back.

#include <cmath>

#include "graft/autodiff/node.hpp"
#include "graft/core/options.hpp"
#include "graft/core/parallel.hpp"
#include "graft/number/simd.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Which numbers of a row are a pair. Published weights stand on one of the two: rows of their query and key
/// projections, head by head, are a permutation of one another.
enum class RotaryLayout {
  halves,      ///< i and i + depth / 2, as LLaMA's and GPT-NeoX's weights in the transformers library have it
  interleaved  ///< 2 i and 2 i + 1, as in the paper, GPT-J, and LLaMA's own files
};

/// Options of `rotary`.
struct RotaryOptions {
  RotaryLayout layout = RotaryLayout::halves;
  double base = 10000;
  Index depth = 0;  ///< how many numbers of a row turn, from the first on; an even number; 0: all
};

namespace detail {

/// Pair i of the row at place m turns by the angle m base^(-2 i / depth), or back.
struct Rotation {
  RotaryLayout layout;
  double base;
  Index depth, offset;
  double sense;  // 1 or -1
};

/// Cosines, then sines, of the angles of `time` places: [2, time, depth / 2]. Angles are taken in double: those of
/// late places are large.
template <class T>
Tensor<T> rotation_table(const Rotation& r, Index time) {
  const Index pairs = r.depth / 2;
  const Tensor<T> table = fresh<T>({2, time, pairs});
  const Tensor<double> speeds = generate({pairs}, [&r](Index i) {
    return r.sense * std::pow(r.base, -2 * static_cast<double>(i) / static_cast<double>(r.depth));
  });
  T *cosines = writable(table), *sines = cosines + time * pairs;
  parallel_for(time, 1 + 512 / (pairs + 1), [&](Index begin, Index end) {
    for (Index t = begin; t < end; ++t)
      for (Index i = 0; i < pairs; ++i) {
        const double angle = static_cast<double>(r.offset + t) * speeds.data()[i];
        cosines[t * pairs + i] = static_cast<T>(std::cos(angle));
        sines[t * pairs + i] = static_cast<T>(std::sin(angle));
      }
  });
  return table;
}

template <class T>
void turn_interleaved(const T* x, const T* cosines, const T* sines, Index pairs, T* to) {
  for (Index i = 0; i < pairs; ++i) {
    const T a = x[2 * i], b = x[2 * i + 1];
    to[2 * i] = a * cosines[i] - b * sines[i];
    to[2 * i + 1] = a * sines[i] + b * cosines[i];
  }
}
template <class T>
void turn_halves(const T* x, const T* cosines, const T* sines, Index pairs, T* to) {
  using B = Simd<T>;
  const auto turn = [&](Index i, auto load, auto store) {
    const B a = load(x + i), b = load(x + pairs + i), c = load(cosines + i), s = load(sines + i);
    store(a * c - b * s, to + i);
    store(a * s + b * c, to + pairs + i);
  };
  Index i = 0;
  for (; i + B::size <= pairs; i += B::size)
    turn(
        i, [](const T* from) { return B::load(from); }, [](B y, T* at) { y.store(at); });
  const Index rest = pairs - i;
  if (rest > 0)
    turn(
        i, [rest](const T* from) { return B::load_part(from, rest); }, [rest](B y, T* at) { y.store_part(at, rest); });
}

template <class T>
Tensor<T> rotated(const Tensor<T>& x, const Rotation& r, Site site) {
  const Index width = x.shape()[-1], time = x.shape()[-2], rows = width > 0 ? x.count() / width : 0;
  const Index pairs = r.depth / 2;
  Tensor<T> value = fresh<T>(x.shape(), "rotary", site);
  if (value.count() > 0) {
    const Tensor<T> table = rotation_table<T>(r, time);
    const T *cosines = table.data(), *sines = cosines + time * pairs;
    const auto turn = r.layout == RotaryLayout::halves ? turn_halves<T> : turn_interleaved<T>;
    parallel_for(rows, 1 + 32768 / width, [&](Index begin, Index end) {
      for (Index row = begin; row < end; ++row) {
        const T* from = x.data() + row * width;
        T* to = writable(value) + row * width;
        const Index at = row % time * pairs;
        turn(from, cosines + at, sines + at, pairs, to);
        std::copy(from + r.depth, from + width, to + r.depth);
      }
    });
  }
  return record("rotary", std::move(value), Edge(x, [r](const Tensor<T>& g) {
                  Rotation back = r;
                  back.sense = -r.sense;
                  return rotated(g, back, Site());
                }));
}

}  // namespace detail

/// Every row of x [..., time, depth] with its pairs of numbers (a, b) turned to (a cos - b sin, a sin + b cos) of the
/// angle m base^(-2 i / depth), pair i of the row at place m = offset + its index in time; shaped like x. Throws
/// ShapeError for a rank below 2, ValueError for an odd depth, one larger than that of x, or a base that is not
/// positive.
template <Real T>
Tensor<T> rotary(const Tensor<T>& x, Index offset = 0, RotaryOptions options = {}, Site site = Site::current()) {
  if (x.rank() < 2) fail<ShapeError>("rotary", "expected x [..., time, depth]", {{"x", x.shape()}}, site);
  const Index width = x.shape()[-1], depth = options.depth == 0 ? width : options.depth;
  if (depth < 0 || depth > width || depth % 2 != 0)
    fail("rotary", {"depth is ", depth, ", expected an even number of at most ", width}, {{"x", x.shape()}}, site);
  detail::check_option<double>("rotary", "base", options.base, detail::Range::positive, site);
  return detail::rotated(x, {options.layout, options.base, depth, offset, 1}, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
