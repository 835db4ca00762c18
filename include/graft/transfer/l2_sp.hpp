#pragma once
// A penalty on the way from the starting point. Li, Grandvalet, Davoine, "Explicit inductive bias for transfer learning
// with convolutional networks", ICML 2018. Formula as the catalogue of methods has it; the paper was not read.

#include <string>
#include <vector>

#include "graft/common/needs.hpp"
#include "graft/common/tuner.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Weights of `l2_sp`; as the catalogue of methods has the authors'.
struct L2SpOptions {
  double alpha = 0.1;                         ///< of what was there before
  double beta = 0.01;                         ///< of what is new
  std::vector<std::string> fresh = {"head"};  ///< names of the new parts; empty: none is
};

/// alpha / 2 |w - w0|^2 + beta / 2 |v|^2, w the parameters of `model` that `start` had before, w0 theirs, v the new
/// ones: shape []. A weight of 0 leaves its term out. Frozen parameters do not move and add nothing. Throws ShapeError
/// for models of unequal structure, ValueError for weights that are negative or not finite and for a name that the
/// model does not have.
template <Model M>
Tensor<ModelScalar<M>> l2_sp(const M& model, const M& start, const L2SpOptions& o = {}, Site site = Site::current()) {
  using T = ModelScalar<M>;
  detail::check_option<T>("l2_sp", "alpha", o.alpha, detail::Range::not_negative, site);
  detail::check_option<T>("l2_sp", "beta", o.beta, detail::Range::not_negative, site);
  const detail::NameSet fresh(o.fresh);
  const detail::LeafList now = detail::parameters_of(model), then = detail::parameters_of(start);
  fresh.check("l2_sp", now, site);
  detail::check_same_shapes("l2_sp", now, then, site);
  const std::vector<std::string> paths = now.names();
  Tensor<T> old_part = zeros<T>({}), new_part = zeros<T>({});
  for (std::size_t i = 0; i < now.size(); ++i)
    detail::for_each_scalar<M>([&]<class U>() {
      if (!now[i].holds<U>() || !now[i].tensor->defined()) return;
      const Tensor<U>& w = now[i].as<U>();
      if (fresh.holds(paths[i])) {
        if (o.beta != 0) new_part = new_part + cast<T>(sum(square(w)));
      } else if (o.alpha != 0 && !w.frozen()) {
        old_part = old_part + cast<T>(sum(square(w - then[i].as<U>().detach())));
      }
    });
  return static_cast<T>(0.5 * o.alpha) * old_part + static_cast<T>(0.5 * o.beta) * new_part;
}

/// A way to tune (`TunerMethod`): all of the model is trained with the penalty. With both weights 0 it is plain
/// fine-tuning, bit for bit.
struct L2Sp {
  static constexpr DataNeeds needs{};
  static constexpr const char* name = "l2_sp";
  L2SpOptions options = {};

  template <Model M>
  M start(const M& body, const Random&, Site = Site::current()) const {
    return body;
  }
  template <class T, Model M>
  Tensor<T> with_penalty(const Tensor<T>& loss, const M& model, const M& start, Site site = Site::current()) const {
    return options.alpha == 0 && options.beta == 0 ? loss : loss + l2_sp(model, start, options, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
