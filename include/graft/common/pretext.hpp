#pragma once
// What objectives of pre-training share that put a head of their own on any encoder.

#include "graft/model/context.hpp"
#include "graft/ops/layout.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// What `encoder(items, context)`, or `encoder(items)`, makes of items: [items, ..., width]. Throws ShapeError for
/// vectors of another width than the head was made for, or not as many as there are items.
template <class Encoder, class T>
Tensor<T> encoded_items(const char* op, const Encoder& encoder, const Tensor<T>& items, Index width, ContextRef context,
                        Site site) {
  const Tensor<T> vectors = answer_of(encoder, items, context);
  if (vectors.rank() < 2 || vectors.size(0) != items.size(0) || vectors.size(-1) != width)
    fail<ShapeError>(op, {"the encoder must give vectors of ", width, " numbers"},
                     {{"items", items.shape()}, {"vectors", vectors.shape()}}, site);
  return vectors;
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
