// Rows of the method table for few-shot methods that make tasks out of others.

#include <algorithm>
#include <cmath>

#include "catch.hpp"
#include "graft/fewshot/episode_learner.hpp"
#include "graft/fewshot/maml.hpp"
#include "graft/fewshot/meta_mix.hpp"
#include "graft/fewshot/protonet.hpp"
#include "heads.hpp"
#include "layers.hpp"

using namespace graft;

namespace {

using Numbers = Tensor<double>;

// ---- Mixed tasks ----------------------------------------------------------------------------------------------------
/// Largest distance of the sorted numbers' empirical distribution from `cdf`, times the root of their count: above 2.2
/// once in 8000 (Kolmogorov and Smirnov).
template <class F>
double kolmogorov(std::vector<double> numbers, F cdf) {
  std::sort(numbers.begin(), numbers.end());
  const double n = static_cast<double>(numbers.size());
  double most = 0;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const double at = cdf(numbers[i]);
    most = std::max({most, at - static_cast<double>(i) / n, static_cast<double>(i + 1) / n - at});
  }
  return most * std::sqrt(n);
}
std::vector<double> many(Index count, auto draw) {
  std::vector<double> numbers;
  for (Index i = 0; i < count; ++i) numbers.push_back(draw(Random(77).stream(static_cast<std::uint64_t>(i))));
  return numbers;
}
/// A task of 4 classes and items of two numbers, and another.
Episode<double> task_of(std::uint64_t seed, Index shots = 2, Index queries = 8) {
  return embedded_episode({.ways = 4, .shots = shots, .queries = queries, .width = 2, .apart = 4}, seed);
}
Numbers class_means(const LabelledSet<double>& set) { return prototypes(set.x, set.y, 4); }

const bool meta_mix_row = add_method_rows({{
    .name = "meta_mix",
    .header = "graft/fewshot/meta_mix.hpp",
    .paper =
        "Yao et al., Improving generalization in meta-learning via task augmentation, ICML 2021; Yao, Zhang, Finn, "
        "Meta-learning with fewer tasks through task interpolation, ICLR 2022",
    .functions = {"MetaMix", "mix_episode", "interpolate_tasks", "interpolate_shared_tasks", "SoftClassificationLoss",
                  "SoftSet", "MixedEpisode", "beta_draw", "beta_draws", "gamma_draw"},
    .use = "MetaMix<Maml<>>().train_loss(net, episode, context)",
    .run =
        [](const Random& random) {
          const EmbeddedSizes sizes{.ways = 10, .shots = 5, .queries = 100, .width = 64};
          const auto a = embedded_episode<float>(sizes, random.stream("a")),
                     b = embedded_episode<float>(sizes, random.stream("b"));
          const double lambda = beta_draw(2, 2, random.stream("lambda"));
          const auto mixed = mix_episode(interpolate_tasks(a, b, lambda, random.stream("tasks")), random);
          const auto shared = interpolate_shared_tasks(a, b, lambda, random.stream("tasks"));
          const auto flat = [](const Tensor<float>& x) { return reshape(x, {-1}); };
          return concat<float>({flat(mixed.support.x), flat(mixed.query.x), flat(mixed.query.y), flat(shared.query.x),
                                flat(shared.support.y), beta_draws({100}, 0.5, 2, random)},
                               0);
        },
    .loss =
        [](const Numbers& point) {
          Episode<double> a = task_of(1);
          const Episode<double> b = task_of(2);
          a.query.x = reshape(slice(point, 0, 0, 16), {8, 2});
          a.support.x = reshape(slice(point, 0, 16, 32), {8, 2});
          const MetaMix<HeadMethod<ProtoNetHead>> method;
          return method.train_loss(EpisodeLearner{Same(), ProtoNetHead()}, interpolate_tasks(a, b, 0.3, Random(4)),
                                   Context());
        },
    .loss_at = randn<double>({32}, Random(6)),
    .errors =
        {bad_use<ValueError>([] { mix_episode(task_of(1), Random(1), {.alpha = 0}); }, "alpha is 0"),
         bad_use<ValueError>(
             [] {
               mix_episode(with_queries(task_of(1), zeros<double>({2, 2})), Random(1));
             },
             "with labels"),
         bad_use<ShapeError>(
             [] {
               Episode<double> e = task_of(1);
               e.query.x = zeros<double>({8, 3});
               mix_episode(e, Random(1));
             },
             "[8, 3]"),
         bad_use<IndexError>(
             [] {
               Episode<double> e = task_of(1);
               e.ways = 3;
               mix_episode(e, Random(1));
             },
             "index 3"),
         bad_use<ValueError>([] { interpolate_tasks(task_of(1), task_of(2), 1.5, Random(1)); }, "lambda is 1.5"),
         bad_use<ValueError>([] { interpolate_tasks(task_of(1), embedded_episode(), 0.5, Random(1)); }, "4 and 3 ways"),
         bad_use<ValueError>([] { interpolate_tasks(task_of(1), task_of(2, 2, 1), 0.5, Random(1)); },
                             "of b has no item"),
         bad_use<ValueError>([] { interpolate_shared_tasks(task_of(1), task_of(2), NAN, Random(1)); }, "lambda is nan"),
         bad_use<ValueError>([] { interpolate_shared_tasks(task_of(1), task_of(2, 2, 0), 0.5, Random(1)); },
                             "no query items"),
         bad_use<ValueError>([] { beta_draw(-1, 2, Random(1)); }, "a is -1"),
         bad_use<ValueError>([] { beta_draws({3}, 2, INFINITY, Random(1)); }, "b is inf"),
         bad_use<ValueError>([] { gamma_draw(1e-300, Random(1)); }, "1e-250 or more")},
    .properties =
        {{"a mixed query is lambda x + (1 - lambda) x' with its label's parts, partners used evenly",
          [] {
            const Episode<double> e = task_of(1, 2, 20);
            const auto mixed = mix_episode(e, Random(5));
            CHECK(same_bits(mixed.support.x, e.support.x));
            CHECK((mixed.lambda > 0 && mixed.lambda < 1));
            std::vector<int> used(8);
            for (Index q = 0; q < 20; ++q) {
              int found = 0;
              for (Index s = 0; s < 8; ++s) {
                double off = 0;
                for (Index w = 0; w < 2; ++w)
                  off += std::abs(mixed.query.x.at({q, w}) - mixed.lambda * e.query.x.at({q, w}) -
                                  (1 - mixed.lambda) * e.support.x.at({s, w}));
                if (off > 1e-13) continue;
                ++found, ++used[s];
                for (Index k = 0; k < 4; ++k)
                  CHECK(mixed.query.y.at({q, k}) == Approx(mixed.lambda * (e.query.y.at({q}) == k) +
                                                           (1 - mixed.lambda) * (e.support.y.at({s}) == k)));
              }
              CHECK(found == 1);
            }
            CHECK(*std::min_element(used.begin(), used.end()) == 2);
            CHECK(*std::max_element(used.begin(), used.end()) == 3);
            CHECK_FALSE(same_bits(mix_episode(e, Random(6)).query.x, mixed.query.x));
          }},
         {"lambda is Beta(2, 2) once an episode",
          [] {
            const Episode<double> e = task_of(1, 1, 4);
            const auto drawn = many(2000, [&](const Random& random) { return mix_episode(e, random).lambda; });
            CHECK(kolmogorov(drawn, [](double x) { return x * x * (3 - 2 * x); }) < 2.2);
          }},
         {"a method's loss on mixed queries is the cross-entropy with the mixed labels",
          [] {
            const Episode<double> e = task_of(1, 2, 20);
            const EpisodeLearner learner{Same(), ProtoNetHead()};
            const MetaMix<HeadMethod<ProtoNetHead>> method;
            const auto mixed = mix_episode(e, Context().stream("meta mix"));
            const Numbers logits = learner(with_queries(e, mixed.query.x), Context());
            CHECK(method.train_loss(learner, e, Context()).item() ==
                  Approx(cross_entropy(logits, mixed.query.y).item()).epsilon(1e-12));
            CHECK(same_bits(method.adapt(learner, e.support).predict(e.query.x), learner(e, Context())));
            // The same of MAML, which takes the mixed episode as it is.
            const TanhLayer<double> net(2, 4, Random(3));
            const MamlOptions inner{.alpha = 0.2, .steps = 2};
            const auto soft = [](const TanhLayer<double>& phi, const auto& set) {
              return SoftClassificationLoss()(phi, set);
            };
            const MetaMix<Maml<>> maml{.method = {inner}};
            CHECK(maml.train_loss(net, e, Context()).item() ==
                  Approx(maml_loss(net, mixed, soft, inner).item()).epsilon(1e-12));
          }},
         {"two tasks: lambda 1 is the first, 0 the other with its classes renamed, and class means lie between",
          [] {
            const Episode<double> a = task_of(1), b = task_of(2);
            const auto mixed = [&](double lambda) { return interpolate_tasks(a, b, lambda, Random(8)); };
            CHECK(same_bits(mixed(1).support.x, a.support.x));
            CHECK(same_bits(mixed(1).query.x, a.query.x));
            CHECK(same_bits(mixed(0.3).query.y, a.query.y));
            const Numbers other = class_means(mixed(0).support), of_b = class_means(b.support);
            // Class k is pair(k) of b, the same in support and queries, every class once.
            const Tensor<std::int64_t> pair = argmin(squared_distances(other, of_b), 1);
            CHECK(gap(other, gather(of_b, pair)) < 1e-14);
            CHECK(gap(class_means(mixed(0).query), gather(class_means(b.query), pair)) < 1e-14);
            std::vector<bool> seen(4);
            for (const std::int64_t k : pair.span()) seen[k] = true;
            CHECK(std::count(seen.begin(), seen.end(), true) == 4);
            CHECK(gap(class_means(mixed(0.3).support), 0.3 * class_means(a.support) + 0.7 * other) < 1e-14);
            bool renamed = false;
            for (std::uint64_t seed = 0; seed < 4; ++seed)
              renamed |= !same_bits(interpolate_tasks(a, b, 0, Random(seed)).support.x, mixed(0).support.x);
            CHECK(renamed);
            // A smaller task serves again from its start.
            CHECK(interpolate_tasks(a, task_of(2, 1, 4), 0.3, Random(8)).support.x.size(0) == 8);
          }},
         {"tasks that share labels mix them with the items",
          [] {
            const Episode<double> a = task_of(1), b = task_of(2);
            const auto mixed = interpolate_shared_tasks(a, b, 0.25, Random(8));
            // Each item of b serves once: sums over all items are known.
            for (const auto& [set, own, other] :
                 {std::tuple(mixed.support, a.support, b.support), std::tuple(mixed.query, a.query, b.query)}) {
              CHECK(gap(sum(set.x, {0}), 0.25 * sum(own.x, {0}) + 0.75 * sum(other.x, {0})) < 1e-13);
              CHECK(gap(sum(set.y, {0}), full<double>({4}, 2)) < 1e-14);
              CHECK(gap(sum(set.y, {1}), ones<double>({8})) < 1e-15);
            }
            CHECK(same_bits(interpolate_shared_tasks(a, b, 1, Random(8)).support.y, one_hot<double>(a.support.y, 4)));
          }},
         {"gamma draws: moments and distributions",
          [] {
            const Index count = 20000;
            for (const double shape : {0.3, 0.5, 1.0, 2.0, 7.5}) {
              const auto drawn = many(count, [&](const Random& random) { return gamma_draw(shape, random); });
              double mean_of = 0, square_of = 0;
              for (const double x : drawn) mean_of += x / count, square_of += x * x / count;
              const double n = static_cast<double>(count);
              // Mean a, variance a; of x^2 mean a (a + 1), variance (4 a^3 + 10 a^2 + 6 a). Five standard errors.
              CHECK(std::abs(mean_of - shape) < 5 * std::sqrt(shape / n));
              CHECK(std::abs(square_of - shape * (shape + 1)) <
                    5 * std::sqrt((4 * shape * shape * shape + 10 * shape * shape + 6 * shape) / n));
              if (shape == 0.5) CHECK(kolmogorov(drawn, [](double x) { return std::erf(std::sqrt(x)); }) < 2.2);
              if (shape == 1) CHECK(kolmogorov(drawn, [](double x) { return 1 - std::exp(-x); }) < 2.2);
              if (shape == 2) CHECK(kolmogorov(drawn, [](double x) { return 1 - std::exp(-x) * (1 + x); }) < 2.2);
            }
          }},
         {"beta draws: distributions, moments and ends",
          [] {
            const auto drawn = [](double a, double b) {
              return many(20000, [&](const Random& random) { return beta_draw(a, b, random); });
            };
            CHECK(kolmogorov(drawn(2, 2), [](double x) { return x * x * (3 - 2 * x); }) < 2.2);
            CHECK(kolmogorov(drawn(1, 1), [](double x) { return x; }) < 2.2);
            CHECK(kolmogorov(drawn(0.5, 0.5), [](double x) { return std::asin(std::sqrt(x)) / std::asin(1.0); }) < 2.2);
            CHECK(kolmogorov(drawn(0.2, 1), [](double x) { return std::pow(x, 0.2); }) < 2.2);
            CHECK(kolmogorov(drawn(1, 5), [](double x) { return 1 - std::pow(1 - x, 5); }) < 2.2);
            // Mean a / (a + b) and variance a b / ((a + b)^2 (a + b + 1)).
            double first = 0, second = 0;
            for (const double x : drawn(3, 1.5)) first += x / 20000, second += x * x / 20000;
            CHECK(std::abs(first - 2.0 / 3) < 5 * std::sqrt(2.0 / 9 / 5.5 / 20000));
            CHECK(second - first * first == Approx(2.0 / 9 / 5.5).epsilon(0.05));
            // Tiny shapes give an end, b's as often as a / (a + b) says.
            double ones_of = 0;
            for (const double x : drawn(1e-200, 3e-200)) {
              CHECK((x == 0 || x == 1));
              ones_of += x / 20000;
            }
            CHECK(std::abs(ones_of - 0.25) < 5 * std::sqrt(0.25 * 0.75 / 20000));
            const Numbers all = beta_draws<double>({2, 3}, 2, 2, Random(4));
            CHECK(all.at({1, 2}) == beta_draw(2, 2, Random(4).stream(5)));
          }}},
}});

}  // namespace
