#pragma once
// A deep visual-semantic embedding model. Frome, Corrado, Shlens, Bengio, Dean, Ranzato, Mikolov, "DeViSE", NeurIPS
// 2013: items are mapped to where their classes' vectors are, by a loss that ranks the own class before the others,
//   sum_{j != y} max(0, margin - s_y M x + s_j M x)
// for signatures s of unit length. Formula as the catalogue of methods has it; the paper was not read.

#include "graft/common/needs.hpp"
#include "graft/common/zero_shot.hpp"
#include "graft/ops/elementwise.hpp"
#include "graft/ops/reduce.hpp"
#include "graft/ops/statistics.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Devise`; the default is the authors'.
struct DeviseOptions {
  double margin = 0.1;  ///< by which the own class's score is to exceed all others
};

/// Scores x M s' [items, classes] of items [items, width] and signatures [classes, attributes], which are taken over
/// their lengths. Items may be what an encoder makes: the loss trains it too.
template <class T = float>
struct Devise {
  Compatibility<T> map;  ///< M
  DeviseOptions options;
  GRAFT_FIELDS(map)
  GRAFT_CONFIG(options)
  static constexpr DataNeeds needs{.second_modality = true};

  Devise() = default;
  /// Throws ValueError for sizes below 1 and a negative margin.
  Devise(Index width, Index attributes, const Random& random, const DeviseOptions& o = {}, Site site = Site::current())
      : options(o) {
    detail::check_option<T>("Devise", "margin", o.margin, detail::Range::not_negative, site);
    if (width < 1 || attributes < 1)
      fail("Devise", {"of ", width, " numbers and ", attributes, " attributes"}, {}, site);
    map = Compatibility<T>(width, attributes, random, site);
  }

  /// Throws ShapeError for another width or number of attributes.
  Tensor<T> operator()(const Tensor<T>& x, const Tensor<T>& signatures, Site site = Site::current()) const {
    const Named here("Devise", site);
    return map(x, unit_rows(signatures, site), site);
  }

  /// The mean over training items of the sum over the other seen classes, shape []. `labels` [items] count among all
  /// classes. Throws ShapeError, IndexError for a label out of range, ValueError for an item of an unseen class.
  Tensor<T> loss(const Tensor<T>& x, const Tensor<std::int64_t>& labels, const ZeroShotClasses<T>& classes,
                 Site site = Site::current()) const {
    detail::check_zero_shot_items("Devise", x, labels, site);
    const Named here("Devise", site);
    const Tensor<std::int64_t> own = classes.seen_labels(labels, site);
    const Tensor<T> scores = (*this)(x, classes.seen_signatures(), site);
    const Tensor<T> right = reshape(take_along(scores, own), {x.size(0), 1});
    const Tensor<T> others = T(1) - one_hot<T>(own, scores.size(1));
    return sum(others * relu(static_cast<T>(options.margin) + scores - right)) / static_cast<T>(x.size(0));
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
