// Two losses of two numbers on which the mean of their gradients, followed downhill, stops short of the Pareto front:
// the toy of Liu, Liu, Jin, Stone, Liu, "Conflict-averse gradient descent", NeurIPS 2021, and, with the first loss a
// tenth as large, of Navon et al., "Multi-task learning as a bargaining game", ICML 2022; with the starts of these
// papers.

#include <array>

#include "graft/data/pareto_toy.hpp"
#include "graft/evaluate/curve_picture.hpp"
#include "graft/graft.hpp"
#include "graft/multitask.hpp"
#include "program.hpp"

using namespace graft;
using Point = std::array<double, 2>;

struct Settings {
  Index steps = 100000, random_starts = 0;
  double scale = 1, rate = 1e-3;
};

/// The way of a method from one start, 200 of its points and the last; or why there is none.
struct Way {
  Curve curve;
  Point end{};
  std::string reason = "";
};

Way follow(const std::string& method, const Point& start, const Settings& o, const Random& random) {
  Tensor<double> x = tensor<double>({start[0], start[1]});
  Adam adam(x);
  Aggregator aggregator = aggregators().make(method, 2);
  const auto losses = [&](const Tensor<double>& at) { return pareto_toy_losses(at, {.scale = o.scale}); };
  Way way{{method, {}, {}}};
  for (Index step = 0; step <= o.steps; ++step) {
    if (stop_requested(examples::Program::stop())) throw Stopped("graft: stopped on the way to the front");
    way.end = {host(x)[0], host(x)[1]};
    if (step % (o.steps / 200 + 1) == 0 || step == o.steps) {
      way.curve.x.push_back(way.end[0]);
      way.curve.y.push_back(way.end[1]);
    }
    if (step == o.steps) break;
    try {
      // No loss is below -20. Aggregators that take logarithms see them raised; their gradients stay the same.
      TaskGradients gradients(jacobian(losses, x), losses(x) + 21 * std::max(o.scale, 1.0),
                              random.stream("step", step));
      const Combination answer = aggregator(gradients);
      const auto combined = [&] { return reshape(matmul(reshape(answer.weights, {1, 2}), gradients.jacobian()), {2}); };
      adam.step(x, answer.direction.defined() ? answer.direction : combined(), o.rate);
    } catch (const ValueError& error) {  // such as an aggregator for three tasks or more
      way.reason = error.what();
      return way;
    }
  }
  return way;
}

/// Within 0.05 of the front, where steps of Adam still tremble.
bool on_front(const Point& p) {
  return std::abs(p[0]) < 7.05 && std::abs(p[1] - pareto_toy_front(std::clamp(p[0], -7.0, 7.0))) < 0.05;
}

void pareto_toy(examples::Program& program, std::vector<std::string> methods, const Settings& o) {
  if (std::find(methods.begin(), methods.end(), "all") != methods.end()) methods = aggregators().names();
  const Random root(program.seed);
  std::vector<Point> starts{{-8.5, 7.5}, {-8.5, -5}, {9, 9}};
  if (o.scale != 1) starts = {{-8.5, 7.5}, {0, 0}, {9, 9}, {-7.5, -0.5}, {9, -1}};
  for (Index i = 0; i < o.random_starts; ++i) {
    const Random draw = root.stream("start", i);
    starts.push_back({draw.uniform(0, -10, 10), draw.uniform(1, -10, 10)});
  }
  const Index each = static_cast<Index>(starts.size()), runs = each * static_cast<Index>(methods.size());
  List<Way> ways(runs);
  parallel_tasks(runs, [&](Index i) {
    const std::string& method = methods[i / each];
    ways[i] = follow(method, starts[i % each], o, root.stream(method).stream("start", i % each));
  });
  std::printf("Where %lld steps of Adam end, * on the Pareto front\n\n%-16s", static_cast<long long>(o.steps), "from");
  for (const auto& [x1, x2] : starts) std::printf("  (%6.2f, %6.2f)  ", x1, x2);
  std::vector<Curve> curves{{"front", {}, {}}};
  for (double x1 = -7; x1 <= 7; x1 += 0.25) curves[0].x.push_back(x1), curves[0].y.push_back(pareto_toy_front(x1));
  std::string reasons;
  for (Index i = 0; i < runs; ++i) {
    const std::string& method = methods[i / each];
    const auto& [curve, end, reason] = ways[i];
    const Index start = i % each;
    if (start == 0) {
      std::printf("\n%-16s", method.c_str());
      if (reason.empty()) curves.push_back(curve);
      if (!reason.empty()) reasons += reason.substr(7, reason.find('\n') - 7) + "\n";
    }
    std::printf(reason.empty() ? "  (%6.2f, %6.2f) %c" : "  none", end[0], end[1], on_front(end) ? '*' : ' ');
    if (!reason.empty()) continue;
    program.record.add({method, "x1-from-start-" + std::to_string(start), end[0], 0, 1, 0});
    program.record.add({method, "x2-from-start-" + std::to_string(start), end[1], 0, 1, 0});
  }
  std::printf("\n%s", reasons.c_str());
  if (!program.picture.empty())
    curve_picture(curves, {.title = "From (-8.5, 7.5)", .x_name = "x1", .y_name = "x2"}).write(program.picture);
}

int main(int argc, char** argv) {
  examples::Program program("pareto_toy", "Aggregators of two conflicting gradients on losses whose front is known.");
  std::vector<std::string> methods{"all"}, choices = aggregators().names();
  Settings o;
  choices.push_back("all");
  program.names("--method", methods, "aggregators that are compared").choices = choices;
  program.whole("--steps", o.steps, "steps of Adam", 1);
  program.real("--rate", o.rate, "rate of Adam", 1e-9, 10);
  program.real("--scale", o.scale, "factor of the first loss; with another than 1 the starts are Nash-MTL's", 1e-9,
               1e9);
  program.whole("--random-starts", o.random_starts, "more starts, from the square of -10 to 10", 0, 1000);
  program.pictures("file for the front and the ways of the methods from the first start, .svg");
  return program.run(argc, argv, [&] { pareto_toy(program, methods, o); });
}
