#pragma once
// Slots: further tokens P [slots, width] behind the tokens H [n, width] that a layer is given, [H ; P], so that
// whatever it does among tokens (attention, messages) it does with them too. What methods that make slots in different
// ways share: a layer with them, which without any is the layer itself, bit for bit.

#include <utility>
#include <vector>

#include "graft/core/options.hpp"
#include "graft/model/context.hpp"
#include "graft/model/init.hpp"
#include "graft/ops/broadcast.hpp"
#include "graft/ops/layout.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// [H ; P]: the tokens `h` [n, width] or [batch, n, width] and behind them `slots` [slots, width], the same for every
/// sample of a batch, or [batch, slots, width]. Without slots, of size 0 or an empty handle, h itself. Throws
/// ShapeError.
template <Real T>
Tensor<T> append_slots(const Tensor<T>& h, const Tensor<T>& slots, Site site = Site::current()) {
  if (!slots.defined()) return h;
  const bool batched = h.rank() == 3, alike = slots.rank() == 2;
  const bool fit = (h.rank() == 2 || batched) && (alike || (batched && slots.rank() == 3)) &&
                   slots.shape()[-1] == h.shape()[-1] && (alike || slots.size(0) == h.size(0));
  if (!fit)
    fail<ShapeError>("append_slots",
                     "expected tokens [n, width] or [batch, n, width] and slots [slots, width], or "
                     "[batch, slots, width] of as many samples",
                     {{"tokens", h.shape()}, {"slots", slots.shape()}}, site);
  const Index count = slots.shape()[-2];
  if (count == 0) return h;
  const Tensor<T> own = batched && alike ? broadcast_to(slots, {h.size(0), count, slots.size(1)}, site) : slots;
  return concat(std::vector{h, own}, batched ? 1 : 0, site);
}

namespace detail {

/// The first `tokens` rows of y, what a layer made of x [..., tokens and slots, width]. Throws ShapeError unless it has
/// a row for each of both.
template <class T>
Tensor<T> first_tokens(const char* op, const Tensor<T>& y, const Tensor<T>& x, Index tokens, Site site) {
  const Index all = x.shape()[-2];
  if (all == tokens) return y;
  if (y.rank() != x.rank() || y.shape()[-2] != all)
    fail<ShapeError>(op,
                     {"the layer must answer with a row for each of ", tokens, " tokens and ", all - tokens, " slots"},
                     {{"answer", y.shape()}}, site);
  return slice(y, y.rank() - 2, 0, tokens, 1, site);
}

/// Throws unless slots can be made of these sizes; the bank [slots, width], normal with the given deviation.
template <class T>
Tensor<T> slot_bank(const char* op, Index slots, Index width, double deviation, const Random& random, Site site) {
  if (slots < 0 || width < 1) fail(op, {slots, " slots of ", width, " numbers"}, {}, site);
  check_option<T>(op, "deviation", deviation, Range::not_negative, site);
  return scaled_normal<T>({slots, width}, deviation, random, site);
}

}  // namespace detail

/// What a layer makes of the tokens where slots stand behind them: the first n rows of layer([H ; P]), the slots
/// dropped behind the layer. `layer(x, context)`, or `layer(x)`, answers [..., n + slots, width] with as many rows. H
/// and the slots as for `append_slots`; without slots it is layer(H), bit for bit. A layer whose tokens are ordered (a
/// causal mask, rotary positions) gives slots the places behind the last token. Throws ShapeError.
template <class Layer, Real T>
Tensor<T> with_slots(const Layer& layer, const Tensor<T>& h, const Tensor<T>& slots, ContextRef context,
                     Site site = Site::current()) {
  const Named here("with_slots", site);
  const Tensor<T> x = append_slots(h, slots, site);
  return detail::first_tokens("with_slots", answer_of(layer, x, context), x, h.shape()[-2], site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
