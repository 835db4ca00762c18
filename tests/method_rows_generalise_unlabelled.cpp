// Rows of the method table for generalise/: adaptation at test time, and training with items without labels.

#include <algorithm>
#include <cmath>
#include <limits>

#include "catch.hpp"
#include "graft/generalise/entropy_minimisation.hpp"
#include "graft/generalise/fix_match.hpp"
#include "graft/generalise/mean_teacher.hpp"
#include "graft/generalise/t3a.hpp"
#include "graft/generalise/tent.hpp"
#include "method_table.hpp"
#include "small_nets.hpp"

using namespace small_nets;

namespace {

// ---- TENT -----------------------------------------------------------------------------------------------------------
const bool tent_row = add_method_rows({{
    .name = "tent",
    .header = "graft/generalise/tent.hpp",
    .paper = "Wang et al., Tent: fully test-time adaptation by entropy minimization, ICLR 2021",
    .functions = {"Tent", "TentOptions"},
    .use = "Tent(net, {.alpha = 1e-3})(batch, context)",
    .run =
        [](const Random& random) {
          Tent<NormedNet<float>> tent(normed_net<float>(48, 96, 5, random), {.steps = 2});
          const Tensor<float> logits = tent(large_set(random).x, Context());
          return concat<float>({reshape(logits, {-1}), to_vector(tent.model)}, 0);
        },
    .errors = {bad_use<ValueError>([] { Tent<Net<double>>{small_net()}; }, "no batch norm"),
               bad_use<ValueError>([] { Tent<Net<double>>(small_net(), {.parts = {"norm"}}); },
                                   "no parameter is named 'norm'"),
               bad_use<ValueError>([] { Tent<NormedNet<double>>(small_normed_net(), {.steps = 0}); }, "steps is 0"),
               bad_use<ValueError>([] { Tent<NormedNet<double>>(small_normed_net(), {.alpha = 0}); }, "alpha is 0"),
               bad_use<ValueError>(
                   [] {
                     Tent<NormedNet<double>> tent(small_normed_net());
                     tent(zeros<double>({0, 3}), Context());
                   },
                   "no items"),
               bad_use<ValueError>(
                   [] {
                     Tent<NormedNet<double>> tent(small_normed_net());
                     tent(full<double>({2, 3}, NAN), Context());
                   },
                   "not finite")},
    .properties =
        {{"only scale and shift of the norm change, by Adam's first step alpha each; statistics stay",
          [] {
            const NormedNet<double> source = small_normed_net();
            Tent<NormedNet<double>> tent(source, {.alpha = 1e-3});
            const Tensor<double> x = 3 + randn<double>({20, 3}, Random(2));
            const Tensor<double> logits = tent(x, Context());
            CHECK(same_bits_of(tent.model.first, source.first));
            CHECK(same_bits_of(tent.model.last, source.last));
            CHECK(same_bits(tent.model.norm.running_mean.value, source.norm.running_mean.value));
            // The answers are those of the source, with the statistics of the batch.
            CHECK(gap(logits, source(x, Context(Phase::training, Random(1)))) < 1e-14);
            const auto entropy = [&](const NormedNet<double>& m) {
              return mean(softmax_entropy(m(x, Context(Phase::training, Random(1)))));
            };
            const NormedNet<double> slope = grad(entropy, source);
            for (const auto& [now, before, g] :
                 {std::tuple{*tent.model.norm.weight, *source.norm.weight, *slope.norm.weight},
                  std::tuple{*tent.model.norm.bias, *source.norm.bias, *slope.norm.bias}})
              for (Index i = 0; i < 4; ++i) {
                const double d = g.at({i});
                CHECK(now.at({i}) - before.at({i}) == Approx(-1e-3 * d / (std::abs(d) + 1e-8)).epsilon(1e-9));
              }
          }},
         {"the entropy falls from batch to batch, a copy starts anew, named parts adapt instead",
          [] {
            Tent<NormedNet<double>> tent(small_normed_net(), {.alpha = 0.05});
            const Tent<NormedNet<double>> before = tent;
            const Tensor<double> x = randn<double>({20, 3}, Random(2));
            std::vector<double> entropies;
            for (int batch = 0; batch < 20; ++batch)
              entropies.push_back(mean(softmax_entropy(tent(x, Context()))).item());
            CHECK(entropies.back() < entropies.front() - 0.1);
            Tent<NormedNet<double>> again = before;
            CHECK(mean(softmax_entropy(again(x, Context()))).item() == entropies.front());
            Tent<NormedNet<double>> other(small_normed_net(), {.parts = {"last.bias"}});
            other(x, Context());
            CHECK(same_bits_of(other.model.norm, small_normed_net().norm));
            CHECK_FALSE(same_bits_of(other.model.last, small_normed_net().last));
            NormedNet<double> without_averages = small_normed_net();
            without_averages.norm = BatchNorm<double>(4, {.mode = BatchNormMode::batch});
            CHECK(Tent<NormedNet<double>>(without_averages).options.parts ==
                  std::vector<std::string>{"norm.weight", "norm.bias"});
          }},
         {"entropy: ln C at equal logits, 0 when one is sure, the closed form of two classes and of its slope",
          [] {
            CHECK(softmax_entropy(zeros<double>({1, 5})).at({0}) == Approx(std::log(5)).epsilon(1e-14));
            const double inf = std::numeric_limits<double>::infinity();
            CHECK(softmax_entropy(tensor<double>({{0, -inf, -inf}})).at({0}) == 0);
            CHECK(softmax_entropy(tensor<double>({{1e6, 0, 3}})).at({0}) == 0);
            for (const double z : {-3.0, -0.4, 0.1, 2.0}) {
              const double p = 1 / (1 + std::exp(-z));
              const auto [value, slope] = value_and_grad(
                  [](const Tensor<double>& l) { return sum(softmax_entropy(l)); }, tensor<double>({{z, 0}}));
              CHECK(value.item() == Approx(-p * std::log(p) - (1 - p) * std::log(1 - p)).epsilon(1e-13));
              CHECK(slope.at({0, 0}) == Approx(-z * p * (1 - p)).epsilon(1e-13));
            }
          }}},
}});

// ---- T3A ------------------------------------------------------------------------------------------------------------
/// The definition, in loops: logits of the last of some batches, with M = `kept` templates a class.
std::vector<std::vector<double>> t3a_by_definition(const Linear<double>& head,
                                                   const std::vector<Tensor<double>>& batches, std::size_t kept) {
  const Index classes = head.weight.size(0), width = head.weight.size(1);
  struct Template {
    std::vector<double> z;
    double entropy;
  };
  std::vector<std::vector<Template>> of(classes);
  const auto add = [&](const Tensor<double>& rows) {
    for (Index i = 0; i < rows.size(0); ++i) {
      std::vector<double> z, logits;
      for (Index k = 0; k < width; ++k) z.push_back(rows.at({i, k}));
      double total = 0, entropy = 0;
      for (Index c = 0; c < classes; ++c) {
        double logit = head.bias->at({c});
        for (Index k = 0; k < width; ++k) logit += head.weight.at({c, k}) * z[k];
        logits.push_back(logit);
        total += std::exp(logit);
      }
      for (const double logit : logits) entropy -= std::exp(logit) / total * std::log(std::exp(logit) / total);
      const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
      of[best].push_back({z, entropy});
    }
  };
  add(head.weight);
  std::vector<std::vector<double>> answers;
  for (const Tensor<double>& batch : batches) {
    add(batch);
    answers.assign(batch.size(0), {});
    for (auto& own : of) {
      std::stable_sort(own.begin(), own.end(),
                       [](const Template& a, const Template& b) { return a.entropy < b.entropy; });
      if (kept > 0 && own.size() > kept) own.resize(kept);
      std::vector<double> centre(width, 0);
      const auto length = [](const std::vector<double>& v) {
        double squares = 0;
        for (const double x : v) squares += x * x;
        return std::sqrt(squares);
      };
      for (const Template& one : own)
        for (std::size_t k = 0; k < centre.size(); ++k) centre[k] += one.z[k] / length(one.z);
      const double size = own.empty() ? 1 : length(centre);
      for (Index i = 0; i < batch.size(0); ++i) {
        double logit = 0;
        for (Index k = 0; k < width; ++k) logit += batch.at({i, k}) * centre[k] / size;
        answers[i].push_back(logit);
      }
    }
  }
  return answers;
}

const bool t3a_row = add_method_rows({{
    .name = "t3a",
    .header = "graft/generalise/t3a.hpp",
    .paper = "Iwasawa, Matsuo, Test-time classifier adjustment module for model-agnostic domain generalization, "
             "NeurIPS 2021",
    .functions = {"T3a", "T3aOptions"},
    .use = "T3a<>(net.head)(net, batch)",
    .run =
        [](const Random& random) {
          const Net<float> model = large_net(random);
          T3a<float> t3a(model.head, {.kept = 5});
          return concat<float>({t3a(model, large_set(random).x), t3a(model, large_set(random.stream("later")).x)}, 0);
        },
    .errors = {bad_use<ValueError>([] { T3a<double>(small_net().head, {.kept = -1}); }, "kept is -1"),
               bad_use<ValueError>(
                   [] {
                     T3a<double> t3a;
                     t3a.answer(small_net().head, zeros<double>({2, 4}));
                   },
                   "before it was made"),
               bad_use<ShapeError>(
                   [] {
                     T3a<double> t3a(small_net().head);
                     t3a.answer(small_net().head, zeros<double>({2, 3}));
                   },
                   "[items, 4]"),
               bad_use<ValueError>(
                   [] {
                     T3a<double> t3a(small_net().head);
                     t3a.answer(small_net().head, full<double>({2, 4}, NAN));
                   },
                   "not finite")},
    .properties =
        {{"the definition in loops, over batches, for any number of templates",
          [] {
            const Linear<double> head(4, 3, Random(3));
            for (const Index kept : {0, 1, 3, 50}) {
              T3a<double> t3a(head, {.kept = kept});
              std::vector<Tensor<double>> batches;
              for (std::uint64_t b = 0; b < 3; ++b) {
                batches.push_back(randn<double>({7, 4}, Random(b)));
                const Tensor<double> logits = t3a.answer(head, batches.back());
                const auto expected = t3a_by_definition(head, batches, static_cast<std::size_t>(kept));
                for (Index i = 0; i < 7; ++i)
                  for (Index c = 0; c < 3; ++c) CHECK(logits.at({i, c}) == Approx(expected[i][c]).margin(1e-12));
              }
            }
          }},
         {"one template a class, and items that are less sure than the rows: the nearest row by its direction",
          [] {
            Linear<double> head(3, 3, Random(1));
            head.weight = 5.0 * eye<double>(3);
            head.bias = zeros<double>({3});
            T3a<double> t3a(head, {.kept = 1});
            const Tensor<double> z = 0.1 * randn<double>({10, 3}, Random(2));
            CHECK(gap(t3a.answer(head, z), z) < 1e-15);
          }},
         {"a class that no row is assigned to has the logit 0, without NaN",
          [] {
            Linear<double> head(2, 2, Random(1));
            head.weight = tensor<double>({{2, 0}, {1, 0}});  // both rows are of class 0
            head.bias = zeros<double>({2});
            T3a<double> t3a(head, {});
            const Tensor<double> logits = t3a.answer(head, tensor<double>({{1, 0}}));
            CHECK(logits.at({0, 0}) == Approx(1).epsilon(1e-15));
            CHECK(logits.at({0, 1}) == 0);
          }}},
}});

// ---- Items without labels -------------------------------------------------------------------------------------------
/// The loss and its gradient in one vector.
template <class T, class F>
Tensor<T> loss_and_gradient(F loss, const Net<T>& model) {
  const auto [value, gradient] = value_and_grad(loss, model);
  return concat<T>({reshape(value, {1}), to_vector(gradient)}, 0);
}
template <class Method, class X>
auto on_small_set(const Method& method, const X& others, Index step = 0) {
  return [=](const Net<double>& m) { return method.train_loss(m, small_set(), others, step, Context()); };
}
Tensor<double> supervised() {
  return loss_and_gradient(
      [](const Net<double>& m) { return cross_entropy(m(small_set().x, Context()), small_set().y); }, small_net());
}
Tensor<double> other_items() { return 2.0 * randn<double>({5, 3}, Random(8)); }
UnlabelledViews<double> small_views() {
  return {other_items(), other_items() + 0.1 * randn<double>({5, 3}, Random(9))};
}
UnlabelledViews<float> large_views(const Random& random) {
  const Tensor<float> x = randn<float>({100, 48}, random.stream("items"));
  return {x, x + 0.1 * randn<float>({100, 48}, random.stream("noise"))};
}
/// Bad uses of a method, called as use(labelled, others).
template <class X, class Use>
std::vector<BadUse> bad_items(const X& others, const X& none, const X& of_two, Use use) {
  return {bad_use<ShapeError>(
              [=] {
                use(LabelledSet<double>{small_set().x, zeros<std::int64_t>({2})}, others);
              },
              "[2]"),
          bad_use<ValueError>(
              [=] {
                use(LabelledSet<double>{zeros<double>({0, 3}), zeros<std::int64_t>({0})}, others);
              },
              "no labelled items"),
          bad_use<ValueError>([=] { use(small_set(), none); }, "no items without labels"),
          bad_use<ShapeError>([=] { use(small_set(), of_two); }, "[5, 2]")};
}

const bool entropy_row = add_method_rows({{
    .name = "entropy_minimisation",
    .header = "graft/generalise/entropy_minimisation.hpp",
    .paper = "Grandvalet, Bengio, Semi-supervised learning by entropy minimization, NIPS 2004",
    .functions = {"EntropyMinimisation", "EntropyMinimisationOptions", "softmax_entropy"},
    .use = "EntropyMinimisation().train_loss(net, labelled, unlabelled, step, context)",
    .run =
        [](const Random& random) {
          return loss_and_gradient(
              [&](const Net<float>& m) {
                return EntropyMinimisation().train_loss(m, large_set(random), large_views(random).weak, 0, Context());
              },
              large_net(random));
        },
    .loss =
        [](const Tensor<double>& x) {
          return on_small_set(EntropyMinimisation{{.weight = 2}}, other_items())(from_vector(x, small_net()));
        },
    .loss_at = to_vector(small_net()),
    .errors = joined(
        {bad_use<ValueError>([] { on_small_set(EntropyMinimisation{{.weight = -1}}, other_items())(small_net()); },
                             "weight is -1"),
         bad_use<ShapeError>([] { softmax_entropy(zeros<double>({3})); }, "[3]")},
        bad_items(other_items(), zeros<double>({0, 3}), zeros<double>({5, 2}),
                  [](const LabelledSet<double>& set, const Tensor<double>& x) {
                    EntropyMinimisation().train_loss(small_net(), set, x, 0, Context());
                  })),
    .properties = {{"weight 0 is the labelled loss, bit for bit",
                    [] {
                      const EntropyMinimisation off{{.weight = 0}};
                      CHECK(same_bits(loss_and_gradient(on_small_set(off, other_items()), small_net()), supervised()));
                    }},
                   {"cross-entropy plus lambda times the mean entropy, in loops",
                    [] {
                      const Tensor<double> p = softmax(small_net()(other_items(), Context()));
                      double entropy = 0;
                      for (Index i = 0; i < 5; ++i)
                        for (Index c = 0; c < 3; ++c) entropy -= p.at({i, c}) * std::log(p.at({i, c})) / 5;
                      CHECK(on_small_set(EntropyMinimisation{{.weight = 0.7}}, other_items())(small_net()).item() ==
                            Approx(loss_on(small_net(), small_set()) + 0.7 * entropy).epsilon(1e-14));
                    }}},
}});

const bool mean_teacher_row = add_method_rows({{
    .name = "mean_teacher",
    .header = "graft/generalise/mean_teacher.hpp",
    .paper = "Tarvainen, Valpola, Mean teachers are better role models, NeurIPS 2017",
    .functions = {"MeanTeacher", "MeanTeacherOptions", "consistency_weight"},
    .use = "MeanTeacher<Net>(net).train_loss(net, labelled, views, step, context)",
    .run =
        [](const Random& random) {
          const Net<float> student = large_net(random.stream("student"));
          MeanTeacher<Net<float>> method(large_net(random), {.ramp = 0});
          const Tensor<float> result = loss_and_gradient(
              [&](const Net<float>& m) {
                return method.train_loss(m, large_set(random), large_views(random), 0, Context());
              },
              student);
          method.update(student);
          return concat<float>({result, to_vector(method.teacher)}, 0);
        },
    .loss =
        [](const Tensor<double>& x) {
          const MeanTeacher<Net<double>> method(small_net(5), {.ramp = 0});
          return on_small_set(method, small_views())(from_vector(x, small_net()));
        },
    .loss_at = to_vector(small_net()),
    .errors = joined({bad_use<ValueError>([] { MeanTeacher<Net<double>>(small_net(), {.weight = -1}); }, "is -1"),
                      bad_use<ValueError>([] { MeanTeacher<Net<double>>(small_net(), {.ramp = -1}); }, "ramp is -1"),
                      bad_use<ValueError>([] { MeanTeacher<Net<double>>(small_net(), {.decay = 1}); }, "decay is 1"),
                      bad_use<ShapeError>(
                          [] { MeanTeacher<Net<double>>(small_net()).update(net<double>(3, 5, 3, Random(1))); },
                          "shapes of body.map.weight differ"),
                      bad_use<ShapeError>(
                          [] {
                            const UnlabelledViews<double> views{other_items(), zeros<double>({4, 3})};
                            on_small_set(MeanTeacher<Net<double>>(small_net()), views)(small_net());
                          },
                          "[4, 3]")},
                     bad_items(small_views(), UnlabelledViews<double>{zeros<double>({0, 3}), zeros<double>({0, 3})},
                               UnlabelledViews<double>{zeros<double>({5, 2}), zeros<double>({5, 2})},
                               [](const LabelledSet<double>& set, const UnlabelledViews<double>& views) {
                                 MeanTeacher<Net<double>>(small_net()).train_loss(small_net(), set, views, 0,
                                                                                  Context());
                               })),
    .properties =
        {{"weight 0 is the labelled loss, bit for bit; so it is of a teacher that agrees, but for rounding",
          [] {
            const MeanTeacher<Net<double>> off(small_net(5), {.weight = 0, .ramp = 0}),
                same(small_net(), {.weight = 5, .ramp = 0});
            CHECK(same_bits(loss_and_gradient(on_small_set(off, small_views()), small_net()), supervised()));
            const UnlabelledViews<double> equal{other_items(), other_items()};
            CHECK(gap(loss_and_gradient(on_small_set(same, equal), small_net()), supervised()) < 1e-14);
          }},
         {"cross-entropy plus w times the mean square of differing probabilities, in loops",
          [] {
            const MeanTeacher<Net<double>> method(small_net(5), {.weight = 3, .ramp = 0});
            const Tensor<double> p = softmax(small_net()(small_views().strong, Context())),
                                 q = softmax(small_net(5)(small_views().weak, Context()));
            double square = 0;
            for (Index i = 0; i < 5; ++i)
              for (Index c = 0; c < 3; ++c) square += std::pow(p.at({i, c}) - q.at({i, c}), 2) / 15;
            CHECK(on_small_set(method, small_views())(small_net()).item() ==
                  Approx(loss_on(small_net(), small_set()) + 3 * square).epsilon(1e-14));
          }},
         {"the teacher is the plain mean of all weights at first, then the moving average",
          [] {
            MeanTeacher<Tensor<double>> method(Tensor<double>(7), {.decay = 0.75});
            const double student[] = {1, 4, -2, 3, 10};
            double expected = 7;
            for (int k = 0; k < 5; ++k) {
              method.update(Tensor<double>(student[k]));
              if (k < 3)
                expected += (student[k] - expected) / (k + 2);  // the mean of k + 2 numbers
              else
                expected = 0.75 * expected + 0.25 * student[k];
              CHECK(method.teacher.item() == Approx(expected).epsilon(1e-14));
            }
            MeanTeacher<Net<double>> same(small_net());
            for (int k = 0; k < 3; ++k) same.update(small_net());
            CHECK(same_bits_of(same.teacher, small_net()));
          }},
         {"the weight rises from e^-5 of itself to itself",
          [] {
            const MeanTeacherOptions options{.weight = 10, .ramp = 100};
            CHECK(consistency_weight(options, 0) == Approx(10 * std::exp(-5)).epsilon(1e-14));
            CHECK(consistency_weight(options, 50) == Approx(10 * std::exp(-1.25)).epsilon(1e-14));
            CHECK(consistency_weight(options, 100) == 10);
            CHECK(consistency_weight({.weight = 10, .ramp = 0}, 0) == 10);
          }}},
}});

const bool fix_match_row = add_method_rows({{
    .name = "fix_match",
    .header = "graft/generalise/fix_match.hpp",
    .paper = "Sohn et al., FixMatch: simplifying semi-supervised learning with consistency and confidence, NeurIPS "
             "2020",
    .functions = {"FixMatch", "FixMatchOptions"},
    .use = "FixMatch().train_loss(net, labelled, views, step, context)",
    .run =
        [](const Random& random) {
          return loss_and_gradient(
              [&](const Net<float>& m) {
                return FixMatch{{.threshold = 0.25}}.train_loss(m, large_set(random), large_views(random), 0,
                                                                Context());
              },
              large_net(random));
        },
    .loss =
        [](const Tensor<double>& x) {
          return on_small_set(FixMatch{{.threshold = 0}}, small_views())(from_vector(x, small_net()));
        },
    .loss_at = to_vector(small_net()),
    .errors = joined({bad_use<ValueError>([] { on_small_set(FixMatch{{.weight = -1}}, small_views())(small_net()); },
                                          "weight is -1"),
                      bad_use<ValueError>([] { on_small_set(FixMatch{{1, NAN}}, small_views())(small_net()); },
                                          "threshold is nan"),
                      bad_use<ShapeError>(
                          [] {
                            const UnlabelledViews<double> views{other_items(), zeros<double>({4, 3})};
                            on_small_set(FixMatch(), views)(small_net());
                          },
                          "[4, 3]")},
                     bad_items(small_views(), UnlabelledViews<double>{zeros<double>({0, 3}), zeros<double>({0, 3})},
                               UnlabelledViews<double>{zeros<double>({5, 2}), zeros<double>({5, 2})},
                               [](const LabelledSet<double>& set, const UnlabelledViews<double>& views) {
                                 FixMatch().train_loss(small_net(), set, views, 0, Context());
                               })),
    .properties =
        {{"weight 0, and a threshold that nothing reaches: the labelled loss",
          [] {
            CHECK(same_bits(loss_and_gradient(on_small_set(FixMatch{{.weight = 0}}, small_views()), small_net()),
                            supervised()));
            CHECK(gap(loss_and_gradient(on_small_set(FixMatch{{.threshold = 1.01}}, small_views()), small_net()),
                      supervised()) < 1e-15);
          }},
         {"the definition in loops: only sure items count, over all of them, and teach nothing to the weak view",
          [] {
            const Net<double> model = small_net();
            const Tensor<double> p = softmax(model(small_views().weak, Context()));
            std::vector<double> highest;
            for (Index i = 0; i < 5; ++i)
              highest.push_back(std::max({p.at({i, 0}), p.at({i, 1}), p.at({i, 2})}));
            std::vector<double> sorted = highest;
            std::sort(sorted.begin(), sorted.end());
            const double threshold = 0.5 * (sorted[1] + sorted[2]);
            const auto by_definition = [&](const Net<double>& m) {
              const Tensor<double> logs = log_softmax(m(small_views().strong, Context()));
              Tensor<double> total = cross_entropy(m(small_set().x, Context()), small_set().y);
              for (Index i = 0; i < 5; ++i) {
                if (highest[i] < threshold) continue;
                Index label = 0;
                for (Index c = 1; c < 3; ++c)
                  if (p.at({i, c}) > p.at({i, label})) label = c;
                total = total - 2.0 / 5 * sum(slice(slice(logs, 0, i, i + 1), 1, label, label + 1));
              }
              return total;
            };
            const FixMatch method{{.weight = 2, .threshold = threshold}};
            CHECK(gap(loss_and_gradient(on_small_set(method, small_views()), model),
                      loss_and_gradient(by_definition, model)) < 1e-14);
          }}},
}});

}  // namespace
