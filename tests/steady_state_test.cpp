// The promise behind every row of the comparison with other libraries (bench/peers/works.py): after its first steps, a
// training step asks the system for no memory. One case a row, at small sizes.

#include <vector>

#include "catch.hpp"
#include "graft/fewshot/maml.hpp"
#include "graft/fewshot/protonet.hpp"
#include "graft/graft.hpp"
#include "graft/nn/backbones.hpp"
#include "graft/nn/gpt.hpp"

using namespace graft;

namespace {

/// Runs `step` until the caches are warm, then counts what 30 more steps ask of the system, on one thread and on two.
template <class Step>
void check_steady(const char* row, Step step) {
  for (int count : {1, 2}) {
    set_threads(count);
    for (int i = 0; i < 20; ++i) step();
    const Index before = memory_stats().system_allocations;
    for (int i = 0; i < 30; ++i) step();
    const Index asked = memory_stats().system_allocations - before;
    set_threads(0);
    INFO(row << ", threads: " << count);
    CHECK(asked == 0);
  }
}

/// Steps of gradient descent on loss(model, context).
template <class M, class Loss>
auto training(M& model, Loss loss) {
  return [&model, loss, optimizer = Sgd(model), number = std::uint64_t{0}]() mutable {
    Context context(Phase::training, Random(1).stream(number++));
    const auto gradient = grad([&](const M& m) { return loss(m, context); }, model);
    model = apply_updates(model, context);
    optimizer.step(model, gradient, 1e-3);
  };
}

Graph random_graph(Index nodes, Index degree) {
  std::vector<GraphEdge> edges;
  for (Index i = 0; i < nodes * degree; ++i)
    edges.push_back({Random(5).below(static_cast<std::uint64_t>(i), nodes), i / degree});
  return Graph(nodes, edges);
}

}  // namespace

TEST_CASE("steps that are small, elementwise or row by row ask for no memory", "[steady]") {
  const auto x = randn({64, 256}, Random(1)), upstream = randn({64, 256}, Random(2));
  const auto bias = randn({256}, Random(3)), shift = randn({256}, Random(4));
  check_steady("product", [&] { matmul(x, upstream, {.transpose_b = true}); });
  check_steady("chain", [&] {
    const auto chain = [](const std::vector<Tensor<>>& v) {
      return map([](auto a, auto b, auto c) { return gelu_tanh(a + b) + c; }, v[0], v[1], v[2]);
    };
    vjp(chain, std::vector{x, bias, upstream}, upstream);
  });
  Tensor<> parameter = randn({64, 256}, Random(6));
  Adam adam(parameter);
  check_steady("Adam", [&] { adam.step(parameter, upstream, 1e-3); });
  check_steady("softmax", [&] { vjp([](const auto& v) { return softmax(v); }, x, upstream); });
  const auto labels = arange<std::int64_t>(64);
  check_steady("cross-entropy", [&] { grad([&](const auto& v) { return cross_entropy(v, labels); }, x); });
  check_steady("layer norm", [&] {
    vjp([](const std::vector<Tensor<>>& v) { return layer_norm(v[0], v[1], v[2]); }, std::vector{x, bias, shift},
        upstream);
  });
  const auto small = randn({8}, Random(7));
  check_steady("small ops", [&] {
    const auto ops = [&](const Tensor<>& v) {
      Tensor<> y = v;
      for (int i = 0; i < 50; ++i) y = tanh(y * small + small);
      return y;
    };
    vjp(ops, small, small);
  });
}

TEST_CASE("steps of attention and of a Transformer block ask for no memory", "[steady]") {
  const auto q = randn({2, 4, 80, 16}, Random(1)), k = randn({2, 4, 80, 16}, Random(2));
  for (bool causal : {false, true})
    check_steady("attention", [&] {
      const auto attend = [&](const std::vector<Tensor<>>& v) {
        return scaled_dot_product_attention(v[0], v[1], v[1], AttentionOptions<float>{.causal = causal});
      };
      vjp(attend, std::vector{q, k}, q);
    });
  TransformerEncoderLayer<> block(32, 4, 64, Random(3));
  const auto x = randn({4, 20, 32}, Random(4));
  check_steady("encoder", training(block, [&](const auto& m, Context& context) { return mse(m(x, context), x); }));
}

TEST_CASE("tokens on a cache with room ask for no memory", "[steady]") {
  const Gpt<> model(Random(1), {.vocabulary = 40,
                                .width = 32,
                                .depth = 2,
                                .heads = 4,
                                .longest = 300,
                                .positions = Positions::rotary,
                                .layer = {.norm_first = true, .key_heads = 2}});
  const auto token = zeros<std::int64_t>({3, 1});
  TransformerCache<> cache;
  model.step(token, cache);
  cache.reserve(300);
  check_steady("token", [&] { model.last_step(token, cache); });
  check_steady("portion after truncation", [&] {
    cache.truncate(60);
    model.step(zeros<std::int64_t>({3, 7}), cache);
  });
  KvCache<> growing;  // without room: twice as much each time it is used up
  const auto keys = randn({2, 4, 1, 16}, Random(2));
  Index blocks = 0, room = 0;
  for (int i = 0; i < 1000; ++i) {
    growing.append(keys, keys);
    blocks += growing.capacity() != room;
    room = growing.capacity();
  }
  CHECK(blocks == 7);  // 16 .. 1024
}

TEST_CASE("steps of few-shot learners ask for no memory", "[steady]") {
  const auto images = randn({10, 28, 28, 1}, Random(1));
  const auto labels = from_vector(std::vector<std::int64_t>{0, 1, 2, 3, 4});
  Conv4<> net(Random(2), {.channels = {8, 8, 8, 8}});
  check_steady("ProtoNet", training(net, [&](const Conv4<>& m, Context&) {
                 const Tensor<> embedded = m(images);
                 return cross_entropy(protonet_logits(slice(embedded, 0, 0, 5), labels, slice(embedded, 0, 5, 10), 5),
                                      labels);
               }));
  struct Task {
    Tensor<> support, query;
  };
  const Task episode{slice(images, 0, 0, 5), slice(images, 0, 5, 10)};
  check_steady("MAML of a convolutional net", training(net, [&](const Conv4<>& m, Context&) {
                 return maml_loss(
                     m, episode, [&](const Conv4<>& own, const Tensor<>& x) { return cross_entropy(own(x), labels); },
                     {.alpha = 0.01, .steps = 2});
               }));
  Linear<> layer(4, 4, Random(3));
  const Task stack{randn({6, 5, 4}, Random(4)), randn({6, 5, 4}, Random(5))};
  check_steady("MAML of a stack", training(layer, [&](const Linear<>& m, Context&) {
                 return maml_loss(
                     stacked(m, 6), stack, [](const Linear<>& own, const Tensor<>& x) { return mse(own(x), x); },
                     {.alpha = 0.01});
               }));
}

TEST_CASE("epochs of a graph attention network ask for no memory", "[steady]") {
  const Graph graph = random_graph(300, 5);
  const auto x = relu(randn({300, 40}, Random(1)));
  const SparseMatrix<> sparse(x);
  const auto labels = from_vector(std::vector<std::int64_t>(300, 2));
  Gat<> layer(40, 8, Random(2), {.heads = 4, .dropout = 0.6});
  check_steady("dense features", training(layer, [&](const Gat<>& m, Context& context) {
                 return cross_entropy(m(graph, dropout(x, 0.6, context.stream("x")), context), labels);
               }));
  check_steady("sparse features", training(layer, [&](const Gat<>& m, Context& context) {
                 return cross_entropy(m(graph, dropout(sparse, 0.6, context.stream("x")), context), labels);
               }));
}
