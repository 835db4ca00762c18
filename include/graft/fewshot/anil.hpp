#pragma once
// ANIL and NIL. Raghu, Raghu, Bengio, Vinyals, "Rapid learning or feature reuse? Towards understanding the
// effectiveness of MAML", ICLR 2020: MAML whose inner steps change the head only, and, at test time, no inner loop and
// no head at all.

#include <string>
#include <vector>

#include "graft/common/inner_loop.hpp"
#include "graft/ops/matmul.hpp"
#include "graft/ops/prototypes.hpp"
#include "graft/ops/softmax.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The inner loop of `Anil`; rate, steps and order begin as those of `MamlOptions`.
struct AnilOptions {
  std::vector<std::string> head = {"head"};  ///< names of the parameters that the inner steps change, as for `only`
  double alpha = 0.4;                        ///< inner learning rate
  int steps = 1;                             ///< inner gradient steps
  bool first_order = false;                  ///< inner gradients count as constants
};

/// ANIL as a few-shot method: phi_{k+1} = phi_k - alpha grad loss(phi_k, support) in the parameters of the head alone,
/// train_loss = loss(phi_steps, query), whose gradient reaches body and head. `task` has a `support` and a `query`.
/// Throws ValueError for a name that the model does not have, negative steps, a rate that is not finite, and when a
/// support loss, the query loss or an adapted parameter is not finite.
template <class Loss = ClassificationLoss>
struct Anil {
  static constexpr Needs needs{.derivatives = 2, .any_ways = false};
  AnilOptions options = {};
  Loss loss = {};

  template <Model M, class Task>
  auto train_loss(const M& model, const Task& task, ContextRef context, Site site = Site::current()) const {
    const Named here("Anil", site);
    const M phi = adapted(model, task.support, context, site);
    return detail::finite_query("Anil", loss(phi, task.query, context), options.steps, site);
  }

  template <Model M, class Set>
  AdaptedModel<M> adapt(const M& model, const Set& support, const Tensor<ModelScalar<M>>& = {},
                        ContextRef context = Context(), Site site = Site::current()) const {
    const Named here("Anil", site);
    return {detail::finite_model("Anil", adapted(model, support, context, site), options.steps, site)};
  }

 private:
  template <class M, class Set>
  M adapted(const M& theta, const Set& support, ContextRef context, Site site) const {
    const auto support_loss = [&](const M& phi, int step) {
      return detail::finite_support("Anil", loss(phi, support, context), step, site);
    };
    const Only head = detail::head_parts("Anil", theta, options.head, site);
    return detail::descend_parts("Anil", support_loss, theta, head, {options.alpha, options.steps, options.first_order},
                                 site);
  }
};

/// A body that answers by a vote of the support items.
template <class Body, class T>
struct CosineVote {
  Body body;
  Tensor<T> support;  ///< [items, width]: features
  Tensor<T> members;  ///< [items, ways]: 1 at an item's class

  /// Logits [queries, ways]: the logarithm of a class's share of the vote, sum over its items of softmax_i(cosine of
  /// query and item i). At most log(e^2 / (e^2 + ways - 1)) with one shot.
  Tensor<T> predict(const Tensor<T>& queries, ContextRef context = Context(), Site site = Site::current()) const {
    const Named here("Nil", site);
    const Tensor<T> cosines = cosine_similarities(answer_of(body, queries, context), support, site);
    return log(matmul(softmax(cosines, 1, site), members));
  }
};

/// NIL as a few-shot method for a `BodyHead`: trained as ANIL (`options`), it throws the head away and gives a query
/// the labels of the support items, weighed by the softmax of the cosines of their features (the vote of Vinyals et
/// al., NeurIPS 2016). A feature vector of zeros has cosine 0 to all. Throws ShapeError for features that are not
/// [items, width], ValueError for a class without support items; training throws as `Anil`.
template <class Loss = ClassificationLoss>
struct Nil {
  static constexpr Needs needs{.derivatives = 2, .any_ways = false};
  AnilOptions options = {};
  Loss loss = {};

  template <Model M, class Task>
  auto train_loss(const M& model, const Task& task, ContextRef context, Site site = Site::current()) const {
    return Anil<Loss>{options, loss}.train_loss(model, task, context, site);
  }

  template <class Body, class Head, class T>
  CosineVote<Body, T> adapt(const BodyHead<Body, Head>& model, const LabelledSet<T>& support, const Tensor<T>& = {},
                            ContextRef context = Context(), Site site = Site::current()) const {
    const Named here("Nil", site);
    const Tensor<T> features = answer_of(model.body, support.x, context);
    const Index ways = ways_of(support.y, site);
    detail::check_embedded("Nil", Episode<T>{{features, support.y}, {features, {}}, ways}, site);
    return {model.body, features, one_hot<T>(support.y, ways, site)};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
