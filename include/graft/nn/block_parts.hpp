#pragma once
// What the layers of Transformer encoders and decoders are made of besides attention: options, norm, perceptron, and
// what happens to a branch before it is added to its input.

#include <optional>

#include "graft/core/options.hpp"
#include "graft/nn/attention.hpp"
#include "graft/nn/dropout.hpp"
#include "graft/nn/norm.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// The function between the two layers of a perceptron; `gelu_tanh` is GPT-2's gelu.
enum class Activation { relu, gelu, gelu_tanh, silu, sigmoid, elu };

/// Which norm a block has: layer norm, or RMS norm (Zhang, Sennrich, NeurIPS 2019), which has no shift.
enum class NormKind { layer, rms };

/// Options of a `TransformerEncoderLayer` and a `TransformerDecoderLayer`.
struct TransformerOptions {
  double dropout = 0.1;  ///< of attention weights, of the branches and of the hidden layer, in training
  Activation activation = Activation::relu;
  /// A gated perceptron, linear2(activation(linear_gate(x)) * linear1(x)): SwiGLU with silu, GEGLU with gelu, ReGLU
  /// with relu, GLU with sigmoid (Shazeer, "GLU variants improve Transformer", 2020).
  bool glu = false;
  bool norm_first = false;  ///< pre-norm: x + f(LN(x)); else post-norm: LN(x + f(x))
  NormKind norm = NormKind::layer;
  double eps = 1e-5;  ///< of the norms
  bool bias = true;   ///< false: neither the linear maps nor the norms have one
  /// Each branch f is scaled by a learned vector, x + gate * f(..), whose numbers start as this (0: no branch acts at
  /// first); empty: no gates.
  std::optional<double> gate = {};
  double stochastic_depth = 0;  ///< rate at which a sample's branches are left out in training, see `StochasticDepth`
  Index key_heads = 0;          ///< see `MultiHeadAttentionOptions`, as the next three
  std::optional<RotaryOptions> rotary = {};  ///< in self-attention
  bool alibi = false;                        ///< in self-attention
  Index memory_width = 0;                    ///< in a decoder's attention to the memory
};

/// The hidden width that gives a perceptron 8 width^2 weights: 4 width or, of a gated one, 8/3 width rounded up to a
/// multiple of 8.
inline Index usual_hidden(Index width, bool glu) { return glu ? (8 * width / 3 + 7) / 8 * 8 : 4 * width; }

/// The norm of a block, of either kind: x [..., width] -> [..., width].
template <class T = float>
struct BlockNorm : detail::NormParameters<T> {
  using detail::NormParameters<T>::weight;
  using detail::NormParameters<T>::bias;
  NormKind kind = NormKind::layer;
  double eps = 1e-5;
  GRAFT_FIELDS(weight, bias)
  GRAFT_CONFIG(kind, eps)

  BlockNorm() = default;
  BlockNorm(Index width, const TransformerOptions& o, Site site = Site::current())
      : detail::NormParameters<T>(width, true, o.bias && o.norm == NormKind::layer, site), kind(o.norm), eps(o.eps) {}

  Tensor<T> operator()(const Tensor<T>& x, Site site = Site::current()) const {
    const Named here(kind == NormKind::rms ? "RmsNorm" : "LayerNorm", site);
    if (kind == NormKind::rms) return rms_norm(x, *weight, eps, site);
    return bias ? layer_norm(x, *weight, *bias, eps, site) : layer_norm(x, *weight, eps, site);
  }
};

namespace detail {

template <class T>
Tensor<T> activate(Activation activation, const Tensor<T>& x) {
  switch (activation) {
    case Activation::relu:
      return relu(x);
    case Activation::gelu:
      return gelu(x);
    case Activation::gelu_tanh:
      return gelu_tanh(x);
    case Activation::silu:
      return silu(x);
    case Activation::elu:
      return elu(x);
    case Activation::sigmoid:
      break;
  }
  return sigmoid(x);
}

/// The perceptron of a block, with dropout of its hidden layer and of its result.
template <class T>
Tensor<T> perceptron(const Linear<T>& linear1, const std::optional<Linear<T>>& linear_gate, const Linear<T>& linear2,
                     const TransformerOptions& options, const Tensor<T>& x, ContextRef context, Site site) {
  const Named part("linear1, linear2", site);
  const Dropout drop{options.dropout};
  const Tensor<T> inner = linear1(x, site);
  const Tensor<T> active =
      linear_gate ? activate(options.activation, (*linear_gate)(x, site)) * inner : activate(options.activation, inner);
  return drop(linear2(drop(active, context, site), site), context, site);
}

/// What is added to a block's input, given what its attention or perceptron made of it.
template <class T>
Tensor<T> branch(const std::optional<Tensor<T>>& gate, const Tensor<T>& x, const TransformerOptions& options,
                 ContextRef context, Site site) {
  const Tensor<T> gated = gate ? *gate * x : x;
  const StochasticDepth depth{options.stochastic_depth};
  if (x.rank() != 2) return depth(gated, context, site);
  const Tensor<T> one = reshape(gated, {1, x.shape()[0], x.shape()[1]}, site);  // a sample without its batch axis
  return reshape(depth(one, context, site), x.shape(), site);
}

/// Gates [width] that start as `value`, or none. Throws ValueError for a gate that is not finite.
template <class T>
std::optional<Tensor<T>> initial_gate(const char* layer, Index width, std::optional<double> value, Site site) {
  if (!value) return {};
  check_option<T>(layer, "gate", *value, Range::finite, site);
  return full<T>({width}, static_cast<T>(*value), site);
}

inline void check_stochastic_depth(const char* layer, double rate, Site site) {
  if (!(rate >= 0 && rate < 1)) fail(layer, {"stochastic_depth is ", rate, ", expected 0 <= rate < 1"}, {}, site);
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
