// What the collaborative protocol costs in a round of the main job (examples/collaborate.cpp): Conv4 and the graph
// Transformer, 20-way 1-shot episodes with 5 queries a class of the generated characters, two tasks a round, Adam.
//   protocol [rounds [tasks...]]                  usually 100; exits with 1 above the limit of 2 %
// The protocol's own time of a round is all of it but the tasks' episodes and gradients and the optimiser's step:
// scheduling, gathering, the aggregation with its clipping, conflict figures, the meter. Its mean over the rounds but
// the longest tenth, when other programs came between, is compared with the median round. Beside it, the same rounds
// written by hand, as a plain trainer does them: the two in turn, medians. Then what more tasks cost, with and without
// an exchange between them, for each number of tasks that is given: the median round once each task has posted, and the
// size of the state as a file.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "graft/data/character_split.hpp"
#include "graft/data/glyphs.hpp"
#include "graft/evaluate/machine.hpp"
#include "graft/evaluate/metrics.hpp"
#include "graft/fewshot/episode_learner.hpp"
#include "graft/fewshot/graph_transformer.hpp"
#include "graft/io/checkpoint.hpp"
#include "graft/multitask.hpp"
#include "graft/optim/adam.hpp"
#include "graft/protocol/exchange.hpp"
#include "graft/protocol/round.hpp"

using namespace graft;

namespace {

constexpr double kLimit = 0.02;

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// The mean of all values but the largest tenth.
double usual(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t kept = values.size() - values.size() / 10;
  double sum = 0;
  for (std::size_t i = 0; i < kept; ++i) sum += values[i];
  return sum / static_cast<double>(kept);
}

using Learner = EpisodeLearner<ImageEmbedding, GraphTransformer<>>;

struct Work {
  CharacterSplit data = split_characters(make_glyphs(), "the generated characters", {});
  Learner learner{make_image_embedding("conv", data.train.images().height, Random(1).stream("embedding")),
                  GraphTransformer<>(Random(1).stream("head"))};
  const std::vector<std::vector<Index>>& tasks() const { return data.tasks.by_alphabet; }

  Episode<> draw(Index task, const Random& random) const {
    const ItemSet& items = data.train.items();
    return items.episode(
        items.draw(tasks()[task], {.ways = 20, .shots = 1, .queries = 5}, random.stream("episode")));
  }
  TaskAnswer<> answer(const Learner& own, Index task, const Random& random) const {
    const Episode<> episode = draw(task, random);
    Context context(Phase::training, random.stream("layers"));
    const Tensor<> logits = own(episode, context);
    return {cross_entropy(logits, episode.query.y), accuracy(logits, episode.query.y)};
  }
};

/// The protocol's share of the rounds with an aggregator.
double measure(const Work& work, const std::string& aggregator, int rounds) {
  const auto tasks = static_cast<Index>(work.tasks().size());
  const ProtocolOptions options{.tasks_per_round = 2, .seed = 1, .clip = 10};
  auto state = start_protocol(work.learner, Adam<Learner>(work.learner), tasks, aggregators().make(aggregator, tasks));
  const auto answer = [&](const Learner& own, Index task, const Random& random) {
    return work.answer(own, task, random);
  };
  Learner plain = work.learner;
  Adam<Learner> adam(plain);
  const auto by_hand = [&](std::uint64_t round) {
    std::vector<Learner> gradients(2);
    const std::vector<Index> chosen = uniform_tasks(tasks, 2, Random(2).stream(round));
    parallel_tasks(2, [&](Index i) {
      const Random draw = Random(2).stream("draw").stream(2 * round + static_cast<std::uint64_t>(i));
      const Index task = chosen[i];
      gradients[i] = grad([&](const Learner& own) { return work.answer(own, task, draw).loss; }, plain);
    });
    parallel_tasks(
        1, [&](Index) { adam.step(plain, clip_by_norm(0.5 * (gradients[0] + gradients[1]), options.clip), 1e-3); });
  };
  std::vector<double> own, whole, hand, aggregate, step;
  for (int round = -10; round < rounds; ++round) {
    const std::int64_t start = detail::nanoseconds();
    by_hand(static_cast<std::uint64_t>(round + 10));
    const double plainly = 1e-9 * static_cast<double>(detail::nanoseconds() - start);
    const RoundReport report = run_round(state, answer, 1e-3, options);
    if (round < 0) continue;
    const RoundSeconds& s = report.seconds;
    own.push_back(s.all - s.work - s.step);
    aggregate.push_back(s.aggregate);
    step.push_back(s.step);
    whole.push_back(s.all);
    hand.push_back(plainly);
  }
  const double share = usual(own) / median(whole);
  std::printf(
      "%-14s %8.2f ms a round, of it aggregation %6.3f ms, step %6.3f ms; protocol %5.2f %%; by hand %8.2f ms\n",
      aggregator.c_str(), 1e3 * median(whole), 1e3 * usual(aggregate), 1e3 * usual(step), 100 * share,
      1e3 * median(hand));
  return share;
}

/// Rounds with `tasks` tasks, alphabets over and over, without and with an exchange in turn.
void measure_tasks(const Work& work, Index tasks, int rounds) {
  const auto answer = [&](const auto& own, Index task, const Random& random) {
    Context context(Phase::training, random.stream("layers"));
    return own.train_answer(work.draw(task % std::ssize(work.tasks()), random), task, context);
  };
  const auto start = [&](bool exchange) {
    const ExchangeLearner learner(work.learner, tasks, 20, Random(3), {.on = exchange});
    return start_protocol(learner, Adam(learner), tasks, aggregators().make("mean", tasks),
                          schedulers().make("round_robin", ones<double>({tasks})));
  };
  auto alone = start(false), together = start(true);
  std::vector<double> seconds[2];
  for (Index round = -tasks / 2; round < rounds; ++round)  // of 0 on, all tasks have posted
    for (const bool exchange : {false, true}) {
      const RoundReport report =
          run_round(exchange ? together : alone, answer, 1e-3, {.tasks_per_round = 2, .seed = 1, .clip = 10});
      if (round >= 0) seconds[exchange].push_back(report.seconds.all);
    }
  const auto megabytes = [](const auto& state) {
    const std::string file = (std::filesystem::temp_directory_path() / "graft-bench-protocol.npz").string();
    save_checkpoint(file, state);
    const auto bytes = static_cast<double>(std::filesystem::file_size(file));
    std::filesystem::remove(file);
    return 1e-6 * bytes;
  };
  std::printf("%2d tasks %8.2f ms a round, state %5.2f MB; with an exchange %8.2f ms, %5.2f MB\n", int(tasks),
              1e3 * median(seconds[0]), megabytes(alone), 1e3 * median(seconds[1]), megabytes(together));
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::max(std::atoi(argv[1]), 1) : 100;
  const Work work;
  std::printf("%s, %d threads, %zu tasks, %lld parameters, %d rounds\n", machine_name().c_str(), threads(),
              work.tasks().size(), static_cast<long long>(count(work.learner)), rounds);
  // The limit is for the main job's own aggregator; what others compute is their method.
  const double share = measure(work, "mean", rounds);
  for (const char* other : {"pcgrad", "upgrad", "cagrad"}) measure(work, other, rounds);
  for (int i = 2; i < argc; ++i) measure_tasks(work, std::max(std::atoi(argv[i]), 2), rounds);
  const bool kept = share < kLimit;
  std::printf("%s: the protocol takes %.2f %% of a round of the mean, limit %.0f %%\n", kept ? "ok" : "FAILED",
              100 * share, 100 * kLimit);
  return kept ? 0 : 1;
}
