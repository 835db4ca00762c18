// Objectives of pre-training as the first phase of the protocol, by name, and what a step of training changes besides.

#include <cmath>
#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "graft/nn/bert.hpp"
#include "graft/pretrain.hpp"
#include "graft/pretrain/memory_queue.hpp"
#include "graft/pretrain/mlm.hpp"
#include "graft/pretrain/sentence_order.hpp"
#include "graft/protocol/phases.hpp"

using namespace graft;

namespace {

/// Images of 16 pixels with one bright bar each, across or down.
Tensor<> bars(Index count, const Random& random) {
  return generate({count, 16, 16, 1}, [&](Index i, Index y, Index x, Index) {
    const auto draw = static_cast<std::uint64_t>(i);
    const Index at = random.stream("place").below(draw, 14), along = random.stream("along").below(draw, 2) ? y : x;
    return along == at || along == at + 1 ? 1.0f : 0.0f;
  });
}
PhaseOptions options(const std::string& name, Index rounds, double rate = 0.01) {
  return {.protocol = {.seed = 3},
          .learning_rate = rate,
          .train = {.name = name, .steps = rounds, .validations = 2, .quiet = true}};
}

}  // namespace

TEST_CASE("every objective of the list pre-trains a backbone as a phase", "[pretrain]") {
  CHECK(image_pretexts().names() == std::vector<std::string>{"rotation", "masked_images", "denoising", "contrastive"});
  CHECK_THROWS_WITH(image_pretexts().make("jigsaw", {}, Random(1)),
                    contains("image pretexts") && contains("contrastive"));
  const BackboneOptions sizes{.size = 16, .width = 16};
  const auto loss_of = [](const Pretraining& m, const Random& random) {
    return m(bars(16, random.stream("images")), Context(Phase::training, random.stream("training")));
  };
  for (const std::string& name : image_pretexts().names()) {
    INFO(name);
    const Pretraining model{backbones().make("conv4", sizes, Random(1), {}),
                            image_pretexts().make(name, sizes, Random(2))};
    const auto figure = [&](const Pretraining& m) {
      double sum = 0;
      for (std::uint64_t i = 0; i < 4; ++i) sum -= static_cast<double>(loss_of(m, Random(100 + i)).item());
      return sum;
    };
    const PhaseResult<Pretraining> result = run_pretraining(model, loss_of, figure, options(name, 30));
    CHECK(result.figure > figure(model));
    CHECK(result.model.encoder(bars(2, Random(1)), Context()).shape() == Shape{2, 16});
  }
}

TEST_CASE("masked words and sentence order pre-train a small encoder of text as a phase", "[pretrain]") {
  struct TextModel {
    Bert<> encoder;
    Linear<> words;
    SentenceOrderHead<> order;
    GRAFT_FIELDS(encoder, words, order)
  };
  // Documents that count up, each from a number of its own: words 5 to 24.
  DocumentTokens documents;
  std::vector<Index> sentences;
  for (std::int64_t d = 0; d < 10; ++d) {
    documents.emplace_back();
    for (std::int64_t s = 0; s < 4; ++s) documents.back().push_back({5 + (d + 2 * s) % 20, 5 + (d + 2 * s + 1) % 20});
    sentences.push_back(4);
  }
  const TextModel model{
      Bert<>(Random(1),
             {.vocabulary = 25, .width = 16, .depth = 1, .heads = 2, .hidden = 32, .positions = 8, .dropout = 0}),
      Linear<>(16, 25, Random(2)), SentenceOrderHead<>(16, Random(3))};
  const auto loss_of = [&](const TextModel& m, const Random& random) {
    const auto pairs = draw_sentence_pairs(sentences, 32, random.stream("pairs"), {.order = SentenceOrder::sop});
    const PairTokens batch = pair_tokens(documents, pairs, {.length = 7, .cls = 1, .sep = 2});
    const MaskedTokens masked = mask_tokens(batch.ids, batch.maskable, random.stream("masks"),
                                            {.mask_token = 3, .vocabulary = 25, .first_random = 5});
    const Tensor<> hidden = m.encoder(masked.seen, batch.mask, batch.segments, Context(Phase::training, random));
    return mlm_loss(m.words(hidden), masked.targets) +
           sentence_order_loss(m.order, hidden, batch.labels, SentenceOrder::sop);
  };
  const auto figure = [&](const TextModel& m) { return -static_cast<double>(loss_of(m, Random(100)).item()); };
  const auto result = run_pretraining(model, loss_of, figure, options("text", 60));
  CHECK(figure(model) == Approx(-std::log(25.0) - std::log(2.0)).epsilon(0.15));  // knows nothing
  CHECK(result.figure > figure(model) + 0.3);
}

TEST_CASE("a queue of keys and the encoder that follows are part of a training that goes on bit for bit",
          "[pretrain]") {
  using Contrast = MomentumContrast<Linear<>>;
  const Folder folder;
  const auto run = [&](Index steps, const std::string& name, bool resume) {
    Identity identity;
    identity.add("what", "queue");
    Contrast contrast(Linear<>(6, 4, Random(1)), 4, {.capacity = 24, .momentum = 0.9, .temperature = 0.2});
    StopFlag stop;
    const auto step = [&](auto& state, Index number) -> StepReport {
      const Random random = Random(2).stream(static_cast<std::uint64_t>(number));
      const Tensor<> x = randn<float>({10, 6}, random.stream("items"));
      const auto view = [&](const char* which) { return x + 0.3f * randn<float>({10, 6}, random.stream(which)); };
      const Tensor<> keys = state.model.keys(view("second"), Context()), first = view("first");
      const auto loss = [&](const Contrast& m) { return m.loss(first, keys, Context()); };
      const auto [value, gradient] = value_and_grad(loss, state.model);
      state.optimizer.step(state.model, gradient, 0.01);
      state.model.follow(keys);
      if (number + 1 == steps) stop.request();
      return {value.item(), 0};
    };
    const TrainOptions how{.name = "queue", .steps = 20, .validations = 1, .quiet = true, .stop = &stop};
    const auto last = [&, kept = Contrast()](const Contrast& m) mutable { return kept = m, 1.0; };
    return train(ModelState<Contrast, Adam<Contrast>>{contrast, Adam(contrast)}, step, last, how,
                 Checkpoints(folder / name, resume, identity, {"queue"}));
  };
  const auto whole = run(-1, "whole", false);
  CHECK_THROWS_AS(run(13, "parts", false), Stopped);
  const auto parts = run(-1, "parts", true);
  CHECK(whole.model.queue.written.item() == 200);
  CHECK(whole.model.queue.size() == 24);
  CHECK(same_bits(whole.model.queue.keys.value, parts.model.queue.keys.value));
  CHECK(same_bits(whole.model.encoder.weight, parts.model.encoder.weight));
  CHECK(same_bits(whole.model.momentum_encoder.weight, parts.model.momentum_encoder.weight));
  CHECK_FALSE(same_bits(whole.model.momentum_encoder.weight, whole.model.encoder.weight));
  CHECK_FALSE(same_bits(whole.model.momentum_encoder.weight, Linear<>(6, 4, Random(1)).weight));
}
