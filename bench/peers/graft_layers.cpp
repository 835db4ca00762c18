// Elementwise chains, the softmax family, layer norm, attention and chains of small ops: forward and backward.

#include "graft/graft.hpp"
#include "work.hpp"

namespace peers {
namespace {

using namespace graft;

/// The gradients of <f(inputs), upstream> with respect to the inputs called `names`; results are y and d_NAME.
template <class F>
Work forward_and_backward(const Inputs& in, std::vector<std::string> names, F f) {
  std::vector<Tensor<float>> x;
  for (const std::string& name : names) x.push_back(in.tensor(name));
  const Tensor<float> upstream = in.tensor("upstream");
  struct Got {
    Tensor<float> y;
    std::vector<Tensor<float>> gradients;
  };
  const auto got = std::make_shared<Got>();
  const auto step = [=] {
    auto [y, gradients] = vjp(f, x, upstream);
    got->y = std::move(y);
    got->gradients = std::move(gradients);
  };
  return {step, [=] {
            Results results{{"y", got->y}};
            for (std::size_t i = 0; i < names.size(); ++i) results.emplace("d_" + names[i], got->gradients[i]);
            return results;
          }};
}
using Values = std::vector<Tensor<float>>;

/// y = gelu(x + bias) + residual, gelu in its tanh form.
const bool bias_gelu_residual = add_work("bias_gelu_residual", [](const Inputs& in) {
  return forward_and_backward(in, {"x", "bias", "residual"}, [](const Values& v) {
    return map([](auto x, auto b, auto r) { return gelu_tanh(x + b) + r; }, v[0], v[1], v[2]);
  });
});

const bool softmax_rows =
    add_work("softmax", [](const Inputs& in) { return forward_and_backward(in, {"x"}, [](const Values& v) {
                                                 return softmax(v[0]);
                                               }); });
const bool cross_entropy_rows = add_work("cross_entropy", [](const Inputs& in) {
  const auto labels = in.tensor<std::int64_t>("labels");
  return forward_and_backward(in, {"x"}, [=](const Values& v) { return cross_entropy(v[0], labels); });
});
const bool layer_norm_rows = add_work("layer_norm", [](const Inputs& in) {
  return forward_and_backward(in, {"x", "scale", "shift"},
                              [](const Values& v) { return layer_norm(v[0], v[1], v[2]); });
});

/// q, k, v [batch, heads, time, depth].
const bool attention = add_work("attention", [](const Inputs& in) {
  const AttentionOptions<float> options{.causal = in.number("causal") != 0};
  return forward_and_backward(in, {"q", "k", "v"}, [=](const Values& v) {
    return scaled_dot_product_attention(v[0], v[1], v[2], options);
  });
});

/// y = tanh(y w + b) for every one of `steps` steps, elementwise: ops whose arithmetic is next to nothing.
const bool small_ops = add_work("small_ops", [](const Inputs& in) {
  const Index steps = in.number("steps");
  return forward_and_backward(in, {"x", "w", "b"}, [=](const Values& v) {
    Tensor<float> y = v[0];
    for (Index i = 0; i < steps; ++i) y = tanh(y * v[1] + v[2]);
    return y;
  });
});

/// Adam on one tensor with a given gradient.
const bool adam = add_work("adam", [](const Inputs& in) {
  struct State {
    Tensor<float> x, gradient;
    Adam<Tensor<float>> optimizer;
  };
  const Tensor<float> x = in.tensor("x");
  const auto state = std::make_shared<State>(State{x, in.tensor("gradient"), Adam(x)});
  return Work{[=] { state->optimizer.step(state->x, state->gradient, 1e-3); },
              [=] { return Results{{"x", state->x}}; }};
});

}  // namespace
}  // namespace peers
