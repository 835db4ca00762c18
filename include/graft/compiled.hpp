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

// Of index tensors, what programs do with labels.
GRAFT_COMPILED_LAYOUT Tensor<std::int64_t> reshape(const Tensor<std::int64_t>&, Shape, Site);
GRAFT_COMPILED_LAYOUT Tensor<std::int64_t> slice(const Tensor<std::int64_t>&, int, Index, Index, Index, Site);
GRAFT_COMPILED_LAYOUT Tensor<std::int64_t> concat(const std::vector<Tensor<std::int64_t>>&, int, Site);
GRAFT_COMPILED_LAYOUT Tensor<std::int64_t> gather(const Tensor<std::int64_t>&, const Tensor<std::int64_t>&, int, Site);

}  // namespace GRAFT_ABI
}  // namespace graft
