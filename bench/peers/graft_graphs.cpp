// Graph networks: epochs on one small graph, single layers and sampled steps on a large one.

#include "graft/graft.hpp"
#include "graft/graph/gcn.hpp"
#include "graft/graph/gin.hpp"
#include "graft/graph/sage.hpp"
#include "graft/graph/sampling.hpp"
#include "graft/graph/transformer_conv.hpp"
#include "training.hpp"

namespace peers {
namespace {

using namespace graft;

/// The graph of `edges` [2, edges], sources above destinations.
Graph graph_of(const Inputs& in, Index nodes) {
  const auto edges = in.tensor<std::int64_t>("edges");
  const Index count = edges.size(1);
  std::vector<GraphEdge> list;
  list.reserve(count);
  for (Index e = 0; e < count; ++e) list.push_back({edges.data()[e], edges.data()[count + e]});
  return Graph(nodes, list);
}

template <class Layer>
struct TwoLayers {
  Layer first, second;
  Activation between = Activation::relu;
  double rate = 0;
  GRAFT_FIELDS(first, second)
  GRAFT_CONFIG(between, rate)

  /// `on`: the graph, or a matrix made of it; `x` dense or sparse.
  template <class On, class Features>
  Tensor<> operator()(const On& on, const Features& x, Context& context) const {
    const Dropout drop{rate};
    return second(on, drop(detail::activate(between, first(on, drop(x, context), context)), context), context);
  }
};

/// Epochs with dropout of the layers' inputs and of attention weights. Without dropout the sides get the same numbers,
/// so that is what is compared.
template <class Layer, class On, class Features>
Work epochs(const Inputs& in, const TwoLayers<Layer>& shapes, const On& on, const Features& x) {
  const auto seen = in.tensor<std::int64_t>("seen"), labels = in.tensor<std::int64_t>("labels");
  const auto loss = [=](const TwoLayers<Layer>& net, Context& context) {
    return cross_entropy(gather(net(on, x, context), seen), labels);
  };
  return training(with_parameters(shapes, in), loss, Phase::evaluation);
}
template <class Features>
Work gat_epochs(const Inputs& in, const Features& x) {
  const Index heads = in.number("heads"), width = in.number("width"), classes = in.number("classes");
  const double rate = in.real("dropout");
  const Tensor<float> dense = in.tensor("x");
  const TwoLayers<Gat<>> shapes{{dense.size(1), width, Random(1), {.heads = heads, .dropout = rate}},
                                {heads * width, classes, Random(1), {.dropout = rate}},
                                Activation::elu,
                                rate};
  return epochs(in, shapes, graph_of(in, dense.size(0)), x);
}
const bool gat_epoch = add_work("gat_epoch", [](const Inputs& in) { return gat_epochs(in, in.tensor("x")); });
const bool gat_epoch_sparse =
    add_work("gat_epoch_sparse", [](const Inputs& in) { return gat_epochs(in, SparseMatrix<float>(in.tensor("x"))); });

const bool gcn_epoch = add_work("gcn_epoch", [](const Inputs& in) {
  const Tensor<float> x = in.tensor("x");
  const Index width = in.number("width"), classes = in.number("classes");
  const TwoLayers<Gcn<>> shapes{
      {x.size(1), width, Random(1)}, {width, classes, Random(1)}, Activation::relu, in.real("dropout")};
  return epochs(in, shapes, gcn_matrix(graph_of(in, x.size(0))), SparseMatrix<float>(x));
});

/// One layer with the gradients of its input and its parameters.
template <class Layer, class On>
Work layer_on(const Inputs& in, const Layer& shapes, const On& on) {
  struct Arguments {
    Layer layer;
    Tensor<> x;
    GRAFT_FIELDS(layer, x)
  };
  const Tensor<float> upstream = in.tensor("upstream");
  const auto arguments = std::make_shared<const Arguments>(Arguments{with_parameters(shapes, in), in.tensor("x")});
  const auto got = std::make_shared<std::pair<Tensor<>, Arguments>>();
  const auto step = [=] {
    *got = {};  // as the others drop theirs
    *got = vjp([&](const Arguments& a) { return a.layer(on, a.x, Context()); }, *arguments, upstream);
  };
  return Work{step, [=] { return gradients_of(got->second.layer, {{"y", got->first}, {"d_x", got->second.x}}); }};
}
/// The layer that make(width in, width out) gives, on the graph of the inputs.
template <class Make>
bool add_layer(const char* kind, Make make) {
  return add_work(kind, [=](const Inputs& in) {
    const Tensor<float> x = in.tensor("x");
    return layer_on(in, make(in, x.size(1), in.tensor("upstream").size(1)), graph_of(in, x.size(0)));
  });
}
const bool gat_layer = add_layer("gat_layer", [](const Inputs& in, Index from, Index to) {
  const Index heads = in.number("heads");
  return Gat<>(from, to / heads, Random(1), {.heads = heads});
});
const bool transformer_layer = add_layer("transformer_layer", [](const Inputs& in, Index from, Index to) {
  const Index heads = in.number("heads");
  return TransformerConv<>(from, to / heads, Random(1), {.heads = heads});
});
const bool sage_layer =
    add_layer("sage_layer", [](const Inputs&, Index from, Index to) { return Sage<>(from, to, Random(1)); });
const bool gin_layer = add_layer("gin_layer", [](const Inputs&, Index from, Index to) {
  return Gin(Sequential(Linear<>(from, to, Random(1)), Relu(), Linear<>(to, to, Random(1))), {.train_eps = true});
});
const bool gcn_layer = add_work("gcn_layer", [](const Inputs& in) {
  const Tensor<float> x = in.tensor("x");
  return layer_on(in, Gcn<>(x.size(1), in.tensor("upstream").size(1), Random(1)), gcn_matrix(graph_of(in, x.size(0))));
});

/// Steps of SAGE on sampled neighbours of batches of seeds. Draws differ between libraries, so what is compared is a
/// step on all neighbours of the first seeds.
const bool sampled_sage = add_work("sampled_sage", [](const Inputs& in) {
  const Tensor<float> x = in.tensor("x");
  const auto labels = in.tensor<std::int64_t>("labels");
  const Index width = in.number("width"), batch_size = in.number("batch"), compared = in.number("compared");
  const Graph graph = graph_of(in, x.size(0));
  const NeighbourLoader loader(graph, arange<std::int64_t>(x.size(0)), {.batch_size = batch_size}, Random(1));
  const TwoLayers<Sage<>> start =
      with_parameters(TwoLayers<Sage<>>{{x.size(1), width, Random(1)}, {width, in.number("classes"), Random(1)}}, in);
  const auto at = [=](const TwoLayers<Sage<>>& net, const SampledBatch& batch) {
    const auto own = [](const Tensor<>& rows, const SampledBlock& block) {
      return slice(rows, 0, 0, block.graph.destinations());
    };
    const auto loss = [&](const TwoLayers<Sage<>>& m) {
      const Tensor<> rows = gather(x, batch.nodes());
      const SampledBlock &near = batch.blocks[1], &far = batch.blocks[0];
      const Tensor<> h = relu(m.first(far.graph, rows, own(rows, far), Context()));
      return cross_entropy(m.second(near.graph, h, own(h, near), Context()), gather(labels, batch.seeds));
    };
    auto [value, gradient] = value_and_grad(loss, net);
    return std::tuple(value, gradient, net);
  };
  struct Place {
    Index epoch = 0, batch = 0;
    NeighbourLoader::Epoch order;
  };
  const auto place = std::make_shared<Place>(Place{0, 0, loader.epoch(0)});
  const auto next = [=] {
    if (place->batch == place->order.batches()) *place = {place->epoch + 1, 0, loader.epoch(place->epoch + 1)};
    return place->order.batch(place->batch++);
  };
  return descent(
      start, [=](const TwoLayers<Sage<>>& net) { return at(net, next()); },
      [=](const TwoLayers<Sage<>>& net) {
        const std::vector<Index> all = {kAllNeighbours, kAllNeighbours};
        return at(net, sample_neighbours(graph, arange<std::int64_t>(compared), all, Random(1)));
      });
});

}  // namespace
}  // namespace peers
