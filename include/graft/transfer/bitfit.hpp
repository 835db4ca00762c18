#pragma once
// Biases alone. Ben Zaken, Goldberg, Ravfogel, "BitFit: simple parameter-efficient fine-tuning for Transformer-based
// masked language-models", ACL 2022. As the catalogue of methods has it; the paper was not read.

#include <string>
#include <vector>

#include "graft/common/needs.hpp"
#include "graft/common/tuner.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The model with everything frozen but the biases: parameters whose last name is `bias` or ends with `_bias`, those of
/// norms among them. Throws ValueError for a model without one, which lists the names.
template <Model M>
M bitfit(const M& model, Site site = Site::current()) {
  const std::vector<std::string> all = names(model);
  std::vector<std::string> others;
  for (const std::string& name : all) {
    const std::string last = name.substr(name.find_last_of('.') + 1), end = "_bias";
    const bool ends = last.size() >= end.size() && last.substr(last.size() - end.size()) == end;
    if (last != "bias" && !ends) others.push_back(name);
  }
  if (others.size() == all.size())
    fail("bitfit", {"no parameter of the model is a bias; there are ", detail::listed(all)}, {}, site);
  return freeze(model, others, site);
}

/// A way to tune (`TunerMethod`): `bitfit` of the body, and the new head.
struct BitFit {
  static constexpr DataNeeds needs{};
  static constexpr const char* name = "bitfit";

  template <Model M>
  M start(const M& body, const Random&, Site site = Site::current()) const {
    return bitfit(body, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
