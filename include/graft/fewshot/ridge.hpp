#pragma once
// Ridge regression as a head (R2D2). Bertinetto, Henriques, Torr, Vedaldi, "Meta-learning with differentiable
// closed-form solvers", ICLR 2019. The ridge head of Lee, Maji, Ravichandran, Soatto, "Meta-learning with
// differentiable convex optimization" (MetaOptNet), CVPR 2019, is a setting of it.

#include <cmath>
#include <optional>

#include "graft/common/few_shot.hpp"
#include "graft/core/options.hpp"
#include "graft/ops/linalg.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The W [width, targets] that minimises |X W - Y|^2 + lambda |W|^2, for x [items, width] and y [items, targets]:
///   X' (X X' + lambda I)^-1 Y, of a system as large as there are items, or the equal
///   (X' X + lambda I)^-1 X' Y, where there are more items than columns.
/// `lambda` is a positive number []. Differentiable in all three to any order. Throws ShapeError; ValueError for a NaN
/// or an infinity, and where lambda is lost beside the squares of x, so that the system is not positive definite.
template <Real T>
Tensor<T> ridge_weights(const Tensor<T>& x, const Tensor<T>& y, const Tensor<T>& lambda, Site site = Site::current()) {
  if (x.rank() != 2 || y.rank() != 2 || y.size(0) != x.size(0) || lambda.count() != 1)
    fail<ShapeError>("ridge_weights", "expected x [items, width], y [items, targets] and one lambda",
                     {{"x", x.shape()}, {"y", y.shape()}, {"lambda", lambda.shape()}}, site);
  const Named here("ridge_weights", site);
  if (x.size(0) <= x.size(1))
    return matmul(x, cholesky_solve(matmul(x, x, {.transpose_b = true}) + lambda * eye<T>(x.size(0)), y),
                  {.transpose_a = true});
  return cholesky_solve(matmul(x, x, {.transpose_a = true}) + lambda * eye<T>(x.size(1)),
                        matmul(x, y, {.transpose_a = true}));
}

/// How the regression has an intercept: a column of ones beside the embeddings, whose weight lambda shrinks as any
/// other; embeddings and targets less their means over the support set, by which lambda leaves it alone and a common
/// part of all embeddings changes nothing; or not.
enum class RidgeIntercept { column, centre, none };

/// Options of `RidgeHead`. The defaults are those of R2D2; its authors divide embeddings and targets by the root of the
/// number of support items, so their lambda is this one by that number.
struct RidgeOptions {
  RidgeIntercept intercept = RidgeIntercept::column;
  double lambda = 1;         ///< of the ridge, at first
  bool learn_lambda = true;  ///< lambda is a parameter
  double scale = 10;         ///< of the answers, at first; with 1 no softmax of them could be sure of a class
};

/// The ridge head of MetaOptNet: lambda 50 stays, there is no intercept. Its dual has the targets twice: scale 2.
inline RidgeOptions metaoptnet_ridge() {
  return {.intercept = RidgeIntercept::none, .lambda = 50, .learn_lambda = false, .scale = 2};
}

/// Logits [queries, ways] = scale (query W + intercept) + bias, where W is regressed from the support set's embeddings
/// to its labels as 0 and 1, `ridge_weights`. `scale` and `bias` are learned; with `RidgeIntercept::column` or `none`
/// embeddings with a common part as large as 1e6 leave lambda no digits in float, and the regression may fail. Throws
/// ValueError for options that are not positive, and as `ridge_weights` does.
template <class T = float>
struct RidgeHead {
  std::optional<Tensor<T>> log_lambda;  ///< [], if it is learned
  Tensor<T> scale, bias;                ///< [] each
  RidgeOptions options;
  GRAFT_FIELDS(log_lambda, scale, bias)
  GRAFT_CONFIG(options)
  static constexpr Needs needs{};

  explicit RidgeHead(const RidgeOptions& o = {}, Site site = Site::current())
      : scale(static_cast<T>(o.scale)), bias(T(0)), options(o) {
    detail::check_option<T>("RidgeHead", "lambda", o.lambda, detail::Range::positive, site);
    detail::check_option<T>("RidgeHead", "scale", o.scale, detail::Range::positive, site);
    if (o.learn_lambda) log_lambda = Tensor<T>(static_cast<T>(std::log(o.lambda)));
  }

  Tensor<T> operator()(const Episode<T>& episode, ContextRef, Site site = Site::current()) const {
    detail::check_embedded("RidgeHead", episode, site);
    const Named here("RidgeHead", site);
    const Tensor<T> lambda = log_lambda ? exp(*log_lambda) : Tensor<T>(static_cast<T>(options.lambda));
    Tensor<T> x = episode.support.x, query = episode.query.x, y = one_hot<T>(episode.support.y, episode.ways);
    const auto answers = [&] { return matmul(query, ridge_weights(x, y, lambda)); };
    Tensor<T> answer;
    if (options.intercept == RidgeIntercept::centre) {
      const Tensor<T> target = mean(y, {0}, true);
      query = detail::less_mean(query, x);
      x = detail::less_mean(x, x);
      y = y - target;
      answer = answers() + target;
    } else {
      if (options.intercept == RidgeIntercept::column) {
        x = concat<T>({x, ones<T>({x.size(0), 1})}, 1);
        query = concat<T>({query, ones<T>({query.size(0), 1})}, 1);
      }
      answer = answers();
    }
    return scale * answer + bias;
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
