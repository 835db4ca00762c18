// Tables of interaction by hand and in closed form, and a planted relation of tasks that each of them must find.

#include <algorithm>
#include <cmath>
#include <numeric>

#include "catch.hpp"
#include "graft/evaluate/cka.hpp"
#include "graft/evaluate/interaction.hpp"
#include "graft/ops/linalg.hpp"
#include "graft/ops/prototypes.hpp"
#include "graft/ops/softmax.hpp"
#include "messages.hpp"

using namespace graft;

namespace {

using Numbers = Tensor<double>;
using Members = std::vector<Index>;

bool has(const Members& set, Index member) { return std::find(set.begin(), set.end(), member) != set.end(); }

/// Six tasks in the groups {0, 3}, {1, 4}, {2, 5}: 1 within a group, 0 between.
constexpr Index kTasks = 6;
Index group_of(Index task) { return task % 3; }
Numbers planted() {
  return generate({kTasks, kTasks}, [](Index i, Index j) { return group_of(i) == group_of(j) ? 1.0 : 0.0; });
}
/// A true relation has all of the planted order, and no renaming of the tasks but those of its own symmetry has as
/// much: 3! 2^3 of 6!.
void check_recovered(const Numbers& found) {
  const RecoveredRelation score = recovered_relation(found, planted());
  CHECK(score.concordance == 1);
  CHECK(score.rank_correlation > 0.6);
  CHECK(score.p == Approx(48.0 / 720));
}

}  // namespace

TEST_CASE("ablations and Shapley's values of parts in closed form", "[evaluate]") {
  // Task 0 needs parts 0 and 1, either of which will do, task 1 has 2 - 1.5 of part 2; part 3 is not looked at.
  int calls = 0;
  const auto losses = [&](const Members& kept) {
    ++calls;
    return tensor<double>({has(kept, 0) || has(kept, 1) ? 1.0 : 4.0, has(kept, 2) ? 0.5 : 2.0});
  };
  const Numbers d = ablation_dependency(4, losses);
  CHECK(calls == 5);
  CHECK(d.shape() == Shape{2, 4});
  const double without[2][4] = {{0, 0, 0, 0}, {0, 0, 1.5, 0}};  // one of two alike is not missed
  const double shares[2][4] = {{1.5, 1.5, 0, 0}, {0, 0, 1.5, 0}};
  const Numbers phi = shapley_dependency(4, losses);
  CHECK(calls == 5 + 16);
  for (Index t = 0; t < 2; ++t)
    for (Index k = 0; k < 4; ++k) {
      CHECK(d.at({t, k}) == without[t][k]);
      CHECK(phi.at({t, k}) == Approx(shares[t][k]).margin(1e-14));
    }
}

TEST_CASE("attention to slots by hand", "[evaluate]") {
  // Two items of tasks 1 and 0, one head, two tokens and two slots; the slots' own rows do not count.
  const Numbers weights = reshape(tensor<double>({{0.5, 0.25, 0.25, 0},
                                                  {0.5, 0.5, 0, 0},
                                                  {0, 0, 1, 0},
                                                  {0, 0, 0, 1},
                                                  {0, 0.5, 0.25, 0.25},
                                                  {0, 0, 0.5, 0.5},
                                                  {1, 0, 0, 0},
                                                  {0, 1, 0, 0}}),
                                  {2, 1, 4, 4});
  const AttentionAllocation a = attention_allocation(weights, tensor<std::int64_t>({1, 0}), 2, 2);
  CHECK(a.slots.shape() == Shape{2, 1, 2});
  CHECK(a.slots.at({1, 0, 0}) == 0.125);
  CHECK(a.slots.at({1, 0, 1}) == 0);
  CHECK(a.tokens.at({1, 0}) == 0.875);
  CHECK(a.entropy.at({1, 0}) == 0);  // all on one slot
  CHECK(a.slots.at({0, 0, 0}) == 0.375);
  CHECK(a.slots.at({0, 0, 1}) == 0.375);
  CHECK(a.entropy.at({0, 0}) == Approx(std::log(2.0)));
  const AttentionAllocation none =
      attention_allocation(slice(weights, 2, 1, 2), tensor<std::int64_t>({0, 1}), 2, 2);  // one query an item
  CHECK(none.tokens.at({0, 0}) == 1);
  CHECK(none.entropy.at({0, 0}) == 0);
  CHECK(none.slots.at({1, 0, 0}) == 0.5);
}

TEST_CASE("rows and the mass off the slots add up to 1", "[evaluate]") {
  const Tensor<float> weights = softmax(3.0f * randn<float>({9, 4, 12, 15}, Random(1)));
  std::vector<std::int64_t> tasks;
  for (Index i = 0; i < 9; ++i) tasks.push_back(i % 3);
  const AttentionAllocation a = attention_allocation(weights, from_vector(tasks), 3, 3);
  const Numbers whole = sum(a.slots, {2}) + a.tokens;
  CHECK(max(abs(whole - 1.0)).item() < 1e-14);
  CHECK(max(a.entropy).item() <= std::log(3.0));
  CHECK(min(a.entropy).item() > 0.8 * std::log(3.0));  // random slots are about alike
}

TEST_CASE("the decomposition of an additive value has no interactions", "[evaluate]") {
  const SetValues v = set_values(4, [](const Members& set) {
    double total = 0.5;
    for (const Index i : set) total += static_cast<double>(i) / 4;
    return total;
  });
  const TaskDecomposition parts = task_decomposition(v);
  for (Index i = 0; i < 4; ++i) {
    const auto at = static_cast<std::size_t>(i);
    CHECK(parts.alone[at] == static_cast<double>(i) / 4);
    CHECK(parts.marginal[at] == static_cast<double>(i) / 4);
    CHECK(parts.shapley[at] == Approx(static_cast<double>(i) / 4).margin(1e-14));
  }
  CHECK(max(abs(parts.interactions)).item() == 0);
  CHECK(max(abs(parts.among_others)).item() < 1e-15);
}

TEST_CASE("agreement with a relation by hand", "[evaluate]") {
  // Planted 0-1 related; found in the order (01) > (02) > (12), and by an order that has one of two pairs wrong.
  const Numbers planted = tensor<double>({{0, 1, 0}, {1, 0, 0}, {0, 0, 0}});
  const Numbers right = tensor<double>({{9, 3, 2}, {3, 9, 1}, {2, 1, 9}});
  const Numbers half = tensor<double>({{9, 2, 3}, {2, 9, 1}, {3, 1, 9}});
  CHECK(recovered_relation(right, planted).concordance == 1);
  CHECK(recovered_relation(right, planted).p == Approx(2.0 / 6));  // 0 and 1 may change names
  CHECK(recovered_relation(half, planted).concordance == 0.5);
  CHECK(recovered_relation(-right, planted).concordance == 0);
  CHECK(recovered_relation(zeros<double>({3, 3}), planted).concordance == 0.5);
  CHECK(recovered_relation(zeros<double>({3, 3}), planted).p == 1);
  // Spearman's by its formula without ties, 1 - 6 sum d^2 / (n (n^2 - 1)): ranks 1 .. 6 against 2 1 3 4 6 5.
  const Numbers a = tensor<double>({{0, 1, 2}, {3, 0, 4}, {5, 6, 0}}),
                b = tensor<double>({{0, 2, 1}, {3, 0, 4}, {6, 5, 0}});
  CHECK(recovered_relation(a, b).rank_correlation == Approx(1 - 6.0 * 4 / (6 * 35)));
  CHECK(recovered_relation(a, b).concordance == Approx(13.0 / 15));
  CHECK(recovered_relation(cast<float>(exp(a)), b).rank_correlation == Approx(1 - 6.0 * 4 / (6 * 35)));
}

TEST_CASE("tables of noise do not recover a relation", "[evaluate]") {
  double concordance = 0, low = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const RecoveredRelation score = recovered_relation(randn<double>({kTasks, kTasks}, Random(seed)), planted());
    concordance += score.concordance / 200;
    low += score.p <= 0.1;
  }
  CHECK(std::abs(concordance - 0.5) < 0.04);
  CHECK(low <= 200 * 0.1 + 3 * std::sqrt(200 * 0.1 * 0.9));
  // Of eight tasks the names are drawn.
  const Numbers ring = generate({8, 8}, [](Index i, Index j) { return (i - j + 8) % 8 == 1 ? 1.0 : 0.0; });
  CHECK(recovered_relation(ring, ring).p < 0.01);  // 8 of 8! are as good
  CHECK(recovered_relation(randn<double>({8, 8}, Random(3)), ring).p > 0.02);
}

TEST_CASE("CKA of slot features recovers the planted relation", "[evaluate]") {
  // Tasks of a group see the same four latent variables, each through its own random map into 10 features, and noise.
  std::vector<Numbers> features;
  for (Index t = 0; t < kTasks; ++t) {
    const Random group = Random(1).stream("group", group_of(t)), own = Random(1).stream("task", t);
    features.push_back(matmul(randn<double>({80, 4}, group), randn<double>({4, 10}, own)) +
                       0.5 * randn<double>({80, 10}, own.stream("noise")));
  }
  check_recovered(cka_matrix(features));
}

TEST_CASE("dependencies on parts recover the planted relation", "[evaluate]") {
  // Task t is the sum of its group's two of six parts, each with its own factor, and is read from the parts kept.
  const Random random(2);
  const Numbers parts = randn<double>({100, 6}, random.stream("parts"));
  const auto losses = [&](const Members& kept) {
    std::vector<double> result;
    for (Index t = 0; t < kTasks; ++t) {
      Numbers lost = zeros<double>({100, 1});
      for (Index k = 0; k < 6; ++k)
        if (k / 2 == group_of(t) && !has(kept, k))
          lost = lost + (0.5 + random.uniform(static_cast<std::uint64_t>(t * 6 + k))) * slice(parts, 1, k, k + 1);
      result.push_back(mean(lost * lost).item());
    }
    return from_vector(result);
  };
  const Numbers d = ablation_dependency(6, losses), phi = shapley_dependency(6, losses);
  for (Index t = 0; t < kTasks; ++t)
    for (Index k = 0; k < 6; ++k) CHECK((d.at({t, k}) > 0) == (k / 2 == group_of(t)));  // unused parts: exactly 0
  check_recovered(cosine_similarities(d, d));
  check_recovered(cosine_similarities(phi, phi));
}

TEST_CASE("values of training on two tasks recover the planted relation", "[evaluate]") {
  // Linear tasks whose weights share those of their group; a task has 12 noisy items of 6 features, so that a related
  // task's items help and others' harm: found[i, j] is how much the items of j lower the error of task i.
  const Random random(3);
  const auto truth = [&](Index t) {
    const Numbers group = generate({6, 1}, [&](Index k, Index) { return k / 2 == group_of(t) ? 2.0 : 0.0; });
    return group + 0.1 * randn<double>({6, 1}, random.stream("own", t));
  };
  const auto items = [&](Index t) { return randn<double>({12, 6}, random.stream("items", t)); };
  const auto answers = [&](Index t) {
    return matmul(items(t), truth(t)) + 0.5 * randn<double>({12, 1}, random.stream("noise", t));
  };
  const auto error = [&](Index task, const Members& set) {  // of the least squares on the items of the set
    std::vector<Numbers> x, y;
    for (const Index t : set) {
      x.push_back(items(t));
      y.push_back(answers(t));
    }
    return sum(square(least_squares(concat(x, 0), concat(y, 0)) - truth(task))).item();
  };
  std::vector<double> found;
  for (Index i = 0; i < kTasks; ++i)
    for (Index j = 0; j < kTasks; ++j) found.push_back(i == j ? 0 : error(i, {i}) - error(i, {i, j}));
  const Numbers table = from_vector(found, {kTasks, kTasks});
  check_recovered(table + transpose(table));
  CHECK(recovered_relation(table, planted()).concordance > 0.9);
}

TEST_CASE("what tables of interaction refuse", "[evaluate]") {
  const auto fine = [](const Members&) { return ones<double>({2}); };
  const auto growing = [](const Members& kept) { return ones<double>({static_cast<Index>(kept.size())}); };
  const auto nan = [](const Members&) { return tensor<double>({1, std::nan("")}); };
  CHECK(refusal_fault("ablation_dependency", "0 parts", [&] { ablation_dependency(0, fine); }) == "");
  CHECK(refusal_fault<ShapeError>("ablation_dependency", "[2]", [&] { ablation_dependency(3, growing); }) == "");
  CHECK(refusal_fault("ablation_dependency", "task 1 is nan", [&] { ablation_dependency(3, nan); }) == "");
  CHECK(refusal_fault("shapley_dependency", "17 parts", [&] { shapley_dependency(17, fine); }) == "");
  CHECK(refusal_fault<ShapeError>("shapley_dependency", "[0]", [&] { shapley_dependency(3, growing); }) == "");
  const Numbers even = full<double>({2, 1, 3, 4}, 0.25);
  const auto tasks = tensor<std::int64_t>({0, 1});
  CHECK(refusal_fault<ShapeError>("attention_allocation", "[1, 1, 3, 4]",
                                  [&] { attention_allocation(slice(even, 0, 0, 1), tasks, 2, 1); }) == "");
  CHECK(refusal_fault("attention_allocation", "4 slots, expected 1 to 3",
                      [&] { attention_allocation(even, tasks, 2, 4); }) == "");
  CHECK(refusal_fault<IndexError>("attention_allocation", "task 1 of 1",
                                  [&] { attention_allocation(even, tasks, 1, 1); }) == "");
  CHECK(refusal_fault("attention_allocation", "task 2 of 3 has no items",
                      [&] { attention_allocation(even, tasks, 3, 1); }) == "");
  CHECK(refusal_fault("attention_allocation", "0 tasks", [&] { attention_allocation(even, tasks, 0, 1); }) == "");
  CHECK(refusal_fault("attention_allocation", "adds up to 2", [&] { attention_allocation(2.0 * even, tasks, 2, 1); }) ==
        "");
  CHECK(refusal_fault("attention_allocation", "a weight of -0.25", [&] { attention_allocation(-even, tasks, 2, 1); }) ==
        "");
  CHECK(refusal_fault("task_decomposition", "0 members", [] { task_decomposition(SetValues()); }) == "");
  const Numbers table = planted(), flat = ones<double>({kTasks, kTasks});
  CHECK(refusal_fault("recovered_relation", "are equal", [&] { recovered_relation(table, flat); }) == "");
  CHECK(refusal_fault("recovered_relation", "0, 1 of found is nan",
                      [&] { recovered_relation(table * std::nan(""), table); }) == "");
  CHECK(refusal_fault<ShapeError>("recovered_relation", "3 tasks or more", [] {
          recovered_relation(ones<double>({2, 2}), ones<double>({2, 2}));
        }) == "");
}
