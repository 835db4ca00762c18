// The float product from bfloat16 terms, on the software model of the CPU's tiles (and on the tiles themselves where
// there are some). Expected values come from a triple loop in float64; the rule is that no error, measured in two ways,
// is larger than that of the kernel on fused multiply-adds.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "graft/backend/cpu/gemm_split.hpp"
#include "graft/core/random.hpp"

using namespace graft;
using cpu::blocked::gemm_split;
using cpu::blocked::GemmProblem;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Case {
  Index m, n, k;
  bool ta = false, tb = false, accumulate = false;
  Index pad = 0;  ///< added to the least distance of rows; what lies there is NaN
  const char* data = "signs";
  int seed = 1;
};

struct Product {
  Case s;
  Index lda, ldb, ldc;
  std::vector<float> a, b, c;

  explicit Product(const Case& shape)
      : s(shape), lda((s.ta ? s.m : s.k) + s.pad), ldb((s.tb ? s.k : s.n) + s.pad), ldc(s.n + s.pad) {
    a.assign((s.ta ? s.k : s.m) * lda, kNaN);
    b.assign((s.tb ? s.n : s.k) * ldb, kNaN);
    c.assign(s.m * ldc, kNaN);
    const std::string data = s.data;
    const Random random = Random(static_cast<std::uint64_t>(s.seed)).stream(s.data),
                 exponent = random.stream("exponent");
    const auto number = [&](Index i) {
      const auto at = static_cast<std::uint64_t>(i);
      if (data == "signs") return random.uniform(at, -1, 1);
      if (data == "positive") return random.uniform(at, 0, 1);
      return random.normal(at) * (data == "wide" ? std::exp2(exponent.uniform(at, -20, 20)) : 1.0);
    };
    for (Index i = 0; i < s.m; ++i)
      for (Index p = 0; p < s.k; ++p) {
        double value = number(i * s.k + p);
        if (data == "graded") value *= std::exp2(-40.0 * static_cast<double>(i) / static_cast<double>(s.m));
        // The second half of k takes nearly all of the first half away.
        if (data == "cancelling" && p >= s.k / 2) value = -number(i * s.k + p - s.k / 2);
        a_at(i, p) = static_cast<float>(value);
      }
    for (Index j = 0; j < s.n; ++j)
      for (Index p = 0; p < s.k; ++p) {
        const Index first = s.m * s.k;
        double value = number(first + j * s.k + p);
        if (data == "graded") value *= std::exp2(40.0 * static_cast<double>(j) / static_cast<double>(s.n));
        if (data == "cancelling" && p >= s.k / 2) value = number(first + j * s.k + p - s.k / 2) * (1 + 1e-3 * value);
        b_at(p, j) = static_cast<float>(value);
      }
    for (Index i = 0; i < s.m; ++i)
      for (Index j = 0; j < s.n; ++j) c[i * ldc + j] = static_cast<float>(number(-1 - i - j));
  }
  float& a_at(Index i, Index p) { return a[s.ta ? p * lda + i : i * lda + p]; }
  float& b_at(Index p, Index j) { return b[s.tb ? j * ldb + p : p * ldb + j]; }

  /// The product of `rows` rows from `row` on; an empty vector where the operands are out of range.
  template <class Tiles = TileModel>
  std::vector<float> run(Index row = 0, Index rows = -1) const {
    if (rows < 0) rows = s.m;
    std::vector<float> result(c.begin() + row * ldc, c.begin() + (row + rows) * ldc);
    const std::vector<float> before = result;
    const float* from = a.data() + row * (s.ta ? 1 : lda);
    const GemmProblem<float> g{
        rows,           s.n,           s.k, from, s.ta ? 1 : lda, s.ta ? lda : 1, b.data(), s.tb ? 1 : ldb,
        s.tb ? ldb : 1, result.data(), ldc, 1,    s.accumulate};
    if (gemm_split<Tiles>(g)) return result;
    CHECK(std::memcmp(result.data(), before.data(), result.size() * sizeof(float)) == 0);
    return {};
  }
  /// The same on fused multiply-adds.
  std::vector<float> run_fma() const {
    std::vector<float> result = c;
    cpu::gemm(s.ta, s.tb, s.m, s.n, s.k, a.data(), lda, b.data(), ldb, result.data(), ldc, s.accumulate);
    return result;
  }
};

/// Frobenius norm of the error relative to that of the product, and the largest |e| / sum |a| |b|.
struct Errors {
  double frobenius, component;
};
std::vector<Errors> errors(Product& product, const std::vector<std::vector<float>>& results) {
  const Case& s = product.s;
  std::vector<double> squares(results.size()), worst(results.size());
  double norm = 0;
  for (Index i = 0; i < s.m; ++i)
    for (Index j = 0; j < s.n; ++j) {
      const std::size_t at = static_cast<std::size_t>(i * product.ldc + j);
      double sum = s.accumulate ? product.c[at] : 0, size = std::abs(sum);
      for (Index p = 0; p < s.k; ++p) {
        const double term = static_cast<double>(product.a_at(i, p)) * product.b_at(p, j);
        sum += term;
        size += std::abs(term);
      }
      norm += sum * sum;
      for (std::size_t r = 0; r < results.size(); ++r) {
        const double error = std::abs(results[r][at] - sum);
        squares[r] += error * error;
        worst[r] = std::isnan(error) ? kInfinity : std::max(worst[r], error / size);
      }
    }
  std::vector<Errors> all;
  for (std::size_t r = 0; r < results.size(); ++r) all.push_back({std::sqrt(squares[r] / norm), worst[r]});
  return all;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST_CASE("gemm_split is no less accurate than fused multiply-adds", "[gemm]") {
  for (const char* data : {"signs", "positive", "wide", "graded", "cancelling"})
    for (Index k : {128, 256, 1000, 2048, 8192}) {
      // Largest errors of a few draws: one draw's largest error of a component is a matter of luck.
      Errors split{0, 0}, fma{0, 0};
      for (int seed = 1; seed <= (k > 1000 ? 1 : 4); ++seed) {
        Product product({40, 72, k, false, false, false, 0, data, seed});
        const std::vector<Errors> both = errors(product, {product.run(), product.run_fma()});
        split = {std::max(split.frobenius, both[0].frobenius), std::max(split.component, both[0].component)};
        fma = {std::max(fma.frobenius, both[1].frobenius), std::max(fma.component, both[1].component)};
      }
      INFO(data << " k " << k);
      CHECK(split.frobenius <= fma.frobenius);
      CHECK(split.component <= fma.component);
      CHECK(split.component < 1e-6);
    }
}

TEST_CASE("gemm_split: every order, ragged ends, pads and accumulation", "[gemm]") {
  for (int order = 0; order < 4; ++order)
    for (const auto& [m, n, k] : {std::array<Index, 3>{1, 1, 1},
                                  {32, 32, 32},
                                  {33, 31, 33},
                                  {16, 48, 257},
                                  {7, 129, 300},
                                  {150, 17, 64},
                                  {130, 300, 40},
                                  {3, 5, 2310}}) {
      const bool ta = order % 2 == 1, tb = order / 2 == 1;
      for (const Case& s : {Case{m, n, k, ta, tb}, Case{m, n, k, ta, tb, true, 3}}) {
        Product product(s);
        const std::vector<float> result = product.run();
        INFO("m " << m << " n " << n << " k " << k << " ta " << ta << " tb " << tb << " accumulate " << s.accumulate);
        CHECK(errors(product, {result})[0].component < 1e-6);
        Index touched = 0;
        for (Index i = 0; i < m; ++i)
          for (Index j = n; j < product.ldc; ++j) touched += !std::isnan(result[i * product.ldc + j]);
        CHECK(touched == 0);
      }
    }
}

TEST_CASE("gemm_split adds the product to C and rounds once", "[gemm]") {
  const Product plain({20, 40, 2500}), added({20, 40, 2500, false, false, true});
  const std::vector<float> product = plain.run(), sum = added.run();
  // Up to a group of blocks; further groups are added to C one by one.
  const Product small({20, 40, 2048}), small_added({20, 40, 2048, false, false, true});
  const std::vector<float> one = small.run(), with_c = small_added.run();
  for (std::size_t i = 0; i < one.size(); ++i) CHECK(with_c[i] == small.c[i] + one[i]);
  CHECK(!same_bits(product, sum));
}

TEST_CASE("gemm_split: a row has the same bits among any number of rows", "[gemm]") {
  for (int order = 0; order < 4; ++order) {
    const Product whole({150, 90, 2100, order % 2 == 1, order / 2 == 1});
    const std::vector<float> c = whole.run();
    for (const auto& [row, rows] :
         {std::array<Index, 2>{0, 1}, {149, 1}, {3, 2}, {17, 31}, {1, 32}, {5, 33}, {40, 110}}) {
      const std::vector<float> part = whole.run(row, rows);
      CHECK(same_bits(part, {c.begin() + row * 90, c.begin() + (row + rows) * 90}));
    }
  }
}

TEST_CASE("gemm_split has the same bits on any number of threads", "[gemm]") {
  for (const Case& s :
       {Case{300, 290, 520}, Case{260, 520, 140, true, true}, Case{70, 130, 2600, false, true, true, 1}}) {
    const Product product(s);
    set_threads(1);
    const std::vector<float> expected = product.run();
    for (int count : {2, 3, 8}) {
      set_threads(count);
      CHECK(same_bits(product.run(), expected));
    }
    set_threads(0);
    std::vector<float> inside[2];
    parallel_tasks(2, [&](Index i) { inside[i] = product.run(); });
    CHECK(same_bits(inside[0], expected));
    CHECK(same_bits(inside[1], expected));
  }
}

TEST_CASE("gemm_split leaves operands out of range to fused multiply-adds", "[gemm]") {
  const auto scaled = [](float a, float b) {
    Product product({40, 50, 60});
    for (float& x : product.a) x *= a;
    for (float& x : product.b) x *= b;
    return product;
  };
  const auto fits = [&](float a, float b) { return !scaled(a, b).run().empty(); };
  CHECK(fits(1, 1));
  CHECK(fits(0x1p-50f, 1));
  CHECK(fits(0x1p-40f, 0x1p-40f));
  CHECK(fits(0x1p60f, 0x1p58f));
  CHECK(fits(0x1p-50f, 0x1p120f));
  CHECK_FALSE(fits(0x1p-61f, 1));
  CHECK_FALSE(fits(1, 0x1p-61f));
  CHECK_FALSE(fits(0x1p-45f, 0x1p-45f));  // terms of the products would be denormal
  CHECK_FALSE(fits(0x1p70f, 0x1p60f));    // products overflow, and differences of infinities are NaN
  CHECK_FALSE(fits(0, 1));
  CHECK_FALSE(fits(0x1p-140f, 0x1p100f));
  for (const float bad : {kInfinity, -kInfinity, kNaN, std::numeric_limits<float>::max(), 0x1.FFp127f}) {
    Product in_a({40, 50, 60}), in_b = in_a;
    in_a.a[777] = bad, in_b.b[777] = bad;
    CHECK(in_a.run().empty());
    CHECK(in_b.run().empty());
  }
  // The largest number that is finite as bfloat16, times numbers that keep the product finite.
  Product large = scaled(1, 0x1p-20f);
  large.a[777] = 0x1.FEFFFEp127f;
  CHECK(errors(large, {large.run()})[0].component < 1e-6);
  // At both ends of the range, and with entries far below the largest.
  for (const auto& [a, b] : {std::array<float, 2>{0x1p-40f, 0x1p-40f}, {0x1p-59f, 0x1p-20f}, {0x1p60f, 0x1p58f}}) {
    Product product = scaled(a, b);
    CHECK(errors(product, {product.run()})[0].component < 1e-6);
  }
  // Denormal entries count for nothing beside ordinary ones.
  Product mixed({40, 50, 60});
  for (std::size_t i = 0; i < mixed.a.size(); i += 3) mixed.a[i] = 0x1p-140f;
  CHECK(errors(mixed, {mixed.run()})[0].component < 1e-6);
}

TEST_CASE("gemm_split packs operands that are too large in groups, with the same bits", "[gemm]") {
  const Index k = cpu::blocked::kSplitPackedNumbers / 256;
  Product product({3, 258, k, false, true});
  const std::vector<float> c = product.run();
  Product part({3, 2, k, false, true});
  part.a = product.a;
  part.b.assign(product.b.end() - 2 * k, product.b.end());
  const std::vector<float> last = part.run();
  for (Index i = 0; i < 3; ++i)
    for (Index j = 0; j < 2; ++j) CHECK(last[i * 2 + j] == c[i * 258 + 256 + j]);
  product.b.back() = kNaN;
  CHECK(product.run().empty());
}

TEST_CASE("TileModel computes what TDPBF16PS is documented to", "[gemm]") {
  TileModel tiles;
  alignas(64) std::uint16_t a[kTileNumbers] = {}, b[kTileNumbers] = {};
  alignas(64) float c[256];
  const auto top = [](float x) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return static_cast<std::uint16_t>(bits >> 16);
  };
  const auto multiply = [&] {
    tiles.zero<0>(), tiles.load<4>(a), tiles.load<6>(b);
    tiles.multiply<0, 4, 6>(), tiles.multiply<0, 4, 6>();
    tiles.store<0>(c, 16);
    return c[2 * 16 + 3];
  };
  const auto set = [&](Index p, float x, float y) { a[2 * 32 + p] = top(x), b[p / 2 * 32 + 3 * 2 + p % 2] = top(y); };
  set(0, 3, 5), set(1, 7, 0.5f), set(30, -1, 2), set(31, 4, 4);
  CHECK(multiply() == 2 * (15 + 3.5f - 2 + 16));
  CHECK(c[0] == 0);
  // Two chains: 1 + 2^-24 is a tie and gives 1 in a chain, twice; 2^-24 + 2^-24 in the other one is kept.
  set(0, 1, 1), set(2, 0x1p-12f, 0x1p-12f), set(4, 0x1p-12f, 0x1p-12f), set(30, 0, 0);
  set(1, 0x1p-12f, 0x1p-12f), set(3, 0x1p-12f, 0x1p-12f), set(31, 0, 0);
  CHECK(multiply() == 2 * (1 + 0x1p-23f));
  // Denormal operands are zeros; so are denormal results.
  std::memset(a, 0, sizeof a);
  set(0, 0x1p-130f, 0x1p100f);
  CHECK(multiply() == 0);
  set(0, 0x1p-70f, 0x1p-60f);
  CHECK(multiply() == 0);
  set(0, 0x1p-70f, 0x1p-56f);
  CHECK(multiply() == 2 * 0x1p-126f);
}

TEST_CASE("gemm_split: the CPU's tiles give the model's bits", "[gemm]") {
#ifdef GRAFT_TILES
  if (!TileUnit::available()) GRAFT_SKIP("this CPU has no AMX-BF16, or the system does not lend it");
  for (const char* data : {"signs", "positive", "wide", "graded", "cancelling"})
    for (int order = 0; order < 4; ++order) {
      const Product product({133, 290, 2100, order % 2 == 1, order / 2 == 1, order == 3, 2, data});
      CHECK(same_bits(product.run<TileUnit>(), product.run()));
      std::vector<float> called = product.c;
      set_split_products(true);
      cpu::gemm(product.s.ta, product.s.tb, 133, 290, 2100, product.a.data(), product.lda, product.b.data(),
                product.ldb, called.data(), product.ldc, product.s.accumulate);
      set_split_products(false);
      CHECK(same_bits(called, product.run()));
    }
#else
  GRAFT_SKIP("no tile registers in this build");
#endif
}

TEST_CASE("set_split_products turns products from terms on and off", "[gemm]") {
  CHECK_FALSE(split_products());
  set_split_products(true);
#ifdef GRAFT_TILES
  CHECK(split_products() == TileUnit::available());
#else
  CHECK_FALSE(split_products());
#endif
  set_split_products(false);
  CHECK_FALSE(split_products());
}
