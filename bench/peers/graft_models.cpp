// Whole models: training steps of a Transformer encoder block, a GPT, a prototypical network and MAML; text written
// token by token, and vectors of sentences.

#include "graft/fewshot/maml.hpp"
#include "graft/fewshot/protonet.hpp"
#include "graft/graft.hpp"
#include "graft/nn/bert.hpp"
#include "graft/nn/gpt.hpp"
#include "training.hpp"

namespace peers {
namespace {

using namespace graft;

/// Post-norm block on x [batch, time, width], mean squared error against a target.
const bool encoder = add_work("encoder", [](const Inputs& in) {
  const Tensor<float> x = in.tensor("x"), target = in.tensor("target");
  const TransformerEncoderLayer<> shapes(x.size(2), in.number("heads"), in.number("hidden"), Random(1), {.dropout = 0});
  return training(with_parameters(shapes, in),
                  [=](const auto& block, Context& context) { return mse(block(x, context), target); });
});

Gpt<> gpt(const Inputs& in) {
  GptOptions options{.vocabulary = in.number("vocabulary"),
                     .width = in.number("width"),
                     .depth = in.number("depth"),
                     .heads = in.number("heads"),
                     .longest = in.number("longest")};
  options.layer.dropout = 0;
  return with_parameters(Gpt<>(Random(1), options), in);
}
/// ids [batch, time + 1]: each token but the last foretells the next.
const bool gpt_step = add_work("gpt", [](const Inputs& in) {
  const auto ids = in.tensor<std::int64_t>("ids");
  const Index batch = ids.size(0), time = ids.size(1) - 1;
  const auto seen = slice(ids, 1, 0, time), next = reshape(slice(ids, 1, 1, time + 1), {batch * time});
  return training(gpt(in), [=](const Gpt<>& net, Context& context) {
    const Tensor<> scores = net(seen, context);
    return cross_entropy(reshape(scores, {batch * time, scores.size(2)}), next);
  });
});
/// ids [batch, time], taken in one after the other as a text that is written; the scores after the last.
const bool gpt_tokens = add_work("gpt_tokens", [](const Inputs& in) {
  const auto ids = in.tensor<std::int64_t>("ids");
  const Index batch = ids.size(0), time = ids.size(1);
  std::vector<Tensor<std::int64_t>> tokens;
  for (Index t = 0; t < time; ++t) tokens.push_back(slice(ids, 1, t, t + 1));
  const auto scores = std::make_shared<Tensor<>>();
  const auto step = [=, net = gpt(in)] {
    TransformerCache<> cache;
    for (const auto& token : tokens) {
      *scores = net.last_step(token, cache);
      if (cache.length() == 1) cache.reserve(time);
    }
  };
  return Work{step, [=] { return Results{{"scores", reshape(*scores, {batch, scores->size(1)})}}; }};
});

/// Vectors of sentences: ids [batch, time] up to `lengths` [batch].
const bool sentences = add_work("sentences", [](const Inputs& in) {
  const auto ids = in.tensor<std::int64_t>("ids"), lengths = in.tensor<std::int64_t>("lengths");
  const BertOptions options{.vocabulary = in.number("vocabulary"),
                            .width = in.number("width"),
                            .depth = in.number("depth"),
                            .heads = in.number("heads"),
                            .hidden = 4 * in.number("width")};
  const Bert<> net = with_parameters(Bert<>(Random(1), options), in);
  const Tensor<bool> mask = arange<std::int64_t>(ids.size(1)) < reshape(lengths, {ids.size(0), 1});
  const auto vectors = std::make_shared<Tensor<>>();
  return Work{[=] { *vectors = sentence_vectors(net(ids, mask, Context()), mask); },
              [=] {
                return Results{{"vectors", *vectors}};
              }};
});

/// Blocks with batch norm on the statistics of the batch.
struct ConvNet {
  std::vector<ConvBlock<>> blocks;
  GRAFT_FIELDS(blocks)

  ConvNet() = default;
  ConvNet(Index channels, BatchNormMode mode) {
    for (Index i = 0; i < 4; ++i) blocks.emplace_back(i ? channels : 1, channels, Random(1), BatchNormOptions{mode});
  }
  /// [n, 28, 28, 1] -> [n, channels].
  Tensor<> operator()(const Tensor<>& images, Context& context) const {
    Tensor<> x = images;
    for (const ConvBlock<>& block : blocks) x = block(x, context);
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

template <class Y>
struct Set {
  Tensor<> x;
  Y y;
};
template <class Y>
struct Task {
  Set<Y> support, query;
};

/// Second-order steps with the mean of the tasks' losses; their sum comes in `parts`, loss_of(theta, i), computed in
/// parallel.
template <class M, class LossOf>
Work meta_training(const M& start, Index parts, Index tasks, const LossOf& loss_of) {
  const auto differentiate = [=](const M& theta) {
    std::vector<std::pair<Tensor<>, M>> found(parts);
    parallel_tasks(parts,
                   [&](Index i) { found[i] = value_and_grad([&](const M& own) { return loss_of(own, i); }, theta); });
    auto [loss, gradient] = found[0];
    for (std::size_t i = 1; i < found.size(); ++i) {
      loss = loss + found[i].first;
      gradient = gradient + found[i].second;
    }
    return std::tuple(loss / static_cast<float>(tasks), 1.0 / static_cast<double>(tasks) * gradient, theta);
  };
  return descent(start, differentiate, differentiate);
}
MamlOptions maml_options(const Inputs& in) {
  return {.alpha = in.real("alpha"), .steps = static_cast<int>(in.number("steps"))};
}

struct Perceptron {
  Linear<> first, second, last;
  GRAFT_FIELDS(first, second, last)
  Tensor<> operator()(const Tensor<>& x) const { return last(relu(second(relu(first(x))))); }
};
/// Nets this small are stacked: one op serves all tasks of a stack. Two stacks, so that two threads have work.
const bool maml_sinusoid = add_work("maml_sinusoid", [](const Inputs& in) {
  const Random any(1);
  const Index tasks = in.tensor("support_x").size(0), half = (tasks + 1) / 2;
  std::vector<Task<Tensor<>>> stacks;
  for (Index begin = 0; begin < tasks; begin += half) {
    const auto part = [&](const char* name) { return slice(in.tensor(name), 0, begin, std::min(begin + half, tasks)); };
    stacks.push_back({{part("support_x"), part("support_y")}, {part("query_x"), part("query_y")}});
  }
  // The mean over the points of a task, added over tasks.
  const auto loss = [](const Perceptron& nets, const Set<Tensor<>>& set) {
    return static_cast<float>(set.x.size(0)) * mse(nets(set.x), set.y);
  };
  const auto loss_of = [=, options = maml_options(in)](const Perceptron& theta, Index i) {
    const auto& stack = stacks[i];
    return maml_loss(stacked(theta, stack.support.x.size(0)), stack, loss, options);
  };
  const auto start = with_parameters(Perceptron{{1, 40, any}, {40, 40, any}, {40, 1, any}}, in);
  return meta_training(start, static_cast<Index>(stacks.size()), tasks, loss_of);
});

struct Classifier {
  ConvNet body;
  Linear<> head;
  GRAFT_FIELDS(body, head)
};
const bool maml_conv = add_work("maml_conv", [](const Inputs& in) {
  using Labels = Tensor<std::int64_t>;
  const Index channels = in.number("channels");
  const Classifier shapes{{channels, BatchNormMode::batch}, {channels, in.number("ways"), Random(1)}};
  const Tensor<> support_x = in.tensor("support_x"), query_x = in.tensor("query_x");
  const auto support_y = in.tensor<std::int64_t>("support_y"), query_y = in.tensor<std::int64_t>("query_y");
  const Index count = support_x.size(0);
  std::vector<Task<Labels>> tasks;
  for (Index t = 0; t < count; ++t) {
    const auto row = [&](const auto& rows) { return reshape(slice(rows, 0, t, t + 1), rows.shape().without(0)); };
    tasks.push_back({{row(support_x), row(support_y)}, {row(query_x), row(query_y)}});
  }
  const auto loss = [](const Classifier& net, const Set<Labels>& set) {
    Context context(Phase::training, Random());
    return cross_entropy(net.head(net.body(set.x, context)), set.y);
  };
  const auto loss_of = [=, options = maml_options(in)](const Classifier& theta, Index t) {
    return maml_loss(theta, tasks[t], loss, options);
  };
  return meta_training(with_parameters(shapes, in), count, count, loss_of);
});

}  // namespace
}  // namespace peers
