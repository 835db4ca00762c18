#pragma once
// All tuners of transfer/ by name, for encoders of any items; its scores and its merging are functions of their
// headers. A program that knows its tuner includes the tuner's header alone.
//
//     const TransferEncoder encoder = transfer_encoder(PatchTransformer<>(random));    // trained on something
//     const TunedTask task = make_tuner({.tuner = "lora", .steps = 50}).adapt({encoder, {}}, support);
//     const Tensor<> logits = task.predict(x);

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "graft/core/function.hpp"
#include "graft/core/registry.hpp"
#include "graft/model/any_model.hpp"
#include "graft/transfer/adapters.hpp"
#include "graft/transfer/bitfit.hpp"
#include "graft/transfer/dora.hpp"
#include "graft/transfer/fine_tune.hpp"
#include "graft/transfer/h_score.hpp"
#include "graft/transfer/ia3.hpp"
#include "graft/transfer/l2_sp.hpp"
#include "graft/transfer/leep.hpp"
#include "graft/transfer/linear_probe.hpp"
#include "graft/transfer/logme.hpp"
#include "graft/transfer/lora.hpp"
#include "graft/transfer/lp_ft.hpp"
#include "graft/transfer/prefix.hpp"
#include "graft/transfer/setfit.hpp"
#include "graft/transfer/ties.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// A Transformer encoder of any items: images, words, what a published model reads.
using TransferEncoder =
    TokenEncoder<AnyModel<Tokens<>(const Tensor<>& items, ContextRef context) const>, TransformerEncoder<>>;
/// The model of the tuners by name. Its head is that of what it was trained on, and is not used: it may be empty.
using TransferModel = BodyHead<TransferEncoder, Linear<>>;

/// An encoder in parts (`token_encoder`) as one whose type does not tell what it reads.
template <class Front>
TransferEncoder transfer_encoder(const TokenEncoder<Front, TransformerEncoder<>>& encoder) {
  return {encoder.front, encoder.encoder, encoder.unit};
}
/// Of a whole one that `token_encoder` takes apart.
template <class M>
requires requires(const M& model) { token_encoder(model); }
TransferEncoder transfer_encoder(const M& model) { return transfer_encoder(token_encoder(model)); }

/// What a tuner by name is made from. What it has no use for is not looked at.
struct TunerSpec {
  std::string tuner = "lora";  ///< a name of `tuners()`
  double rate = 1;             ///< factor of the tuner's own learning rate
  int steps = 100;             ///< of training
  Index batch = 16;            ///< items of a step
  Index size = 0;              ///< rank, width of adapters, length of prefixes; 0: the tuner's own
  double lambda = 1;           ///< of the logistic heads
};

/// A model that knows a task.
struct TunedTask {
  Function<Tensor<>(const Tensor<>& items, ContextRef context)> answer;
  Index trained = 0;  ///< numbers that were trained, those of the head among them

  /// Logits [items, ways].
  Tensor<> predict(const Tensor<>& items, ContextRef context = Context()) const { return answer(items, context); }
};

/// A tuner chosen at run time, with the members of a few-shot method.
struct Tuner {
  static constexpr Needs needs{};
  Function<TunedTask(const TransferModel&, const LabelledSet<>&, ContextRef, Site)> tune;

  /// Of the model as a plain classifier of the base classes.
  Tensor<> train_loss(const TransferModel& model, const Episode<>& episode, ContextRef context,
                      Site = Site::current()) const {
    return ClassificationLoss()(model, episode.support, context);
  }
  TunedTask adapt(const TransferModel& model, const LabelledSet<>& support, const Tensor<>& = {},
                  ContextRef context = Context(), Site site = Site::current()) const {
    return tune(model, support, context, site);
  }
};

namespace detail {

inline TuningOptions training_of(const TunerSpec& s, double rate) {
  return {.alpha = s.rate * rate, .steps = s.steps, .batch = s.batch};
}
/// A few-shot method for `TransferModel` as a tuner. `head_only`: its body is as it was.
template <class Method>
Tuner tuner_of(const Method& method, bool head_only = false) {
  return {[=](const TransferModel& model, const LabelledSet<>& support, ContextRef context, Site site) -> TunedTask {
    const auto adapted = method.adapt(model, support, Tensor<>(), context, site);
    const Index trained = head_only ? count(adapted.model.head) : trainable_of(adapted.model);
    return {[adapted](const Tensor<>& items, ContextRef own) { return adapted.predict(items, own); }, trained};
  }};
}
template <class Way>
Tuner way_of(const TunerSpec& s, const Way& way, double rate) {
  return tuner_of(TunerMethod<Way>{way, training_of(s, rate)});
}
inline Index size_of(const TunerSpec& s, Index own) { return s.size == 0 ? own : s.size; }

inline Tuner linear_probe_tuner(const TunerSpec& s) {
  return tuner_of(LinearProbe<>{{.head = {.lambda = s.lambda}}}, true);
}
inline Tuner lp_ft_tuner(const TunerSpec& s) {
  return tuner_of(LpFt<>{{.head = {.lambda = s.lambda}, .training = training_of(s, 3e-4)}});
}
/// As many steps as the others, on pairs of its own.
inline Tuner setfit_tuner(const TunerSpec& s) {
  return tuner_of(SetFit<>{{.alpha = 1e-3 * s.rate, .batch = s.batch, .steps = s.steps, .head = {.lambda = s.lambda}}});
}
inline Tuner fine_tune_tuner(const TunerSpec& s) { return way_of(s, FineTune{}, 1e-3); }
inline Tuner layer_decay_tuner(const TunerSpec& s) { return way_of(s, FineTune{{.decay = 0.8}}, 1e-3); }
inline Tuner l2_sp_tuner(const TunerSpec& s) { return way_of(s, L2Sp{}, 1e-3); }
inline Tuner bitfit_tuner(const TunerSpec& s) { return way_of(s, BitFit{}, 1e-2); }
inline Tuner ia3_tuner(const TunerSpec& s) { return way_of(s, Ia3{}, 1e-2); }
/// Of the layers; what is before them stays.
inline Tuner lora_tuner(const TunerSpec& s) {
  return way_of(s, Lora{{.rank = size_of(s, 8), .layers = {"encoder"}}}, 3e-3);
}
inline Tuner dora_tuner(const TunerSpec& s) {
  return way_of(s, Dora{{.rank = size_of(s, 8), .layers = {"encoder"}}}, 3e-3);
}
inline Tuner adapters_tuner(const TunerSpec& s) { return way_of(s, Adapters{{.width = size_of(s, 64)}}, 3e-3); }
inline Tuner prefix_tuner(const TunerSpec& s) { return way_of(s, Prefix{{.length = size_of(s, 8)}}, 1e-2); }
inline Tuner prompt_tuner(const TunerSpec& s) { return way_of(s, Prompt{{.length = size_of(s, 8)}}, 1e-2); }

}  // namespace detail

/// The tuners that a program can choose by name; a new one is a line. Their learning rates are this library's, for
/// encoders of some 10^5 parameters.
inline const Registry<Tuner(const TunerSpec&)>& tuners() {
  static const Registry<Tuner(const TunerSpec&)> list("tuners", {
                                                                    {"linear_probe", detail::linear_probe_tuner},
                                                                    {"fine_tune", detail::fine_tune_tuner},
                                                                    {"layer_decay", detail::layer_decay_tuner},
                                                                    {"lp_ft", detail::lp_ft_tuner},
                                                                    {"l2_sp", detail::l2_sp_tuner},
                                                                    {"bitfit", detail::bitfit_tuner},
                                                                    {"ia3", detail::ia3_tuner},
                                                                    {"lora", detail::lora_tuner},
                                                                    {"dora", detail::dora_tuner},
                                                                    {"adapters", detail::adapters_tuner},
                                                                    {"prefix", detail::prefix_tuner},
                                                                    {"prompt", detail::prompt_tuner},
                                                                    {"setfit", detail::setfit_tuner},
                                                                });
  return list;
}

/// The tuner of a specification. Throws ValueError, which lists the names, for an unknown one, and for a rate or a size
/// that is negative or not finite.
inline Tuner make_tuner(const TunerSpec& spec, Site site = Site::current()) {
  detail::check_option<float>("make_tuner", "rate", spec.rate, detail::Range::not_negative, site);
  detail::check_count("make_tuner", "size", spec.size, 0, site);
  detail::check_count("make_tuner", "steps", spec.steps, 0, site);
  return tuners().make(spec.tuner, spec, site);
}

}  // namespace GRAFT_ABI
}  // namespace graft
