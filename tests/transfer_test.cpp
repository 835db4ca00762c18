// Tuners by name, as few-shot methods of any kind, and the encoders in parts that they are for.

#include <algorithm>

#include "catch.hpp"
#include "gap.hpp"
#include "graft/fewshot/learner.hpp"
#include "graft/transfer.hpp"
#include "messages.hpp"

using namespace graft;

namespace {

/// Images of three shapes with noise.
LabelledSet<> shapes(Index each, const Random& random) {
  const Tensor<std::int64_t> labels = generate({3 * each}, [](Index i) { return i % 3; });
  const Tensor<> clean = generate({3 * each, 8, 8, 1}, [](Index i, Index r, Index c, Index) {
    return (i % 3 == 0 ? r == 3 : i % 3 == 1 ? c == 3 : r == c) ? 1.0f : 0.0f;
  });
  return {clean + 0.1f * randn({3 * each, 8, 8, 1}, random), labels};
}
TransferModel image_model() {
  const PatchTransformer<> net(Random(1), {.size = 8, .patch = 2, .width = 8, .heads = 2, .hidden = 16, .depth = 2});
  return {transfer_encoder(net), Linear<>(8, 5, Random(2))};
}
double share_right(const Tensor<>& logits, const Tensor<std::int64_t>& labels) {
  return mean(cast<double>(argmax(logits, 1) == labels)).item();
}

}  // namespace

TEST_CASE("every tuner by name learns a task and says how much it trains", "[transfer]") {
  const TransferModel model = image_model();
  const LabelledSet<> support = shapes(4, Random(3)), query = shapes(10, Random(4));
  const Tensor<> before = model(support.x, Context());
  for (const std::string& name : tuners().names()) {
    INFO(name);
    const Tuner tuner = make_tuner({.tuner = name, .rate = 5, .steps = 60, .size = 2, .lambda = 0.01});
    const TunedTask task = tuner.adapt(model, support);
    CHECK(share_right(task.predict(support.x), support.y) == 1);
    CHECK(share_right(task.predict(query.x), query.y) > 0.6);
    const Index head = 3 * 8 + 3;
    if (name == "linear_probe") CHECK(task.trained == head);
    if (name == "prefix") CHECK(task.trained == head + 2 * 2 * 2 * 8);
    if (name == "prompt") CHECK(task.trained == head + 2 * 8);
    if (name == "fine_tune") CHECK(task.trained == head + count(model.body));
    CHECK(task.trained >= head);
    CHECK(same_bits(task.predict(query.x), tuner.adapt(model, support).predict(query.x)));
  }
  CHECK(same_bits(model(support.x, Context()), before));
}

TEST_CASE("a tuner is a method of a few-shot learner", "[transfer]") {
  const LabelledSet<> support = shapes(4, Random(3)), query = shapes(2, Random(4));
  const Tuner tuner = make_tuner({.tuner = "lora", .steps = 3});
  FewShotLearner learner({.method = "lora"}, tuner, image_model());
  CHECK(same_bits(learner.adapt(support).predict(query.x), tuner.adapt(image_model(), support).predict(query.x)));
  const auto loss = [&](const FewShotLearner& l) { return l.train_loss({support, query, 3}, Context()); };
  CHECK(norm(to_vector(grad(loss, learner))).item() > 0);
  const FewShotLearner pairs({.method = "setfit"}, SetFit<>{{.rounds = 1}}, image_model());
  CHECK(pairs.adapt(support).predict(query.x).shape() == Shape{6, 3});
}

TEST_CASE("an unknown tuner is refused with the names that there are", "[transfer]") {
  const auto says = [](const TunerSpec& spec) { return message<ValueError>([&] { make_tuner(spec); }); };
  CHECK(says({.tuner = "lara"}).find("'lara'; there are linear_probe, fine_tune") != std::string::npos);
  CHECK(says({.rate = -1}).find("rate is -1") != std::string::npos);
  CHECK(says({.size = -1}).find("size is -1") != std::string::npos);
  CHECK(says({.steps = -1}).find("steps is -1") != std::string::npos);
}

TEST_CASE("encoders in parts are the models of their parts", "[transfer]") {
  const Random random(1);
  const PatchTransformer<> images(random, {.size = 8, .patch = 4, .width = 8, .heads = 2, .hidden = 12, .depth = 1});
  const Tensor<> x = rand({3, 8, 8, 1}, Random(2));
  const TokenEncoder<PatchTokens<>, TransformerEncoder<>> parts = token_encoder(images);
  CHECK(same_bits(parts.front(x, Context()).x, images.patches(x)));
  CHECK(same_bits(transfer_encoder(images)(x, Context()), images(x, Context())));
  const LayerStack<TransformerEncoderLayer<>> stack{images.encoder.layers, images.encoder.norm};
  const Tensor<> tokens = randn({2, 4, 8}, Random(3));
  CHECK(same_bits(stack(tokens, Context()), images.encoder(tokens, Context())));

  const TextEmbedding<> words(random, {.vocabulary = 9, .length = 4, .width = 8, .heads = 2, .hidden = 12});
  const WordTokens<> front{words.tokens, words.positions};
  const Tensor<> ids = tensor<float>({{3, 8, 0, 0}});
  CHECK(same_bits(front(ids, Context()).there, tensor<bool>({{true, true, false, false}})));
  const auto too_long = message<ShapeError>([&] { front(zeros({1, 5}), Context()); });
  CHECK(too_long.find("at most 4 tokens") != std::string::npos);
  const auto outside = message<IndexError>([&] { front(full<float>({1, 2}, 9), Context()); });
  CHECK_FALSE(outside.empty());

  const Bert<> bert(random, {.vocabulary = 9, .width = 8, .depth = 1, .heads = 2, .hidden = 12, .positions = 4});
  const BertTokens<> read = token_encoder(bert).front;
  CHECK(read.embeddings.encoder.layers.empty());
  CHECK(read(ids, Context()).x.shape() == Shape{1, 4, 8});
  // A text without tokens is zeros.
  CHECK(max(abs(transfer_encoder(bert)(zeros({1, 4}), Context()))).item() == 0);
}

TEST_CASE("what is frozen is not counted and not trained", "[transfer]") {
  const Linear<> layer(4, 3, Random(1));
  CHECK(trainable_count(layer) == 15);
  CHECK(trainable_count(freeze(layer, {"bias"})) == 12);
  struct Twice {
    Tensor<> factor;
    GRAFT_FIELDS(factor)
    Tensor<> operator()(const Tensor<>& w) const { return factor * w; }
  };
  using Changed = ChangedWeights<Linear<>, Twice>;
  const Changed doubled{freeze(layer, {"weight", "bias"}), {{Tensor<>(2.0f)}}, {{0, 0}}};
  const Tensor<> x = randn({5, 4}, Random(2));
  Linear<> expected = layer;
  expected.weight = 2.0f * layer.weight;
  CHECK(same_bits(doubled(x, Context()), expected(x)));
  CHECK(trainable_count(doubled) == 1);
  const Changed slope = grad([&](const Changed& m) { return sum(m(x, Context())); }, doubled);
  CHECK(max(abs(slope.base.weight)).item() == 0);
  CHECK(slope.changes[0].factor.item() != 0);
  const CentredClassifier<> far{ones({2, 3}), tensor<float>({0, 1}), {full<float>({3}, 1e6f)}};
  CHECK(same_bits(far(full<float>({1, 3}, 1e6f)), tensor<float>({{0, 1}})));
}
