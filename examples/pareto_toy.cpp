// Two losses of two numbers on which the sum of losses, followed downhill, stops short of the Pareto front: the toy of
// Liu, Liu, Jin, Stone, Liu, "Conflict-averse gradient descent", NeurIPS 2021, and of Navon et al., "Multi-task
// learning as a bargaining game", ICML 2022, where the first loss is a tenth as large.

#include "graft/evaluate/curve_picture.hpp"
#include "graft/evaluate/record.hpp"
#include "graft/graft.hpp"
#include "graft/multitask.hpp"
#include "graft/protocol/aggregation.hpp"
#include "graft/train/progress.hpp"
#include "program.hpp"

using namespace graft;

struct Point {
  Tensor<double> x1, x2;
  GRAFT_FIELDS(x1, x2)
};

/// One of the losses; `sign` is 1 for the first and -1 for the second. Its slopes are those of max(., 0) with 1 at 0.
Tensor<double> loss_of(const Point& at, double sign, double size) {
  const double gap = sign > 0 ? -3.5 : 1.5, shift = sign > 0 ? 0 : 2;
  return map(
      [=](auto a, auto b) {
        const auto up = tanh(0.5 * b), down = tanh(-0.5 * b);
        const auto far = abs(gap - 0.5 * a - sign * tanh(-1.0 * b) + shift);
        const auto well = log(where(far > 5e-6, far, 5e-6)) + 6;
        const auto bowl = ((7 - sign * a) * (7 - sign * a) + 0.1 * (b + 8) * (b + 8)) / 10 - 20;
        return size * (where(up >= 0, up, 0) * well + where(down >= 0, down, 0) * bowl);
      },
      at.x1, at.x2);
}

struct Settings {
  Index steps = 0;
  double rate = 1e-3, scale = 1;
};

/// On the front: the minima of the losses lie at x1 = 7 and -7, and x2 near -8.4 between them.
bool on_front(const Point& p) { return std::abs(p.x1.item()) < 7.1 && std::abs(p.x2.item() + 8.4) < 0.1; }

void pareto_toy(examples::Program& program, const std::vector<std::string>& methods, Settings& o) {
  if (o.steps == 0) o.steps = program.full() ? (o.scale == 1 ? 100000 : 50000) : 2000;
  const bool equal = o.scale == 1;
  const std::vector<std::array<double, 2>> starts =
      equal ? std::vector<std::array<double, 2>>{{-8.5, 7.5}, {-8.5, -5}, {9, 9}}
            : std::vector<std::array<double, 2>>{{-8.5, 7.5}, {0, 0}, {9, 9}, {-7.5, -0.5}, {9, -1}};
  std::vector<Curve> curves;
  std::printf("Where %d steps of Adam end from each start, * on the Pareto front\n\n%-14s", int(o.steps), "");
  for (const auto& [x1, x2] : starts) std::printf("  from (%5.1f, %4.1f)", x1, x2);
  std::printf("\n");
  for (const std::string& name : methods) {
    std::printf("%-14s", name.c_str());
    const Stopwatch watch;
    Index reached = 0;
    for (std::size_t s = 0; s < starts.size(); ++s) {
      Point point{Tensor<double>(starts[s][0]), Tensor<double>(starts[s][1])};
      Adam optimizer(point);
      Aggregator aggregator = aggregators().make(name);
      Curve path{name, {}, {}};
      for (Index step = 0; step < o.steps; ++step) {
        if (stop_requested(program.stop())) throw Stopped("graft: stopped on the way to the front");
        std::vector<Point> gradients;
        std::vector<double> losses;
        for (const double sign : {1.0, -1.0}) {
          const auto [loss, gradient] =
              value_and_grad([&](const Point& p) { return loss_of(p, sign, sign > 0 ? o.scale : 1); }, point);
          gradients.push_back(gradient);
          losses.push_back(loss.item());
        }
        const Random random = Random(program.seed).stream(name).stream("step", step);
        optimizer.step(point, aggregate(gradients, aggregator, random, {}, from_vector(losses)), o.rate);
        if (step % (o.steps / 200 + 1) == 0) {
          path.x.push_back(point.x1.item());
          path.y.push_back(point.x2.item());
        }
      }
      std::printf("  (%6.2f, %6.2f) %c ", point.x1.item(), point.x2.item(), on_front(point) ? '*' : ' ');
      std::fflush(stdout);
      reached += on_front(point);
      if (s == 0) curves.push_back(path);
      program.record.add({name, "x1-from-start-" + std::to_string(s), point.x1.item(), 0, 1, 0});
      program.record.add({name, "x2-from-start-" + std::to_string(s), point.x2.item(), 0, 1, 0});
    }
    program.record.add({name, "starts-that-reach-the-front", double(reached), 0, 1, watch.seconds()});
    std::printf("\n");
  }
  if (!program.picture.empty())
    curve_picture(curves, {.title = "Ways from (-8.5, 7.5)", .x_name = "x1", .y_name = "x2"}).write(program.picture);
}

int main(int argc, char** argv) {
  examples::Program program("pareto_toy",
                            "Aggregators of two conflicting gradients on a toy whose Pareto front is known.");
  std::vector<std::string> methods = aggregators().names();
  Settings o;
  program.models(methods);
  program.whole("--steps", o.steps, "steps of Adam", 1).shown = "2000; full 100000, 50000 with another scale";
  program.real("--rate", o.rate, "rate of Adam", 1e-9, 10);
  program.real("--scale", o.scale, "factor of the first loss; other than 1: the starts of Nash-MTL", 1e-9, 1e9);
  program.pictures("file for the ways from the first start, .svg");
  return program.run(argc, argv, [&] { pareto_toy(program, methods, o); });
}
