#pragma once
// Bottleneck adapters. Houlsby, Giurgiu, Jastrzebski, Morrone, de Laroussilhe, Gesmundo, Attariyan, Gelly, "Parameter-
// efficient transfer learning for NLP", ICML 2019. Formula as the catalogue of methods has it; the paper was not read.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "graft/common/needs.hpp"
#include "graft/common/token_encoder.hpp"
#include "graft/common/tuner.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `adapters`.
struct AdapterOptions {
  Index width = 64;                      ///< of the bottleneck; the authors take 8 to 256
  bool norms = true;                     ///< norms are trained too, as the authors have it
  std::vector<std::string> layers = {};  ///< "layers.0", ...; empty: all
};

/// x + up(gelu(down(x))): x [..., n] -> [..., n]. `up` is zeros at first, so that the adapter is the identity.
template <class T = float>
struct Adapter {
  Linear<T> down, up;
  GRAFT_FIELDS(down, up)

  Adapter() = default;
  Adapter(Index n, Index width, const Random& random, Site site = Site::current())
      : down(n, width, random.stream("down"), {}, site) {
    detail::check_count("adapters", "width", width, 1, site);
    up.weight = zeros<T>({n, width});
    up.bias = zeros<T>({n});
  }

  Tensor<T> operator()(const Tensor<T>& x, Site site = Site::current()) const {
    return x + up(gelu(down(x, site)), site);
  }
};

/// A Transformer layer, frozen, with adapters of what its attention and its perceptron give, before each is added to
/// its input.
template <class T = float>
struct AdapterLayer {
  TransformerEncoderLayer<T> layer;
  std::optional<Adapter<T>> attention, perceptron;  ///< none: the layer as it is
  GRAFT_FIELDS(layer, attention, perceptron)

  /// x [batch, time, width] -> the same shape.
  Tensor<T> operator()(const Tensor<T>& x, const AttentionMask<T>& mask, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("AdapterLayer", site);
    const auto by = [&](const std::optional<Adapter<T>>& adapter) {
      return [&adapter, site](const Tensor<T>& h) { return adapter ? (*adapter)(h, site) : h; };
    };
    const auto attend = [&](const Tensor<T>& h) { return layer.self_attn(h, mask, context, site); };
    return detail::layer_with(layer, attend, by(attention), by(perceptron), x, context, site);
  }
};

/// The encoder, frozen, with adapters in the chosen layers: at first the same answers, bit for bit. All that is trained
/// are the adapters, 2 n width + width + n numbers each, and the norms. Throws ValueError for a width below 1 and a
/// layer that does not exist, with a list of those that do.
template <class T>
LayerStack<AdapterLayer<T>, T> adapters(const TransformerEncoder<T>& encoder, const Random& random,
                                        const AdapterOptions& o = {}, Site site = Site::current()) {
  detail::check_count("adapters", "width", o.width, 1, site);
  const std::vector<bool> chosen = detail::chosen_layers("adapters", encoder.layers.size(), o.layers, site);
  const TransformerEncoder<T> frozen = detail::all_frozen(encoder);
  LayerStack<AdapterLayer<T>, T> result;
  result.norm = o.norms ? encoder.norm : frozen.norm;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    AdapterLayer<T> layer{frozen.layers[i], {}, {}};
    if (chosen[i]) {
      const Random own = random.stream("adapters", i);
      const Index n = layer.layer.linear2.weight.size(0);
      layer.attention.emplace(n, o.width, own.stream("attention"), site);
      layer.perceptron.emplace(n, o.width, own.stream("perceptron"), site);
      if (o.norms) {
        layer.layer.norm1 = encoder.layers[i].norm1;
        layer.layer.norm2 = encoder.layers[i].norm2;
      }
    }
    result.layers.push_back(std::move(layer));
  }
  return result;
}
/// Of a model in parts: what is before the layers is frozen.
template <class Front, class T>
TokenEncoder<Front, LayerStack<AdapterLayer<T>, T>> adapters(const TokenEncoder<Front, TransformerEncoder<T>>& model,
                                                             const Random& random, const AdapterOptions& o = {},
                                                             Site site = Site::current()) {
  return {detail::all_frozen(model.front), adapters(model.encoder, random, o, site), model.unit};
}

/// A way to tune (`TunerMethod`): `adapters` of a body that is a `TransformerEncoder` or a `TokenEncoder` of one.
struct Adapters {
  static constexpr DataNeeds needs{};
  static constexpr const char* name = "adapters";
  AdapterOptions options = {};

  template <Model M>
  auto start(const M& body, const Random& random, Site site = Site::current()) const {
    return adapters(body, random, options, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
