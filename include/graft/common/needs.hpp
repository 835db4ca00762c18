#pragma once
// What a method of pretrain/, placeholder/, generalise/ or transfer/ needs, stated in its header for whoever chooses one.
// (Few-shot methods say what they need of an episode: `Needs` in common/few_shot.hpp.)

namespace graft {
inline namespace GRAFT_ABI {

/// What a method needs of its data, and the order of derivatives that its training takes; its `needs`.
struct DataNeeds {
  bool labels = true;            ///< of the items it trains on
  bool unlabelled = false;       ///< items without labels besides
  bool domains = false;          ///< the domain, or task, that each item comes from
  bool second_modality = false;  ///< another view of each item: its text, its attributes
  int derivatives = 1;           ///< order taken of the model in training; 0: nothing is trained
};

}  // namespace GRAFT_ABI
}  // namespace graft
