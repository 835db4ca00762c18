// Rows of the method table for pretrain/: objectives of texts, masked tokens and the order of sentences.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "binomial.hpp"
#include "catch.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/model/grad.hpp"
#include "graft/pretrain/mlm.hpp"
#include "graft/pretrain/sentence_order.hpp"
#include "method_table.hpp"

using namespace graft;

namespace {

using Numbers = Tensor<double>;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

const bool mlm_row = add_method_rows({{
    .name = "mlm",
    .header = "graft/pretrain/mlm.hpp",
    .paper = "Devlin, Chang, Lee, Toutanova, BERT: pre-training of deep bidirectional transformers, NAACL 2019",
    .functions = {"mask_tokens", "mlm_loss"},
    .use = "mlm_loss(net(masked.seen, context), masked.targets)",
    .run =
        [](const Random& random) {
          const auto tokens = generate({30, 40}, [](Index i, Index j) { return (i * 7 + j) % 50; });
          const MaskedTokens masked =
              mask_tokens(tokens, ones<bool>({30, 40}), random, {.mask_token = 1, .vocabulary = 50});
          return grad([&](const Tensor<float>& scores) { return mlm_loss(scores, masked.targets); },
                      randn<float>({30, 40, 50}, random.stream("scores")));
        },
    .loss =
        [](const Tensor<double>& x) {
          return mlm_loss(reshape(x, {2, 3, 4}), tensor<std::int64_t>({{1, -1, 3}, {-1, -1, 0}}));
        },
    .loss_at = randn<double>({24}, Random(3)),
    .errors =
        {bad_use<ShapeError>(
             [] {
               mask_tokens(zeros<std::int64_t>({2, 3}), ones<bool>({3}), Random(1));
             },
             "[3]"),
         bad_use<ValueError>([] { mask_tokens(zeros<std::int64_t>({2}), ones<bool>({2}), Random(1), {.rate = NAN}); },
                             "rate nan"),
         bad_use<ValueError>(
             [] { mask_tokens(zeros<std::int64_t>({2}), ones<bool>({2}), Random(1), {.masked = 0.8, .random = 0.3}); },
             "shares of 1"),
         bad_use<IndexError>(
             [] { mask_tokens(zeros<std::int64_t>({2}), ones<bool>({2}), Random(1), {.vocabulary = 50}); },
             "mask_token 103"),
         bad_use<ShapeError>(
             [] {
               mlm_loss(zeros({2, 3, 4}), zeros<std::int64_t>({2, 4}));
             },
             "[2, 4]")},
    .properties = {{"counts are binomial, by place and by kind",
                    [] {
                      constexpr Index count = 100000;
                      const auto tokens = full<std::int64_t>({1, count}, 7);
                      const MaskedTokens m =
                          mask_tokens(tokens, ones<bool>({1, count}), Random(1), {.mask_token = 3, .vocabulary = 20});
                      double chosen = 0, masked = 0, other = 0;
                      bool right = true;
                      for (std::size_t i = 0; i < count; ++i) {
                        const std::int64_t seen = host(m.seen)[i];
                        const bool is_chosen = host(m.targets)[i] == 7;
                        right = right && (is_chosen || (host(m.targets)[i] == -1 && seen == 7));
                        chosen += is_chosen;
                        masked += is_chosen && seen == 3;
                        other += is_chosen && seen != 3 && seen != 7;
                      }
                      CHECK(right);
                      // A random word is 3 or 7 with chance 1/20 each.
                      CHECK(near(chosen, count, 0.15));
                      CHECK(near(masked, chosen, 0.8 + 0.1 / 20));
                      CHECK(near(other, chosen, 0.1 * 18 / 20));
                    }},
                   {"what must not be masked stays, and is no target",
                    [] {
                      const auto tokens = generate({4, 50}, [](Index, Index j) { return j % 10; });
                      const Tensor<bool> may = tokens > 1;
                      const MaskedTokens m = mask_tokens(
                          tokens, may, Random(1), {.rate = 1, .mask_token = 3, .vocabulary = 20, .first_random = 4});
                      for (std::size_t i = 0; i < 200; ++i) {
                        const std::int64_t token = host(tokens)[i];
                        CHECK(host(m.targets)[i] == (token > 1 ? token : -1));
                        if (token <= 1) CHECK(host(m.seen)[i] == token);
                        CHECK((host(m.seen)[i] >= 3 || host(m.seen)[i] == token));
                      }
                    }},
                   {"ln V for equal scores; places that were not chosen have no gradient; no place, no loss",
                    [] {
                      const auto targets = tensor<std::int64_t>({{1, -1, 3}});
                      const auto loss = [&](const Tensor<double>& s) { return mlm_loss(s, targets); };
                      const auto [value, gradient] = value_and_grad(loss, zeros<double>({1, 3, 4}));
                      CHECK(value.item() == Approx(std::log(4)).epsilon(1e-14));
                      CHECK(max(abs(slice(gradient, 1, 1, 2))).item() == 0);
                      CHECK(max(abs(slice(gradient, 1, 0, 1))).item() > 0.1);
                      CHECK(mlm_loss(zeros<double>({1, 3, 4}), full<std::int64_t>({1, 3}, -1)).item() == 0);
                    }},
                   {"the same tokens give the same masks, another stream others",
                    [] {
                      const auto tokens = generate({4, 50}, [](Index, Index j) { return j; });
                      const auto seen = [&](std::uint64_t seed) {
                        return mask_tokens(tokens, ones<bool>({4, 50}), Random(seed)).seen;
                      };
                      CHECK(same_bits(seen(1), seen(1)));
                      CHECK_FALSE(same_bits(seen(1), seen(2)));
                    }}},
}});

const std::vector<Index> kDocuments{3, 1, 0, 6, 2};
std::vector<SentencePair> pairs_of(SentenceOrder order, Index count, double broken = 0.5, std::uint64_t seed = 1) {
  return draw_sentence_pairs(kDocuments, count, Random(seed), {.order = order, .broken = broken});
}

const bool sentence_order_row = add_method_rows({{
    .name = "sentence_order",
    .header = "graft/pretrain/sentence_order.hpp",
    .paper = "Devlin, Chang, Lee, Toutanova, BERT (NSP), NAACL 2019; Lan et al., ALBERT (SOP), ICLR 2020",
    .functions = {"sentence_order_loss", "SentenceOrderHead", "draw_sentence_pairs", "pair_tokens", "SentenceOrder",
                  "SentencePair", "SentencePairOptions", "DocumentTokens", "PairTokensOptions", "PairTokens"},
    .use = "sentence_order_loss(head, hidden, pairs.labels)",
    .run =
        [](const Random& random) {
          List<std::int64_t> labels;
          for (const SentencePair& pair : draw_sentence_pairs({3, 1, 0, 6, 2}, 100, random))
            labels.push_back(pair.label);
          const Tensor<float> hidden = randn<float>({100, 8, 32}, random.stream("hidden"));
          const auto of = from_vector(labels);
          return to_vector(grad([&](const auto& head) { return sentence_order_loss(head, hidden, of); },
                                SentenceOrderHead<float>(32, random)));
        },
    .loss =
        [](const Numbers& x) {
          const auto head = from_vector(x, SentenceOrderHead<double>(3, Random(1)));
          return sentence_order_loss(head, randn<double>({4, 2, 3}, Random(2)), tensor<std::int64_t>({0, 1, 1, 0}));
        },
    .loss_at = randn<double>({20}, Random(3)),
    .errors = {bad_use<ValueError>([] { draw_sentence_pairs({3}, -1, Random(1)); }, "-1 pairs"),
               bad_use<ValueError>(
                   [] {
                     draw_sentence_pairs({3, -2}, 1, Random(1));
                   },
                   "document 1 has -2"),
               bad_use<ValueError>(
                   [] {
                     draw_sentence_pairs({1, 1, 0}, 1, Random(1));
                   },
                   "none of 3 documents"),
               bad_use<ValueError>([] { draw_sentence_pairs({}, 1, Random(1)); }, "none of 0 documents"),
               bad_use<ValueError>(
                   [] {
                     draw_sentence_pairs({5, 0}, 1, Random(1));
                   },
                   "single document"),
               bad_use<ValueError>([] { pairs_of(SentenceOrder::nsp, 1, kNaN); }, "broken is nan"),
               bad_use<ValueError>(
                   [] {
                     pair_tokens({{{1}}}, {{0, 0, 0, 0, 0}}, {.length = 4});
                   },
                   "length is 4"),
               bad_use<IndexError>(
                   [] {
                     pair_tokens({{{1}}}, {{0, 0, 0, 1, 0}});
                   },
                   "no sentence 1 of document 0"),
               bad_use<IndexError>(
                   [] {
                     pair_tokens({{{1}}}, {{1, 0, 0, 0, 0}});
                   },
                   "no sentence 0 of document 1"),
               bad_use<ShapeError>(
                   [] {
                     SentenceOrderHead<>(3, Random(1))(zeros({2, 5, 4}));
                   },
                   "[2, 5, 4]"),
               bad_use<ShapeError>(
                   [] {
                     SentenceOrderHead<>(3, Random(1))(zeros({2, 0, 3}));
                   },
                   "[2, 0, 3]"),
               bad_use<ValueError>(
                   [] {
                     sentence_order_loss(SentenceOrderHead<>(3, Random(1)), zeros({0, 5, 3}), zeros<std::int64_t>({0}));
                   },
                   "no pairs")},
    .properties =
        {{"half of the pairs are broken; of NSP to another document always, each as often, of SOP by swapping",
          [] {
            constexpr Index count = 20000;
            for (const SentenceOrder order : {SentenceOrder::nsp, SentenceOrder::sop}) {
              double broken = 0, from_first = 0, other[5] = {};
              for (const auto& [d, s, d2, s2, label] : pairs_of(order, count)) {
                REQUIRE((s >= 0 && s < kDocuments[d]));
                REQUIRE((s2 >= 0 && s2 < kDocuments[d2]));
                if (label == 0) {
                  REQUIRE((d == d2 && s2 == s + 1));
                } else if (order == SentenceOrder::sop) {
                  REQUIRE((d == d2 && s == s2 + 1));
                } else {
                  REQUIRE(d != d2);
                  from_first += d == 0;
                  if (d == 0) ++other[d2];
                }
                broken += label;
              }
              CHECK(near(broken, count, 0.5));
              if (order == SentenceOrder::nsp)
                for (const int d : {1, 3, 4}) CHECK(near(other[d], from_first, 1.0 / 3));
            }
          }},
         {"all neighbours are equally likely: 2 + 5 + 1 of them",
          [] {
            constexpr Index count = 20000;
            double found[5][6] = {};
            for (const SentencePair& pair : pairs_of(SentenceOrder::none, count)) {
              CHECK(pair.label == 0);
              ++found[pair.first_document][pair.first];
            }
            for (const auto& [d, n] : {std::pair(0, 2), std::pair(3, 5), std::pair(4, 1)})
              for (int s = 0; s < n; ++s) CHECK(near(found[d][s], count, 1.0 / 8));
          }},
         {"what is asked does not move where pairs are drawn, and chance 0 breaks none",
          [] {
            const auto plain = pairs_of(SentenceOrder::none, 200), nsp = pairs_of(SentenceOrder::nsp, 200),
                       sop = pairs_of(SentenceOrder::sop, 200), whole = pairs_of(SentenceOrder::nsp, 200, 0);
            for (std::size_t i = 0; i < 200; ++i) {
              CHECK((nsp[i].first_document == plain[i].first_document && nsp[i].first == plain[i].first));
              CHECK(std::min(sop[i].first, sop[i].second) == plain[i].first);
              CHECK(nsp[i].label == sop[i].label);
              CHECK((whole[i].label == 0 && whole[i].second == plain[i].second));
            }
            for (const SentencePair& pair : pairs_of(SentenceOrder::sop, 200, 1)) CHECK(pair.label == 1);
            CHECK(draw_sentence_pairs({5}, 3, Random(1), {.order = SentenceOrder::sop}).size() == 3);
            CHECK(draw_sentence_pairs({5}, 3, Random(1), {.broken = 0}).size() == 3);
          }},
         {"tokens: [CLS] first [SEP] second [SEP], the longer one cut",
          [] {
            const DocumentTokens documents{{{5, 6, 7, 8}, {9}}, {{}}};
            const PairTokens t = pair_tokens(documents, {{0, 1, 0, 1, 0}, {0, 0, 0, 1, 1}, {1, 0, 0, 1, 0}},
                                             {.length = 7, .cls = 1, .sep = 2});
            CHECK(same_bits(
                t.ids, tensor<std::int64_t>({{1, 9, 2, 9, 2, 0, 0}, {1, 5, 6, 7, 2, 9, 2}, {1, 2, 9, 2, 0, 0, 0}})));
            CHECK(same_bits(t.segments, tensor<std::int64_t>(
                                            {{0, 0, 0, 1, 1, 0, 0}, {0, 0, 0, 0, 0, 1, 1}, {0, 0, 1, 1, 0, 0, 0}})));
            CHECK(
                same_bits(cast<std::int64_t>(t.mask),
                          tensor<std::int64_t>({{1, 1, 1, 1, 1, 0, 0}, {1, 1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 0, 0, 0}})));
            CHECK(
                same_bits(cast<std::int64_t>(t.maskable),
                          tensor<std::int64_t>({{0, 1, 0, 1, 0, 0, 0}, {0, 1, 1, 1, 0, 1, 0}, {0, 0, 1, 0, 0, 0, 0}})));
            CHECK(same_bits(t.labels, tensor<std::int64_t>({0, 1, 0})));
            CHECK(pair_tokens(documents, {}).ids.shape() == Shape{0, 128});
          }},
         {"ln 2 for a head that cannot tell; only the first token counts; none switches it off bit for bit",
          [] {
            const Numbers hidden = randn<double>({4, 3, 5}, Random(1));
            const auto labels = tensor<std::int64_t>({0, 1, 1, 0});
            const SentenceOrderHead<double> head(5, Random(2));
            const auto loss = [&](const Numbers& h) { return sentence_order_loss(head, h, labels); };
            CHECK(sentence_order_loss(0.0 * head, hidden, labels).item() == Approx(std::log(2)).epsilon(1e-14));
            const Numbers slope = grad(loss, hidden);
            CHECK(max(abs(slice(slope, 1, 0, 1))).item() > 0);
            CHECK(max(abs(slice(slope, 1, 1, 3))).item() == 0);
            const auto other = [&](const Numbers& h) { return mean(square(h)); };
            const auto off = [&](const Numbers& h) {
              return other(h) + sentence_order_loss(head, h, labels, SentenceOrder::none);
            };
            CHECK(same_bits(off(hidden), other(hidden)));
            CHECK(same_bits(grad(off, hidden), grad(other, hidden)));
          }}},
}});

}  // namespace
