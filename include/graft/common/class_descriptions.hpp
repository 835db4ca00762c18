#pragma once
// Descriptions of classes as vectors of their tokens.

#include "graft/ops/compare.hpp"
#include "graft/ops/indexing.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// A description a class: vectors of its tokens, and where there are some.
template <class T = float>
struct ClassDescriptions {
  Tensor<T> tokens;    ///< [classes, tokens, width]
  Tensor<bool> there;  ///< [classes, tokens]
};

namespace detail {

/// Throws ShapeError unless the tokens are [classes, tokens, width] with a mask [classes, tokens], ValueError for a
/// class without a token.
template <class T>
void check_descriptions(const char* op, const ClassDescriptions<T>& of, Index width, Site site) {
  if (of.tokens.rank() != 3 || of.tokens.size(2) != width || !(of.there.shape() == of.tokens.shape().without(2)))
    fail<ShapeError>(op, {"expected tokens [classes, tokens, ", width, "] and there [classes, tokens]"},
                     {{"tokens", of.tokens.shape()}, {"there", of.there.shape()}}, site);
  const Index places = of.there.size(1);
  const auto there = host(of.there);
  for (Index c = 0; c < of.there.size(0); ++c) {
    bool any = false;
    for (Index t = 0; t < places; ++t) any |= there[static_cast<std::size_t>(c * places + t)];
    if (!any) fail(op, {"the description of class ", c, " is empty"}, {}, site);
  }
}

}  // namespace detail

/// Descriptions by token ids [classes, tokens], 0 where there is no token, and a table [vocabulary, width] of the
/// tokens' vectors, to which gradients flow. Throws ShapeError, IndexError for a token outside the vocabulary,
/// ValueError for a class without a token.
template <Real T>
ClassDescriptions<T> class_descriptions(const Tensor<std::int64_t>& ids, const Tensor<T>& table,
                                        Site site = Site::current()) {
  if (ids.rank() != 2 || table.rank() != 2)
    fail<ShapeError>("class_descriptions", "expected ids [classes, tokens] and a table [vocabulary, width]",
                     {{"ids", ids.shape()}, {"table", table.shape()}}, site);
  Index place = 0;
  for (const std::int64_t id : host(ids)) {
    if (id < 0 || id >= table.size(0))
      fail<IndexError>("class_descriptions",
                       {"token ", id, " at place ", place % ids.size(1), " of class ", place / ids.size(1),
                        " is outside the vocabulary of ", table.size(0)},
                       {}, site);
    ++place;
  }
  ClassDescriptions<T> result{gather(table, ids, 0, site), ids != 0};
  detail::check_descriptions("class_descriptions", result, table.size(1), site);
  return result;
}

}  // namespace GRAFT_ABI
}  // namespace graft
