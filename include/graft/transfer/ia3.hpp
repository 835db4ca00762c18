#pragma once
// (IA)^3, learned scales of keys, values and hidden units. Liu, Tam, Muqeeth, Mohta, Huang, Bansal, Raffel, "Few-shot
// parameter-efficient fine-tuning is better and cheaper than in-context learning", NeurIPS 2022. Compared with the
// package PEFT.

#include <string>
#include <utility>
#include <vector>

#include "graft/common/changed_weights.hpp"
#include "graft/common/needs.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `ia3`: matrices by whole parts of their names. The defaults are the places that the authors take, in this
/// library's Transformer layers; a model without them names its own.
struct Ia3Options {
  /// Layers whose outputs are scaled; of an `in_proj_weight` of attention, keys and values alone.
  std::vector<std::string> outputs = {"in_proj_weight"};
  std::vector<std::string> inputs = {"linear2"};  ///< layers whose inputs are scaled
};

/// A scale of a layer's inputs, W -> W diag(l), or of its outputs from number `first` on, W -> diag(1, l) W and b ->
/// (1, l) b.
template <class T = float>
struct LearnedScale {
  Tensor<T> scale;  ///< l, ones at first: [in], or [out - first]
  bool of_inputs = false;
  Index first = 0;
  GRAFT_FIELDS(scale)
  GRAFT_CONFIG(of_inputs, first)

  /// Of W [out, in] or b [out].
  Tensor<T> operator()(const Tensor<T>& x) const {
    if (of_inputs) return x * scale;
    const Tensor<T> rows = first == 0 ? scale : concat<T>({ones<T>({first}), scale}, 0);
    return x.rank() == 1 ? x * rows : x * reshape(rows, {rows.count(), 1});
  }
};

/// A model with learned scales; see `ia3`.
template <Model M>
using Ia3Model = ChangedWeights<M, LearnedScale<ModelScalar<M>>>;

/// `model`, frozen, with learned scales of what the chosen layers take in and give out, folded into their weights.
/// Called as the model is, and at first the same, bit for bit. Throws ValueError for a name that no matrix has, which
/// lists those there are, and when no layer is chosen.
template <Model M>
Ia3Model<M> ia3(const M& model, const Ia3Options& o = {}, Site site = Site::current()) {
  using T = ModelScalar<M>;
  Ia3Model<M> result{detail::all_frozen(model), {}, {}};
  const detail::LeafList parameters = detail::parameters_of(result.base);
  const std::vector<std::string> paths = parameters.names();
  if (o.outputs.empty() && o.inputs.empty()) fail("ia3", "neither outputs nor inputs of a layer are chosen", {}, site);
  const auto add = [&](const std::vector<std::string>& named, bool of_inputs) {
    if (named.empty()) return;
    for (const std::size_t i : detail::chosen_matrices<T>("ia3", parameters, named, site)) {
      const Index out = parameters[i].as<T>().size(0), in = parameters[i].as<T>().size(1);
      const std::string end = "in_proj_weight";
      const bool attends = paths[i].size() >= end.size() && paths[i].substr(paths[i].size() - end.size()) == end;
      const Index first = attends && !of_inputs ? in : 0;  // as many queries as the width
      result.places.push_back({i, result.changes.size()});
      // The bias stands next to its weight.
      const std::size_t last = paths[i].find_last_of('.') + 1;
      const std::string bias = paths[i].substr(0, last) + (attends ? "in_proj_bias" : "bias");
      for (std::size_t j = 0; j < parameters.size(); ++j)
        if (!of_inputs && paths[j] == bias && parameters[j].tensor->defined())
          result.places.push_back({j, result.changes.size()});
      result.changes.push_back({ones<T>({of_inputs ? in : out - first}), of_inputs, first});
    }
  };
  add(o.outputs, false);
  add(o.inputs, true);
  return result;
}

/// A way to tune (`TunerMethod`): `ia3` of the body.
struct Ia3 {
  static constexpr DataNeeds needs{};
  static constexpr const char* name = "ia3";
  Ia3Options options = {};

  template <Model M>
  Ia3Model<M> start(const M& body, const Random&, Site site = Site::current()) const {
    return ia3(body, options, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
