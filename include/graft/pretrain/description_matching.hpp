#pragma once
// A classifier out of descriptions: an item is of the class whose description's vector is nearest by angle. Radford et
// al., "Learning transferable visual models from natural language supervision" (CLIP), ICML 2021, section 3.1.2, for
// images; Reimers, Gurevych, "Sentence-BERT", EMNLP 2019, for the sentence vectors that texts are matched by.

#include <cmath>
#include <string>
#include <vector>

#include "graft/common/needs.hpp"
#include "graft/core/options.hpp"
#include "graft/model/fields.hpp"
#include "graft/ops/prototypes.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `DescriptionMatching`.
struct DescriptionMatchingOptions {
  double scale = 100;  ///< of the cosines in the logits; where CLIP's training ends
};

/// Logits [items, classes] = scale cos(x, v_c) of items [items, width] and one vector a class. Nothing is trained.
template <class T = float>
struct DescriptionMatching {
  Tensor<T> classes;  ///< v [classes, width]
  DescriptionMatchingOptions options;
  GRAFT_FIELDS(classes)
  GRAFT_CONFIG(options)
  static constexpr DataNeeds needs{.labels = false, .second_modality = true, .derivatives = 0};

  DescriptionMatching() = default;
  /// Throws ShapeError unless the vectors are [classes, width], ValueError for one that is zero or not finite, by which
  /// a class would never, or always, be answered, and for a scale that is not positive.
  explicit DescriptionMatching(Tensor<T> vectors, const DescriptionMatchingOptions& o = {}, Site site = Site::current())
      : classes(std::move(vectors)), options(o) {
    detail::check_option<T>("DescriptionMatching", "scale", o.scale, detail::Range::positive, site);
    if (classes.rank() != 2 || classes.count() == 0)
      fail<ShapeError>("DescriptionMatching", "expected a vector a class, [classes, width]",
                       {{"vectors", classes.shape()}}, site);
    const auto numbers = host(classes);
    const Index width = classes.size(1);
    for (Index c = 0; c < classes.size(0); ++c) {
      double size = 0;
      for (Index i = 0; i < width; ++i)
        size += std::abs(static_cast<double>(numbers[static_cast<std::size_t>(c * width + i)]));
      if (!(size > 0 && std::isfinite(size)))
        fail("DescriptionMatching", {"the vector of class ", c, " is zero or not finite"}, {}, site);
    }
  }

  /// Throws ShapeError for items of another width.
  Tensor<T> operator()(const Tensor<T>& x, Site site = Site::current()) const {
    const Named here("DescriptionMatching", site);
    if (x.rank() != 2 || x.size(1) != classes.size(1))
      fail<ShapeError>("DescriptionMatching", {"expected items [items, ", classes.size(1), "]"}, {{"items", x.shape()}},
                       site);
    return options.scale * cosine_similarities(x, classes, site);
  }
};

/// The classifier from one description a class by `encode(texts)`, which gives a vector for each text, [texts, width].
/// Throws ValueError without descriptions and for an empty one, ShapeError unless each gets a vector.
template <class T = float, class Encode>
DescriptionMatching<T> match_descriptions(const Encode& encode, const std::vector<std::string>& descriptions,
                                          const DescriptionMatchingOptions& o = {}, Site site = Site::current()) {
  if (descriptions.empty()) fail("match_descriptions", "no descriptions", {}, site);
  for (std::size_t c = 0; c < descriptions.size(); ++c)
    if (descriptions[c].find_first_not_of(" \t\r\n") == std::string::npos)
      fail("match_descriptions", {"the description of class ", c, " is empty"}, {}, site);
  const Tensor<T> vectors = encode(descriptions);
  if (vectors.rank() != 2 || vectors.size(0) != std::ssize(descriptions))
    fail<ShapeError>("match_descriptions", {"expected vectors [", descriptions.size(), ", width] of the encoder"},
                     {{"vectors", vectors.shape()}}, site);
  return DescriptionMatching<T>(vectors, o, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
