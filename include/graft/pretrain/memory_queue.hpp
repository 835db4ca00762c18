#pragma once
// More negatives than a batch has: a queue of past keys, made by an encoder that follows slowly. He, Fan, Wu, Xie,
// Girshick, "Momentum contrast for unsupervised visual representation learning" (MoCo), CVPR 2020.

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "graft/common/needs.hpp"
#include "graft/common/weight_average.hpp"
#include "graft/core/list.hpp"
#include "graft/core/options.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/model/context.hpp"
#include "graft/ops/losses.hpp"
#include "graft/ops/matmul.hpp"
#include "graft/ops/reduce.hpp"
#include "graft/ops/statistics.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The last `capacity` keys, of length 1: a value of fixed size, saved with the training state, no parameter.
template <class T = float>
struct MemoryQueue {
  Buffer<T> keys;                ///< [capacity, width], a ring; 0 where nothing was written
  Tensor<std::int64_t> written;  ///< []: keys that were ever put in
  GRAFT_FIELDS(keys, written)

  MemoryQueue() = default;
  /// Empty. Throws ValueError for sizes below 1.
  MemoryQueue(Index capacity, Index width, Site site = Site::current()) {
    if (capacity < 1 || width < 1) fail("MemoryQueue", {capacity, " keys of ", width, " numbers"}, {}, site);
    keys.value = zeros<T>({capacity, width}, site);
    written = zeros<std::int64_t>({}, site);
  }

  Index capacity() const { return keys.value.defined() ? keys.value.size(0) : 0; }
  /// Keys that there are.
  Index size() const { return written.defined() ? std::min(capacity(), static_cast<Index>(written.item())) : 0; }
  /// The keys that there are, in no order, [size, width].
  Tensor<T> stored(Site site = Site::current()) const { return slice(keys.value, 0, 0, size(), 1, site); }

  /// Puts rows [n, width] over their norms in the places of the oldest; of more than `capacity` the last. Throws
  /// ShapeError, ValueError for a number that is not finite, which would stay for as long as its key.
  void enqueue(const Tensor<T>& rows, Site site = Site::current()) {
    if (rows.rank() != 2 || capacity() == 0 || rows.size(1) != keys.value.size(1))
      fail<ShapeError>("MemoryQueue", "expected keys [n, width] of the queue's width",
                       {{"keys", rows.shape()}, {"queue", keys.value.defined() ? keys.value.shape() : Shape{0}}}, site);
    const Tensor<T> unit = unit_rows(rows.detach(), site);
    const Index n = rows.size(0), width = rows.size(1);
    for (const T number : host(unit))
      if (!std::isfinite(number)) fail("MemoryQueue", "a key is not finite", {{"keys", rows.shape()}}, site);
    List<T> ring(host(keys.value));
    const auto numbers = host(unit);
    const auto before = static_cast<Index>(written.item());
    detail::check_count("MemoryQueue", "written", before, 0, site);
    for (Index i = std::max(n - capacity(), Index{0}); i < n; ++i)
      std::copy_n(numbers.begin() + i * width, width, ring.begin() + (before + i) % capacity() * width);
    keys.value = from_vector(ring, keys.value.shape());
    written = Tensor<std::int64_t>(before + n);
  }
};

/// Options of `MomentumContrast`.
struct MomentumContrastOptions {
  Index capacity = 4096;        ///< keys of the queue; the authors: 65536
  double momentum = 0.999;      ///< share that the second encoder keeps of itself
  double temperature = 0.07;    ///< of the cosines
  bool batch_negatives = true;  ///< the other keys of the batch are negatives too; the authors: false, with a queue
                                ///< that starts with random keys. So an empty queue is plain InfoNCE
};

/// The mean over queries q_i of -ln(e^(q_i . k_i / t) / sum_j e^(q_i . k_j / t)), j over i, the keys of the queue and,
/// with `batch_negatives`, the other keys of the batch; `queries` and `keys` [n, width] over their norms, t the
/// temperature: shape []. With an empty queue the plain one-way InfoNCE, or 0 if there are no negatives at all. No
/// gradient goes to the queue. Throws ShapeError, ValueError for a temperature that is not positive.
template <Real T>
Tensor<T> queue_info_nce(const Tensor<T>& queries, const Tensor<T>& keys, const MemoryQueue<T>& queue,
                         double temperature = 0.07, bool batch_negatives = true, Site site = Site::current()) {
  const char* op = "queue_info_nce";
  const Shape ring = queue.keys.value.defined() ? queue.keys.value.shape() : Shape{0};
  if (queries.rank() != 2 || !(queries.shape() == keys.shape()) || queries.size(0) == 0 ||
      (queue.size() > 0 && ring[1] != queries.size(1)))
    fail<ShapeError>(op, "expected queries and keys [n, width] of one pair or more, of the queue's width",
                     {{"queries", queries.shape()}, {"keys", keys.shape()}, {"queue", ring}}, site);
  detail::check_option<T>(op, "temperature", temperature, detail::Range::positive, site);
  const Tensor<T> q = unit_rows(queries, site), k = unit_rows(keys, site);
  const auto cosines = [&](const Tensor<T>& to) { return matmul(q, to, {.transpose_b = true}, site); };
  Tensor<T> scores = batch_negatives ? cosines(k) : sum(q * k, {1}, true);
  if (queue.size() > 0) scores = concat(std::vector{scores, cosines(queue.stored(site))}, 1, site);
  const Index n = queries.size(0);
  const auto partner = generate({n}, [&](Index i) { return batch_negatives ? i : Index{0}; });
  return cross_entropy(scores * (1 / temperature), partner, {}, site);
}

/// An encoder, the one that follows it, and the queue. `encoder(x, context)` or `encoder(x)` -> [n, width]. A step of
/// training, with any optimiser:
///
///     const auto keys = contrast.keys(second_views, context);
///     adam.step(contrast, grad([&](const auto& m) { return m.loss(first_views, keys, context); }, contrast), rate);
///     contrast.follow(keys);
///
/// What changes besides by gradients, `follow` changes: a step of `train` can, a round of the protocol cannot.
template <class Encoder>
struct MomentumContrast {
  using T = ModelScalar<Encoder>;
  Encoder encoder;
  Encoder momentum_encoder;  ///< frozen
  MemoryQueue<T> queue;
  MomentumContrastOptions options;
  GRAFT_FIELDS(encoder, momentum_encoder, queue)
  GRAFT_CONFIG(options)
  static constexpr DataNeeds needs{.labels = false, .unlabelled = true};

  MomentumContrast() = default;
  /// Both encoders start as `of_items`, which embeds in `width` numbers. Throws ValueError for options out of range.
  MomentumContrast(Encoder of_items, Index width, const MomentumContrastOptions& o = {}, Site site = Site::current())
      : encoder(std::move(of_items)), queue(o.capacity, width, site), options(o) {
    const char* op = "MomentumContrast";
    detail::check_option<T>(op, "temperature", o.temperature, detail::Range::positive, site);
    if (!(o.momentum >= 0 && o.momentum <= 1)) fail(op, {"momentum is ", o.momentum, ", expected 0 to 1"}, {}, site);
    momentum_encoder = frozen(detach(untied(encoder)), site);
  }

  /// What the second encoder makes of items, as constants, [n, width].
  template <class X>
  Tensor<T> keys(const X& items, ContextRef context) const {
    const Recording off(false);
    return answer_of(momentum_encoder, items, context).detach();
  }
  /// `queue_info_nce` of the first encoder's answers, shape []. Throws as it does.
  template <class X>
  Tensor<T> loss(const X& items, const Tensor<T>& keys, ContextRef context, Site site = Site::current()) const {
    return queue_info_nce(answer_of(encoder, items, context), keys, queue, options.temperature, options.batch_negatives,
                          site);
  }
  /// After a step: the second encoder becomes momentum times itself + (1 - momentum) times the first, whose running
  /// statistics it takes, and the keys of the step go into the queue. Throws as `MemoryQueue::enqueue`; nothing is
  /// changed then.
  void follow(const Tensor<T>& keys, Site site = Site::current()) {
    queue.enqueue(keys, site);
    const Recording off(false);
    const double share = 1 - options.momentum;
    momentum_encoder = frozen(detail::moved_towards("MomentumContrast", momentum_encoder, encoder, share, site), site);
  }

 private:
  static Encoder frozen(const Encoder& model, Site site) { return freeze(model, names(model), site); }
};

}  // namespace GRAFT_ABI
}  // namespace graft
