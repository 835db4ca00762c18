// Few-shot regression where one start does not suit all tasks: functions of six families, ten noisy points each.
// Yao, Wu, Tao, Li, Ding, Li, Li, "Automated relational meta-learning", ICLR 2020, section 5.1, whose ARML gates what
// MAML starts from by what it sees of the task. Beside it one network for all functions, MAML, Meta-SGD, and a network
// that is told a mean code of the points and takes no step.

#include "graft/fewshot/arml.hpp"
#include "graft/fewshot/maml.hpp"
#include "graft/fewshot/meta_sgd.hpp"
#include "graft/optim/schedule.hpp"
#include "model_table.hpp"
#include "regression.hpp"

using namespace graft;
using namespace examples;

struct Settings {
  std::vector<std::string> models = {"joint", "conditional", "maml", "meta-sgd", "arml"};
  Index steps = 0, functions = 25, shots = 10, inner_steps = 5, tests = 1000, seeds = 1;
  double inner_rate = 1e-3, rate = 1e-3;
  std::string over = "plane";
  FunctionMixture mixture;
};

/// Trains by the loss of some functions, and gives the test's mean errors: of all functions, and of each family.
template <class M, class Loss, class Errors>
std::vector<double> figures(M model, const Settings& o, const Random& random, const Random& of_test, const Loss& loss,
                            const Errors& errors) {
  const auto draw = [&](Index functions, const Random& own) {
    return draw_functions(o.mixture, functions, o.shots, o.shots, own);
  };
  Adam adam(model);
  const Schedule rate = Schedule::cosine(o.rate, o.steps);
  for (Index step = 0; step < o.steps; ++step) {
    end_if_stopped();
    const FunctionTasks tasks = draw(o.functions, random.stream("training", step));
    const M gradient = clip_by_norm(grad([&](const M& m) { return loss(m, tasks); }, model), 10);
    adam.step(model, gradient, rate(step));
  }
  const FunctionTasks test = draw(o.tests, of_test);
  const List<double> found = errors(model, test);
  std::vector<List<double>> of_family(o.mixture.families.size() + 1);
  for (Index i = 0; i < o.tests; ++i)
    for (const Index column : {Index{0}, test.families[i] + 1}) of_family[std::size_t(column)].push_back(found[i]);
  std::vector<double> means;
  for (const List<double>& family : of_family) means.push_back(mean_interval(family).mean);
  return means;
}

/// The same of a method that adapts stacked networks, by so many steps in the test.
template <class Method, class M>
std::vector<double> adapted_figures(const Method& method, const M& model, Index steps, const Settings& o,
                                    const Random& random, const Random& test) {
  return figures(
      model, o, random, test, [&](const M& m, const FunctionTasks& tasks) { return stacked_loss(method, m, tasks); },
      [&](const M& m, const FunctionTasks& tasks) { return errors_after(steps, method, m, tasks); });
}

std::vector<double> model_figures(const std::string& name, const Settings& o, const Random& random,
                                  const Random& test) {
  const Index inputs = o.mixture.inputs;
  const Random initial = random.stream("initialisation");
  const Perceptron net(inputs, initial);
  const Linear<> first(inputs + 1, 40, random.stream("first")), second(40, 40, random.stream("second"));
  const int steps = static_cast<int>(o.inner_steps);
  if (name == "joint" || name == "maml")  // joint training is MAML without a step
    return adapted_figures(Maml<SumOfErrors>{{.alpha = o.inner_rate, .steps = name == "joint" ? 0 : steps}}, net, steps,
                           o, random, test);
  if (name == "meta-sgd") {
    const MetaSgdRates rates{.low = o.inner_rate, .high = o.inner_rate};
    return adapted_figures(MetaSgd<SumOfErrors>(), meta_sgd_model(net, random.stream("rates"), rates), 1, o, random,
                           test);
  }
  if (name == "conditional")
    return figures(
        ConditionalProcess{first, second, Perceptron(inputs + 40, initial)}, o, random, test,
        [](const auto& m, const FunctionTasks& tasks) { return mse(m(tasks), tasks.query.y); },
        [](const auto& m, const FunctionTasks& tasks) { return errors_of(m(tasks), tasks.query); });
  const ArmlMethod<PointError> method{{.alpha = o.inner_rate, .steps = steps}};
  const Arml arml(net, PointEmbedding{first, second}, random, {.width = 40, .vertices = 6, .hidden = 40});
  return figures(
      arml, o, random, test, [&](const auto& m, const FunctionTasks& tasks) { return episode_loss(method, m, tasks); },
      [&](const auto& m, const FunctionTasks& tasks) { return episode_errors(method, m, tasks); });
}

int main(int argc, char** argv) {
  Program program("mixed_functions",
                  "Few-shot regression of functions of six families: one start for all, or one of each.");
  Settings o;
  program.models(o.models);
  program.word("--over", o.over, {"plane", "line"}, "ARML's families, or six of one coordinate");
  program.whole("--steps", o.steps, "steps of training", 1).shown = "300; full 10000";
  program.whole("--functions", o.functions, "functions a step", 1);
  program.whole("--shots", o.shots, "points that a function is learned from", 1);
  program.whole("--inner-steps", o.inner_steps, "steps on these points, of Meta-SGD one", 1, 1000);
  program.real("--inner-rate", o.inner_rate, "rate of these steps, of Meta-SGD at first", 0, 10);
  program.real("--rate", o.rate, "highest rate of Adam", 1e-9, 10);
  program.whole("--tests", o.tests, "functions of the test", 100);
  program.whole("--seeds", o.seeds, "seeds of initial values and training functions, run in parallel", 1);
  return program.run(argc, argv, [&] {
    if (o.steps == 0) o.steps = program.full() ? 10000 : 300;
    o.mixture = o.over == "plane" ? arml_functions() : line_functions();
    std::vector<MethodColumn> columns{{"all", "mse", 1}};
    for (const FunctionFamily& family : o.mixture.families) columns.push_back({family.name, "mse-" + family.name, 1});
    const Random root(program.seed);
    compare_models(
        program,
        "Mean squared error, noise 0.09 among it, from " + std::to_string(o.shots) + " points, mean of " +
            std::to_string(o.seeds) + " seeds; the published ones are of 70000 steps:",
        columns, o.models, o.seeds,
        [&](const std::string& model, Index i) {
          return model_figures(model, o, root.stream("seed", i), root.stream("test"));
        },
        [&](const std::string& model) {
          return o.over == "line" ? "" : model == "maml" ? "2.29" : model == "arml" ? "0.44" : "";
        });
  });
}
