#pragma once
// Placeholders whose targets a teacher gives. Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network",
// 2015. Of features instead of answers, after Romero, Ballas, Kahou, Chassang, Gatta, Bengio, "FitNets: hints for thin
// deep nets", ICLR 2015: here what a task keeps in its slots.

#include "graft/common/needs.hpp"
#include "graft/common/placeholder_samples.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `distillation_loss` and `distilled_loss`.
struct DistillationOptions {
  double tau = 2;    ///< temperature; Hinton et al. take 1 to 10 for speech, of which 2 was best, up to 20 for digits
  double rho = 0.5;  ///< share of the teacher's term in `distilled_loss`; as Hinton et al. for speech
  static constexpr DataNeeds needs{.unlabelled = true};
};

namespace detail {

template <class T>
void check_distillation(const char* op, const Tensor<T>& student, const Tensor<T>& teacher,
                        const DistillationOptions& o, Site site) {
  if (student.rank() != 2 || student.count() == 0 || !(student.shape() == teacher.shape()))
    fail<ShapeError>(op, "expected logits [items, classes] of student and teacher",
                     {{"student", student.shape()}, {"teacher", teacher.shape()}}, site);
  check_option<T>(op, "tau", o.tau, Range::positive, site);
  check_option<T>(op, "rho", o.rho, Range::not_negative, site);
  if (o.rho > 1) fail(op, {"rho is ", o.rho, ", expected in [0, 1]"}, {}, site);
}

}  // namespace detail

/// tau^2 mean_i KL(q_i | softmax(z_S / tau)_i) with q = softmax(z_T / tau), a constant, for logits z_S, z_T [items,
/// classes]: shape []. Exactly 0 for equal logits. For a large tau the gradient of an item goes to (z_S - z_T less
/// their means) / classes, that of half the squared difference of centred logits over the classes. A teacher's logit of
/// -inf rules its class out. Throws ShapeError, ValueError for a tau that is not positive.
template <Real T>
Tensor<T> distillation_loss(const Tensor<T>& student, const Tensor<T>& teacher, const DistillationOptions& o = {},
                            Site site = Site::current()) {
  detail::check_distillation("distillation_loss", student, teacher, o, site);
  const T tau = static_cast<T>(o.tau);
  const Tensor<T> log_q = log_softmax(teacher.detach() / tau, -1, site), q = exp(log_q);
  const Tensor<T> terms = where(q > 0, q * (log_q - log_softmax(student / tau, -1, site)), T(0));
  return sum(terms) * (tau * tau / static_cast<T>(student.size(0)));
}

/// (1 - rho) mean_i CE(z_S, y) + rho distillation_loss(z_S, z_T), for labels y [items]: shape []. At rho 0 the
/// cross-entropy bit for bit, at 1 the teacher alone. Throws as `distillation_loss`, IndexError for a label out of
/// range, ValueError for a rho outside [0, 1].
template <Real T>
Tensor<T> distilled_loss(const Tensor<T>& student, const Tensor<T>& teacher, const Tensor<std::int64_t>& labels,
                         const DistillationOptions& o = {}, Site site = Site::current()) {
  detail::check_distillation("distilled_loss", student, teacher, o, site);
  detail::check_labels("distilled_loss", labels, student.size(0), student.size(1), site);
  const Named here("distilled_loss", site);
  if (o.rho == 1) return distillation_loss(student, teacher, o, site);
  const Tensor<T> known = cross_entropy(student, labels, {}, site);
  if (o.rho == 0) return known;
  return (1 - o.rho) * known + o.rho * distillation_loss(student, teacher, o, site);
}

/// Items x [items, ...] with the teacher's softened answers softmax(z_T / tau) as targets, for `sample_loss`; the
/// teacher's logits [items, classes] count as constants. Throws ShapeError, ValueError for a tau that is not positive.
template <Real T>
PlaceholderSamples<T> distilled_placeholders(const Tensor<T>& x, const Tensor<T>& teacher,
                                             const DistillationOptions& o = {}, Site site = Site::current()) {
  const char* op = "distilled_placeholders";
  detail::check_distillation(op, teacher, teacher, o, site);
  const PlaceholderSamples<T> samples{x, softmax(teacher.detach() / static_cast<T>(o.tau), -1, site)};
  detail::check_placeholders(op, samples, site);
  return samples;
}

/// mean (p_S - p_T)^2 over slots [..., slots, width] of two tasks, the teacher's a constant: shape []. A bridge from a
/// main task to an auxiliary one that has no classes in common with it. For slots of another width give the student's
/// through a linear map, as FitNets do. Throws ShapeError.
template <Real T>
Tensor<T> slot_distillation_loss(const Tensor<T>& student, const Tensor<T>& teacher, Site site = Site::current()) {
  if (student.count() == 0 || !(student.shape() == teacher.shape()))
    fail<ShapeError>("slot_distillation_loss", "expected slots of one shape",
                     {{"student", student.shape()}, {"teacher", teacher.shape()}}, site);
  return mean(square(student - teacher.detach()));
}

}  // namespace GRAFT_ABI
}  // namespace graft
