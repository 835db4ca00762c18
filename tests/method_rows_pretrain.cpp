// Rows of the method table for pretrain/.

#include <cmath>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "gap.hpp"
#include "graft/model/grad.hpp"
#include "graft/nn/linear.hpp"
#include "graft/pretrain/doremi.hpp"
#include "graft/pretrain/info_nce.hpp"
#include "graft/pretrain/memory_queue.hpp"
#include "graft/pretrain/mlm.hpp"
#include "graft/pretrain/rotation.hpp"
#include "graft/pretrain/sentence_order.hpp"
#include "graft/pretrain/siglip.hpp"
#include "graft/pretrain/temperature_mixture.hpp"
#include "method_table.hpp"

using namespace graft;

namespace {

using Numbers = Tensor<double>;
constexpr double kInfinity = std::numeric_limits<double>::infinity(), kNaN = std::numeric_limits<double>::quiet_NaN();

/// A count of n trials with chance p is within five standard deviations.
bool near(double found, double n, double p) { return std::abs(found - n * p) < 5 * std::sqrt(n * p * (1 - p)); }

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
    .functions = {"rotation_loss", "RotationPretext", "quarter_turns"},
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
                   "four scores"),
               bad_use<ShapeError>(
                   [] {
                     RotationPretext<>(5, Random(1))(OfPixels<float>{Linear<float>(9, 4, Random(1))},
                                                     zeros({2, 3, 3, 1}), Context());
                   },
                   "vectors of 5 numbers")},
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
          }},
         {"the pretext is the loss of head(encoder(images))",
          [] {
            const Tensor<double> images = rand<double>({3, 3, 3, 1}, Random(2));
            const OfPixels<double> encoder{Linear<double>(9, 5, Random(1))};
            const RotationPretext<double> pretext(5, Random(3));
            const auto whole = [&](const Tensor<double>& x) { return pretext.head(encoder(x)); };
            CHECK(same_bits(pretext(encoder, images, Context()), rotation_loss(whole, images, Context())));
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

double sig(const Numbers& a, const Numbers& b, double scale, double bias) {
  return siglip_loss(a, b, Numbers(scale), Numbers(bias)).item();
}
double softplus_of(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

const bool siglip_row = add_method_rows({{
    .name = "siglip",
    .header = "graft/pretrain/siglip.hpp",
    .paper = "Zhai, Mustafa, Kolesnikov, Beyer, Sigmoid loss for language image pre-training, ICCV 2023",
    .functions = {"siglip_loss", "Siglip"},
    .use = "Siglip<>()(images, texts)",
    .run =
        [](const Random& random) {
          const Tensor<float> b = randn<float>({300, 64}, random.stream("b"));
          return grad([&](const Tensor<float>& a) { return Siglip<float>()(a, b); },
                      randn<float>({300, 64}, random.stream("a")));
        },
    .loss =
        [](const Numbers& x) {
          return siglip_loss(reshape(slice(x, 0, 0, 12), {4, 3}), reshape(slice(x, 0, 12, 24), {4, 3}),
                             exp(slice(x, 0, 24, 25)), slice(x, 0, 25, 26));
        },
    .loss_at = randn<double>({26}, Random(3)),
    .errors = {bad_use<ShapeError>(
                   [] {
                     Siglip<>()(zeros({2, 3}), zeros({3, 3}));
                   },
                   "[3, 3]"),
               bad_use<ShapeError>(
                   [] {
                     Siglip<>()(zeros({0, 3}), zeros({0, 3}));
                   },
                   "one pair"),
               bad_use<ShapeError>(
                   [] {
                     siglip_loss(zeros({2, 3}), zeros({2, 3}), ones({2}), ones({}));
                   },
                   "scale [2]"),
               bad_use<ShapeError>(
                   [] {
                     siglip_loss(zeros({2, 3}), zeros({2, 3}), ones({}), ones({2}));
                   },
                   "bias [2]")},
    .properties =
        {{"plain sums over all couples, over the number of pairs",
          [] {
            const Numbers a = randn<double>({5, 3}, Random(1)), b = randn<double>({5, 3}, Random(2));
            double total = 0;
            for (Index i = 0; i < 5; ++i)
              for (Index j = 0; j < 5; ++j) {
                double dot = 0, aa = 0, bb = 0;
                for (Index k = 0; k < 3; ++k) {
                  dot += a.at({i, k}) * b.at({j, k});
                  aa += a.at({i, k}) * a.at({i, k});
                  bb += b.at({j, k}) * b.at({j, k});
                }
                const double score = 4 * dot / std::sqrt(aa * bb) - 1;
                total += softplus_of(i == j ? -score : score);
              }
            CHECK(sig(a, b, 4, -1) == Approx(total / 5).epsilon(1e-13));
          }},
         {"ln(1 + e^(-t - b)) + (N - 1) ln(1 + e^b) for orthonormal pairs; at the start ln 2 + (N - 1) ln(1 + e^-10)",
          [] {
            for (const double bias : {-10.0, 0.0, 2.0})
              CHECK(sig(eye<double>(6), eye<double>(6), 3, bias) ==
                    Approx(softplus_of(-3 - bias) + 5 * softplus_of(bias)).epsilon(1e-13));
            CHECK(Siglip<double>()(eye<double>(6), eye<double>(6)).item() ==
                  Approx(std::log(2) + 5 * std::log1p(std::exp(-10))).epsilon(1e-13));
          }},
         {"a couple's term does not depend on the rest of the batch: two batches and their cross terms make the whole",
          [] {
            const Numbers a = randn<double>({6, 4}, Random(1)), b = randn<double>({6, 4}, Random(2));
            const auto part = [](const Numbers& x, Index from) { return slice(x, 0, from, from + 3); };
            const auto cross = [&](Index from, Index to) {  // couples that are no pairs
              const Numbers s = 2.0 * cosine_similarities(part(a, from), part(b, to)) - 1.0;
              return sum(softplus(s)).item();
            };
            const double parts = 3 * sig(part(a, 0), part(b, 0), 2, -1) + 3 * sig(part(a, 3), part(b, 3), 2, -1);
            CHECK(6 * sig(a, b, 2, -1) == Approx(parts + cross(0, 3) + cross(3, 0)).epsilon(1e-13));
          }},
         {"symmetric in the two sides, and blind to lengths",
          [] {
            const Numbers a = randn<double>({6, 4}, Random(1)), b = randn<double>({6, 4}, Random(2));
            CHECK(sig(a, b, 3, -1) == Approx(sig(b, a, 3, -1)).epsilon(1e-14));
            CHECK(sig(1e3 * a, 1e-3 * b, 3, -1) == Approx(sig(a, b, 3, -1)).epsilon(1e-13));
          }},
         {"large scores and rows of zeros give no NaN",
          [] {
            const Numbers b = randn<double>({3, 4}, Random(2));
            const auto loss = [&](const Numbers& a) { return siglip_loss(a, b, Numbers(1e6), Numbers(-1e5)); };
            for (const Numbers& a : {zeros<double>({3, 4}), randn<double>({3, 4}, Random(1))}) {
              const auto [value, gradient] = value_and_grad(loss, a);
              CHECK(std::isfinite(value.item()));
              CHECK(std::isfinite(sum(gradient).item()));
            }
          }}},
}});

double queued(const Numbers& q, const Numbers& k, const MemoryQueue<double>& queue, double t, bool batch = true) {
  return queue_info_nce(q, k, queue, t, batch).item();
}
/// A model of one linear map.
struct Map {
  Linear<double> map;
  GRAFT_FIELDS(map)
  Numbers operator()(const Numbers& x) const { return map(x); }
};

const bool memory_queue_row = add_method_rows({{
    .name = "memory_queue",
    .header = "graft/pretrain/memory_queue.hpp",
    .paper = "He, Fan, Wu, Xie, Girshick, Momentum contrast for unsupervised visual representation learning, CVPR 2020",
    .functions = {"MomentumContrast", "MemoryQueue", "queue_info_nce", "MomentumContrastOptions"},
    .use = "MomentumContrast(encoder, width).loss(first, keys, context)",
    .run =
        [](const Random& random) {
          MemoryQueue<float> queue(500, 64);
          for (Index i = 0; i < 3; ++i) queue.enqueue(randn<float>({200, 64}, random.stream("keys", i)));
          const Tensor<float> keys = randn<float>({200, 64}, random.stream("b"));
          return grad([&](const Tensor<float>& q) { return queue_info_nce(q, keys, queue); },
                      randn<float>({200, 64}, random.stream("a")));
        },
    .loss =
        [](const Numbers& x) {
          MemoryQueue<double> queue(5, 3);
          queue.enqueue(randn<double>({3, 3}, Random(4)));
          return queue_info_nce(reshape(slice(x, 0, 0, 12), {4, 3}), reshape(slice(x, 0, 12, 24), {4, 3}), queue, 0.5);
        },
    .loss_at = randn<double>({24}, Random(3)),
    .errors =
        {bad_use<ValueError>([] { MemoryQueue<>(0, 3); }, "0 keys of 3"),
         bad_use<ShapeError>(
             [] {
               MemoryQueue<>(4, 3).enqueue(zeros({2, 4}));
             },
             "[2, 4]"),
         bad_use<ShapeError>(
             [] {
               MemoryQueue<>().enqueue(zeros({2, 4}));
             },
             "the queue's width"),
         bad_use<ValueError>(
             [] {
               MemoryQueue<>(4, 3).enqueue(full<float>({2, 3}, NAN));
             },
             "not finite"),
         bad_use<ShapeError>(
             [] {
               queue_info_nce(zeros({2, 3}), zeros({3, 3}), MemoryQueue<>(4, 3));
             },
             "[3, 3]"),
         bad_use<ShapeError>(
             [] {
               MemoryQueue<> queue(4, 2);
               queue.enqueue(ones({1, 2}));
               queue_info_nce(zeros({2, 3}), zeros({2, 3}), queue);
             },
             "queue [4, 2]"),
         bad_use<ValueError>(
             [] {
               queue_info_nce(ones({2, 3}), ones({2, 3}), MemoryQueue<>(4, 3), 0);
             },
             "temperature is 0"),
         bad_use<ValueError>([] { MomentumContrast(Map{Linear<double>(2, 3, Random(1))}, 3, {.momentum = kNaN}); },
                             "momentum is nan"),
         bad_use<ValueError>([] { MomentumContrast(Map{Linear<double>(2, 3, Random(1))}, 3, {.temperature = 0}); },
                             "temperature is 0"),
         bad_use<ValueError>([] { MomentumContrast(Map{Linear<double>(2, 3, Random(1))}, 3, {.capacity = 0}); },
                             "0 keys")},
    .properties = {{"an empty queue is plain InfoNCE, one way; without the batch's negatives it is 0",
                    [] {
                      const Numbers a = randn<double>({6, 4}, Random(1)), b = randn<double>({6, 4}, Random(2));
                      const MemoryQueue<double> empty(8, 4);
                      CHECK((queued(a, b, empty, 0.2) + queued(b, a, empty, 0.2)) / 2 ==
                            Approx(nce(a, b, 5)).epsilon(1e-13));
                      CHECK(queued(a, b, empty, 0.2, false) == 0);
                      CHECK(same_bits(queue_info_nce(a, b, empty, 0.2),
                                      queue_info_nce(a, b, MemoryQueue<double>(), 0.2)));
                    }},
                   {"ln(1 + n e^(-1 / t)) for n orthonormal negatives of batch and queue",
                    [] {
                      const Numbers rows = eye<double>(9);
                      MemoryQueue<double> queue(8, 9);
                      queue.enqueue(slice(rows, 0, 4, 9));
                      const Numbers a = slice(rows, 0, 0, 4);
                      CHECK(queued(a, a, queue, 0.5) == Approx(std::log1p(8 * std::exp(-2))).epsilon(1e-13));
                      CHECK(queued(a, a, queue, 0.5, false) == Approx(std::log1p(5 * std::exp(-2))).epsilon(1e-13));
                    }},
                   {"the ring keeps the last keys, of length 1, and has one size always",
                    [] {
                      const Numbers rows = randn<double>({7, 2}, Random(1)), unit = unit_rows(rows);
                      MemoryQueue<double> queue(3, 2);
                      const auto push = [&](Index from, Index to) { queue.enqueue(slice(rows, 0, from, to)); };
                      const auto at = [&](Index i) { return slice(unit, 0, i, i + 1); };
                      CHECK(queue.stored().size(0) == 0);
                      push(0, 2);
                      CHECK(queue.size() == 2);
                      CHECK(same_bits(queue.stored(), slice(unit, 0, 0, 2)));
                      push(2, 4);
                      CHECK(same_bits(queue.stored(), concat(std::vector{at(3), at(1), at(2)}, 0)));
                      push(4, 4);
                      CHECK(queue.size() == 3);
                      push(4, 7);
                      CHECK(same_bits(queue.stored(), concat(std::vector{at(6), at(4), at(5)}, 0)));
                      CHECK(queue.keys.value.shape() == Shape{3, 2});
                      MemoryQueue<double> at_once(3, 2);
                      at_once.enqueue(rows);
                      CHECK(same_bits(at_once.keys.value, queue.keys.value));
                      CHECK(at_once.written.item() == 7);
                    }},
                   {"a refused key changes nothing",
                    [] {
                      MemoryQueue<double> queue(3, 2);
                      queue.enqueue(ones<double>({2, 2}));
                      const Numbers before = queue.keys.value;
                      CHECK_THROWS_AS(queue.enqueue(full<double>({2, 2}, kInfinity)), ValueError);
                      CHECK(same_bits(queue.keys.value, before));
                      CHECK(queue.size() == 2);
                    }},
                   {"after n steps towards a fixed model the rest is momentum^n; with momentum 1 nothing moves",
                    [] {
                      for (const double momentum : {0.9, 0.0, 1.0}) {
                        const Map fast{Linear<double>(4, 3, Random(1))}, start{Linear<double>(4, 3, Random(2))};
                        MomentumContrast contrast(start, 3, {.capacity = 8, .momentum = momentum});
                        contrast.encoder = fast;
                        for (int n = 0; n < 10; ++n) contrast.follow(zeros<double>({1, 3}));
                        const Numbers rest = std::pow(momentum, 10) * (start.map.weight - fast.map.weight);
                        CHECK(gap(contrast.momentum_encoder.map.weight, fast.map.weight + rest) < 1e-14);
                        if (momentum == 1) CHECK(same_bits(contrast.momentum_encoder.map.weight, start.map.weight));
                      }
                    }},
                   {"only the first encoder has a gradient; the second follows it by momentum, keys go into the queue",
                    [] {
                      MomentumContrast contrast(Map{Linear<double>(4, 3, Random(1))}, 3,
                                                {.capacity = 8, .momentum = 0.75});
                      const Numbers x = randn<double>({5, 4}, Random(2)), y = randn<double>({5, 4}, Random(3));
                      const Numbers keys = contrast.keys(y, Context());
                      CHECK(same_bits(keys, contrast.encoder(y)));
                      const auto gradient = grad([&](const auto& m) { return m.loss(x, keys, Context()); }, contrast);
                      CHECK(max(abs(gradient.encoder.map.weight)).item() > 0);
                      CHECK(max(abs(gradient.momentum_encoder.map.weight)).item() == 0);
                      const Numbers before = contrast.momentum_encoder.map.weight;
                      contrast = contrast - 0.1 * gradient;
                      const Numbers moved = contrast.encoder.map.weight;
                      contrast.follow(keys);
                      CHECK(gap(contrast.momentum_encoder.map.weight, 0.75 * before + 0.25 * moved) < 1e-15);
                      CHECK(same_bits(contrast.queue.stored(), unit_rows(keys)));
                      CHECK(contrast.loss(x, keys, Context()).item() ==
                            Approx(queued(contrast.encoder(x), keys, contrast.queue, 0.07)).epsilon(1e-14));
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

const bool temperature_mixture_row = add_method_rows({{
    .name = "temperature_mixture",
    .header = "graft/pretrain/temperature_mixture.hpp",
    .paper =
        "Arivazhagan et al., Massively multilingual neural machine translation in the wild, 2019; Raffel et al., T5, "
        "JMLR 2020",
    .functions = {"mixture_probabilities", "draw_sources", "TemperatureMixtureOptions", "temperature_probabilities"},
    .use = "draw_sources(mixture_probabilities(sizes, {.tau = 5}), batch, random)",
    .run =
        [](const Random& random) {
          const auto drawn = draw_sources(mixture_probabilities(tensor<double>({1e6, 1e3, 50})), 20000, random);
          return cast<float>(drawn);
        },
    .errors = {bad_use<ShapeError>(
                   [] {
                     mixture_probabilities(ones<double>({2, 2}));
                   },
                   "[2, 2]"),
               bad_use<ShapeError>([] { mixture_probabilities(zeros<double>({0})); }, "[0]"),
               bad_use<ValueError>(
                   [] {
                     mixture_probabilities(tensor<double>({1, -2}));
                   },
                   "a size is -2"),
               bad_use<ValueError>(
                   [] {
                     mixture_probabilities(tensor<double>({1, kInfinity}), {.limit = 5});
                   },
                   "inf"),
               bad_use<ValueError>(
                   [] {
                     mixture_probabilities(tensor<double>({1, kNaN}));
                   },
                   "nan"),
               bad_use<ValueError>([] { mixture_probabilities(zeros<double>({2})); }, "all sizes are 0"),
               bad_use<ValueError>([] { mixture_probabilities(ones<double>({2}), {.tau = 0}); }, "tau is 0"),
               bad_use<ValueError>([] { mixture_probabilities(ones<double>({2}), {.limit = -1}); }, "limit is -1"),
               bad_use<ValueError>([] { draw_sources(ones<double>({2}), -1, Random(1)); }, "-1 items"),
               bad_use<ShapeError>(
                   [] {
                     draw_sources(ones<double>({2, 2}), 1, Random(1));
                   },
                   "[2, 2]")},
    .properties =
        {{"tau 1: in proportion; infinity: all alike but what is empty; between: powers of the sizes",
          [] {
            const Numbers sizes = tensor<double>({1e6, 1e3, 0, 50});
            const double all = 1e6 + 1e3 + 50;
            CHECK(gap(mixture_probabilities(sizes, {.tau = 1}), sizes / all) < 1e-15);
            CHECK(gap(mixture_probabilities(sizes, {.tau = kInfinity}), tensor<double>({1, 1, 0, 1}) / 3.0) < 1e-15);
            const Numbers powers = tensor<double>({std::pow(1e6, 0.2), std::pow(1e3, 0.2), 0, std::pow(50, 0.2)});
            CHECK(gap(mixture_probabilities(sizes), powers / sum(powers)) < 1e-15);
            CHECK(gap(mixture_probabilities(sizes, {.tau = 1e-3}), tensor<double>({1, 0, 0, 0})) < 1e-15);
          }},
         {"T5's limit: sources above it count as one of so many items; one above all sizes changes nothing",
          [] {
            const Numbers sizes = tensor<double>({1e6, 1e3, 50});
            CHECK(gap(mixture_probabilities(sizes, {.tau = 1, .limit = 200}), tensor<double>({200, 200, 50}) / 450.0) <
                  1e-15);
            CHECK(same_bits(mixture_probabilities(sizes, {.limit = 1e7}), mixture_probabilities(sizes)));
          }},
         {"draws have these shares, and item i is the same in a longer batch",
          [] {
            const Numbers p = mixture_probabilities(tensor<double>({1e4, 100, 0, 3}), {.tau = 2});
            const auto drawn = draw_sources(p, 20000, Random(1));
            double counts[4] = {};
            for (const std::int64_t source : host(drawn)) ++counts[source];
            for (Index i = 0; i < 4; ++i) CHECK((p.at({i}) > 0 ? near(counts[i], 20000, p.at({i})) : counts[i] == 0));
            CHECK(same_bits(slice(drawn, 0, 0, 7), draw_sources(p, 7, Random(1))));
            CHECK(draw_sources(p, 0, Random(1)).count() == 0);
          }}},
}});

/// One item a domain with that excess loss.
void step_by(DoReMi& mixture, const Numbers& excess) {
  mixture.update(excess + 1.0, ones<double>(excess.shape()), arange<std::int64_t>(excess.count()));
}

const bool doremi_row = add_method_rows({{
    .name = "doremi",
    .header = "graft/pretrain/doremi.hpp",
    .paper = "Xie et al., DoReMi: optimizing data mixtures speeds up language model pretraining, NeurIPS 2023",
    .functions = {"DoReMi", "DoReMiOptions"},
    .use = "mixture.update(losses, reference, domains)",
    .run =
        [](const Random& random) {
          const Tensor<float> x = rand<float>({20000}, random.stream("losses"));
          const auto domains = generate({20000}, [](Index i) { return i % 7; });
          DoReMi mixture(7);
          mixture.update(x, rand<float>({20000}, random.stream("reference")), domains);
          return grad([&](const Tensor<float>& losses) { return mixture.weighted_loss(losses, domains); }, x);
        },
    .loss =
        [](const Numbers& x) {
          DoReMi mixture(3);
          step_by(mixture, tensor<double>({0.5, 0, 1}));
          return mixture.weighted_loss(square(x), tensor<std::int64_t>({0, 1, 2, 2, 0}));
        },
    .loss_at = randn<double>({5}, Random(3)),
    .errors =
        {bad_use<ValueError>([] { DoReMi(0); }, "domains is 0"),
         bad_use<ValueError>([] { DoReMi(3, {.eta = -1}); }, "eta is -1"),
         bad_use<ValueError>([] { DoReMi(3, {.smoothing = 2}); }, "smoothing is 2"),
         bad_use<ShapeError>([] { DoReMi(3).update(ones({2}), ones({3}), zeros<std::int64_t>({2})); }, "reference [3]"),
         bad_use<ShapeError>([] { DoReMi(3).update(ones({2}), ones({2}), zeros<std::int64_t>({3})); }, "domains [3]"),
         bad_use<ShapeError>([] { DoReMi(3).weighted_loss(ones({0}), zeros<std::int64_t>({0})); }, "one item"),
         bad_use<IndexError>([] { DoReMi(3).update(ones({1}), ones({1}), full<std::int64_t>({1}, 3)); },
                             "domain 3 of 3"),
         bad_use<ValueError>(
             [] { DoReMi(3).update(full<double>({1}, kNaN), ones<double>({1}), zeros<std::int64_t>({1})); },
             "item 0 is nan")},
    .properties =
        {{"equal excess losses change no weights",
          [] {
            DoReMi mixture(3, {.smoothing = 0}), even(3);
            step_by(mixture, tensor<double>({0.5, 0, 1}));
            const Numbers before = mixture.weights.value;
            step_by(mixture, full<double>({3}, 0.7));
            CHECK(gap(mixture.weights.value, before) < 1e-15);
            for (int n = 0; n < 5; ++n) step_by(even, full<double>({3}, 2));
            CHECK(gap(even.weights.value, full<double>({3}, 1.0 / 3)) < 1e-15);
          }},
         {"n steps with the same excess losses: softmax(n eta excess)",
          [] {
            DoReMi mixture(3, {.eta = 0.5, .smoothing = 0});
            const Numbers excess = tensor<double>({0.3, 0, 0.8});
            Numbers sum_of = zeros<double>({3});
            for (int n = 1; n <= 4; ++n) {
              step_by(mixture, excess);
              CHECK(gap(mixture.weights.value, softmax(0.5 * n * excess)) < 1e-14);
              sum_of = sum_of + softmax(0.5 * n * excess);
            }
            CHECK(gap(mixture.average(), sum_of / 4.0) < 1e-14);
            CHECK(gap(DoReMi(4).average(), full<double>({4}, 0.25)) == 0);
          }},
         {"no weight falls below c over the domains, whatever the losses",
          [] {
            DoReMi mixture(4, {.smoothing = 0.01});
            for (int n = 0; n < 3; ++n) step_by(mixture, tensor<double>({1e6, 0, 0, 1e3}));
            CHECK(gap(mixture.weights.value, tensor<double>({0.9925, 0.0025, 0.0025, 0.0025})) < 1e-12);
          }},
         {"excess is cut off at 0 item by item; a domain without items keeps its latest",
          [] {
            DoReMi mixture(2, {.smoothing = 0});
            mixture.update(tensor<double>({1, 6, 2}), tensor<double>({6, 5, 1.5}), tensor<std::int64_t>({0, 0, 1}));
            CHECK(gap(mixture.excess.value, tensor<double>({0.5, 0.5})) < 1e-15);
            CHECK(gap(mixture.weights.value, tensor<double>({0.5, 0.5})) < 1e-15);
            mixture.update(tensor<double>({4}), tensor<double>({3}), tensor<std::int64_t>({1}));
            CHECK(gap(mixture.excess.value, tensor<double>({0.5, 1})) < 1e-15);
            CHECK(gap(mixture.weights.value, softmax(tensor<double>({0.5, 1}))) < 1e-15);
          }},
         {"a refused step changes nothing",
          [] {
            DoReMi mixture(2);
            CHECK_THROWS_AS(step_by(mixture, tensor<double>({1, kInfinity})), ValueError);
            CHECK(gap(mixture.weights.value, tensor<double>({0.5, 0.5})) == 0);
            CHECK(mixture.steps.item() == 0);
          }},
         {"the objective: the mean of the losses weighted by their domains; equal weights are the plain mean",
          [] {
            DoReMi mixture(2, {.smoothing = 0});
            const Numbers losses = tensor<double>({1, 2, 4});
            const auto domains = tensor<std::int64_t>({0, 0, 1});
            CHECK(mixture.weighted_loss(losses, domains).item() == Approx(7.0 / 3).epsilon(1e-15));
            step_by(mixture, tensor<double>({0, std::log(3)}));  // weights 1/4, 3/4
            CHECK(mixture.weighted_loss(losses, domains).item() ==
                  Approx((0.25 * 1 + 0.25 * 2 + 0.75 * 4) / 1.25).epsilon(1e-14));
          }}},
}});

}  // namespace
