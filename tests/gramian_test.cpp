// Gramians of gradients, tagged [model]: the products of the Jacobian that is not stored, symmetric, with the same bits
// on any number of threads.

#include <cmath>
#include <optional>

#include "catch.hpp"
#include "graft/model/gramian.hpp"
#include "graft/model/per_sample_gradients.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/losses.hpp"
#include "graft/protocol/aggregation.hpp"
#include "messages.hpp"

using namespace graft;

namespace {

using Numbers = Tensor<double>;

/// Parameters of two types, a list, and one that may be missing.
struct Mixed {
  Tensor<float> small;
  std::vector<Numbers> rest;
  std::optional<Numbers> extra;
  GRAFT_FIELDS(small, rest, extra)
};
Mixed mixed(std::uint64_t seed, Index numbers = 40000) {
  const Random random(seed);
  return {randn<float>({7, 3}, random.stream(1)), {randn<double>({numbers}, random.stream(2)), Numbers(0.5)}, {}};
}
struct Net {
  Linear<double> first, second;
  GRAFT_FIELDS(first, second)
  Numbers operator()(const Numbers& x) const { return second(tanh(first(x))); }
};
Net net(Index in, Index hidden) {
  return {Linear<double>(in, hidden, Random(1)), Linear<double>(hidden, 3, Random(2))};
}
/// One loss an item, [items].
struct Losses {
  Numbers x, y;
  Numbers operator()(const Net& m) const { return sum(square(m(x) - y), {1}); }
};
Losses losses(Index items, Index in) {
  return {randn<double>({items, in}, Random(3)), randn<double>({items, 3}, Random(4))};
}

Numbers product(const Numbers& jacobian) { return matmul(jacobian, jacobian, {.transpose_b = true}); }
/// |a_ij - b_ij| over the root of b_ii b_jj.
double relative_gap(const Numbers& a, const Numbers& b) {
  REQUIRE(a.shape() == b.shape());
  double most = 0;
  for (Index i = 0; i < a.size(0); ++i)
    for (Index j = 0; j < a.size(0); ++j)
      most = std::max(most, std::abs(a.at({i, j}) - b.at({i, j})) / std::sqrt(b.at({i, i}) * b.at({j, j})));
  return most;
}
bool symmetric(const Numbers& x) { return same_bits(x, transpose(x)); }
/// Bytes that f asks of the system beyond what is held: the most that it needs at a time.
template <class F>
Index bytes_asked_for(F f) {
  release_cached_memory();
  const Index before = memory_stats().system_bytes;
  f();
  return memory_stats().system_bytes - before;
}

}  // namespace

TEST_CASE("the Gramian of models is that of their vectors", "[model]") {
  std::vector<Mixed> gradients;
  for (std::uint64_t task = 0; task < 5; ++task) gradients.push_back(mixed(task));
  std::vector<Numbers> rows;
  for (const Mixed& gradient : gradients)
    rows.push_back(concat<double>(
        {cast<double>(reshape(gradient.small, {-1})), gradient.rest[0], reshape(gradient.rest[1], {1})}, 0));
  set_threads(1);
  const Numbers one_thread = gramian(gradients);
  CHECK(relative_gap(one_thread, product(stack(rows))) < 1e-12);
  CHECK(symmetric(one_thread));
  for (const int count : {2, 3, 8}) {
    set_threads(count);
    CHECK(same_bits(gramian(gradients), one_thread));
  }
  set_threads(0);
  CHECK(gramian(std::vector{gradients[2]}).at({0, 0}) == Approx(one_thread.at({2, 2})).epsilon(1e-13));
  CHECK(same_bits(gramian(std::vector<Numbers>{tensor<double>({3, 4}), tensor<double>({1, 0})}),
                  tensor<double>({{25, 3}, {3, 1}})));
  CHECK_THROWS_WITH(gramian(std::vector<Mixed>{}), contains("no gradients"));
  CHECK_THROWS_WITH(gramian(std::vector{mixed(1), mixed(2, 3)}), contains("graft: gramian: ") && contains("rest.0"));
}

TEST_CASE("an aggregator's Gramian of models is not made from the Jacobian", "[model]") {
  std::vector<Mixed> gradients;
  for (std::uint64_t task = 0; task < 6; ++task) gradients.push_back(mixed(task, 500000));
  const std::vector<bool> all{true, true, true}, part{false, true, false};
  for (const std::vector<bool>& shared : {all, part}) {
    detail::ModelGradients<Mixed> tasks(gradients, shared, {}, Random(1));
    Numbers products;
    const Index asked = bytes_asked_for([&] { products = tasks.gramian(); });
    const Numbers jacobian = tasks.jacobian();
    CHECK(asked < jacobian.count() * 8 / 6);
    CHECK(relative_gap(products, product(jacobian)) < 1e-12);
    CHECK(symmetric(products));
  }
}

TEST_CASE("the Gramian of per-sample gradients is the Jacobian's", "[model]") {
  const Net m = net(5, 8);
  const Losses f = losses(13, 5);
  const Numbers expected = product(jacobian(f, m));
  for (const Index block : {1, 4, 5, 13, 100}) {
    const Numbers products = per_sample_gramian(f, m, {.block = block});
    CHECK(relative_gap(products, expected) < 1e-12);
    CHECK(symmetric(products));
    CHECK_FALSE(products.tracked());
  }
  CHECK(same_bits(per_sample_gramian(f, m, {.block = 4}), per_sample_gramian(f, m)));
  // Losses, as models, are rows too.
  std::vector<Net> gradients;
  for (Index i = 0; i < 13; ++i)
    gradients.push_back(grad([&](const Net& at) { return sum(slice(f(at), 0, i, i + 1)); }, m));
  CHECK(relative_gap(gramian(gradients), expected) < 1e-12);
  // Frozen parameters count nothing; no items, no products.
  const Net frozen = freeze(m, {"first"});
  CHECK(relative_gap(per_sample_gramian(f, frozen), product(slice(jacobian(f, m), 1, 48, count(m)))) < 1e-12);
  CHECK(per_sample_gramian(losses(0, 5), m).shape() == Shape{0, 0});
  // Inside a function that is differentiated it is a constant.
  const Numbers slope = grad([&](const Numbers& w) { return w * sum(per_sample_gramian(f, m)); }, Numbers(2));
  CHECK(slope.item() == Approx(sum(expected).item()));

  CHECK_THROWS_WITH(per_sample_gramian(f, m, {.block = 0}), contains("block is 0"));
  CHECK_THROWS_WITH(per_sample_gramian([&](const Net& at) { return sum(f(at)); }, m), contains("[items]"));
  CHECK_THROWS_WITH(per_sample_gramian([&](const Net&) { return f(m); }, m), contains("captured model"));
}

TEST_CASE("the Gramian of per-sample gradients holds a few of them at a time", "[model]") {
  const Index items = 96;
  const Net m = net(200, 400);
  const Losses f = losses(items, 200);
  Numbers products;
  const Index asked = bytes_asked_for([&] { products = per_sample_gramian(f, m, {.block = 3}); });
  const Index whole = items * count(m) * 8;
  CHECK(asked < whole / 6);
  CHECK(bytes_asked_for([&] { CHECK(relative_gap(products, product(jacobian(f, m))) < 1e-12); }) >= whole);
}

TEST_CASE("the Gramian of a linear head's per-sample gradients needs none of them", "[model]") {
  const Linear<double> head(6, 4, Random(1));
  const Numbers x = randn<double>({9, 6}, Random(2)), y = randn<double>({9, 4}, Random(3));
  const auto loss = [&](const Numbers& z) { return sum(square(tanh(z) - y), {1}); };
  const auto each = per_sample_gradients(loss, head(x), x);
  const Numbers rows = concat<double>({reshape(each.weight, {9, 24}), each.bias}, 1);
  const Numbers products = per_sample_gramian(loss, head(x), x);
  CHECK(relative_gap(products, product(rows)) < 1e-13);
  CHECK(relative_gap(products, per_sample_gramian([&](const Linear<double>& h) { return loss(h(x)); }, head)) < 1e-12);
  CHECK(symmetric(products));
  CHECK_THROWS_WITH(per_sample_gramian([](const Numbers& z) { return sum(z); }, head(x), x),
                    contains("one loss a sample"));
  CHECK_THROWS_WITH(per_sample_gramian(loss, head(x), slice(x, 0, 0, 3)), contains("[3, 6]"));
}
