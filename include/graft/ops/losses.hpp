#pragma once
// Losses: cross-entropy with class labels or soft targets, squared error, binary cross-entropy. Each is one number
// (mean or sum over the samples) or one number a sample.

#include <optional>

#include "graft/backend/cpu/cross_entropy.hpp"
#include "graft/ops/map.hpp"
#include "graft/ops/softmax.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What is made of the losses of all samples. The mean over no samples is NaN.
enum class Reduction { mean, sum, none };

/// How `cross_entropy` reads its targets, and what it makes of the losses of all samples.
template <Real T = float>
struct CrossEntropyOptions {
  double label_smoothing = 0;              ///< weight in [0, 1] of the uniform distribution mixed into the targets
  Reduction reduction = Reduction::mean;   ///< with class weights and labels, the mean weighted by those of the labels
  Tensor<T> weight = {};                   ///< [classes], numbers that targets are multiplied by; empty: ones
  std::optional<Index> ignore_index = {};  ///< samples with this label count nothing, not in the mean either
};

/// Options of `binary_cross_entropy_with_logits`.
template <Real T = float>
struct BinaryCrossEntropyOptions {
  Reduction reduction = Reduction::mean;
  Tensor<T> pos_weight = {};  ///< factor of the term of the positive class; broadcasts to the logits; empty: 1
};

namespace detail {

/// The reduction of `losses` as a number outside any tape, or `losses` themselves. `divisor` is that of the mean.
template <class T>
Tensor<T> reduced(const Tensor<T>& losses, Reduction reduction, T divisor) {
  if (reduction == Reduction::none) return losses;
  const T total = cpu::sum_row(losses.data(), losses.count());
  return Tensor<T>(reduction == Reduction::mean ? total / divisor : total);
}
/// d reduced / d loss of one sample.
template <class T>
T reduction_scale(Reduction reduction, T divisor) {
  return reduction == Reduction::mean ? T(1) / divisor : T(1);
}
/// The reduction in ops.
template <class T>
Tensor<T> reduce_losses(const Tensor<T>& losses, Reduction reduction) {
  if (reduction == Reduction::none) return losses;
  const Tensor<T> total = sum_to(losses, Shape{});
  return reduction == Reduction::mean ? total / static_cast<T>(losses.count()) : total;
}

template <class T>
void check_cross_entropy(const Shape& logits, const CrossEntropyOptions<T>& options, Site site) {
  const double smoothing = options.label_smoothing;
  if (logits.rank() < 1) fail<ShapeError>("cross_entropy", "logits need a class axis", {{"logits", logits}}, site);
  if (!(smoothing >= 0 && smoothing <= 1))
    fail("cross_entropy", {"label_smoothing is ", smoothing, ", expected 0 to 1"}, {{"logits", logits}}, site);
  if (options.weight.defined() && !(options.weight.shape() == Shape{logits[-1]}))
    fail<ShapeError>("cross_entropy", "needs one weight a class",
                     {{"logits", logits}, {"weight", options.weight.shape()}}, site);
}

/// The log-sum-exp of every row, for the way back.
template <class T>
struct SavedLogSums {
  Tensor<T> shift, log_sum;
  explicit SavedLogSums(const Shape& rows) : shift(fresh<T>(rows)), log_sum(fresh<T>(rows)) {}
  cpu::LogSums<T> to_write() const { return {writable(shift), writable(log_sum)}; }
  cpu::LogSums<const T> to_read() const { return {shift.data(), log_sum.data()}; }
};

/// The gradient of a loss, one number or one a sample, times d reduced / d loss, ready to multiply [..., classes].
template <class T>
Tensor<T> loss_factor(const Tensor<T>& g, Reduction reduction, const Shape& logits, T divisor) {
  const Shape column = reduction == Reduction::none ? logits.with(logits.rank() - 1, 1) : Shape{};
  return reshape(g, column) * reduction_scale(reduction, divisor);
}

/// Labels, what `cpu::LabelTargets` points to, and the divisor of the mean.
template <class T, class Label>
struct LabelledSamples {
  Tensor<Label> labels;
  Tensor<T> weight;
  std::optional<Index> ignored;
  T on, off, weight_sum = 0, divisor;

  LabelledSamples(const Tensor<Label>& given, Index classes, const CrossEntropyOptions<T>& options)
      : labels(given),
        weight(options.weight),
        ignored(options.ignore_index),
        on(static_cast<T>(1 - options.label_smoothing)),
        off(static_cast<T>(options.label_smoothing / static_cast<double>(classes))) {
    double total = 0, all = 0;
    for (Index c = 0; weight.defined() && c < classes; ++c) all += static_cast<double>(weight.data()[c]);
    const auto targets = read();
    for (Index i = 0; i < labels.count(); ++i)
      if (targets.counts(i))
        total += weight.defined() ? static_cast<double>(weight.data()[static_cast<Index>(labels.data()[i])]) : 1;
    weight_sum = static_cast<T>(all);
    divisor = static_cast<T>(total);
  }
  cpu::LabelTargets<T, Label> read() const {
    return {
        labels.data(), on, off, weight.defined() ? weight.data() : nullptr, weight_sum, ignored ? &*ignored : nullptr};
  }
};

}  // namespace detail

/// -w_label log softmax(logits)[label], for logits [..., classes] and labels [...], with class weights w, 1 if there
/// are none; with smoothing e it is the sum over classes of -w_c t_c log softmax(logits)_c with t = (1 - e) one-hot + e
/// / classes (Szegedy et al., CVPR 2016). The mean is the sum divided by that of w_label over the samples that count.
/// Saves two numbers a sample. A logit of -inf rules its class out: its gradient is 0, and the loss of a sample with
/// that label is +inf. Throws ShapeError, IndexError for a label outside 0 .. classes-1 that is not the ignored one,
/// ValueError for a smoothing outside [0, 1].
template <Real T, Integer Label>
Tensor<T> cross_entropy(const Tensor<T>& logits, const Tensor<Label>& labels,
                        const CrossEntropyOptions<std::type_identity_t<T>>& options = {}, Site site = Site::current()) {
  const Shape& shape = logits.shape();
  detail::check_cross_entropy(shape, options, site);
  if (!(labels.shape() == shape.without(shape.rank() - 1)))
    fail<ShapeError>("cross_entropy", "needs one label a row of logits",
                     {{"logits", shape}, {"labels", labels.shape()}}, site);
  const Index classes = shape[-1], rows = labels.count();
  for (Index i = 0; i < rows; ++i)
    if (const auto label = static_cast<Index>(labels.data()[i]);
        (label < 0 || label >= classes) && label != options.ignore_index)
      fail<IndexError>("cross_entropy", {"label ", label, " at position ", i, ", expected 0 to ", classes - 1},
                       {{"logits", shape}, {"labels", labels.shape()}}, site);

  const detail::LabelledSamples<T, Label> samples(labels, classes, options);
  const Tensor<T> losses = detail::fresh<T>(labels.shape());
  const detail::SavedLogSums<T> sums(labels.shape());
  cpu::cross_entropy(logits.data(), samples.read(), rows, classes, sums.to_write(), detail::writable(losses));
  Tensor<T> value = detail::reduced(losses, options.reduction, samples.divisor);
  if (!recorded(logits)) return value;
  return record(
      "cross_entropy", std::move(value),
      Edge(logits, [logits, samples, sums, rows, classes, reduction = options.reduction](const Tensor<T>& g) {
        Tensor<T> result = detail::fresh<T>(logits.shape());
        const auto targets = samples.read();
        if (!recording()) {
          cpu::cross_entropy_backward(logits.data(), targets, sums.to_read(), g.data(), reduction != Reduction::none,
                                      detail::reduction_scale(reduction, samples.divisor), rows, classes,
                                      detail::writable(result));
          return result;
        }
        // The targets as a tensor; a class that is ruled out has none, as its probability.
        T* target = detail::writable(result);
        const Tensor<T> mass = detail::fresh<T>(logits.shape().with(logits.rank() - 1, 1));
        for (Index r = 0; r < rows; ++r) {
          const bool counts = targets.counts(r);
          const Index label = counts ? static_cast<Index>(targets.labels[r]) : 0;
          detail::writable(mass)[r] = counts ? targets.mass(label) : T(0);
          for (Index c = 0; c < classes; ++c, ++target) {
            const bool dead = !counts || logits.data()[r * classes + c] == cpu::kMinusInfinity<T>;
            const T off = targets.weight ? targets.off * targets.weight[c] : targets.off;
            *target = dead ? 0 : off + (label == c ? targets.at_label(c) : 0);
          }
        }
        const Tensor<T> kept = samples.ignored ? where(mass == 0, 0, logits) : logits;
        return (softmax(kept) * mass - result) * detail::loss_factor(g, reduction, logits.shape(), samples.divisor);
      }));
}

/// -sum_c w_c targets_c log softmax(logits)_c for logits and targets [..., classes] and class weights w, 1 if there are
/// none; with smoothing e the targets are (1 - e) targets + e / classes. The mean is over the samples, whatever the
/// weights. Gradients flow to both. A target of 0 counts nothing, whatever its logit; a logit of -inf gets no gradient
/// and gives its target none. Throws ShapeError, ValueError for a smoothing outside [0, 1] or an ignored label.
template <Real T>
Tensor<T> cross_entropy(const Tensor<T>& logits, const Tensor<T>& targets,
                        const CrossEntropyOptions<std::type_identity_t<T>>& options = {}, Site site = Site::current()) {
  const Shape& shape = logits.shape();
  detail::check_cross_entropy(shape, options, site);
  if (!(targets.shape() == shape))
    fail<ShapeError>("cross_entropy", "shapes differ", {{"logits", shape}, {"targets", targets.shape()}}, site);
  if (options.ignore_index)
    fail("cross_entropy", "ignore_index is for labels, a sample with targets of 0 counts nothing",
         {{"logits", shape}, {"targets", targets.shape()}}, site);
  const Shape samples = shape.without(shape.rank() - 1);
  const Index classes = shape[-1], rows = samples.count();
  const T divisor = static_cast<T>(rows), on = static_cast<T>(1 - options.label_smoothing);
  const T off = classes == 0 ? T(0) : static_cast<T>(options.label_smoothing / static_cast<double>(classes));
  const auto smooth = [on, off](const Tensor<T>& weight) {
    return cpu::Smoothing<T>{on, off, weight.defined() ? weight.data() : nullptr};
  };
  const Tensor<T> losses = detail::fresh<T>(samples), mass = detail::fresh<T>(samples);
  const detail::SavedLogSums<T> sums(samples);
  cpu::soft_cross_entropy(logits.data(), targets.data(), smooth(options.weight), rows, classes, sums.to_write(),
                          detail::writable(mass), detail::writable(losses));
  Tensor<T> value = detail::reduced(losses, options.reduction, divisor);
  if (!recorded(logits, targets)) return value;
  auto rule = [=, weight = options.weight, reduction = options.reduction](const Tensor<T>& g, const bool* needed,
                                                                          AnyTensor* results) {
    if (!recording()) {
      Tensor<T> gradients[2];
      T* outputs[2] = {};
      for (int i = 0; i < 2; ++i)
        if (needed[i]) {
          gradients[i] = detail::fresh<T>(logits.shape());
          outputs[i] = detail::writable(gradients[i]);
        }
      cpu::soft_cross_entropy_backward(logits.data(), targets.data(), smooth(weight), sums.to_read(), mass.data(),
                                       g.data(), reduction != Reduction::none,
                                       detail::reduction_scale(reduction, divisor), rows, classes, outputs[0],
                                       outputs[1]);
      for (int i = 0; i < 2; ++i) results[i] = gradients[i];
      return;
    }
    const Tensor<T> factor = detail::loss_factor(g, reduction, logits.shape(), divisor);
    const Tensor<bool> dead = logits == cpu::kMinusInfinity<T>;
    const auto weighted = [&](const Tensor<T>& x) { return weight.defined() ? x * weight.detach() : x; };
    if (needed[0]) {
      const Tensor<T> t = weighted(targets * on + off);
      const Tensor<T> total = sum_to(t, logits.shape().with(logits.rank() - 1, 1));
      results[0] = factor * (softmax(logits) * total - where(dead, 0, t));
    }
    if (needed[1]) results[1] = factor * weighted(where(dead, 0, log_softmax(logits))) * -on;
  };
  return record_jointly("cross_entropy", std::move(value), std::move(rule), logits, targets);
}

/// Squared error (a - b)^2 of tensors of equal shape; the mean is over all elements. Throws ShapeError.
template <Real T>
Tensor<T> mse(const Tensor<T>& a, const Tensor<T>& b, Reduction reduction = Reduction::mean,
              Site site = Site::current()) {
  if (!(a.shape() == b.shape())) fail<ShapeError>("mse", "shapes differ", {{"a", a.shape()}, {"b", b.shape()}}, site);
  return detail::reduce_losses(map([](auto x, auto y) { return square(x - y); }, a, b), reduction);
}

/// -p t log s(x) - (1 - t) log(1 - s(x)) with the sigmoid s, for finite logits x and targets t in [0, 1] of equal shape
/// and a weight p of the positive class, 1 if there is none; the mean is over all elements. Accurate for large |x| on
/// both sides; gradients flow to all. Throws ShapeError.
template <Real T>
Tensor<T> binary_cross_entropy_with_logits(const Tensor<T>& logits, const Tensor<T>& targets,
                                           const BinaryCrossEntropyOptions<std::type_identity_t<T>>& options = {},
                                           Site site = Site::current()) {
  const char* op = "binary_cross_entropy_with_logits";
  if (!(logits.shape() == targets.shape()))
    fail<ShapeError>(op, "shapes differ", {{"logits", logits.shape()}, {"targets", targets.shape()}}, site);
  const Tensor<T>& p = options.pos_weight;
  if (Shape joined;
      p.defined() && (!broadcast_shapes(p.shape(), logits.shape(), joined) || !(joined == logits.shape())))
    fail<ShapeError>(op, "pos_weight does not broadcast to the logits",
                     {{"pos_weight", p.shape()}, {"logits", logits.shape()}}, site);
  // log(1 + e^-|x|) plus what the wrong side adds; the one-sided slopes at 0 add up to that of the loss.
  const auto small = [](auto x) { return softplus(where(x > 0, -x, x)); };
  const auto loss = [small](auto x, auto t) { return small(x) + where(x > 0, (1 - t) * x, -(t * x)); };
  const auto weighted = [small](auto x, auto t, auto w) {
    return ((1 - t) + w * t) * small(x) + where(x > 0, (1 - t) * x, -(w * t * x));
  };
  return detail::reduce_losses(p.defined() ? map(weighted, logits, targets, p) : map(loss, logits, targets),
                               options.reduction);
}

}  // namespace GRAFT_ABI
}  // namespace graft
