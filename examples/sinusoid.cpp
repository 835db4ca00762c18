// Few-shot regression: waves of unknown amplitude and phase from ten points each, learned by MAML, by its first-order
// form, and by one network for all waves at once. Finn, Abbeel, Levine, ICML 2017, section 5.1.

#include "graft/data/episodes.hpp"
#include "graft/evaluate/curve_picture.hpp"
#include "graft/evaluate/method_table.hpp"
#include "graft/fewshot/maml.hpp"
#include "graft/graft.hpp"
#include "graft/train/train.hpp"
#include "program.hpp"

using namespace graft;

struct Net {
  Linear<> first, second, last;
  GRAFT_FIELDS(first, second, last)

  Tensor<> operator()(const Tensor<>& x) const { return last(relu(second(relu(first(x))))); }
};

struct Points {
  Tensor<> x, y;  // [points, 1]
};
struct Wave {
  Points support, query;
};

/// y = a sin(x + p) at points in [-5, 5], a in [0.1, 5], p in [0, pi].
Wave draw_wave(Index shots, const Random& random) {
  const double amplitude = random.uniform(0, 0.1, 5), phase = random.uniform(1, 0, std::numbers::pi);
  const auto points = [&](const char* name, Index count) {
    const Tensor<> x = rand({count, 1}, random.stream(name), -5, 5);
    return Points{x, amplitude * sin(x + phase)};
  };
  return {points("support", shots), points("query", 20)};
}
Tensor<> loss_of(const Net& net, const Points& points) { return mse(net(points.x), points.y); }

struct Settings {
  Index steps = 0, waves = 10, shots = 10, tests = 300;
  double inner_rate = 0.01, rate = 2e-3;
};

void sinusoid(examples::Program& program, Settings& o) {
  if (o.steps == 0) o.steps = program.full() ? 20000 : 1000;
  const Random root(program.seed);
  const Checkpoints checkpoints = program.open_checkpoints(program.identity(), {"joint", "fomaml", "maml"});
  // Squared errors on the queries of waves after a step on their support.
  const auto errors = [&](const Net& net, const char* purpose, Index count) {
    std::vector<double> figures(static_cast<std::size_t>(count));
    parallel_tasks(count, [&](Index i) {
      if (stop_requested(program.stop())) throw Stopped("graft: stopped while waves were answered");
      const Wave wave = draw_wave(o.shots, root.stream(purpose, i));
      const Tensor<> error = maml_loss(net, wave, loss_of, {.alpha = o.inner_rate});
      figures[static_cast<std::size_t>(i)] = static_cast<double>(error.item());
    });
    return figures;
  };
  MethodTable table({{"squared error", "mse", 1}}, "joint");
  std::vector<Curve> curves;
  for (const std::string name : {"joint", "fomaml", "maml"}) {
    // Training all waves at once is MAML without a step.
    const MamlOptions inner{.alpha = o.inner_rate, .steps = name == "joint" ? 0 : 1, .first_order = name == "fomaml"};
    const auto step = [&](auto& state, Index number) -> StepReport {
      const auto meta_loss = [&](const Net& net) {
        Tensor<> total(0.0f);
        for (Index i = 0; i < o.waves; ++i) {
          const Random random = root.stream("training", number * o.waves + i);
          total = total + maml_loss(net, draw_wave(o.shots, random), loss_of, inner);
        }
        return total * (1 / static_cast<double>(o.waves));
      };
      const auto [loss, gradient] = value_and_grad(meta_loss, state.model);
      if (!std::isfinite(norm(gradient).item())) return {.items = 0, .dropped = o.waves};
      state.optimizer.step(state.model, gradient, o.rate);
      return {loss.item(), loss.item(), o.waves};
    };
    const auto validate = [&](const Net& net) { return -mean_interval(errors(net, "validation", 100)).mean; };
    const Random random = root.stream("initialisation");
    const Net net{{1, 40, random.stream("first")}, {40, 40, random.stream("second")}, {40, 1, random.stream("last")}};
    const TrainOptions options{.name = name,
                               .steps = o.steps,
                               .quiet = program.quiet,
                               .words = {"step", "waves", "error"},
                               .stop = program.stop()};
    const auto trained = train(ModelState<Net, Adam<Net>>{net, Adam(net)}, step, validate, options, checkpoints);
    curves.push_back({name, {}, {}});
    for (std::size_t k = 0; k < trained.history.size(); ++k) {
      if (!std::isfinite(trained.history[k])) continue;
      curves.back().x.push_back(trained.history_steps[k]);
      curves.back().y.push_back(-trained.history[k]);
    }
    table.add({name, {errors(trained.model, "test", o.tests)}, trained.seconds, trained.items, trained.dropped});
  }
  std::printf("\nMean squared error on %d waves after one step on %d points each.\n\n%s", int(o.tests), int(o.shots),
              table.text().c_str());
  program.record.add(table.rows());
  if (!program.picture.empty())
    curve_picture(curves, {.title = "100 validation waves after one step on " + std::to_string(o.shots) + " points",
                           .x_name = "step of meta-training",
                           .y_name = "mean squared error",
                           .log_y = true})
        .write(program.picture);
}

int main(int argc, char** argv) {
  examples::Program program("sinusoid",
                            "Few-shot regression of waves: MAML, first-order MAML, and one network for all.");
  Settings o;
  program.whole("--steps", o.steps, "steps of meta-training", 1).shown = "1000; full 20000";
  program.whole("--waves", o.waves, "waves a step", 1);
  program.whole("--shots", o.shots, "points that a wave is learned from", 1);
  program.real("--inner-rate", o.inner_rate, "rate of the step on these points", 0, 10);
  program.real("--rate", o.rate, "rate of Adam", 1e-9, 10);
  program.whole("--tests", o.tests, "waves of the test", 1).in_identity = false;
  program.checkpoints();
  program.pictures("file for the curves of the validation errors, .svg");
  return program.run(argc, argv, [&] { sinusoid(program, o); });
}
