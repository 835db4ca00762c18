#pragma once
// Mean teacher. Tarvainen, Valpola, "Mean teachers are better role models: weight-averaged consistency targets improve
// semi-supervised deep learning results", NeurIPS 2017: the student is pulled towards the answers of an average of its
// own weights. Compared with the authors' code.

#include <algorithm>
#include <cmath>

#include "graft/common/needs.hpp"
#include "graft/common/unlabelled.hpp"
#include "graft/common/weight_average.hpp"
#include "graft/core/options.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `MeanTeacher`; the authors' for SVHN (for CIFAR-10 their weight is 100 times the labelled share of the
/// items). Their decay is 0.99 while the weight rises.
struct MeanTeacherOptions {
  double weight = 100;   ///< of the consistency cost, once it has risen; 0: the labelled items alone
  Index ramp = 40000;    ///< steps in which it rises, as e^(-5 (1 - step / ramp)^2); 0: it is there at once
  double decay = 0.999;  ///< of the teacher's weights, at most
};

/// The weight of the consistency cost at `step`.
inline double consistency_weight(const MeanTeacherOptions& options, Index step) {
  if (options.ramp <= 0 || step >= options.ramp) return options.weight;
  const double left = 1 - static_cast<double>(std::max<Index>(step, 0)) / static_cast<double>(options.ramp);
  return options.weight * std::exp(-5 * left * left);
}

/// A teacher for models like `M`. In every step: `train_loss`, a step of the student, `update(student)`.
template <Model M>
struct MeanTeacher {
  static constexpr DataNeeds needs{.unlabelled = true};
  M teacher;
  Buffer<std::int64_t> updates;  ///< []
  MeanTeacherOptions options;
  GRAFT_FIELDS(teacher, updates)
  GRAFT_CONFIG(options)

  /// The teacher starts as the student. Throws ValueError for a weight below 0, a ramp below 0 or a decay outside
  /// [0, 1).
  explicit MeanTeacher(const M& student, const MeanTeacherOptions& o = {}, Site site = Site::current())
      : teacher(detach(student)), options(o) {
    using detail::Range;
    detail::check_option<double>("MeanTeacher", "weight", o.weight, Range::not_negative, site);
    detail::check_option<double>("MeanTeacher", "decay", o.decay, Range::below_one, site);
    detail::check_count("MeanTeacher", "ramp", o.ramp, 0, site);
    updates.value = zeros<std::int64_t>({});
  }

  /// Mean cross-entropy of the labelled items + w(step) times the mean square of  softmax(student's logits of the
  /// strong view) - softmax(teacher's of the weak view), over items and classes: shape []. The teacher is a constant,
  /// and has its own dropout. The authors let the views have all items, labelled ones among them. Throws ShapeError and
  /// ValueError for items of other shapes, without labels, or none.
  template <Real T>
  Tensor<T> train_loss(const M& model, const LabelledSet<T>& labelled, const UnlabelledViews<T>& views, Index step,
                       ContextRef context, Site site = Site::current()) const {
    const Named here("MeanTeacher", site);
    detail::check_unlabelled("MeanTeacher", labelled, views, site);
    const double weight = consistency_weight(options, step);
    if (weight == 0) return cross_entropy(answer_of(model, labelled.x, context), labelled.y, {}, site);
    const Tensor<T> logits = answer_of(model, concat<T>({labelled.x, views.strong}, 0, site), context);
    const Index told = labelled.x.size(0);
    const Tensor<T> target = taught(views.weak, context);
    return cross_entropy(slice(logits, 0, 0, told), labelled.y, {}, site) +
           weight * mse(softmax(slice(logits, 0, told, logits.size(0))), target, Reduction::mean, site);
  }

  /// After the student's step: teacher <- a teacher + (1 - a) student with a = min(decay, 1 - 1 / (updates + 1)), so
  /// that it is the plain mean of the student's weights at first; what is no parameter is the student's. Throws
  /// ShapeError for a model of other shapes.
  void update(const M& student, Site site = Site::current()) {
    const Recording off(false);
    const std::int64_t done = updates.value.item() + 1;
    const double keep = std::min(options.decay, 1 - 1 / static_cast<double>(done + 1));
    teacher = detail::moved_towards("MeanTeacher", teacher, detach(student), 1 - keep, site);
    updates.value = Tensor<std::int64_t>(done);
  }

 private:
  template <class T>
  Tensor<T> taught(const Tensor<T>& x, ContextRef context) const {
    const Recording off(false);
    Context own(context->training() ? Phase::training : Phase::evaluation, context->stream("teacher"));
    return softmax(answer_of(teacher, x, own)).detach();
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
