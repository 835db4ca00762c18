#pragma once
// Small and large classifiers that rows of the method table of generalise/ share, and items for them.

#include "gap.hpp"
#include "graft/common/inner_loop.hpp"
#include "graft/nn/norm.hpp"
#include "heads.hpp"
#include "layers.hpp"

namespace small_nets {

using namespace graft;

template <class T>
using Net = BodyHead<TanhLayer<T>, Linear<T>>;
template <class T>
Net<T> net(Index in, Index width, Index classes, const Random& random) {
  return {TanhLayer<T>(in, width, random.stream("body")), Linear<T>(width, classes, random.stream("head"))};
}
inline Net<double> small_net(std::uint64_t seed = 1) { return net<double>(3, 4, 3, Random(seed)); }
inline Net<float> large_net(const Random& random) { return net<float>(48, 96, 5, random); }

/// Some items of three classes.
inline LabelledSet<double> small_set(std::uint64_t seed = 1, Index items = 6) {
  return embedded_episode({.ways = 3, .shots = 1, .queries = items, .width = 3}, seed).query;
}
inline LabelledSet<float> large_set(const Random& random) {
  return embedded_episode<float>({.ways = 5, .shots = 1, .queries = 75, .width = 48}, random).query;
}
inline double loss_on(const Net<double>& model, const LabelledSet<double>& set) {
  return cross_entropy(model(set.x, Context()), set.y).item();
}
template <class M>
bool same_bits_of(const M& a, const M& b) {
  return same_bits(to_vector(a), to_vector(b));
}
template <class M>
double gap_of(const M& a, const M& b) {
  return gap(to_vector(a), to_vector(b));
}

/// A model with a batch norm, which has a mean of its own for every batch.
template <class T>
struct NormedNet {
  Linear<T> first;
  BatchNorm<T> norm;
  Linear<T> last;
  GRAFT_FIELDS(first, norm, last)

  Tensor<T> operator()(const Tensor<T>& x, ContextRef context) const { return last(tanh(norm(first(x), context))); }
};
template <class T>
NormedNet<T> normed_net(Index in, Index width, Index classes, const Random& random) {
  return {Linear<T>(in, width, random.stream("first")), BatchNorm<T>(width),
          Linear<T>(width, classes, random.stream("last"))};
}
inline NormedNet<double> small_normed_net() { return normed_net<double>(3, 4, 3, Random(1)); }

}  // namespace small_nets
