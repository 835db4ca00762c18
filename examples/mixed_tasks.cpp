// Tasks of different kinds in one run: alphabets, digits of several sources, nodes of graphs, texts; an encoder of each
// kind in front of one graph-attention + Transformer trunk. Joint training against a learner of each task's own, at
// equal total seconds. See docs/mixed-tasks.md.

#include "experiment.hpp"
#include "graft/multitask.hpp"
#include "graft/protocol/joint_or_separate.hpp"
#include "sentences.hpp"

using namespace graft;

struct Settings {
  std::string data, sentences, records;
  std::vector<std::string> tasks;
  JointOptions joint;
  Index rounds = 0, separate_rounds = 0, seeds = 0;
  double seconds = 0;
};

void check_once(const char* option, std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  if (const auto twice = std::adjacent_find(names.begin(), names.end()); twice != names.end())
    throw examples::UsageError(std::string(option) + ": " + *twice + " is named twice");
}

void compare(examples::Program& program, Settings& o) {
  check_once("--tasks", o.tasks);
  check_once("--aggregate", o.joint.aggregates);
  if (o.rounds == 0 && o.separate_rounds > 0) throw examples::UsageError("--separate-rounds: needs --rounds");
  if (o.joint.second_exchange == o.joint.exchange) throw examples::UsageError("--second-exchange: is --exchange");
  if (o.seeds == 0) o.seeds = program.full() ? 3 : 1;
  if (o.seconds == 0) o.seconds = program.full() ? 300 : 20;
  o.joint.seed = program.seed;
  o.joint.stop = program.stop();
  SentenceVectors vectors;
  if (!o.sentences.empty()) vectors = examples::SentenceEncoder(o.sentences);
  program.keep_folder(o.records, "--records");
  FewShotTasks make(o.data, vectors);
  const UsableTasks usable = examples::as_usage("--tasks", [&] {
    return usable_tasks(o.tasks.empty() ? make.usual() : o.tasks, make, o.joint, o.seeds);
  });
  const std::vector<FewShotTask>& tasks = usable.tasks;
  for (const auto& [name, why] : usable.left_out) {
    std::printf("without %s: %s\n", name.c_str(), why.c_str());
    program.record.add({name, "left out", 1, 0, 1});
  }
  if (tasks.empty()) throw examples::UsageError("--tasks: none of them has data enough");
  const auto join = [](const std::string& name, Index count) { return aggregators().make(name, count); };
  const auto both = examples::as_usage("--episodes", [&] { return JointOrSeparate(tasks, o.joint, join); });
  Identity identity = program.identity();
  for (const FewShotTask& task : tasks) identity.add(task.name, task.items.fingerprints);
  Experiment experiment({o.records, identity.text(), both.columns(), both.arms(), 1, o.seeds});

  // Seconds become rounds once: of joint training those of its slowest aggregator, and of units that are done theirs.
  constexpr Index checks = 5;
  JointOptions untested = o.joint;
  untested.mix.tests = 1;
  const JointOrSeparate timed(tasks, untested, join);
  if (o.rounds > 0 && o.separate_rounds == 0) o.separate_rounds = std::max(o.rounds / std::ssize(tasks), Index{1});
  const auto train = [&](const std::string& arm, Index rounds, Index validations) {
    return timed({arm, 0, 0}, rounds, validations);
  };
  const std::map<std::string, Index> rounds = examples::equal_rounds(
      {{both.separate_arms(), o.seconds, o.separate_rounds, 1},
       {both.joint_arms(), o.seconds, o.rounds},
       {both.second_arms(), o.seconds, o.rounds}},
      experiment, checks, train);
  if (!program.quiet)
    for (const std::vector<std::string>& arms : {both.separate_arms(), both.joint_arms(), both.second_arms()})
      if (!arms.empty()) std::printf("%s: %d rounds\n", arms[0].c_str(), int(rounds.at(arms[0])));
  experiment.run([&](const ExperimentUnit& unit) { return both(unit, rounds.at(unit.arm), checks); }, program.stop());

  for (const auto& [name, times] : experiment.failures()) {
    std::printf("%s: %d episodes failed\n", name.c_str(), int(times));
    program.record.add({name, "failed episodes", static_cast<double>(times), 0, 1});
  }
  std::vector<JointGains> gains{both.gains(experiment, Random(program.seed))};
  if (!o.joint.second_exchange.empty()) gains.push_back(both.second_gains(experiment, Random(program.seed)));
  for (const JointGains& gain : gains) {
    std::printf("\n%s", gain.text().c_str());
    program.record.add(gain.rows());
  }
}

int main(int argc, char** argv) {
  examples::Program program("mixed_tasks", "Few-shot tasks of different kinds, trained together and each alone.");
  Settings o;
  MixtureOptions& mix = o.joint.mix;
  program.file("--data", o.data, "folder of data sets, as docs/mixed-tasks.md says; default: generated tasks");
  program.names("--tasks", o.tasks, "data sets, or alphabets of the folder's omniglot").shown = "all of these kinds";
  program.file("--sentence-model", o.sentences, "folder of an encoder that reads texts, frozen");
  program.names("--aggregate", o.joint.aggregates, "how gradients are joined, one of them chosen on validation")
      .choices = aggregators().names();
  program.word("--exchange", o.joint.exchange, exchange_names(), "what tasks post");
  examples::Option& second = program.word("--second-exchange", o.joint.second_exchange, exchange_names(),
                                          "trains jointly with this exchange, too, and compares");
  second.shown = "none", second.in_identity = false;
  program.real("--seconds", o.seconds, "of every training of all tasks, on one thread", 0, 1e6).shown = "20; full 300";
  program.whole("--rounds", o.rounds, "rounds of joint training, in the place of seconds", 0);
  program.whole("--separate-rounds", o.separate_rounds, "rounds of each task alone; 0: an equal share", 0);
  examples::Option& seeds = program.whole("--seeds", o.seeds, "of classes, episodes and initial values", 0, 1000);
  seeds.shown = "1; full 3", seeds.in_identity = false;
  program.whole("--ways", mix.ways, "classes of a test episode, or as many as the task has", 2);
  program.whole("--shots", mix.shots, "support items of each class", 1);
  program.whole("--queries", mix.queries, "queries of each class of a test episode", 1);
  program.whole("--train-ways", mix.train_ways, "classes of a training episode, or as many as the task has", 2);
  program.whole("--train-queries", mix.train_queries, "queries of each class of a training episode", 1);
  program.whole("--episodes", o.joint.episodes, "episodes of a round", 1);
  program.whole("--validations", mix.validations, "validation episodes of each task", 1);
  program.whole("--tests", mix.tests, "test episodes of each task and seed", 1);
  program.real("--learning-rate", o.joint.learning_rate, "highest rate of Adam", 1e-12, 10);
  program.word("--records", o.records, {}, "folder of what is done, gone on with if there is one").in_identity = false;
  return program.run(argc, argv, [&] { compare(program, o); });
}
