// The main job: one few-shot learner trained on many alphabets at once by the collaborative protocol, then tested on
// characters that it has never seen, beside a prototypical network and the nearest image. See docs/main-job.md.

#include "graft/data/character_split.hpp"
#include "graft/data/glyphs.hpp"
#include "graft/fewshot/nearest_support.hpp"
#include "graft/graft.hpp"
#include "graft/multitask.hpp"
#include "graft/protocol/image_exchange.hpp"
#include "program.hpp"

using namespace graft;

struct Settings {
  std::string data = "glyphs", eval, aggregate = "mean", scheduler = "uniform", exchange = "off", embedding = "conv";
  std::vector<std::string> validation;
  EpisodeOptions test{.ways = 5, .shots = 1, .queries = 15};
  Index train_ways = 20, train_queries = 5, rounds = 0, tasks = 2, tests = 600, validations = 100;
  double rate = 4e-3;
  bool ablate = false;
};

void collaborate(examples::Program& program, Settings& o) {
  const bool generated = o.data == "glyphs";
  if (generated && !o.eval.empty()) throw examples::UsageError("--eval needs --data FILE to train on");
  examples::as_usage("--tasks-per-round", [&] { check_round_size(aggregators().make(o.aggregate, o.tasks), o.tasks); });
  if (o.rounds == 0) o.rounds = program.full() ? 4000 : generated ? 1200 : 3000;
  const CharacterSplit data = generated ? split_characters(make_glyphs(), "the generated characters", o.validation)
                                        : load_character_split(o.data, o.eval, o.validation);
  o.validation = data.validation.names;
  for (const std::string& file : {o.data, o.eval}) program.keep(alphabet_names_file(file), "the alphabets' names");
  const EpisodeOptions training{o.train_ways, o.test.shots, o.train_queries};
  data.train.check("training", data.tasks, training);
  const Random root(program.seed), initial = root.stream("initialisation");
  const EpisodeSuite validation =
      draw_suite("validation", data.train, data.validation, o.test, o.validations, root.stream("validation"));
  const EpisodeSuite test = draw_suite("test", data.test, data.unseen, o.test, o.tests, root.stream("test"));

  Identity identity = program.identity();
  identity.add("training", fingerprints(data.train.images()));
  if (!o.eval.empty()) identity.add("evaluation", fingerprints(data.test.images()));
  std::vector<std::string> learners{"protonet", "collaborative"};
  if (o.ablate || program.full()) learners.insert(learners.end(), {"no-graph", "no-transformer", "no-collaboration"});
  if ((o.ablate || program.full()) && o.exchange != "off") learners.push_back("no-exchange");
  const Checkpoints checkpoints = program.open_checkpoints(identity, learners);
  if (!program.quiet) std::puts(data.text().c_str());

  // All training comes first: the test is touched once, at the end.
  HtmlReport page("Collaborative few-shot learning: " + (generated ? "generated characters" : o.data)), trainings("");
  std::vector<Function<ReportedLearner()>> results{[&]() -> ReportedLearner {
    const auto answer = [](const Episode<>& e) { return accuracy(nearest_support(e), e.query.y); };
    return {{"nearest-pixel", episode_figures(data.test, test, answer, program.stop())}};
  }};
  for (const std::string& name : learners) {
    // Without collaboration one task mixes the characters of all alphabets, drawn as often as all tasks: equal compute.
    ClassPool pool = data.tasks;
    if (name == "no-collaboration") pool = {{pool.all}, {"all alphabets"}, pool.all};
    const bool alone = name == "protonet" || name == "no-exchange" || name == "no-collaboration";
    const auto with = [&](const auto& head) {
      return make_exchange_learner(o.embedding, data.train.images().height, head, std::ssize(pool.names), o.train_ways,
                                   initial, exchange_of(alone ? "off" : o.exchange));
    };
    GraphTransformerOptions head;
    if (name == "no-graph") head.graph_layers = 0;
    if (name == "no-transformer") head.transformer_layers = 0;
    const ImageExchangeLearner learner =
        name == "protonet" ? with(ProtoNetHead()) : with(GraphTransformer<>(initial.stream("head"), head));
    const auto join = aggregators().make(o.aggregate, std::ssize(pool.names));
    const EpisodeTraining how{training, {.tasks_per_round = o.tasks, .seed = program.seed, .clip = 10}, join, o.rate,
        program.train_options(name, o.rounds), {}, {}, schedulers().make(o.scheduler, pool.sizes())};
    auto trained = train_on_episodes(learner, data.train, pool.by_alphabet, validation, how, checkpoints);
    add_training(trainings, name, trained.meter, pool.names, "accuracy");
    program.record.add(trained.meter.rows(name, pool.names, "accuracy"));
    results.push_back([&, name, trained = std::move(trained)] {
      return test_learner(name, trained, data.test, test, !program.report.empty(), program.stop(), program.ranks());
    });
  }
  MethodTable table({{"unstructured", "accuracy"}, {"within alphabet", "accuracy-within-alphabet"}}, "protonet");
  std::vector<ReportedLearner> reached;
  for (const auto& result : results) table.add(reached.emplace_back(result()).result);
  std::printf(
      "\n%d-way %d-shot, %d queries a class; %d test episodes of each kind on %zu characters of %zu alphabets,\n"
      "none of them trained on; inductive: every query is answered by itself. Accuracy in %% with 95 %% interval."
      "\n\n%s", int(o.test.ways), int(o.test.shots), int(o.test.queries), int(o.tests), data.unseen.all.size(),
      data.unseen.names.size(), table.text().c_str());
  program.record.add(table.rows());
  add_results(page.paragraph(data.text()), {"unstructured", "within alphabet"}, reached, "protonet");
  add_transfer(page, data.unseen.names, groups_of(data.unseen, test[1]), 1, reached,
               learners.size() > 2 ? "no-collaboration" : "protonet");
  program.write_report(page.add(trainings));
}

int main(int argc, char** argv) {
  examples::Program program(
      "collaborate", "Trains a few-shot learner on many alphabets together, tests it on others, beside ProtoNet.");
  Settings o;
  program.file("--data", o.data,
               "characters to train on (and test on: its split 1), an .npz file in Omniglot's layout");
  program.file("--eval", o.eval, "file whose characters are the test; then all of --data may be trained on");
  program.names("--validation", o.validation, "alphabets that choose the model instead of training it");
  program.whole("--ways", o.test.ways, "classes of a test episode", 2);
  program.whole("--shots", o.test.shots, "support images of each class", 1);
  program.whole("--queries", o.test.queries, "query images of each class of a test episode", 1);
  program.whole("--train-ways", o.train_ways, "classes of a training episode", 2);
  program.whole("--train-queries", o.train_queries, "query images of each class of a training episode", 1);
  program.whole("--rounds", o.rounds, "rounds of the protocol", 1).shown = "1200; with --data 3000; full 4000";
  program.whole("--tasks-per-round", o.tasks, "tasks (alphabets) that take part in a round", 1);
  program.word("--aggregate", o.aggregate, aggregators().names(), "how the tasks' gradients are joined");
  program.word("--scheduler", o.scheduler, schedulers().names(), "which tasks take part in a round");
  program.word("--exchange", o.exchange, exchange_names(), "what tasks tell one another");
  program.real("--learning-rate", o.rate, "highest learning rate of Adam", 1e-12, 10);
  program.word("--embedding", o.embedding, {"conv", "patch"}, "image backbone");
  program.flag("--ablate", o.ablate, "also train without graph, without Transformer, and without collaboration");
  program.whole("--validation-episodes", o.validations, "validation episodes of each kind", 1);
  program.whole("--test-episodes", o.tests, "test episodes of each kind", 1).in_identity = false;
  program.checkpoints();
  program.reports();
  return program.run(argc, argv, [&] { collaborate(program, o); });
}
