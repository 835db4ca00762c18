#pragma once
// Items of several kinds in front of one model: each kind has an encoder of its own, all give embeddings of one width.

#include <string>
#include <utility>
#include <vector>

#include "graft/common/backbones.hpp"
#include "graft/core/options.hpp"
#include "graft/data/item_set.hpp"
#include "graft/nn/norm.hpp"
#include "graft/ops/layout.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The set with items laid flat behind the number of their reader, [1 + numbers of an item]: what a `MixedEncoder`
/// takes. Classes and items keep their numbers. Throws ValueError for a number outside 0 .. 2^24 - 1.
inline ItemSet tagged_items(ItemSet set, Index reader, Site site = Site::current()) {
  if (reader < 0 || reader >= Index{1} << 24) fail("tagged_items", {"reader ", reader}, {}, site);
  set.inputs = [show = std::move(set.inputs), reader](std::span<const Index> items, std::span<const Index> classes) {
    const Tensor<> x = show(items, classes);
    const Index count = x.size(0), numbers = count > 0 ? x.count() / count : 0;
    return concat<float>({full<float>({count, 1}, static_cast<float>(reader)), reshape(x, {count, numbers})}, 1);
  };
  return set;
}

/// Items of `tagged_items` [n, 1 + numbers], all of one reader -> embeddings [n, width]: by the reader's encoder, then
/// a layer norm of the reader's own, so that whatever comes behind sees all kinds in one scale.
struct MixedEncoder {
  std::vector<Backbone> encoders;
  std::vector<LayerNorm<>> norms;
  std::vector<Shape> shapes;  ///< of an item, for each reader
  GRAFT_FIELDS(encoders, norms)
  GRAFT_CONFIG(shapes)

  /// Adds an encoder of items of this shape that gives `width` numbers; its reader's number is the place.
  void add(Backbone encoder, const Shape& item, Index width, Site site = Site::current()) {
    norms.emplace_back(width, NormOptions{}, site);
    encoders.push_back(std::move(encoder));
    shapes.push_back(item);
  }

  /// Throws ShapeError for items that are not as long as their reader's, IndexError for a reader that there is not,
  /// ValueError for no items or items of several readers.
  Tensor<> operator()(const Tensor<>& items, ContextRef context, Site site = Site::current()) const {
    const Named here("MixedEncoder", site);
    if (items.rank() != 2 || items.size(1) < 2)
      fail<ShapeError>("MixedEncoder", "expected items [n, 1 + numbers]", {{"items", items.shape()}}, site);
    detail::check_parts("MixedEncoder", "norms", norms.size(), "encoders", encoders.size(), site);
    detail::check_parts("MixedEncoder", "shapes", shapes.size(), "encoders", encoders.size(), site);
    const Index count = items.size(0), numbers = items.size(1) - 1;
    if (count == 0) fail("MixedEncoder", "no items", {{"items", items.shape()}}, site);
    const std::span<const float> all = host(items);
    const float tag = all[0];
    for (Index i = 1; i < count; ++i)
      if (all[static_cast<std::size_t>(i * (numbers + 1))] != tag)
        fail("MixedEncoder", {"items of readers ", tag, " and ", all[static_cast<std::size_t>(i * (numbers + 1))]}, {},
             site);
    if (!(tag >= 0 && tag < static_cast<float>(encoders.size())))
      fail<IndexError>("MixedEncoder", {"reader ", tag, " of ", encoders.size()}, {}, site);
    const auto reader = static_cast<std::size_t>(tag);
    const Shape& item = shapes[reader];
    if (item.count() != numbers)
      fail<ShapeError>("MixedEncoder", {"reader ", tag, " takes items of ", item.count(), " numbers"},
                       {{"items", items.shape()}}, site);
    Shape whole{count};
    for (const Index size : item) whole.push_back(size);
    const Tensor<> x = reshape(slice(items, 1, 1, numbers + 1), whole);
    return norms[reader](encoders[reader](x, context, site), site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
