#pragma once
// Several texts a class, "a photo of a cat", "a drawing of a cat", as one vector: the mean of their unit vectors, over
// its length. Radford et al., "Learning transferable visual models from natural language supervision" (CLIP), ICML
// 2021, section 3.1.4.

#include <string>
#include <vector>

#include "graft/common/needs.hpp"
#include "graft/core/list.hpp"
#include "graft/ops/prototypes.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What the ensemble needs: texts of the classes alone.
struct PromptEnsemble {
  static constexpr DataNeeds needs{.labels = false, .second_modality = true, .derivatives = 0};
};

/// Each template with each class's name in the place of its "{}": all templates of the first name, then of the next.
/// Throws ValueError without templates, for one without "{}" and for an empty name.
inline std::vector<std::string> fill_templates(const std::vector<std::string>& templates,
                                               const std::vector<std::string>& names, Site site = Site::current()) {
  if (templates.empty()) fail("fill_templates", "no templates", {}, site);
  for (const std::string& each : templates)
    if (each.find("{}") == std::string::npos) fail("fill_templates", {"'", each, "' has no place {}"}, {}, site);
  std::vector<std::string> texts;
  for (std::size_t c = 0; c < names.size(); ++c) {
    if (names[c].empty()) fail("fill_templates", {"the name of class ", c, " is empty"}, {}, site);
    for (std::string text : templates) {
      text.replace(text.find("{}"), 2, names[c]);
      texts.push_back(std::move(text));
    }
  }
  return texts;
}

/// Unit vectors [classes, width] of the mean over each class's texts of their vectors over their lengths; `texts`
/// [texts, width], `classes` [texts] says which class each tells of. Differentiable in the texts. A class whose texts'
/// unit vectors cancel gets zeros. Throws ShapeError, IndexError for a class out of range, ValueError for one without a
/// text.
template <Real T>
Tensor<T> prompt_ensemble(const Tensor<T>& texts, const Tensor<std::int64_t>& classes, Index count,
                          Site site = Site::current()) {
  if (texts.rank() != 2 || !(classes.shape() == Shape{texts.size(0)}))
    fail<ShapeError>("prompt_ensemble", "expected texts [texts, width] and classes [texts]",
                     {{"texts", texts.shape()}, {"classes", classes.shape()}}, site);
  List<Index> described(count);
  for (const std::int64_t c : host(classes)) {
    if (c < 0 || c >= count) fail<IndexError>("prompt_ensemble", {"class ", c, " of ", count}, {}, site);
    ++described[c];
  }
  for (Index c = 0; c < count; ++c)
    if (described[c] == 0) fail("prompt_ensemble", {"class ", c, " has no text"}, {}, site);
  return unit_rows(prototypes(unit_rows(texts, site), classes, count, site), site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
