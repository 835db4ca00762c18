// Rows for attention over the edges of a graph. The graph is made from the numbers of nodes; its edges into a
// destination depend on that destination alone, so destinations are independent rows.

#include <cmath>

#include "graft/ops/graph_attention.hpp"
#include "graft/ops/sparse.hpp"
#include "op_table.hpp"

using namespace graft;

namespace {

using Edges = std::vector<GraphEdge>;

/// Edges into destination i: i mod 4 of them (so some have none), with repetitions where sources are few; given
/// backwards, so that the graph must sort.
Edges edges_between(Index sources, Index destinations) {
  Edges edges;
  for (Index i = destinations; sources > 0 && i-- > 0;)
    for (Index k = i % 4; k-- > 0;) edges.push_back({(3 * i + 5 * k * k + k) % sources, i});
  return edges;
}
Graph graph_between(Index sources, Index destinations) {
  return Graph(sources, destinations, edges_between(sources, destinations));
}

double leaky(double x) { return x > 0 ? x : 0.2 * x; }
GraphAttentionOptions with_dropout(double rate) { return {.dropout = rate, .random = Random(7).stream("attention")}; }

/// sum_j alpha_ij factor_ij v_j by destination and head; `logit(j, i, h)` by loops over the list of edges.
template <class Logit>
Tensor<double> attend(const Tensor<double>& values, Index destinations, double rate, Logit logit) {
  const Index sources = values.size(0), heads = values.size(1), width = values.size(2);
  const Graph graph = graph_between(sources, destinations);
  // An edge's factor is that of `dropout` on [edges in destination order, heads].
  const Tensor<double> factors = dropout(ones<double>({graph.edges(), heads}), rate, with_dropout(rate).random);
  std::vector<double> out(destinations * heads * width, 0.0);
  for (Index i = 0; i < destinations; ++i)
    for (Index h = 0; h < heads; ++h) {
      double total = 0;
      for (const GraphEdge& edge : edges_between(sources, destinations))
        if (edge.destination == i) total += std::exp(logit(edge.source, i, h));
      for (Index e = 0; e < graph.edges(); ++e) {
        const Index j = graph.source_of().at({e});
        if (graph.destination_of().at({e}) != i) continue;
        const double alpha = std::exp(logit(j, i, h)) / total * factors.at({e, h});
        for (Index w = 0; w < width; ++w) out[(i * heads + h) * width + w] += alpha * values.at({j, h, w});
      }
    }
  return array({destinations, heads, width}, out);
}

/// Destinations' terms in [-0.4, 0.4] and sources' with a size of 0.5 or more: sums stay off the kink of the leaky
/// ReLU, and those of one destination lie on both sides of it. (On one side its term moves no weight: gradients would
/// be 0.)
const std::vector<double> off_kink{-0.45, -0.35, -0.25, -0.15, -0.05, 0.05, 0.15, 0.25, 0.35, 0.45};
const char* const on_kink = "sums of numbers of that size are flushed to the kink";
Input source_term(const Shape& shape) {
  return {.shape = shape, .low = -1.5, .high = 1.5, .away_from = off_kink, .never = kTiny, .because = on_kink};
}
Input destination_term(const Shape& shape) {
  return {.shape = shape, .low = -0.4, .high = 0.4, .never = kTiny, .because = on_kink};
}
/// An input that scores are made of: where it is not finite they are not, nor the weight of a lone edge, which moves
/// with no finite score; and a slope of 0 times an infinity is NaN in the kernels' sums of products.
Input in_scores(Input input) {
  input.spreads = "the weight of a lone edge is NaN with its score, though no finite score moves it";
  return input;
}
/// One that is multiplied by a vector for its score too.
Input in_products(Input input) {
  input.never |= kHuge;
  input.because += (input.because.empty() ? "" : "; ") + std::string("scores and their gradients leave the range");
  return in_scores(std::move(input));
}
const Rounding scores_round{.products = {0, 0, 1, 2},
                            .because = "scores and their gradients are sums of products of what they weigh"};

OpRow gat_row(const char* name, double rate) {
  return {.name = name,
          .family = "graph",
          .call =
              [rate](const auto& x) {
                return graph_attention(graph_between(x[0].size(0), x[2].size(0)), x[0], x[1], x[2], with_dropout(rate));
              },
          .inputs = {{{5, 2, 3}}, source_term({5, 2}), destination_term({7, 2})},
          .reference =
              [rate](const Arrays& x) {
                return attend(x[0], x[2].size(0), rate, [&](Index j, Index i, Index h) {
                  return leaky(x[1].at({j, h}) + x[2].at({i, h}));
                });
              },
          .variants = {{{6, 3, 19}, {6, 3}, {6, 3}},
                       {{6, 2, 8}, {6, 2}, {6, 2}},
                       {{5, 4, 16}, {5, 4}, {6, 4}},
                       {{5, 1, 7}, {5, 1}, {6, 1}},
                       {{5, 1, 60}, {5, 1}, {6, 1}},
                       {{1, 1, 1}, {1, 1}, {1, 1}},
                       {{2, 1, 1}, {2, 1}, {4, 1}},
                       {{0, 2, 3}, {0, 2}, {4, 2}},
                       {{3, 2, 3}, {3, 2}, {0, 2}},
                       {{0, 1, 2}, {0, 1}, {0, 1}},
                       {{3, 2, 0}, {3, 2}, {4, 2}},
                       {{3, 0, 2}, {3, 0}, {4, 0}}},
          .large = {{300, 4, 33}, {300, 4}, {900, 4}},
          .errors = {bad<ShapeError>([](const auto& x) { graph_attention(graph_between(6, 7), x[0], x[1], x[2]); },
                                     "values [5, 2, 3]"),
                     bad<ShapeError>([](const auto& x) { graph_attention(graph_between(5, 7), x[1], x[1], x[2]); },
                                     "values must be"),
                     bad<ShapeError>([](const auto& x) { graph_attention(graph_between(5, 7), x[0], x[2], x[2]); },
                                     "source_scores must"),
                     bad<ShapeError>([](const auto& x) { graph_attention(graph_between(5, 7), x[0], x[1], x[1]); },
                                     "[5, 7]"),
                     bad<ValueError>(
                         [](const auto& x) { graph_attention(graph_between(5, 7), x[0], x[1], x[2], with_dropout(1)); },
                         "dropout is 1"),
                     bad<ShapeError>([](const auto& x) { graph_attention(Graph(), x[0], x[1], x[2]); }, "[0, 0]")},
          .smooth_when_aliased = false,  // equal terms meet at the kink
          .rows_of = rate == 0 ? std::vector<int>{2} : std::vector<int>{},
          .rounding = {.products = {0},
                       .sums = {1, 2},
                       .because = "gradients of scores are sums of products, and scores are sums"}};
}

/// Scores of destinations have the sign of `side` and outweigh those of sources: sums stay off the kink of the leaky
/// ReLU. Where it is 0, width 1 and scores of sources that outweigh and have both signs do so, see `source_term`. The
/// inputs that are differentiated have `first_heads`.
OpRow gat_self_row(const char* name, double rate, double side, bool biased, Index first_heads = 2) {
  const auto inputs = [=](Index nodes, Index heads, Index width) {
    std::vector<Shape> shapes{{nodes, heads, width}, {heads, width}, {heads, width}};
    if (biased) shapes.push_back({heads, width});
    return shapes;
  };
  const bool both = side == 0;
  const auto first = both ? inputs(6, first_heads, 1) : inputs(6, first_heads, 4);
  std::vector<Input> firsts{{first[0], 0.5, 1.5}, {first[1], -0.1, 0.1}, {first[2], side - 0.25, side + 0.25}};
  if (both) {
    firsts = {source_term(first[0]), {first[1], 0.75, 1.25}, {first[2], -0.1, 0.1}};
    for (std::size_t i : {1, 2}) firsts[i].never = kTiny, firsts[i].because = on_kink;
  }
  firsts[0] = in_products(firsts[0]);
  for (std::size_t i : {1, 2}) firsts[i] = in_scores(firsts[i]);
  std::vector<std::vector<Shape>> variants{inputs(6, 2, 3), inputs(5, 4, 16), inputs(6, 2, 8), inputs(5, 8, 2),
                                           inputs(5, 1, 7), inputs(4, 3, 19), inputs(1, 1, 1), inputs(0, 2, 3),
                                           inputs(3, 2, 0), inputs(3, 0, 2)};
  if (both) variants = {inputs(5, 2, 1), inputs(6, 3, 1), inputs(5, 4, 1), inputs(6, 8, 1), inputs(5, 16, 1)};
  // A copy of the output without the bias would cost another pass over memory.
  if (biased)
    firsts.push_back({.shape = first[3],
                      .never = kShifted | kHuge,
                      .because = "gradients of scores read the output, which was rounded with the bias in it",
                      .spreads = "gradients of scores read the output"});
  const auto call = [=](const Graph& graph, const auto& x) {
    return graph_self_attention(graph, x[0], x[1], x[2], biased ? x[3] : std::decay_t<decltype(x[0])>(),
                                with_dropout(rate));
  };
  return {.name = name,
          .family = "graph",
          .call = [=](const auto& x) { return call(graph_between(x[0].size(0), x[0].size(0)), x); },
          .inputs = firsts,
          .reference =
              [=](const Arrays& x) {
                const auto score = [&](int vector, Index i, Index h) {
                  double sum = 0;
                  for (Index w = 0; w < x[0].size(2); ++w) sum += x[vector].at({h, w}) * x[0].at({i, h, w});
                  return sum;
                };
                const Tensor<double> out = attend(x[0], x[0].size(0), rate, [&](Index j, Index i, Index h) {
                  return leaky(score(1, j, h) + score(2, i, h));
                });
                return biased ? out + x[3] : out;
              },
          .variants = variants,
          .large = inputs(900, 4, both ? 1 : 33),
          .errors = {bad<ShapeError>([=](const auto& x) { call(graph_between(6, 7), x); }, "one set of nodes"),
                     bad<ShapeError>([=](const auto& x) { call(graph_between(5, 5), x); }, "values must be"),
                     bad<ShapeError>(
                         [](const auto& x) { graph_self_attention(graph_between(6, 6), x[0], x[0], x[2]); },
                         "source_vector must"),
                     bad<ShapeError>(
                         [](const auto& x) { graph_self_attention(graph_between(6, 6), x[0], x[1], x[0]); },
                         "destination_vector must"),
                     bad<ShapeError>(
                         [](const auto& x) { graph_self_attention(graph_between(6, 6), x[0], x[1], x[2], x[0]); },
                         "bias must"),
                     bad<ValueError>(
                         [](const auto& x) {
                           graph_self_attention(graph_between(6, 6), x[0], x[1], x[2], {}, with_dropout(1));
                         },
                         "dropout is 1")},
          .smooth_when_aliased = false,
          .rounding = scores_round};
}

OpRow gat_v2_row(const char* name, double rate) {
  return {.name = name,
          .family = "graph",
          .call =
              [rate](const auto& x) {
                return graph_attention_v2(graph_between(x[0].size(0), x[1].size(0)), x[0], x[1], x[2],
                                          with_dropout(rate));
              },
          .inputs = {in_products(source_term({5, 2, 3})), in_products(destination_term({7, 2, 3})),
                     in_scores({{2, 3}, -2, 2})},
          .reference =
              [rate](const Arrays& x) {
                return attend(x[0], x[1].size(0), rate, [&](Index j, Index i, Index h) {
                  double logit = 0;
                  for (Index w = 0; w < x[0].size(2); ++w)
                    logit += x[2].at({h, w}) * leaky(x[0].at({j, h, w}) + x[1].at({i, h, w}));
                  return logit;
                });
              },
          .variants = {{{6, 3, 19}, {6, 3, 19}, {3, 19}},
                       {{1, 1, 1}, {1, 1, 1}, {1, 1}},
                       {{2, 1, 1}, {4, 1, 1}, {1, 1}},
                       {{0, 2, 3}, {4, 2, 3}, {2, 3}},
                       {{3, 2, 3}, {0, 2, 3}, {2, 3}},
                       {{0, 1, 2}, {0, 1, 2}, {1, 2}},
                       {{3, 2, 0}, {4, 2, 0}, {2, 0}},
                       {{3, 0, 2}, {4, 0, 2}, {0, 2}}},
          .large = {{300, 4, 33}, {900, 4, 33}, {4, 33}},
          .errors = {bad<ShapeError>([](const auto& x) { graph_attention_v2(graph_between(6, 7), x[0], x[1], x[2]); },
                                     "source [5, 2, 3]"),
                     bad<ShapeError>([](const auto& x) { graph_attention_v2(graph_between(5, 7), x[0], x[0], x[2]); },
                                     "destination must be"),
                     bad<ShapeError>(
                         [](const auto& x) { graph_attention_v2(graph_between(5, 7), x[0], x[1], transpose(x[2])); },
                         "attention [3, 2]"),
                     bad<ValueError>(
                         [](const auto& x) {
                           graph_attention_v2(graph_between(5, 7), x[0], x[1], x[2], with_dropout(-0.1));
                         },
                         "dropout is -0.1"),
                     bad<ShapeError>([](const auto& x) { graph_attention_v2(Graph(), x[0], x[1], x[2]); }, "[0, 0]")},
          .smooth_when_aliased = false,  // equal terms meet at the kink
          .rows_of = rate == 0 ? std::vector<int>{1} : std::vector<int>{},
          .rounding = scores_round};
}

/// A constant matrix [rows, columns] whose row i depends on i alone.
template <class T>
SparseMatrix<T> constants(Index rows, Index columns) {
  const Graph pattern = graph_between(columns, rows);
  std::vector<T> numbers;
  for (Index e = 0; e < pattern.edges(); ++e)
    numbers.push_back(static_cast<T>(0.5 + 0.25 * static_cast<double>(e % 7)));
  return {pattern, from_vector(numbers)};
}
/// op(constants) op(x); the constants have 7 rows, or 7 columns when transposed.
Tensor<double> sparse_times(const Tensor<double>& x, bool ta, bool tb) {
  const Index k = x.size(tb ? 1 : 0), n = x.size(tb ? 0 : 1), m = 7;
  const SparseMatrix<double> a = ta ? constants<double>(k, m) : constants<double>(m, k);
  std::vector<double> out(m * n, 0.0);
  for (Index e = 0; e < a.values().count(); ++e) {
    const Index row = a.pattern().destination_of().at({e}), column = a.pattern().source_of().at({e});
    for (Index j = 0; j < n; ++j) {
      const Index from = ta ? row : column, to = ta ? column : row;
      out[to * n + j] += a.values().at({e}) * (tb ? x.at({j, from}) : x.at({from, j}));
    }
  }
  return array({m, n}, out);
}
OpRow sparse_row(const char* name, bool ta, bool tb) {
  return {.name = name,
          .family = "sparse",
          .call =
              [ta, tb](const auto& x) {
                using T = ScalarOf<decltype(x)>;
                const Index k = x[0].size(tb ? 1 : 0);
                return matmul(ta ? constants<T>(k, 7) : constants<T>(7, k), x[0],
                              {.transpose_a = ta, .transpose_b = tb});
              },
          .inputs = {{{5, 3}}},
          .reference = [ta, tb](const Arrays& x) { return sparse_times(x[0], ta, tb); },
          .variants = {{{3, 40}}, {{6, 16}}, {{1, 1}}, {{0, 3}}, {{4, 0}}, {{0, 0}}},
          .large = {{900, 330}},
          .errors = {bad<ShapeError>([](const auto& x) { matmul(constants<ScalarOf<decltype(x)>>(4, 6), x[0]); },
                                     "sparse a [4, 6]"),
                     bad<ShapeError>(
                         [](const auto& x) {
                           matmul(constants<ScalarOf<decltype(x)>>(4, 14), reshape(x[0], {15}), {.transpose_b = true});
                         },
                         "b [15]")}};
}

/// op(x) op(constants) is the transpose of op(constants)^T op(x)^T; the constants have 7 columns, or 7 rows when
/// transposed.
Tensor<double> times_sparse(const Tensor<double>& x, bool ta, bool tb) {
  const Tensor<double> turned = sparse_times(x, !tb, !ta);
  return by_position({turned.size(1), turned.size(0)}, [&](const Position& at) { return turned.at({at[1], at[0]}); });
}
OpRow by_sparse_row(const char* name, bool ta, bool tb) {
  return {.name = name,
          .family = "sparse",
          .call =
              [ta, tb](const auto& x) {
                using T = ScalarOf<decltype(x)>;
                const Index k = x[0].size(ta ? 0 : 1);
                return matmul(x[0], tb ? constants<T>(7, k) : constants<T>(k, 7),
                              {.transpose_a = ta, .transpose_b = tb});
              },
          .inputs = {{{5, 3}}},
          .reference = [ta, tb](const Arrays& x) { return times_sparse(x[0], ta, tb); },
          .variants = {{{3, 40}}, {{1, 1}}, {{0, 3}}, {{4, 0}}, {{0, 0}}},
          .large = {{900, 330}},
          .errors = {bad<ShapeError>([](const auto& x) { matmul(x[0], constants<ScalarOf<decltype(x)>>(4, 6)); },
                                     "sparse b [4, 6]"),
                     bad<ShapeError>([](const auto& x) { matmul(sum(x[0]), constants<ScalarOf<decltype(x)>>(4, 6)); },
                                     "a []")}};
}
/// Sparse matrices and vectors, squared so that orders above the first are not all zero.
OpRow sparse_vector_row(const char* name, bool left) {
  return {.name = name,
          .family = "sparse",
          .call =
              [left](const auto& x) {
                using T = ScalarOf<decltype(x)>;
                const Index k = x[0].count();
                return square(left ? matmul(x[0], constants<T>(7, k), {.transpose_a = true, .transpose_b = true})
                                   : matmul(constants<T>(k, 7), x[0], {.transpose_a = true, .transpose_b = true}));
              },
          .inputs = {{{5}}},
          .reference =
              [left](const Arrays& x) {
                const Tensor<double> column = array({x[0].count(), 1}, {x[0].span().begin(), x[0].span().end()});
                const Tensor<double> product = sparse_times(column, !left, false);
                return by_number(array({7}, {product.span().begin(), product.span().end()}),
                                 [](double v) { return v * v; });
              },
          .variants = {{{1}}, {{0}}},
          .large = {{70000}}};
}

const bool rows = add_op_rows(
    {gat_row("graph_attention", 0), gat_row("graph_attention, dropout", 0.4),
     gat_self_row("graph_self_attention", 0, 0.75, false),
     gat_self_row("graph_self_attention, bias and dropout", 0.4, -0.75, true),
     gat_self_row("graph_self_attention, scores of both signs", 0, 0, false, 1),
     gat_self_row("graph_self_attention, scores of both signs, two heads", 0, 0, false),
     gat_v2_row("graph_attention_v2", 0), gat_v2_row("graph_attention_v2, dropout", 0.4),
     sparse_row("matmul, sparse", false, false), sparse_row("matmul, sparse transposed", true, false),
     sparse_row("matmul, sparse by transposed", false, true), by_sparse_row("matmul, by sparse", false, false),
     by_sparse_row("matmul, transposed by sparse", true, false),
     by_sparse_row("matmul, by transposed sparse", false, true), sparse_vector_row("matmul, sparse and vector", false),
     sparse_vector_row("matmul, vector and sparse", true)});

}  // namespace
