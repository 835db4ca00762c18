#pragma once
// Hard parameter sharing: one trunk, a head a task. Caruana, "Multitask learning", Machine Learning 1997.
//
// This and the other architectures of multitask/ are models of two calls: `net(x, task, context)` is a task's answer to
// its own items, `net.all(x, context)` are all tasks' answers to the same items, for which what they share runs once.

#include <vector>

#include "graft/common/task_models.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// heads[task](trunk(x)).
template <class Trunk, class Head>
struct HardSharing {
  Trunk trunk;
  std::vector<Head> heads;
  GRAFT_FIELDS(trunk, heads)

  template <class X>
  auto operator()(const X& x, Index task, ContextRef context, Site site = Site::current()) const {
    detail::check_task("HardSharing", task, heads.size(), site);
    return answer_of(heads[static_cast<std::size_t>(task)], answer_of(trunk, x, context), context);
  }
  template <class X>
  auto all(const X& x, ContextRef context, Site site = Site::current()) const {
    detail::check_task("HardSharing", 0, heads.size(), site);
    return detail::answers_of(heads, answer_of(trunk, x, context), context);
  }
};
template <class Trunk, class Head>
HardSharing(Trunk, std::vector<Head>) -> HardSharing<Trunk, Head>;

}  // namespace GRAFT_ABI
}  // namespace graft
