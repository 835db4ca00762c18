#pragma once
// Staged placeholder slots: the slots of a layer serve a group of tasks, and the layers' groups are unlocked one after
// another. Formula as the catalogue of methods has it; no paper describes it. A near relative: Jia et al., "Visual
// prompt tuning", ECCV 2022 (a bank of prompts for each layer, for one task).

#include <algorithm>
#include <utility>
#include <vector>

#include "graft/common/needs.hpp"
#include "graft/common/slots.hpp"
#include "graft/core/options.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `StagedSlots`.
struct StagedSlotOptions {
  Index slots = 4;          ///< of each layer
  double deviation = 0.02;  ///< of the initial numbers
};

/// Layers one after another, of which layer l = 0, 1 ... gives the tasks of its group S_l slots of its own, dropped
/// behind it (see `with_slots`). Stage s has unlocked the groups S_0 .. S_(s-1): at stage 0 no task sees a slot, at
/// stage `layers` every task those of all its groups. A task outside S_l goes through layer l as it is, bit for bit,
/// and gives the layer's slots a gradient of exactly 0; so does a task of a locked group.
template <class Layer, class T = float>
struct StagedSlots {
  static constexpr DataNeeds needs{.domains = true};
  std::vector<Layer> layers;
  std::vector<Tensor<T>> banks;            ///< [layers]: [slots, width]
  std::vector<std::vector<Index>> groups;  ///< [layers]: S_l, the tasks that each serves
  Index tasks = 0;
  Index stage = 0;  ///< of 0 .. layers: how many groups are unlocked
  GRAFT_FIELDS(layers, banks)
  GRAFT_CONFIG(groups, tasks, stage)

  StagedSlots() = default;
  /// A group for each layer, of tasks 0 .. task_count - 1; `width`: numbers of a token. All groups are unlocked. A task
  /// may be in several groups, or in none. Throws ValueError for another number of groups, sizes out of range, a task
  /// that is twice in a group, IndexError for one that does not exist.
  StagedSlots(std::vector<Layer> parts, std::vector<std::vector<Index>> of_layers, Index task_count, Index width,
              const Random& random, const StagedSlotOptions& o = {}, Site site = Site::current())
      : layers(std::move(parts)),
        groups(std::move(of_layers)),
        tasks(task_count),
        stage(static_cast<Index>(layers.size())) {
    if (layers.empty()) fail("StagedSlots", "there are no layers", {}, site);
    detail::check_parts("StagedSlots", "groups", groups.size(), "layers", layers.size(), site);
    for (std::size_t l = 0; l < groups.size(); ++l) {
      for (const Index task : groups[l]) {
        check_task(task, site);
        if (std::count(groups[l].begin(), groups[l].end(), task) > 1)
          fail("StagedSlots", {"task ", task, " is twice in the group of layer ", l}, {}, site);
      }
      banks.push_back(
          detail::slot_bank<T>("StagedSlots", o.slots, width, o.deviation, random.stream("banks", l), site));
    }
  }

  /// Whether a task sees the slots of a layer at this stage. Throws IndexError.
  bool serves(Index layer, Index task, Site site = Site::current()) const {
    check_task(task, site);
    detail::check_parts("StagedSlots", "groups", groups.size(), "layers", layers.size(), site);
    if (layer < 0 || layer >= static_cast<Index>(layers.size()))
      fail<IndexError>("StagedSlots", {"layer ", layer, " of ", layers.size()}, {}, site);
    const std::vector<Index>& group = groups[static_cast<std::size_t>(layer)];
    return layer < stage && std::find(group.begin(), group.end(), task) != group.end();
  }

  /// Tokens [n, width] or [batch, n, width] of one task -> the same shape. Throws ShapeError, IndexError for a task
  /// that does not exist, ValueError for a stage outside 0 .. layers.
  Tensor<T> operator()(const Tensor<T>& h, Index task, ContextRef context, Site site = Site::current()) const {
    const Named here("StagedSlots", site);
    const auto count = static_cast<Index>(layers.size());
    if (stage < 0 || stage > count) fail("StagedSlots", {"stage ", stage, " of ", count, " layers"}, {}, site);
    check_task(task, site);
    detail::check_parts("StagedSlots", "banks", banks.size(), "layers", layers.size(), site);
    Tensor<T> x = h;
    for (Index l = 0; l < count; ++l) {
      const auto at = static_cast<std::size_t>(l);
      x = with_slots(layers[at], x, serves(l, task, site) ? banks[at] : Tensor<T>(), context, site);
    }
    return x;
  }

 private:
  void check_task(Index task, Site site) const {
    if (task < 0 || task >= tasks) fail<IndexError>("StagedSlots", {"task ", task, " of ", tasks}, {}, site);
  }
};
template <class Layer>
StagedSlots(std::vector<Layer>, std::vector<std::vector<Index>>, Index, Index, const Random&) -> StagedSlots<Layer>;

}  // namespace GRAFT_ABI
}  // namespace graft
