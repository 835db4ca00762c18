// What the op table cannot ask of linear algebra, tagged [linalg]: bits inside task regions, degenerate and
// ill-conditioned matrices.

#include "graft/model/grad.hpp"
#include "graft/ops/linalg_spectral.hpp"

#include <cmath>

#include "catch.hpp"

using namespace graft;

namespace {

Tensor<double> normal(const Shape& shape, std::uint64_t stream) {
  return randn<double>(shape, Random(5).stream(stream));
}

}  // namespace

TEST_CASE("large factorisations have the same bits inside a task region", "[linalg]") {
  const Index n = 400;
  const Tensor<double> x = normal({n, n}, 1), b = normal({n, 200}, 2);
  const Tensor<double> positive = matmul(x, x, {.transpose_b = true}) + eye<double>(n);
  const auto all = [&] {
    return std::vector{solve(x, b), cholesky(positive), cholesky_solve(positive, b), triangular_solve(positive, b),
                       least_squares(slice(x, 1, 0, 300), b)};
  };
  const auto outside = all();
  std::vector<std::vector<Tensor<double>>> inside(2);
  parallel_tasks(2, [&](Index i) { inside[i] = all(); });
  for (const auto& results : inside)
    for (std::size_t i = 0; i < outside.size(); ++i) CHECK(same_bits(results[i], outside[i]));
}

TEST_CASE("the gradient of the nuclear norm exists at a matrix of low rank", "[linalg]") {
  // Rank 1 in [4, 3]: one subgradient of the sum of singular values is u v^T on the range, and any singular u' v'^T
  // beside it.
  const Tensor<double> u = normal({4, 1}, 1), v = normal({1, 3}, 2), a = matmul(u, v);
  const Tensor<double> g = grad([](const Tensor<double>& x) { return sum(svd(x).values); }, a);
  const Tensor<double> along = matmul(matmul(u, g, {.transpose_a = true}), v, {.transpose_b = true});
  const double size = std::sqrt(sum(square(u)).item() * sum(square(v)).item());
  CHECK(along.item() == Approx(size).epsilon(1e-12));
  CHECK(svd(g).values.at({0}) < 1 + 1e-12);  // a subgradient has no singular value above one
}

TEST_CASE("equal eigenvalues give finite gradients, zero between them", "[linalg]") {
  // tr f(A) is smooth there: d sum(w^2) / dA = 2 A.
  const Tensor<double> a = 3.0 * eye<double>(4);
  const Tensor<double> g = grad([](const Tensor<double>& x) { return sum(square(symmetric_eigen(x).values)); }, a);
  CHECK(all_close(g, 2.0 * a, 1e-14, 1e-14));
}

TEST_CASE("the upper part of a triangular matrix gets no gradient, whatever the numbers are", "[linalg]") {
  const double nan = std::nan("");
  const Tensor<double> b = normal({3, 2}, 1), l = tensor<double>({{2, 5, -1}, {1, 3, 4}, {-2, 1, nan}});
  const Tensor<double> unread = tensor<double>({{2, nan, nan}, {1, 3, nan}, {-2, 1, 2}});
  for (const bool transposed : {false, true})
    for (const bool create_graph : {false, true}) {
      const auto slope = [&](const Tensor<double>& x) {
        return grad([&](const Tensor<double>& m) { return sum(triangular_solve(m, b, transposed)); }, x,
                    {.create_graph = create_graph});
      };
      const Tensor<double> poisoned = slope(l), finite = slope(unread);
      CHECK(std::isnan(poisoned.at({2, 2})));
      for (Index i = 0; i < 3; ++i)
        for (Index j = 0; j < 3; ++j) {
          if (j > i) CHECK(poisoned.at({i, j}) == 0);
          if (j > i) CHECK(finite.at({i, j}) == 0);
          CHECK(std::isfinite(finite.at({i, j})));
        }
    }
}

TEST_CASE("the gradient of least squares is as good as its value allows", "[linalg]") {
  // Columns (1, e, 0) and (1, 0, e), condition sqrt(2) / e. In float the normal equations lose e^2 = 1e-8 altogether.
  const float e = 1e-4f;
  const Tensor<float> a = tensor<float>({{1, 1}, {e, 0}, {0, e}}), b = tensor<float>({{2}, {e}, {e}});
  CHECK_THROWS_AS(cholesky_solve(matmul(a, a, {.transpose_a = true}), zeros({2, 1})), ValueError);
  const double allowed = 4 * std::sqrt(2.0) / e * std::numeric_limits<float>::epsilon();
  const auto relative = [](const Tensor<float>& x, const Tensor<float>& exact) {
    return std::sqrt(sum(square(x - exact)).item() / sum(square(exact)).item());
  };
  CHECK(relative(least_squares(a, b), ones<float>({2, 1})) < allowed);
  // 1^T A^+ b: (1, 1) is an eigenvector of A^T A with eigenvalue 2 + e^2, so the gradient is A (1, 1) / (2 + e^2).
  const auto f = [&](const Tensor<float>& right) { return sum(least_squares(a, right)); };
  const Tensor<float> exact = tensor<float>({{1}, {e / 2}, {e / 2}});
  CHECK(relative(grad(f, b), exact) < allowed);
  CHECK(relative(grad(f, b, {.create_graph = true}).detach(), exact) < allowed);
}

TEST_CASE("symmetric functions use the symmetric part and give symmetric gradients", "[linalg]") {
  const Tensor<double> x = normal({4, 4}, 3), b = normal({4, 2}, 4),
                       a = matmul(x, x, {.transpose_b = true}) + eye<double>(4);
  const Tensor<double> skew = x - transpose(x);
  const auto symmetric = [](const Tensor<double>& g) { return all_close(g, transpose(g), 1e-12, 1e-13); };
  CHECK(all_close(cholesky(a + skew), cholesky(a), 1e-13, 1e-14));
  CHECK(all_close(symmetric_eigen(a + skew).vectors, symmetric_eigen(a).vectors, 1e-12, 1e-13));
  CHECK(symmetric(grad([&](const auto& m) { return sum(cholesky(m)); }, a)));
  CHECK(symmetric(grad([&](const auto& m) { return sum(cholesky_solve(m, b)); }, a)));
  CHECK(symmetric(grad([&](const auto& m) { return sum(symmetric_eigen(m).vectors); }, a)));
}
