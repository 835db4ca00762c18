// A Transformer encoder says whether a sequence of tokens holds the same token at its two ends, which no layer without
// attention between places can see.
#include <cstdio>
#include <vector>

#include "graft/evaluate/metrics.hpp"
#include "graft/graft.hpp"

using namespace graft;

namespace program {

constexpr Index kTokens = 8, kLength = 6, kWidth = 32, kBatch = 64;

struct Net {
  Embedding<> token, place;
  TransformerEncoder<> encoder;
  Linear<> head;
  GRAFT_FIELDS(token, place, encoder, head)

  Tensor<> operator()(const Tensor<std::int64_t>& sequences, ContextRef context) const {
    const Tensor<> h = encoder(token(sequences) + place.weight, context);
    return head(mean(h, {1}));
  }
};

struct Batch {
  Tensor<std::int64_t> sequences, labels;
};

Batch draw(const Random& random) {
  const Tensor<> draws = rand({kBatch, kLength + 1}, random);
  std::vector<std::int64_t> tokens, labels;
  for (Index i = 0; i < kBatch; ++i) {
    std::vector<std::int64_t> sequence;
    for (Index j = 0; j < kLength; ++j) sequence.push_back(static_cast<std::int64_t>(draws.at({i, j}) * kTokens));
    if (draws.at({i, kLength}) < 0.5f) sequence.back() = sequence.front();
    labels.push_back(sequence.back() == sequence.front());
    tokens.insert(tokens.end(), sequence.begin(), sequence.end());
  }
  return {from_vector(tokens, {kBatch, kLength}), from_vector(labels)};
}

int run() {
  const Random random(1);
  Net net{.token = {kTokens, kWidth, random.stream("token")},
          .place = {kLength, kWidth, random.stream("place")},
          .encoder = {2, kWidth, 4, 64, random.stream("encoder"), {.layer = {.dropout = 0.0, .norm_first = true}}},
          .head = {kWidth, 2, random.stream("head")}};
  AdamW optimizer(net);
  double last = 0;
  for (int step = 0; step < 500; ++step) {
    const Random here = random.stream("training", step);
    const Batch batch = draw(here.stream("batch"));
    Context context(Phase::training, here);
    const auto loss = [&](const Net& model) { return cross_entropy(model(batch.sequences, context), batch.labels); };
    const auto [value, gradient] = value_and_grad(loss, net);
    optimizer.step(net, clip_by_norm(gradient, 1.0), 3e-3);
    last = static_cast<double>(value.item());
  }
  const Batch test = draw(random.stream("test"));
  const double right = accuracy(net(test.sequences, Context()), test.labels);
  std::printf("last loss %.3f, accuracy %.3f\n", last, right);
  return right > 0.9 ? 0 : 1;
}

}  // namespace program

int main() { return program::run(); }
