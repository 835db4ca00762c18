#pragma once
// What the works that train a model share: parameters that both sides start from, and steps of gradient descent whose
// loss and gradient are compared.

#include "graft/nn/context.hpp"
#include "graft/optim/sgd.hpp"
#include "work.hpp"

namespace peers {

inline constexpr double kRate = 1e-3;

/// The model with every parameter as the inputs name it.
template <class M>
M with_parameters(M model, const Inputs& in) {
  graft::for_each_named_parameter([&](const std::string& name, auto& leaf) { leaf = in.tensor(name); }, model);
  return model;
}

/// "loss", and the gradient of every parameter as "d_NAME".
template <class M>
Results loss_and_gradient(const Tensor<float>& loss, const M& gradient) {
  Results results{{"loss", array_of(loss)}};
  graft::for_each_named_parameter(
      [&](const std::string& name, const auto& leaf) { results.emplace("d_" + name, array_of(leaf)); }, gradient);
  return results;
}

/// Steps of gradient descent on `differentiate(model)`, which gives loss, gradient and the model with its running
/// statistics brought up to date; results are loss and gradient at the parameters of the inputs.
template <class M, class F>
Work descent(const M& start, const F& differentiate) {
  struct State {
    M model;
    graft::Sgd<M> optimizer;
  };
  const auto state = std::make_shared<State>(State{start, graft::Sgd(start)});
  const auto step = [=] {
    auto [loss, gradient, model] = differentiate(state->model);
    state->model = std::move(model);
    state->optimizer.step(state->model, gradient, kRate);
  };
  return {step, [=] {
            const auto [loss, gradient, model] = differentiate(start);
            return loss_and_gradient(loss, gradient);
          }};
}

/// Steps on `loss(model, context)`; results are those of a context in `checked` phase.
template <class M, class Loss>
Work training(const M& start, const Loss& loss, graft::Phase checked = graft::Phase::training) {
  auto steps = std::make_shared<std::uint64_t>(0);
  const auto at = [=](const M& model, graft::Phase phase, std::uint64_t number) {
    graft::Context context(phase, graft::Random(1).stream(number));
    auto [value, gradient] = graft::value_and_grad([&](const M& m) { return loss(m, context); }, model);
    return std::tuple(value, gradient, graft::apply_updates(model, context));
  };
  Work work = descent(start, [=](const M& model) { return at(model, graft::Phase::training, (*steps)++); });
  work.results = [=] {
    const auto [value, gradient, model] = at(start, checked, 0);
    return loss_and_gradient(value, gradient);
  };
  return work;
}

}  // namespace peers
