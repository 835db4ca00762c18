#pragma once
// What tests of few-shot heads share: episodes of random embeddings, and what every head is held to. A head is called
// as head(episode of embeddings, context) and gives logits [queries, ways].

#include <cmath>
#include <string>
#include <vector>

#include "catch.hpp"
#include "gap.hpp"
#include "graft/common/few_shot.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/model/grad.hpp"
#include "method_table.hpp"

/// Sizes of an episode of embeddings; `queries` are those of all classes.
struct EmbeddedSizes {
  graft::Index ways = 3, shots = 2, queries = 5, width = 4;
  double apart = 1;  ///< standard deviation of the classes' centres; that of the items around them is 1
};

/// Normal embeddings around normal class centres. Support and query items are of the classes 0 .. ways-1 in turn.
template <class T = double>
graft::Episode<T> embedded_episode(const EmbeddedSizes& sizes, const graft::Random& random) {
  using namespace graft;
  const Tensor<T> centres = static_cast<T>(sizes.apart) * randn<T>({sizes.ways, sizes.width}, random.stream("centres"));
  const auto items = [&](Index count, const char* name) {
    const Tensor<std::int64_t> labels = generate({count}, [&](Index i) { return std::int64_t{i % sizes.ways}; });
    return LabelledSet<T>{gather(centres, labels) + randn<T>({count, sizes.width}, random.stream(name)), labels};
  };
  return {items(sizes.ways * sizes.shots, "support"), items(sizes.queries, "query"), sizes.ways};
}
template <class T = double>
graft::Episode<T> embedded_episode(const EmbeddedSizes& sizes = {}, std::uint64_t seed = 1) {
  return embedded_episode<T>(sizes, graft::Random(seed));
}

/// The support items in a random order.
template <class T>
graft::Episode<T> with_permuted_support(graft::Episode<T> episode, const graft::Random& random) {
  const std::vector<graft::Index> order = random.permutation(episode.support.x.size(0));
  const auto places = graft::from_vector(std::vector<std::int64_t>(order.begin(), order.end()));
  episode.support = {gather(episode.support.x, places), gather(episode.support.y, places)};
  return episode;
}
/// Class c is called names[c].
template <class T>
graft::Episode<T> with_renamed_classes(graft::Episode<T> episode, const std::vector<std::int64_t>& names) {
  const auto table = graft::from_vector(names);
  episode.support.y = gather(table, episode.support.y);
  if (episode.query.y.defined()) episode.query.y = gather(table, episode.query.y);
  return episode;
}
/// The same episode with these items as queries.
template <class T>
graft::Episode<T> with_queries(graft::Episode<T> episode, const graft::Tensor<T>& queries) {
  episode.query = {queries, {}};
  return episode;
}
/// f(embeddings) in the place of all embeddings.
template <class T, class F>
graft::Episode<T> with_embeddings(graft::Episode<T> episode, F f) {
  episode.support.x = f(episode.support.x);
  episode.query.x = f(episode.query.x);
  if (episode.unlabelled.defined()) episode.unlabelled = f(episode.unlabelled);
  return episode;
}
/// All embeddings plus `offset`.
template <class T>
graft::Episode<T> shifted(const graft::Episode<T>& episode, double offset) {
  return with_embeddings(episode, [&](const graft::Tensor<T>& x) { return x + static_cast<T>(offset); });
}
/// Embeddings rounded to multiples of 1 / parts, a power of 2: a shift by 1e6 changes none of their differences, of 64
/// parts in double, of 16 in float.
template <class T>
graft::Episode<T> on_a_grid(const graft::Episode<T>& episode, T parts = std::is_same_v<T, double> ? 64 : 16) {
  const auto rounded = [parts](const graft::Tensor<T>& x) {
    std::vector<T> values;
    for (const T value : x.span()) values.push_back(std::round(value * parts) / parts);
    return graft::from_vector(values, x.shape());
  };
  return with_embeddings(episode, rounded);
}

/// Of an inductive head: a query has the same logits, bit for bit, alone, among fewer and among other queries.
template <class Head, class T>
void check_inductive(const Head& head, const graft::Episode<T>& episode) {
  using namespace graft;
  const Tensor<T>& x = episode.query.x;
  const Index queries = x.size(0);
  REQUIRE(queries >= 3);
  const auto logits = [&](const Tensor<T>& items) { return head(with_queries(episode, items), Context()); };
  const Tensor<T> all = logits(x);
  CHECK(all.shape() == Shape{queries, episode.ways});
  CHECK(same_bits(logits(slice(x, 0, 0, 0)), slice(all, 0, 0, 0)));
  for (Index q = 0; q < queries; ++q) CHECK(same_bits(logits(slice(x, 0, q, q + 1)), slice(all, 0, q, q + 1)));
  CHECK(same_bits(logits(slice(x, 0, 1, queries)), slice(all, 0, 1, queries)));
  const Tensor<T> others = T(100) * randn<T>({40, x.size(1)}, Random(77));
  CHECK(same_bits(slice(logits(concat<T>({slice(x, 0, 0, 2), others})), 0, 0, 2), slice(all, 0, 0, 2)));
  CHECK_FALSE(same_bits(slice(all, 0, 0, 1), slice(all, 0, 1, 2)));
}

/// Of every head, up to rounding: the order of the support items changes nothing, and another order of the queries
/// permutes rows.
template <class Head, class T>
void check_orders(const Head& head, const graft::Episode<T>& episode, double tolerance = 1e-11) {
  using namespace graft;
  const Tensor<T> before = head(episode, Context());
  CHECK(before.shape() == Shape{episode.query.x.size(0), episode.ways});
  CHECK(gap(head(with_permuted_support(episode, Random(78)), Context()), before) <= tolerance);
  const std::vector<Index> order = Random(79).permutation(episode.query.x.size(0));
  const auto rows = from_vector(std::vector<std::int64_t>(order.begin(), order.end()));
  CHECK(gap(head(with_queries(episode, gather(episode.query.x, rows)), Context()), gather(before, rows)) <= tolerance);
  if (episode.ways > 1) CHECK(gap(slice(before, 1, 0, 1), slice(before, 1, 1, 2)) > 100 * tolerance);
}

/// The same, and of heads that treat classes alike: renaming classes permutes columns.
template <class Head, class T>
void check_permutations(const Head& head, const graft::Episode<T>& episode, double tolerance = 1e-11) {
  using namespace graft;
  check_orders(head, episode, tolerance);
  std::vector<std::int64_t> names;
  for (Index c = 0; c < episode.ways; ++c) names.push_back((c + 1) % episode.ways);
  const Tensor<T> renamed = head(with_renamed_classes(episode, names), Context());
  CHECK(gap(gather(renamed, from_vector(names), 1), head(episode, Context())) <= tolerance);
}

/// Of heads that a common part of all embeddings does not concern: 1e6 of it costs no digit, in double and in float,
/// and gradients of all items sum to 0.
template <class Make>
void check_common_part(const Make& make, double tolerance = 1e-12) {
  using namespace graft;
  const auto check = [&]<class T>(T, double allowed) {
    const Episode<T> e = on_a_grid(embedded_episode<T>());
    const auto head = make(T());
    CHECK(gap(head(shifted(e, 1e6), Context()), head(e, Context())) <= allowed);
  };
  check(double(), tolerance);
  check(float(), 1e9 * tolerance);
  const Episode<double> e = embedded_episode();
  const auto head = make(double());
  const auto loss = [&](const Tensor<double>& part) {
    const auto moved = with_embeddings(e, [&](const Tensor<double>& x) { return x + part; });
    return sum(square(head(moved, Context())));
  };
  CHECK(max(abs(grad(loss, zeros<double>({e.query.x.size(1)})))).item() <=
        tolerance * std::max(1.0, loss(zeros<double>({1})).item()));
}

/// The share of queries whose largest logit is that of their label.
template <class T>
double share_right(const graft::Tensor<T>& logits, const graft::Episode<T>& episode) {
  const auto answers = argmax(logits, 1);
  double right = 0;
  for (graft::Index q = 0; q < answers.size(0); ++q) right += answers.at({q}) == episode.query.y.at({q});
  return right / static_cast<double>(answers.size(0));
}

/// For `.run`: logits, and the gradients of sum(logits^2) by all embeddings and by the head's parameters.
template <class Head>
graft::Tensor<float> trained_head(const Head& head, const graft::Episode<float>& episode) {
  using namespace graft;
  const Tensor<float> support = episode.support.x, query = episode.query.x;
  const auto loss = [&](const std::vector<Tensor<float>>& x, const Head& h) {
    Episode<float> e = episode;
    e.support.x = x[0];
    e.query.x = x[1];
    return sum(square(h(e, Context())));
  };
  const std::vector<Tensor<float>> items{support, query};
  const auto by_items = grad([&](const std::vector<Tensor<float>>& x) { return loss(x, head); }, items);
  std::vector<Tensor<float>> parts{reshape(head(episode, Context()), {-1}), reshape(by_items[0], {-1}),
                                   reshape(by_items[1], {-1})};
  if (count(head) > 0) parts.push_back(to_vector(grad([&](const Head& h) { return loss(items, h); }, head)));
  return concat(parts, 0);
}

/// For `.loss`, at `head_point(head, episode)`: the head's own loss, else the cross-entropy of its logits, as a
/// function of its parameters, the support and the queries behind one another.
template <class Head>
auto head_loss(const Head& head, const graft::Episode<double>& episode) {
  using namespace graft;
  return [head, episode](const Tensor<double>& point) {
    const Index parameters = count(head), support = episode.support.x.count();
    const Head h = from_vector(slice(point, 0, 0, parameters), head);
    Episode<double> e = episode;
    e.support.x = reshape(slice(point, 0, parameters, parameters + support), e.support.x.shape());
    e.query.x = reshape(slice(point, 0, parameters + support, point.count()), e.query.x.shape());
    if constexpr (requires { h.loss(e, Context()); })
      return h.loss(e, Context());
    else
      return cross_entropy(h(e, Context()), e.query.y);
  };
}
template <class Head>
graft::Tensor<double> head_point(const Head& head, const graft::Episode<double>& episode) {
  using namespace graft;
  return concat<double>(
      {cast<double>(to_vector(head)), reshape(episode.support.x, {-1}), reshape(episode.query.x, {-1})}, 0);
}

/// For `.errors`: the episodes that every head refuses. `head` must fit `episode`.
template <class Head, class T>
std::vector<BadUse> head_errors(const Head& head, const graft::Episode<T>& episode,
                                graft::Site site = graft::Site::current()) {
  using namespace graft;
  const Index items = episode.support.x.size(0), width = episode.support.x.size(1);
  const auto broken = [&](auto breaks) {
    return [=] {
      Episode<T> e = episode;
      breaks(e);
      head(e, Context(), site);
    };
  };
  const auto labelled = [&](std::int64_t label) {
    return [=](Episode<T>& e) { e.support.y = full<std::int64_t>({items}, label); };
  };
  return {bad_use<ShapeError>(broken([=](Episode<T>& e) {
                                e.query.x = zeros<T>({2, width + 1});
                              }),
                              "expected support"),
          bad_use<ShapeError>(broken([=](Episode<T>& e) { e.support.y = zeros<std::int64_t>({items + 1}); }),
                              "expected support"),
          bad_use<IndexError>(broken(labelled(episode.ways)), "ways"),
          bad_use<IndexError>(broken(labelled(-1)), "-1"),
          bad_use<ValueError>(broken(labelled(0)), "has no support item"),
          bad_use<ValueError>(broken([=](Episode<T>& e) {
                                e.support = {zeros<T>({0, width}), zeros<std::int64_t>({0})};
                              }),
                              "0 support items")};
}
