#pragma once
// Placeholders of a missing modality: learned tokens that stand in for the tokens of a modality that a sample lacks,
// and that learn, where it is there, to be filled with them. Formula as the catalogue of methods has it. A near
// relative: Lee, Tsai, Chiu, Lee, "Multimodal prompting with missing modalities for visual recognition", CVPR 2023
// (prompts that say what is missing, without a loss of filling). The best linear filling is the conditional mean of
// joint Gaussians.

#include <cmath>
#include <vector>

#include "graft/common/host_cholesky.hpp"
#include "graft/common/needs.hpp"
#include "graft/common/slots.hpp"
#include "graft/core/options.hpp"
#include "graft/nn/attention.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/compare.hpp"
#include "graft/ops/reduce.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `MissingModality`.
struct MissingModalityOptions {
  Index tokens = 1;         ///< of the modality that may be missing
  Index heads = 1;          ///< of the attention
  double deviation = 0.02;  ///< of the tokens' initial numbers
};

/// Samples of two modalities as tokens H^a [batch, n, width], always there, and H^b [batch, tokens, width]. A sample
/// without H^b gets its filling instead: the placeholders P_b after they attended to H^a,
///   phi(P_b | H^a) = P_b + Attn(P_b, H^a)
/// which is trained where both are there: mean of |phi(P_b | H^a) - H^b|^2 with H^b as a constant. With one token of
/// each, phi is an affine map of H^a: its best is the linear regression of H^b on H^a, and the loss does not fall below
/// what that leaves (`linear_fill`).
template <class T = float>
struct MissingModality {
  static constexpr DataNeeds needs{.labels = false, .second_modality = true};
  Tensor<T> placeholders;  ///< P_b [tokens, width]
  MultiHeadAttention<T> attention;
  GRAFT_FIELDS(placeholders, attention)

  MissingModality() = default;
  /// Throws ValueError for sizes out of range.
  MissingModality(Index width, const Random& random, const MissingModalityOptions& o = {}, Site site = Site::current())
      : placeholders(
            detail::slot_bank<T>("MissingModality", o.tokens, width, o.deviation, random.stream("placeholders"), site)),
        attention(width, o.heads, random.stream("attention"), {}, site) {
    if (o.tokens < 1) fail("MissingModality", {o.tokens, " tokens"}, {}, site);
  }

  /// phi(P_b | H^a): [batch, n, width] -> [batch, tokens, width]. Throws ShapeError.
  Tensor<T> fill(const Tensor<T>& a, Site site = Site::current()) const {
    const Named here("MissingModality", site);
    const Index tokens = placeholders.size(0), width = placeholders.size(1);
    if (a.rank() != 3 || a.size(2) != width)
      fail<ShapeError>("MissingModality", {"expected tokens [batch, n, ", width, "]"}, {{"a", a.shape()}}, site);
    const Tensor<T> own = broadcast_to(placeholders, {a.size(0), tokens, width}, site);
    return own + attention(own, a, a, Context(), site);
  }

  /// [H^a ; H^b], where a sample of which `has_b` [batch] is false has its filling for H^b, whatever numbers stand
  /// there: [batch, n + tokens, width]. A sample that has both is as it is, bit for bit. Throws ShapeError.
  Tensor<T> operator()(const Tensor<T>& a, const Tensor<T>& b, const Tensor<bool>& has_b,
                       Site site = Site::current()) const {
    const Named here("MissingModality", site);
    const Tensor<bool> there = checked(a, b, has_b, site);
    return concat(std::vector{a, where(there, b, fill(a, site), site)}, 1, site);
  }

  /// The mean, over the samples that have both, of the squared distance between filling and H^b, added up over tokens
  /// and width; 0 if there is none. Throws ShapeError.
  Tensor<T> fill_loss(const Tensor<T>& a, const Tensor<T>& b, const Tensor<bool>& has_b,
                      Site site = Site::current()) const {
    const Named here("MissingModality", site);
    const Tensor<bool> there = checked(a, b, has_b, site);
    const Tensor<T> gap = where(there, fill(a, site) - b.detach(), 0);
    const Index both = count_nonzero(has_b).item();
    return sum(square(gap)) / static_cast<T>(both > 0 ? both : 1);
  }

 private:
  /// `has_b` as [batch, 1, 1].
  Tensor<bool> checked(const Tensor<T>& a, const Tensor<T>& b, const Tensor<bool>& has_b, Site site) const {
    const Index tokens = placeholders.size(0), width = placeholders.size(1);
    if (a.rank() != 3 || a.size(2) != width || !(b.shape() == Shape{a.size(0), tokens, width}) ||
        !(has_b.shape() == Shape{a.size(0)}))
      fail<ShapeError>("MissingModality",
                       {"expected a [batch, n, ", width, "], b [batch, ", tokens, ", ", width, "] and has_b [batch]"},
                       {{"a", a.shape()}, {"b", b.shape()}, {"has_b", has_b.shape()}}, site);
    return reshape(has_b, {a.size(0), 1, 1}, site);
  }
};

/// The best linear filling of one modality by another.
struct LinearFill {
  Linear<double> map;  ///< a -> b: the conditional mean, if they are jointly Gaussian
  double floor = 0;    ///< the mean squared distance that is left, added up over the numbers of b
  GRAFT_FIELDS(map)
  GRAFT_CONFIG(floor)

  Tensor<double> operator()(const Tensor<double>& a, Site site = Site::current()) const { return map(a, site); }
};

/// Regression of b [items, out] on a [items, in], with covariances S divided by the number of items:
///   W = S_ba (S_aa + ridge I)^-1,  b(a) = mean b + W (a - mean a),
/// of which, without ridge, the trace of the conditional covariance S_bb - S_ba S_aa^-1 S_ab is left. No filling that
/// is linear in a comes below that floor on these items; the mean alone leaves the trace of S_bb. Carries no gradient.
/// Throws ShapeError, ValueError for numbers that are not finite, and for columns of `a` that depend on one another
/// where `ridge` is 0.
inline LinearFill linear_fill(const Tensor<double>& a, const Tensor<double>& b, double ridge = 0,
                              Site site = Site::current()) {
  const char* op = "linear_fill";
  if (a.rank() != 2 || b.rank() != 2 || a.size(0) != b.size(0) || a.size(0) == 0)
    fail<ShapeError>(op, "expected a [items, in] and b [items, out] of one item or more",
                     {{"a", a.shape()}, {"b", b.shape()}}, site);
  detail::check_option<double>(op, "ridge", ridge, detail::Range::not_negative, site);
  const auto centred = [](const Tensor<double>& x) { return x.detach() - mean(x.detach(), {0}, true); };
  const Tensor<double> from = centred(a), to = centred(b);
  const Index in = a.size(1), out = b.size(1);
  const double items = static_cast<double>(a.size(0));
  const Tensor<double> within = matmul(from, from, {.transpose_a = true}) / items;
  const Tensor<double> across = matmul(to, from, {.transpose_a = true}) / items;
  const auto* s_aa = std::data(host(within));
  const auto* s_ba = std::data(host(across));
  detail::HostCholesky factor;
  factor.start(in);
  for (Index i = 0; i < in; ++i) {
    const double own = s_aa[i * in + i] + ridge;
    const double square = factor.next([&](Index j) { return s_aa[i * in + j] + (i == j ? ridge : 0); });
    if (!std::isfinite(square)) fail(op, "numbers are not finite", {{"a", a.shape()}, {"b", b.shape()}}, site);
    if (!(square > own * 1e-12))
      fail(op, {"column ", i, " of a depends on those before it: give a ridge above 0"}, {{"a", a.shape()}}, site);
    factor.accept(square);
  }
  List<double> weight, row(in);
  for (Index o = 0; o < out; ++o) {
    for (Index i = 0; i < in; ++i) row[i] = s_ba[o * in + i];
    factor.forward(row);
    factor.backward(row);
    for (const double w : row) {
      if (!std::isfinite(w)) fail(op, "numbers are not finite", {{"a", a.shape()}, {"b", b.shape()}}, site);
      weight.push_back(w);
    }
  }
  LinearFill fill;
  fill.map.weight = from_vector(weight, {out, in});
  const auto moved = [&](const Tensor<double>& x) { return matmul(x, fill.map.weight, {.transpose_b = true}); };
  fill.map.bias = mean(b.detach() - moved(a.detach()), {0});
  fill.floor = sum(square(to - moved(from))).item() / items;
  return fill;
}

}  // namespace GRAFT_ABI
}  // namespace graft
