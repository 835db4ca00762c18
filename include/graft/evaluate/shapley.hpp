#pragma once
// What each member of a set contributes to the value of the whole, exactly: slots of a model, or tasks of a joint
// training. Shapley, "A value for n-person games", 1953; interactions as Grabisch and Roubens, International Journal of
// Game Theory 1999, define them.

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "graft/core/tensor.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// As many members at most: a value is asked for all 2^members sets.
inline constexpr Index kSetMembers = 16;

/// A value for every set of members 0 .. members-1.
struct SetValues {
  Index members = 0;
  std::vector<double> values;  ///< 2^members; at place s that of the set with member i where bit i of s is 1

  double operator[](std::size_t set) const { return values[set]; }
  double whole() const { return values.back(); }
  double none() const { return values.front(); }
};

namespace detail {

/// Throws ValueError unless there is a finite value for every set.
inline void check_set_values(const char* op, const SetValues& v, Site site) {
  if (v.members < 1 || v.members > kSetMembers || v.values.size() != std::size_t{1} << v.members)
    fail(op, {v.members, " members and ", v.values.size(), " values, expected 1 to ", kSetMembers, " and 2^members"},
         {}, site);
  for (std::size_t set = 0; set < v.values.size(); ++set)
    if (!std::isfinite(v.values[set])) fail(op, {"the value of set ", set, " is ", v.values[set]}, {}, site);
}
/// s! (rest - s)! / (rest + 1)!: the chance that just the members of a set of size s of `rest` others come before one.
inline std::vector<double> set_weights(Index rest) {
  std::vector<double> weights{1 / static_cast<double>(rest + 1)};
  for (Index s = 1; s <= rest; ++s)
    weights.push_back(weights.back() * static_cast<double>(s) / static_cast<double>(rest - s + 1));
  return weights;
}

}  // namespace detail

/// Asks `value(members)`, members a std::vector<Index> that rises, for every set, from the empty one on: 2^members
/// calls. Throws ValueError unless 1 <= members <= `kSetMembers`, and for a value that is not finite, naming the set.
template <class F>
SetValues set_values(Index members, F value, Site site = Site::current()) {
  const char* op = "set_values";
  if (members < 1 || members > kSetMembers) fail(op, {members, " members, expected 1 to ", kSetMembers}, {}, site);
  SetValues v{members, {}};
  for (std::size_t set = 0; set < std::size_t{1} << members; ++set) {
    std::vector<Index> chosen;
    for (Index i = 0; i < members; ++i)
      if (set >> i & 1) chosen.push_back(i);
    v.values.push_back(static_cast<double>(value(static_cast<const std::vector<Index>&>(chosen))));
    if (std::isfinite(v.values.back())) continue;
    const std::string names = detail::joined(chosen, [](Index i) { return std::to_string(i); });
    fail(op, {"the value of {", names, "} is ", v.values.back()}, {}, site);
  }
  return v;
}

/// Shapley's values [members]: phi_i = sum over S without i of |S|! (m - |S| - 1)! / m! (v(S + i) - v(S)), the mean
/// gain of i over all orders in which members may come. They add up to v(all) - v(none); a member that never changes
/// the value has 0; equal ones have equal values. Throws ValueError for a table of another size or a value that is not
/// finite.
inline std::vector<double> shapley_values(const SetValues& v, Site site = Site::current()) {
  detail::check_set_values("shapley_values", v, site);
  const std::vector<double> weights = detail::set_weights(v.members - 1);
  std::vector<double> phi(static_cast<std::size_t>(v.members));
  for (std::size_t i = 0; i < phi.size(); ++i)
    for (std::size_t set = 0; set < v.values.size(); ++set)
      if (!(set >> i & 1))
        phi[i] +=
            weights[static_cast<std::size_t>(__builtin_popcountll(set))] * (v[set | std::size_t{1} << i] - v[set]);
  return phi;
}

/// Interactions of pairs by themselves, [members, members]: I_ij = v({i, j}) - v({i}) - v({j}) + v(none), 0 on the
/// diagonal. 0 for all pairs of an additive v; above 0 where two are worth more together. Throws as `shapley_values`.
inline Tensor<double> pair_interactions(const SetValues& v, Site site = Site::current()) {
  detail::check_set_values("pair_interactions", v, site);
  const auto m = static_cast<std::size_t>(v.members);
  std::vector<double> pairs(m * m);
  for (std::size_t i = 0; i < m; ++i)
    for (std::size_t j = 0; j < m; ++j)
      if (i != j) {
        const std::size_t a = std::size_t{1} << i, b = std::size_t{1} << j;
        pairs[i * m + j] = v[a | b] - v[a] - v[b] + v.none();
      }
  return from_vector(pairs, {v.members, v.members});
}

/// Interactions of pairs among the others, [members, members]: the mean of v(S + i + j) - v(S + i) - v(S + j) + v(S)
/// over the sets S without i and j, with the weights |S|! (m - |S| - 2)! / (m - 1)! of Shapley's value; 0 on the
/// diagonal. `pair_interactions` is the term of S = none. Throws as `shapley_values`.
inline Tensor<double> shapley_interactions(const SetValues& v, Site site = Site::current()) {
  detail::check_set_values("shapley_interactions", v, site);
  const auto m = static_cast<std::size_t>(v.members);
  std::vector<double> pairs(m * m);
  if (m < 2) return from_vector(pairs, {v.members, v.members});
  const std::vector<double> weights = detail::set_weights(v.members - 2);
  for (std::size_t i = 0; i < m; ++i)
    for (std::size_t j = 0; j < i; ++j) {
      const std::size_t a = std::size_t{1} << i, b = std::size_t{1} << j;
      double total = 0;
      for (std::size_t set = 0; set < v.values.size(); ++set)
        if (!(set & (a | b)))
          total += weights[static_cast<std::size_t>(__builtin_popcountll(set))] *
                   (v[set | a | b] - v[set | a] - v[set | b] + v[set]);
      pairs[i * m + j] = pairs[j * m + i] = total;
    }
  return from_vector(pairs, {v.members, v.members});
}

}  // namespace GRAFT_ABI
}  // namespace graft
