#pragma once
// Customised gate control and progressive layered extraction. Tang, Liu, Zhao, Gong, "Progressive layered extraction
// (PLE): a novel multi-task learning model for personalized recommendations", RecSys 2020.

#include <vector>

#include "graft/common/task_models.hpp"
#include "graft/core/options.hpp"
#include "graft/nn/linear.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// One extraction: experts of each task and shared ones, and gates over them,
///   g_t = sum softmax(W_t x_t) [experts of task t (x_t); shared experts (x_s)]
///   g_s = sum softmax(W_s x_s) [experts of all tasks, each on its own input; shared experts (x_s)]
/// With one extraction, on one input, g_t is CGC (the paper's section 4.1); g_s feeds the next extraction.
template <class Expert, class T = float>
struct Extraction {
  std::vector<std::vector<Expert>> own;  ///< [tasks][experts]
  std::vector<Expert> shared;
  std::vector<Linear<T>> gates;  ///< [tasks]: [own + shared experts, width]
  Linear<T> shared_gate;         ///< [all experts, width]
  GRAFT_FIELDS(own, shared, gates, shared_gate)

  Extraction() = default;
  /// `in`: numbers of an item; `random` is for the gates.
  Extraction(std::vector<std::vector<Expert>> of_tasks, std::vector<Expert> of_all, Index in, const Random& random,
             Site site = Site::current())
      : own(std::move(of_tasks)), shared(std::move(of_all)) {
    if (own.empty() || in < 1) fail("Extraction", {own.size(), " tasks, items of ", in, " numbers"}, {}, site);
    const auto gate = [&](std::size_t experts, const Random& draw) {
      return Linear<T>(in, static_cast<Index>(experts), draw, {.bias = false}, site);
    };
    std::size_t count = shared.size();
    for (const auto& experts : own) {
      if (experts.empty() && shared.empty()) fail("Extraction", "a task has no expert, and none are shared", {}, site);
      gates.push_back(gate(experts.size() + shared.size(), random.stream("own", static_cast<Index>(gates.size()))));
      count += experts.size();
    }
    shared_gate = gate(count, random.stream("shared"));
  }

  /// The inputs of the tasks and, last, of the shared experts -> g_t of the tasks and, last, g_s.
  std::vector<Tensor<T>> operator()(const std::vector<Tensor<T>>& x, ContextRef context,
                                    Site site = Site::current()) const {
    const Named here("Extraction", site);
    if (x.size() != own.size() + 1) fail("Extraction", {x.size(), " inputs for ", own.size(), " tasks"}, {}, site);
    detail::check_parts("Extraction", "gates", gates.size(), "tasks", own.size(), site);
    const std::vector<Tensor<T>> common = detail::answers_of(shared, x.back(), context);
    std::vector<Tensor<T>> mixed, all;
    for (std::size_t t = 0; t < own.size(); ++t) {
      std::vector<Tensor<T>> parts = detail::answers_of(own[t], x[t], context);
      all.insert(all.end(), parts.begin(), parts.end());
      parts.insert(parts.end(), common.begin(), common.end());
      mixed.push_back(detail::mixed("Extraction", parts, gates[t](detail::as_rows(x[t])), site));
    }
    all.insert(all.end(), common.begin(), common.end());
    mixed.push_back(detail::mixed("Extraction", all, shared_gate(detail::as_rows(x.back())), site));
    return mixed;
  }
};
template <class Expert>
Extraction(std::vector<std::vector<Expert>>, std::vector<Expert>, Index, const Random&) -> Extraction<Expert>;

/// heads[t] on g_t of the last of some extractions; one is CGC. Without experts of the tasks' own an extraction is
/// `Mmoe`, without shared ones the tasks are separate. The shared gate of the last extraction has no effect.
template <class Expert, class Head, class T = float>
struct Ple {
  std::vector<Extraction<Expert, T>> extractions;
  std::vector<Head> heads;
  GRAFT_FIELDS(extractions, heads)

  std::vector<Tensor<T>> all(const Tensor<T>& x, ContextRef context, Site site = Site::current()) const {
    const Named here("Ple", site);
    detail::check_task("Ple", 0, heads.size(), site);
    std::vector<Tensor<T>> features(heads.size() + 1, x);
    for (const auto& extraction : extractions) features = extraction(features, context, site);
    return detail::answers_of(heads, features, context);
  }
  /// A task's answer to its own items.
  Tensor<T> operator()(const Tensor<T>& x, Index task, ContextRef context, Site site = Site::current()) const {
    detail::check_task("Ple", task, heads.size(), site);
    return all(x, context, site)[static_cast<std::size_t>(task)];
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
