#pragma once
// Label embedding by attributes (ALE). Akata, Perronnin, Harchaoui, Schmid, "Label-embedding for image classification",
// TPAMI 2016: a ranking loss of bilinear scores F(x, c) = x W s_c, weighted by the rank r of the own class (Usunier,
// Buffoni, Gallinari, ICML 2009),
//   (beta_r / r) sum_{j != y} max(0, margin + F(x, j) - F(x, y)),   beta_r = 1 + 1/2 + ... + 1/r,
// where r counts the terms above 0. Akata, Reed, Walter, Lee, Schiele, "Evaluation of output embeddings for
// fine-grained image classification" (SJE), CVPR 2015: the largest term alone. Formulas as the catalogue of methods has
// them; the papers were not read.

#include "graft/common/needs.hpp"
#include "graft/common/zero_shot.hpp"
#include "graft/ops/elementwise.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Which classes that come too near count: all by the rank (ALE), the nearest alone (SJE), or all alike.
enum class AleRanking { weighted, largest, sum };

/// Options of `Ale`; the defaults are the authors'.
struct AleOptions {
  AleRanking ranking = AleRanking::weighted;
  double margin = 1;
};

/// Scores x W s' [items, classes] of items [items, width] and signatures [classes, attributes], as they are. Items may
/// be what an encoder makes: the loss trains it too.
template <class T = float>
struct Ale {
  Compatibility<T> map;  ///< W
  AleOptions options;
  GRAFT_FIELDS(map)
  GRAFT_CONFIG(options)
  static constexpr DataNeeds needs{.second_modality = true};

  Ale() = default;
  /// Throws ValueError for sizes below 1 and a negative margin.
  Ale(Index width, Index attributes, const Random& random, const AleOptions& o = {}, Site site = Site::current())
      : options(o) {
    detail::check_option<T>("Ale", "margin", o.margin, detail::Range::not_negative, site);
    if (width < 1 || attributes < 1) fail("Ale", {"of ", width, " numbers and ", attributes, " attributes"}, {}, site);
    map = Compatibility<T>(width, attributes, random, site);
  }

  /// Throws ShapeError for another width or number of attributes.
  Tensor<T> operator()(const Tensor<T>& x, const Tensor<T>& signatures, Site site = Site::current()) const {
    const Named here("Ale", site);
    return map(x, signatures, site);
  }

  /// The mean over training items, shape []; ranks count as constants. `labels` [items] count among all classes. Throws
  /// ShapeError, IndexError for a label out of range, ValueError for an item of an unseen class.
  Tensor<T> loss(const Tensor<T>& x, const Tensor<std::int64_t>& labels, const ZeroShotClasses<T>& classes,
                 Site site = Site::current()) const {
    detail::check_zero_shot_items("Ale", x, labels, site);
    const Named here("Ale", site);
    const Tensor<std::int64_t> own = classes.seen_labels(labels, site);
    const Tensor<T> scores = (*this)(x, classes.seen_signatures(), site);
    const Index items = x.size(0), seen = scores.size(1);
    const Tensor<T> right = reshape(take_along(scores, own), {items, 1});
    const Tensor<T> terms = (T(1) - one_hot<T>(own, seen)) * relu(static_cast<T>(options.margin) + scores - right);
    if (options.ranking == AleRanking::largest) return sum(max(terms, {1})) / static_cast<T>(items);
    Tensor<T> of_items = sum(terms, {1});
    if (options.ranking == AleRanking::weighted) {
      List<T> weights(seen);  // of a rank, beta_r / r
      double beta = 0;
      for (Index r = 1; r < seen; ++r) {
        beta += 1 / static_cast<double>(r);
        weights[r] = static_cast<T>(beta / static_cast<double>(r));
      }
      of_items = of_items * gather(from_vector(weights), count_nonzero(terms.detach(), {1}));
    }
    return sum(of_items) / static_cast<T>(items);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
