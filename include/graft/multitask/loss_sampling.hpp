#pragma once
// Tasks in proportion to their losses: those that are learned worst are drawn most.

#include <algorithm>
#include <cmath>
#include <vector>

#include "graft/common/scheduler.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `LossProportional`.
struct LossProportionalOptions {
  bool unknown_first = true;  ///< a task whose loss is unknown has precedence until it was drawn once
};

/// p_i = L_i / sum_j L_j of the losses [tasks]; one that is not finite is unknown and counts as the mean of the known.
/// Uniform where all are unknown or 0. Throws ShapeError, ValueError for a negative loss.
inline Tensor<double> loss_probabilities(const Tensor<double>& losses, Site site = Site::current()) {
  const char* op = "loss_probabilities";
  detail::check_per_task(op, "losses", losses, site);
  double largest = 0, known = 0, mean = 0;
  for (const double loss : host(losses)) {
    if (loss < 0) fail(op, {"a loss is ", loss, ", expected 0 or more"}, {{"losses", losses.shape()}}, site);
    if (std::isfinite(loss)) largest = std::max(largest, loss);
  }
  if (largest == 0) return full<double>(losses.shape(), 1 / static_cast<double>(losses.count()));
  for (const double loss : host(losses))  // as shares of the largest: their sum cannot overflow
    if (std::isfinite(loss)) mean += (loss / largest - mean) / ++known;
  List<double> p;
  double total = 0;
  for (const double loss : host(losses)) {
    p.push_back(std::isfinite(loss) ? loss / largest : mean);
    total += p.back();
  }
  for (double& share : p) share /= total;
  return from_vector(p);
}

/// Draws tasks independently with probability L_i / sum_j L_j of their latest losses; see `loss_probabilities`. By
/// default the first places go to tasks of unknown loss that were never drawn, in random order; one that was drawn and
/// still has none, because it fails, counts as the mean, so it cannot keep the others out. A task of loss 0 is not
/// drawn as long as another has one. Throws ShapeError for another number of tasks, ValueError for a negative loss.
struct LossProportional {
  Buffer<bool> drawn;  ///< [tasks]: whether each was ever drawn
  LossProportionalOptions options;
  GRAFT_FIELDS(drawn)
  GRAFT_CONFIG(options)

  /// Throws ValueError for no tasks.
  explicit LossProportional(Index tasks, LossProportionalOptions o = {}, Site site = Site::current()) : options(o) {
    detail::check_count("LossProportional", "tasks", tasks, 1, site);
    drawn.value = full<bool>({tasks}, false);
  }

  std::vector<Index> operator()(const ScheduleInput& input, Site site = Site::current()) {
    detail::check_schedule("LossProportional", input, drawn.value.count(), site);
    const List<double> losses = detail::known_losses(input);
    const Tensor<double> p = loss_probabilities(from_vector(losses), site);
    const auto was_drawn = [&](Index task) { return host(drawn.value)[static_cast<std::size_t>(task)]; };
    std::vector<Index> chosen;
    if (options.unknown_first) {
      for (Index task : input.random.stream("first").permutation(input.tasks))
        if (std::isnan(losses[task]) && !was_drawn(task) && static_cast<Index>(chosen.size()) < input.wanted)
          chosen.push_back(task);
    }
    const Index left = input.wanted - static_cast<Index>(chosen.size());
    const std::vector<Index> others = detail::draw_tasks(p, left, input.random);
    chosen.insert(chosen.end(), others.begin(), others.end());
    drawn.value = generate({input.tasks}, [&](Index i) {
      return was_drawn(i) || std::find(chosen.begin(), chosen.end(), i) != chosen.end();
    });
    std::sort(chosen.begin(), chosen.end());
    return chosen;
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
