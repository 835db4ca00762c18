#pragma once
// Placeholders for classes and data that are not known. Zhou, Ye, Zhan, "Learning placeholders for open-set
// recognition", CVPR 2021. Losses and their weights as in the authors' code, here for the classifier of an episode.

#include <limits>

#include "graft/core/beta_draws.hpp"
#include "graft/common/few_shot.hpp"
#include "graft/core/list.hpp"
#include "graft/core/options.hpp"
#include "graft/model/init.hpp"
#include "graft/ops/prototypes.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Proser`; the defaults are the authors'.
struct ProserOptions {
  Index dummies = 1;    ///< class placeholders
  double beta = 1;      ///< weight of the placeholder as second choice of known items
  double gamma = 0.01;  ///< weight of the mixed items
  double mixing = 1;    ///< a of the mixing ratio's distribution Beta(a, a); 1: uniform
  double bias = 0;      ///< added to the placeholder's logit in answers: more rejects more; calibrated on known classes
};

/// Nearest prototypes that may also answer "none of them". Placeholders d_j, learned vectors added to the mean of the
/// episode's prototypes so that they go with the task, compete with the classes for what is unknown:
///   known logits  -|f(x) - c_k|^2,  placeholder's logit  max_j -|f(x) - d_j|^2
/// The loss is that of the queries' cross-entropy among ways + 1 classes, plus `beta` times the cross-entropy to the
/// placeholder when the query's own class is left out, plus `gamma` times the cross-entropy to the placeholder of
/// mixed items m f(x_i) + (1 - m) f(x_j) of queries of different classes, one m a call from the Beta distribution. With
/// one class there is nothing to mix.
template <class T = float>
struct Proser {
  Tensor<T> placeholders;  ///< [dummies, width]
  ProserOptions options;
  GRAFT_FIELDS(placeholders)
  GRAFT_CONFIG(options)
  static constexpr Needs needs{};

  Proser() = default;
  /// Placeholders for embeddings of `width` numbers, normal with deviation 0.01. Throws ValueError for options out of
  /// range.
  Proser(Index width, const Random& random, const ProserOptions& o = {}, Site site = Site::current()) : options(o) {
    using detail::Range;
    if (width < 1 || o.dummies < 1)
      fail("Proser", {"embeddings of ", width, " numbers, ", o.dummies, " dummies"}, {}, site);
    detail::check_option<T>("Proser", "mixing", o.mixing, Range::positive, site);
    detail::check_option<T>("Proser", "beta", o.beta, Range::not_negative, site);
    detail::check_option<T>("Proser", "gamma", o.gamma, Range::not_negative, site);
    detail::check_option<T>("Proser", "bias", o.bias, Range::finite, site);
    placeholders = scaled_normal<T>({o.dummies, width}, 0.01, random, site);
  }

  /// Logits [queries, ways] of the known classes: a prototypical network's. Throws ShapeError, IndexError and
  /// ValueError for other episodes, ShapeError for embeddings of another width.
  Tensor<T> operator()(const Episode<T>& episode, ContextRef, Site site = Site::current()) const {
    detail::check_embedded("Proser", episode, placeholders.size(1), site);
    return -squared_distances(episode.query.x, classes(episode, site), site);
  }

  /// Logits [queries, ways + 1], the last one that of none of the classes, with the bias.
  Tensor<T> with_rejection(const Episode<T>& episode, ContextRef, Site site = Site::current()) const {
    detail::check_embedded("Proser", episode, placeholders.size(1), site);
    return open_logits(episode.query.x, classes(episode, site), options.bias, site);
  }

  /// Mixtures [queries, width] of each query with another of a different class, as the loss takes them; [0, width] when
  /// all queries are of one class. Throws ShapeError unless every query has a label.
  Tensor<T> mixed(const Episode<T>& episode, ContextRef context, Site site = Site::current()) const {
    detail::check_query_labels("Proser", episode.query, site);
    const auto& [x, labels] = episode.query;
    const Random random = context->stream("mixup");
    const Index queries = x.size(0);
    const auto of = host(labels);
    const auto order = random.stream("partners").permutation(queries);
    List<std::int64_t> partners;
    for (Index i = 0; i < queries; ++i)  // from its own place in the order on, the first of another class
      for (Index ahead = 0; ahead < queries; ++ahead) {
        const Index j = order[static_cast<std::size_t>((i + ahead) % queries)];
        if (of[static_cast<std::size_t>(j)] == of[static_cast<std::size_t>(i)]) continue;
        partners.push_back(j);
        break;
      }
    if (partners.empty()) return zeros<T>({0, x.size(1)});  // one class: nobody has a partner
    const double m = beta_draw(options.mixing, options.mixing, random.stream("ratio"), site);
    return m * x + (1 - m) * gather(x, from_vector(partners), 0, site);
  }

  /// The sum of the three terms, without the bias.
  Tensor<T> loss(const Episode<T>& episode, ContextRef context, Site site = Site::current()) const {
    detail::check_embedded("Proser", episode, placeholders.size(1), site);
    const Named here("Proser", site);
    const Index ways = episode.ways;
    const Tensor<T> centres = classes(episode, site), logits = open_logits(episode.query.x, centres, 0, site);
    const auto none_of = [&](const Tensor<T>& rows) {
      return cross_entropy(rows, full<std::int64_t>({rows.size(0)}, ways), {}, site);
    };
    Tensor<T> total = cross_entropy(logits, episode.query.y, {}, site);
    if (options.beta != 0) {
      const Tensor<bool> own = one_hot<T>(episode.query.y, ways + 1) == 1;
      total = total + options.beta * none_of(where(own, -std::numeric_limits<T>::infinity(), logits));
    }
    if (options.gamma != 0) {
      const Tensor<T> mixtures = mixed(episode, context, site);
      if (mixtures.size(0) > 0) total = total + options.gamma * none_of(open_logits(mixtures, centres, 0, site));
    }
    return total;
  }

 private:
  Tensor<T> classes(const Episode<T>& episode, Site site) const {
    return prototypes(episode.support.x, episode.support.y, episode.ways, site);
  }
  Tensor<T> open_logits(const Tensor<T>& x, const Tensor<T>& centres, double bias, Site site) const {
    const Tensor<T> known = -squared_distances(x, centres, site);
    const Tensor<T> dummies = mean(centres, {0}, true) + placeholders;
    return concat<T>({known, max(-squared_distances(x, dummies, site), {1}, true) + bias}, 1, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
