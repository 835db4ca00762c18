#pragma once
// Placeholder samples beside the labelled ones: items of which nothing is known but a vague or random target. Of this
// form the limit is label smoothing, Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception architecture
// for computer vision", CVPR 2016. Random labels that are drawn anew for every batch: Wei, Tao, Xie, An, "Open-set
// label noise can improve robustness against inherent label noise", NeurIPS 2021; as in the authors' code.

#include "graft/common/checks.hpp"
#include "graft/common/few_shot.hpp"
#include "graft/common/laps.hpp"
#include "graft/common/needs.hpp"
#include "graft/common/placeholder_samples.hpp"
#include "graft/ops/broadcast.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `sample_loss`.
struct SampleLossOptions {
  double rho = 0.1;  ///< share of the placeholders, in [0, 1); the smoothing of Szegedy et al.
  static constexpr DataNeeds needs{.unlabelled = true};
};

/// rho = M / (N + M) of N labelled items and M placeholders: with it and no weights `sample_loss` is the mean over all
/// N + M of them. Throws ValueError for negative numbers, and for none at all.
inline double placeholder_ratio(Index items, Index placeholders, Site site = Site::current()) {
  if (items < 0 || placeholders < 0 || (items == 0 && placeholders == 0))
    fail("placeholder_ratio", {items, " items and ", placeholders, " placeholders"}, {}, site);
  return static_cast<double>(placeholders) / (static_cast<double>(items) + static_cast<double>(placeholders));
}

/// (1 - rho) mean_i CE(f(x_i), y_i) + rho mean_j w_j CE(f(x~_j), q_j), shape [], f = `model(items, context)` -> logits
/// [items, classes]. The model sees the labelled items first, so that their random numbers are the same whatever rho
/// is; at rho 0 it does not see the placeholders, of which there may be none, and the loss is that of the labelled
/// items bit for bit. Weights count as given: all 0 switch the placeholders off, but not 1 - rho. For items x~ of the
/// inputs' own distribution and one q the least loss is at p(y | x) (1 - rho) + rho q: label smoothing, which for a
/// uniform q changes no answer, only how sure it is. Throws ShapeError, ValueError without placeholders and for a rho
/// outside [0, 1).
template <class M, Real T>
Tensor<T> sample_loss(const M& model, const LabelledSet<T>& set, const PlaceholderSamples<T>& placeholders,
                      const SampleLossOptions& o, ContextRef context, Site site = Site::current()) {
  const char* op = "sample_loss";
  detail::check_option<T>(op, "rho", o.rho, detail::Range::below_one, site);
  if (o.rho != 0) detail::check_placeholders(op, placeholders, site);
  const Named here(op, site);
  const Tensor<T> known = cross_entropy(answer_of(model, set.x, context), set.y, {}, site);
  if (o.rho == 0) return known;
  return (1 - o.rho) * known +
         o.rho * detail::placeholder_loss(op, answer_of(model, placeholders.x, context), placeholders, site);
}

/// The distribution that gives every class the same, [classes]. Throws ValueError without classes.
template <Real T = float>
Tensor<T> uniform_target(Index classes, Site site = Site::current()) {
  detail::check_count("uniform_target", "classes", classes, 1, site);
  return full<T>({classes}, T(1) / static_cast<T>(classes));
}

/// The share of each class among labels [items] in 0 .. classes-1, [classes]. Throws ValueError without labels,
/// ShapeError, IndexError.
template <Real T = float>
Tensor<T> prior_target(const Tensor<std::int64_t>& labels, Index classes, Site site = Site::current()) {
  if (labels.count() == 0) fail("prior_target", "no labels", {{"labels", labels.shape()}}, site);
  detail::check_labels("prior_target", labels, labels.count(), classes, site);
  return mean(one_hot<T>(labels, classes, site), {0});
}

namespace detail {

/// `count` of the items, each as often as any other up to one time.
template <class T>
Tensor<T> drawn_items(const char* op, const Tensor<T>& source, Index count, const Random& random, Site site) {
  if (!source.defined() || source.rank() < 1 || source.size(0) == 0)
    fail(op, "the source of placeholders has no items", {{"source", source.defined() ? source.shape() : Shape{0}}},
         site);
  check_count(op, "count", count, 1, site);
  return gather(source, from_vector(places_in_laps(count, source.size(0), random)), 0, site);
}

}  // namespace detail

/// `count` items drawn from `unlabelled` [items, ...], each as often as any other up to one time, all with the target q
/// = `target` [classes] (`uniform_target`, `prior_target`). Throws ShapeError, ValueError for no items, a count below 1
/// and a target that is no distribution.
template <Real T>
PlaceholderSamples<T> random_placeholders(const Tensor<T>& unlabelled, Index count, const Tensor<T>& target,
                                          const Random& random, Site site = Site::current()) {
  const char* op = "random_placeholders";
  if (target.rank() != 1 || target.count() == 0)
    fail<ShapeError>(op, "expected a target [classes]", {{"target", target.shape()}}, site);
  detail::check_distribution(op, "the target", host(target), site);
  const Index classes = target.count();
  return {detail::drawn_items(op, unlabelled, count, random, site),
          broadcast_to(reshape(target, {1, classes}), {count, classes}, site)};
}

/// Options of `open_set_loss`.
struct OpenSetNoiseOptions {
  double weight = 2.5;  ///< eta; the authors' for CIFAR-10 with symmetric noise (1 for CIFAR-100, up to 3.5)
  Index count = 0;      ///< placeholders a batch; 0: as many as there are labelled items
  static constexpr DataNeeds needs{.unlabelled = true};
};

/// `count` items of `unlabelled` with labels uniform among the classes, drawn from `random` and so anew for every
/// stream; targets are one-hot. Throws ShapeError, ValueError for no items or classes and a count below 1.
template <Real T>
PlaceholderSamples<T> open_set_placeholders(const Tensor<T>& unlabelled, Index count, Index classes,
                                            const Random& random, Site site = Site::current()) {
  const char* op = "open_set_placeholders";
  detail::check_count(op, "classes", classes, 1, site);
  const Tensor<T> x = detail::drawn_items(op, unlabelled, count, random.stream("items"), site);
  const Random label = random.stream("labels");
  const auto labels = generate({count}, [&](Index i) { return label.below(static_cast<std::uint64_t>(i), classes); });
  return {x, one_hot<T>(labels, classes, site)};
}

/// mean_i CE(f(x_i), y_i) + eta mean_j CE(f(x~_j), y~_j) with items x~ of `unlabelled` and labels y~ that are drawn
/// anew at every call, from the context's stream "open_set". Averaged over these draws it is the loss to uniform
/// targets; what Wei et al. hold to help is the noise that the draws add to the gradient. Their items come from another
/// data set than the labelled ones, and the model sees both sets in one batch; here it sees one after the other, which
/// differs where a layer looks at the whole batch. At eta 0 the loss of the labelled items, bit for bit, and nothing is
/// drawn. Throws ShapeError, ValueError for no items or classes, a negative eta or count.
template <class M, Real T>
Tensor<T> open_set_loss(const M& model, const LabelledSet<T>& set, const Tensor<T>& unlabelled, Index classes,
                        const OpenSetNoiseOptions& o, ContextRef context, Site site = Site::current()) {
  const char* op = "open_set_loss";
  detail::check_option<T>(op, "weight", o.weight, detail::Range::not_negative, site);
  detail::check_count(op, "count", o.count, 0, site);
  detail::check_count(op, "classes", classes, 1, site);
  if (o.weight != 0 && (!unlabelled.defined() || unlabelled.rank() < 1 || unlabelled.size(0) == 0))
    fail(op, "the source of placeholders has no items",
         {{"unlabelled", unlabelled.defined() ? unlabelled.shape() : Shape{0}}}, site);
  const Named here(op, site);
  const Tensor<T> known = cross_entropy(answer_of(model, set.x, context), set.y, {}, site);
  if (o.weight == 0) return known;
  const Index count = o.count == 0 ? set.x.size(0) : o.count;
  const PlaceholderSamples<T> noise =
      open_set_placeholders(unlabelled, count, classes, context->stream("open_set"), site);
  return known + o.weight * detail::placeholder_loss(op, answer_of(model, noise.x, context), noise, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
