#pragma once
// Node encoders without labels, by telling nodes from nodes of a shuffled graph. Velickovic, Fedus, Hamilton, Lio,
// Bengio, Hjelm, "Deep graph infomax", ICLR 2019. Formulas as in the authors' code, whose discriminator has a bias
// besides; parameter names and initial values are those of PyG's DeepGraphInfomax.

#include <utility>
#include <vector>

#include "graft/graph/inputs.hpp"
#include "graft/model/context.hpp"
#include "graft/model/init.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/losses.hpp"
#include "graft/ops/matmul.hpp"
#include "graft/ops/neighbours.hpp"
#include "graft/ops/reduce.hpp"
#include "graft/ops/sparse.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// The matrix with row order[i] of x as row i.
template <class T>
SparseMatrix<T> reordered_rows(const SparseMatrix<T>& x, const std::vector<Index>& order, Site site) {
  std::vector<Index> place(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) place[static_cast<std::size_t>(order[i])] = static_cast<Index>(i);
  std::vector<GraphEdge> moved = edge_list(x.pattern());
  for (GraphEdge& entry : moved) entry.destination = place[static_cast<std::size_t>(entry.destination)];
  return SparseMatrix<T>(Graph(x.columns(), x.rows(), moved, site), to_list_order(x.pattern(), x.values(), site), site);
}
template <class T>
Tensor<T> reordered_rows(const Tensor<T>& x, const std::vector<Index>& order, Site) {
  return gather(x, from_vector(std::vector<std::int64_t>(order.begin(), order.end())));
}

}  // namespace detail

/// The encoder and the discriminator d(h, s) = h . W s of deep graph infomax. `encoder` is called as encoder(graph, x,
/// context) -> [nodes, width]; after training, it is what one keeps.
template <class Encoder>
struct Dgi {
  using T = ModelScalar<Encoder>;
  Encoder encoder;
  Tensor<T> weight;  ///< W [width, width]
  GRAFT_FIELDS(encoder, weight)

  Dgi() = default;
  /// W uniform in +-1 / sqrt(width).
  Dgi(Encoder of_nodes, Index width, const Random& random, Site site = Site::current())
      : encoder(std::move(of_nodes)), weight(torch_default_weight<T>({width, width}, random.stream("weight"), site)) {}

  /// The loss of one step, shape []: the mean over the nodes h_i of the graph and those h~_i of the graph whose rows of
  /// features are shuffled of -log sigmoid(d(h_i, s)) and -log(1 - sigmoid(d(h~_i, s))), s = sigmoid(mean_i h_i). The
  /// order is drawn from the context's stream "corruption". Throws ShapeError.
  Tensor<T> loss(const Graph& graph, const Tensor<T>& x, ContextRef context, Site site = Site::current()) const {
    const Named here("Dgi", site);
    detail::check_nodes("Dgi", graph, x.shape(), site);
    return loss_of(graph, x, x.size(0), context, site);
  }
  /// The same of features that are mostly zeros, for an encoder that takes them.
  Tensor<T> loss(const Graph& graph, const SparseMatrix<T>& x, ContextRef context, Site site = Site::current()) const {
    const Named here("Dgi", site);
    detail::check_nodes("Dgi", graph, {x.rows(), x.columns()}, site);
    return loss_of(graph, x, x.rows(), context, site);
  }
  /// The same of rows that an encoder gave: both [nodes, width].
  Tensor<T> contrast(const Tensor<T>& h, const Tensor<T>& shuffled, Site site = Site::current()) const {
    const Tensor<T> judge = matmul(weight, sigmoid(mean(h, {0})), {}, site);
    const Tensor<T> logits = concat(std::vector{matmul(h, judge, {}, site), matmul(shuffled, judge, {}, site)}, 0);
    const Index nodes = h.size(0), all = logits.count();
    const Tensor<T> real = generate({all}, [&](Index i) { return i < nodes ? T(1) : T(0); });
    return binary_cross_entropy_with_logits(logits, real, {}, site);
  }

 private:
  template <class X>
  Tensor<T> loss_of(const Graph& graph, const X& x, Index nodes, ContextRef context, Site site) const {
    const std::vector<Index> order = context->stream("corruption").permutation(nodes, site);
    const Tensor<T> h = encoder(graph, x, context);
    return contrast(h, encoder(graph, detail::reordered_rows(x, order, site), context), site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
