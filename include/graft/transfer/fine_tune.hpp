#pragma once
// Full fine-tuning. Layer-wise decay of the learning rate: Clark, Luong, Le, Manning, "ELECTRA", ICLR 2020. Gradual
// unfreezing, from the top: Howard, Ruder, "Universal language model fine-tuning for text classification" (ULMFiT), ACL
// 2018. As the catalogue of methods has them; the papers were not read.

#include <cmath>
#include <string>
#include <vector>

#include "graft/common/needs.hpp"
#include "graft/common/tuner.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// How `FineTune` trains the layers.
struct FineTuneOptions {
  double decay = 1;        ///< of the rate from a layer to the one below; ELECTRA's authors take 0.8 and 0.9, 1: none
  int unfreeze_every = 0;  ///< steps after which one more layer is trained, the head at first; 0: all from the start
  /// The layers from the bottom up, each a beginning of names ("body.encoder.layers.0"); what none names, and what is
  /// above, is of the top. Empty: by the names, see `layer_names`.
  std::vector<std::string> layers = {};
};

/// The layers of a model in field order, by the names of its parameters: a name up to its first number,
/// "encoder.layers.0" of "encoder.layers.0.linear1.weight", or without its last part, "head" of "head.weight".
template <Model M>
std::vector<std::string> layer_names(const M& model) {
  std::vector<std::string> layers;
  for (const std::string& name : names(model)) {
    std::size_t end = name.find_last_of('.');
    for (std::size_t at = 0; at != std::string::npos && at < name.size();) {
      const std::size_t dot = name.find('.', at), stop = dot == std::string::npos ? name.size() : dot;
      if (name.find_first_not_of("0123456789", at) >= stop && stop > at) {
        end = stop;
        break;
      }
      at = dot == std::string::npos ? dot : dot + 1;
    }
    const std::string layer = end == std::string::npos ? name : name.substr(0, end);
    if (layers.empty() || layers.back() != layer) layers.push_back(layer);
  }
  return layers;
}

/// Factors of the learning rate of each parameter, in field order.
class LayerRates {
 public:
  /// Throws ValueError for a decay outside (0, 1], negative steps, a layer that no parameter belongs to, and for steps
  /// that end before the lowest layer is trained.
  template <Model M>
  LayerRates(const M& model, const FineTuneOptions& o, int steps, Site site = Site::current())
      : every_(o.unfreeze_every) {
    if (!(o.decay > 0 && o.decay <= 1)) fail("FineTune", {"decay is ", o.decay, ", expected 0 < decay <= 1"}, {}, site);
    detail::check_count("FineTune", "unfreeze_every", o.unfreeze_every, 0, site);
    const detail::LeafList parameters = detail::parameters_of(model);
    detail::NameSet(o.layers).check("FineTune", parameters, site);
    const std::vector<std::string> layers = o.layers.empty() ? layer_names(model) : o.layers;
    Index top = std::ssize(layers) - 1;
    for (const std::string& name : parameters.names()) {
      Index own = std::ssize(layers);  // none that is named
      for (std::size_t l = 0; l < layers.size(); ++l)
        if (detail::NameSet({layers[l]}).holds(name)) own = static_cast<Index>(l);
      top = std::max(top, own);
      layer_.push_back(own);
    }
    for (Index& own : layer_) {
      own = top - own;  // layers above
      factor_.push_back(std::pow(o.decay, static_cast<double>(own)));
    }
    if (every_ > 0 && steps > 0 && top * every_ >= steps)
      fail("FineTune",
           {"unfreeze_every ", every_, " leaves the lowest of ", top + 1, " layers frozen in all of ", steps, " steps"},
           {}, site);
  }

  /// At step k; 0: frozen.
  std::vector<double> operator()(int k) const {
    std::vector<double> now = factor_;
    for (std::size_t i = 0; i < now.size(); ++i)
      if (every_ > 0 && layer_[i] * every_ > k) now[i] = 0;
    return now;
  }

 private:
  int every_;
  std::vector<Index> layer_;
  std::vector<double> factor_;
};

/// A way to tune (`TunerMethod`): all of the model is trained, layer l from the top with the rate alpha decay^l, from
/// step l unfreeze_every on. Parameters that were frozen before stay so. Throws as `LayerRates`.
struct FineTune {
  static constexpr DataNeeds needs{};
  static constexpr const char* name = "FineTune";
  FineTuneOptions options = {};

  template <Model M>
  M start(const M& body, const Random&, Site = Site::current()) const {
    return body;
  }
  template <Model M>
  LayerRates plan(const M& model, int steps, Site site = Site::current()) const {
    return LayerRates(model, options, steps, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
