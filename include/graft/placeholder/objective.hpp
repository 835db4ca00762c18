#pragma once
// One objective of several terms: the main loss and whatever placeholders add to it, each with a coefficient. Formula
// as the catalogue of methods has it; a weighted sum has no paper.

#include <cmath>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "graft/common/needs.hpp"
#include "graft/core/function.hpp"
#include "graft/core/options.hpp"
#include "graft/model/context.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// A term of an `Objective`.
template <class M, class T = float>
struct ObjectiveTerm {
  std::string name;
  double coefficient = 1;                               ///< 0: off
  Function<Tensor<T>(const M&, ContextRef)> loss = {};  ///< a scalar of the model; may be empty in a term that is off
};

/// L(model) = sum_k c_k L_k(model):
///
///     Objective<Net> objective{{{"main", 1, main_loss}, {"alignment", o.b, alignment_loss}, {"samples", o.a, ...}}};
///     std::vector<Context> contexts = objective.contexts(Phase::training, random.stream(step));
///     auto [loss, gradient] = value_and_grad([&](const Net& n) { return objective(n, contexts); }, net);
///     net = apply_updates(stepped, contexts);
///
/// A term whose coefficient is 0 is off: it is not evaluated, and the loss, its gradient, the random numbers and the
/// updates of the others are those of an objective that never had it, bit for bit. For that every term has a context of
/// its own whose stream has the term's name; the first one has the stream that was given, so that an objective with the
/// first term alone, at coefficient 1, is that loss. Several main tasks are one term that weighs them, or their
/// gradients go through an aggregator and that of the other terms is added to the direction.
template <class M, class T = float>
struct Objective {
  static constexpr DataNeeds needs{.labels = false};
  std::vector<ObjectiveTerm<M, T>> terms;

  /// A context a term, for one evaluation. Throws ValueError for two terms of one name.
  std::vector<Context> contexts(Phase phase, const Random& random, Site site = Site::current()) const {
    std::vector<Context> all;
    for (std::size_t k = 0; k < terms.size(); ++k) {
      for (std::size_t j = 0; j < k; ++j)
        if (terms[j].name == terms[k].name) fail("Objective", {"two terms are named ", terms[k].name}, {}, site);
      all.emplace_back(phase, k == 0 ? random : random.stream("term").stream(terms[k].name));
    }
    return all;
  }

  /// The losses of the terms, without their coefficients, in their order; empty handles of those that are off. Throws
  /// ValueError for no term that is on, a coefficient below 0, another number of contexts, a term that is on without a
  /// loss, ShapeError for one that is no scalar; each names the term.
  std::vector<Tensor<T>> losses(const M& model, std::span<Context> all, Site site = Site::current()) const {
    const char* op = "Objective";
    if (all.size() != terms.size()) fail(op, {all.size(), " contexts for ", terms.size(), " terms"}, {}, site);
    bool any = false;
    for (const ObjectiveTerm<M, T>& term : terms) {
      detail::check_option<T>(op, term.name.c_str(), term.coefficient, detail::Range::not_negative, site);
      if (term.coefficient != 0 && !term.loss) fail(op, {"the term ", term.name, " has no loss"}, {}, site);
      any |= term.coefficient != 0;
    }
    if (!any) fail(op, {"none of ", terms.size(), " terms is on"}, {}, site);
    std::vector<Tensor<T>> values(terms.size());
    for (std::size_t k = 0; k < terms.size(); ++k) {
      if (terms[k].coefficient == 0) continue;
      values[k] = terms[k].loss(model, all[k]);
      if (!values[k].defined() || values[k].count() != 1)
        fail<ShapeError>(op, {"the term ", terms[k].name, " must be a scalar"},
                         {{"loss", values[k].defined() ? values[k].shape() : Shape{0}}}, site);
    }
    return values;
  }

  /// The objective, shape []. Throws as `losses`, and ValueError for a term that is not finite.
  Tensor<T> operator()(const M& model, std::span<Context> all, Site site = Site::current()) const {
    const std::vector<Tensor<T>> values = losses(model, all, site);
    Tensor<T> total;
    for (std::size_t k = 0; k < terms.size(); ++k) {
      if (!values[k].defined()) continue;
      if (const double value = static_cast<double>(values[k].item()); !std::isfinite(value))
        fail("Objective", {"the term ", terms[k].name, " is ", value}, {}, site);
      const Tensor<T> own = terms[k].coefficient == 1 ? values[k] : terms[k].coefficient * values[k];
      total = total.defined() ? total + own : own;
    }
    return total;
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
