// Rows of the method table for pretrain/: how much of each domain is drawn.

#include <cmath>
#include <cstdint>
#include <limits>

#include "binomial.hpp"
#include "catch.hpp"
#include "gap.hpp"
#include "graft/model/grad.hpp"
#include "graft/ops/softmax.hpp"
#include "graft/pretrain/doremi.hpp"
#include "graft/pretrain/temperature_mixture.hpp"
#include "method_table.hpp"

using namespace graft;

namespace {

using Numbers = Tensor<double>;
constexpr double kInfinity = std::numeric_limits<double>::infinity(), kNaN = std::numeric_limits<double>::quiet_NaN();

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
