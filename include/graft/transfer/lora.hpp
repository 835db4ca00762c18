#pragma once
// Low-rank adaptation. Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang, Chen, "LoRA: low-rank adaptation of large language
// models", ICLR 2022. Compared with the package PEFT.

#include <string>
#include <utility>
#include <vector>

#include "graft/common/changed_weights.hpp"
#include "graft/common/needs.hpp"
#include "graft/model/init.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `lora`; rank and scale are PEFT's.
struct LoraOptions {
  Index rank = 8;
  double scale = 8;                      ///< alpha of the paper: the change is scale / rank times B A
  std::vector<std::string> layers = {};  ///< matrices, by whole parts of their names ("self_attn"); empty: all
};

/// W -> W + (scale / rank) B A.
template <class T = float>
struct LowRank {
  Tensor<T> a;        ///< [rank, in]
  Tensor<T> b;        ///< [out, rank]
  double factor = 1;  ///< scale / rank
  GRAFT_FIELDS(a, b)
  GRAFT_CONFIG(factor)

  LowRank() = default;
  /// A uniform in +-1 / sqrt(in), B zeros: no change at first. Throws ValueError for a rank below 1 or a scale that is
  /// not finite.
  LowRank(Index out, Index in, const Random& random, const LoraOptions& o = {}, Site site = Site::current()) {
    detail::check_count("lora", "rank", o.rank, 1, site);
    detail::check_option<T>("lora", "scale", o.scale, detail::Range::finite, site);
    a = torch_default_weight<T>({o.rank, in}, random, site);
    b = zeros<T>({out, o.rank});
    factor = o.scale / static_cast<double>(o.rank);
  }

  /// (scale / rank) B A, [out, in].
  Tensor<T> change() const { return static_cast<T>(factor) * matmul(b, a); }
  /// Of W [out, in].
  Tensor<T> operator()(const Tensor<T>& weight) const { return weight + change(); }
};

/// A model with low-rank changes; see `lora`.
template <Model M>
using LoraModel = ChangedWeights<M, LowRank<ModelScalar<M>>>;

/// `model`, frozen, with a low-rank change of each of the chosen matrices [out, in] (those of `Linear` layers, of the
/// input projection of attention, whose queries, keys and values then share A, and of tables). Called as the model is,
/// and at first the same, bit for bit. All that is trained are A and B, by whatever trains models: rank (in + out)
/// numbers a matrix; `Maml` and its like adapt them alone. Throws ValueError for a name that no matrix has, which lists
/// those there are, and for options outside their range.
template <Model M>
LoraModel<M> lora(const M& model, const Random& random, const LoraOptions& o = {}, Site site = Site::current()) {
  using T = ModelScalar<M>;
  const auto change_of = [&](const Tensor<T>& weight, Index number) {
    return LowRank<T>(weight.size(0), weight.size(1), random.stream("lora", number), o, site);
  };
  return detail::with_changes<LowRank<T>>("lora", model, o.layers, change_of, site);
}

/// The model with its changes added to the weights, without frozen marks: as large and fast as before.
template <Model M>
M lora_merge(const LoraModel<M>& tuned) {
  return unfreeze(tuned.merged());
}

/// The tuned model again, given what `lora_merge` made of it: its changes are taken from the weights, whose last digits
/// they may cost. Throws ShapeError for a model of another structure.
template <Model M>
LoraModel<M> lora_unmerge(const M& merged, const LoraModel<M>& tuned, Site site = Site::current()) {
  const LoraModel<M> none{zeros_like(tuned.base), tuned.changes, tuned.places};
  LoraModel<M> result = tuned;
  result.base = detail::all_frozen(detail::add_scaled("lora_unmerge", merged, -1, none.merged(), site));
  return result;
}

/// A `Linear` layer with a low-rank change of its own, for models that are written with it: layer(x) + (scale / rank)
/// (x A') B', x [..., in] -> [..., out]. Cheaper than to form the weight where x has fewer rows than the weight.
template <class T = float>
struct LoraLinear {
  Linear<T> layer;  ///< frozen
  LowRank<T> change;
  GRAFT_FIELDS(layer, change)

  LoraLinear() = default;
  /// Throws as `lora`.
  LoraLinear(const Linear<T>& linear, const Random& random, const LoraOptions& o = {}, Site site = Site::current())
      : layer(detail::all_frozen(linear)), change(linear.weight.size(0), linear.weight.size(1), random, o, site) {}

  Tensor<T> operator()(const Tensor<T>& x, Site site = Site::current()) const {
    Linear<T> down, up;
    down.weight = change.a;
    up.weight = change.b;
    return layer(x, site) + static_cast<T>(change.factor) * up(down(x, site), site);
  }
  /// The layer with the change added to its weight.
  Linear<T> merged() const {
    Linear<T> result = unfreeze(layer);
    result.weight = change(result.weight);
    return result;
  }
};

/// A way to tune (`TunerMethod`): `lora` of the body.
struct Lora {
  static constexpr DataNeeds needs{};
  static constexpr const char* name = "lora";
  LoraOptions options = {};

  template <Model M>
  LoraModel<M> start(const M& body, const Random& random, Site site = Site::current()) const {
    return lora(body, random, options, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
