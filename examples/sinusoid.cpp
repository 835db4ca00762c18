// Few-shot regression: waves of unknown amplitude and phase from ten points each, after 0 to 10 gradient steps from
// what MAML, its first-order form, Meta-SGD, and one network trained on all waves at once start with. Finn, Abbeel,
// Levine, ICML 2017, section 5.1.

#include "graft/fewshot/maml.hpp"
#include "graft/fewshot/meta_sgd.hpp"
#include "graft/optim/schedule.hpp"
#include "graft/train/train.hpp"
#include "program.hpp"
#include "regression.hpp"

using namespace graft;
using namespace examples;

struct Settings {
  std::vector<std::string> models = {"joint", "fomaml", "maml", "meta-sgd"};
  Index steps = 0, waves = 25, shots = 10, test_steps = 10, tests = 1000, seeds = 1;
  double inner_rate = 0.01, rate = 1e-3;
};
/// Trains by `method`, which takes one step in training, chooses the model by its errors after `choosing_steps`, and
/// adds what the test says of it to the result.
template <class Method, class M>
void run(Program& program, const Settings& o, const Checkpoints& checkpoints, const Method& method, const M& model,
         const std::string& name, Index choosing_steps, const Random& random, StepErrors& result) {
  const auto draw = [&](Index waves, const Random& own) {
    return draw_functions(sinusoid_functions(), waves, o.shots, o.shots, own);
  };
  const Schedule rate = Schedule::cosine(o.rate, o.steps);
  const auto step = [&](auto& state, Index number) -> StepReport {
    const FunctionTasks waves = draw(o.waves, random.stream("training", number));
    const auto [loss, gradient] =
        value_and_grad([&](const M& m) { return stacked_loss(method, m, waves); }, state.model);
    if (!std::isfinite(norm(gradient).item())) return {.items = 0, .dropped = o.waves};
    state.optimizer.step(state.model, gradient, rate(number));
    return {loss.item(), loss.item(), o.waves};
  };
  const FunctionTasks validation = draw(200, Random(program.seed).stream("validation"));
  const FunctionTasks test = draw(o.tests, Random(program.seed).stream("test"));
  const auto validate = [&](const M& m) {
    return -mean_interval(errors_after(choosing_steps, method, m, validation)).mean;
  };
  const TrainOptions options{.name = name,
                             .steps = o.steps,
                             .quiet = program.quiet,
                             .words = {"step", "waves", "error"},
                             .stop = program.stop()};
  const auto trained = train(ModelState<M, Adam<M>>{model, Adam(model)}, step, validate, options, checkpoints);
  if (result.of_seeds.empty()) {
    result.training = {result.model, trained.history_steps, trained.history};
    for (double& error : result.training.y) error = -error;
  }
  List<List<double>> errors;
  for (Index k = 0; k <= o.test_steps; ++k) errors.push_back(errors_after(k, method, trained.model, test));
  result.add(errors, trained.seconds, o.seeds);
}

void sinusoid(Program& program, Settings& o) {
  if (o.steps == 0) o.steps = program.full() ? 20000 : 3000;
  const auto name_of = [](const std::string& model, Index seed) { return model + "-" + std::to_string(seed); };
  std::vector<std::string> runs;
  for (const std::string& model : o.models)
    for (Index seed = 0; seed < o.seeds; ++seed) runs.push_back(name_of(model, seed));
  const Checkpoints checkpoints = program.open_checkpoints(program.identity(), runs);
  std::vector<StepErrors> results;
  for (const std::string& model : o.models) {
    results.push_back({.model = model});
    for (Index seed = 0; seed < o.seeds; ++seed) {
      const Random random = Random(program.seed).stream("seed", seed);
      const Perceptron net(1, random.stream("initialisation"));
      const auto go = [&](const auto& method, const auto& start, Index choosing_steps) {
        run(program, o, checkpoints, method, start, name_of(model, seed), choosing_steps, random, results.back());
      };
      // Training on all waves at once is MAML without a step.
      const MamlOptions inner{.alpha = o.inner_rate, .steps = model != "joint", .first_order = model == "fomaml"};
      if (model == "meta-sgd")
        go(MetaSgd<SumOfErrors>(), meta_sgd_model(net, random.stream("rates")), 1);  // its rates are learned for one
      else
        go(Maml<SumOfErrors>{inner}, net, o.test_steps);
    }
  }
  std::printf("\nMean squared error on %d waves after steps on %d points each, mean of %d seeds:\n\n", int(o.tests),
              int(o.shots), int(o.seeds));
  print_steps(program, results);
  if (program.picture.empty()) return;
  std::vector<Curve> curves;
  for (const StepErrors& result : results) curves.push_back(result.training);
  const std::string title = "200 waves after " + std::to_string(o.test_steps) + " steps (meta-sgd: 1) on " +
                            std::to_string(o.shots) + " points";
  curve_picture(curves, {.title = title, .x_name = "step of meta-training", .y_name = "squared error", .log_y = true})
      .write(program.picture);
}

int main(int argc, char** argv) {
  Program program("sinusoid", "Few-shot regression of waves: MAML, first-order MAML, Meta-SGD, one network for all.");
  Settings o;
  program.models(o.models);
  program.whole("--steps", o.steps, "steps of meta-training", 1).shown = "3000; full 20000";
  program.whole("--waves", o.waves, "waves a step", 1);
  program.whole("--shots", o.shots, "points that a wave is learned from", 1);
  program.real("--inner-rate", o.inner_rate, "rate of the steps on these points, but of Meta-SGD", 0, 10);
  program.real("--rate", o.rate, "highest rate of Adam", 1e-9, 10);
  program.whole("--test-steps", o.test_steps, "steps on the points in the test, at most", 0, 1000);
  program.whole("--tests", o.tests, "waves of the test", 1).in_identity = false;
  program.whole("--seeds", o.seeds, "seeds of initial values and training waves", 1);
  program.checkpoints();
  program.pictures("file for the curves of the validation errors, .svg");
  return program.run(argc, argv, [&] { sinusoid(program, o); });
}
