// Rows for the ways of making an op: map, fused, recompute, identity (autodiff/).

#include <cmath>

#include "graft/ops/map.hpp"
#include "graft/ops/reduce.hpp"
#include "op_table.hpp"

using namespace graft;

namespace {

// a e^b, fused by hand: the composite is the definition, the kernels are what it stands for.
template <class T>
Tensor<T> fused_scale_exp(const Tensor<T>& a, const Tensor<T>& b) {
  const auto composite = [](const Tensor<T>& x, const Tensor<T>& y) { return x * exp(y); };
  const auto forward = [](const Tensor<T>& x, const Tensor<T>& y) {
    Tensor<T> e = exp(y);
    return Fused<T, Tensor<T>>{x * e, e};
  };
  const auto backward = [](const Tensor<T>& g, const Tensor<T>& e, const bool* needed, AnyTensor* results,
                           const Tensor<T>& x, const Tensor<T>&) {
    if (needed[0]) results[0] = chain_product(g, e);
    if (needed[1]) results[1] = chain_product(g, chain_product(x, e));
  };
  return fused("scale_exp", composite, forward, backward, a, b);
}
double scale_exp(double a, double b) { return a * std::exp(b); }

/// tanh(a b) + c.
Tensor<double> bias_and_term(const Arrays& x) {
  const auto product = by_pair(joined(x), x[0], x[1], [](double a, double b) { return std::tanh(a * b); });
  return by_pair(joined(x), product, x[2], [](double p, double c) { return p + c; });
}

const bool making_rows = add_op_rows({
    {.name = "map, two inputs and numbers",
     .family = "map",
     .call =
         [](const auto& x) {
           const double sharpness = 1.5;
           return map([sharpness](auto a, auto b) { return a / (1 + exp(-sharpness * b)) + tanh(a * b); }, x[0], x[1]);
         },
     .inputs = {{{3, 4}}, {{3, 4}}},
     .reference =
         [](const Arrays& x) {
           return by_pair(joined(x), x[0], x[1],
                          [](double a, double b) { return a / (1 + std::exp(-1.5 * b)) + std::tanh(a * b); });
         },
     .variants = broadcasts,
     .large = {{40, 1, 600}, {2, 600}},
     .errors = {bad<ShapeError>(
         [](const auto& x) { map([](auto a, auto b) { return a * b; }, x[0], wrong_length(x[0])); }, "[5]")}},
    {.name = "map, three inputs and a branch",
     .family = "map",
     .call =
         [](const auto& x) {
           return map([](auto a, auto b, auto c) { return where(a > 0, b * c, b - square(c)); }, x[0], x[1], x[2]);
         },
     .inputs = {{.shape = {3, 4},
                 .away_from = {0},
                 .never = kNaN,
                 .because = "it is only compared, and a NaN is not above 0"},
                {{3, 4}},
                {{4}}},
     .reference =
         [](const Arrays& x) {
           std::vector<double> out(joined(x).count());
           for (std::size_t i = 0; i < out.size(); ++i) {
             const auto at = [&](int n) { return x[n].data()[broadcast_offset(i, joined(x), x[n].shape())]; };
             out[i] = at(0) > 0 ? at(1) * at(2) : at(1) - at(2) * at(2);
           }
           return array(joined(x), out);
         },
     .variants = {{{}, {}, {}}, {{4}, {4}, {4}}, {{0}, {0}, {1}}, {{3, 1}, {1, 2}, {}}},
     .large = {{40, 1, 600}, {2, 600}, {600}}},
    // A bias, summed over rows as it is made, and a term that gets the gradient as it is.
    {.name = "map, a bias and a term",
     .family = "map",
     .call =
         [](const auto& x) {
           return map([](auto a, auto b, auto c) { return tanh(a * b) + where(b > 0, c, c); }, x[0], x[1], x[2]);
         },
     .inputs = {{{3, 4}}, {{4}, -1, 1, true, {0}}, {{3, 4}}},
     .reference = bias_and_term,
     .variants = {{{}, {}, {}}, {{4}, {4}, {4}}, {{0, 4}, {4}, {0, 4}}, {{2, 3, 4}, {4}, {4}}, {{3, 1}, {4}, {1}}},
     .large = {{300, 257}, {257}, {300, 257}}},
    // Large enough to be written past the caches.
    {.name = "map, a large one",
     .family = "map",
     .call =
         [](const auto& x) { return map([](auto a, auto b, auto c) { return tanh(a * b) + c; }, x[0], x[1], x[2]); },
     .inputs = {{{3, 4}}, {{4}}, {{3, 4}}},
     .reference = bias_and_term,
     .large = {{1030, 1024}, {1024}, {1030, 1024}}},
    {.name = "fused",
     .family = "fused",
     .call = [](const auto& x) { return fused_scale_exp(x[0], x[1]); },
     .inputs = {{{3, 4}}, {{3, 4}}},
     .reference = [](const Arrays& x) { return by_pair(joined(x), x[0], x[1], scale_exp); },
     .variants = {{{}, {}}, {{0, 2}, {0, 2}}},
     .large = {{3, 16411}, {3, 16411}}},
    {.name = "fused, inside itself",
     .family = "fused",
     .call = [](const auto& x) { return fused_scale_exp(fused_scale_exp(x[0], x[1]), x[0]); },
     .inputs = {{{3, 4}}, {{3, 4}}},
     .reference =
         [](const Arrays& x) {
           return by_pair(joined(x), x[0], x[1], [](double a, double b) { return scale_exp(scale_exp(a, b), a); });
         },
     .variants = {{{}, {}}},
     .large = {{3, 16411}, {3, 16411}}},
    {.name = "recompute",
     .family = "fused",
     .call =
         [](const auto& x) {
           return recompute([](const auto& a, const auto& b) { return tanh(a * b) + a * exp(b); }, x[0], x[1]);
         },
     .inputs = {{{3, 4}}, {{3, 4}}},
     .reference =
         [](const Arrays& x) {
           return by_pair(joined(x), x[0], x[1], [](double a, double b) { return std::tanh(a * b) + a * std::exp(b); });
         },
     .variants = {{{}, {}}, {{0, 2}, {0, 2}}, {{2, 1}, {3}}},
     .large = {{3, 16411}, {3, 16411}}},
    {.name = "identity",
     .family = "fused",
     .call = [](const auto& x) { return identity(x[0]) * identity(x[1]); },
     .inputs = {{{3, 4}}, {{3, 4}}},
     .reference =
         [](const Arrays& x) { return by_pair(joined(x), x[0], x[1], [](double a, double b) { return a * b; }); },
     .variants = {{{}, {}}, {{0, 2}, {0, 2}}},
     .large = {{3, 16411}, {3, 16411}}},
});

}  // namespace
