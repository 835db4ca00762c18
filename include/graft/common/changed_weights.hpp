#pragma once
// A model some of whose parameters are functions of themselves and of a few new numbers, which alone are trained: what
// LoRA, DoRA and (IA)^3 share. The layers are found by name, so that any model can be tuned.

#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "graft/common/tuner.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// `base` with parameter `places[i].parameter` (in field order) replaced by changes[places[i].change](parameter).
/// Called, it is that model; `merged` is that model too, without the change's own numbers.
template <Model M, class Change>
struct ChangedWeights {
  struct Place {
    std::size_t parameter, change;
  };
  M base;                       ///< frozen
  std::vector<Change> changes;  ///< one a layer
  std::vector<Place> places;
  GRAFT_FIELDS(base, changes)
  GRAFT_CONFIG(places)

  /// The model with changed parameters.
  M merged() const {
    using T = ModelScalar<Change>;
    M result = base;
    const detail::LeafList parameters = detail::parameters_of(result);
    for (const Place& place : places) {
      Tensor<T>& leaf = parameters[place.parameter].template as<T>();
      leaf = changes[place.change](leaf);
    }
    return result;
  }

  template <class X>
  auto operator()(const X& x, ContextRef context) const {
    return answer_of(merged(), x, context);
  }
};

namespace detail {

/// "encoder.layers.0.linear1" of "encoder.layers.0.linear1.weight"
inline std::string layer_of(const std::string& path) {
  const std::size_t dot = path.find_last_of('.');
  return dot == std::string::npos ? path : path.substr(0, dot);
}
/// Whether `name` is a run of whole parts of `path`: "linear1", "0.linear1", "layers.0" of "layers.0.linear1.weight".
inline bool is_part_of(const std::string& name, const std::string& path) {
  return ("." + path + ".").find("." + name + ".") != std::string::npos;
}

/// The numbers of the matrices [out, in] of element type T at the named places of a model, in field order; without
/// names, of all. Throws ValueError for a name that no matrix has, with a list of those there are.
template <class T>
std::vector<std::size_t> chosen_matrices(const char* op, const LeafList& parameters,
                                         const std::vector<std::string>& names, Site site) {
  const std::vector<std::string> paths = parameters.names();
  std::vector<std::size_t> matrices, chosen;
  for (std::size_t i = 0; i < parameters.size(); ++i)
    if (parameters[i].holds<T>() && parameters[i].tensor->defined() && parameters[i].as<T>().rank() == 2)
      matrices.push_back(i);
  if (matrices.empty()) fail(op, "the model has no matrix", {}, site);
  for (const std::string& name : names) {
    bool found = false;
    for (const std::size_t i : matrices) found = found || is_part_of(name, paths[i]);
    if (!found)
      fail(op, {"no matrix of the model is named '", name, "'; there are ",
                joined(matrices, [&](std::size_t i) { return paths[i]; }), " (or whole parts of these names)"},
           {}, site);
  }
  for (const std::size_t i : matrices) {
    bool is_chosen = names.empty();
    for (const std::string& name : names) is_chosen = is_chosen || is_part_of(name, paths[i]);
    if (is_chosen) chosen.push_back(i);
  }
  return chosen;
}

/// change_of(matrix, number) for each of the chosen matrices of a model, which is frozen.
template <class Change, class M, class Make>
ChangedWeights<M, Change> with_changes(const char* op, const M& model, const std::vector<std::string>& names,
                                       Make change_of, Site site) {
  using T = ModelScalar<Change>;
  ChangedWeights<M, Change> result{all_frozen(model), {}, {}};
  const LeafList parameters = parameters_of(result.base);
  for (const std::size_t i : chosen_matrices<T>(op, parameters, names, site)) {
    result.places.push_back({i, result.changes.size()});
    result.changes.push_back(change_of(std::as_const(parameters[i].as<T>()), static_cast<Index>(i)));
  }
  return result;
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
