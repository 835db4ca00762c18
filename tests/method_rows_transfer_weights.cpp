// Rows of the method table for transfer/: changes of weights, LoRA and its like.

#include <cmath>

#include "catch.hpp"
#include "files.hpp"
#include "graft/fewshot/maml.hpp"
#include "graft/io/checkpoint.hpp"
#include "graft/ops/linalg_spectral.hpp"
#include "graft/transfer/dora.hpp"
#include "graft/transfer/ia3.hpp"
#include "graft/transfer/lora.hpp"
#include "tuners.hpp"

using namespace tuners;

namespace {

// ---- LoRA -----------------------------------------------------------------------------------------------------------
/// A net with the numbers of a case in the place of what is trained, in field order.
template <class M>
M with_numbers(M model, const std::vector<Numbers>& numbers) {
  std::size_t i = 0;
  for_each_parameter(
      [&](auto& leaf) {
        if (!leaf.frozen()) leaf = reshape(numbers[i++], leaf.shape());
      },
      model);
  return model;
}
/// The answers to the inputs of the cases and the gradients agree to 1e-12.
template <class M>
void check_case(const M& fresh, const TunedCase& c) {
  const M model = with_numbers(fresh, c.numbers);
  CHECK(gap(model(kInputs, Context()), c.answers) < 1e-12);
  const M slope = grad([](const M& m) { return sum(kOf * m(kInputs, Context())); }, model);
  std::size_t i = 0;
  for_each_parameter(
      [&](const auto& leaf, const auto& gradient) {
        if (leaf.frozen())
          CHECK(max(abs(gradient)).item() == 0);
        else
          CHECK(gap(gradient, reshape(c.gradients[i++], leaf.shape())) < 1e-12);
      },
      model, slope);
  CHECK(i == c.gradients.size());
}
/// The loss as a function of the numbers that are trained; those of the base, which come first, are given.
template <class M>
auto tuned_loss(const M& model) {
  return [model](const Numbers& x) {
    const M at = from_vector(x, model);
    return mean(square(at(kInputs, Context()))) + 0.1 * sum(square(x));
  };
}
const bool lora_row = add_method_rows({{
    .name = "lora",
    .header = "graft/transfer/lora.hpp",
    .paper = "Hu et al., LoRA: low-rank adaptation of large language models, ICLR 2022",
    .functions = {"lora", "lora_merge", "lora_unmerge", "LowRank", "LoraLinear", "Lora"},
    .use = "lora(model, random, {.rank = 8, .layers = {\"self_attn\"}})",
    .run =
        [](const Random& random) {
          return adapted_answers(TunerMethod{Lora{{.rank = 4}}, few_steps()}, large(), 64, random);
        },
    .loss = tuned_loss(scrambled(lora(given_net(), Random(2), {.rank = 2}))),
    .loss_at = to_vector(scrambled(lora(given_net(), Random(2), {.rank = 2}))),
    .errors =
        joined(tuner_errors(Lora{}),
               {bad_use<ValueError>([] { lora(given_net(), Random(1), {.layers = {"third"}}); },
                                    "no matrix of the model is named 'third'; there are first.weight, second.weight"),
                bad_use<ValueError>([] { lora(given_net(), Random(1), {.rank = 0}); }, "rank is 0"),
                bad_use<ValueError>([] { lora(given_net(), Random(1), {.scale = INFINITY}); }, "scale is inf"),
                bad_use<ShapeError>([] { lora_unmerge(two_layers<double>(4, 7, 3), lora(given_net(), Random(1))); },
                                    "shapes of first.weight differ")}),
    .properties = {{"PEFT's answers and gradients",
                    [] { check_case(lora(given_net(), Random(1), {.rank = 2, .scale = 3}), kLora); }},
                   {"unchanged at first, bit for bit",
                    [] {
                      const TwoLayers<double> net = given_net();
                      CHECK(same_bits(lora(net, Random(1))(kInputs, Context()), net(kInputs)));
                      CHECK(same_bits(LoraLinear<double>(net.first, Random(1))(kInputs), net.first(kInputs)));
                    }},
                   {"merged and not merged agree, and merging is undone, to 1e-6",
                    [] {
                      const auto tuned = scrambled(lora(given_net(), Random(1)));
                      const TwoLayers<double> merged = lora_merge(tuned);
                      CHECK(gap(merged(kInputs), tuned(kInputs, Context())) < 1e-12);
                      CHECK(trainable_count(merged) == count(merged));
                      CHECK(largest_change(lora_unmerge(merged, tuned), tuned) < 1e-14);
                      const auto small = scrambled(lora(two_layers<float>(64, 96, 64), Random(1)), 0.1);
                      CHECK(largest_change(lora_unmerge(lora_merge(small), small), small) < 1e-6);
                      auto layer = LoraLinear<double>(given_net().first, Random(1), {.rank = 2});
                      layer.change.b = randn<double>({5, 2}, Random(2));
                      CHECK(gap(layer.merged()(kInputs), layer(kInputs)) < 1e-14);
                      CHECK_FALSE(gap(layer(kInputs), layer.layer(kInputs)) < 0.1);
                    }},
                   {"rank (in + out) numbers are trained, and the change has at most that rank",
                    [] {
                      const auto tuned = scrambled(lora(given_net(), Random(1), {.rank = 2}));
                      CHECK(trainable_count(tuned) == 2 * (4 + 5) + 2 * (5 + 3));
                      CHECK(trainable_count(lora(given_net(), Random(1), {.rank = 3, .layers = {"second"}})) ==
                            3 * (5 + 3));
                      const Numbers change = lora_merge(tuned).first.weight - given_net().first.weight;
                      const Numbers values = svd(change).values;
                      CHECK(values.at({1}) > 1e-2);
                      CHECK(values.at({2}) < 1e-14);
                    }},
                   {"MAML adapts A and B alone, and its gradient is theirs alone",
                    [] {
                      using Tuned = BodyHead<LoraModel<TwoLayers<double>>, Linear<double>>;
                      const Tuned model = freeze(Tuned{lora(whole().body, Random(1)), whole().head}, {"head"});
                      const Tuned adapted = Maml<>{{.alpha = 0.5, .steps = 2}}.adapt(model, task()).model;
                      CHECK(same_numbers(adapted.body.base, model.body.base));
                      CHECK(same_numbers(adapted.head, model.head));
                      CHECK(largest_change(adapted.body.changes, model.body.changes) > 1e-3);
                      const Tuned slope = grad(
                          [](const Tuned& m) {
                            return Maml<>{{.alpha = 0.5, .steps = 2}}.train_loss(m, Episode<double>{task(), task(), 3},
                                                                                 Context());
                          },
                          model);
                      CHECK(norm(slope.body.base).item() == 0);
                      CHECK(norm(slope.body.changes[0]).item() > 1e-6);
                    }},
                   {"a checkpoint of another rank or architecture is refused, and nothing is changed",
                    [] {
                      const Folder folder;
                      save_checkpoint(folder / "two.npz", lora(given_net(), Random(1), {.rank = 2}));
                      auto three = lora(given_net(), Random(2), {.rank = 3});
                      auto other = lora(two_layers<double>(4, 7, 3), Random(2), {.rank = 2});
                      const auto three_before = three, other_before = other;
                      CHECK(refusal(folder / "two.npz", [&] {
                              load_checkpoint(folder / "two.npz", three);
                            }).find("changes.0.a") != std::string::npos);
                      CHECK(refusal(folder / "two.npz", [&] {
                              load_checkpoint(folder / "two.npz", other);
                            }).find("base.first") != std::string::npos);
                      CHECK(same_numbers(three, three_before));
                      CHECK(same_numbers(other, other_before));
                      auto same = lora(given_net(), Random(7), {.rank = 2});
                      load_checkpoint(folder / "two.npz", same);
                      CHECK(same_numbers(same, lora(given_net(), Random(1), {.rank = 2})));
                    }},
                   learns("a task is learned",
                          [] {
                            return share_right(TunerMethod{Lora{}, many_steps()}.adapt(whole(), task()), task());
                          })},
}});

// ---- DoRA -----------------------------------------------------------------------------------------------------------
const bool dora_row = add_method_rows({{
    .name = "dora",
    .header = "graft/transfer/dora.hpp",
    .paper = "Liu et al., DoRA: weight-decomposed low-rank adaptation, ICML 2024",
    .functions = {"dora", "DecomposedLowRank", "Dora"},
    .use = "dora(model, random, {.rank = 8})",
    .run =
        [](const Random& random) {
          return adapted_answers(TunerMethod{Dora{{.rank = 4}}, few_steps()}, large(), 64, random);
        },
    .loss = tuned_loss(scrambled(dora(given_net(), Random(2), {.rank = 2, .constant_norm = false}))),
    .loss_at = to_vector(scrambled(dora(given_net(), Random(2), {.rank = 2, .constant_norm = false}))),
    .errors = joined(tuner_errors(Dora{}),
                     {bad_use<ValueError>([] { dora(given_net(), Random(1), {.layers = {"first.bias"}}); },
                                          "named 'first.bias'; there are first.weight"),
                      bad_use<ValueError>([] { dora(given_net(), Random(1), {.rank = 0}); }, "rank is 0")}),
    .properties = {{"PEFT's answers and gradients",
                    [] { check_case(dora(given_net(), Random(1), {.rank = 2, .scale = 3}), kDora); }},
                   {"unchanged at first, bit for bit, rows of zeros too",
                    [] {
                      TwoLayers<double> net = given_net();
                      CHECK(same_bits(dora(net, Random(1))(kInputs, Context()), net(kInputs)));
                      net.first.weight = zeros<double>({5, 4});
                      const auto tuned = dora(net, Random(1));
                      CHECK(same_bits(tuned(kInputs, Context()), net(kInputs)));
                      using Tuned = DoraModel<TwoLayers<double>>;
                      CHECK(all_finite(grad([](const Tuned& m) { return sum(m(kInputs, Context())); }, tuned)));
                    }},
                   {"the norms of the rows are the magnitudes, whatever the directions",
                    [] {
                      auto tuned = scrambled(dora(given_net(), Random(1)));
                      tuned.changes[0].magnitude = tensor<double>({1, 2, 3, 4, 5});
                      const Numbers w = tuned.merged().first.weight;
                      CHECK(gap(sqrt(sum(square(w), {1})), tuned.changes[0].magnitude) < 1e-14);
                    }},
                   {"rank (in + out) + out numbers are trained",
                    [] {
                      CHECK(trainable_count(dora(given_net(), Random(1), {.rank = 2})) ==
                            2 * (4 + 5) + 5 + 2 * (5 + 3) + 3);
                    }},
                   learns("a task is learned",
                          [] {
                            return share_right(TunerMethod{Dora{}, many_steps()}.adapt(whole(), task()), task());
                          })},
}});

// ---- (IA)^3 ---------------------------------------------------------------------------------------------------------
const Ia3Options kBoth{.outputs = {"first"}, .inputs = {"second"}};
const bool ia3_row = add_method_rows({{
    .name = "ia3",
    .header = "graft/transfer/ia3.hpp",
    .paper = "Liu et al., Few-shot parameter-efficient fine-tuning is better and cheaper, NeurIPS 2022",
    .functions = {"ia3", "LearnedScale", "Ia3"},
    .use = "ia3(model, {.outputs = {\"in_proj_weight\"}, .inputs = {\"linear2\"}})",
    .run =
        [](const Random& random) {
          return adapted_answers(TunerMethod{Ia3{kBoth}, few_steps()}, large(), 64, random);
        },
    .loss = tuned_loss(scrambled(ia3(given_net(), kBoth))),
    .loss_at = to_vector(scrambled(ia3(given_net(), kBoth))),
    .errors = joined(
        tuner_errors(Ia3{kBoth}),
        {bad_use<ValueError>([] { ia3(given_net()); }, "named 'in_proj_weight'; there are first.weight, second.weight"),
         bad_use<ValueError>([] { ia3(given_net(), {.outputs = {}, .inputs = {}}); }, "neither outputs nor inputs")}),
    .properties = {{"PEFT's answers and gradients", [] { check_case(ia3(given_net(), kBoth), kIa3); }},
                   {"unchanged at first, bit for bit",
                    [] {
                      CHECK(same_bits(ia3(given_net(), kBoth)(kInputs, Context()), given_net()(kInputs)));
                      const Numbers x = randn<double>({3, 4}, Random(1));
                      const auto model = coder<double>(8, 12).body;
                      CHECK(same_bits(ia3(model)(x, Context()), model(x, Context())));
                    }},
                   {"in a Transformer: keys, values and hidden units are scaled, queries are not",
                    [] {
                      const auto tuned = scrambled(ia3(encoder(true, 1)));
                      CHECK(trainable_count(tuned) == 2 * 8 + 12);
                      const auto merged = tuned.merged().layers[0], base = encoder(true, 1).layers[0];
                      const Numbers l = tuned.changes[0].scale, hidden = tuned.changes[1].scale;
                      const Numbers x = randn<double>({3, 8}, Random(1));
                      const auto project = [&](const TransformerEncoderLayer<double>& of) {
                        return matmul(x, of.self_attn.in_proj_weight, {.transpose_b = true}) +
                               (*of.self_attn.in_proj_bias + 0.25);
                      };
                      CHECK(same_bits(slice(project(merged), 1, 0, 8), slice(project(base), 1, 0, 8)));
                      CHECK(gap(slice(matmul(x, merged.self_attn.in_proj_weight, {.transpose_b = true}), 1, 8, 24),
                                slice(matmul(x, base.self_attn.in_proj_weight, {.transpose_b = true}), 1, 8, 24) * l) <
                            1e-14);
                      const Numbers h = randn<double>({3, 12}, Random(2));
                      CHECK(gap(merged.linear2(h), base.linear2(h * hidden)) < 1e-14);
                      CHECK(same_bits(*merged.linear2.bias, *base.linear2.bias));
                    }},
                   {"of attention with biases, these are scaled with their keys and values",
                    [] {
                      TransformerEncoder<double> base = encoder(true, 1);
                      base.layers[0].self_attn.in_proj_bias = randn<double>({24}, Random(3));
                      const auto tuned = scrambled(ia3(base));
                      const Numbers bias = *tuned.merged().layers[0].self_attn.in_proj_bias,
                                    was = *base.layers[0].self_attn.in_proj_bias;
                      CHECK(same_bits(slice(bias, 0, 0, 8), slice(was, 0, 0, 8)));
                      CHECK(gap(slice(bias, 0, 8, 24), slice(was, 0, 8, 24) * tuned.changes[0].scale) < 1e-15);
                    }},
                   learns("a task is learned",
                          [] {
                            return share_right(TunerMethod{Ia3{kBoth}, many_steps()}.adapt(whole(), task()), task());
                          })},
}});

}  // namespace
