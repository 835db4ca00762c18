// The main job: one few-shot learner trained on many alphabets at once by the collaborative protocol, then tested on
// characters that it has never seen, beside a prototypical network and the nearest image. See docs/main-job.md.

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <CLI/CLI.hpp>

#include "graft/data/glyphs.hpp"
#include "graft/multitask.hpp"
#include "method_results.hpp"
#include "training.hpp"

namespace collaborate {

/// Rounds of a run without --rounds: on the embedded characters, and on a file.
constexpr Index kRounds = 1200, kRoundsOnData = 3000;

struct Options {
  std::string data, eval, json, checkpoint, aggregate = "mean", embedding = "conv";
  std::vector<std::string> validation;
  EpisodeOptions test{.ways = 5, .shots = 1, .queries = 15};
  Index train_ways = 20, train_queries = 5;
  Index rounds = 0, tasks_per_round = 2, test_episodes = 600, validation_episodes = 100;
  int threads = 0;
  std::uint64_t seed = 1;
  double learning_rate = 4e-3;
  bool resume = false, quiet = false, ablate = false;
};

/// Reads the command line. Throws CLI::ParseError, of which CallForHelp when help was asked for and printed.
Options parse(int argc, char** argv) {
  Options o;
  CLI::App app(
      "Trains a graph-attention + Transformer few-shot learner on many alphabets together and tests it on characters\n"
      "never trained on, beside prototypical networks and the nearest image. Without --data it makes its own "
      "characters.",
      "collaborate");
  app.option_defaults()->always_capture_default();
  const auto whole = [&](const char* name, auto& value, const char* text, int low, int high = 1000000000) {
    using Number = std::remove_reference_t<decltype(value)>;
    app.add_option(name, value, text)->check(CLI::Range(static_cast<Number>(low), static_cast<Number>(high)));
  };
  app.add_option("--data", o.data,
                 "characters to train on (and test on: its split 1), an .npz file in Omniglot's layout");
  app.add_option("--eval", o.eval, "file whose characters are the test; then all of --data may be trained on");
  app.add_option("--validation", o.validation, "alphabets that choose the model instead of training it")
      ->delimiter(',');
  whole("--ways", o.test.ways, "classes of a test episode", 2);
  whole("--shots", o.test.shots, "support images of each class", 1);
  whole("--queries", o.test.queries, "query images of each class of a test episode", 1);
  whole("--train-ways", o.train_ways, "classes of a training episode", 2);
  whole("--train-queries", o.train_queries, "query images of each class of a training episode", 1);
  app.add_option("--rounds", o.rounds,
                 "rounds of the protocol (default: " + std::to_string(kRounds) + "; " + std::to_string(kRoundsOnData) +
                     " with --data)")
      ->check(CLI::Range(Index{1}, Index{1000000000}))
      ->default_str("");
  whole("--tasks-per-round", o.tasks_per_round, "tasks (alphabets) that take part in a round", 1);
  app.add_option("--aggregate", o.aggregate, "how the tasks' gradients are joined")
      ->check(CLI::IsMember(aggregators().names()));
  app.add_option("--learning-rate", o.learning_rate, "highest learning rate of Adam");
  app.add_option("--embedding", o.embedding, "image backbone")->check(CLI::IsMember({"conv", "patch"}));
  app.add_flag("--ablate", o.ablate, "also train without graph, without Transformer, and without collaboration");
  whole("--test-episodes", o.test_episodes, "test episodes of each kind", 1);
  whole("--validation-episodes", o.validation_episodes, "validation episodes of each kind", 1);
  app.add_option("--seed", o.seed, "seed of everything that is drawn");
  whole("--threads", o.threads, "threads, 0 for all; results do not depend on them", 0, 4096);
  app.add_option("--checkpoint", o.checkpoint, "folder for checkpoints, made if need be");
  app.add_flag("--resume", o.resume, "continue from the checkpoints in that folder");
  app.add_option("--json", o.json, "file for the record of the run");
  app.add_flag("--quiet", o.quiet, "print the table only");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::fputs(app.help().c_str(), stdout);
    throw;
  }
  if (o.rounds == 0) o.rounds = o.data.empty() ? kRounds : kRoundsOnData;
  if (!(o.learning_rate > 0 && o.learning_rate <= 10))
    throw UsageError("--learning-rate must be above 0 and at most 10");
  if (o.resume && o.checkpoint.empty()) throw UsageError("--resume needs --checkpoint FOLDER");
  if (!o.eval.empty() && o.data.empty()) throw UsageError("--eval needs --data FILE to train on");
  return o;
}

/// The three parts of the data. `test` may be of another file than the rest.
struct Data {
  Characters train, test;
  ClassPool tasks, validation, unseen;
};

/// The alphabets that are kept for validation: the ones asked for, else the customary three of Omniglot where they are,
/// else the last three (or as many as leave one to train on) of `candidates`.
std::vector<std::string> validation_names(const Options& o, const ClassPool& candidates, const std::string& source) {
  const auto& names = candidates.names;
  const auto known = [&](const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  for (const std::string& name : o.validation)
    if (!known(name)) throw UsageError(source + ": has no training alphabet named " + name);
  if (!o.validation.empty()) return o.validation;
  const std::vector<std::string> customary{"Grantha", "N_Ko", "Japanese_(hiragana)"};
  if (std::all_of(customary.begin(), customary.end(), known)) return customary;
  const auto count = static_cast<std::ptrdiff_t>(std::min<std::size_t>(3, names.size() - 1));
  return {names.end() - count, names.end()};
}

Data load(const Options& o) {
  const std::string source = o.data.empty() ? "the embedded characters" : o.data;
  const Characters train(o.data.empty() ? make_glyphs() : load_characters(o.data), source);
  const CharacterImages& images = train.images();
  if (o.eval.empty() && images.split.empty())
    throw UsageError(source +
                     ": has no array 'vinyals_split' that says which characters are the test; give a file with --eval");
  const auto split_is = [&](Index wanted) {
    return [&images, wanted](Index c) { return images.split[static_cast<std::size_t>(c)] == wanted; };
  };
  const auto trainable = [&](Index c) { return !o.eval.empty() || split_is(0)(c); };
  const ClassPool candidates = train.pool(false, trainable);
  if (candidates.names.size() < 2)
    throw UsageError(source + ": needs two training alphabets or more, one of them for validation");
  const std::vector<std::string> chosen = validation_names(o, candidates, source);
  const auto validates = [&](Index c) {
    return std::find(chosen.begin(), chosen.end(), images.alphabet_names[train.alphabet(c)]) != chosen.end();
  };
  const ClassPool tasks = train.pool(true, [&](Index c) { return trainable(c) && !validates(c); });
  if (tasks.names.empty()) throw UsageError(source + ": no alphabet is left to train on");
  const ClassPool validation = train.pool(false, [&](Index c) { return trainable(c) && validates(c); });

  const Characters test = o.eval.empty() ? train : Characters(load_characters(o.eval), o.eval);
  if (test.images().height != images.height)
    throw UsageError(o.eval + ": images are " + std::to_string(test.images().height) + " pixels wide, those of " +
                     source + " " + std::to_string(images.width));
  const ClassPool unseen =
      o.eval.empty() ? train.pool(false, split_is(1)) : test.pool(false, [](Index) { return true; });
  if (unseen.all.empty())
    throw UsageError(source + ": has no character of split 1 to test on; give a file with --eval");
  return {train, test, tasks, validation, unseen};
}

Embedding make_embedding(const Options& o, Index size) {
  const Random random = Random(o.seed).stream("initialisation").stream("embedding");
  Embedding embedding;
  if (o.embedding == "conv")
    embedding.conv = Conv4<>(random);
  else
    embedding.patch = PatchTransformer<>(random, {.size = size});
  return embedding;
}
GraphTransformerLearner make_learner(const Options& o, Index size, const GraphTransformerOptions& head) {
  GraphTransformerOptions sizes = head;
  const Embedding embedding = make_embedding(o, size);
  Context context;
  sizes.width = embedding(zeros<float>({1, size, size, 1}), context).size(1);
  return {embedding, GraphTransformer<>(Random(o.seed).stream("initialisation").stream("head"), sizes)};
}

void run(const Options& o) {
  set_threads(o.threads);
  Record record("collaborate");
  const Data data = load(o);
  const Index size = data.train.images().height;

  const EpisodeOptions training{o.train_ways, o.test.shots, o.train_queries};
  for (std::size_t a = 0; a < data.tasks.names.size(); ++a)
    data.train.check("training", data.tasks.by_alphabet[a], training, "alphabet " + data.tasks.names[a]);
  const Random root(o.seed);
  const EpisodeSuite validation =
      draw_suite("validation", data.train, data.validation, o.test, o.validation_episodes, root.stream("validation"));
  const EpisodeSuite test = draw_suite("test", data.test, data.unseen, o.test, o.test_episodes, root.stream("test"));

  nlohmann::ordered_json options;
  const std::vector<std::pair<const char*, OptionValue>> stated{{"data", o.data.empty() ? "glyphs" : o.data},
                                                                {"eval", o.eval},
                                                                {"validation", data.validation.names},
                                                                {"ways", o.test.ways},
                                                                {"shots", o.test.shots},
                                                                {"queries", o.test.queries},
                                                                {"train-ways", o.train_ways},
                                                                {"train-queries", o.train_queries},
                                                                {"rounds", o.rounds},
                                                                {"tasks-per-round", o.tasks_per_round},
                                                                {"aggregate", o.aggregate},
                                                                {"learning-rate", o.learning_rate},
                                                                {"embedding", o.embedding},
                                                                {"validation-episodes", o.validation_episodes},
                                                                {"test-episodes", o.test_episodes},
                                                                {"seed", o.seed}};
  for (const auto& [name, value] : stated) {
    record.option(name, value);
    options[name] = nlohmann::ordered_json::parse(to_json(value));
  }
  record.add_seed(o.seed);

  TrainingPlan plan;
  plan.rounds = o.rounds;
  plan.episode = training;
  plan.protocol = {.tasks_per_round = o.tasks_per_round,
                   .seed = o.seed,
                   .clip = 10};
  plan.aggregator = aggregators().make(o.aggregate);
  plan.learning_rate = o.learning_rate;
  plan.validations = std::min(plan.validations, o.rounds);
  plan.folder = o.checkpoint;
  plan.resume = o.resume;
  plan.quiet = o.quiet;
  plan.identity = options;
  for (const char* free : {"data", "eval", "test-episodes"}) plan.identity.erase(free);  // they may move or change
  const auto bytes = std::as_bytes(std::span(data.train.images().images));
  plan.identity["data crc32"] = crc32(bytes);

  std::vector<std::string> learners{"protonet", "collaborative"};
  if (o.ablate) learners.insert(learners.end(), {"no-graph", "no-transformer", "no-collaboration"});
  if (!o.checkpoint.empty()) {
    std::error_code error;
    std::filesystem::create_directories(o.checkpoint, error);
    if (error) throw UsageError(o.checkpoint + ": cannot make the checkpoint folder: " + error.message());
    for (const std::string& name : learners) check_checkpoint(plan, name);
  }
  if (!o.json.empty()) OutputFile::check(o.json);

  if (!o.quiet)
    std::printf(
        "%zu training alphabets with %zu classes (characters at four turns), %zu characters for validation, %zu for "
        "the "
        "test\n",
        data.tasks.names.size(), data.tasks.all.size(), data.validation.all.size(), data.unseen.all.size());

  // All training comes first: the test is touched once, at the end.
  std::vector<std::function<MethodResult()>> tests;
  tests.push_back([&]() -> MethodResult {
    return {"nearest-pixel", episode_accuracies(data.test, test.unstructured, nearest_pixel_accuracy),
            episode_accuracies(data.test, test.within_alphabet, nearest_pixel_accuracy), 0};
  });
  const auto add = [&](const std::string& name, const auto& learner, const std::vector<std::vector<Index>>& tasks) {
    tests.push_back([&, name, trained = train(name, learner, data.train, tasks, validation, plan)]() -> MethodResult {
      return {name, learner_accuracies(trained.learner, data.test, test.unstructured),
              learner_accuracies(trained.learner, data.test, test.within_alphabet), trained.seconds};
    });
  };
  for (const std::string& name : learners) {
    GraphTransformerOptions head;
    if (name == "no-graph") head.graph_layers = 0;
    if (name == "no-transformer") head.transformer_layers = 0;
    // Without collaboration there is one task, whose episodes mix the characters of all alphabets; it is drawn as often
    // as all tasks together, so the compute is the same.
    std::vector<std::vector<Index>> tasks = data.tasks.by_alphabet;
    if (name == "no-collaboration") tasks = {data.tasks.all};
    if (name == "protonet")
      add(name, ProtoNetLearner{make_embedding(o, size)}, tasks);
    else
      add(name, make_learner(o, size, head), tasks);
  }
  std::vector<MethodResult> results;
  for (const auto& tested : tests) results.push_back(tested());

  std::printf(
      "\n%lld-way %lld-shot, %lld queries a class; %lld test episodes of each kind on %zu characters of %zu "
      "alphabets,\n"
      "none of them trained on; inductive: every query is answered by itself. Accuracy in %% with 95 %% interval.\n\n",
      static_cast<long long>(o.test.ways), static_cast<long long>(o.test.shots), static_cast<long long>(o.test.queries),
      static_cast<long long>(o.test_episodes), data.unseen.all.size(), data.unseen.names.size());
  print_table(results, "protonet");
  if (o.json.empty()) return;
  add_rows(record, results, "protonet");
  record.write(o.json);
}

}  // namespace collaborate

int main(int argc, char** argv) {
  const auto end_with = [](int code, std::string_view reason) {
    constexpr std::string_view library = "graft: ";
    if (reason.substr(0, library.size()) == library) reason.remove_prefix(library.size());
    std::fprintf(stderr, "collaborate: %.*s\n", static_cast<int>(reason.size()), reason.data());
    return code;
  };
  try {
    std::signal(SIGINT, [](int number) {
      collaborate::stop_requested = 1;
      std::signal(number, SIG_DFL);  // a second Ctrl-C ends at once
    });
    collaborate::run(collaborate::parse(argc, argv));
    return 0;
  } catch (const CLI::CallForHelp&) {
    return 0;
  } catch (const CLI::ParseError& error) {
    return end_with(2, error.what());
  } catch (const collaborate::UsageError& error) {
    return end_with(2, error.what());
  } catch (const graft::FileError& error) {
    return end_with(2, error.what());
  } catch (const collaborate::Stopped& error) {
    return end_with(130, error.what());
  } catch (const std::exception& error) {
    return end_with(1, error.what());
  }
}
