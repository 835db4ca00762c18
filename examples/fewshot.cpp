// One harness for all few-shot methods: the same backbone, the same seconds of training, the same test episodes. See
// docs/fewshot.md.

#include <charconv>

#include "graft/fewshot.hpp"
#include "graft/protocol/few_shot_harness.hpp"
#include "learner_data.hpp"
#include "program.hpp"

using namespace graft;

struct Settings {
  std::vector<std::string> methods{"protonet"}, ways{"5", "20"}, shots{"1", "5"};
  std::string runs, protocol = "vinyals", augment = "none", save;
  Index own_runs = 0;
  examples::DataSource from;
  HarnessOptions harness{.tests = 0, .budget = 0};
};

/// The numbers of a list option.
std::vector<Index> numbers(const std::string& option, const std::vector<std::string>& words, Index low) {
  std::vector<Index> list;
  for (const std::string& word : words) {
    Index number = 0;
    const char* const end = std::data(word) + word.size();
    const auto [stop, error] = std::from_chars(std::data(word), end, number);
    if (stop != end || error != std::errc() || number < low || number > 1000)
      throw examples::UsageError(option + ": " + word + " is no whole number from " + std::to_string(low) + " to 1000");
    list.push_back(number);
  }
  return list;
}

/// Throws UsageError for options that contradict one another; fills in what depends on others.
void settle(examples::Program& program, Settings& o) {
  using examples::UsageError;
  if (std::find(o.methods.begin(), o.methods.end(), "all") != o.methods.end()) o.methods = few_shot_methods().names();
  const bool lake = o.protocol == "lake";
  if (!o.save.empty() && o.methods.size() > 1) throw UsageError("--save: is for one method");
  if (!lake && (!o.runs.empty() || o.own_runs > 0)) throw UsageError("--runs, --own-runs: need --protocol lake");
  if (lake && !o.from.eval.empty()) throw UsageError("--eval: --protocol lake tests on alphabets of --data, or --runs");
  if (!o.save.empty()) OutputFile::check(o.save);
  o.harness.ways = numbers("--ways", o.ways, 2);
  o.harness.shots = numbers("--shots", o.shots, 1);
  if (o.harness.budget == 0) o.harness.budget = program.full() ? 300 : 20;
  if (o.harness.tests == 0) o.harness.tests = program.full() ? 1000 : 200;
  if (o.own_runs == 0) o.own_runs = program.full() ? 200 : 20;
  o.from.characters.within = o.protocol != "vinyals";
  if (lake) o.from.characters.held_back = o.own_runs;
  LearnerTraining& training = o.harness.training;
  if (o.augment == "affine") training.augment = {.degrees = 10, .scale = 0.1, .shear = 0.1, .shift = 2};
  if (o.augment == "elastic" || o.augment == "classes")
    training.augment = {.degrees = 15, .scale = 0.15, .shear = 0.2, .shift = 2, .alpha = 20};
  if (o.augment == "classes")
    training.change_classes = {.scale = 0.3, .shear = 0.5, .mirror = 0.5, .alpha = 60, .sigma = 5};
  o.from.seed = training.seed = program.seed;
  training.train = program.train_options("", 1);
}

void fewshot(examples::Program& program, Settings& o) {
  settle(program, o);
  FewShotData data = examples::load(o.from);
  if (!o.runs.empty()) data.runs.insert(data.runs.begin(), {"given runs", load_runs(o.runs)});
  FewShotHarness harness(data, o.harness, [](const LearnerSpec& spec, const Random& random, const Tensor<>& table) {
    return make_learner(spec, random, table);
  });
  Identity identity = program.identity();
  for (const auto& [name, value] : data.fingerprints()) identity.add(name, value);
  const Checkpoints checkpoints = program.open_checkpoints(identity, harness.trainings(o.methods));
  if (!program.quiet) std::printf("%s; backbone %s\n", data.split.c_str(), harness.spec().backbone.c_str());

  std::vector<HarnessReport> reports;
  for (const std::string& method : o.methods) {
    reports.push_back(harness.run(method, checkpoints));
    if (!o.save.empty() && !reports.back().failed() && leads(program.ranks()))
      save_learner(o.save, reports.back().learner, examples::about_data(o.from, data));
  }
  std::printf("\nPercent with 95 %% interval over the episodes; seeds: %d\n\n%s", int(o.harness.seeds),
              harness_table(reports, harness.settings()).c_str());
  program.record.add(harness_rows(reports, harness.settings()));
  if (std::ranges::all_of(reports, &HarnessReport::failed)) throw Error("graft: no method gave a result");
  if (const auto curves = harness_curves(reports); !program.picture.empty() && !curves.empty())
    curve_picture(curves, {.title = "Validation", .x_name = "round", .y_name = "accuracy"}).write(program.picture);
}

int main(int argc, char** argv) {
  examples::Program program("fewshot", "Trains few-shot methods for equal seconds and tests them on equal episodes.");
  Settings o;
  HarnessOptions& h = o.harness;
  std::vector<std::string> methods = few_shot_methods().names();
  methods.push_back("all");
  examples::Option& method = program.names("--method", o.methods, "what is compared, each trained in its turn");
  method.choices = methods, method.in_identity = false;
  program.word("--backbone", h.spec.backbone, backbones().names(), "what embeds items").shown = "what reads the data";
  program.file("--data", o.from.data, "characters, vectors or a graph (.npz), texts (.tsv)");
  program.file("--eval", o.from.eval, "characters to test on; then all of --data may be trained on");
  program.file("--runs", o.runs, "one-shot runs (.npz) to test on, with --protocol lake");
  program.word("--protocol", o.protocol, {"vinyals", "within", "lake"}, "episodes of all or one alphabet, or runs");
  program.names("--train-alphabets", o.from.characters.train_alphabets, "train on these alone").shown = "all others";
  program.names("--ways", o.ways, "classes of test episodes");
  program.names("--shots", o.shots, "support items of each class");
  program.whole("--queries", h.queries, "queries of each class of a test episode", 1);
  program.whole("--unlabelled", h.unlabelled, "unlabelled items a class, for methods that look at them", 0);
  program.real("--budget", h.budget, "seconds of training of a method and seed", 0, 1e9).shown = "20; full 300";
  program.whole("--rounds", h.rounds, "rounds of each training, in the place of seconds", 0);
  program.whole("--seeds", h.seeds, "trainings of each method", 1, 1000).in_identity = false;
  program.whole("--episodes", h.tests, "test episodes of each kind", 0).shown = "200; full 1000";
  program.flag("--gap", h.gap, "test on classes that were trained on, too");
  program.whole("--own-runs", o.own_runs, "runs drawn of each alphabet held back", 0).shown = "20; full 200";
  program.whole("--validation-episodes", h.training.validation_episodes, "episodes that choose the model", 1);
  program.real("--learning-rate", h.training.learning_rate, "highest learning rate of Adam", 1e-12, 10);
  program.word("--augment", o.augment, {"none", "affine", "elastic", "classes"}, "change training images");
  program.word("--save", o.save, {}, "file for the learner, of one method").in_identity = false;
  program.checkpoints();
  program.pictures("file for the learning curves, .svg");
  return program.run(argc, argv, [&] { fewshot(program, o); });
}
