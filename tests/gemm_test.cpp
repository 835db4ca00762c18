// The matrix product kernel on raw pointers. Expected values come from a triple loop in a wider type; the bound on the
// difference from the number of roundings a term goes through (Higham, Accuracy and Stability of Numerical Algorithms,
// 2nd ed., section 3.1). Bits are compared between calls that the documentation says agree.

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "graft/backend/cpu/gemm.hpp"
#include "graft/core/random.hpp"
#include "graft/number/transpose.hpp"

using namespace graft;
using cpu::gemm;
using cpu::gemm_batched;

namespace {

enum class Data { signs, positive, wide };

/// Numbers in (-1, 1), in (0, 1), or normal times 2^(-20 .. 20).
template <class T>
std::vector<T> numbers(Index count, Data data, const char* name) {
  const Random random = Random(7).stream(name), exponent = Random(7).stream("exponent").stream(name);
  std::vector<T> values(count);
  for (Index i = 0; i < count; ++i) {
    const auto at = static_cast<std::uint64_t>(i);
    double value = random.uniform(at, data == Data::signs ? -1 : 0, 1);
    if (data == Data::wide) value = random.normal(at) * std::exp2(exponent.uniform(at, -20, 20));
    values[i] = static_cast<T>(value);
  }
  return values;
}

struct Case {
  Index m, n, k;
  bool ta = false, tb = false, accumulate = false;
  Index pad = 0;  ///< added to the least distance of rows
  Data data = Data::signs;
};

/// A product with its operands; numbers between rows are NaN, so that reading one shows.
template <class T>
struct Product {
  Case s;
  Index lda, ldb, ldc;
  std::vector<T> a, b, c;

  explicit Product(Case shape) : s(shape) {
    const Index a_rows = s.ta ? s.k : s.m, a_length = s.ta ? s.m : s.k;
    const Index b_rows = s.tb ? s.n : s.k, b_length = s.tb ? s.k : s.n;
    lda = a_length + s.pad, ldb = b_length + s.pad, ldc = s.n + s.pad;
    a = matrix(a_rows, a_length, lda, "a");
    b = matrix(b_rows, b_length, ldb, "b");
    c = matrix(s.m, s.n, ldc, "c");
  }
  std::vector<T> matrix(Index rows, Index length, Index stride, const char* name) const {
    std::vector<T> values(rows * stride, std::numeric_limits<T>::quiet_NaN());
    const std::vector<T> dense = numbers<T>(rows * length, s.data, name);
    for (Index i = 0; i < rows; ++i)
      for (Index j = 0; j < length; ++j) values[i * stride + j] = dense[i * length + j];
    return values;
  }
  T a_at(Index i, Index p) const { return a[s.ta ? p * lda + i : i * lda + p]; }
  T b_at(Index p, Index j) const { return b[s.tb ? j * ldb + p : p * ldb + j]; }

  std::vector<T> run() const {
    std::vector<T> result = c;
    gemm(s.ta, s.tb, s.m, s.n, s.k, a.data(), lda, b.data(), ldb, result.data(), ldc, s.accumulate);
    return result;
  }

  /// Number of elements of `result` further from the exact product than its roundings allow, and of numbers between the
  /// rows of C that are no longer what they were.
  Index wrong(const std::vector<T>& result) const {
    using Wide = std::conditional_t<sizeof(T) == 4, double, long double>;
    // A term is rounded in its product, in the chain of its block, in the sum of blocks and in the addition to C.
    const Index depth = cpu::blocked::GemmBlocks<T>::depth;
    const auto roundings = static_cast<Wide>(std::min(s.k, depth) + (s.k + depth - 1) / depth + 2);
    const Wide unit = std::numeric_limits<T>::epsilon() / Wide(2);
    const Wide bound = roundings * unit / (1 - roundings * unit);
    Index count = 0;
    for (Index i = 0; i < s.m; ++i) {
      for (Index j = 0; j < s.n; ++j) {
        const std::size_t at = static_cast<std::size_t>(i * ldc + j);
        Wide sum = s.accumulate ? c[at] : 0, size = std::abs(sum);
        for (Index p = 0; p < s.k; ++p) {
          sum += Wide(a_at(i, p)) * Wide(b_at(p, j));
          size += std::abs(Wide(a_at(i, p)) * Wide(b_at(p, j)));
        }
        if (!(std::abs(Wide(result[at]) - sum) <= bound * size)) ++count;
      }
      for (Index j = s.n; j < ldc; ++j)
        if (!std::isnan(result[i * ldc + j])) ++count;
    }
    return count;
  }
};

template <class T>
void check(Case s) {
  const Product<T> product(s);
  const Index wrong = product.wrong(product.run());
  INFO("m " << s.m << " n " << s.n << " k " << s.k << " ta " << s.ta << " tb " << s.tb << " accumulate " << s.accumulate
            << " pad " << s.pad);
  CHECK(wrong == 0);
}

/// Rows [row, row + rows), columns [column, column + columns) of `c`, the result of `whole`, have the bits of their
/// product alone.
template <class T>
void check_part(const Product<T>& whole, const std::vector<T>& c, Index row, Index rows, Index column, Index columns) {
  const Case& s = whole.s;
  std::vector<T> part(rows * columns);
  gemm(s.ta, s.tb, rows, columns, s.k, whole.a.data() + row * (s.ta ? 1 : whole.lda), whole.lda,
       whole.b.data() + column * (s.tb ? whole.ldb : 1), whole.ldb, part.data(), columns);
  Index different = 0;
  for (Index i = 0; i < rows; ++i)
    different += std::memcmp(part.data() + i * columns, c.data() + (row + i) * s.n + column,
                             static_cast<std::size_t>(columns) * sizeof(T)) != 0;
  INFO("ta " << s.ta << " tb " << s.tb << " rows " << row << " + " << rows << " columns " << column << " + "
             << columns);
  CHECK(different == 0);
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

}  // namespace

TEMPLATE_TEST_CASE("gemm agrees with a triple loop for every order and small size", "[gemm]", float, double) {
  // Around every tile height and width, and every way to cover the rest.
  const Index lanes = Simd<TestType>::size;
  for (Index m : {1, 2, 3, 4, 5, 7, 8, 9, 13, 14, 15, 16, 17, 19, 27, 28, 29, 31, 33, 43})
    for (Index n : {Index{1}, Index{3}, lanes / 2, lanes / 2 + 1, lanes - 1, lanes, lanes + 1, 2 * lanes - 1, 2 * lanes,
                    2 * lanes + 1, 3 * lanes, 3 * lanes + 3, 5 * lanes + 1})
      for (int order = 0; order < 4; ++order)
        for (Index k : {1, 2, 5, 18})
          check<TestType>({m, n, k, order % 2 == 1, order / 2 == 1, k == 2, k == 5 ? 3 : 0});
}

TEMPLATE_TEST_CASE("gemm agrees with a triple loop over several blocks", "[gemm]", float, double) {
  const Index depth = cpu::blocked::GemmBlocks<TestType>::depth;
  for (int order = 0; order < 4; ++order) {
    const bool ta = order % 2 == 1, tb = order / 2 == 1;
    for (const Data data : {Data::signs, Data::positive, Data::wide}) {
      check<TestType>({61, 75, 2 * depth + 3, ta, tb, false, 0, data});
      check<TestType>({61, 75, 2 * depth + 3, ta, tb, true, 5, data});
    }
    check<TestType>({1, 70, 2 * depth + 3, ta, tb, true});  // a vector times a matrix
    check<TestType>({2, 70, 2 * depth + 3, ta, tb});
    check<TestType>({70, 1, 2 * depth + 3, ta, tb, true});  // a matrix times a vector
    check<TestType>({130, 5, 2 * depth + 3, ta, tb, true, 2});
    check<TestType>({1, 1, 5 * depth, ta, tb});
    check<TestType>({37, 530, 65, ta, tb});  // more columns than a block is wide
    check<TestType>({30, 1030, 32, ta, tb});
    check<TestType>({181, 300, depth + 40, ta, tb});  // several chunks of rows
    check<TestType>({301, 61, depth + 40, ta, tb, true});
    check<TestType>({128, 128, 128, ta, tb});  // rows 1 KiB or 512 bytes apart
    check<TestType>({40, 48, 64, ta, tb, false, 1024 - 64});
    check<TestType>({20, 64, 300, ta, tb});
    check<TestType>({256, 32, 288, ta, tb});
    check<TestType>({100, 100, 100, ta, tb, true, 1});  // in place, tiles stacked, ragged ends
    check<TestType>({89, 61, 7, ta, tb, true});
    check<TestType>({6, 203, depth + 21, ta, tb, true, 3});  // few rows times columns in one piece
    check<TestType>({203, 3, depth + 21, ta, tb, true, 3});
  }
}

TEMPLATE_TEST_CASE("gemm: empty sizes", "[gemm]", float, double) {
  std::vector<TestType> a(12, TestType(2)), b(12, TestType(3)), c(12, TestType(5));
  gemm<TestType>(false, false, 0, 3, 4, a.data(), 4, b.data(), 3, c.data(), 3);
  gemm<TestType>(false, false, 3, 0, 4, a.data(), 4, b.data(), 0, c.data(), 0);
  gemm<TestType>(false, false, 3, 3, 0, a.data(), 0, b.data(), 3, c.data(), 4, true);
  CHECK(c == std::vector<TestType>(12, TestType(5)));
  gemm<TestType>(false, true, 3, 3, 0, a.data(), 0, b.data(), 0, c.data(), 4);
  CHECK(c == std::vector<TestType>{0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0, 5});
  gemm_batched<TestType>(false, false, 0, 3, 3, 3, a.data(), 3, 9, b.data(), 3, 9, c.data(), 3, 9);
  gemm_batched<TestType>(false, false, 2, 2, 0, 3, a.data(), 3, 6, b.data(), 3, 6, c.data(), 3, 6);
  CHECK(c == std::vector<TestType>{0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0, 5});
  gemm_batched<TestType>(false, false, 2, 2, 3, 0, a.data(), 3, 6, b.data(), 3, 6, c.data(), 3, 6);
  CHECK(c == std::vector<TestType>(12, TestType(0)));
}

TEMPLATE_TEST_CASE("gemm: infinities, NaN and denormals come out as arithmetic says", "[gemm]", float, double) {
  using Limits = std::numeric_limits<TestType>;
  for (Index m : {1, 16, 40}) {
    Product<TestType> product({m, 40, 20});
    const auto at = [&](Index i, Index j) { return static_cast<std::size_t>(i * 40 + j); };
    product.a[0] = Limits::infinity();
    product.b[at(3, 7)] = Limits::quiet_NaN();
    const std::vector<TestType> c = product.run();
    for (Index i = 0; i < m; ++i)
      for (Index j = 0; j < 40; ++j) {
        if (j == 7)
          CHECK(std::isnan(c[at(i, j)]));
        else if (i == 0)
          CHECK(c[at(i, j)] == (product.b[at(0, j)] > 0 ? Limits::infinity() : -Limits::infinity()));
        else
          CHECK(std::isfinite(c[at(i, j)]));
      }
  }
  // The least denormal, kept by a product with 1 and by twenty additions of itself.
  const std::vector<TestType> tiny(20 * 20, Limits::denorm_min()), ones(20 * 20, TestType(1));
  std::vector<TestType> c(20 * 20);
  gemm<TestType>(false, false, 20, 20, 20, tiny.data(), 20, ones.data(), 20, c.data(), 20);
  CHECK(c == std::vector<TestType>(20 * 20, 20 * Limits::denorm_min()));
}

TEMPLATE_TEST_CASE("gemm: a row has the same bits among any number of rows, a column among any number of columns",
                   "[gemm]", float, double) {
  const Index m = 150, n = 90, k = 2 * cpu::blocked::GemmBlocks<TestType>::depth + 17;
  for (int order = 0; order < 4; ++order) {
    const Product<TestType> whole({m, n, k, order % 2 == 1, order / 2 == 1});
    const std::vector<TestType> c = whole.run();
    for (Index rows : {1, 2, 3, 4, 6, 10, 14, 20, 28, 29, 47, 100}) {
      check_part(whole, c, 0, rows, 0, n);
      check_part(whole, c, m - rows, rows, 0, n);
    }
    for (Index columns : {1, 2, 4, 8, 9, 15, 16, 17, 31, 40}) {
      check_part(whole, c, 0, m, 0, columns);
      check_part(whole, c, 3, 70, n - columns, columns);
      check_part(whole, c, 5, 9, 2, columns);
    }
  }
}

TEMPLATE_TEST_CASE("gemm: more columns than are packed at a time are those of narrower products", "[gemm]", float,
                   double) {
  using Blocks = cpu::blocked::GemmBlocks<TestType>;
  const Index together = cpu::blocked::kGemmPackedNumbers / Blocks::depth;
  for (int order = 0; order < 4; ++order) {
    const Case s{Blocks::resident_rows + 1, together + 50, Blocks::depth + 9, order % 2 == 1, order / 2 == 1};
    const Product<TestType> whole(s);
    const std::vector<TestType> c = whole.run();
    check_part(whole, c, 0, s.m, 0, 40);
    check_part(whole, c, 0, s.m, together - 20, 40);
    check_part(whole, c, 0, s.m, s.n - 40, 40);
  }
}

TEMPLATE_TEST_CASE("gemm has the same bits on any number of threads", "[gemm]", float, double) {
  const Index depth = cpu::blocked::GemmBlocks<TestType>::depth;
  for (const Case& s : {Case{300, 200, 2 * depth + 9}, Case{200, 1100, 70, true, true}, Case{20, 900, 300, false, true},
                        Case{3, 2100, 260}, Case{2708, 8, 143}, Case{1000, 32, 288, false, false, true},
                        Case{128, 128, 128}, Case{4, 2708, 143, false, true}}) {
    const Product<TestType> product(s);
    set_threads(1);
    const std::vector<TestType> expected = product.run();
    CHECK(product.wrong(expected) == 0);
    for (int count : {2, 3, 8}) {
      set_threads(count);
      CHECK(same_bits(product.run(), expected));
    }
    set_threads(0);
    // Inside a task the product runs on one thread.
    std::vector<TestType> inside[2];
    parallel_tasks(2, [&](Index i) { inside[i] = product.run(); });
    CHECK(same_bits(inside[0], expected));
    CHECK(same_bits(inside[1], expected));
  }
}

TEMPLATE_TEST_CASE("gemm_batched equals one product after the other", "[gemm]", float, double) {
  struct Batched {
    Index batch, m, n, k;
    bool ta, tb, share_a, share_b;
  };
  for (const Batched& s :
       {Batched{7, 5, 9, 11, false, false, false, false}, Batched{40, 32, 32, 32, true, false, false, false},
        Batched{33, 31, 40, 29, false, true, false, true}, Batched{64, 32, 33, 32, false, false, false, true},
        Batched{50, 16, 40, 40, true, true, true, false}, Batched{3, 128, 128, 128, false, true, false, false},
        Batched{12, 1, 64, 700, false, true, true, true}, Batched{1, 20, 20, 20, false, false, true, true}}) {
    const Index size_a = s.share_a ? 0 : s.m * s.k, size_b = s.share_b ? 0 : s.k * s.n, size_c = s.m * s.n;
    const Index lda = s.ta ? s.m : s.k, ldb = s.tb ? s.k : s.n;
    const auto a = numbers<TestType>(s.batch * s.m * s.k, Data::signs, "a");
    const auto b = numbers<TestType>(s.batch * s.k * s.n, Data::signs, "b");
    std::vector<TestType> expected(s.batch * size_c), c(expected.size());
    set_threads(1);
    for (Index i = 0; i < s.batch; ++i)
      gemm(s.ta, s.tb, s.m, s.n, s.k, a.data() + i * size_a, lda, b.data() + i * size_b, ldb,
           expected.data() + i * size_c, s.n);
    for (int count : {1, 2, 3, 8}) {
      set_threads(count);
      std::fill(c.begin(), c.end(), TestType(-1));
      gemm_batched(s.ta, s.tb, s.batch, s.m, s.n, s.k, a.data(), lda, size_a, b.data(), ldb, size_b, c.data(), s.n,
                   size_c);
      INFO("batch " << s.batch << " m " << s.m << " n " << s.n << " k " << s.k << " threads " << count);
      CHECK(same_bits(c, expected));
    }
    set_threads(0);
  }
}

TEMPLATE_TEST_CASE("load_transposed and parts of a register", "[gemm]", float, double) {
  constexpr Index lanes = Simd<TestType>::size, stride = lanes + 3;
  std::vector<TestType> from(lanes * stride);
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<TestType>(i);
  Index different = 0;
  load_transposed(from.data(), stride, [&](Index j, Simd<TestType> column) {
    TestType values[lanes];
    column.store(values);
    for (Index i = 0; i < lanes; ++i) different += values[i] != static_cast<TestType>(i * stride + j);
  });
  CHECK(different == 0);
  for (Index count = 0; count < lanes; ++count) {
    const std::vector<TestType> source(from.begin() + 1, from.begin() + 1 + count);
    std::vector<TestType> values(lanes, TestType(-1)), part(count, TestType(-1));
    const auto batch = Simd<TestType>::load_part(source.data(), count);
    batch.store(values.data());
    batch.store_part(part.data(), count);
    for (Index i = 0; i < lanes; ++i) CHECK(values[i] == (i < count ? static_cast<TestType>(i + 1) : 0));
    CHECK(part == source);
  }
}
