// Graph attention networks: epochs on one small graph, and one layer of a large one.

#include "graft/graft.hpp"
#include "graft/graph/gat.hpp"
#include "training.hpp"

namespace peers {
namespace {

using namespace graft;

/// The graph of `edges` [2, edges], sources above destinations.
Graph graph_of(const Inputs& in, Index nodes) {
  const auto edges = in.tensor<std::int64_t>("edges");
  const Index count = edges.size(1);
  std::vector<GraphEdge> list;
  list.reserve(static_cast<std::size_t>(count));
  for (Index e = 0; e < count; ++e) list.push_back({edges.data()[e], edges.data()[count + e]});
  return Graph(nodes, list);
}

struct GraphNet {
  Gat<> first, second;
  double rate;
  GRAFT_FIELDS(first, second)
  GRAFT_CONFIG(rate)
  /// `x` dense or sparse.
  template <class Features>
  Tensor<> operator()(const Graph& graph, const Features& x, Context& context) const {
    const Dropout drop{rate};
    const auto elu = [](auto h) { return where(h < 0, exp(minimum(h, 0)) - 1, h); };
    return second(graph, drop(map(elu, first(graph, drop(x, context), context)), context), context);
  }
};

/// Two layers, the second with one head; dropout of their inputs and of the attention weights. Without dropout the
/// sides get the same numbers, so that is what is compared.
template <class Features>
Work gat_epochs(const Inputs& in, const Features& x, Index nodes, Index width_in) {
  const Index heads = in.number("heads"), width = in.number("width"), classes = in.number("classes");
  const double rate = in.real("dropout");
  const auto seen = in.tensor<std::int64_t>("seen"), labels = in.tensor<std::int64_t>("labels");
  const Graph graph = graph_of(in, nodes);
  const GraphNet shapes{{width_in, width, Random(1), {.heads = heads, .dropout = rate}},
                        {heads * width, classes, Random(1), {.dropout = rate}},
                        rate};
  const auto loss = [=](const GraphNet& net, Context& context) {
    return cross_entropy(gather(net(graph, x, context), seen), labels);
  };
  return training(with_parameters(shapes, in), loss, Phase::evaluation);
}
const bool gat_epoch = add_work("gat_epoch", [](const Inputs& in) {
  const Tensor<float> x = in.tensor("x");
  return gat_epochs(in, x, x.size(0), x.size(1));
});
const bool gat_epoch_sparse = add_work("gat_epoch_sparse", [](const Inputs& in) {
  const Tensor<float> x = in.tensor("x");
  return gat_epochs(in, SparseMatrix<float>(x), x.size(0), x.size(1));
});

/// One layer with the gradients of its input and its parameters.
const bool gat_layer = add_work("gat_layer", [](const Inputs& in) {
  const Tensor<float> x = in.tensor("x"), upstream = in.tensor("upstream");
  const Index heads = in.number("heads");
  struct Arguments {
    Gat<> layer;
    Tensor<> x;
    GRAFT_FIELDS(layer, x)
  };
  const Gat<> shapes(x.size(1), upstream.size(1) / heads, Random(1), {.heads = heads});
  const auto arguments = std::make_shared<const Arguments>(Arguments{with_parameters(shapes, in), x});
  const auto got = std::make_shared<std::pair<Tensor<>, Arguments>>();
  const Graph graph = graph_of(in, x.size(0));
  const auto step = [=] {
    *got = {};  // as the others drop theirs
    *got = vjp(
        [&](const Arguments& a) {
          Context context;
          return a.layer(graph, a.x, context);
        },
        *arguments, upstream);
  };
  return Work{step, [=] {
                return gradients_of(got->second.layer, {{"y", got->first}, {"d_x", got->second.x}});
              }};
});

}  // namespace
}  // namespace peers
