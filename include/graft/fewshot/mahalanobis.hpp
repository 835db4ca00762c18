#pragma once
// The classifier of Simple CNAPS. Bateni, Goyal, Masrani, Wood, Sigal, "Improved few-shot visual classification", CVPR
// 2020: squared Mahalanobis distances to the class means, with a covariance for each class. The paper's adaptation of
// the embedding to the task is not part of it.

#include <algorithm>
#include <vector>

#include "graft/common/few_shot.hpp"
#include "graft/core/options.hpp"
#include "graft/ops/linalg.hpp"
#include "graft/ops/prototypes.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `MahalanobisHead`.
struct MahalanobisOptions {
  double beta = 1;  ///< of the identity in every covariance; the authors'
};

/// Logits [queries, ways] = -1/2 (query - mu_k)' Q_k^-1 (query - mu_k) with
///   Q_k = lambda_k S_k + (1 - lambda_k) S + beta I,   lambda_k = n_k / (n_k + 1)
/// for the n_k support items of class k, their mean mu_k and covariance S_k, and the covariance S of all support items.
/// Covariances divide by the number of items less 1; that of one item is 0. A common part of all embeddings changes
/// nothing. The cost is that of `ways` Cholesky factors of [width, width]. Throws ValueError unless beta is positive,
/// and for embeddings with a NaN or an infinity.
template <class T = float>
struct MahalanobisHead {
  MahalanobisOptions options;
  GRAFT_FIELDS()
  GRAFT_CONFIG(options)
  static constexpr Needs needs{};

  explicit MahalanobisHead(const MahalanobisOptions& o = {}, Site site = Site::current()) : options(o) {
    detail::check_option<T>("MahalanobisHead", "beta", o.beta, detail::Range::positive, site);
  }

  Tensor<T> operator()(const Episode<T>& episode, ContextRef, Site site = Site::current()) const {
    detail::check_embedded("MahalanobisHead", episode, site);
    const Named here("MahalanobisHead", site);
    const auto& [support, labels] = episode.support;
    const Index items = support.size(0), width = support.size(1), ways = episode.ways;
    // Less one of them, a constant: means of numbers with a common part would be rounded to theirs.
    const Tensor<T> first = slice(support.detach(), 0, 0, 1);
    const Tensor<T> x = support - first, query = episode.query.x - first, mu = prototypes(x, labels, ways);

    // Shares of the items in the covariance of their class, [ways, items, 1], and lambda [ways, 1, 1].
    std::vector<T> share(static_cast<std::size_t>(ways * items)), count(static_cast<std::size_t>(ways));
    for (const std::int64_t label : host(labels)) ++count[static_cast<std::size_t>(label)];
    for (Index i = 0; i < items; ++i) {
      const auto way = static_cast<std::size_t>(host(labels)[static_cast<std::size_t>(i)]);
      share[way * static_cast<std::size_t>(items) + static_cast<std::size_t>(i)] = 1 / std::max(count[way] - 1, T(1));
    }
    for (T& n : count) n = n / (n + 1);
    const Tensor<T> lambda = from_vector(count, {ways, 1, 1});

    const auto covariance = [&](const Tensor<T>& shares, const Tensor<T>& gaps) {
      return matmul(shares * gaps, gaps, {.transpose_a = true});
    };
    const Tensor<T> own = covariance(from_vector(share, {ways, items, 1}), x - gather(mu, labels));
    const Tensor<T> all = covariance(Tensor<T>(1 / std::max(static_cast<T>(items - 1), T(1))), x - mean(x, {0}, true));
    const Tensor<T> q = lambda * own + (T(1) - lambda) * all + static_cast<T>(options.beta) * eye<T>(width);

    // |l^-1 gap|^2 with q = l l'. Not a solve for the queries: a query's bits would depend on how many there are.
    const Tensor<T> inverse = triangular_solve(cholesky(q), eye<T>(width));
    const Tensor<T> gaps = reshape(query, {1, query.size(0), width}) - reshape(mu, {ways, 1, width});
    return T(-0.5) * transpose(sum(square(matmul(gaps, inverse, {.transpose_b = true})), {2}));
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
