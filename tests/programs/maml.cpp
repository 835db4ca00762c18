// MAML on waves (Finn, Abbeel, Levine 2017, section 5.1): from ten points of a wave of unknown amplitude and phase, a
// network that was trained to adapt finds the wave in a few gradient steps.
#include <cstdio>
#include <numbers>

#include "graft/fewshot/maml.hpp"
#include "graft/graft.hpp"

using namespace graft;

namespace program {

constexpr int kWaves = 5, kPoints = 10;

struct Net {
  Linear<> first, second, head;
  GRAFT_FIELDS(first, second, head)

  Tensor<> operator()(const Tensor<>& x) const { return head(relu(second(relu(first(x))))); }
};

struct Set {
  Tensor<> x, y;
};
struct Wave {
  Set support, query;
};

Wave draw(const Random& random) {
  const float amplitude = rand({}, random.stream("amplitude"), 0.1, 5).item();
  const float phase = rand({}, random.stream("phase"), 0, std::numbers::pi).item();
  const auto points = [&](const char* name) {
    const Tensor<> x = rand({kPoints, 1}, random.stream(name), -5, 5);
    return Set{x, amplitude * sin(x - phase)};
  };
  return {points("support"), points("query")};
}

int run() {
  const Random random(1);
  const auto error = [](const Net& net, const Set& set) { return mse(net(set.x), set.y); };
  Net net{.first = {1, 40, random.stream("first")},
          .second = {40, 40, random.stream("second")},
          .head = {40, 1, random.stream("head")}};
  Adam optimizer(net);
  const MamlOptions options{.alpha = 0.01};
  for (int step = 0; step < 300; ++step) {
    const Random here = random.stream("training", step);
    Net sum = zeros_like(net);
    for (int i = 0; i < kWaves; ++i) {
      const Wave wave = draw(here.stream(static_cast<std::uint64_t>(i)));
      sum = sum + grad([&](const Net& theta) { return maml_loss(theta, wave, error, options); }, net);
    }
    optimizer.step(net, (1.0 / kWaves) * sum, 1e-3);
  }
  double before = 0, after = 0;
  for (int i = 0; i < 20; ++i) {
    const Wave wave = draw(random.stream("test", i));
    before += static_cast<double>(error(net, wave.query).item()) / 20;
    after += static_cast<double>(error(maml_adapt(net, wave.support, error, {.alpha = 0.01, .steps = 10}), wave.query)
                                     .item()) / 20;
  }
  std::printf("error before adaptation %.3f, after %.3f\n", before, after);
  return after < before ? 0 : 1;
}

}  // namespace program

int main() { return program::run(); }
