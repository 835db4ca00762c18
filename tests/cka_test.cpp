// Linear CKA against its definition and the unbiased estimate of HSIC against its sum over quadruples of items.

#include <cmath>

#include "catch.hpp"
#include "graft/core/random.hpp"
#include "graft/evaluate/cka.hpp"
#include "graft/ops/linalg.hpp"
#include "messages.hpp"

using namespace graft;

namespace {

using Numbers = Tensor<double>;

Numbers normal(Index items, Index width, std::uint64_t seed) { return randn<double>({items, width}, Random(seed)); }
/// An orthogonal matrix: (I - A)(I + A)^-1 of an A with A^T = -A (Cayley).
Numbers rotation(Index width, std::uint64_t seed) {
  const Numbers half = normal(width, width, seed), skew = half - transpose(half);
  const Numbers one = one_hot<double>(arange<std::int64_t>(width), width);
  return solve(one + skew, one - skew);
}
/// The kernel of HSIC's U-statistic over ordered quadruples of different items, in its symmetric form: the mean of
/// (K_ij + K_qr - K_iq - K_jr) (L_ij + L_qr - L_iq - L_jr) / 4.
double hsic_of_quadruples(const Numbers& x, const Numbers& y) {
  const Numbers k = matmul(x, transpose(x)), l = matmul(y, transpose(y));
  const Index n = x.size(0);
  double total = 0, count = 0;
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < n; ++j)
      for (Index q = 0; q < n; ++q)
        for (Index r = 0; r < n; ++r) {
          if (i == j || i == q || i == r || j == q || j == r || q == r) continue;
          const auto of = [&](const Numbers& m) { return m.at({i, j}) + m.at({q, r}) - m.at({i, q}) - m.at({j, r}); };
          total += of(k) * of(l) / 4;
          ++count;
        }
  return total / count;
}

}  // namespace

TEST_CASE("CKA by hand", "[evaluate]") {
  // Centred columns (-1, 0, 1) and (1, -2, 1) / and the sum of both: |y^T x|^2 / (|x|^2 |y|^2) is a squared
  // correlation.
  const Numbers x = tensor<double>({{3}, {4}, {5}}), y = tensor<double>({{1}, {-2}, {1}});
  CHECK(std::abs(linear_cka(x, y, CkaEstimate::centred)) < 1e-15);
  CHECK(linear_cka(x, x + y, CkaEstimate::centred) == Approx(4.0 / (2 * 8)).epsilon(1e-12));
  // X = (x, y): X^T X = diag(2, 6), so CKA(x, X) = 2^2 / (2 sqrt(2^2 + 6^2)).
  CHECK(linear_cka(x, concat<double>({x, y}, 1), CkaEstimate::centred) == Approx(2 / std::sqrt(40.0)).epsilon(1e-12));
  CHECK(linear_cka(tensor<float>({{0}, {1}}), tensor<float>({{7}, {5}}), CkaEstimate::centred) == Approx(1));
}

TEST_CASE("CKA is 1 for rotated, shifted and scaled copies in every estimate", "[evaluate]") {
  for (const Index items : {6, 30, 200}) {
    const Numbers x = normal(items, 5, 1), copy = 1e-3 * matmul(x, rotation(5, 2)) + 1e6;
    for (const CkaEstimate estimate : {CkaEstimate::centred, CkaEstimate::unbiased, CkaEstimate::by_size}) {
      CHECK(linear_cka(x, copy, estimate) == Approx(1).epsilon(1e-7));  // 1e6 + 1e-3 leaves about 7 digits
      CHECK(linear_cka(1e200 * x, 1e-200 * x, estimate) == Approx(1).epsilon(1e-12));
    }
  }
}

TEST_CASE("CKA is symmetric, does not depend on the order of items, and does on which columns there are",
          "[evaluate]") {
  const Numbers x = normal(40, 3, 1), y = normal(40, 6, 2) + concat<double>({x, x}, 1);
  const auto order = from_vector(Random(3).permutation(40));
  for (const CkaEstimate estimate : {CkaEstimate::centred, CkaEstimate::unbiased}) {
    const double value = linear_cka(x, y, estimate);
    CHECK(value > 0.2);
    CHECK(value < 0.8);
    CHECK(linear_cka(y, x, estimate) == Approx(value).epsilon(1e-12));
    CHECK(linear_cka(gather(x, order), gather(y, order), estimate) == Approx(value).epsilon(1e-12));
  }
  // Stretched along one column it is another representation (CKA is not invariant to all linear maps).
  CHECK(linear_cka(x, x * tensor<double>({1, 1, 5}), CkaEstimate::centred) < 0.9);
}

TEST_CASE("the Gram and the feature form of CKA agree", "[evaluate]") {
  // 12 items of 20 columns go through Gram matrices; a rotation to their 11 dimensions, padded, through features.
  const Numbers x = normal(12, 20, 1), y = normal(12, 20, 2);
  const auto centred = [](const Numbers& m) { return m - mean(m, {0}); };
  const Numbers a = centred(x), b = centred(y);
  const auto squares = [](const Numbers& p, const Numbers& q) { return sum(square(matmul(transpose(p), q))).item(); };
  CHECK(linear_cka(x, y, CkaEstimate::centred) ==
        Approx(squares(b, a) / std::sqrt(squares(a, a) * squares(b, b))).epsilon(1e-12));
}

TEST_CASE("the unbiased estimate is HSIC's sum over quadruples", "[evaluate]") {
  for (const Index items : {4, 5, 7}) {
    const Numbers x = normal(items, 3, 5), y = normal(items, 2, 6) + slice(x, 1, 0, 2);
    const double expected = hsic_of_quadruples(x, y) / std::sqrt(hsic_of_quadruples(x, x) * hsic_of_quadruples(y, y));
    CHECK(linear_cka(x, y, CkaEstimate::unbiased) == Approx(expected).epsilon(1e-10));
  }
}

TEST_CASE("of independent features CKA is d/n too large and the unbiased estimate about 0", "[evaluate]") {
  const Index items = 60, width = 30;
  double centred = 0, unbiased = 0, by_size = 0;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const Numbers x = normal(items, width, 100 + seed), y = normal(items, width, 900 + seed);
    centred += linear_cka(x, y, CkaEstimate::centred) / 40;
    unbiased += linear_cka(x, y, CkaEstimate::unbiased) / 40;
    by_size += linear_cka(x, y) / 40;
  }
  CHECK(centred > 0.3);  // E about d / (n + d) = 1/3
  CHECK(centred < 0.37);
  CHECK(std::abs(unbiased) < 0.02);
  CHECK(by_size == unbiased);  // 60 < 10 * 30
  const Numbers x = normal(300, 3, 1), y = normal(300, 3, 2);
  CHECK(linear_cka(x, y) == linear_cka(x, y, CkaEstimate::centred));
  CHECK(linear_cka(slice(x, 0, 0, 3), slice(y, 0, 0, 3)) ==
        linear_cka(slice(x, 0, 0, 3), slice(y, 0, 0, 3), CkaEstimate::centred));
}

TEST_CASE("the CKA of several representations", "[evaluate]") {
  const Numbers x = normal(50, 3, 1), y = normal(50, 3, 2), z = 2 * y + 1;
  const Numbers matrix = cka_matrix<double>({x, y, z});
  for (Index i = 0; i < 3; ++i) CHECK(matrix.at({i, i}) == 1);
  CHECK(matrix.at({1, 2}) == Approx(1).epsilon(1e-12));
  CHECK(matrix.at({0, 1}) == linear_cka(y, x));
  CHECK(matrix.at({1, 0}) == matrix.at({0, 1}));
  CHECK(refusal_fault("cka_matrix", "no representations", [&] { cka_matrix<double>({}); }) == "");
}

TEST_CASE("Pearson's correlations of units", "[evaluate]") {
  // By hand: (-1, 0, 1) with (-1, 0, 1), (1, 0, -1), (1, -2, 1), and a constant; (0, 1, 5) centred is (-2, -1, 3).
  const Numbers x = tensor<double>({{3, 3, 3, 3, 3}, {4, 4, 4, 4, 4}, {5, 5, 5, 5, 5}});
  const Numbers y = tensor<double>({{-1, 1, 1, 7, 0}, {0, 0, -2, 7, 1}, {1, -1, 1, 7, 5}});
  const Numbers r = unit_correlations(x, y);
  CHECK(r.at({0}) == Approx(1));
  CHECK(r.at({1}) == Approx(-1));
  CHECK(std::abs(r.at({2})) < 1e-15);
  CHECK(r.at({3}) == 0);
  CHECK(r.at({4}) == Approx(5 / std::sqrt(2.0 * 14)));
  const Numbers moved = unit_correlations(1e6 + 1e-3 * x, 1e150 * y);
  for (Index k = 0; k < 5; ++k) CHECK(moved.at({k}) == Approx(r.at({k})).margin(1e-7));
  CHECK(refusal_fault<ShapeError>("unit_correlations", "[3, 5]", [&] { unit_correlations(x, slice(y, 1, 0, 2)); }) ==
        "");
  CHECK(refusal_fault("unit_correlations", "unit 0 of y holds -inf", [&] { unit_correlations(x, y / 0.0); }) == "");
}

TEST_CASE("what CKA refuses", "[evaluate]") {
  const Numbers x = normal(5, 2, 1);
  CHECK(refusal_fault<ShapeError>("linear_cka", "[4, 2]", [&] { linear_cka(x, slice(x, 0, 0, 4)); }) == "");
  CHECK(refusal_fault<ShapeError>("linear_cka", "[5, 0]", [&] { linear_cka(x, zeros<double>({5, 0})); }) == "");
  CHECK(refusal_fault("linear_cka", "y are alike", [&] { linear_cka(x, full<double>({5, 2}, 0.1)); }) == "");
  CHECK(refusal_fault("linear_cka", "x are alike", [&] { linear_cka(zeros<double>({5, 2}), x); }) == "");
  CHECK(refusal_fault("linear_cka", "holds nan", [&] { linear_cka(x, x + std::nan("")); }) == "");
  CHECK(refusal_fault("linear_cka", "1 items, expected 2", [&] { linear_cka(slice(x, 0, 0, 1), slice(x, 0, 0, 1)); }) ==
        "");
  CHECK(refusal_fault("linear_cka", "expected 4",
                      [&] { linear_cka(slice(x, 0, 0, 3), slice(x, 0, 0, 3), CkaEstimate::unbiased); }) == "");
}
