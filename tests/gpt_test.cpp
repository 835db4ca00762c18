// Language models and what they write: Radford et al. 2019; top-k (Fan et al., ACL 2018) and nucleus sampling (Holtzman
// et al., ICLR 2020). And the vision Transformer (Dosovitskiy et al., ICLR 2021).

#include <cmath>
#include <limits>
#include <set>

#include "catch.hpp"
#include "graft/io/weights.hpp"
#include "graft/model/check_gradients.hpp"
#include "graft/model/grad.hpp"
#include "graft/model/names.hpp"
#include "graft/nn/generate.hpp"
#include "graft/nn/vit.hpp"
#include "graft/ops/softmax.hpp"
#include "layers.hpp"

using namespace graft;

namespace {

GptOptions small(Positions positions, bool tied = true) {
  return {.vocabulary = 11, .width = 8, .depth = 2, .heads = 2, .longest = 16, .positions = positions, .tied = tied};
}
Tensor<std::int64_t> ids(Index batch, Index time) {
  return generate({batch, time}, [](Index b, Index t) { return (7 * t + 3 * b * b + t * t) % 11; });
}
std::set<Index> support(const Tensor<double>& p) {
  std::set<Index> tokens;
  for (Index i = 0; i < p.count(); ++i)
    if (p.data()[i] > 0) tokens.insert(i);
  return tokens;
}

}  // namespace

TEST_CASE("GPT", "[nn]") {
  const Random random(1);
  const Tensor<std::int64_t> text = ids(3, 9);
  SECTION("names, and the head that is the embedding") {
    const Gpt<double> tied(random, small(Positions::learned)), own(random, small(Positions::rotary, false));
    const Names all = names(tied);
    CHECK(all.front() == "word_embeddings.weight");
    CHECK(all[1] == "position_embeddings.weight");
    CHECK(all.back() == "decoder.norm.bias");
    CHECK(names(own).back() == "head.weight");
    CHECK(names(own)[1] == "decoder.layers.0.self_attn.in_proj_weight");
    // A gradient through scores alone reaches embeddings of tokens that the text has not.
    const auto loss = [&](const Gpt<double>& m) { return mean(square(m(zeros<std::int64_t>({1, 2}), Context()))); };
    CHECK(largest(slice(grad(loss, tied).word_embeddings.weight, 0, 5, 6)) > 0);
    CHECK(largest(slice(grad(loss, own).word_embeddings.weight, 0, 5, 6)) == 0);
  }
  SECTION("sizes of GPT-2, small: 124 439 808 parameters") {
    // Without allocating them: 50257 x 768 + 1024 x 768 + 12 (12 x 768^2 + 13 x 768) + 2 x 768 is the published count;
    // the same formula at a small size is what count() says.
    const Gpt<> model(random, small(Positions::learned));
    CHECK(count(model) == 11 * 8 + 16 * 8 + 2 * (12 * 8 * 8 + 13 * 8) + 2 * 8);
  }
  SECTION("initial values: deviation 0.02, of what leads back into the stream 0.02 / sqrt(2 depth)") {
    const Gpt<double> model(random, {.vocabulary = 300, .width = 64, .depth = 8, .heads = 4, .longest = 32});
    const auto deviation = [](const Tensor<double>& x) { return std::sqrt(mean(square(x)).item()); };
    CHECK(deviation(model.word_embeddings.weight) == Approx(0.02).epsilon(0.05));
    CHECK(deviation(model.decoder.layers[3].linear1.weight) == Approx(0.02).epsilon(0.05));
    CHECK(deviation(model.decoder.layers[3].linear2.weight) == Approx(0.005).epsilon(0.05));
    CHECK(largest(*model.decoder.layers[3].linear2.bias) == 0);
  }
  SECTION("token by token is the full pass; a score does not depend on what comes later") {
    for (const Positions positions : {Positions::learned, Positions::sinusoidal, Positions::rotary, Positions::alibi}) {
      INFO(static_cast<int>(positions));
      const Gpt<double> model(random, small(positions, positions != Positions::alibi));
      const Tensor<double> whole = model(text, Context());
      CHECK(whole.shape() == Shape{3, 9, 11});
      TransformerCache<double> cache;
      for (Index t = 0; t < 9; ++t)
        CHECK(all_close(model.step(slice(text, 1, t, t + 1), cache), slice(whole, 1, t, t + 1), 1e-12, 1e-12));
      cache.truncate(4);
      CHECK(all_close(model.last_step(slice(text, 1, 4, 9), cache), reshape(slice(whole, 1, 8, 9), {3, 11}), 1e-12,
                      1e-12));
      CHECK(all_close(model(slice(text, 1, 0, 5), Context()), slice(whole, 1, 0, 5), 1e-12, 1e-12));
      const Gpt<float> single(random, small(positions));
      const Tensor<float> in_float = single(text, Context());
      TransformerCache<float> of_floats;
      for (Index t = 0; t < 9; ++t)
        CHECK(all_close(single.step(slice(text, 1, t, t + 1), of_floats), slice(in_float, 1, t, t + 1), 1e-5f, 1e-5f));
    }
  }
  SECTION("knows where a token stands") {
    const Tensor<std::int64_t> same = zeros<std::int64_t>({1, 6});
    const auto differ = [&](Positions positions) {
      const Gpt<double> model(random, small(positions));
      const Tensor<double> y = model(same, Context());
      return !all_close(slice(y, 1, 2, 3), slice(y, 1, 5, 6), 1e-9, 1e-9);
    };
    CHECK(differ(Positions::learned));
    CHECK(differ(Positions::sinusoidal));
  }
  SECTION("packed texts give what each gives alone") {
    const Gpt<double> model(random, small(Positions::rotary));
    const Tensor<std::int64_t> segments = tensor<std::int64_t>({{0, 0, 0, 0, 1, 1, 1, 1, 1}});
    const Tensor<std::int64_t> row = slice(text, 0, 1, 2);
    const Tensor<double> packed = model(row, {.causal = true, .mask = block_mask(segments)}, Context());
    CHECK(all_close(slice(packed, 1, 4, 9), model(slice(row, 1, 4, 9), Context()), 1e-11, 1e-11));
  }
  SECTION("gradients to the third order equal differences") {
    const GptOptions options{.vocabulary = 5, .width = 4, .depth = 1, .heads = 2, .longest = 4};
    const Tensor<std::int64_t> few = tensor<std::int64_t>({{1, 0, 3}});
    // Weights of ordinary size: with a deviation of 0.02, higher derivatives are steep.
    const Gpt<double> model =
        zip([](const auto& p) { return p + 0.5 * randn<double>(p.shape(), Random(8)); }, Gpt<double>(random, options));
    const auto result =
        check_gradients([&](const auto& m) { return mean(square(m(few, Context()))); }, model, {.orders = 3});
    INFO(result.errors[0] << ' ' << result.errors[1] << ' ' << result.errors[2]);
    CHECK(result.passed);
  }
  SECTION("errors") {
    const Gpt<> model(random, small(Positions::learned));
    CHECK_THROWS_WITH(model(ids(1, 17), Context()), contains("Gpt") && contains("at most 16 tokens"));
    CHECK_THROWS_AS(model(full<std::int64_t>({1, 2}, 11), Context()), IndexError);
    TransformerCache<> cache;
    model.step(ids(1, 16), cache);
    CHECK_THROWS_WITH(model.step(ids(1, 1), cache), contains("16 before them included"));
  }
}

TEST_CASE("GPT-2's names and matrices [in, out]", "[nn]") {
  // Names as GPT2Model of the transformers library has them (modeling_gpt2.py); numbers of our own.
  const Random random(1);
  const Gpt<float> model(random, small(Positions::learned));
  ArrayFile file{"gpt2", {}, {}};
  const auto put = [&](const std::string& name, const Tensor<float>& x) {
    file.arrays[name] = make_array(x.span(), x.shape());
  };
  put("wte.weight", model.word_embeddings.weight);
  put("wpe.weight", model.position_embeddings->weight);
  put("ln_f.weight", *model.decoder.norm->weight);
  put("ln_f.bias", *model.decoder.norm->bias);
  for (std::size_t i = 0; i < 2; ++i) {
    const TransformerEncoderLayer<float>& layer = model.decoder.layers[i];
    const std::string h = i == 0 ? "h.0." : "h.1.";
    put(h + "attn.c_attn.weight", transpose(layer.self_attn.in_proj_weight));
    put(h + "attn.c_attn.bias", *layer.self_attn.in_proj_bias);
    put(h + "attn.c_proj.weight", transpose(layer.self_attn.out_proj.weight));
    put(h + "attn.c_proj.bias", *layer.self_attn.out_proj.bias);
    put(h + "mlp.c_fc.weight", transpose(layer.linear1.weight));
    put(h + "mlp.c_fc.bias", *layer.linear1.bias);
    put(h + "mlp.c_proj.weight", transpose(layer.linear2.weight));
    put(h + "mlp.c_proj.bias", *layer.linear2.bias);
    put(h + "ln_1.weight", *layer.norm1.weight);
    put(h + "ln_1.bias", *layer.norm1.bias);
    put(h + "ln_2.weight", *layer.norm2.weight);
    put(h + "ln_2.bias", *layer.norm2.bias);
    put(h + "attn.bias", ones({1, 1, 16, 16}));
  }
  Gpt<float> loaded(Random(2), small(Positions::learned));
  load_weights(file, loaded, {.names = gpt2_names(), .ignore = gpt2_ignored(2)});
  CHECK(same_bits(loaded(ids(2, 7), Context()), model(ids(2, 7), Context())));
  put("h.0.mlp.c_fc.weight", model.decoder.layers[0].linear1.weight);
  CHECK_THROWS_WITH(load_weights(file, loaded, {.names = gpt2_names(), .ignore = gpt2_ignored(2)}),
                    contains("shape is [32, 8], expected [8, 32]"));
}

TEST_CASE("probabilities of the next token", "[nn]") {
  // Probabilities 0.4, 0.05, 0.3, 0.05, 0.2.
  const Tensor<double> scores = log(tensor<double>({{0.4, 0.05, 0.3, 0.05, 0.2}})) + 3.0;
  CHECK(all_close(token_probabilities(scores), softmax(scores), 1e-14, 1e-14));
  CHECK(all_close(token_probabilities(scores, {.temperature = 2}), softmax(scores / 2.0), 1e-14, 1e-14));
  SECTION("greedy") {
    CHECK(all_close(token_probabilities(scores, {.temperature = 0}), tensor<double>({{1, 0, 0, 0, 0}}), 0.0, 0.0));
    CHECK(all_close(token_probabilities(ones<double>({1, 4}), {.temperature = 0}), tensor<double>({{1, 0, 0, 0}}), 0.0,
                    0.0));
  }
  SECTION("top-k leaves exactly k, the first of equals") {
    CHECK(support(token_probabilities(scores, {.top_k = 2})) == std::set<Index>{0, 2});
    CHECK(support(token_probabilities(scores, {.top_k = 4})) == std::set<Index>{0, 1, 2, 4});
    CHECK(support(token_probabilities(scores, {.top_k = 9})).size() == 5);
    CHECK(all_close(token_probabilities(scores, {.top_k = 2}), tensor<double>({{4.0 / 7, 0, 3.0 / 7, 0, 0}}), 1e-14,
                    1e-14));
  }
  SECTION("top-p leaves the fewest that make up p, at least one") {
    CHECK(support(token_probabilities(scores, {.top_p = 0.69})) == std::set<Index>{0, 2});
    CHECK(support(token_probabilities(scores, {.top_p = 0.71})) == std::set<Index>{0, 2, 4});
    CHECK(support(token_probabilities(scores, {.top_p = 1e-9})) == std::set<Index>{0});
    CHECK(support(token_probabilities(scores, {.top_p = 1})).size() == 5);
    // Of the two that top-k leaves, the first has 4/7.
    CHECK(support(token_probabilities(scores, {.top_k = 2, .top_p = 0.57})) == std::set<Index>{0});
    CHECK(support(token_probabilities(scores, {.top_k = 2, .top_p = 0.58})) == std::set<Index>{0, 2});
  }
  SECTION("without top-p even the least probable token stays") {
    CHECK(support(token_probabilities(tensor<double>({{0, 50, 0}}))).size() == 3);
    CHECK(support(token_probabilities(tensor<double>({{50, 0, 0}}), {.top_k = 2})) == std::set<Index>{0, 1});
  }
  SECTION("a score of -inf is never drawn") {
    const double never = -std::numeric_limits<double>::infinity();
    CHECK(support(token_probabilities(tensor<double>({{1, never, 2}}))) == std::set<Index>{0, 2});
  }
  SECTION("errors") {
    CHECK_THROWS_WITH(token_probabilities(scores, {.temperature = -1}), contains("temperature is -1"));
    CHECK_THROWS_WITH(token_probabilities(scores, {.top_k = -1}), contains("top_k is -1"));
    CHECK_THROWS_WITH(token_probabilities(scores, {.top_p = 0}), contains("top_p is 0"));
    CHECK_THROWS_WITH(token_probabilities(tensor<double>({{1, NAN}})),
                      contains("token_probabilities: a score is a NaN"));
    CHECK_THROWS_WITH(token_probabilities(tensor<double>({{1, INFINITY}})), contains("the highest score is inf"));
    CHECK_THROWS_AS(token_probabilities(tensor<double>({1, 2})), ShapeError);
  }
}

TEST_CASE("tokens are drawn with their probabilities", "[nn]") {
  const Index draws = 20000;
  const Tensor<double> scores = randn<double>({1, 12}, Random(2));
  const Tensor<double> many = broadcast_to(scores, {draws, 12});
  for (const SamplingOptions& options :
       {SamplingOptions{}, SamplingOptions{.temperature = 0.7}, SamplingOptions{.top_k = 5},
        SamplingOptions{.temperature = 1.3, .top_p = 0.8}}) {
    const Tensor<double> p = token_probabilities(scores, options);
    const Tensor<std::int64_t> drawn = sample_tokens(many, Random(5), options);
    std::vector<double> counts(12, 0.0);
    for (const std::int64_t token : drawn.span()) counts[token] += 1;
    double chi_square = 0, cells = 0;
    for (Index i = 0; i < 12; ++i) {
      const double expected = static_cast<double>(draws) * p.data()[i], seen = counts[i];
      if (expected == 0) {
        CHECK(seen == 0);
        continue;
      }
      chi_square += (seen - expected) * (seen - expected) / expected;
      cells += 1;
    }
    INFO(chi_square << " of " << cells);
    CHECK(chi_square < 31.3);  // the 0.1 % point of chi-square with 11 degrees of freedom, at most as many as here
  }
  CHECK(same_bits(sample_tokens(many, Random(5)), sample_tokens(many, Random(5))));
  CHECK_FALSE(same_bits(sample_tokens(many, Random(5)), sample_tokens(many, Random(6))));
}

TEST_CASE("generation", "[nn]") {
  const Random random(3);
  GptOptions options = small(Positions::rotary);
  options.longest = 40;
  // Weights of ordinary size, so that the tokens differ.
  const Gpt<float> model =
      zip([](const auto& p) { return p + 0.4f * randn(p.shape(), Random(9)); }, Gpt<float>(random, options));
  const Tensor<std::int64_t> prompt = ids(3, 4);
  SECTION("greedy is the argmax of the full pass, token after token") {
    const auto made = generate_tokens(model, prompt, random, {.tokens = 12, .sampling = {.temperature = 0}});
    REQUIRE(made.shape() == Shape{3, 16});
    CHECK(same_bits(slice(made, 1, 0, 4), prompt));
    const Tensor<std::int64_t> best = argmax(model(made, Context()), -1);
    CHECK(same_bits(slice(best, 1, 3, 15), slice(made, 1, 4, 16)));
  }
  SECTION("the same numbers give the same text, a row does not depend on the others' presence") {
    const GenerateOptions free{.tokens = 12};
    const auto made = generate_tokens(model, prompt, random, free);
    CHECK(same_bits(made, generate_tokens(model, prompt, random, free)));
    CHECK_FALSE(same_bits(made, generate_tokens(model, prompt, Random(4), free)));
    CHECK(same_bits(slice(made, 0, 0, 1), generate_tokens(model, slice(prompt, 0, 0, 1), random, free)));
  }
  SECTION("a text ends with the stop token") {
    const auto free = generate_tokens(model, prompt, random, {.tokens = 12});
    const std::int64_t stop = free.at({1, 6});
    const auto stopped = generate_tokens(model, prompt, random, {.tokens = 12, .stop = stop});
    for (Index row = 0; row < 3; ++row) {
      bool ended = false;
      for (Index t = 4; t < stopped.size(1); ++t) {
        CHECK(stopped.at({row, t}) == (ended ? stop : free.at({row, t})));
        ended = ended || stopped.at({row, t}) == stop;
      }
    }
    // Alone, the second text needs no more than its own tokens.
    const auto alone = generate_tokens(model, slice(prompt, 0, 1, 2), Random(11), {.tokens = 30, .stop = 0});
    for (Index t = 4; t + 1 < alone.size(1); ++t) CHECK(alone.at({0, t}) != 0);
    CHECK(generate_tokens(model, prompt, random, {.tokens = 0}).shape() == Shape{3, 4});
  }
  SECTION("errors come before work") {
    CHECK_THROWS_WITH(generate_tokens(model, prompt, random, {.tokens = 37}),
                      contains("generate_tokens: 37 tokens after the prompt are more than the model's 40"));
    CHECK_THROWS_WITH(generate_tokens(model, zeros<std::int64_t>({1, 0}), random), contains("prompt [1, 0]"));
    CHECK_THROWS_WITH(generate_tokens(model, prompt, random, {.tokens = -1}), contains("tokens is -1"));
  }
}

TEST_CASE("vision Transformer", "[nn]") {
  const Random random(6);
  const VisionTransformerOptions options{
      .height = 6, .columns = 4, .channels = 3, .patch = 2, .width = 8, .depth = 2, .heads = 2, .classes = 5};
  const VisionTransformer<double> model(random, options);
  const Tensor<double> images = randn<double>({2, 6, 4, 3}, random.stream("images"));
  SECTION("a patch is unfolded and mapped: a convolution with kernel = stride = patch") {
    // [2, 3, 2, 2, 2, 3] -> patches of 2 x 2 x 3 numbers; the weight is [width, channels, 2, 2].
    const Tensor<double> rows = reshape(images, {2, 3, 2, 2, 2, 3});
    const Tensor<double> unfolded = reshape(permute(rows, {0, 1, 3, 5, 2, 4}), {2, 6, 12});
    const Tensor<double> weight = reshape(model.patches.projection.weight, {8, 12});
    const Tensor<double> expected = matmul(unfolded, weight, {.transpose_b = true}) + *model.patches.projection.bias;
    const Tensor<double> tokens = model.patches(images) - model.patches.positions;
    CHECK(tokens.shape() == Shape{2, 7, 8});
    CHECK(all_close(slice(tokens, 1, 1, 7), expected, 1e-12, 1e-12));
    CHECK(all_close(slice(tokens, 1, 0, 1), broadcast_to(*model.patches.class_token, {2, 1, 8}), 1e-15, 1e-15));
  }
  SECTION("the head reads the class token's vector, and starts at zero") {
    CHECK(largest(model(images, Context())) == 0);
    CHECK(names(model).back() == "head.bias");
    VisionTransformerOptions bare = options;
    bare.classes = 0;
    const VisionTransformer<double> headless(random, bare);
    const Tensor<double> y = headless.encoder(headless.patches(images), Context());
    CHECK(same_bits(headless(images, Context()), reshape(slice(y, 1, 0, 1), {2, 8})));
  }
  SECTION("an image's result does not depend on the others'; places matter") {
    CHECK(all_close(slice(model.class_vectors(images, Context()), 0, 1, 2),
                    model.class_vectors(slice(images, 0, 1, 2), Context()), 1e-12, 1e-12));
    CHECK_FALSE(
        all_close(model.class_vectors(flip(images, 1), Context()), model.class_vectors(images, Context()), 1e-6, 1e-6));
  }
  SECTION("gradients to the third order equal differences") {
    // Numbers of ordinary size: a norm of the small initial ones is steep.
    const auto shaken = zip([](const auto& p) { return p + 0.5 * randn<double>(p.shape(), Random(8)); }, model);
    const auto result = check_gradients([&](const auto& m) { return mean(square(m.class_vectors(images, Context()))); },
                                        shaken, {.orders = 3, .step = 2e-3});
    INFO(result.errors[0] << ' ' << result.errors[1] << ' ' << result.errors[2]);
    CHECK(result.passed);
  }
  CHECK_THROWS_AS(model(zeros<double>({1, 4, 4, 3}), Context()), ShapeError);
}
