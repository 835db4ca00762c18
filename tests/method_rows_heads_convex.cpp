// Rows of the method table for few-shot heads that solve for their classifier: ridge regression, the support vector
// machine of MetaOptNet, and the Mahalanobis distances of Simple CNAPS.

#include <cmath>

#include "graft/fewshot/mahalanobis.hpp"
#include "graft/fewshot/protonet.hpp"
#include "graft/fewshot/ridge.hpp"
#include "graft/fewshot/svm.hpp"
#include "heads.hpp"

using namespace graft;

namespace {

using Double = Tensor<double>;
using Labels = Tensor<std::int64_t>;

Episode<double> broken(Episode<double> e) {
  e.support.x = e.support.x / 0.0;
  return e;
}
/// a^-1 b by Gaussian elimination with pivots: a [n, n], b [n, columns].
Double eliminated(const Double& a, const Double& b) {
  const Index n = a.size(0), columns = b.size(1);
  std::vector<std::vector<double>> rows;
  for (Index i = 0; i < n; ++i) {
    rows.emplace_back();
    for (Index j = 0; j < n; ++j) rows.back().push_back(a.at({i, j}));
    for (Index j = 0; j < columns; ++j) rows.back().push_back(b.at({i, j}));
  }
  const auto size = static_cast<std::size_t>(n);
  for (std::size_t p = 0; p < size; ++p) {
    std::size_t largest = p;
    for (std::size_t i = p; i < size; ++i)
      if (std::abs(rows[i][p]) > std::abs(rows[largest][p])) largest = i;
    std::swap(rows[p], rows[largest]);
    for (std::size_t i = 0; i < size; ++i) {
      if (i == p) continue;
      const double factor = rows[i][p] / rows[p][p];
      for (std::size_t j = p; j < rows[i].size(); ++j) rows[i][j] -= factor * rows[p][j];
    }
  }
  return generate({n, columns}, [&](Index i, Index j) {
    const auto row = static_cast<std::size_t>(i);
    return rows[row][n + j] / rows[row][row];
  });
}

// ---- Ridge regression -----------------------------------------------------------------------------------------------
using Ridge = RidgeHead<double>;
Double number(double x) { return Double(x); }
Double ridge_of(RidgeIntercept intercept, const Episode<double>& e, double lambda = 1) {
  return Ridge({.intercept = intercept, .lambda = lambda, .scale = 1})(e, Context());
}
constexpr RidgeIntercept kIntercepts[] = {RidgeIntercept::column, RidgeIntercept::centre, RidgeIntercept::none};

const bool ridge_row = add_method_rows({{
    .name = "ridge",
    .header = "graft/fewshot/ridge.hpp",
    .paper = "Bertinetto, Henriques, Torr, Vedaldi, Meta-learning with differentiable closed-form solvers, ICLR 2019",
    .functions = {"RidgeHead", "ridge_weights", "metaoptnet_ridge"},
    .use = "EpisodeLearner{embedding, RidgeHead<>()}(episode, context)",
    .run =
        [](const Random& random) {
          return trained_head(RidgeHead<float>(), embedded_episode<float>({20, 2, 300, 64}, random));
        },
    .loss = head_loss(Ridge(), embedded_episode()),
    .loss_at = head_point(Ridge(), embedded_episode()),
    .errors = joined(head_errors(Ridge(), embedded_episode()),
                     {bad_use<ValueError>([] { Ridge({.lambda = 0}); }, "lambda is 0"),
                      bad_use<ValueError>([] { Ridge({.scale = -1}); }, "scale is -1"),
                      bad_use<ShapeError>(
                          [] {
                            ridge_weights(zeros({3, 2}), zeros({4, 2}), Tensor<float>(1.0f));
                          },
                          "y [4, 2]"),
                      bad_use<ShapeError>(
                          [] {
                            ridge_weights(zeros({3, 2}), zeros({3, 2}), zeros({2}));
                          },
                          "lambda [2]")}),
    .properties =
        {{"inductive; classes and support items have no order",
          [] {
            for (const RidgeIntercept intercept : kIntercepts) {
              const Ridge head({.intercept = intercept});
              for (const Index width : {4, 9}) {
                check_inductive(head, embedded_episode({3, 2, 5, width}));
                check_permutations(head, embedded_episode({3, 2, 5, width}));
              }
            }
          }},
         {"both forms are (X' X + lambda I)^-1 X' Y, and X' (X X' + lambda I)^-1 Y",
          [] {
            for (const Index width : {3, 6, 11})
              for (const double lambda : {1e-2, 50.}) {
                const Double x = randn<double>({6, width}, Random(1)), y = randn<double>({6, 2}, Random(2));
                const Double w = ridge_weights(x, y, number(lambda)), xt = transpose(x);
                CHECK(gap(w, eliminated(matmul(xt, x) + lambda * eye<double>(width), matmul(xt, y))) < 1e-10);
                CHECK(gap(w, matmul(xt, eliminated(matmul(x, xt) + lambda * eye<double>(6), y))) < 1e-10);
              }
          }},
         {"both forms have the same derivatives",
          [] {
            for (const Index width : {4, 9}) {
              const Double x = randn<double>({6, width}, Random(1)), y = randn<double>({6, 2}, Random(2)),
                           v = randn<double>({6, width}, Random(3));
              const auto by_rows = [&](const Double& at, const Double& lambda) {
                return sum(tanh(matmul(transpose(at), solve(matmul(at, transpose(at)) + lambda * eye<double>(6), y))));
              };
              const auto loss = [&](const Double& at, const Double& lambda) {
                return sum(tanh(ridge_weights(at, y, lambda)));
              };
              const auto second = [&](const auto& f) {
                return hvp([&](const Double& at) { return f(at, number(0.7)); }, x, v);
              };
              CHECK(gap(second(loss).first, second(by_rows).first) < 1e-11);
              CHECK(gap(second(loss).second, second(by_rows).second) < 1e-10);
              const auto by_lambda = [&](const auto& f) {
                return grad([&](const Double& lambda) { return f(x, lambda); }, number(0.7));
              };
              CHECK(gap(by_lambda(loss), by_lambda(by_rows)) < 1e-12);
            }
          }},
         {"an infinite lambda gives zeros, a small one goes through the support set",
          [] {
            const Episode<double> e = embedded_episode({3, 2, 5, 9});
            for (const RidgeIntercept intercept : {RidgeIntercept::column, RidgeIntercept::none})
              CHECK(max(abs(ridge_of(intercept, e, 1e12))).item() < 1e-9);
            CHECK(gap(ridge_of(RidgeIntercept::centre, e, 1e12), full<double>({5, 3}, 1. / 3)) < 1e-9);
            for (const RidgeIntercept intercept : kIntercepts)
              CHECK(gap(ridge_of(intercept, with_queries(e, e.support.x), 1e-9), one_hot<double>(e.support.y, 3)) <
                    1e-7);
          }},
         {"a column of ones is one more embedded number",
          [] {
            const Episode<double> e = embedded_episode();
            const auto wider = with_embeddings(e, [](const Double& x) {
              return concat<double>({x, ones<double>({x.size(0), 1})}, 1);
            });
            CHECK(same_bits(ridge_of(RidgeIntercept::column, e), ridge_of(RidgeIntercept::none, wider)));
          }},
         {"centred, the intercept is free of lambda: residuals of the support set sum to 0, weights are stationary",
          [] {
            const Episode<double> e = embedded_episode();
            const Double answers = ridge_of(RidgeIntercept::centre, with_queries(e, e.support.x), 3);
            const Double residual = answers - one_hot<double>(e.support.y, 3);
            CHECK(max(abs(sum(residual, {0}))).item() < 1e-13);
            // W, read off the answers to unit vectors less that to zero.
            const Double probes = concat<double>({zeros<double>({1, 4}), eye<double>(4)});
            const Double at = ridge_of(RidgeIntercept::centre, with_queries(e, probes), 3);
            const Double w = slice(at, 0, 1, 5) - slice(at, 0, 0, 1);
            CHECK(max(abs(matmul(transpose(e.support.x), residual) + 3.0 * w)).item() < 1e-12);
          }},
         {"centred, a common part of all embeddings changes nothing",
          [] {
            check_common_part([]<class T>(T) { return RidgeHead<T>({.intercept = RidgeIntercept::centre}); }, 1e-11);
          }},
         {"the ridge head of MetaOptNet: 2 K(query, support) (K + 50 I)^-1 Y, with a learned scale",
          [] {
            const Episode<double> e = embedded_episode();
            const Double k = matmul(e.support.x, transpose(e.support.x)) + 50.0 * eye<double>(6);
            const Double dual = eliminated(k, 2.0 * one_hot<double>(e.support.y, 3));
            const Ridge head(metaoptnet_ridge());
            CHECK(gap(head(e, Context()), matmul(e.query.x, matmul(transpose(e.support.x), dual))) < 1e-14);
            CHECK(count(head) == 2);
            CHECK(count(Ridge()) == 3);
          }},
         {"lambda, scale and bias act as they say",
          [] {
            const Episode<double> e = embedded_episode();
            Ridge head({.lambda = 2, .scale = 3});
            head.bias = number(0.5);
            CHECK(gap(head(e, Context()), 3.0 * ridge_of(RidgeIntercept::column, e, 2) + 0.5) < 1e-13);
          }},
         {"what is not finite is an error that names the head",
          [] { CHECK_THROWS_WITH(Ridge()(broken(embedded_episode()), Context()), contains("RidgeHead")); }}},
}});

// ---- Support vector machine -----------------------------------------------------------------------------------------
using Svm = SvmHead<double>;
Double kernel_of(const Episode<double>& e, double ridge) {
  return matmul(e.support.x, transpose(e.support.x)) + ridge * eye<double>(e.support.x.size(0));
}
Labels ones_and_zeros(Index items) {
  return generate({items}, [](Index i) { return std::int64_t{i % 2}; });
}

/// The conditions of the optimum, and that primal and dual agree, by plain sums.
void check_optimum(const Double& kernel, const Labels& labels, Index ways, double c) {
  const Double a = crammer_singer_duals(kernel, labels, ways, c);
  const Index items = labels.size(0);
  double squares = 0, slack = 0, linear = 0;
  for (Index n = 0; n < items; ++n) {
    double total = 0, low = INFINITY, high = -INFINITY, worst = -INFINITY;
    std::vector<double> f(ways);
    for (Index k = 0; k < ways; ++k) {
      for (Index m = 0; m < items; ++m) f[k] += kernel.at({n, m}) * a.at({m, k});
      const bool own = labels.at({n}) == k;
      const double upper = own ? c : 0, value = a.at({n, k}), slope = f[k] - own;
      CHECK(value <= upper);
      total += value;
      squares += value * f[k];
      if (own) linear += value;
      // Slopes are equal off the bounds, and no larger at them.
      if (value < upper) {
        low = std::min(low, slope);
        high = std::max(high, slope);
      } else {
        worst = std::max(worst, slope);
      }
    }
    CHECK(std::abs(total) < 1e-14 * std::max(c, 1.0));
    CHECK(high - low < 1e-9);
    CHECK(worst < low + 1e-9);
    const double own = f[labels.at({n})];
    double violation = 0;
    for (Index k = 0; k < ways; ++k)
      if (k != labels.at({n})) violation = std::max(violation, 1 - own + f[k]);
    slack += violation;
  }
  const double primal = squares / 2 + c * slack, dual = linear - squares / 2;
  CHECK(primal == Approx(dual).epsilon(1e-9));
}

const bool svm_row = add_method_rows({{
    .name = "svm",
    .header = "graft/fewshot/svm.hpp",
    .paper = "Lee, Maji, Ravichandran, Soatto, Meta-learning with differentiable convex optimization (MetaOptNet), "
             "CVPR 2019",
    .functions = {"SvmHead", "crammer_singer_duals"},
    .use = "EpisodeLearner{embedding, SvmHead<>()}(episode, context)",
    .run =
        [](const Random& random) {
          return trained_head(SvmHead<float>(), embedded_episode<float>({5, 4, 400, 64}, random));
        },
    .loss = head_loss(Svm({.c = 0.2}), embedded_episode({3, 3, 5, 4})),
    .loss_at = head_point(Svm({.c = 0.2}), embedded_episode({3, 3, 5, 4})),
    .errors = joined(
        head_errors(Svm(), embedded_episode()),
        {bad_use<ValueError>([] { Svm({.c = 0}); }, "c is 0"),
         bad_use<ValueError>([] { Svm({.ridge = 0}); }, "ridge is 0"),
         bad_use<ValueError>([] { Svm({.scale = NAN}); }, "scale is nan"),
         bad_use<ValueError>([] { Svm()(broken(embedded_episode()), Context(), Site::current()); }, "NaN"),
         bad_use<ValueError>([] { crammer_singer_duals(eye<double>(2), ones_and_zeros(2), 2, -1); }, "c is -1"),
         bad_use<ShapeError>([] { crammer_singer_duals(eye<double>(2), ones_and_zeros(3), 2, 1); }, "labels [3]")}),
    .properties =
        {{"inductive; classes and support items have no order",
          [] {
            check_inductive(Svm(), embedded_episode());
            check_permutations(Svm(), embedded_episode());
            check_permutations(Svm({.c = 10, .ridge = 1e-3}), embedded_episode({5, 5, 5, 3}), 1e-9);
          }},
         {"the conditions of the optimum hold, and primal and dual agree",
          [] {
            const EmbeddedSizes sizes[] = {{2, 1, 0, 3}, {3, 2, 0, 4},  {5, 1, 0, 16},
                                           {5, 5, 0, 3}, {2, 10, 0, 2}, {12, 3, 0, 8}};
            for (const EmbeddedSizes& size : sizes)
              for (const double c : {1e-3, 0.1, 10.})
                for (const double ridge : {1e-3, 1.}) {
                  const Episode<double> e = embedded_episode(size);
                  check_optimum(kernel_of(e, ridge), e.support.y, size.ways, c);
                }
          }},
         {"the machine of the kernel plus the ridge, w_k = sum_n a_nk x_n",
          [] {
            const Episode<double> e = embedded_episode();
            const Double a = crammer_singer_duals(kernel_of(e, 0.3), e.support.y, 3, 0.2);
            const Svm head({.c = 0.2, .ridge = 0.3, .scale = 5});
            CHECK(same_bits(head.duals(e), a));
            CHECK(gap(head(e, Context()), 5.0 * matmul(e.query.x, matmul(transpose(e.support.x), a))) < 1e-13);
          }},
         {"among separable classes support vectors alone have duals: the widest margin, by hand",
          [] {
            // v = w_1 - w_0 on a line without bias: v x >= 1 for items of class 1 and <= -1 for those of class 0.
            Episode<double> e;
            e.ways = 2;
            e.support = {tensor<double>({{-2}, {3}, {-5}, {2}, {-2.5}, {7}}), ones_and_zeros(6)};
            e.query = {tensor<double>({{1}, {-4}}), {}};
            const Svm head({.c = 10, .ridge = 1e-9});
            const Double a = head.duals(e);
            for (const Index n : {1, 2, 4, 5})
              for (const Index k : {0, 1}) CHECK(a.at({n, k}) == 0);
            // v = 1 / 2, w_1 = 1 / 4 = 2 (a_0,0 + a_3,1), and both items bear the same.
            for (const auto& [n, k] : {std::pair<Index, Index>{0, 0}, {3, 1}}) {
              CHECK(a.at({n, k}) == Approx(1. / 16).epsilon(1e-6));
              CHECK(a.at({n, 1 - k}) == -a.at({n, k}));
            }
            CHECK(gap(head(e, Context()), tensor<double>({{-0.25, 0.25}, {1, -1}})) < 1e-6);
          }},
         {"a high price of violations separates what is separable: every margin is 1 or more",
          [] {
            const Episode<double> e = embedded_episode({4, 3, 0, 20});
            const Double f = Svm({.c = 1e4, .ridge = 1e-6})(with_queries(e, e.support.x), Context());
            double least = INFINITY;
            for (Index n = 0; n < 12; ++n)
              for (Index k = 0; k < 4; ++k)
                if (k != e.support.y.at({n})) least = std::min(least, f.at({n, e.support.y.at({n})}) - f.at({n, k}));
            CHECK(least == Approx(1).epsilon(1e-3));
          }},
         {"a price so low that every dual is at a bound: the sum of all items of a class against all others",
          [] {
            // Of two classes: at c -> 0, a_n = c at the label and -c at the other.
            const Episode<double> e = embedded_episode({2, 3, 5, 4});
            const double c = 1e-6;
            const Double signs = 2.0 * one_hot<double>(e.support.y, 2) - 1.0;
            CHECK(gap(Svm({.c = c}).duals(e), c * signs) == 0);
            CHECK(gap(Svm({.c = c})(e, Context()), c * matmul(e.query.x, matmul(transpose(e.support.x), signs))) <
                  1e-20);
          }},
         {"classes of unequal size, one way, one item",
          [] {
            Episode<double> e = embedded_episode({3, 4, 5, 4});
            e.support.y = tensor<std::int64_t>({0, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2});
            check_optimum(kernel_of(e, 1), e.support.y, 3, 0.1);
            const Episode<double> one = embedded_episode({1, 1, 3, 4});
            CHECK(max(abs(Svm()(one, Context()))).item() == 0);
          }},
         {"duplicated items share what one had to bear",
          [] {
            const Episode<double> e = embedded_episode({3, 2, 5, 4});
            Episode<double> twice = e;
            twice.support = {concat<double>({e.support.x, e.support.x}),
                             concat<Labels::Scalar>({e.support.y, e.support.y})};
            // The ridge of 1e-7 a half each is that of 2e-7 on one.
            CHECK(gap(Svm({.c = 0.1, .ridge = 2e-7})(twice, Context()), Svm({.c = 0.2, .ridge = 1e-7})(e, Context())) <
                  1e-8);
          }},
         {"derivatives by the kernel keep the sums of duals at 0",
          [] {
            const Episode<double> e = embedded_episode({3, 3, 0, 4});
            const Double k = kernel_of(e, 1), weights = randn<double>({9, 1}, Random(1));
            const auto sums = [&](const Double& at) {
              return sum(weights * sum(crammer_singer_duals(at, e.support.y, 3, 0.2), {1}, true));
            };
            CHECK(max(abs(grad(sums, k))).item() < 1e-14);
          }},
         {"centred, a common part of all embeddings changes nothing",
          [] { check_common_part([]<class T>(T) { return SvmHead<T>({.centre = true}); }, 1e-11); }},
         {"in float as in double",
          [] {
            const Episode<float> e = embedded_episode<float>({5, 3, 6, 16}, 3);
            const Episode<double> d{{cast<double>(e.support.x), e.support.y}, {cast<double>(e.query.x), {}}, 5};
            CHECK(gap(cast<double>(SvmHead<float>()(e, Context())), Svm()(d, Context())) < 1e-5);
          }}},
}});

// ---- Mahalanobis distances ------------------------------------------------------------------------------------------
using Mahalanobis = MahalanobisHead<double>;

/// Around each of 2 d means at +-b on the axes of d dimensions, items at +-a along every axis: all covariances are
/// multiples of the identity.
Episode<double> isotropic(Index d, double a, double b) {
  const Index ways = 2 * d, shots = 2 * d;
  Episode<double> e;
  e.ways = ways;
  e.support.y = episode_labels(ways, shots);
  const auto on_axes = [&](Index i, Index w) { return i / 2 == w ? (i % 2 == 0 ? 1. : -1.) : 0.; };
  e.support.x = generate({ways * shots, d},
                         [&](Index i, Index w) { return b * on_axes(i / shots, w) + a * on_axes(i % shots, w); });
  e.query.x = randn<double>({7, d}, Random(5));
  return e;
}
/// The logits with plain loops.
Double slow_mahalanobis(const Episode<double>& e, double beta) {
  const Index items = e.support.x.size(0), width = e.support.x.size(1);
  const auto mean_and_covariance = [&](Index way) {  // of all items for -1
    std::vector<Index> members;
    for (Index i = 0; i < items; ++i)
      if (way < 0 || e.support.y.at({i}) == way) members.push_back(i);
    const double n = static_cast<double>(members.size());
    std::vector<double> mean(width);
    for (const Index i : members)
      for (Index w = 0; w < width; ++w) mean[w] += e.support.x.at({i, w}) / n;
    const auto at = [&](Index i, Index w) { return e.support.x.at({i, w}) - mean[w]; };
    const Double covariance = generate({width, width}, [&](Index v, Index w) {
      double total = 0;
      for (const Index i : members) total += at(i, v) * at(i, w);
      return n > 1 ? total / (n - 1) : 0.;
    });
    return std::tuple(from_vector(mean), covariance, n);
  };
  const Double all = std::get<1>(mean_and_covariance(-1));
  std::vector<double> logits(e.query.x.size(0) * e.ways);
  for (Index k = 0; k < e.ways; ++k) {
    const auto [mean, own, n] = mean_and_covariance(k);
    const double lambda = n / (n + 1);
    const Double q = lambda * own + (1 - lambda) * all + beta * eye<double>(width);
    for (Index j = 0; j < e.query.x.size(0); ++j) {
      const Double g = reshape(slice(e.query.x, 0, j, j + 1), {width, 1}) - reshape(mean, {width, 1}),
                   solved = eliminated(q, g);
      double total = 0;
      for (Index w = 0; w < width; ++w) total += g.at({w, 0}) * solved.at({w, 0});
      logits[j * e.ways + k] = -total / 2;
    }
  }
  return from_vector(logits, {e.query.x.size(0), e.ways});
}

const bool mahalanobis_row = add_method_rows({{
    .name = "mahalanobis",
    .header = "graft/fewshot/mahalanobis.hpp",
    .paper = "Bateni, Goyal, Masrani, Wood, Sigal, Improved few-shot visual classification (Simple CNAPS), CVPR 2020",
    .functions = {"MahalanobisHead"},
    .use = "EpisodeLearner{embedding, MahalanobisHead<>()}(episode, context)",
    .run =
        [](const Random& random) {
          return trained_head(MahalanobisHead<float>(), embedded_episode<float>({10, 3, 200, 32}, random));
        },
    .loss = head_loss(Mahalanobis(), embedded_episode({3, 3, 5, 4})),
    .loss_at = head_point(Mahalanobis(), embedded_episode({3, 3, 5, 4})),
    .errors = joined(head_errors(Mahalanobis(), embedded_episode()),
                     {bad_use<ValueError>([] { Mahalanobis({.beta = 0}); }, "beta is 0"),
                      bad_use<ValueError>([] { MahalanobisHead<float>({.beta = 1e-50}); }, "float")}),
    .properties = {{"inductive; classes and support items have no order",
                    [] {
                      for (const Index shots : {1, 4}) {
                        check_inductive(Mahalanobis(), embedded_episode({3, shots, 5, 6}));
                        check_permutations(Mahalanobis(), embedded_episode({3, shots, 5, 6}));
                      }
                    }},
                   {"against plain loops, with classes of unequal size",
                    [] {
                      Episode<double> e = embedded_episode({3, 4, 6, 5});
                      e.support.y = tensor<std::int64_t>({0, 1, 2, 2, 2, 2, 2, 2, 1, 1, 2, 2});
                      for (const double beta : {0.1, 1.})
                        CHECK(gap(Mahalanobis({.beta = beta})(e, Context()), slow_mahalanobis(e, beta)) < 1e-11);
                      const Episode<double> one = embedded_episode({4, 1, 6, 3});
                      CHECK(gap(Mahalanobis()(one, Context()), slow_mahalanobis(one, 1)) < 1e-12);
                    }},
                   {"with covariances that are multiples of the identity, nearest mean",
                    [] {
                      const double a = 0.7, b = 1.3;
                      for (const Index d : {2, 3}) {
                        const Episode<double> e = isotropic(d, a, b);
                        const double n = static_cast<double>(2 * d), all = n * n, own = 2 * a * a / (n - 1);
                        const double spread = (2 * b * b * n + 2 * a * a * n) / (all - 1);
                        const double q = n / (n + 1) * own + 1 / (n + 1) * spread + 1;
                        CHECK(gap(Mahalanobis()(e, Context()), ProtoNetHead()(e, Context()) / (2 * q)) < 1e-13);
                      }
                    }},
                   {"a large beta leaves the prototypical network, scaled",
                    [] {
                      const Episode<double> e = embedded_episode({3, 4, 6, 5});
                      const double beta = 1e9;
                      CHECK(gap(2 * beta * Mahalanobis({.beta = beta})(e, Context()), ProtoNetHead()(e, Context())) <
                            1e-6);
                    }},
                   {"a small beta does not see a linear map of the embeddings",
                    [] {
                      const Episode<double> e = embedded_episode({2, 9, 6, 3});
                      const Double map = randn<double>({3, 3}, Random(8)) + 2.0 * eye<double>(3);
                      const auto mapped = with_embeddings(e, [&](const Double& x) { return matmul(x, map); });
                      const Mahalanobis head({.beta = 1e-11});
                      CHECK(gap(head(mapped, Context()), head(e, Context())) < 1e-8);
                    }},
                   {"a common part of all embeddings changes nothing",
                    [] { check_common_part([]<class T>(T) { return MahalanobisHead<T>(); }, 1e-11); }},
                   {"logits are never above 0, and a mean is at 0 from itself",
                    [] {
                      Episode<double> e = embedded_episode({3, 4, 50, 5});
                      CHECK(max(Mahalanobis()(e, Context())).item() <= 0);
                      e = with_queries(e, prototypes(e.support.x, e.support.y, 3));
                      CHECK(max(abs(Mahalanobis()(e, Context()) * eye<double>(3))).item() < 1e-28);
                    }},
                   {"what is not finite is an error that names the head",
                    [] {
                      CHECK_THROWS_WITH(Mahalanobis()(broken(embedded_episode()), Context()),
                                        contains("MahalanobisHead"));
                    }}},
}});

}  // namespace
