#pragma once
// Output placeholders: a learned vector o, one number a class, that is added to the logits in training, that an
// auxiliary loss reads alone, and that is taken away afterwards. As such it has no paper. Where the auxiliary loss is
// the cross-entropy to the class prior pi, o becomes ln pi, and training with it and answering without is the
// logit-adjusted loss of Menon, Jayasumana, Rawat, Jain, Veit, Kumar, "Long-tail learning via logit adjustment", ICLR
// 2021, at tau = 1. Formula as the catalogue of methods has it.

#include <vector>

#include "graft/common/checks.hpp"
#include "graft/common/needs.hpp"
#include "graft/core/list.hpp"
#include "graft/core/options.hpp"
#include "graft/model/context.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/broadcast.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/losses.hpp"

namespace graft {
inline namespace GRAFT_ABI {

namespace detail {

/// Throws unless `prior` is a distribution over `classes`.
template <class T>
void check_prior(const char* op, const Tensor<T>& prior, Index classes, Site site) {
  if (!(prior.shape() == Shape{classes}))
    fail<ShapeError>(op, {"expected a prior of ", classes, " classes"}, {{"prior", prior.shape()}}, site);
  check_distribution(op, "the prior", host(prior), site);
}

}  // namespace detail

/// The shares [classes] of the classes among labels [items]. Throws ShapeError, IndexError for a label out of range,
/// ValueError without labels.
template <Real T = float>
Tensor<T> class_shares(const Tensor<std::int64_t>& labels, Index classes, Site site = Site::current()) {
  if (labels.rank() != 1)
    fail<ShapeError>("class_shares", "expected labels [items]", {{"labels", labels.shape()}}, site);
  if (labels.count() == 0 || classes < 1)
    fail("class_shares", {labels.count(), " labels of ", classes, " classes"}, {}, site);
  List<double> count(classes);
  for (const std::int64_t label : host(labels)) {
    if (label < 0 || label >= classes)
      fail<IndexError>("class_shares", {"label ", label, " of ", classes, " classes"}, {}, site);
    ++count[label];
  }
  List<T> shares;
  for (const double items : count) shares.push_back(static_cast<T>(items / static_cast<double>(labels.count())));
  return from_vector(shares);
}

/// Options of an `OutputPlaceholder`.
struct OutputPlaceholderOptions {
  double scale = 1;      ///< a of z + a o; 0: the logits stay as they are, bit for bit
  bool constant = true;  ///< whether o counts as a constant in the logits, so that its auxiliary loss alone trains it
};

/// z -> z + a o in training, z afterwards, for logits z and o in R^classes, which starts at 0. Its auxiliary loss reads
/// o alone: -sum_c pi_c ln softmax(o)_c, least where softmax(o) = pi, so o = ln pi and a constant. With a = 1 the
/// logits that are left fit the classes' likelihoods p(x | y), the posterior under equal shares of all classes; where
/// the classes are tested in the shares of `pi`, it is o that is missing then. Where o is not a constant in the logits
/// and the model has a bias of its own, the optimum is the same: the bias takes what o lacks.
template <class T = float>
struct OutputPlaceholder {
  static constexpr DataNeeds needs{};
  Tensor<T> values;  ///< o [classes]
  OutputPlaceholderOptions options;
  GRAFT_FIELDS(values)
  GRAFT_CONFIG(options)

  OutputPlaceholder() = default;
  /// Throws ValueError for options out of range.
  explicit OutputPlaceholder(Index classes, const OutputPlaceholderOptions& o = {}, Site site = Site::current())
      : options(o) {
    if (classes < 1) fail("OutputPlaceholder", {classes, " classes"}, {}, site);
    detail::check_option<T>("OutputPlaceholder", "scale", o.scale, detail::Range::finite, site);
    values = zeros<T>({classes}, site);
  }

  /// Logits [..., classes]. Throws ShapeError.
  Tensor<T> operator()(const Tensor<T>& logits, ContextRef context, Site site = Site::current()) const {
    const Named here("OutputPlaceholder", site);
    if (logits.rank() < 1 || logits.shape()[-1] != values.count())
      fail<ShapeError>("OutputPlaceholder", {"expected logits of ", values.count(), " classes"},
                       {{"logits", logits.shape()}}, site);
    if (!context->training() || options.scale == 0) return logits;
    return logits + options.scale * (options.constant ? values.detach() : values);
  }

  /// -sum_c pi_c ln softmax(o)_c for a prior [classes], shape []: the entropy of the prior at its least. Throws
  /// ShapeError, ValueError for what is no distribution. A class of share 0 has no least: its o falls for ever.
  Tensor<T> auxiliary_loss(const Tensor<T>& prior, Site site = Site::current()) const {
    const Named here("OutputPlaceholder", site);
    detail::check_prior("OutputPlaceholder", prior, values.count(), site);
    return cross_entropy(reshape(values, {1, values.count()}, site), reshape(prior, {1, prior.count()}, site), {},
                         site);
  }
};

/// The placeholder at the input, x -> [x ; o]. A first layer that is linear, W [x ; o] + b = W_x x + (W_o o + b), sees
/// in it nothing but a part of its bias: there it adds no capacity, and `folded` takes it away without a trace. What it
/// changes is the path of training, since a part of the bias is now a product.
template <class T = float>
struct InputPlaceholder {
  static constexpr DataNeeds needs{};
  Tensor<T> values;  ///< o [size]
  GRAFT_FIELDS(values)

  InputPlaceholder() = default;
  /// Zeros. Throws ValueError for fewer than 0 numbers.
  explicit InputPlaceholder(Index size, Site site = Site::current()) {
    if (size < 0) fail("InputPlaceholder", {size, " numbers"}, {}, site);
    values = zeros<T>({size}, site);
  }

  /// x [n, width] -> [n, width + size]; without numbers, x itself. Throws ShapeError.
  Tensor<T> operator()(const Tensor<T>& x, Site site = Site::current()) const {
    const Named here("InputPlaceholder", site);
    if (x.rank() != 2) fail<ShapeError>("InputPlaceholder", "expected items [n, width]", {{"x", x.shape()}}, site);
    if (values.count() == 0) return x;
    return concat(std::vector{x, broadcast_to(values, {x.size(0), values.count()}, site)}, 1, site);
  }

  /// The layer that makes of x what `layer` makes of [x ; o]: weight W_x, bias b + W_o o. Throws ShapeError for a layer
  /// of no more inputs than the placeholder has numbers.
  Linear<T> folded(const Linear<T>& layer, Site site = Site::current()) const {
    const Named here("InputPlaceholder", site);
    const Index size = values.count();
    if (layer.weight.rank() != 2 || layer.weight.size(1) <= size)
      fail<ShapeError>("InputPlaceholder", {"expected a layer of more than ", size, " inputs"},
                       {{"weight", layer.weight.shape()}}, site);
    const Index width = layer.weight.size(1) - size, out = layer.weight.size(0);
    const Tensor<T> of_placeholder = reshape(
        matmul(slice(layer.weight, 1, width, width + size), reshape(values, {size, 1}, site), {}, site), {out}, site);
    Linear<T> rest;
    rest.weight = slice(layer.weight, 1, 0, width);
    rest.bias = layer.bias ? *layer.bias + of_placeholder : of_placeholder;
    return rest;
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
