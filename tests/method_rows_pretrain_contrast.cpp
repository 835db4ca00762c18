// Rows of the method table for pretrain/: pairs that belong together against those that do not.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "gap.hpp"
#include "graft/model/grad.hpp"
#include "graft/nn/linear.hpp"
#include "graft/pretrain/info_nce.hpp"
#include "graft/pretrain/memory_queue.hpp"
#include "graft/pretrain/siglip.hpp"
#include "method_table.hpp"

using namespace graft;

namespace {

using Numbers = Tensor<double>;
constexpr double kInfinity = std::numeric_limits<double>::infinity(), kNaN = std::numeric_limits<double>::quiet_NaN();

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
               MemoryQueue<> queue(4, 3);
               queue.written = Tensor<std::int64_t>(-1);
               queue.enqueue(ones({2, 3}));
             },
             "written is -1"),
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

}  // namespace
