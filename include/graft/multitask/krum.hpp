#pragma once
// Krum and multi-Krum: the gradients that are nearest to the others. Blanchard, El Mhamdi, Guerraoui, Stainer, "Machine
// learning with adversaries: Byzantine tolerant gradient descent", NeurIPS 2017.

#include <algorithm>

#include "graft/common/aggregator.hpp"
#include "graft/common/gramian.hpp"
#include "graft/ops/arithmetic.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of Krum. How many rows may be anything, a user has to know; the paper's Krum selects one row.
struct KrumOptions {
  Index byzantine = 0;  ///< f, rows that may be anything: tasks > 2 f + 2
  Index selected = 1;   ///< m, rows whose mean is taken; above 1: multi-Krum
};

namespace detail {

inline void check_krum(const char* op, const KrumOptions& options, Index tasks, Site site) {
  const auto [f, m] = options;
  check_count(op, "byzantine", f, 0, site);
  if (tasks <= 2 * f + 2)
    fail<TooFewTasks>(op, {tasks, " tasks, ", f, " of them byzantine: expected at least ", 2 * f + 3}, {}, site);
  check_count(op, "selected", m, 1, site);
  if (m > tasks) fail<TooFewTasks>(op, {"selected is ", m, " of ", tasks, " tasks"}, {}, site);
}
/// The weights from squared distances [tasks, tasks].
inline Tensor<double> krum_of_distances(const List<double>& squared, Index tasks, const KrumOptions& options) {
  List<double> scores;
  for (Index i = 0; i < tasks; ++i) {
    List<double> others;
    for (Index j = 0; j < tasks; ++j)
      if (j != i) others.push_back(squared[i * tasks + j]);
    std::sort(others.begin(), others.end());
    double score = 0;
    for (Index k = 0; k < tasks - options.byzantine - 2; ++k) score += others[k];
    scores.push_back(score);
  }
  List<Index> order;
  for (Index i = 0; i < tasks; ++i) order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return scores[a] < scores[b]; });
  List<double> weights(tasks);
  for (Index k = 0; k < options.selected; ++k) weights[order[k]] = 1 / static_cast<double>(options.selected);
  return from_vector(weights);
}
/// |g_i - g_j|^2 in squares of the Gramian's unit; `nearer(i, j, it)` gives that of gradients nearer to each other than
/// a thousandth of their lengths, of which the Gramian keeps few digits.
template <class Nearer>
List<double> krum_distances(const HostGramian& products, const Nearer& nearer) {
  const Index tasks = products.tasks();
  List<double> squared(tasks * tasks);
  for (Index i = 0; i < tasks; ++i)
    for (Index j = 0; j < i; ++j) {
      const double lengths = products(i, i) + products(j, j), inner = products(i, j);
      const double apart = std::max((products(i, i) - inner) + (products(j, j) - inner), 0.0);
      squared[i * tasks + j] = squared[j * tasks + i] = apart < 1e-6 * lengths ? nearer(i, j, apart) : apart;
    }
  return squared;
}

}  // namespace detail

/// Weights [tasks] from the Gramian [tasks, tasks] of the rows: 1 / m for the m rows of the least scores, else 0. A
/// row's score is the sum of the squared distances to its tasks - f - 2 nearest others; of equal scores the earlier row
/// is taken. Distances below 1e-7 of the rows' lengths drown in the Gramian's rounding; `Krum` has them exactly.
/// Carries no gradient. Throws ShapeError for a Gramian that is not square, ValueError for numbers that are not finite,
/// TooFewTasks.
inline Tensor<double> krum_weights(const Tensor<double>& gramian, const KrumOptions& options = {},
                                   Site site = Site::current()) {
  const detail::HostGramian products("krum_weights", gramian, site);
  detail::check_krum("krum_weights", options, products.tasks(), site);
  const auto as_it_is = [](Index, Index, double apart) { return apart; };
  return detail::krum_of_distances(detail::krum_distances(products, as_it_is), products.tasks(), options);
}

/// Krum as an aggregator. Rows that are near to each other for their lengths are subtracted.
struct Krum {
  KrumOptions options = {};
  GRAFT_FIELDS()
  GRAFT_CONFIG(options)

  /// Throws ValueError and TooFewTasks as `krum_weights`.
  Combination operator()(TaskGradients& gradients, Site site = Site::current()) const {
    detail::check_krum("Krum", options, gradients.tasks(), site);
    const detail::HostGramian products("Krum", gradients.gramian(), site);
    const auto subtracted = [&](Index i, Index j, double) {
      const Tensor<double>& rows = gradients.jacobian();
      return sum(square((slice(rows, 0, i, i + 1) - slice(rows, 0, j, j + 1)) / products.unit())).item();
    };
    return {.weights =
                detail::krum_of_distances(detail::krum_distances(products, subtracted), products.tasks(), options)};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
