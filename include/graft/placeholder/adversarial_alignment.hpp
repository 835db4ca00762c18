#pragma once
// Adversarial alignment of tasks: a discriminator learns to tell the slots of tasks apart, and what makes the slots
// learns, through a reversed gradient, that it cannot. Ganin, Lempitsky, "Unsupervised domain adaptation by
// backpropagation", ICML 2015, with tasks in the place of domains.

#include <vector>

#include "graft/common/gradient_reversal.hpp"
#include "graft/common/needs.hpp"
#include "graft/core/list.hpp"
#include "graft/model/context.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/losses.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `adversarial_alignment`.
struct AdversarialAlignmentOptions {
  static constexpr DataNeeds needs{.labels = false, .domains = true};
  double lambda = 1;  ///< of the reversed gradient; the authors raise it from 0 to 1 in training. 0: the features do
                      ///< not learn from the discriminator, which still does from them
};

/// mean_t mean_i CE(D(reversed(h_ti)), t), shape []: `discriminator(features, context)`, or (features), answers with
/// logits [items, tasks] of features [items, width] of all tasks behind one another. Its own gradient is that of the
/// loss; that of the features is -lambda times that of the loss, so one step of descent trains both. Tasks count alike,
/// whatever their numbers of items: where features do not tell tasks apart the loss of every discriminator is ln(tasks)
/// or more, and the least, ln(tasks), is that of one that answers all alike. Throws ShapeError, ValueError for fewer
/// than two tasks, a task without items and a lambda that is not finite.
template <class D, Real T>
Tensor<T> adversarial_alignment(const D& discriminator, const std::vector<Tensor<T>>& features,
                                const AdversarialAlignmentOptions& o, ContextRef context, Site site = Site::current()) {
  const char* op = "adversarial_alignment";
  detail::check_option<T>(op, "lambda", o.lambda, detail::Range::finite, site);
  const auto tasks = static_cast<Index>(features.size());
  if (tasks < 2) fail(op, {tasks, tasks == 1 ? " task" : " tasks", ", expected 2 or more"}, {}, site);
  List<std::int64_t> task_of;
  List<T> shares;
  for (Index t = 0; t < tasks; ++t) {
    const Tensor<T>& x = features[static_cast<std::size_t>(t)];
    if (!x.defined() || x.rank() != 2 || x.size(1) != features[0].size(1))
      fail<ShapeError>(op, {"expected features [items, width] of one width for every task, not those of task ", t},
                       {{"task 0", features[0].defined() ? features[0].shape() : Shape{0}},
                        {"features", x.defined() ? x.shape() : Shape{0}}},
                       site);
    if (x.size(0) == 0) fail(op, {"task ", t, " has no items"}, {{"features", x.shape()}}, site);
    task_of.insert(task_of.end(), static_cast<std::size_t>(x.size(0)), t);
    shares.insert(shares.end(), static_cast<std::size_t>(x.size(0)),
                  static_cast<T>(1 / (static_cast<double>(tasks) * static_cast<double>(x.size(0)))));
  }
  const Tensor<T> all = reverse_gradient(concat(features, 0, site), o.lambda, site);
  const Tensor<T> logits = answer_of(discriminator, all, context);
  if (!(logits.shape() == Shape{all.size(0), tasks}))
    fail<ShapeError>(op, {"the discriminator must answer with logits of ", tasks, " tasks"},
                     {{"features", all.shape()}, {"logits", logits.shape()}}, site);
  return sum(from_vector(shares) * cross_entropy(logits, from_vector(task_of), {.reduction = Reduction::none}, site));
}

}  // namespace GRAFT_ABI
}  // namespace graft
