// Rows of the method table for transfer/: what is put among the layers and tokens of a Transformer.

#include <cmath>

#include "catch.hpp"
#include "graft/transfer/adapters.hpp"
#include "graft/transfer/prefix.hpp"
#include "tuners.hpp"

using namespace tuners;

namespace {

// ---- Adapters -------------------------------------------------------------------------------------------------------
const bool adapters_row = add_method_rows({{
    .name = "adapters",
    .header = "graft/transfer/adapters.hpp",
    .paper = "Houlsby et al., Parameter-efficient transfer learning for NLP, ICML 2019",
    .functions = {"adapters", "Adapter", "AdapterLayer", "Adapters"},
    .use = "TunerMethod{Adapters{{.width = 64}}}.adapt(model, support)",
    .run =
        [](const Random& random) {
          return adapted_answers(TunerMethod{Adapters{{.width = 8}}, few_steps()}, coder<float>(32, 64), 4, random);
        },
    .loss =
        [](const Numbers& x) {
          const auto stack = scrambled(adapters(encoder(false, 1), Random(1), {.width = 2}));
          const Numbers input = randn<double>({1, 3, 8}, Random(8));
          return sum(square(from_vector(x, stack)(input, Context())) * randn<double>({1, 3, 8}, Random(7)));
        },
    .loss_at = to_vector(scrambled(adapters(encoder(false, 1), Random(1), {.width = 2}))),
    .errors = {bad_use<ValueError>([] { adapters(encoder(true), Random(1), {.layers = {"layers.2"}}); },
                                   "no layer is named 'layers.2'; there are layers.0, layers.1"),
               bad_use<ValueError>([] { adapters(encoder(true), Random(1), {.width = 0}); }, "width is 0"),
               bad_use<ValueError>(
                   [] {
                     TunerMethod{Adapters{}, {.steps = -1}}.adapt(coder<double>(8, 12), task());
                   },
                   "steps is -1")},
    .properties =
        {{"the encoder at first, bit for bit, with a mask too",
          [] {
            const Numbers x = randn<double>({2, 4, 8}, Random(1));
            for (const bool norm_first : {false, true}) {
              const auto base = encoder(norm_first);
              const auto tuned = adapters(base, Random(2));
              CHECK(same_bits(tuned(x, Context()), base(x, Context())));
              CHECK(same_bits(tuned(x, {.key_mask = some_keys()}, Context()),
                              base(x, {.key_mask = some_keys()}, Context())));
            }
          }},
         {"by plain composition: adapters stand before each residual sum",
          [] {
            const Numbers x = randn<double>({2, 4, 8}, Random(1));
            const auto adapted = [](const Adapter<double>& a, const Numbers& h) { return h + a.up(gelu(a.down(h))); };
            const auto post = scrambled(adapters(encoder(false, 1), Random(2), {.width = 3}));
            const auto& p = post.layers[0];
            const Numbers h = p.layer.norm1(x + adapted(*p.attention, p.layer.self_attn(x, Context())));
            const Numbers y = p.layer.norm2(h + adapted(*p.perceptron, p.layer.linear2(gelu(p.layer.linear1(h)))));
            CHECK(gap(post(x, Context()), y) < 1e-13);
            auto pre = scrambled(adapters(encoder(true, 1), Random(2), {.width = 3}));
            const auto& q = pre.layers[0];
            const Numbers g = x + adapted(*q.attention, q.layer.self_attn(q.layer.norm1(x), Context()));
            const Numbers z = g + adapted(*q.perceptron, q.layer.linear2(gelu(q.layer.linear1(q.layer.norm2(g)))));
            CHECK(gap(pre(x, Context()), (*pre.norm)(z)) < 1e-13);
          }},
         {"2 n width + width + n numbers an adapter, and the norms, are trained",
          [] {
            const Index each = 2 * 8 * 3 + 3 + 8;
            CHECK(trainable_count(adapters(encoder(true), Random(1), {.width = 3, .norms = false})) == 4 * each);
            CHECK(trainable_count(adapters(encoder(true), Random(1), {.width = 3})) == 4 * each + 5 * 16);
            CHECK(trainable_count(adapters(encoder(true), Random(1),
                                           {.width = 3, .norms = false, .layers = {"layers.1"}})) == 2 * each);
          }},
         {"the base keeps its bits in tuning",
          [] {
            const auto model = coder<double>(8, 12);
            const auto tuned =
                TunerMethod{Adapters{{.width = 4, .norms = false}}, few_steps()}.adapt(model, task()).model;
            CHECK(same_numbers(tuned.body.front, model.body.front));
            CHECK(same_numbers(tuned.body.encoder.layers[1].layer, model.body.encoder.layers[1]));
            CHECK(max(abs(tuned.body.encoder.layers[1].perceptron->up.weight)).item() > 1e-3);
          }},
         learns("a task is learned",
                [] {
                  return share_right(
                      TunerMethod{Adapters{{.width = 4}}, many_steps()}.adapt(coder<double>(8, 12), task()), task());
                })},
}});

// ---- Prefix and prompt ----------------------------------------------------------------------------------------------
/// out_proj of softmax attention of x [time, width] to `keys` and `values` [length, width] and its own, by plain loops:
/// `length` more keys, but as many queries as x has rows. `causal`: row i sees its own keys up to i.
Numbers slow_prefix(const MultiHeadAttention<double>& m, const Numbers& keys, const Numbers& values, const Numbers& x,
                    bool causal) {
  const Index time = x.size(0), width = x.size(1), length = keys.size(0), depth = width / m.heads;
  const Numbers all = matmul(x, m.in_proj_weight, {.transpose_b = true}) + *m.in_proj_bias;
  std::vector<double> out(time * width);
  for (Index h = 0; h < m.heads; ++h)
    for (Index i = 0; i < time; ++i) {
      std::vector<double> weight;
      double total = 0;
      for (Index j = 0; j < length + time; ++j) {
        double score = 0;
        for (Index c = h * depth; c < (h + 1) * depth; ++c)
          score += all.at({i, c}) * (j < length ? keys.at({j, c}) : all.at({j - length, width + c}));
        const bool seen = !causal || j < length || j - length <= i;
        weight.push_back(seen ? std::exp(score / std::sqrt(static_cast<double>(depth))) : 0);
        total += weight.back();
      }
      for (Index c = h * depth; c < (h + 1) * depth; ++c)
        for (Index j = 0; j < length + time; ++j)
          out[i * width + c] +=
              weight[j] / total * (j < length ? values.at({j, c}) : all.at({j - length, 2 * width + c}));
    }
  return m.out_proj(from_vector(out, {time, width}));
}
const bool prefix_row = add_method_rows({{
    .name = "prefix",
    .header = "graft/transfer/prefix.hpp",
    .paper = "Li, Liang, Prefix-tuning, ACL 2021; Lester, Al-Rfou, Constant, EMNLP 2021",
    .functions = {"prefix", "prompt", "PrefixLayer", "PromptEncoder", "Prefix", "Prompt"},
    .use = "TunerMethod{Prefix{{.length = 8}}}.adapt(model, support)",
    .run =
        [](const Random& random) {
          return concat<float>(
              {adapted_answers(TunerMethod{Prefix{{.length = 3}}, few_steps()}, coder<float>(32, 64), 4, random),
               adapted_answers(TunerMethod{Prompt{{.length = 3}}, few_steps()}, coder<float>(32, 64), 4, random)},
              0);
        },
    .loss =
        [](const Numbers& x) {
          const Numbers input = randn<double>({1, 3, 8}, Random(8)), of = randn<double>({1, 3, 8}, Random(7));
          const auto stack = prefix(encoder(true, 1), Random(1), {.length = 2});
          const auto with = prompt(encoder(true, 1), Random(1), {.length = 2});
          auto first = stack;
          auto second = with;
          first.layers[0].keys = reshape(slice(x, 0, 0, 16), {2, 8});
          first.layers[0].values = reshape(slice(x, 0, 16, 32), {2, 8});
          second.vectors = reshape(slice(x, 0, 32, 48), {2, 8});
          return sum(square(first(input, Context())) * of) + sum(square(second(input, Context())) * of);
        },
    .loss_at = randn<double>({48}, Random(3)),
    .errors =
        {bad_use<ValueError>([] { prefix(encoder(true), Random(1), {.layers = {"layer.0"}}); },
                             "no layer is named 'layer.0'; there are layers.0, layers.1"),
         bad_use<ValueError>([] { prefix(encoder(true), Random(1), {.length = -1}); }, "length is -1"),
         bad_use<ValueError>([] { prompt(encoder(true), Random(1), {.deviation = NAN}); }, "deviation is nan"),
         bad_use<ValueError>([] { prompt(encoder(true), Random(1), {.layers = {"layers.0"}}); }, "layers are chosen"),
         bad_use<ValueError>([] { prompt(encoder(true, 0), Random(1)); }, "has no layers"),
         bad_use<ValueError>(
             [] { prefix(TransformerEncoder<double>(1, 8, 2, 12, Random(1), {.layer = {.alibi = true}}), Random(1)); },
             "layers.0 has ALiBi"),
         bad_use<ShapeError>(
             [] {
               prompt(encoder(true), Random(1))(zeros<double>({3, 8}), {}, Context());
             },
             "[3, 8]"),
         bad_use<ValueError>(
             [] {
               prompt(encoder(true), Random(1))(zeros<double>({1, 3, 8}), {.mask = ones<bool>({1, 1, 3, 3})},
                                                Context());
             },
             "causal or of keys"),
         bad_use<ValueError>(
             [] {
               TunerMethod{Prefix{}, {.steps = -1}}.adapt(coder<double>(8, 12), task());
             },
             "steps is -1")},
    .properties =
        {{"a layer whose weights are not those of its heads is refused",
          [] {
            auto model = prefix(encoder(true), Random(1));
            model.layers[0].layer.self_attn.key_heads = 1;
            CHECK_THROWS_WITH(model(zeros<double>({1, 3, 8}), Context()),
                              contains("MultiHeadAttention: in_proj_weight is not that of 2 heads and 1 of keys"));
          }},
         {"length 0 is the base model, bit for bit",
          [] {
            const Numbers x = randn<double>({2, 4, 8}, Random(1));
            for (const bool norm_first : {false, true}) {
              const auto base = encoder(norm_first);
              const AttentionMask<double> mask{.key_mask = some_keys()};
              CHECK(same_bits(prefix(base, Random(2), {.length = 0})(x, mask, Context()), base(x, mask, Context())));
              CHECK(same_bits(prompt(base, Random(2), {.length = 0})(x, mask, Context()), base(x, mask, Context())));
              CHECK(trainable_count(prefix(base, Random(2), {.length = 0})) == 0);
            }
            // A layer that is not chosen is the base's.
            const auto second = prefix(encoder(true), Random(2), {.length = 3, .layers = {"layers.1"}});
            CHECK(same_bits(second.layers[0](x, {}, Context()), encoder(true).layers[0](x, Context())));
          }},
         {"by plain loops, causal too: keys and values more, queries none",
          [] {
            auto stack = prefix(encoder(true, 1), Random(2), {.length = 3, .deviation = 1});
            auto& layer = stack.layers[0];
            layer.layer.self_attn.in_proj_bias = randn<double>({24}, Random(3));
            const Numbers x = randn<double>({1, 4, 8}, Random(1));
            for (const bool causal : {false, true}) {
              const Numbers normed = reshape(layer.layer.norm1(x), {4, 8});
              const Numbers h =
                  reshape(x, {4, 8}) + slow_prefix(layer.layer.self_attn, layer.keys, layer.values, normed, causal);
              const Numbers y = h + layer.layer.linear2(gelu(layer.layer.linear1(layer.layer.norm2(h))));
              CHECK(gap(reshape(layer(x, {.causal = causal}, Context()), {4, 8}), y) < 1e-13);
            }
            CHECK(layer(x, {}, Context()).shape() == x.shape());
          }},
         {"a masked key stays unseen behind a prefix and a prompt",
          [] {
            const Numbers x = randn<double>({2, 4, 8}, Random(1));
            const Numbers other =
                x + 5.0 * generate({2, 4, 8}, [](Index b, Index i, Index) { return b == 0 && i == 3 ? 1.0 : 0.0; });
            const AttentionMask<double> mask{.key_mask = some_keys()};
            const auto seen = [](const Numbers& h) { return slice(slice(h, 0, 0, 1), 1, 0, 3); };
            const auto first = prefix(encoder(true), Random(2));
            const auto second = prompt(encoder(true), Random(2));
            CHECK(same_bits(seen(first(x, mask, Context())), seen(first(other, mask, Context()))));
            CHECK(same_bits(seen(second(x, mask, Context())), seen(second(other, mask, Context()))));
            const auto base = encoder(true);
            CHECK(gap(first(x, mask, Context()), base(x, mask, Context())) > 1e-6);
          }},
         {"a prompt is the base encoder on longer input",
          [] {
            const auto with = prompt(encoder(true), Random(2), {.length = 2, .deviation = 1});
            const Numbers x = randn<double>({1, 4, 8}, Random(1));
            const Numbers whole_input = concat<double>({reshape(with.vectors, {1, 2, 8}), x}, 1);
            CHECK(same_bits(with(x, Context()), slice(encoder(true)(whole_input, Context()), 1, 2, 6)));
            CHECK(trainable_count(with) == 2 * 8);
            CHECK(trainable_count(prefix(encoder(true), Random(2), {.length = 2})) == 2 * 2 * 2 * 8);
          }},
         {"the base keeps its bits in tuning, and a task is learned",
          [] {
            const auto model = coder<double>(8, 12);
            const auto tuned = TunerMethod{Prefix{{.length = 4}}, many_steps()}.adapt(model, task());
            CHECK(share_right(tuned, task()) == 1);
            CHECK(same_numbers(tuned.model.body.encoder.layers[1].layer, model.body.encoder.layers[1]));
            CHECK(max(abs(tuned.model.body.encoder.layers[1].keys)).item() > 0.1);
            CHECK(share_right(TunerMethod{Prompt{{.length = 4}}, many_steps()}.adapt(model, task()), task()) == 1);
          }},
         {"encoders in parts give the whole encoders' bits",
          [] {
            const PatchTransformer<double> images(Random(1),
                                                  {.size = 8, .width = 8, .heads = 2, .hidden = 12, .depth = 1});
            const Numbers pixels = rand<double>({2, 8, 8, 1}, Random(2));
            CHECK(same_bits(token_encoder(images)(pixels, Context()), images(pixels, Context())));
            const TextEmbedding<double> words(Random(1),
                                              {.vocabulary = 9, .length = 4, .width = 8, .heads = 2, .hidden = 12});
            const Numbers ids = tensor<double>({{3, 8, 0, 0}, {1, 2, 3, 4}, {0, 0, 0, 0}});
            CHECK(same_bits(token_encoder(words)(ids, Context()), words(ids, Context())));
            const Bert<double> bert(
                Random(1), {.vocabulary = 9, .width = 8, .depth = 1, .heads = 2, .hidden = 12, .positions = 4});
            const Tensor<bool> there = cast<std::int64_t>(ids) != 0;
            CHECK(same_bits(token_encoder(bert)(ids, Context()),
                            sentence_vectors(bert(cast<std::int64_t>(ids), there, Context()), there)));
          }}},
}});

}  // namespace
