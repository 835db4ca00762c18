#pragma once
// What rows of the method table of transfer/ share: small models and tasks to tune them on.

#include <cmath>
#include <functional>
#include <vector>

#include "catch.hpp"
#include "gap.hpp"
#include "graft/common/token_encoder.hpp"
#include "graft/common/tuner.hpp"
#include "method_table.hpp"
#include "transfer_cases.hpp"

namespace tuners {

using namespace graft;
using namespace transfer_cases;
using Numbers = Tensor<double>;

/// second(tanh(first(x)))
template <class T>
struct TwoLayers {
  Linear<T> first, second;
  GRAFT_FIELDS(first, second)
  Tensor<T> operator()(const Tensor<T>& x) const { return second(tanh(first(x))); }
};
template <class T>
TwoLayers<T> two_layers(Index in, Index hidden, Index out) {
  return {Linear<T>(in, hidden, Random(1)), Linear<T>(hidden, out, Random(2))};
}
inline TwoLayers<double> given_net() {
  TwoLayers<double> net = two_layers<double>(4, 5, 3);
  net.first.weight = kWeights[0];
  net.first.bias = kWeights[1];
  net.second.weight = kWeights[2];
  net.second.bias = kWeights[3];
  return net;
}
using PlainNet = BodyHead<TwoLayers<double>, Linear<double>>;
inline PlainNet whole() { return {two_layers<double>(4, 6, 5), Linear<double>(5, 3, Random(3))}; }

/// Items around a centre of their class.
template <class T>
LabelledSet<T> planted(Index ways, Index shots, Index width, const Random& random) {
  const Tensor<std::int64_t> labels = generate({ways * shots}, [&](Index i) { return i % ways; });
  const Tensor<T> centres = T(2) * randn<T>({ways, width}, random.stream("centres"));
  return {gather(centres, labels) + T(0.3) * randn<T>({ways * shots, width}, random.stream("items")), labels};
}
inline LabelledSet<double> task() { return planted<double>(3, 5, 4, Random(4)); }
inline LabelledSet<double> one_of_three() { return {zeros<double>({2, 4}), tensor<std::int64_t>({0, 2})}; }

inline TransformerEncoder<double> encoder(bool norm_first, Index layers = 2) {
  return TransformerEncoder<double>(
      layers, 8, 2, 12, Random(5),
      {.layer = {.dropout = 0, .activation = Activation::gelu, .norm_first = norm_first}, .final_norm = norm_first});
}
inline Tensor<bool> some_keys() { return tensor<bool>({{true, true, true, false}, {true, true, true, true}}); }
/// A small classifier of sequences that are given as rows of numbers.
template <class T>
struct Rows {
  Linear<T> map;
  GRAFT_FIELDS(map)
  Tokens<T> operator()(const Tensor<T>& x, ContextRef) const {
    return {reshape(map(x), {x.size(0), 4, map.weight.size(0) / 4})};
  }
};
template <class T>
using Coder = BodyHead<TokenEncoder<Rows<T>, TransformerEncoder<T>>, Linear<T>>;
template <class T>
Coder<T> coder(Index width, Index hidden) {
  return {{{Linear<T>(4, 4 * width, Random(6))},
           TransformerEncoder<T>(
               2, width, 2, hidden, Random(5),
               {.layer = {.dropout = 0, .activation = Activation::gelu, .norm_first = true}, .final_norm = true})},
          Linear<T>(width, 3, Random(7))};
}

template <class M>
bool same_numbers(const M& a, const M& b) {
  return same_bits(to_vector(a), to_vector(b));
}
template <class M>
double largest_change(const M& a, const M& b) {
  return gap(to_vector(a), to_vector(b));
}
/// The numbers that are trained, filled with random ones, so that nothing is at its special start.
template <class M>
M scrambled(const M& model, double size = 0.5) {
  int n = 0;
  return zip(
      [&]<class T>(const Tensor<T>& leaf) {
        ++n;
        return leaf.frozen() ? leaf
                             : leaf + static_cast<T>(size) * randn<T>(leaf.shape(), Random(9).stream(std::uint64_t(n)));
      },
      model);
}
template <class A>
double share_right(const A& adapted, const LabelledSet<double>& set) {
  const Tensor<std::int64_t> answers = argmax(adapted.predict(set.x), 1);
  double right = 0;
  for (Index i = 0; i < answers.count(); ++i) right += answers.at({i}) == set.y.at({i});
  return right / static_cast<double>(answers.count());
}
/// What a few-shot method says of one task, with several hundred numbers to work on.
template <class Method, class M>
Tensor<float> adapted_answers(const Method& method, const M& model, Index width, const Random& random) {
  const LabelledSet<float> set = planted<float>(5, 8, width, random);
  Context context(Phase::evaluation, random.stream("context"));
  const auto adapted = method.adapt(model, set, {}, context);
  return concat<float>({reshape(adapted.predict(set.x), {-1}), to_vector(adapted.model.head)}, 0);
}
inline BodyHead<TwoLayers<float>, Linear<float>> large() {
  return {two_layers<float>(64, 96, 64), Linear<float>(64, 5, Random(3))};
}
inline TuningOptions few_steps() { return {.alpha = 1e-2, .steps = 3, .batch = 0}; }
inline TuningOptions many_steps() { return {.alpha = 3e-2, .steps = 150, .batch = 0}; }

/// Bad uses that all ways to tune have, at the line of the row.
template <class Way>
std::vector<BadUse> tuner_errors(const Way& way, Site site = Site::current()) {
  const auto tuned = [way, site](const TuningOptions& training, const LabelledSet<double>& set) {
    TunerMethod<Way>{way, training}.adapt(whole(), set, Numbers(), Context(), site);
  };
  return {bad_use<ValueError>([tuned] { tuned({}, one_of_three()); }, "class 1 of 3"),
          bad_use<ValueError>([tuned] { tuned({.steps = -1}, task()); }, "steps is -1"),
          bad_use<ValueError>([tuned] { tuned({.alpha = NAN}, task()); }, "alpha is nan"),
          bad_use<ValueError>(
              [tuned] {
                LabelledSet<double> set = task();
                set.x = INFINITY * set.x;
                tuned(few_steps(), set);
              },
              "not finite")};
}
inline MethodProperty learns(const char* text, const std::function<double()>& right) {
  return {text, [right] { CHECK(right() == 1); }};
}

}  // namespace tuners
