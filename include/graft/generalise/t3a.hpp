#pragma once
// Test-time template adjustment. Iwasawa, Matsuo, "Test-time classifier adjustment module for model-agnostic domain
// generalization", NeurIPS 2021: the rows of the last layer are templates of the classes, and items that the model is
// sure about become further ones. Nothing is differentiated. Compared with the authors' code.

#include <algorithm>
#include <cmath>
#include <vector>

#include "graft/common/needs.hpp"
#include "graft/common/unlabelled.hpp"
#include "graft/core/list.hpp"
#include "graft/ops/indexing.hpp"
#include "graft/ops/matmul.hpp"
#include "graft/ops/statistics.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `T3a`. The authors choose `kept` among 1, 5, 20, 50, 100 and all by validation.
struct T3aOptions {
  Index kept = 20;  ///< M: templates that a class keeps, those of least entropy; 0: all
};

/// Templates of a linear head z -> z W^T + b of features z [items, width], at first its rows, each in the class to
/// which the head itself assigns it. A batch of features is added to them, each with the class and the entropy of the
/// head's own answer; every class then keeps the `kept` of least entropy, and the logits are  <z, c_k>  with c_k the
/// mean of the class's templates on the unit sphere, itself scaled to length 1, as in the authors' code. The logits of
/// a class without templates are 0.
template <class T = float>
struct T3a {
  static constexpr DataNeeds needs{.labels = false, .unlabelled = true, .derivatives = 0};
  Buffer<T> templates;          ///< [templates, width]
  Buffer<std::int64_t> labels;  ///< [templates]
  Buffer<T> entropies;          ///< [templates]
  T3aOptions options;
  GRAFT_FIELDS(templates, labels, entropies)
  GRAFT_CONFIG(options)

  T3a() = default;
  /// Of a head with a `weight` [classes, width]. Throws ValueError for `kept` below 0.
  template <class Head>
  requires requires(const Head& head) { head.weight.size(1); }
  explicit T3a(const Head& head, const T3aOptions& o = {}, Site site = Site::current()) : options(o) {
    detail::check_count("T3a", "kept", o.kept, 0, site);
    const Recording off(false);
    add(head.weight.detach(), answer_of(head, head.weight.detach(), Context()), site);
  }

  /// Logits [items, classes] of features [items, width] by `head`, which become templates. Throws ShapeError for
  /// features of another width, ValueError when an answer of the head is not finite.
  template <class Head>
  Tensor<T> answer(const Head& head, const Tensor<T>& features, ContextRef context = Context(),
                   Site site = Site::current()) {
    const Named here("T3a", site);
    if (!templates.value.defined()) fail("T3a", "called before it was made", {{"features", features.shape()}}, site);
    const Index width = templates.value.size(1);
    if (features.rank() != 2 || features.size(1) != width)
      fail<ShapeError>("T3a", {"expected features [items, ", width, "]"}, {{"features", features.shape()}}, site);
    const Recording off(false);
    const Tensor<T> logits = answer_of(head, features, context);
    const Index classes = logits.size(1);
    add(features.detach(), logits, site);
    keep(classes);
    const Tensor<T> own = one_hot<T>(labels.value, classes);
    const Tensor<T> sums = matmul(own, unit_rows(templates.value), {.transpose_a = true}, site);
    return matmul(features, unit_rows(sums), {.transpose_b = true}, site);
  }

  /// The same of items x, by a model with a `body`, which gives features, and a `head`.
  template <class M>
  requires requires(const M& model) { model.body, model.head; }
  Tensor<T> operator()(const M& model, const Tensor<T>& x, ContextRef context = Context(),
                       Site site = Site::current()) {
    const Recording off(false);
    return answer(model.head, answer_of(model.body, x, context), context, site);
  }

 private:
  void add(const Tensor<T>& items, const Tensor<T>& logits, Site site) {
    const Tensor<T> entropy = softmax_entropy(logits, site);
    for (const T value : host(entropy))
      if (!std::isfinite(value)) fail("T3a", "an answer of the head is not finite", {{"logits", logits.shape()}}, site);
    const Tensor<std::int64_t> own = argmax(logits, 1);
    const bool first = !templates.value.defined();
    templates.value = first ? items : concat<T>({templates.value, items}, 0, site);
    labels.value = first ? own : concat<std::int64_t>({labels.value, own}, 0, site);
    entropies.value = first ? entropy : concat<T>({entropies.value, entropy}, 0, site);
  }
  void keep(Index classes) {
    if (options.kept == 0) return;
    const auto entropy = host(entropies.value);
    const auto of = host(labels.value);
    std::vector<std::vector<std::int64_t>> places(static_cast<std::size_t>(classes));
    for (std::size_t i = 0; i < of.size(); ++i)
      places[static_cast<std::size_t>(of[i])].push_back(static_cast<std::int64_t>(i));
    std::vector<std::int64_t> chosen;
    for (auto& own : places) {
      std::stable_sort(own.begin(), own.end(), [&](std::int64_t a, std::int64_t b) {
        return entropy[static_cast<std::size_t>(a)] < entropy[static_cast<std::size_t>(b)];
      });
      if (static_cast<Index>(own.size()) > options.kept) own.resize(static_cast<std::size_t>(options.kept));
      chosen.insert(chosen.end(), own.begin(), own.end());
    }
    const Tensor<std::int64_t> rows = from_vector(chosen);
    templates.value = gather(templates.value, rows);
    labels.value = gather(labels.value, rows);
    entropies.value = gather(entropies.value, rows);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
