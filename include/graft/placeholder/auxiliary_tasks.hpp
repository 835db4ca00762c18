#pragma once
// Placeholder tasks: auxiliary tasks that are not wanted for themselves, trained on the same trunk as the main one and
// taken away afterwards. Auxiliary tasks are as old as Caruana, "Multitask learning", Machine Learning 1997; with
// self-supervised ones, Su, Maji, Hariharan, "When does self-supervision improve few-shot learning?", ECCV 2020.

#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "graft/common/inner_loop.hpp"
#include "graft/common/needs.hpp"
#include "graft/core/options.hpp"
#include "graft/model/context.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `AuxiliaryTasks`.
struct AuxiliaryTaskOptions {
  std::vector<double> weights;  ///< lambda_k, one an auxiliary task; 0 switches it off
};

/// One trunk, a head for the main task and one for each auxiliary task, trained with
///   L_0(head(trunk(x))) + sum_k lambda_k L_k(auxiliary_k(trunk(x)))
/// A task with lambda_k = 0 is not computed: the loss, its gradient and all random numbers are those of a model without
/// it, bit for bit. To first order a step against an auxiliary gradient changes the main loss by -alpha lambda_k
/// <g_0, g_k>: one that is orthogonal to the main gradient leaves it as it is (`first_order_affinity` of
/// multitask/affinity.hpp measures that). `deployed()` is what is left at test time: a trunk and one head, no more
/// numbers and no more work than a model that never had auxiliary tasks.
template <class Trunk, class Head, class Auxiliary>
struct AuxiliaryTasks {
  static constexpr DataNeeds needs{};
  Trunk trunk;
  Head head;
  std::vector<Auxiliary> auxiliary;
  AuxiliaryTaskOptions options;
  GRAFT_FIELDS(trunk, head, auxiliary)
  GRAFT_CONFIG(options)

  AuxiliaryTasks() = default;
  /// Throws ValueError unless there is a weight, 0 or more, for each auxiliary task.
  AuxiliaryTasks(Trunk shared, Head main, std::vector<Auxiliary> others, const AuxiliaryTaskOptions& o,
                 Site site = Site::current())
      : trunk(std::move(shared)), head(std::move(main)), auxiliary(std::move(others)), options(o) {
    detail::check_parts("AuxiliaryTasks", "weights", o.weights.size(), "auxiliary tasks", auxiliary.size(), site);
    for (const double weight : o.weights)
      detail::check_option<float>("AuxiliaryTasks", "a weight", weight, detail::Range::not_negative, site);
  }

  /// The main task's answer.
  template <class X>
  auto operator()(const X& x, ContextRef context) const {
    return answer_of(head, answer_of(trunk, x, context), context);
  }

  /// What a training step needs: contexts of the trunk and the main head, and, in a stream of its own, of each
  /// auxiliary head, so that none moves another's random numbers. After the step: `net = apply_updates(net, contexts)`.
  std::vector<Context> contexts(Phase phase, const Random& random) const {
    std::vector<Context> all{Context(phase, random)};
    for (std::size_t k = 0; k < auxiliary.size(); ++k) all.emplace_back(phase, random.stream("auxiliary", k));
    return all;
  }

  /// The objective: `main_loss(answer)` and `auxiliary_loss(k, answer)` are scalars, `all` as `contexts` makes them.
  /// Throws ValueError for another number of contexts, and when the loss of an auxiliary task is not finite, which
  /// names it.
  template <class X, class MainLoss, class AuxiliaryLoss>
  auto loss(const X& x, MainLoss main_loss, AuxiliaryLoss auxiliary_loss, std::span<Context> all,
            Site site = Site::current()) const {
    const Named here("AuxiliaryTasks", site);
    if (all.size() != auxiliary.size() + 1)
      fail("AuxiliaryTasks", {all.size(), " contexts for the main and ", auxiliary.size(), " auxiliary tasks"}, {},
           site);
    detail::check_parts("AuxiliaryTasks", "weights", options.weights.size(), "auxiliary tasks", auxiliary.size(), site);
    const auto features = answer_of(trunk, x, all[0]);
    auto total = main_loss(answer_of(head, features, all[0]));
    if (total.count() != 1)
      fail<ShapeError>("AuxiliaryTasks", "the main loss must be a scalar", {{"loss", total.shape()}}, site);
    for (std::size_t k = 0; k < auxiliary.size(); ++k) {
      const double weight = options.weights[k];
      if (weight == 0) continue;
      const auto own = auxiliary_loss(static_cast<Index>(k), answer_of(auxiliary[k], features, all[k + 1]));
      if (own.count() != 1)
        fail<ShapeError>("AuxiliaryTasks", {"the loss of auxiliary task ", k, " must be a scalar"},
                         {{"loss", own.shape()}}, site);
      if (const double value = static_cast<double>(own.item()); !std::isfinite(value))
        fail("AuxiliaryTasks", {"the loss of auxiliary task ", k, " is ", value}, {}, site);
      total = total + weight * own;
    }
    return total;
  }

  /// The model without its auxiliary tasks.
  BodyHead<Trunk, Head> deployed() const { return {trunk, head}; }
};
template <class Trunk, class Head, class Auxiliary>
AuxiliaryTasks(Trunk, Head, std::vector<Auxiliary>, const AuxiliaryTaskOptions&)
    -> AuxiliaryTasks<Trunk, Head, Auxiliary>;

}  // namespace GRAFT_ABI
}  // namespace graft
