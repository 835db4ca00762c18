// Training steps of whole models: a Transformer encoder block, a prototypical network and MAML.

#include "graft/fewshot/maml.hpp"
#include "graft/fewshot/protonet.hpp"
#include "graft/graft.hpp"
#include "graft/protocol/aggregation.hpp"
#include "training.hpp"

namespace peers {
namespace {

using namespace graft;

/// Post-norm block on x [batch, time, width], mean squared error against a target.
const bool encoder = add_work("encoder", [](const Inputs& in) {
  const Tensor<float> x = in.tensor("x"), target = in.tensor("target");
  const TransformerEncoderLayer<> shapes(x.size(2), in.number("heads"), in.number("hidden"), Random(1), {.dropout = 0});
  return training(with_parameters(shapes, in), [=](const auto& block, Context& context) {
    return mse(block(x, context), target);
  });
});

/// Blocks of convolution, batch norm on the statistics of the batch, max-pooling and ReLU.
struct ConvNet {
  struct Block {
    Conv2d<> conv;
    BatchNorm<> norm;
    GRAFT_FIELDS(conv, norm)
  };
  std::vector<Block> blocks;
  GRAFT_FIELDS(blocks)

  ConvNet() = default;
  ConvNet(Index channels, BatchNormMode mode) {
    for (Index i = 0; i < 4; ++i)
      blocks.push_back({Conv2d<>(i ? channels : 1, channels, 3, Random(1), {.padding = 1, .bias = false}),
                        BatchNorm<>(channels, {.mode = mode})});
  }
  /// [n, 28, 28, 1] -> [n, channels].
  Tensor<> operator()(const Tensor<>& images, Context& context) const {
    Tensor<> x = images;
    for (const Block& block : blocks) x = relu(max_pool2d(block.norm(block.conv(x), context)));
    return reshape(x, {x.size(0), x.size(3)});
  }
};

/// Support and query of an episode in one batch through a conv4 net.
const bool protonet = add_work("protonet", [](const Inputs& in) {
  const Tensor<float> images = in.tensor("images");
  const Index ways = in.number("ways"), support = ways * in.number("shots");
  const auto support_labels = in.tensor<std::int64_t>("support_labels");
  const auto query_labels = in.tensor<std::int64_t>("query_labels");
  const ConvNet shapes(in.number("channels"), BatchNormMode::running);
  return training(with_parameters(shapes, in), [=](const ConvNet& net, Context& context) {
    const Tensor<> embedded = net(images, context);
    const Tensor<> logits = protonet_logits(slice(embedded, 0, 0, support), support_labels,
                                            slice(embedded, 0, support, images.size(0)), ways);
    return cross_entropy(logits, query_labels);
  });
});

struct Set {
  Tensor<> x;
  Tensor<> y;                     // of a regression
  Tensor<std::int64_t> labels{};  // of a classification
};
struct Task {
  Set support, query;
};

/// Rows `t` of the inputs support_x, query_x and what they are to give.
std::vector<Task> tasks_of(const Inputs& in, bool labels) {
  const auto sets = [&](const std::string& name) {
    const Tensor<> x = in.tensor(name + "_x");
    std::vector<Set> all;
    for (Index t = 0; t < x.size(0); ++t) {
      const auto row = [&](const auto& rows) { return reshape(slice(rows, 0, t, t + 1), rows.shape().without(0)); };
      if (labels)
        all.push_back({row(x), {}, row(in.tensor<std::int64_t>(name + "_y"))});
      else
        all.push_back({row(x), row(in.tensor(name + "_y"))});
    }
    return all;
  };
  const std::vector<Set> support = sets("support"), query = sets("query");
  std::vector<Task> tasks;
  for (std::size_t t = 0; t < support.size(); ++t) tasks.push_back({support[t], query[t]});
  return tasks;
}

/// Second-order steps with the mean of the tasks' losses, tasks in parallel.
template <class M, class Loss>
Work meta_training(const Inputs& in, const M& shapes, bool labels, Loss loss) {
  const MamlOptions options{.alpha = in.real("alpha"), .steps = static_cast<int>(in.number("steps"))};
  const auto tasks = std::make_shared<std::vector<Task>>(tasks_of(in, labels));
  return descent(with_parameters(shapes, in), [=](const M& theta) {
    std::vector<M> gradients(tasks->size());
    std::vector<Tensor<>> losses(tasks->size());
    parallel_tasks(static_cast<Index>(tasks->size()), [&](Index t) {
      const auto at = static_cast<std::size_t>(t);
      std::tie(losses[at], gradients[at]) =
          value_and_grad([&](const M& own) { return maml_loss(own, (*tasks)[at], loss, options); }, theta);
    });
    return std::tuple(mean(stack(losses)), aggregate(gradients, Aggregation::mean, Random()), theta);
  });
}

struct Perceptron {
  Linear<> first, second, last;
  GRAFT_FIELDS(first, second, last)
  Tensor<> operator()(const Tensor<>& x) const { return last(relu(second(relu(first(x))))); }
};
/// Nets this small are stacked: one op serves all tasks of a stack. Two stacks, so that two threads have work.
const bool maml_sinusoid = add_work("maml_sinusoid", [](const Inputs& in) {
  const Random any(1);
  const MamlOptions options{.alpha = in.real("alpha"), .steps = static_cast<int>(in.number("steps"))};
  const Index count = in.tensor("support_x").size(0), half = (count + 1) / 2;
  std::vector<Task> stacks;
  for (Index begin = 0; begin < count; begin += half) {
    const auto part = [&](const char* name) { return slice(in.tensor(name), 0, begin, std::min(begin + half, count)); };
    stacks.push_back({{part("support_x"), part("support_y")}, {part("query_x"), part("query_y")}});
  }
  // The mean over the points of a task, added over tasks.
  const auto loss = [](const Perceptron& nets, const Set& set) {
    return static_cast<float>(set.x.size(0)) * mse(nets(set.x), set.y);
  };
  const auto start = with_parameters(Perceptron{{1, 40, any}, {40, 40, any}, {40, 1, any}}, in);
  return descent(start, [=](const Perceptron& theta) {
    std::vector<std::pair<Tensor<>, Perceptron>> parts(stacks.size());
    parallel_tasks(static_cast<Index>(stacks.size()), [&](Index i) {
      const Task& stack = stacks[static_cast<std::size_t>(i)];
      parts[static_cast<std::size_t>(i)] = value_and_grad(
          [&](const Perceptron& own) { return maml_loss(stacked(own, stack.support.x.size(0)), stack, loss, options); },
          theta);
    });
    auto [value, gradient] = parts[0];
    for (std::size_t i = 1; i < parts.size(); ++i) {
      value = value + parts[i].first;
      gradient = gradient + parts[i].second;
    }
    return std::tuple(value / static_cast<float>(count), 1.0 / static_cast<double>(count) * gradient, theta);
  });
});

struct Classifier {
  ConvNet body;
  Linear<> head;
  GRAFT_FIELDS(body, head)
};
const bool maml_conv = add_work("maml_conv", [](const Inputs& in) {
  const Index channels = in.number("channels");
  const Classifier shapes{{channels, BatchNormMode::batch}, {channels, in.number("ways"), Random(1)}};
  return meta_training(in, shapes, true, [](const Classifier& net, const Set& set) {
    Context context(Phase::training, Random());
    return cross_entropy(net.head(net.body(set.x, context)), set.labels);
  });
});

}  // namespace
}  // namespace peers
