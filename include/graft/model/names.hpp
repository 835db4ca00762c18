#pragma once
// The dotted names of a model's parameters, and what is chosen by them: frozen parts, parts to differentiate.

#include <string>
#include <utility>
#include <vector>

#include "graft/autodiff/node.hpp"
#include "graft/model/fields.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How a library that published weights calls a part of a model: where one of the model's names contains `here`, the
/// file's has `there`; with several, the file holds the tensor in parts, one after another along the leading axis.
struct PublishedName {
  std::string here;
  std::vector<std::string> there;
  bool transposed = false;  ///< the file holds the matrices so named the other way round, [in, out]
};

namespace detail {

/// The names of the leaves that have a value.
[[gnu::noinline]] inline std::vector<std::string> defined_names(const LeafList& leaves) {
  std::vector<std::string> all = leaves.names(), defined;
  for (std::size_t i = 0; i < leaves.size(); ++i)
    if (leaves[i].tensor->defined()) defined.push_back(std::move(all[i]));
  return defined;
}

}  // namespace detail

/// Dotted names of the parameters, in field order: "encoder.layers.0.weight".
template <Model M>
std::vector<std::string> names(const M& model) {
  return detail::defined_names(detail::parameters_of(model));
}

/// Number of numbers in all parameters.
template <Model M>
Index count(const M& model) {
  Index total = 0;
  for_each_parameter(
      [&](const auto& leaf) {
        if (leaf.defined()) total += leaf.count();
      },
      model);
  return total;
}

namespace detail {

/// `x` with or without the frozen mark; a tracked tensor stays on its tape.
template <class T>
Tensor<T> with_frozen_mark(Tensor<T> x, bool frozen) {
  if (!x.defined() || x.frozen() == frozen) return x;
  const bool unseen = x.body()->refs.load(std::memory_order_acquire) == 1;
  if (!unseen && x.tracked()) {
    Recording on(true);
    x = identity(x);
  } else if (!unseen) {
    x = view(x, x.shape(), 0);
  }
  x.body()->frozen = frozen;
  return x;
}

/// A set of dotted names, each of which stands for itself and everything below it.
class NameSet {
 public:
  explicit NameSet(std::vector<std::string> names) : names_(std::move(names)) {}

  bool holds(const std::string& path) const {
    for (const std::string& name : names_)
      if (covers(name, path)) return true;
    return false;
  }
  /// Sets chosen[i] where parameter i is in the set. Throws as `check`.
  void choose(const char* op, const LeafList& parameters, std::vector<bool>& chosen, Site site) const {
    check(op, parameters, site);
    for (const std::string& name : parameters.names()) chosen.push_back(holds(name));
  }
  /// Throws ValueError for a name that no parameter in the list has or begins with.
  [[gnu::noinline]] void check(const char* op, const LeafList& parameters, Site site) const {
    const std::vector<std::string> valid = defined_names(parameters);
    for (const std::string& name : names_) {
      bool found = false;
      for (const std::string& path : valid) found = found || covers(name, path);
      if (found) continue;
      fail(op,
           {"no parameter is named '", name, "'; there are ", listed(valid), " (or a beginning of these, up to a dot)"},
           {}, site);
    }
  }

 private:
  static bool covers(const std::string& name, const std::string& path) {
    return path.compare(0, name.size(), name) == 0 && (path.size() == name.size() || path[name.size()] == '.');
  }
  std::vector<std::string> names_;
};

/// Sets or takes the frozen marks of the parameters of element type T that are chosen.
template <class T>
void mark(const LeafList& parameters, const std::vector<bool>& chosen, bool frozen) {
  for (std::size_t i = 0; i < parameters.size(); ++i)
    if (parameters[i].holds<T>() && chosen[i]) parameters[i].as<T>() = with_frozen_mark(parameters[i].as<T>(), frozen);
}

/// `names`: of the parts to be marked; null: all.
template <class M>
M marked(const char* op, const M& model, const std::vector<std::string>* names, bool frozen, Site site) {
  M result = model;
  const LeafList parameters = parameters_of(result);
  std::vector<bool> chosen;
  if (names)
    NameSet(*names).choose(op, parameters, chosen, site);
  else
    chosen.assign(parameters.size(), true);
  for_each_scalar<M>([&]<class T>() { mark<T>(parameters, chosen, frozen); });
  return result;
}

}  // namespace detail

/// Marks parameters as frozen: their gradients are zeros and optimisers leave them alone. A name stands for everything
/// below it, "encoder" for "encoder.layers.0.weight". The mark travels with copies, arithmetic and checkpoints.
/// Throws ValueError for a name that the model does not have.
template <Model M>
[[nodiscard]] M freeze(const M& model, const std::vector<std::string>& names, Site site = Site::current()) {
  return detail::marked("freeze", model, &names, true, site);
}
/// Takes the marks of `freeze` away from the named parameters.
template <Model M>
[[nodiscard]] M unfreeze(const M& model, const std::vector<std::string>& names, Site site = Site::current()) {
  return detail::marked("unfreeze", model, &names, false, site);
}
/// Takes all marks away.
template <Model M>
[[nodiscard]] M unfreeze(const M& model) {
  return detail::marked("unfreeze", model, nullptr, false, {});
}

/// The parts of a model that `grad` differentiates: `grad(f, model, only("head", "norm.bias"))`.
class Only {
 public:
  explicit Only(std::vector<std::string> chosen) : names(std::move(chosen)) {}
  detail::NameSet names;
};
/// `only("encoder", "head.bias")`: the parameters of these names and below them.
template <class... Names>
Only only(const Names&... names) {
  return Only({std::string(names)...});
}

}  // namespace GRAFT_ABI
}  // namespace graft
