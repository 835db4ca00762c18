#pragma once
// Dynamic placeholder slots: slots that depend on the sample, its task, and what the model answered before. Formula as
// the catalogue of methods has it; no paper describes it. A near relative: Zhou, Yang, Loy, Liu, "Conditional prompt
// learning for vision-language models", CVPR 2022 (a network adds to the prompts what it makes of the sample).

#include <vector>

#include "graft/common/needs.hpp"
#include "graft/common/slots.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/elementwise.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `DynamicSlots`.
struct DynamicSlotOptions {
  Index slots = 4;
  Index tasks = 1;
  Index task_width = 8;     ///< numbers of a task's vector e_t
  Index predictions = 0;    ///< numbers of the answer of the pass before; 0: slots do not look at it
  Index hidden = 0;         ///< units of G; 0: as many as a token has numbers
  double deviation = 0.02;  ///< of the initial slots and task vectors
};

/// P_t(x) = P + G(mean of the tokens of x; e_t; the answer of the pass before, as a constant) with G = linear, gelu,
/// linear, whose last layer starts at 0: at first the slots are P, bit for bit. The answer is one number a prediction,
/// best a probability; in the first pass there is none yet, which counts as zeros.
///
///     Tensor<> answer;
///     for (int pass = 0; pass < 2; ++pass)
///       answer = softmax(head(with_slots(layer, h, slots(h, task, answer), context)), -1);
template <class T = float>
struct DynamicSlots {
  static constexpr DataNeeds needs{.domains = true};
  Tensor<T> slots;        ///< P [slots, width]
  Tensor<T> tasks;        ///< e [tasks, task_width]
  Linear<T> first, last;  ///< G: width + task_width + predictions -> hidden -> slots width
  Index predictions = 0;
  GRAFT_FIELDS(slots, tasks, first, last)
  GRAFT_CONFIG(predictions)

  DynamicSlots() = default;
  /// `width`: numbers of a token. Throws ValueError for sizes out of range.
  DynamicSlots(Index width, const Random& random, const DynamicSlotOptions& o = {}, Site site = Site::current())
      : slots(detail::slot_bank<T>("DynamicSlots", o.slots, width, o.deviation, random.stream("slots"), site)),
        predictions(o.predictions) {
    if (o.tasks < 1 || o.task_width < 0 || o.predictions < 0 || o.hidden < 0)
      fail("DynamicSlots",
           {o.slots, " slots, ", o.tasks, " tasks with vectors of ", o.task_width, " numbers, ", o.predictions,
            " predictions, ", o.hidden, " hidden units"},
           {}, site);
    tasks = scaled_normal<T>({o.tasks, o.task_width}, o.deviation, random.stream("tasks"), site);
    const Index hidden = o.hidden == 0 ? width : o.hidden;
    first = Linear<T>(width + o.task_width + o.predictions, hidden, random.stream("first"), {}, site);
    last.weight = zeros<T>({o.slots * width, hidden}, site);
    last.bias = zeros<T>({o.slots * width}, site);
  }

  /// The slots [batch, slots, width] of tokens [batch, n, width] of one task, `before` [batch, predictions] or an empty
  /// handle; without the batch axis, [slots, width] of [n, width] and [predictions]. No gradient flows into `before`.
  /// Throws ShapeError, IndexError for a task that does not exist.
  Tensor<T> operator()(const Tensor<T>& h, Index task, const Tensor<T>& before = {},
                       Site site = Site::current()) const {
    const Named here("DynamicSlots", site);
    const Index count = slots.size(0), width = slots.size(1);
    if ((h.rank() != 2 && h.rank() != 3) || h.shape()[-1] != width || h.shape()[-2] == 0)
      fail<ShapeError>("DynamicSlots", {"expected tokens [n, ", width, "] or [batch, n, ", width, "], one or more"},
                       {{"tokens", h.shape()}}, site);
    if (task < 0 || task >= tasks.size(0))
      fail<IndexError>("DynamicSlots", {"task ", task, " of ", tasks.size(0)}, {}, site);
    const bool batched = h.rank() == 3;
    const Index batch = batched ? h.size(0) : 1;
    if (before.defined() && !(before.shape() == (batched ? Shape{batch, predictions} : Shape{predictions})))
      fail<ShapeError>("DynamicSlots", {"expected the answer before, ", predictions, " numbers for each sample"},
                       {{"tokens", h.shape()}, {"before", before.shape()}}, site);
    const Tensor<T> pooled = reshape(mean(h, {-2}, false, site), {batch, width}, site);
    const Tensor<T> of_task = broadcast_to(slice(tasks, 0, task, task + 1), {batch, tasks.size(1)}, site);
    const Tensor<T> answer =
        before.defined() ? reshape(before.detach(), {batch, predictions}, site) : zeros<T>({batch, predictions}, site);
    const Tensor<T> change = last(gelu(first(concat(std::vector{pooled, of_task, answer}, 1, site), site)), site);
    const Tensor<T> all = slots + reshape(change, {batch, count, width}, site);
    return batched ? all : reshape(all, {count, width}, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
