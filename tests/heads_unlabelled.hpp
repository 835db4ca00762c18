#pragma once
// What tests of heads share that look at items without labels, and what every head is held to on unusual episodes.

#include <algorithm>

#include "heads.hpp"
#include "layers.hpp"

using Rows = std::vector<std::vector<double>>;

/// The rows of a matrix, for reference formulas in loops.
template <class T>
Rows rows_of(const graft::Tensor<T>& x) {
  Rows rows(static_cast<std::size_t>(x.size(0)), std::vector<double>(static_cast<std::size_t>(x.size(1))));
  std::size_t at = 0;
  for (auto& row : rows)
    for (double& value : row) value = static_cast<double>(x.span()[at++]);
  return rows;
}
/// The largest difference of a tensor from rows.
template <class T>
double gap(const graft::Tensor<T>& a, const Rows& b) {
  double most = 0;
  const Rows rows = rows_of(a);
  REQUIRE(rows.size() == b.size());
  for (std::size_t i = 0; i < b.size(); ++i)
    for (std::size_t j = 0; j < b[i].size(); ++j)
      if (!(std::abs(rows[i][j] - b[i][j]) <= most)) most = std::abs(rows[i][j] - b[i][j]);
  return most;
}
inline double squared_distance(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t w = 0; w < a.size(); ++w) sum += (a[w] - b[w]) * (a[w] - b[w]);
  return sum;
}
inline double cosine(const std::vector<double>& a, const std::vector<double>& b) {
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t w = 0; w < a.size(); ++w) ab += a[w] * b[w], aa += a[w] * a[w], bb += b[w] * b[w];
  return ab / std::sqrt(aa * bb);
}
inline std::vector<double> softmax_of(std::vector<double> x) {
  const double most = *std::max_element(x.begin(), x.end());
  double total = 0;
  for (double& v : x) total += v = std::exp(v - most);
  for (double& v : x) v /= total;
  return x;
}
/// Class means of labelled rows.
inline Rows means_of(const Rows& x, const graft::Tensor<std::int64_t>& labels, graft::Index ways) {
  Rows means(static_cast<std::size_t>(ways), std::vector<double>(x[0].size()));
  std::vector<double> counts(means.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto label = static_cast<std::size_t>(labels.span()[i]);
    ++counts[label];
    for (std::size_t w = 0; w < x[i].size(); ++w) means[label][w] += x[i][w];
  }
  for (std::size_t k = 0; k < means.size(); ++k)
    for (double& v : means[k]) v /= counts[k];
  return means;
}

/// The episode with `count` unlabelled items around the same class centres as its own items.
template <class T>
graft::Episode<T> with_unlabelled(graft::Episode<T> episode, graft::Index count, std::uint64_t seed = 5) {
  using namespace graft;
  const Tensor<T> centres = prototypes(episode.support.x, episode.support.y, episode.ways);
  const auto turn = generate({count}, [&](Index i) { return std::int64_t{i % episode.ways}; });
  episode.unlabelled = gather(centres, turn) + randn<T>({count, centres.size(1)}, Random(seed));
  return episode;
}
/// No NaN and no infinity.
template <class T>
bool finite(const graft::Tensor<T>& x) {
  return std::all_of(x.span().begin(), x.span().end(), [](T v) { return std::isfinite(v); });
}

/// Of every head for embeddings of 4 numbers: zeros, items that are all alike or far away, one shot, one query, no
/// query and one class are answered with finite numbers, [queries, ways].
template <class Head>
void check_unusual(const Head& head) {
  using namespace graft;
  const auto check = [&](const char* what, const Episode<double>& episode) {
    INFO(what);
    const Tensor<double> logits = head(episode, Context());
    CHECK(logits.shape() == Shape{episode.query.x.size(0), episode.ways});
    CHECK(finite(logits));
  };
  for (const Episode<double>& usual : {embedded_episode(), with_unlabelled(embedded_episode(), 4)}) {
    check("zeros", with_embeddings(usual, [](const Tensor<double>& x) { return 0.0 * x; }));
    check("alike", with_embeddings(usual, [](const Tensor<double>& x) { return 0.0 * x + 3.0; }));
    check("far", shifted(usual, 1e6));
    check("wide", with_embeddings(usual, [](const Tensor<double>& x) { return 1e6 * x; }));
    check("no query", with_queries(usual, zeros<double>({0, 4})));
    check("one query", with_queries(usual, slice(usual.query.x, 0, 0, 1)));
  }
  check("one shot", embedded_episode({.shots = 1}));
  check("one of each", embedded_episode({.ways = 1, .shots = 1, .queries = 1}));
  check("one class", embedded_episode({.ways = 1, .shots = 3}));
  Episode<double> empty = embedded_episode();
  empty.unlabelled = zeros<double>({0, 4});
  check("nothing unlabelled", empty);
}
/// Of heads that look at unlabelled items: their order changes nothing, they themselves do.
template <class Head>
void check_unlabelled(const Head& head, const graft::Episode<double>& episode, double tolerance = 1e-11) {
  using namespace graft;
  const Tensor<double> before = head(episode, Context());
  const std::vector<Index> order = Random(80).permutation(episode.unlabelled.size(0));
  Episode<double> other = episode;
  other.unlabelled = gather(episode.unlabelled, from_vector(std::vector<std::int64_t>(order.begin(), order.end())));
  CHECK(gap(head(other, Context()), before) <= tolerance);
  other.unlabelled = {};
  CHECK(gap(head(other, Context()), before) > 100 * tolerance);
}
/// Of transductive heads, as they declare: another query may change the answers to the others.
template <class Head>
void check_transductive(const Head& head, const graft::Episode<double>& episode) {
  using namespace graft;
  STATIC_REQUIRE(Head::needs.sees == Sees::queries);
  const Tensor<double> all = head(episode, Context());
  const Episode<double> fewer = with_queries(episode, slice(episode.query.x, 0, 0, episode.query.x.size(0) - 1));
  CHECK(gap(head(fewer, Context()), slice(all, 0, 0, all.size(0) - 1)) > 1e-9);
}
