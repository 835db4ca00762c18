#pragma once
// Losses: cross-entropy with class labels or soft targets, squared error, binary cross-entropy. Each is one number
// (mean or sum over the samples) or one number a sample.

#include "graft/backend/cpu/cross_entropy.hpp"
#include "graft/ops/map.hpp"
#include "graft/ops/softmax.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What is made of the losses of all samples. The mean over no samples is NaN.
enum class Reduction { mean, sum, none };

/// How `cross_entropy` reads its targets.
struct CrossEntropyOptions {
  double label_smoothing = 0;  ///< weight in [0, 1] of the uniform distribution mixed into the targets
  Reduction reduction = Reduction::mean;
};

namespace detail {

/// The reduction of `losses` as a number outside any tape, or `losses` themselves.
template <class T>
Tensor<T> reduced(const Tensor<T>& losses, Reduction reduction) {
  if (reduction == Reduction::none) return losses;
  const T total = cpu::sum_row(losses.data(), losses.count());
  return Tensor<T>(reduction == Reduction::mean ? total / static_cast<T>(losses.count()) : total);
}
/// d reduced / d loss of one sample.
template <class T>
T reduction_scale(Reduction reduction, Index count) {
  return reduction == Reduction::mean ? T(1) / static_cast<T>(count) : T(1);
}
/// The reduction in ops.
template <class T>
Tensor<T> reduce_losses(const Tensor<T>& losses, Reduction reduction) {
  if (reduction == Reduction::none) return losses;
  const Tensor<T> total = sum_to(losses, Shape{});
  return reduction == Reduction::mean ? total / static_cast<T>(losses.count()) : total;
}

inline void check_smoothing(const Shape& logits, double smoothing, Site site) {
  if (logits.rank() < 1) fail<ShapeError>("cross_entropy", "logits need a class axis", {{"logits", logits}}, site);
  if (!(smoothing >= 0 && smoothing <= 1))
    fail("cross_entropy", {"label_smoothing is ", smoothing, ", expected 0 to 1"}, {{"logits", logits}}, site);
}

/// The gradient of a loss, one number or one a sample, times d reduced / d loss, ready to multiply [..., classes].
template <class T>
Tensor<T> loss_factor(const Tensor<T>& g, Reduction reduction, const Shape& logits, Index rows) {
  const Shape column = reduction == Reduction::none ? logits.with(logits.rank() - 1, 1) : Shape{};
  return reshape(g, column) * reduction_scale<T>(reduction, rows);
}

}  // namespace detail

/// -log softmax(logits)[label], for logits [..., classes] and labels [...]; with smoothing e the target is
/// (1 - e) one-hot + e / classes (Szegedy et al., CVPR 2016). Saves one number a sample. A logit of -inf rules its
/// class out: its gradient is 0, and the loss of a sample with that label is +inf. Throws ShapeError, IndexError for a
/// label outside 0 .. classes-1, ValueError for a smoothing outside [0, 1].
template <Real T, Integer Label>
Tensor<T> cross_entropy(const Tensor<T>& logits, const Tensor<Label>& labels, CrossEntropyOptions options = {},
                        Site site = Site::current()) {
  const Shape& shape = logits.shape();
  const double smoothing = options.label_smoothing;
  detail::check_smoothing(shape, smoothing, site);
  if (!(labels.shape() == shape.without(shape.rank() - 1)))
    fail<ShapeError>("cross_entropy", "needs one label a row of logits",
                     {{"logits", shape}, {"labels", labels.shape()}}, site);
  const Index classes = shape[-1], rows = labels.count();
  for (Index i = 0; i < rows; ++i)
    if (const auto label = static_cast<Index>(labels.data()[i]); label < 0 || label >= classes)
      fail<IndexError>("cross_entropy", {"label ", label, " at position ", i, ", expected 0 to ", classes - 1},
                       {{"logits", shape}, {"labels", labels.shape()}}, site);

  const cpu::LabelTargets<T, Label> targets{labels.data(), static_cast<T>(1 - smoothing),
                                            static_cast<T>(smoothing / static_cast<double>(classes))};
  const Tensor<T> losses = detail::fresh<T>(labels.shape()), lse = detail::fresh<T>(labels.shape());
  cpu::cross_entropy(logits.data(), targets, rows, classes, detail::writable(lse), detail::writable(losses));
  Tensor<T> value = detail::reduced(losses, options.reduction);
  if (!recorded(logits)) return value;
  return record(
      "cross_entropy", std::move(value),
      Edge(logits, [logits, labels, targets, lse, rows, classes, reduction = options.reduction](const Tensor<T>& g) {
        Tensor<T> result = detail::fresh<T>(logits.shape());
        const bool one_g = reduction != Reduction::none;
        if (!recording()) {
          cpu::cross_entropy_backward(logits.data(), targets, lse.data(), g.data(), one_g,
                                      detail::reduction_scale<T>(reduction, rows), rows, classes,
                                      detail::writable(result));
          return result;
        }
        // The targets as a tensor; a class that is ruled out has none, as its probability.
        T* target = detail::writable(result);
        for (Index r = 0; r < rows; ++r)
          for (Index c = 0; c < classes; ++c) {
            const bool dead = logits.data()[r * classes + c] == cpu::kMinusInfinity<T>;
            target[r * classes + c] = dead ? 0 : targets.off + (labels.data()[r] == c ? targets.on : 0);
          }
        return (softmax(logits) - result) * detail::loss_factor(g, reduction, logits.shape(), rows);
      }));
}

/// -sum_c targets_c log softmax(logits)_c for logits and targets [..., classes]; with smoothing e the targets are
/// (1 - e) targets + e / classes. Gradients flow to both. A target of 0 counts nothing, whatever its logit; a logit of
/// -inf gets no gradient and gives its target none. Throws ShapeError, ValueError for a smoothing outside [0, 1].
template <Real T>
Tensor<T> cross_entropy(const Tensor<T>& logits, const Tensor<T>& targets, CrossEntropyOptions options = {},
                        Site site = Site::current()) {
  const Shape& shape = logits.shape();
  detail::check_smoothing(shape, options.label_smoothing, site);
  if (!(targets.shape() == shape))
    fail<ShapeError>("cross_entropy", "shapes differ", {{"logits", shape}, {"targets", targets.shape()}}, site);
  const Shape samples = shape.without(shape.rank() - 1);
  const Index classes = shape[-1], rows = samples.count();
  const cpu::Smoothing<T> smooth{
      static_cast<T>(1 - options.label_smoothing),
      classes == 0 ? T(0) : static_cast<T>(options.label_smoothing / static_cast<double>(classes))};
  const Tensor<T> losses = detail::fresh<T>(samples), lse = detail::fresh<T>(samples), mass = detail::fresh<T>(samples);
  cpu::soft_cross_entropy(logits.data(), targets.data(), smooth, rows, classes, detail::writable(lse),
                          detail::writable(mass), detail::writable(losses));
  Tensor<T> value = detail::reduced(losses, options.reduction);
  if (!recorded(logits, targets)) return value;
  auto rule = [logits, targets, smooth, lse, mass, rows, classes, reduction = options.reduction](
                  const Tensor<T>& g, const bool* needed, AnyTensor* results) {
    if (!recording()) {
      Tensor<T> gradients[2];
      T* outputs[2] = {};
      for (int i = 0; i < 2; ++i)
        if (needed[i]) {
          gradients[i] = detail::fresh<T>(logits.shape());
          outputs[i] = detail::writable(gradients[i]);
        }
      cpu::soft_cross_entropy_backward(logits.data(), targets.data(), smooth, lse.data(), mass.data(), g.data(),
                                       reduction != Reduction::none, detail::reduction_scale<T>(reduction, rows), rows,
                                       classes, outputs[0], outputs[1]);
      for (int i = 0; i < 2; ++i) results[i] = gradients[i];
      return;
    }
    const Tensor<T> factor = detail::loss_factor(g, reduction, logits.shape(), rows);
    const Tensor<bool> dead = logits == cpu::kMinusInfinity<T>;
    if (needed[0]) {
      const Tensor<T> t = targets * smooth.on + smooth.off;
      const Tensor<T> total = sum_to(t, logits.shape().with(logits.rank() - 1, 1));
      results[0] = factor * (softmax(logits) * total - where(dead, 0, t));
    }
    if (needed[1]) results[1] = factor * where(dead, 0, log_softmax(logits)) * -smooth.on;
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

/// -t log s(x) - (1 - t) log(1 - s(x)) with the sigmoid s, for finite logits x and targets t in [0, 1] of equal shape;
/// the mean is over all elements. Accurate for large |x| on both sides; gradients flow to both. Throws ShapeError.
template <Real T>
Tensor<T> binary_cross_entropy_with_logits(const Tensor<T>& logits, const Tensor<T>& targets,
                                           Reduction reduction = Reduction::mean, Site site = Site::current()) {
  if (!(logits.shape() == targets.shape()))
    fail<ShapeError>("binary_cross_entropy_with_logits", "shapes differ",
                     {{"logits", logits.shape()}, {"targets", targets.shape()}}, site);
  // log(1 + e^-|x|) plus what the wrong side adds; the one-sided slopes at 0 add up to s(0) - t.
  const auto loss = [](auto x, auto t) { return softplus(where(x > 0, -x, x)) + where(x > 0, (1 - t) * x, -(t * x)); };
  return detail::reduce_losses(map(loss, logits, targets), reduction);
}

}  // namespace GRAFT_ABI
}  // namespace graft
