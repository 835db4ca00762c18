// Rows of the method table for transductive few-shot heads, which answer the queries of a task together.

#include "graft/fewshot/bd_cspn.hpp"
#include "graft/fewshot/laplacian_shot.hpp"
#include "graft/fewshot/protonet.hpp"
#include "graft/fewshot/pt_map.hpp"
#include "graft/fewshot/tim.hpp"
#include "graft/fewshot/tpn.hpp"
#include "heads_unlabelled.hpp"

using namespace graft;

namespace {

Tensor<double> protonet(const Episode<double>& e) { return ProtoNetHead()(e, Context()); }
Episode<double> episode() { return embedded_episode({.queries = 7}); }
Episode<double> unlabelled_episode() { return with_unlabelled(episode(), 6); }
/// For `.run`: an episode in whose answer several threads share.
Episode<float> large(const Random& random) {
  return embedded_episode<float>({.ways = 10, .shots = 3, .queries = 150, .width = 64, .apart = 0.5}, random);
}
Rows units_of(Rows x) {
  for (auto& row : x) {
    double norm = 0;
    for (double v : row) norm += v * v;
    for (double& v : row) v /= std::sqrt(norm);
  }
  return x;
}
std::vector<double> mean_of(const Rows& x) { return means_of(x, zeros<std::int64_t>({Index(x.size())}), 1)[0]; }
/// What every transductive head is held to. Unlabelled items are treated as queries that nobody asks for.
template <class Head>
void check_head(const Head& head, double tolerance = 1e-11) {
  check_permutations(head, episode(), tolerance);
  check_permutations(head, unlabelled_episode(), tolerance);
  check_unlabelled(head, unlabelled_episode(), tolerance);
  check_transductive(head, episode());
  check_unusual(head);
  const Episode<double> e = unlabelled_episode();
  Episode<double> asked = with_queries(e, concat<double>({e.unlabelled, e.query.x}));
  asked.unlabelled = {};
  CHECK(gap(slice(head(asked, Context()), 0, 6, 13), head(e, Context())) <= tolerance);
}
template <class Head>
std::vector<BadUse> with_bad_options(const std::vector<std::pair<Head, std::string>>& heads,
                                     Site site = Site::current()) {
  std::vector<BadUse> errors = head_errors(Head(), episode());
  for (const auto& [head, text] : heads) {
    const Head bad = head;
    errors.push_back(bad_use<ValueError>([=] { bad(episode(), Context(), site); }, text));
  }
  return errors;
}

// ---- Transductive propagation ---------------------------------------------------------------------------------------
using Propagation = LabelPropagationHead<double>;

/// S by loops: `neighbours` nearest, itself among them, of either of two points.
Rows graph_by_hand(const Rows& x, std::size_t neighbours) {
  const std::size_t n = x.size();
  Rows w(n, std::vector<double>(n));
  for (std::size_t i = 0; i < n; ++i) {
    std::vector<std::pair<double, std::size_t>> order;
    for (std::size_t j = 0; j < n; ++j) order.emplace_back(j == i ? -1 : squared_distance(x[i], x[j]), j);
    std::sort(order.begin(), order.end());
    for (std::size_t rank = 0; rank < std::min(neighbours, n); ++rank) {
      const std::size_t j = order[rank].second;
      w[i][j] = w[j][i] = std::exp(-squared_distance(x[i], x[j]) / 2 / static_cast<double>(x[i].size()));
    }
  }
  std::vector<double> degrees(n);
  for (std::size_t i = 0; i < n; ++i)
    for (double v : w[i]) degrees[i] += v;
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < n; ++j) w[i][j] /= std::sqrt(degrees[i] * degrees[j]);
  return w;
}
Tensor<double> points_of(const Episode<double>& e) { return concat<double>({e.support.x, e.query.x}); }
/// Y: the support's labels, rows of zeros for the queries.
Tensor<double> start_of(const Episode<double>& e) {
  return concat<double>({one_hot<double>(e.support.y, e.ways), zeros<double>({e.query.x.size(0), e.ways})}, 0);
}
Propagation learned() { return Propagation(4, Random(10), {.neighbours = 30, .alpha = 0.5, .hidden = 3}); }

const bool tpn_row = add_method_rows({{
    .name = "tpn",
    .header = "graft/fewshot/tpn.hpp",
    .paper =
        "Liu et al., Learning to propagate labels: transductive propagation network for few-shot learning, ICLR 2019",
    .functions = {"LabelPropagationHead", "propagation_graph"},
    .use = "LabelPropagationHead<>(width, random)(episode, context)",
    .run =
        [](const Random& random) {
          return trained_head(LabelPropagationHead<float>(64, random.stream("head")), large(random));
        },
    // All points are neighbours: the choice of fewer has kinks.
    .loss = head_loss(learned(), episode()),
    .loss_at = head_point(learned(), episode()),
    .errors =
        [] {
          std::vector<BadUse> errors = head_errors(Propagation(), episode());
          errors.push_back(bad_use<ValueError>([] { Propagation({.alpha = 1}); }, "alpha is 1"));
          errors.push_back(bad_use<ValueError>([] { Propagation({.length_scale = 0}); }, "length_scale is 0"));
          errors.push_back(bad_use<ValueError>([] { Propagation({.neighbours = 0}); }, "neighbours is 0"));
          errors.push_back(bad_use<ValueError>([] { Propagation(4, Random(1), {.hidden = 0}); }, "hidden is 0"));
          errors.push_back(bad_use<ValueError>([] { Propagation()(shifted(episode(), INFINITY), Context()); }, "inf"));
          errors.push_back(bad_use<ShapeError>([] { propagation_graph(zeros({3}), 2); }, "[3]"));
          errors.push_back(bad_use<ValueError>([] { propagation_graph(zeros({3, 2}), 0); }, "neighbours is 0"));
          return errors;
        }(),
    .properties =
        {{"orders and names of classes change nothing, other queries do",
          [] {
            check_head(Propagation());
            check_head(Propagation({.neighbours = 4}));
            check_head(learned());
          }},
         {"the graph as by loops, for fewer neighbours than points and for more",
          [] {
            const Tensor<double> x = points_of(episode());
            for (const Index k : {1, 3, 20})
              CHECK(gap(propagation_graph(x, k), graph_by_hand(rows_of(x), std::size_t(k))) < 1e-12);
            CHECK(same_bits(propagation_graph(x, 1), eye<double>(13)));
          }},
         {"the sum of alpha^n S^n Y",
          [] {
            const Episode<double> e = episode();
            const Tensor<double> s = propagation_graph(points_of(e), 5);
            for (const double alpha : {0.3, 0.99}) {
              Tensor<double> term = start_of(e), total = term;
              for (int n = 0; n < 4000; ++n) {
                term = alpha * matmul(s, term);
                total = total + term;
              }
              CHECK(gap(Propagation({.neighbours = 5, .alpha = alpha}).propagate(e), total) < 1e-9);
            }
          }},
         {"alpha 0 leaves Y",
          [] {
            const Episode<double> e = episode();
            CHECK(gap(Propagation({.alpha = 0}).propagate(e), start_of(e)) == 0);
          }},
         {"components that are not connected never exchange labels",
          [] {
            // Two clusters of three points, a class each, as many neighbours as fit into a cluster.
            const Tensor<double> near = randn<double>({6, 4}, Random(3));
            const Tensor<double> where_to =
                generate({6, 4}, [](Index i, Index) { return i == 0 || i >= 4 ? 0.0 : 50.0; });
            const Tensor<double> x = near + where_to;  // items 0 4 5 and items 1 2 3
            const Episode<double> e{{slice(x, 0, 0, 2), tensor<std::int64_t>({0, 1})}, {slice(x, 0, 2, 6), {}}, 2};
            const Tensor<double> f = Propagation({.neighbours = 3}).propagate(e);
            for (const Index i : {0, 4, 5}) {
              CHECK(f.at({i, 0}) > 0);
              CHECK(f.at({i, 1}) == 0);
            }
            for (const Index i : {1, 2, 3}) {
              CHECK(f.at({i, 0}) == 0);
              CHECK(f.at({i, 1}) > 0);
            }
          }},
         {"more neighbours than points are all points",
          [] {
            CHECK(same_bits(Propagation({.neighbours = 1000})(episode(), Context()),
                            Propagation({.neighbours = 13})(episode(), Context())));
          }},
         {"a part of 1e6 that all embeddings share changes nothing; lengths count by the length scale",
          [] {
            const Episode<double> e = on_a_grid(episode());
            const Tensor<double> before = Propagation()(e, Context());
            CHECK(gap(Propagation()(shifted(e, 1e6), Context()), before) < 1e-9);
            const auto doubled = with_embeddings(e, [](const Tensor<double>& x) { return 2.0 * x; });
            CHECK(gap(Propagation({.length_scale = 2})(doubled, Context()), before) < 1e-12);
          }},
         {"learned length scales: of a perceptron of zeros, softplus(0) for all",
          [] {
            Propagation head = learned();
            head.linear2->weight = zeros<double>({1, 3});
            head.linear2->bias = zeros<double>({1});
            const LabelPropagationHeadOptions same{
                .neighbours = 30, .alpha = 0.5, .length_scale = std::log(2.0) + 1e-6};
            CHECK(gap(head(episode(), Context()), Propagation(same)(episode(), Context())) < 1e-12);
          }},
         {"the loss is that of support and queries",
          [] {
            const Episode<double> e = episode();
            const auto labels = concat<std::int64_t>({e.support.y, e.query.y});
            CHECK(Propagation().loss(e, Context()).item() ==
                  Approx(cross_entropy(Propagation().propagate(e), labels).item()).epsilon(1e-14));
          }}},
}});

// ---- BD-CSPN --------------------------------------------------------------------------------------------------------
Rows bd_cspn_by_hand(const Episode<double>& e, double temperature) {
  const Rows support = rows_of(e.support.x);
  Rows queries = rows_of(e.query.x);
  const std::vector<double> to = mean_of(support), from = mean_of(queries);
  for (auto& q : queries)
    for (std::size_t w = 0; w < q.size(); ++w) q[w] += to[w] - from[w];
  const Rows classes = means_of(support, e.support.y, e.ways);
  Rows sums(classes.size(), std::vector<double>(to.size()));
  std::vector<double> totals(classes.size());
  const auto add = [&](std::size_t k, const std::vector<double>& x) {
    const double weight = std::exp(temperature * cosine(x, classes[k]));
    totals[k] += weight;
    for (std::size_t w = 0; w < x.size(); ++w) sums[k][w] += weight * x[w];
  };
  for (std::size_t i = 0; i < support.size(); ++i) add(std::size_t(e.support.y.span()[i]), support[i]);
  for (const auto& q : queries) {
    std::size_t best = 0;
    for (std::size_t k = 1; k < classes.size(); ++k)
      if (cosine(q, classes[k]) > cosine(q, classes[best])) best = k;
    add(best, q);
  }
  Rows logits;
  for (const auto& q : queries) {
    logits.emplace_back();
    for (std::size_t k = 0; k < sums.size(); ++k) {
      for (double& v : sums[k]) v /= totals[k];
      totals[k] = 1;
      logits.back().push_back(temperature * cosine(q, sums[k]));
    }
  }
  return logits;
}

const bool bd_cspn_row = add_method_rows({{
    .name = "bd_cspn",
    .header = "graft/fewshot/bd_cspn.hpp",
    .paper = "Liu, Song, Qin, Prototype rectification for few-shot learning, ECCV 2020",
    .functions = {"BdCspn"},
    .use = "BdCspn()(episode, context)",
    .run = [](const Random& random) { return trained_head(BdCspn(), large(random)); },
    .loss = head_loss(BdCspn{{.temperature = 3}}, episode()),
    .loss_at = head_point(BdCspn(), episode()),
    .errors = with_bad_options<BdCspn>(
        {{BdCspn{{.temperature = 0}}, "temperature is 0"}, {BdCspn{{.temperature = NAN}}, "temperature is nan"}}),
    .properties = {{"orders and names of classes change nothing, other queries do", [] { check_head(BdCspn()); }},
                   {"as by loops",
                    [] {
                      for (const double temperature : {10.0, 0.1})
                        CHECK(gap(BdCspn{{.temperature = temperature}}(episode(), Context()),
                                  bd_cspn_by_hand(episode(), temperature)) < 1e-12);
                    }},
                   {"a part that all queries share is the cross-class bias: it changes nothing, be it 1e6",
                    [] {
                      const Episode<double> e = on_a_grid(episode());
                      CHECK(gap(BdCspn()(with_queries(e, e.query.x + 1e6), Context()), BdCspn()(e, Context())) < 1e-8);
                    }},
                   {"a single query is the mean of the support, whatever it is",
                    [] {
                      const Episode<double> e = episode();
                      const auto alone = [&](Index q) {
                        return BdCspn()(with_queries(e, slice(e.query.x, 0, q, q + 1)), Context());
                      };
                      CHECK(gap(alone(0), alone(1)) < 1e-13);
                    }},
                   {"lengths do not count, and queries that are the support items leave its prototypes",
                    [] {
                      const Episode<double> e = episode();
                      const auto longer = with_embeddings(e, [](const Tensor<double>& x) { return 7.0 * x; });
                      CHECK(gap(BdCspn()(longer, Context()), BdCspn()(e, Context())) < 1e-12);
                      // One shot: every class has its own item twice, if it is nearest to itself.
                      const Episode<double> one = embedded_episode({.shots = 1});
                      const Tensor<double> x = unit_rows(one.support.x);
                      CHECK(gap(BdCspn()(with_queries(one, one.support.x), Context()),
                                10.0 * matmul(x, x, {.transpose_b = true})) < 1e-12);
                    }}},
}});

// ---- Laplacian ------------------------------------------------------------------------------------------------------
/// W with `shift` on the diagonal, by loops.
Rows affinities(const Rows& x, std::size_t neighbours, double shift) {
  const std::size_t n = x.size();
  Rows w(n, std::vector<double>(n));
  for (std::size_t i = 0; i < n; ++i) {
    std::vector<std::pair<double, std::size_t>> order;
    for (std::size_t j = 0; j < n; ++j)
      if (j != i) order.emplace_back(squared_distance(x[i], x[j]), j);
    std::sort(order.begin(), order.end());
    for (std::size_t rank = 0; rank < std::min(neighbours, order.size()); ++rank) {
      w[i][order[rank].second] += 0.5;
      w[order[rank].second][i] += 0.5;
    }
    w[i][i] += shift;
  }
  return w;
}
const LaplacianShot smooth{{.lambda = 0.7, .neighbours = 20, .steps = 3}};

const bool laplacian_shot_row = add_method_rows({{
    .name = "laplacian_shot",
    .header = "graft/fewshot/laplacian_shot.hpp",
    .paper = "Ziko, Dolz, Granger, Ben Ayed, Laplacian regularized few-shot learning, ICML 2020",
    .functions = {"LaplacianShot"},
    .use = "LaplacianShot()(episode, context)",
    .run = [](const Random& random) { return trained_head(LaplacianShot(), large(random)); },
    .loss = head_loss(smooth, episode()),
    .loss_at = head_point(smooth, episode()),
    .errors = with_bad_options<LaplacianShot>({{LaplacianShot{{.lambda = -1}}, "lambda is -1"},
                                               {LaplacianShot{{.neighbours = -1}}, "neighbours is -1"},
                                               {LaplacianShot{{.steps = -1}}, "steps is -1"},
                                               {LaplacianShot{{.shift = NAN}}, "shift is nan"}}),
    .properties = {{"orders and names of classes change nothing, other queries do",
                    [] {
                      check_head(LaplacianShot());
                      check_head(LaplacianShot{{.lambda = 0.5, .neighbours = 2, .unit = false}});
                    }},
                   {"lambda 0, no neighbours or no steps are a prototypical network, bit for bit",
                    [] {
                      for (const LaplacianShotOptions& o : {LaplacianShotOptions{.lambda = 0, .unit = false},
                                                            LaplacianShotOptions{.neighbours = 0, .unit = false},
                                                            LaplacianShotOptions{.steps = 0, .unit = false}})
                        CHECK(same_bits(LaplacianShot{o}(episode(), Context()), protonet(episode())));
                      const auto units =
                          with_embeddings(episode(), [](const Tensor<double>& x) { return unit_rows(x); });
                      CHECK(same_bits(LaplacianShot{{.lambda = 0}}(episode(), Context()), protonet(units)));
                    }},
                   {"updates as by loops",
                    [] {
                      const Episode<double> e = episode();
                      const Rows x = units_of(rows_of(e.query.x)),
                                 classes = means_of(units_of(rows_of(e.support.x)), e.support.y, 3);
                      const Rows w = affinities(x, 2, 0);
                      Rows logits, y;
                      for (const auto& item : x) {
                        logits.emplace_back();
                        for (const auto& c : classes) logits.back().push_back(-squared_distance(item, c));
                      }
                      const Rows unary = logits;
                      for (int step = 0; step < 4; ++step) {
                        y = logits;
                        for (auto& row : y) row = softmax_of(row);
                        for (std::size_t i = 0; i < x.size(); ++i)
                          for (std::size_t k = 0; k < classes.size(); ++k) {
                            logits[i][k] = unary[i][k];
                            for (std::size_t j = 0; j < x.size(); ++j) logits[i][k] += 0.8 * w[i][j] * y[j][k];
                          }
                      }
                      CHECK(gap(LaplacianShot{{.lambda = 0.8, .neighbours = 2, .steps = 4}}(e, Context()), logits) <
                            1e-12);
                    }},
                   {"the energy never rises where the affinities are positive semi-definite",
                    [] {
                      const Episode<double> e = embedded_episode({.queries = 30, .apart = 0.5});
                      const Rows x = rows_of(e.query.x), w = affinities(x, 3, 8), a = rows_of(-protonet(e));
                      double largest_row = 0;
                      for (std::size_t i = 0; i < x.size(); ++i) {
                        double row = 0;
                        for (std::size_t j = 0; j < x.size(); ++j) row += i == j ? 0 : w[i][j];
                        largest_row = std::max(largest_row, row);
                      }
                      REQUIRE(largest_row <= 8);  // diagonally dominant
                      double before = INFINITY;
                      int fallen = 0;
                      for (int steps = 0; steps <= 20; ++steps) {
                        const LaplacianShot head{
                            {.lambda = 1.5, .neighbours = 3, .steps = steps, .unit = false, .shift = 8}};
                        const Rows y = rows_of(softmax(head(e, Context()), 1));
                        double energy = 0;
                        for (std::size_t i = 0; i < y.size(); ++i)
                          for (std::size_t k = 0; k < 3; ++k) {
                            if (y[i][k] > 0) energy += y[i][k] * (std::log(y[i][k]) + a[i][k]);
                            for (std::size_t j = 0; j < y.size(); ++j) energy -= 0.75 * w[i][j] * y[i][k] * y[j][k];
                          }
                        CHECK(energy <= before + 1e-9);
                        fallen += energy < before - 1e-6;
                        before = energy;
                      }
                      CHECK(fallen >= 3);
                    }},
                   {"neighbours of one class pull a query over to it",
                    [] {
                      // The query at 1.1 is a little nearer to class 1 at 2 than to class 0 at 0; its neighbours belong
                      // to class 0.
                      const Tensor<double> x = tensor<double>({{1.1}, {0.9}, {0.85}, {0.8}});
                      const Episode<double> e{{tensor<double>({{0}, {2}}), tensor<std::int64_t>({0, 1})}, {x, {}}, 2};
                      const auto answer = [&](double lambda) {
                        return argmax(LaplacianShot{{.lambda = lambda, .unit = false}}(e, Context()), 1).at({0});
                      };
                      CHECK(answer(0) == 1);
                      CHECK(answer(1) == 0);
                    }},
                   {"a part of 1e6 that all embeddings share changes nothing",
                    [] {
                      const Episode<double> e = on_a_grid(episode());
                      const LaplacianShot head{{.unit = false}};
                      CHECK(gap(head(shifted(e, 1e6), Context()), head(e, Context())) < 1e-7);
                    }}},
}});

// ---- TIM ------------------------------------------------------------------------------------------------------------
const Tim few_updates{{.steps = 3, .temperature = 4}};
const Tim few_gradients{{.solver = TimSolver::gradient, .steps = 2, .temperature = 4, .alpha = 0.1}};

const bool tim_row = add_method_rows({{
    .name = "tim",
    .header = "graft/fewshot/tim.hpp",
    .paper = "Boudiaf et al., Transductive information maximization for few-shot learning, NeurIPS 2020",
    .functions = {"Tim"},
    .use = "Tim()(episode, context)",
    .run =
        [](const Random& random) {
          return concat<float>({trained_head(Tim{{.steps = 5}}, large(random)),
                                trained_head(Tim{{.solver = TimSolver::gradient, .steps = 2}}, large(random))});
        },
    .loss =
        [](const Tensor<double>& x) {
          return head_loss(few_updates, episode())(x) + head_loss(few_gradients, episode())(x);
        },
    .loss_at = head_point(Tim(), episode()),
    .errors = with_bad_options<Tim>({{Tim{{.steps = -1}}, "steps is -1"},
                                     {Tim{{.support = -1}}, "support is -1"},
                                     {Tim{{.marginal = NAN}}, "marginal is nan"},
                                     {Tim{{.conditional = INFINITY}}, "conditional is inf"},
                                     {Tim{{.temperature = 0}}, "temperature is 0"},
                                     {Tim{{.alpha = NAN}}, "alpha is nan"}}),
    .properties =
        {{"orders and names of classes change nothing, other queries do",
          [] {
            check_head(few_updates);
            check_head(few_gradients);
            check_unusual(Tim());
          }},
         {"without steps the prototypes, at half the temperature",
          [] {
            for (const TimSolver solver : {TimSolver::alternating, TimSolver::gradient}) {
              const Tim head{{.solver = solver, .steps = 0, .temperature = 2, .unit = false}};
              CHECK(gap(head(episode(), Context()), protonet(episode())) < 1e-13);
            }
          }},
         {"the gradient with entropies at 0 fine-tunes the prototypes on the support alone",
          [] {
            const Episode<double> e = episode();
            const Tim head{{.solver = TimSolver::gradient,
                            .steps = 4,
                            .support = 0.5,
                            .marginal = 0,
                            .conditional = 0,
                            .temperature = 3,
                            .unit = false,
                            .alpha = 0.2}};
            Tensor<double> w = prototypes(e.support.x, e.support.y, 3);
            const auto loss = [&](const Tensor<double>& weights) {
              return cross_entropy(-1.5 * squared_distances(e.support.x, weights), e.support.y);
            };
            for (int step = 0; step < 4; ++step) w = w - 0.1 * grad(loss, w);
            CHECK(gap(head.weights(e), w) < 1e-12);
            CHECK(gap(head(with_queries(e, slice(e.query.x, 0, 0, 1)), Context()), slice(head(e, Context()), 0, 0, 1)) <
                  1e-12);
          }},
         {"the objective: cross-entropy of the support less the mutual information of the queries",
          [] {
            const Episode<double> e = episode();
            const Tensor<double> w = randn<double>({3, 4}, Random(4));
            const Rows p = rows_of(softmax(-2.0 * squared_distances(unit_rows(e.query.x), w), 1));
            double marginal = 0, conditional = 0;
            for (const double m : mean_of(p)) marginal -= m * std::log(m);
            for (const auto& row : p)
              for (const double v : row) conditional -= v * std::log(v) / static_cast<double>(p.size());
            const double fit = cross_entropy(-2.0 * squared_distances(unit_rows(e.support.x), w), e.support.y).item();
            const Tim head{{.support = 0.3, .marginal = 0.8, .conditional = 0.2, .temperature = 4}};
            CHECK(head.objective(e, w).item() == Approx(0.3 * fit - 0.8 * marginal + 0.2 * conditional).epsilon(1e-12));
          }},
         {"small steps of the gradient lower the objective, the alternating updates too",
          [] {
            const Episode<double> e = embedded_episode({.queries = 30});
            const auto objective = [&](TimSolver solver, int steps) {
              const Tim head{{.solver = solver, .steps = steps}};
              return head.objective(e, head.weights(e)).item();
            };
            double before = INFINITY;
            for (int steps = 0; steps <= 20; ++steps) {
              const double now = objective(TimSolver::gradient, steps);
              CHECK(now < before);
              before = now;
            }
            before = objective(TimSolver::gradient, 0);
            for (const int steps : {1, 2, 5, 10, 50, 150}) {
              const double now = objective(TimSolver::alternating, steps);
              CHECK(now < before);
              before = now;
            }
            CHECK(before < objective(TimSolver::gradient, 0) - 0.05);
          }},
         {"an alternating update of a class goes down the gradient for soft labels q, by the share it has of the items",
          [] {
            const Episode<double> e = embedded_episode({.queries = 12});
            const Tim head{{.steps = 1, .support = 0.4, .marginal = 0.7, .conditional = 0.3, .temperature = 5}};
            const Tensor<double> x = unit_rows(e.query.x), s = unit_rows(e.support.x);
            const Tensor<double> w = prototypes(s, e.support.y, 3);
            const auto logits = [](const Tensor<double>& items, const Tensor<double>& v) {
              return -2.5 * squared_distances(items, v);
            };
            // q_ik ~ p_ik^1.3 / (sum_i p_ik^1.3)^(0.7 / 1.7)
            const Tensor<double> powers = pow(softmax(logits(x, w), 1), 1.3);
            const Tensor<double> raw = powers / pow(sum(powers, {0}, true), 0.7 / 1.7);
            const Tensor<double> q = raw / sum(raw, {1}, true);
            const auto surrogate = [&](const Tensor<double>& v) {
              return 0.4 * cross_entropy(logits(s, v), e.support.y) -
                     1.3 * sum(q * log_softmax(logits(x, v), 1)) / 12.0;
            };
            // 6 support items, 2 of each class, and 12 queries.
            const Tensor<double> items = 0.4 / 1.3 * 2.0 + 6.0 / 12 * reshape(sum(q, {0}), {3, 1});
            const Tensor<double> down = -6 / (5 * 1.3) * grad(surrogate, w);
            CHECK(gap((head.weights(e) - w) * items, down) < 1e-12);
            CHECK(largest(down) > 1e-2);
          }},
         {"a part of 1e6 that all embeddings share changes nothing",
          [] {
            const Episode<double> e = on_a_grid(episode());
            for (TimOptions o : {few_updates.options, few_gradients.options}) {
              o.unit = false;
              o.temperature = 1;
              CHECK(gap(Tim{o}(shifted(e, 1e6), Context()), Tim{o}(e, Context())) < 1e-7);
            }
          }}},
}});

// ---- PT-MAP ---------------------------------------------------------------------------------------------------------
const PtMap few_moves{{.lambda = 1, .steps = 2}};
/// Away from 0, where the power is steep.
Episode<double> positive_episode() {
  return with_embeddings(episode(), [](const Tensor<double>& x) { return abs(x) + 1.0; });
}

const bool pt_map_row = add_method_rows({{
    .name = "pt_map",
    .header = "graft/fewshot/pt_map.hpp",
    .paper = "Hu, Gripon, Pateux, Leveraging the feature distribution in transfer-based few-shot learning, ICANN 2021",
    .functions = {"PtMap", "sinkhorn"},
    .use = "PtMap()(episode, context)",
    .run =
        [](const Random& random) {
          return trained_head(PtMap{{.steps = 3}},
                              with_embeddings(large(random), [](const Tensor<float>& x) { return abs(x); }));
        },
    .loss = head_loss(few_moves, positive_episode()),
    .loss_at = head_point(few_moves, positive_episode()),
    .errors =
        [] {
          auto errors = with_bad_options<PtMap>({{PtMap{{.beta = 0}}, "beta is 0"},
                                                 {PtMap{{.lambda = -1}}, "lambda is -1"},
                                                 {PtMap{{.alpha = NAN}}, "alpha is nan"},
                                                 {PtMap{{.steps = -1}}, "steps is -1"}});
          errors.push_back(bad_use<ShapeError>([] { sinkhorn(zeros({3}), 1); }, "[3]"));
          errors.push_back(bad_use<ShapeError>([] { sinkhorn(zeros({3, 0}), 1); }, "[3, 0]"));
          errors.push_back(bad_use<ValueError>([] { sinkhorn(zeros({3, 2}), 0); }, "lambda is 0"));
          return errors;
        }(),
    .properties =
        {{"orders and names of classes change nothing, other queries do",
          [] {
            check_head(few_moves, 1e-9);
            check_unusual(PtMap());
          }},
         {"a plan's rows add up to 1, its columns to an even share, and it is the kernel scaled by rows and columns",
          [] {
            for (const double lambda : {0.5, 10.0}) {
              const Tensor<double> cost = rand<double>({30, 4}, Random(2), 0, 3), log_plan = sinkhorn(cost, lambda);
              CHECK(largest(sum(exp(log_plan), {0}) - 7.5) < 1e-12);
              CHECK(largest(sum(exp(log_plan), {1}) - 1.0) < 1.1e-6);
              // log P + lambda cost = u_i + v_j: no interaction of rows and columns.
              const Tensor<double> both = log_plan + lambda * cost;
              const Tensor<double> rest = both - slice(both, 0, 0, 1) - slice(both, 1, 0, 1) + both.at({0, 0});
              CHECK(largest(rest) < 1e-12);
            }
          }},
         {"plans that are known",
          [] {
            // Symmetric: both scalings are the same number. Equal costs: an even share. One class: it gets all.
            const double m = std::exp(-2.0);
            CHECK(gap(exp(sinkhorn(tensor<double>({{0, 1}, {1, 0}}), 2)),
                      Rows{{1 / (1 + m), m / (1 + m)}, {m / (1 + m), 1 / (1 + m)}}) < 1e-15);
            CHECK(gap(exp(sinkhorn(full<double>({6, 3}, 5), 10)), Rows(6, std::vector<double>(3, 1.0 / 3))) < 1e-15);
            CHECK(gap(sinkhorn(rand<double>({5, 1}, Random(1)), 10), Rows(5, {0})) < 1e-14);
            // Costs beyond what exp can hold: the cheapest even assignment.
            CHECK(gap(exp(sinkhorn(tensor<double>({{0, 1e4}, {1e4, 0}}), 10)), Rows{{1, 0}, {0, 1}}) < 1e-15);
          }},
         {"features: the root of what is not negative, unit, centred, unit again",
          [] {
            const Tensor<double> x = rand<double>({6, 4}, Random(3), 0, 5);
            Rows f = rows_of(x);
            for (auto& row : f)
              for (double& v : row) v = std::sqrt(v + 1e-6);
            f = units_of(f);
            const std::vector<double> mean = mean_of(f);
            for (auto& row : f)
              for (std::size_t w = 0; w < row.size(); ++w) row[w] -= mean[w];
            CHECK(gap(PtMap().features(x), units_of(f)) < 1e-13);
            CHECK(gap(PtMap().features(-x), -PtMap().features(x)) < 1e-13);
            CHECK(gap(PtMap().features(zeros<double>({1, 4})), zeros<double>({1, 4})) == 0);
          }},
         {"without steps the plan for the support's means; one whole step by hand",
          [] {
            const Episode<double> e = episode();
            const Tensor<double> s = PtMap().features(e.support.x), q = PtMap().features(e.query.x);
            Tensor<double> c = prototypes(s, e.support.y, 3);
            CHECK(gap(PtMap{{.steps = 0}}(e, Context()), sinkhorn(squared_distances(q, c), 10)) < 1e-12);
            const Rows plan = rows_of(exp(sinkhorn(squared_distances(q, c), 10))), sr = rows_of(s), qr = rows_of(q);
            Rows moved = rows_of(c);
            for (std::size_t k = 0; k < 3; ++k)
              for (std::size_t w = 0; w < 4; ++w) {
                double total = 0, weights = 0;
                for (std::size_t i = 0; i < sr.size(); ++i)
                  if (std::size_t(e.support.y.span()[i]) == k) total += sr[i][w], weights += 1;
                for (std::size_t i = 0; i < qr.size(); ++i) total += plan[i][k] * qr[i][w], weights += plan[i][k];
                moved[k][w] += 0.3 * (total / weights - moved[k][w]);
              }
            std::vector<double> flat;
            for (const auto& row : moved) flat.insert(flat.end(), row.begin(), row.end());
            CHECK(gap(PtMap{{.alpha = 0.3, .steps = 1}}(e, Context()),
                      sinkhorn(squared_distances(q, from_vector(flat, {3, 4})), 10)) < 1e-11);
          }},
         {"every class gets the same share of the answers",
          [] {
            const Tensor<double> p = exp(PtMap()(embedded_episode({.queries = 30}), Context()));
            CHECK(largest(sum(p, {0}) - 10.0) < 1e-11);
          }},
         {"classes that are apart are told apart, by one shot of each",
          [] {
            const auto e = with_embeddings(embedded_episode({.shots = 1, .queries = 30, .width = 16, .apart = 3}),
                                           [](const Tensor<double>& x) { return abs(x); });
            CHECK(share_right(PtMap()(e, Context()), e) == 1);
          }}},
}});

}  // namespace
