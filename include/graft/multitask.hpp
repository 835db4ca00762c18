#pragma once
// All of multitask/, and its aggregators by name.

#include "graft/core/registry.hpp"
#include "graft/multitask/mean.hpp"
#include "graft/multitask/pcgrad.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The aggregators that a program can choose by name; a new one is a line.
inline const Registry<Aggregator()>& aggregators() {
  static const Registry<Aggregator()> list("aggregators", {
                                                              {"mean", []() -> Aggregator { return MeanGradient(); }},
                                                              {"pcgrad", []() -> Aggregator { return PcGrad(); }},
                                                          });
  return list;
}

}  // namespace GRAFT_ABI
}  // namespace graft
