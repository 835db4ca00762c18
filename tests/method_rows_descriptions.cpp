// Rows of the method table for zero-shot methods of pretrain/ that know classes by descriptions.

#include <cmath>
#include <string>

#include "catch.hpp"
#include "graft/evaluate/metrics.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/losses.hpp"
#include "graft/ops/map.hpp"
#include "graft/pretrain/description_attention.hpp"
#include "graft/pretrain/description_matching.hpp"
#include "graft/pretrain/prompt_ensemble.hpp"
#include "method_table.hpp"
#include "zero_shot_classes.hpp"

using namespace zero_shot_classes;

namespace {

// ---- prompt ensembles

const bool prompt_row = add_method_rows({{
    .name = "prompt_ensemble",
    .header = "graft/pretrain/prompt_ensemble.hpp",
    .paper = "Radford et al., Learning transferable visual models from natural language supervision, ICML 2021",
    .functions = {"prompt_ensemble", "fill_templates", "PromptEnsemble"},
    .use = "prompt_ensemble(encode(fill_templates(templates, names)), classes, names.size())",
    .run =
        [](const Random& random) {
          return prompt_ensemble(randn<float>({3000, 64}, random), in_turn(3000, 300), 300);
        },
    .loss =
        [](const Numbers& x) {
          return sum(square(prompt_ensemble(reshape(x, {6, 4}), in_turn(6, 3), 3) - 0.3 * ones<double>({3, 4})));
        },
    .loss_at = randn<double>({24}, Random(3)),
    .errors = {bad_use<ShapeError>(
                   [] {
                     prompt_ensemble(zeros({4, 2}), in_turn(3, 2), 2);
                   },
                   "[3]"),
               bad_use<IndexError>(
                   [] {
                     prompt_ensemble(zeros({4, 2}), in_turn(4, 3), 2);
                   },
                   "class 2 of 2"),
               bad_use<ValueError>(
                   [] {
                     prompt_ensemble(ones({4, 2}), in_turn(4, 3), 4);
                   },
                   "class 3 has no text"),
               bad_use<ValueError>(
                   [] {
                     fill_templates({"a photo of a {}"}, {"cat", ""});
                   },
                   "class 1 is empty"),
               bad_use<ValueError>([] { fill_templates({"a photo"}, {"cat"}); }, "'a photo' has no place"),
               bad_use<ValueError>([] { fill_templates({}, {"cat"}); }, "no templates")},
    .properties =
        {{"one text a class is that text's unit vector",
          [] {
            const Numbers texts = randn<double>({5, 7}, Random(1));
            CHECK(distance(prompt_ensemble(texts, in_turn(5, 5), 5), unit_rows(texts)) < 1e-15);
          }},
         {"two right angles meet half-way: (u + v) / sqrt 2, whatever their lengths",
          [] {
            const Numbers texts = tensor<double>({{3, 0, 0}, {0, 0.01, 0}});
            const Numbers found = prompt_ensemble(texts, zeros<std::int64_t>({2}), 1);
            CHECK(distance(found, tensor<double>({{1, 1, 0}}) / std::sqrt(2.0)) < 1e-15);
          }},
         {"mean of unit vectors over its length, in plain sums; order of texts does not matter",
          [] {
            const Numbers texts = randn<double>({12, 5}, Random(2));
            const Labels of = in_turn(12, 3);
            const Numbers found = prompt_ensemble(texts, of, 3);
            for (Index c = 0; c < 3; ++c) {
              std::vector<double> total(5);
              for (Index t = c; t < 12; t += 3) {
                double squares = 0;
                for (Index i = 0; i < 5; ++i) squares += texts.at({t, i}) * texts.at({t, i});
                for (Index i = 0; i < 5; ++i) total[i] += texts.at({t, i}) / std::sqrt(squares);
              }
              double length = 0;
              for (double v : total) length += v * v;
              for (Index i = 0; i < 5; ++i)
                CHECK(found.at({c, i}) == Approx(total[i] / std::sqrt(length)).margin(1e-14));
            }
            const auto turned = generate({12}, [](Index i) { return (i * 5 + 2) % 12; });
            CHECK(distance(prompt_ensemble(gather(texts, turned), gather(of, turned), 3), found) < 1e-14);
          }},
         {"texts that cancel give zeros, not a NaN",
          [] {
            const Numbers found = prompt_ensemble(tensor<double>({{1, 0}, {-2, 0}}), zeros<std::int64_t>({2}), 1);
            CHECK(max(abs(found)).item() == 0);
          }},
         {"templates go round each name",
          [] {
            CHECK(fill_templates({"a {}", "{} of it"}, {"cat", "dog"}) ==
                  std::vector<std::string>{"a cat", "cat of it", "a dog", "dog of it"});
          }}},
}});

// ---- attention over the tokens of descriptions

template <class T>
ClassDescriptions<T> described(const Tensor<T>& tokens) {
  return {tokens, ones<bool>({tokens.size(0), tokens.size(1)})};
}
DescriptionAttention<double> small_attention(DescriptionQuery query = DescriptionQuery::image) {
  return DescriptionAttention<double>(8, Random(4), {.heads = 2, .query = query});
}

const bool attention_row = add_method_rows({{
    .name = "description_attention",
    .header = "graft/pretrain/description_attention.hpp",
    .paper = "Attention over class descriptions, as multi-head attention of Vaswani et al., NeurIPS 2017",
    .functions = {"DescriptionAttention", "MeanDescription", "class_descriptions", "ClassDescriptions",
                  "DescriptionAttentionOptions"},
    .use = "DescriptionAttention<>(width, random)(images, descriptions, context)",
    .run =
        [](const Random& random) {
          const DescriptionAttention<float> net(32, random.stream("net"));
          return net(randn<float>({60, 32}, random.stream("x")),
                     described(randn<float>({40, 8, 32}, random.stream("tokens"))), Context());
        },
    .loss =
        [](const Numbers& p) {
          const DescriptionAttention<double> net(4, Random(4), {.heads = 2});
          const Numbers scores =
              net(reshape(slice(p, 0, 0, 8), {2, 4}), described(reshape(slice(p, 0, 8, 32), {2, 3, 4})), Context());
          return cross_entropy(0.2 * scores, tensor<std::int64_t>({0, 1}));
        },
    .loss_at = randn<double>({32}, Random(6)),
    .errors = {bad_use<ShapeError>(
                   [] {
                     small_attention()(zeros<double>({2, 7}), described(zeros<double>({3, 2, 8})), Context());
                   },
                   "[2, 7]"),
               bad_use<ShapeError>(
                   [] {
                     small_attention()(zeros<double>({2, 8}), described(zeros<double>({3, 2, 6})), Context());
                   },
                   "[3, 2, 6]"),
               bad_use<ValueError>(
                   [] {
                     const ClassDescriptions<double> some{zeros<double>({2, 2, 8}),
                                                          tensor<bool>({{true, false}, {false, false}})};
                     small_attention()(zeros<double>({2, 8}), some, Context());
                   },
                   "the description of class 1 is empty"),
               bad_use<ValueError>(
                   [] {
                     const ClassDescriptions<double> none{zeros<double>({1, 2, 8}), zeros<bool>({1, 2})};
                     MeanDescription<double>(8, Random(1))(zeros<double>({2, 8}), none, Context());
                   },
                   "the description of class 0 is empty"),
               bad_use<IndexError>(
                   [] {
                     class_descriptions(tensor<std::int64_t>({{1, 2}, {3, 9}}), zeros<double>({9, 4}));
                   },
                   "token 9 at place 1 of class 1 is outside the vocabulary of 9"),
               bad_use<ValueError>(
                   [] {
                     class_descriptions(tensor<std::int64_t>({{1, 2}, {0, 0}}), zeros<double>({9, 4}));
                   },
                   "class 1 is empty"),
               bad_use<ShapeError>(
                   [] {
                     class_descriptions(zeros<std::int64_t>({3}), zeros<double>({9, 4}));
                   },
                   "[3]"),
               bad_use<ValueError>([] { DescriptionAttention<float>(8, Random(1), {.heads = 3}); }, "3 heads"),
               bad_use<ValueError>([] { DescriptionAttention<float>(8, Random(1), {.scale = 0}); }, "scale is 0"),
               bad_use<ValueError>([] { DescriptionAttention<float>(0, Random(1)); }, "width 0"),
               bad_use<ShapeError>(
                   [] {
                     MeanDescription<double>(8, Random(1))(zeros<double>({2, 7}), described(ones<double>({1, 1, 8})),
                                                           Context());
                   },
                   "[2, 7]"),
               bad_use<ValueError>([] { MeanDescription<float>(0, Random(1)); }, "width 0")},
    .properties =
        {{"one token a class: attention has no effect, whatever asks",
          [] {
            const Numbers x = randn<double>({5, 8}, Random(1)), tokens = randn<double>({3, 1, 8}, Random(2));
            const DescriptionAttention<double> net = small_attention();
            DescriptionAttention<double> blind = net;  // rows of the queries' map, the first of three
            blind.attention.in_proj_weight =
                concat<double>({randn<double>({8, 8}, Random(9)), slice(net.attention.in_proj_weight, 0, 8, 24)}, 0);
            CHECK(distance(net(x, described(tokens), Context()), blind(x, described(tokens), Context())) < 1e-12);
            // The class is out_proj(value(token)), for every image.
            const Numbers value = slice(net.attention.in_proj_weight, 0, 16, 24);
            const Numbers plain = net.attention.out_proj(matmul(reshape(tokens, {3, 8}), value, {.transpose_b = true}));
            const Numbers vectors = net.class_vectors(x, described(tokens), Context());
            for (Index i = 0; i < 5; ++i) CHECK(distance(reshape(slice(vectors, 1, i, i + 1), {3, 8}), plain) < 1e-13);
          }},
         {"keys of zero: attention is uniform, the class is the mean over its tokens, through value and output",
          [] {
            const Numbers x = randn<double>({5, 8}, Random(1)), tokens = randn<double>({3, 6, 8}, Random(2));
            DescriptionAttention<double> net = small_attention();
            const Numbers w = net.attention.in_proj_weight, value = slice(w, 0, 16, 24);
            net.attention.in_proj_weight = concat<double>({slice(w, 0, 0, 8), zeros<double>({8, 8}), value}, 0);
            const Numbers plain = net.attention.out_proj(matmul(mean(tokens, {1}), value, {.transpose_b = true}));
            CHECK(distance(net(x, described(tokens), Context()),
                           exp(net.log_scale).item() * cosine_similarities(x, plain)) < 1e-12);
          }},
         {"the order of tokens does not matter, and places without a token do not count",
          [] {
            const Numbers x = randn<double>({5, 8}, Random(1)), tokens = randn<double>({3, 6, 8}, Random(2));
            const auto turned = tensor<std::int64_t>({4, 0, 5, 3, 1, 2});
            for (const DescriptionQuery query : {DescriptionQuery::image, DescriptionQuery::learned}) {
              const DescriptionAttention<double> net = small_attention(query);
              const Numbers scores = net(x, described(tokens), Context());
              CHECK(distance(net(x, described(gather(tokens, turned, 1)), Context()), scores) < 1e-12);
              const Numbers more = concat<double>({tokens, 1e3 * randn<double>({3, 2, 8}, Random(3))}, 1);
              const Tensor<bool> there = generate({3, 8}, [](Index, Index t) { return t < 6; });
              CHECK(distance(net(x, {more, there}, Context()), scores) < 1e-12);
            }
          }},
         {"a learned query shows a class to all images alike",
          [] {
            const Numbers x = randn<double>({5, 8}, Random(1)), tokens = randn<double>({3, 6, 8}, Random(2));
            const DescriptionAttention<double> net = small_attention(DescriptionQuery::learned);
            const Numbers vectors = net.class_vectors(x, described(tokens), Context());
            CHECK(vectors.shape() == Shape{3, 1, 8});
            CHECK(distance(net(x, described(tokens), Context()),
                           exp(net.log_scale).item() * cosine_similarities(x, reshape(vectors, {3, 8}))) < 1e-12);
          }},
         {"the control has as many weights in its maps, and sees the mean alone",
          [] {
            for (const Index memory : {8, 6}) {
              const DescriptionAttentionOptions o{.heads = 2, .memory_width = memory};
              const auto& a = DescriptionAttention<double>(8, Random(1), o).attention;
              const MeanDescription<double> control(8, Random(1), o);
              const Index weights =
                  memory == 8 ? a.in_proj_weight.count()
                              : a.q_proj_weight->count() + a.k_proj_weight->count() + a.v_proj_weight->count();
              CHECK(control.first.weight.count() + control.last.weight.count() == weights + a.out_proj.weight.count());
              const Numbers x = randn<double>({5, 8}, Random(1)), tokens = randn<double>({3, 4, memory}, Random(2));
              CHECK(distance(control(x, described(tokens), Context()),
                             control(x, described(mean(tokens, {1}, true)), Context())) < 1e-12);
            }
          }},
         {"the scale stops where it is told to",
          [] {
            DescriptionAttention<double> net = small_attention();
            const Numbers x = randn<double>({5, 8}, Random(1)), tokens = randn<double>({3, 2, 8}, Random(2));
            const Numbers cosines = net(x, described(tokens), Context()) / exp(net.log_scale).item();
            net.log_scale = Numbers(9.0);
            CHECK(distance(net(x, described(tokens), Context()), 100.0 * cosines) < 1e-10);
          }},
         {"ids are looked up, 0 is no token",
          [] {
            const Numbers table = randn<double>({5, 4}, Random(1));
            const ClassDescriptions<double> found = class_descriptions(tensor<std::int64_t>({{2, 0}, {4, 1}}), table);
            CHECK(same_bits(found.there, tensor<bool>({{true, false}, {true, true}})));
            CHECK(found.tokens.at({1, 0, 3}) == table.at({4, 3}));
          }}},
}});

// ---- matching descriptions

Tensor<float> letters(const std::vector<std::string>& texts) {
  return generate({static_cast<Index>(texts.size()), 26}, [&](Index t, Index l) {
    float count = 0;
    for (const char c : texts[t]) count += c == 'a' + l;
    return count;
  });
}

const bool matching_row = add_method_rows({{
    .name = "description_matching",
    .header = "graft/pretrain/description_matching.hpp",
    .paper = "Radford et al., Learning transferable visual models from natural language supervision, ICML 2021",
    .functions = {"DescriptionMatching", "match_descriptions", "DescriptionMatchingOptions"},
    .use = "match_descriptions(encode, descriptions)(encode(texts))",
    .run =
        [](const Random& random) {
          return DescriptionMatching<float>(randn<float>({100, 48}, random.stream("classes")))(
              randn<float>({500, 48}, random.stream("x")));
        },
    .loss =
        [](const Numbers& p) {
          return cross_entropy(DescriptionMatching<double>(reshape(slice(p, 0, 0, 12), {3, 4}),
                                                           {.scale = 2})(reshape(slice(p, 0, 12, 20), {2, 4})),
                               tensor<std::int64_t>({0, 2}));
        },
    .loss_at = randn<double>({20}, Random(6)),
    .errors =
        {bad_use<ValueError>(
             [] {
               match_descriptions(letters, {"a cat", " \t"});
             },
             "the description of class 1 is empty"),
         bad_use<ValueError>([] { match_descriptions(letters, {}); }, "no descriptions"),
         bad_use<ShapeError>(
             [] {
               match_descriptions([](const std::vector<std::string>&) { return zeros({1, 4}); }, {"a cat", "a dog"});
             },
             "[1, 4]"),
         bad_use<ValueError>(
             [] {
               DescriptionMatching<float>(tensor<float>({{1, 0}, {0, 0}}));
             },
             "class 1 is zero"),
         bad_use<ValueError>(
             [] {
               DescriptionMatching<float>(full<float>({1, 2}, NAN));
             },
             "class 0 is zero or not"),
         bad_use<ShapeError>([] { DescriptionMatching<float>(ones({3})); }, "[3]"),
         bad_use<ValueError>(
             [] {
               DescriptionMatching<float>(ones({3, 2}), {.scale = -1});
             },
             "scale is -1"),
         bad_use<ShapeError>(
             [] {
               DescriptionMatching<float>(ones({3, 2}))(ones({3, 4}));
             },
             "[3, 4]")},
    .properties = {{"scale times the cosine, in plain sums; lengths do not matter",
                    [] {
                      const Numbers x = randn<double>({4, 3}, Random(1)), v = randn<double>({5, 3}, Random(2));
                      const Numbers found = DescriptionMatching<double>(v, {.scale = 7})(x);
                      for (Index i = 0; i < 4; ++i)
                        for (Index c = 0; c < 5; ++c) {
                          double inner = 0, a = 0, b = 0;
                          for (Index k = 0; k < 3; ++k) {
                            inner += x.at({i, k}) * v.at({c, k});
                            a += x.at({i, k}) * x.at({i, k});
                            b += v.at({c, k}) * v.at({c, k});
                          }
                          CHECK(found.at({i, c}) == Approx(7 * inner / std::sqrt(a * b)).margin(1e-13));
                        }
                      CHECK(distance(DescriptionMatching<double>(1e3 * v, {.scale = 7})(1e-3 * x), found) < 1e-12);
                    }},
                   {"a text that is a class's description is of that class",
                    [] {
                      const std::vector<std::string> texts{"graph attention", "a sentence encoder", "zero shot"};
                      const auto classifier = match_descriptions(letters, texts);
                      CHECK(accuracy(classifier(letters(texts)), arange<std::int64_t>(3)) == 1);
                      CHECK(classifier(letters(texts)).at({1, 1}) == Approx(100).epsilon(1e-5));
                    }}},
}});

}  // namespace
