#pragma once
// All methods of domain generalisation in generalise/ that make a training loss, by name, for the model of a program.
// What changes weights after or between steps (SWAD, WiSE-FT, soups), is a layer (MixStyle) or adapts to test items
// (TENT, T3A) is no loss over domains: see its header. A program that knows its method includes the method's header
// alone.

#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "graft/common/domains.hpp"
#include "graft/core/function.hpp"
#include "graft/core/registry.hpp"
#include "graft/generalise/cdann.hpp"
#include "graft/generalise/coral.hpp"
#include "graft/generalise/dann.hpp"
#include "graft/generalise/erm.hpp"
#include "graft/generalise/fish.hpp"
#include "graft/generalise/fishr.hpp"
#include "graft/generalise/group_dro.hpp"
#include "graft/generalise/irm.hpp"
#include "graft/generalise/mixup.hpp"
#include "graft/generalise/mldg.hpp"
#include "graft/generalise/mmd.hpp"
#include "graft/generalise/rsc.hpp"
#include "graft/generalise/sam.hpp"
#include "graft/generalise/sd.hpp"
#include "graft/generalise/vrex.hpp"
#include "graft/model/any_model.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// What a method is made from.
struct DomainMethodSpec {
  Index domains = 0;    ///< of training, for a method that remembers something of each; 0: as many as come first
  Index steps = 5001;   ///< of training. An annealing is as long a part of them as of DomainBed's 5001
  double strength = 1;  ///< factor of the method's own coefficient; 0: risk minimisation
};

namespace detail {

/// A method as a callable, with its memory as fields where it has any.
template <class Method, class M, class T>
struct CalledMethod {
  Method method;
  GRAFT_FIELDS()
  GRAFT_CONFIG(method)

  Tensor<T> operator()(const M& model, const std::vector<LabelledSet<T>>& domains, Index step, ContextRef context,
                       Site site) {
    return method.train_loss(model, domains, step, context, site);
  }
};
template <HasFields Method, class M, class T>
struct CalledMethod<Method, M, T> {
  Method method;
  GRAFT_FIELDS(method)

  Tensor<T> operator()(const M& model, const std::vector<LabelledSet<T>>& domains, Index step, ContextRef context,
                       Site site) {
    return method.train_loss(model, domains, step, context, site);
  }
};

}  // namespace detail

/// Any method for models of type M, chosen at run time. A value: what it remembers is copied and saved with it.
template <Model M>
struct DomainMethod {
  using T = ModelScalar<M>;
  AnyModel<Tensor<T>(const M&, const std::vector<LabelledSet<T>>&, Index, ContextRef), T> call;
  DataNeeds needs;
  Function<bool(Index)> restarts;  ///< whether it asks for a new optimiser at a step
  GRAFT_FIELDS(call)
  GRAFT_CONFIG(needs, restarts)

  DomainMethod() = default;
  template <class Method>
  requires(!std::is_same_v<std::remove_cvref_t<Method>, DomainMethod>) DomainMethod(Method method)
      : call(detail::CalledMethod<Method, M, T>{method}),
        needs(Method::needs),
        restarts([method](Index step) { return graft::restarts_optimiser(method, step); }) {}

  Tensor<T> train_loss(const M& model, const std::vector<LabelledSet<T>>& domains, Index step, ContextRef context,
                       Site site = Site::current()) {
    return call(model, domains, step, context, site);
  }
  bool restarts_optimiser(Index step) const { return restarts && restarts(step); }
};

/// The methods that a program can choose by name for models of type M: those that M has the parts for (`body` and
/// `head`; a linear `head` for Fishr; `discriminator` and `class_embedding`, see common/adversarial_model.hpp). Options
/// are the defaults but for the specification. A new one is a line.
template <Model M>
const Registry<DomainMethod<M>(const DomainMethodSpec&)>& domain_methods() {
  using Spec = DomainMethodSpec;
  using Made = DomainMethod<M>;
  using T = ModelScalar<M>;
  using Entries = std::vector<typename Registry<Made(const Spec&)>::Entry>;
  static const auto list = [] {
    Entries entries{
        {"erm", [](const Spec&) -> Made { return Erm(); }},
        {"irm",
         [](const Spec& s) -> Made {
           return Irm{{.penalty_weight = 100 * s.strength, .annealing_steps = static_cast<int>(s.steps * 500 / 5001)}};
         }},
        {"vrex",
         [](const Spec& s) -> Made {
           return Vrex{{.penalty_weight = 10 * s.strength, .annealing_steps = static_cast<int>(s.steps * 500 / 5001)}};
         }},
        {"group_dro", [](const Spec& s) -> Made { return GroupDro(s.domains, {.eta = 0.01 * s.strength}); }},
        {"mixup", [](const Spec& s) -> Made { return Mixup{{.alpha = 0.2 * s.strength}}; }},
        {"mldg", [](const Spec& s) -> Made { return Mldg<>{{.beta = s.strength, .meta_test = 1}}; }},
        {"mldg_first_order",
         [](const Spec& s) -> Made { return Mldg<>{{.beta = s.strength, .meta_test = 1, .first_order = true}}; }},
        {"fish", [](const Spec& s) -> Made { return Fish<>{{.alpha = 1e-3 * s.strength}}; }},
        {"sam", [](const Spec& s) -> Made { return Sam<>{{.rho = 0.05 * s.strength}}; }},
        {"sd", [](const Spec& s) -> Made { return SpectralDecoupling{{.weight = 0.1 * s.strength}}; }},
    };
    if constexpr (requires(const M& m) { m.body, m.head; }) {
      entries.push_back({"coral", [](const Spec& s) -> Made { return Coral{{.weight = s.strength}}; }});
      entries.push_back({"mmd", [](const Spec& s) -> Made { return Mmd{{.weight = s.strength}}; }});
      entries.push_back({"rsc", [](const Spec& s) -> Made {
                           const double share = std::min(s.strength / 3, 1.0);
                           return Rsc{{.features = share, .items = share}};
                         }});
    }
    if constexpr (requires(const M& m) { m.body, m.head.weight.size(1); })
      entries.push_back({"fishr", [](const Spec& s) -> Made {
                           return Fishr<T>({.weight = 1000 * s.strength, .start = s.steps * 1500 / 5001});
                         }});
    if constexpr (requires(const M& m) { m.body, m.head, m.discriminator; })
      entries.push_back({"dann", [](const Spec& s) -> Made { return Dann{{.lambda = s.strength}}; }});
    if constexpr (requires(const M& m) { m.body, m.head, m.discriminator, m.class_embedding; })
      entries.push_back({"cdann", [](const Spec& s) -> Made { return Cdann{{.lambda = s.strength}}; }});
    return Registry<Made(const Spec&)>("domain_methods", std::move(entries));
  }();
  return list;
}

/// The method of that name. Throws ValueError, which lists the names, for an unknown one, and for a specification out
/// of range.
template <Model M>
DomainMethod<M> make_domain_method(const std::string& name, const DomainMethodSpec& spec = {},
                                   Site site = Site::current()) {
  detail::check_count("make_domain_method", "domains", spec.domains, 0, site);
  detail::check_count("make_domain_method", "steps", spec.steps, 1, site);
  detail::check_option<ModelScalar<M>>("make_domain_method", "strength", spec.strength, detail::Range::not_negative,
                                       site);
  return domain_methods<M>().make(name, spec, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
