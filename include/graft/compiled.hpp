#pragma once
// Programs that link the optional library graft::compiled do not compile graft's ops again: float and double instances
// of the ops in graft/compiled_list.inc stand in the library. The CMake target defines GRAFT_COMPILED, which makes
// graft/graft.hpp include this file; the same text without it is header-only.

#include "graft/graft.hpp"
#include "graft/ops/sparse.hpp"
#include "graft/ops/prototypes.hpp"
#include "graft/ops/statistics.hpp"

// Each of the library's units defines one of these as "template".
#ifndef GRAFT_COMPILED_ELEMENTWISE
#define GRAFT_COMPILED_ELEMENTWISE extern template
#endif
#ifndef GRAFT_COMPILED_PRODUCTS
#define GRAFT_COMPILED_PRODUCTS extern template
#endif
#ifndef GRAFT_COMPILED_LAYOUT
#define GRAFT_COMPILED_LAYOUT extern template
#endif
#ifndef GRAFT_COMPILED_REDUCTIONS
#define GRAFT_COMPILED_REDUCTIONS extern template
#endif
#ifndef GRAFT_COMPILED_NORMS
#define GRAFT_COMPILED_NORMS extern template
#endif
#ifndef GRAFT_COMPILED_ATTENTION
#define GRAFT_COMPILED_ATTENTION extern template
#endif
#ifndef GRAFT_COMPILED_GRAPHS
#define GRAFT_COMPILED_GRAPHS extern template
#endif
#ifndef GRAFT_COMPILED_LAYERS
#define GRAFT_COMPILED_LAYERS extern template
#endif

namespace graft {
inline namespace GRAFT_ABI {

#define T float
#include "graft/compiled_list.inc"
#undef T
#define T double
#include "graft/compiled_list.inc"
#undef T

// Errors, the walk over a tape, and what is done with the leaves of a model of any type.
#define GRAFT_ERROR_INSTANCE(Error)                                                                             \
  GRAFT_COMPILED_LAYERS void fail<Error>(const char*, std::initializer_list<Piece>, std::initializer_list<Arg>, \
                                         Site);                                                                 \
  GRAFT_COMPILED_LAYERS void fail<Error>(const char*, Piece, std::initializer_list<Arg>, Site);
GRAFT_ERROR_INSTANCE(ShapeError)
GRAFT_ERROR_INSTANCE(ValueError)
GRAFT_ERROR_INSTANCE(IndexError)
#undef GRAFT_ERROR_INSTANCE
namespace detail {
GRAFT_COMPILED_LAYERS Index checked_count<>(const char*, const Shape&, std::size_t, Site);
GRAFT_COMPILED_LAYERS std::vector<AnyTensor> backward<>(AnyTensor, AnyTensor, std::span<Node* const>, bool, bool);
GRAFT_COMPILED_LAYERS std::vector<std::string> LeafList::names<>() const;
GRAFT_COMPILED_LAYERS std::string LeafList::name<>(std::size_t) const;
GRAFT_COMPILED_LAYERS std::size_t LeafList::enter<>(std::string_view&);
GRAFT_COMPILED_LAYERS std::size_t LeafList::enter<>(std::size_t);
GRAFT_COMPILED_LAYERS void LeafList::check_same_structure<>(const LeafList&) const;
GRAFT_COMPILED_LAYERS bool keeps_graph<>(const GradOptions&, const LeafList&);
GRAFT_COMPILED_LAYERS void check_held_once<>(const char*, const LeafList&, Site);
GRAFT_COMPILED_LAYERS std::vector<Node*> nodes_of<>(const LeafList&, const std::vector<bool>&);
GRAFT_COMPILED_LAYERS void fail_unreached<>(const LeafList&, const std::vector<Node*>&, const std::vector<AnyTensor>&,
                                            bool, Site);
GRAFT_COMPILED_LAYERS void check_same_shapes<>(const char*, const LeafList&, const LeafList&, Site);
GRAFT_COMPILED_LAYERS void apply_updates<>(const LeafList&, std::span<const Context>, Site);
}  // namespace detail

// Of index tensors, what programs do with labels.
GRAFT_COMPILED_LAYOUT Tensor<std::int64_t> reshape(const Tensor<std::int64_t>&, Shape, Site);
GRAFT_COMPILED_LAYOUT Tensor<std::int64_t> slice(const Tensor<std::int64_t>&, int, Index, Index, Index, Site);
GRAFT_COMPILED_LAYOUT Tensor<std::int64_t> concat(const std::vector<Tensor<std::int64_t>>&, int, Site);
GRAFT_COMPILED_LAYOUT Tensor<std::int64_t> from_vector(const std::vector<std::int64_t>&, const Shape&, Site);
GRAFT_COMPILED_LAYOUT Tensor<std::int64_t> gather(const Tensor<std::int64_t>&, const Tensor<std::int64_t>&, int, Site);

}  // namespace GRAFT_ABI
}  // namespace graft
