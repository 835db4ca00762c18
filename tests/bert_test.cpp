// BERT encoders: a published layout read from files that Python wrote (make_bert_case.py), against the numbers that the
// reference implementation gave for them.

#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "graft/io/published.hpp"
#include "graft/model/check_gradients.hpp"
#include "graft/ops/losses.hpp"

using namespace graft;

namespace {

const std::string kCase = GRAFT_TESTS "/bert_case";

struct Expected {
  Tensor<std::int64_t> ids, segments;
  Tensor<bool> mask;
  Tensor<double> hidden, sentences;
};
Expected expected() {
  const ArrayFile file = read_safetensors(kCase + "/expected.safetensors");
  return {to_tensor<std::int64_t>(file.at("ids")), to_tensor<std::int64_t>(file.at("segments")),
          to_tensor<bool>(file.at("mask")), to_tensor<double>(file.at("hidden")),
          to_tensor<double>(file.at("sentences"))};
}

}  // namespace

TEST_CASE("a BERT from published files gives the reference implementation's numbers", "[io][nn]") {
  const Expected want = expected();
  const Bert<double> bert = load_bert<double>(kCase);
  const Tensor<double> hidden = bert(want.ids, want.mask, want.segments, Context());
  REQUIRE(hidden.shape() == want.hidden.shape());
  // Places of padding differ: there the reference attends to what graft does not compute.
  for (Index text = 0; text < 3; ++text)
    for (Index place = 0; place < 5; ++place)
      for (Index k = 0; want.mask.at({text, place}) && k < 8; ++k)
        CHECK(hidden.at({text, place, k}) == Approx(want.hidden.at({text, place, k})).margin(2e-5));
  CHECK(all_close(sentence_vectors(hidden, want.mask), want.sentences, 1e-5, 1e-5));
  const Bert<float> in_float = load_bert(kCase);
  CHECK(all_close(sentence_vectors(in_float(want.ids, want.mask, want.segments, Context()), want.mask),
                  cast<float>(want.sentences), 1e-5, 1e-5));
}

TEST_CASE("a text's vector does not depend on padding", "[nn]") {
  const Expected want = expected();
  const Bert<float> bert = load_bert(kCase);
  const auto vector = [&](Index length) {  // of the second text, 3 tokens long
    const auto ids = slice(slice(want.ids, 0, 1, 2), 1, 0, length);
    const auto mask = slice(slice(want.mask, 0, 1, 2), 1, 0, length);
    return sentence_vectors(bert(ids, mask, Context()), mask);
  };
  CHECK(all_close(vector(3), vector(5), 1e-6, 1e-6));
  const Tensor<bool> none = zeros<bool>({1, 3});
  const Tensor<float> nothing = sentence_vectors(bert(slice(slice(want.ids, 0, 1, 2), 1, 0, 3), none, Context()), none);
  CHECK(all_close(nothing, zeros<float>({1, 8})));
}

TEST_CASE("BERT is differentiable to order three and refuses what does not fit", "[nn]") {
  const Expected want = expected();
  const Bert<double> bert = load_bert<double>(kCase);
  const auto loss = [&](const Bert<double>& model) {
    return mean(square(sentence_vectors(model(want.ids, want.mask, want.segments, Context()), want.mask) - 0.1));
  };
  CHECK(check_gradients(loss, bert, {.orders = 3}).passed);
  CHECK_THROWS_AS(bert(full<std::int64_t>({1, 2}, 13), ones<bool>({1, 2}), Context()), IndexError);
  CHECK_THROWS_WITH(bert(zeros<std::int64_t>({1, 8}), ones<bool>({1, 8}), Context()),
                    contains("at most 7 tokens") && contains("[1, 8]"));
  CHECK_THROWS_AS(sentence_vectors(zeros<double>({1, 2, 8}), ones<bool>({1, 3})), ShapeError);
}

TEST_CASE("published files that do not fit are refused by name", "[io]") {
  const Folder folder;
  const std::string config = folder / "config.json";
  const std::string whole = bytes_of(kCase + "/config.json");
  const auto refused = [&](const std::string& from, const std::string& to) {
    std::string text = whole;
    text.replace(text.find(from), from.size(), to);
    put(config, text);
    return refusal(config, [&] { read_bert_config(config); });
  };
  CHECK_THAT(refused("\"hidden_size\": 8", "\"hidden_size\": 0"), contains("'hidden_size'"));
  CHECK_THAT(refused("\"hidden_size\": 8", "\"hidden_size\": -8"), contains("'hidden_size'"));
  CHECK_THAT(refused("\"vocab_size\"", "\"vocab\""), contains("'vocab_size'"));
  CHECK_THAT(refused("\"gelu\"", "\"relu\""), contains("'hidden_act' is not 'gelu'"));
  CHECK_THAT(refused("1e-12", "\"small\""), contains("'layer_norm_eps' is no number"));
  CHECK_THAT(refused("\"num_attention_heads\": 2", "\"num_attention_heads\": 3"), contains("3 heads do not divide"));
  CHECK_THAT(refused("\"hidden_dropout_prob\": 0.1", "\"hidden_dropout_prob\": 1"),
             contains("'hidden_dropout_prob' is 1"));
  CHECK_THAT(refused("1e-12", "0"), contains("'layer_norm_eps' is 0"));
  CHECK_THAT(refused("{", std::string(1 << 20, ' ') + "{"), contains("at most 2^20"));
  CHECK_THAT(refused("{", "["), contains("no JSON object"));
  // A size that the weights do not have: the tensor's name and both shapes.
  put(config, whole.substr(0, whole.find("\"vocab_size\"")) + "\"vocab_size\": 14\n}\n");
  put(folder / "model.safetensors", bytes_of(kCase + "/model.safetensors"));
  CHECK_THROWS_WITH(load_bert(folder.path.string()), contains("embeddings.word_embeddings.weight") &&
                                                          contains("[13, 8]") && contains("[14, 8]"));
  CHECK_THROWS_WITH(load_bert(kCase, "bert"), contains("has no"));
  // Far more than the file holds: refused before the model is made, which no memory would hold.
  put(config, whole.substr(0, whole.find("\"vocab_size\"")) + "\"vocab_size\": 1073741824\n}\n");
  CHECK_THAT(refusal(folder.path.string(), [&] { load_bert(folder.path.string()); }), contains("a model of the sizes"));
}
