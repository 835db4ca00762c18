#pragma once
// What the works that train a model share: parameters that both sides start from, and steps of gradient descent whose
// loss and gradient are compared.

#include "graft/model/context.hpp"
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

/// `results` and the gradient of every parameter as "d_NAME".
template <class M>
Results gradients_of(const M& gradient, Results results) {
  graft::for_each_named_parameter(
      [&](const std::string& name, const auto& leaf) { results.emplace("d_" + name, leaf); }, gradient);
  return results;
}

/// Steps of gradient descent on `differentiate(model)`, which gives loss, gradient and the model with its running
/// statistics brought up to date; results are loss and gradient of `check(start)`, which gives what `differentiate`
/// does.
template <class M, class F, class Check>
Work descent(const M& start, const F& differentiate, const Check& check) {
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
            const auto [loss, gradient, model] = check(start);
            return gradients_of(gradient, {{"loss", loss}});
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
  return descent(
      start, [=](const M& model) { return at(model, graft::Phase::training, (*steps)++); },
      [=](const M& model) { return at(model, checked, 0); });
}

}  // namespace peers
