// Shapley's values and interactions: games by hand, sums over orders, and the axioms.

#include <algorithm>
#include <cmath>
#include <numeric>

#include "catch.hpp"
#include "graft/core/random.hpp"
#include "graft/evaluate/shapley.hpp"
#include "messages.hpp"

using namespace graft;

namespace {

using Members = std::vector<Index>;

bool has(const Members& set, Index member) { return std::find(set.begin(), set.end(), member) != set.end(); }
SetValues drawn(Index members, std::uint64_t seed) {
  const Random random(seed);
  std::uint64_t place = 0;
  return set_values(members, [&](const Members&) { return random.uniform(place++); });
}
/// The mean gain of each member over all orders, and of each pair treated as one step, straight from the definition.
std::vector<double> mean_gains(const SetValues& v) {
  std::vector<std::size_t> order(v.members);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::vector<double> gains(order.size());
  double orders = 0;
  do {
    std::size_t set = 0;
    for (const std::size_t i : order) {
      gains[i] += v[set | std::size_t{1} << i] - v[set];
      set |= std::size_t{1} << i;
    }
    ++orders;
  } while (std::next_permutation(order.begin(), order.end()));
  for (double& gain : gains) gain /= orders;
  return gains;
}

}  // namespace

TEST_CASE("sets are asked for in order, each once", "[evaluate]") {
  std::vector<Members> asked;
  const SetValues v = set_values(3, [&](const Members& set) {
    asked.push_back(set);
    return std::accumulate(set.begin(), set.end(), 10.0);
  });
  CHECK(asked == std::vector<Members>{{}, {0}, {1}, {0, 1}, {2}, {0, 2}, {1, 2}, {0, 1, 2}});
  CHECK(v.none() == 10);
  CHECK(v.whole() == 13);
  CHECK(v[5] == 12);
}

TEST_CASE("the glove game by hand", "[evaluate]") {
  // One left glove and two right ones; a pair is worth 1. Known values 2/3, 1/6, 1/6.
  const SetValues v =
      set_values(3, [](const Members& set) { return has(set, 0) && (has(set, 1) || has(set, 2)) ? 1.0 : 0.0; });
  const std::vector<double> phi = shapley_values(v);
  CHECK(phi[0] == Approx(2.0 / 3));
  CHECK(phi[1] == Approx(1.0 / 6));
  CHECK(phi[2] == Approx(1.0 / 6));
  // By themselves the left and a right one complete a pair; among the others the right ones replace each other.
  const Tensor<double> alone = pair_interactions(v), among = shapley_interactions(v);
  CHECK(alone.at({0, 1}) == 1);
  CHECK(alone.at({1, 2}) == 0);
  CHECK(among.at({0, 1}) == Approx(0.5));   // 1 without the other right one, 0 with it
  CHECK(among.at({1, 2}) == Approx(-0.5));  // 0 without the left one, -1 with it
  CHECK(among.at({2, 2}) == 0);
}

TEST_CASE("Shapley's values are mean gains over all orders, and add up", "[evaluate]") {
  for (Index members = 1; members <= 6; ++members) {
    const SetValues v = drawn(members, static_cast<std::uint64_t>(members));
    const std::vector<double> phi = shapley_values(v), expected = mean_gains(v);
    for (std::size_t i = 0; i < phi.size(); ++i) CHECK(phi[i] == Approx(expected[i]).margin(1e-13));
    CHECK(std::accumulate(phi.begin(), phi.end(), 0.0) == Approx(v.whole() - v.none()).margin(1e-13));
  }
  const SetValues large = drawn(10, 1);
  const std::vector<double> phi = shapley_values(large);
  CHECK(std::accumulate(phi.begin(), phi.end(), 0.0) == Approx(large.whole() - large.none()).margin(1e-12));
}

TEST_CASE("interactions of an additive game are 0, those of planted pairs are these", "[evaluate]") {
  // Eighths, so that sums are exact: v = 1/8 sum (i + 1) + 3/4 for the pair (1, 4) - 1/2 for the pair (0, 2).
  const auto additive = [](const Members& set) {
    double total = 5;
    for (const Index i : set) total += static_cast<double>(i + 1) / 8;
    return total;
  };
  const SetValues plain = set_values(5, additive);
  const std::vector<double> own = shapley_values(plain);
  const SetValues paired = set_values(5, [&](const Members& set) {
    return additive(set) + (has(set, 1) && has(set, 4) ? 0.75 : 0.0) - (has(set, 0) && has(set, 2) ? 0.5 : 0.0);
  });
  const std::vector<double> phi = shapley_values(paired);
  const double half[] = {-0.25, 0.375, -0.25, 0, 0.375};  // each of a pair has half of what it adds
  for (Index i = 0; i < 5; ++i) {
    CHECK(own[i] == Approx(static_cast<double>(i + 1) / 8).epsilon(1e-14));
    CHECK(phi[i] == Approx(static_cast<double>(i + 1) / 8 + half[i]).epsilon(1e-14));
    for (Index j = 0; j < 5; ++j) {
      const Index low = std::min(i, j), high = std::max(i, j);
      const double planted = low == 1 && high == 4 ? 0.75 : low == 0 && high == 2 ? -0.5 : 0;
      CHECK(pair_interactions(plain).at({i, j}) == 0);
      CHECK(std::abs(shapley_interactions(plain).at({i, j})) < 1e-15);
      CHECK(pair_interactions(paired).at({i, j}) == planted);
      CHECK(shapley_interactions(paired).at({i, j}) == Approx(planted).margin(1e-15));
    }
  }
}

TEST_CASE("the axioms of Shapley's value", "[evaluate]") {
  const SetValues v = drawn(4, 7), w = drawn(4, 8);
  SetValues both = v, dummy{5, {}};
  for (std::size_t s = 0; s < both.values.size(); ++s) both.values[s] = 2 * v[s] - w[s];
  const std::vector<double> pv = shapley_values(v), pw = shapley_values(w), pb = shapley_values(both);
  for (std::size_t i = 0; i < 4; ++i) CHECK(pb[i] == Approx(2 * pv[i] - pw[i]).margin(1e-13));
  // A member that changes nothing has 0, and the others keep theirs.
  for (int twice = 0; twice < 2; ++twice) dummy.values.insert(dummy.values.end(), v.values.begin(), v.values.end());
  const std::vector<double> pd = shapley_values(dummy);
  CHECK(pd[4] == 0);
  for (std::size_t i = 0; i < 4; ++i) CHECK(pd[i] == Approx(pv[i]).margin(1e-13));
  for (Index i = 0; i < 5; ++i) CHECK(shapley_interactions(dummy).at({4, i}) == 0);
  // One member alone.
  const SetValues single = drawn(1, 2);
  CHECK(shapley_values(single)[0] == single.whole() - single.none());
  CHECK(shapley_interactions(single).at({0, 0}) == 0);
}

TEST_CASE("what set functions refuse", "[evaluate]") {
  const auto one = [](const Members&) { return 1.0; };
  CHECK(refusal_fault("set_values", "0 members", [&] { set_values(0, one); }) == "");
  CHECK(refusal_fault("set_values", "17 members, expected 1 to 16", [&] { set_values(17, one); }) == "");
  CHECK(refusal_fault("set_values", "the value of {0, 2} is nan", [&] {
          set_values(3, [](const Members& set) { return set == Members{0, 2} ? std::nan("") : 0.0; });
        }) == "");
  SetValues v = set_values(3, one);
  v.values.pop_back();
  CHECK(refusal_fault("shapley_values", "7 values", [&] { shapley_values(v); }) == "");
  v.values.push_back(1.0 / 0.0);
  CHECK(refusal_fault("pair_interactions", "set 7 is inf", [&] { pair_interactions(v); }) == "");
  CHECK(refusal_fault("shapley_interactions", "set 7 is inf", [&] { shapley_interactions(v); }) == "");
}
