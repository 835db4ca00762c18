#pragma once
// Multi-gate mixture of experts. Ma, Zhao, Yi, Chen, Hong, Chi, "Modeling task relationships in multi-task learning
// with multi-gate mixture-of-experts", KDD 2018.

#include <vector>

#include "graft/common/task_models.hpp"
#include "graft/core/options.hpp"
#include "graft/nn/linear.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// heads[t](f_t) with f_t = sum_e softmax(W_t x)_e E_e(x) (the paper's equations 6 and 7). One expert is hard sharing;
/// gates of zeros take the experts' mean.
template <class Expert, class Head, class T = float>
struct Mmoe {
  std::vector<Expert> experts;
  std::vector<Head> heads;
  std::vector<Linear<T>> gates;  ///< one a task: [experts, width of an item]
  GRAFT_FIELDS(experts, heads, gates)

  Mmoe() = default;
  /// `in`: numbers of an item; `random` is for the gates.
  Mmoe(std::vector<Expert> all_experts, std::vector<Head> all_heads, Index in, const Random& random,
       Site site = Site::current())
      : experts(std::move(all_experts)), heads(std::move(all_heads)) {
    if (experts.empty() || heads.empty() || in < 1)
      fail("Mmoe", {experts.size(), " experts, ", heads.size(), " heads, items of ", in, " numbers"}, {}, site);
    for (std::size_t t = 0; t < heads.size(); ++t)
      gates.emplace_back(in, static_cast<Index>(experts.size()), random.stream(t), LinearOptions{.bias = false}, site);
  }

  /// Items x [items, ...].
  Tensor<T> operator()(const Tensor<T>& x, Index task, ContextRef context, Site site = Site::current()) const {
    const Named here("Mmoe", site);
    check(task, site);
    return answer(detail::answers_of(experts, x, context), detail::as_rows(x), static_cast<std::size_t>(task), context,
                  site);
  }
  std::vector<Tensor<T>> all(const Tensor<T>& x, ContextRef context, Site site = Site::current()) const {
    const Named here("Mmoe", site);
    check(0, site);
    const std::vector<Tensor<T>> parts = detail::answers_of(experts, x, context);
    std::vector<Tensor<T>> answers;
    for (std::size_t t = 0; t < heads.size(); ++t)
      answers.push_back(answer(parts, detail::as_rows(x), t, context, site));
    return answers;
  }

 private:
  void check(Index task, Site site) const {
    detail::check_task("Mmoe", task, heads.size(), site);
    detail::check_parts("Mmoe", "gates", gates.size(), "tasks", heads.size(), site);
  }
  Tensor<T> answer(const std::vector<Tensor<T>>& parts, const Tensor<T>& rows, std::size_t task, ContextRef context,
                   Site site) const {
    return answer_of(heads[task], detail::mixed("Mmoe", parts, gates[task](rows), site), context);
  }
};
template <class Expert, class Head>
Mmoe(std::vector<Expert>, std::vector<Head>, Index, const Random&) -> Mmoe<Expert, Head>;

}  // namespace GRAFT_ABI
}  // namespace graft
