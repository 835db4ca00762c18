#pragma once
// Node encoders without labels, by telling a node in two views of the graph from all others. Zhu, Xu, Yu, Liu, Wu,
// Wang, "Deep graph contrastive representation learning", 2020. Formulas and parameter names as in the authors' code.

#include <array>
#include <limits>
#include <utility>

#include "graft/core/options.hpp"
#include "graft/graph/inputs.hpp"
#include "graft/graph/regularise.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/statistics.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `Grace`; rates are of the two views. The values are CogDL's.
struct GraceOptions {
  double temperature = 0.5;
  std::array<double, 2> drop_edges = {0.2, 0.4};
  std::array<double, 2> drop_features = {0.3, 0.4};  ///< a column that is dropped is 0 for all nodes
};

/// The mean over nodes i, and over both ways round, of -log(e^(u_i . v_i / t) / (sum_j e^(u_i . v_j / t) + sum over j
/// != i of e^(u_i . u_j / t))), u and v the rows of `a` and `b` [nodes, width] over their norms, t the temperature:
/// shape []. Memory grows with nodes^2. Throws ShapeError, ValueError for a temperature that is not positive.
template <Real T>
Tensor<T> grace_loss(const Tensor<T>& a, const Tensor<T>& b, double temperature, Site site = Site::current()) {
  if (a.rank() != 2 || !(a.shape() == b.shape()) || a.size(0) == 0)
    fail<ShapeError>("grace_loss", "expected two tensors [nodes, width] of one node or more",
                     {{"a", a.shape()}, {"b", b.shape()}}, site);
  detail::check_option<T>("grace_loss", "temperature", temperature, detail::Range::positive, site);
  const Tensor<T> u = unit_rows(a, site), v = unit_rows(b, site);
  const Index nodes = a.size(0);
  const Tensor<bool> same = generate({nodes, nodes}, [](Index i, Index j) { return i == j; });
  const auto similar = [&](const Tensor<T>& x, const Tensor<T>& y) {
    return matmul(x, y, {.transpose_b = true}, site) * (1 / temperature);
  };
  const auto one_way = [&](const Tensor<T>& x, const Tensor<T>& y) {
    const Tensor<T> between = similar(x, y);
    const Tensor<T> others = where(same, -std::numeric_limits<T>::infinity(), similar(x, x));
    const Tensor<T> positive = sum(where(same, between, 0), {1});
    return mean(logsumexp(concat(std::vector{between, others}, 1), {1}) - positive);
  };
  return (one_way(u, v) + one_way(v, u)) * 0.5;
}

/// An encoder with the projection that its loss looks through, fc2(elu(fc1(h))). `encoder` is called as encoder(graph,
/// x, context) -> [nodes, width]; after training, it is what one keeps.
template <class Encoder>
struct Grace {
  using T = ModelScalar<Encoder>;
  Encoder encoder;
  Linear<T> fc1, fc2;  ///< width -> projection -> width
  GraceOptions options;
  GRAFT_FIELDS(encoder, fc1, fc2)
  GRAFT_CONFIG(options)

  Grace() = default;
  /// Initial values of `Linear`.
  Grace(Encoder of_nodes, Index width, Index projection, const Random& random, const GraceOptions& o = {},
        Site site = Site::current())
      : encoder(std::move(of_nodes)),
        fc1(width, projection, random.stream("fc1"), {}, site),
        fc2(projection, width, random.stream("fc2"), {}, site),
        options(o) {}

  /// The loss of one step, shape []: `grace_loss` of the projections of two views, each the graph without some of its
  /// edges and some columns of x [nodes, in], drawn from the context's stream "views". Throws ShapeError.
  Tensor<T> loss(const Graph& graph, const Tensor<T>& x, ContextRef context, Site site = Site::current()) const {
    const Named here("Grace", site);
    detail::check_nodes("Grace", graph, x.shape(), site);
    const Random random = context->stream("views");
    const auto view = [&](std::size_t which) {
      const Random draws = random.stream(which);
      const double rate = options.drop_features[which];
      detail::check_option<T>("Grace", "drop_features", rate, detail::Range::below_one, site);
      const Tensor<T> kept = generate({x.size(1)}, [&](Index column) {
        return draws.uniform(static_cast<std::uint64_t>(column)) >= rate ? T(1) : T(0);
      });
      const Graph part = drop_edges(graph, options.drop_edges[which], draws.stream("edges"), false, site).graph;
      return fc2(elu(fc1(encoder(part, x * kept, context), site)), site);
    };
    const Tensor<T> first = view(0);
    return grace_loss(first, view(1), options.temperature, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
