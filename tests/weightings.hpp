#pragma once
// What weightings of the tasks' losses are tried on, and what every one of them is held to.

#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "graft/common/aggregator.hpp"
#include "graft/io/checkpoint.hpp"
#include "graft/model/grad.hpp"
#include "method_table.hpp"

using namespace graft;

using Numbers = Tensor<double>;
inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// The largest difference, each as a share of b.
inline double relative(const Numbers& a, const Numbers& b) {
  REQUIRE(a.shape() == b.shape());
  return max(abs(a / b - 1)).item();
}
inline double at(const Numbers& x, Index i) { return x.span()[i]; }
inline double total(const Numbers& x) { return sum(x).item(); }
inline Numbers part(const Numbers& x, Index from, Index to) { return slice(x, 0, from, to); }
/// Positive numbers that differ from round to round.
inline Numbers some_losses(Index tasks, std::uint64_t round) {
  return exp(randn<double>({tasks}, Random(8).stream(round)));
}

/// A round of `all` tasks with these losses, and gradients [rows, n], of which most weightings know nothing.
inline TaskGradients round_of(const Numbers& losses, const List<Index>& ids = {}, Index all = 0,
                              const Numbers& rows = {}) {
  TaskGradients gradients(rows.defined() ? rows : ones<double>({losses.count(), 1}), losses, Random(1));
  if (ids.size() > 0) {
    gradients.ids = ids;
    gradients.all_tasks = all;
  }
  return gradients;
}
template <class W>
Numbers weigh(W& weighting, const Numbers& losses, const List<Index>& ids = {}, Index all = 0,
              const Numbers& rows = {}) {
  TaskGradients gradients = round_of(losses, ids, all, rows);
  return weighting(gradients).weights;
}
/// The direction after three rounds of random losses and gradients.
inline Tensor<float> direction_of(Aggregator weighting, const Random& random) {
  Numbers direction;
  for (std::uint64_t round = 0; round < 3; ++round) {
    const Numbers rows = randn<double>({6, 3000}, random.stream("rows", round));
    TaskGradients gradients(rows, exp(randn<double>({6}, random.stream("losses", round))), random.stream(round));
    direction = sum(reshape(weighting(gradients).weights, {6, 1}) * rows, {0});
  }
  return cast<float>(direction);
}
/// The gradient of a loss of some thousand losses and as many numbers of the tasks' own, and a direction.
template <class Loss>
Tensor<float> trained(Loss loss, const Aggregator& weighting, const Random& random) {
  const Tensor<float> slopes =
      grad([&](const Tensor<float>& x) { return loss(exp(slice(x, 0, 0, 9000)), slice(x, 0, 9000, 18000)); },
           randn<float>({18000}, random.stream("losses")));
  return concat(std::vector{slopes, direction_of(weighting, random)}, 0);
}

/// What every weighting that remembers is held to: `fresh` was not told the number of tasks, `sized` that it is 4.
inline void check_memory(const Aggregator& fresh, const Aggregator& sized, bool always_moves = true) {
  const auto run = [](Aggregator& weighting, std::uint64_t from, std::uint64_t to) {
    std::vector<Numbers> weights;
    for (std::uint64_t round = from; round < to; ++round) {
      const List<Index> ids = round % 3 == 1 ? List<Index>{0, 2, 2} : List<Index>{0, 1, 2, 3};
      const Numbers rows = randn<double>({ids.size(), 3}, Random(4).stream(round));
      weights.push_back(weigh(weighting, some_losses(ids.size(), round), ids, 4, rows));
    }
    return weights;
  };
  const auto alike = [](const std::vector<Numbers>& a, const std::vector<Numbers>& b) {
    REQUIRE(a.size() == b.size());
    for (std::size_t i = 0; i < a.size(); ++i) CHECK(same_bits(a[i], b[i]));
  };
  Aggregator one = fresh, other = sized;
  const std::vector<Numbers> first = run(one, 0, 7);
  alike(run(other, 0, 7), first);

  // A copy, and one that comes from a file, go on as the one that never stopped.
  Aggregator copy = one, loaded = sized;
  const Folder folder;
  save_checkpoint(folder / "weighting.npz", one);
  load_checkpoint(folder / "weighting.npz", loaded);
  const std::vector<Numbers> next = run(one, 7, 15);
  alike(run(copy, 7, 15), next);
  alike(run(loaded, 7, 15), next);
  CHECK_FALSE(same_bits(next[5], first[0]));

  // Tasks 1 and 3 are absent; what is known of them stays as it is.
  const Aggregator before = one;
  weigh(one, some_losses(2, 20), {2, 0}, 4, randn<double>({2, 3}, Random(6)));
  bool moved = false;
  for_each_parameter(
      [&](const Numbers& old, const Numbers& now) {
        if (old.rank() == 0) return;
        REQUIRE(old.shape() == Shape{4});
        for (Index task : {1, 3})
          CHECK(std::bit_cast<std::uint64_t>(at(old, task)) == std::bit_cast<std::uint64_t>(at(now, task)));
        moved = moved || at(old, 0) != at(now, 0);
      },
      before, one);
  CHECK(moved == always_moves);
}

/// Of every weighting of losses: it does not matter which number a task has, and in which row it stands.
inline void check_order(const Aggregator& fresh) {
  const std::int64_t number_of[] = {2, 0, 3, 1};
  Aggregator one = fresh, other = fresh;
  for (std::uint64_t round = 0; round < 8; ++round) {
    const List<Index> ids = round % 3 == 1 ? List<Index>{0, 2, 2} : List<Index>{0, 1, 2, 3};
    List<Index> renamed;
    List<std::int64_t> backwards;
    for (Index row = ids.size() - 1; row >= 0; --row) {
      renamed.push_back(number_of[ids[row]]);
      backwards.push_back(row);
    }
    const auto turned = [&](const Numbers& x) { return gather(x, from_vector(backwards)); };
    const Numbers losses = some_losses(ids.size(), round),
                  rows = randn<double>({ids.size(), 3}, Random(4).stream(round));
    const Numbers weights = weigh(one, losses, ids, 4, rows);
    CHECK(relative(weigh(other, turned(losses), renamed, 4, turned(rows)), turned(weights)) < 1e-12);
  }
}

/// Bad uses that every weighting of losses refuses; those that remember also refuse another number of tasks.
template <class W>
std::vector<BadUse> refuses(const W& weighting, double loss, const std::string& says, Site site = Site::current()) {
  const auto use = [weighting, site](const Numbers& losses, const List<Index>& ids, Index all) {
    W own = weighting;
    TaskGradients gradients = round_of(losses, ids, all);
    own(gradients, site);
  };
  return {bad_use<ValueError>(
              [weighting, site] {
                W own = weighting;
                TaskGradients gradients(ones<double>({2, 1}), {}, Random(1));
                own(gradients, site);
              },
              "gradients only"),
          bad_use<ValueError>(
              [use] {
                use(tensor<double>({1, NAN}), {}, 0);
              },
              "the loss of task 1 is nan"),
          bad_use<ValueError>(
              [use] {
                use(tensor<double>({kInfinity, 1}), {}, 0);
              },
              "the loss of task 0 is inf"),
          bad_use<ValueError>(
              [use, loss] {
                use(tensor<double>({loss, 1}), {}, 0);
              },
              says),
          bad_use<IndexError>(
              [use] {
                use(ones<double>({2}), {0, 2}, 2);
              },
              "task 2 of 2"),
          bad_use<ShapeError>([use] { use(ones<double>({2}), {0}, 2); }, "1 tasks for 2 losses")};
}
template <class W>
std::vector<BadUse> refuses_all(const W& weighting, double loss, const std::string& says,
                                const std::vector<BadUse>& own, Site site = Site::current()) {
  const auto another_number = [weighting, site] {
    W used = weighting;
    for (Index tasks : {2, 3}) {
      TaskGradients gradients = round_of(ones<double>({tasks}));
      used(gradients, site);
    }
  };
  return joined(
      joined(refuses(weighting, loss, says, site), {bad_use<ShapeError>(another_number, "state [2]"),
                                                    bad_use<ValueError>([site] { W(-1, {}, site); }, "tasks is -1")}),
      own);
}

inline const Numbers far_apart = tensor<double>({0.01, 1, 250, 1e30});
