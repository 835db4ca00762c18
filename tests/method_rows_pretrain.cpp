// Rows of the method table for pretrain/.

#include <cmath>

#include "catch.hpp"
#include "graft/nn/linear.hpp"
#include "graft/pretrain/info_nce.hpp"
#include "graft/pretrain/mlm.hpp"
#include "graft/pretrain/rotation.hpp"
#include "method_table.hpp"

using namespace graft;

namespace {

double nce(const Tensor<double>& a, const Tensor<double>& b, double scale) {
  return info_nce(a, b, Tensor<double>(scale)).item();
}

const bool info_nce_row = add_method_rows({{
    .name = "info_nce",
    .header = "graft/pretrain/info_nce.hpp",
    .paper = "Radford et al., Learning transferable visual models from natural language supervision, ICML 2021",
    .functions = {"info_nce", "InfoNce", "unit_rows"},
    .use = "InfoNce<>()(images, texts)",
    .run =
        [](const Random& random) {
          const Tensor<float> b = randn<float>({300, 64}, random.stream("b"));
          return grad([&](const Tensor<float>& a) { return InfoNce<float>()(a, b); },
                      randn<float>({300, 64}, random.stream("a")));
        },
    .loss =
        [](const Tensor<double>& x) {
          return info_nce(reshape(slice(x, 0, 0, 12), {4, 3}), reshape(slice(x, 0, 12, 24), {4, 3}),
                          exp(slice(x, 0, 24, 25)));
        },
    .loss_at = randn<double>({25}, Random(3)),
    .errors = {bad_use<ShapeError>(
                   [] {
                     info_nce(zeros({2, 3}), zeros({3, 3}), ones({}));
                   },
                   "[3, 3]"),
               bad_use<ShapeError>(
                   [] {
                     info_nce(zeros({0, 3}), zeros({0, 3}), ones({}));
                   },
                   "one pair"),
               bad_use<ShapeError>(
                   [] {
                     info_nce(zeros({2, 3}), zeros({2, 3}), ones({2}));
                   },
                   "one scale")},
    .properties =
        {{"a pair alone has loss 0",
          [] {
            CHECK(nce(randn<double>({1, 4}, Random(1)), randn<double>({1, 4}, Random(2)), 10) == 0);
          }},
         {"ln N when all are alike",
          [] {
            CHECK(nce(ones<double>({5, 4}), 3.0 * ones<double>({5, 4}), 7) == Approx(std::log(5)).epsilon(1e-14));
          }},
         {"ln(1 + (N - 1) e^-scale) for orthonormal pairs",
          [] {
            for (const double scale : {0.5, 1.0, 14.3})
              CHECK(nce(eye<double>(6), eye<double>(6), scale) ==
                    Approx(std::log1p(5 * std::exp(-scale))).margin(1e-14));
          }},
         {"symmetric in the two sides, and blind to lengths",
          [] {
            const Tensor<double> a = randn<double>({6, 4}, Random(1)), b = randn<double>({6, 4}, Random(2));
            CHECK(nce(a, b, 3) == Approx(nce(b, a, 3)).epsilon(1e-14));
            CHECK(nce(1e3 * a, 1e-3 * b, 3) == Approx(nce(a, b, 3)).epsilon(1e-13));
          }},
         {"a row of zeros is like nothing, without NaN",
          [] {
            const Tensor<double> b = randn<double>({3, 4}, Random(2));
            const auto loss = [&](const Tensor<double>& a) { return info_nce(a, b, Tensor<double>(2)); };
            const auto [value, gradient] = value_and_grad(loss, zeros<double>({3, 4}));
            CHECK(std::isfinite(value.item()));
            CHECK(std::isfinite(sum(gradient).item()));
          }},
         {"the learned scale starts at 1 / 0.07 and stops at 100",
          [] {
            CHECK(exp(InfoNce<double>().log_scale).item() == Approx(1 / 0.07).epsilon(1e-14));
            const Tensor<double> a = randn<double>({6, 4}, Random(1)), b = randn<double>({6, 4}, Random(2));
            CHECK(InfoNce<double>{Tensor<double>(9)}(a, b).item() == Approx(nce(a, b, 100)).epsilon(1e-14));
          }}},
}});

/// A linear model of images as rows.
template <class T>
struct OfPixels {
  Linear<T> map;
  GRAFT_FIELDS(map)
  Tensor<T> operator()(const Tensor<T>& x) const { return map(reshape(x, {x.size(0), x.count() / x.size(0)})); }
};

const bool rotation_row = add_method_rows({{
    .name = "rotation",
    .header = "graft/pretrain/rotation.hpp",
    .paper = "Gidaris, Singh, Komodakis, Unsupervised representation learning by predicting image rotations, ICLR 2018",
    .functions = {"rotation_loss", "quarter_turns"},
    .use = "rotation_loss(net, images, context)",
    .run =
        [](const Random& random) {
          const Tensor<float> images = rand<float>({100, 12, 12, 1}, random.stream("images"));
          return to_vector(grad([&](const auto& net) { return rotation_loss(net, images, Context()); },
                                OfPixels<float>{Linear<float>(144, 4, random)}));
        },
    .loss =
        [](const Tensor<double>& x) {
          const OfPixels<double> net = from_vector(x, OfPixels<double>{Linear<double>(9, 4, Random(1))});
          return rotation_loss(net, rand<double>({3, 3, 3, 1}, Random(2)), Context());
        },
    .loss_at = randn<double>({40}, Random(3)),
    .errors = {bad_use<ShapeError>(
                   [] {
                     quarter_turns(zeros({2, 3, 4, 1}));
                   },
                   "[2, 3, 4, 1]"),
               bad_use<ShapeError>(
                   [] {
                     rotation_loss(OfPixels<float>{Linear<float>(9, 3, Random(1))}, zeros({2, 3, 3, 1}), Context());
                   },
                   "four scores")},
    .properties =
        {{"a quarter turn takes the top right corner to the top left",
          [] {
            const Tensor<double> image = reshape(tensor<double>({1, 2, 3, 4}), {1, 2, 2, 1});
            const LabelledSet<double> set = quarter_turns(image);
            // 1 2    2 4    4 3    3 1
            // 3 4    1 3    2 1    4 2
            const Tensor<double> expected = tensor<double>({{1, 2, 3, 4}, {2, 4, 1, 3}, {4, 3, 2, 1}, {3, 1, 4, 2}});
            CHECK(same_bits(reshape(set.x, {4, 4}), expected));
            CHECK(same_bits(set.y, tensor<std::int64_t>({0, 1, 2, 3})));
          }},
         {"ln 4 for a model that cannot tell",
          [] {
            OfPixels<double> net{Linear<double>(9, 4, Random(1))};
            net.map.weight = zeros<double>({4, 9});
            net.map.bias = zeros<double>({4});
            CHECK(rotation_loss(net, rand<double>({3, 3, 3, 1}, Random(2)), Context()).item() ==
                  Approx(std::log(4)).epsilon(1e-14));
          }}},
}});

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
                      // Five standard deviations of the binomial counts; a random word is 3 or 7 with chance 1/20 each.
                      const auto near = [](double found, double n, double p) {
                        return std::abs(found - n * p) < 5 * std::sqrt(n * p * (1 - p));
                      };
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

}  // namespace
