#pragma once
// All aggregators of multitask/, by name.

#include "graft/core/registry.hpp"
#include "graft/multitask/aligned_mtl.hpp"
#include "graft/multitask/cagrad.hpp"
#include "graft/multitask/conflict_free.hpp"
#include "graft/multitask/dualproj.hpp"
#include "graft/multitask/dwa.hpp"
#include "graft/multitask/fairgrad.hpp"
#include "graft/multitask/famo.hpp"
#include "graft/multitask/gls.hpp"
#include "graft/multitask/graddrop.hpp"
#include "graft/multitask/gradnorm.hpp"
#include "graft/multitask/gradvac.hpp"
#include "graft/multitask/imtl_g.hpp"
#include "graft/multitask/imtl_l.hpp"
#include "graft/multitask/krum.hpp"
#include "graft/multitask/mean.hpp"
#include "graft/multitask/mgda.hpp"
#include "graft/multitask/nash_mtl.hpp"
#include "graft/multitask/pcgrad.hpp"
#include "graft/multitask/rlw.hpp"
#include "graft/multitask/scale_invariant.hpp"
#include "graft/multitask/stch.hpp"
#include "graft/multitask/sum.hpp"
#include "graft/multitask/trimmed_mean.hpp"
#include "graft/multitask/uncertainty.hpp"
#include "graft/multitask/upgrad.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// One that remembers nothing.
template <class A>
Aggregator plain(Index) {
  return A();
}
/// One whose memory is of so many tasks.
template <class A>
Aggregator for_tasks(Index tasks) {
  return A(tasks);
}

}  // namespace detail

/// The aggregators that a program can choose by name, each with its defaults; a new one is a line. They are made for
/// the number of all tasks, so that what they remember of a task can be restored from a file.
GRAFT_ONCE const Registry<Aggregator(Index)>& aggregators() {
  using detail::for_tasks, detail::plain;
  static const Registry<Aggregator(Index)> list("aggregators", {
                                                                   {"mean", plain<MeanGradient>},
                                                                   {"sum", plain<SumGradient>},
                                                                   {"aligned_mtl", plain<AlignedMtl>},
                                                                   {"cagrad", plain<CaGrad>},
                                                                   {"config", plain<ConFig>},
                                                                   {"dualproj", plain<DualProj>},
                                                                   {"dwa", for_tasks<Dwa>},
                                                                   {"fairgrad", plain<FairGrad>},
                                                                   {"famo", for_tasks<Famo>},
                                                                   {"gls", plain<Gls>},
                                                                   {"graddrop", plain<GradDrop>},
                                                                   {"gradnorm", for_tasks<GradNorm>},
                                                                   {"gradvac", for_tasks<GradVac>},
                                                                   {"imtl_g", plain<ImtlG>},
                                                                   {"imtl_l", for_tasks<ImtlL>},
                                                                   {"krum", plain<Krum>},
                                                                   {"mgda", plain<Mgda>},
                                                                   {"nash_mtl", plain<NashMtl>},
                                                                   {"pcgrad", plain<PcGrad>},
                                                                   {"rlw", plain<RandomLossWeights>},
                                                                   {"si", plain<ScaleInvariant>},
                                                                   {"stch", for_tasks<Stch>},
                                                                   {"trimmed_mean", plain<TrimmedMean>},
                                                                   {"uncertainty", for_tasks<UncertaintyWeights>},
                                                                   {"upgrad", plain<UpGrad>},
                                                               });
  return list;
}
GRAFT_HELD(const Registry<Aggregator(Index)>& aggregators<>())

}  // namespace GRAFT_ABI
}  // namespace graft
