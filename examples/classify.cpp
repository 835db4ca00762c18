// One's own items by a saved learner: a few labelled ones a class in sub-folders, and others that are one of these or
// none. See docs/classify.md.

#include "graft/data/class_folder.hpp"
#include "graft/data/few_shot_data.hpp"
#include "graft/fewshot.hpp"
#include "graft/train/open_set.hpp"
#include "learner_data.hpp"
#include "png_images.hpp"
#include "program.hpp"

using namespace graft;

struct Settings {
  std::string learner = "learner.npz", labelled, unlabelled, calibrate;
  Index episodes = 400;
  bool invert = false;
};

/// Classes that were neither trained on nor are asked about: a folder's, those that validate when a learner is trained
/// on a file, or those that validated this one.
std::pair<ItemSet, std::vector<Index>> held_back(const Settings& o, const Metadata& about, std::uint64_t seed,
                                                 const Shape& item, const auto& read) {
  if (std::filesystem::is_directory(o.calibrate)) {
    const ClassFolder more = read_class_folder(o.calibrate, item, read);
    const ItemSet set = vector_items(more.labelled.x, more.labelled.y, more.class_names, o.calibrate);
    return {set, set.all_classes()};
  }
  const bool own = o.calibrate == examples::saved(about, "data", std::string());
  const FewShotData data =
      own ? examples::data_of_learner(o.learner, about) : examples::load({.data = o.calibrate, .seed = seed});
  const bool images = data.kind == ItemKind::images;
  const Shape held = images ? Shape{data.size, data.size, 1} : Shape{data.size};
  if (!(item == held) || data.kind == ItemKind::nodes)
    fail_file(o.calibrate, {"has items ", to_string(held), ", the learner takes ", to_string(item)});
  std::vector<Index> classes;
  for (const auto& task : data.validation.tasks) classes.insert(classes.end(), task.begin(), task.end());
  return {data.validation.items, classes};
}

void classify(examples::Program& program, Settings& o) {
  if (o.labelled.empty() || o.unlabelled.empty())
    throw examples::UsageError(
        "--labelled FOLDER and --unlabelled FOLDER are needed; draw_characters makes some to try");
  const FewShotLearner learner = load_learner(o.learner);
  const LearnerSpec& spec = learner.spec();
  if (spec.backbone == "graph") fail_file(o.learner, "answers about the nodes of one graph, not about files");
  const bool images = spec.backbone != "mlp" && spec.backbone != "text";
  const Shape item = images ? Shape{spec.size, spec.size, 1} : Shape{spec.size};
  const auto read = [&](const std::string& file) { return examples::read_png(file, spec.size, o.invert); };
  const ClassFolder task = read_class_folder(o.labelled, item, read);
  const FolderItems asked = read_folder(o.unlabelled, item, read);
  const Index ways = std::ssize(task.class_names);
  if (!learner.needs().any_ways && ways != spec.ways)
    fail_file(o.labelled, {"has ", ways, " classes, but the learner was made for ", spec.ways});
  Index shots = task.items[0].size();
  for (const List<Index>& own : task.items) shots = std::min(shots, own.size());

  std::optional<Rejection> rule = load_rejection(o.learner, ways, shots);
  if (!rule || !o.calibrate.empty()) {
    const Metadata about = read_checkpoint_metadata(o.learner);
    if (o.calibrate.empty()) o.calibrate = examples::saved(about, "data", std::string(images ? "glyphs" : ""));
    if (o.calibrate.empty())
      throw examples::UsageError("--calibrate FOLDER of further classes is needed: nothing says yet when to reject");
    OutputFile::check(o.learner);
    const auto [set, classes] = held_back(o, about, program.seed, item, read);
    if (std::ssize(classes) < 2 * (ways + 1))
      fail_file(o.calibrate, {"holds back ", classes.size(), " classes; tasks of ", ways, " take ", 2 * (ways + 1)});
    const OpenSetOptions options{.ways = ways, .shots = shots, .queries = 2, .episodes = o.episodes};
    rule = calibrate_rejection(learner, set, classes, options, Random(program.seed), program.stop());
    save_rejection(o.learner, *rule);
  }
  if (!program.quiet)
    std::printf("%s on %s: %d classes with %d labelled items.\n%s\n", spec.method.c_str(), spec.backbone.c_str(),
                int(ways), int(task.labelled.y.count()), rule->text().c_str());
  for (const OpenSetFigures& f : rule->figures)
    for (const auto& [metric, value] :
         {std::pair("auroc", f.auroc), std::pair("fpr95", f.fpr95), std::pair("ece", f.ece)})
      program.record.add({f.score, metric, value, 0, rule->episodes, 0});

  const auto few = learner.adapt(task.labelled);
  const OpenSetResult answers = open_set_answers(*rule, few.predict(asked.x));
  std::size_t widest = 4;
  for (const std::string& name : asked.names) widest = std::max(widest, name.size());
  std::printf("%-*s  probability  answer\n", int(widest), "item");
  for (std::size_t i = 0; i < asked.names.size(); ++i) {
    const auto label = static_cast<std::size_t>(host(answers.labels)[i]);
    const double chance = host(answers.probabilities)[i * static_cast<std::size_t>(ways + 1) + label];
    const std::string answer = label < task.class_names.size() ? task.class_names[label] : "none of these";
    std::printf("%-*s  %11.3f  %s\n", int(widest), asked.names[i].c_str(), chance, answer.c_str());
    program.record.add({asked.names[i], answer, chance, 0, 1, 0});
  }
}

int main(int argc, char** argv) {
  examples::Program program("classify",
                            "Tells by a saved few-shot learner which of a few classes items are of, or none.");
  Settings o;
  program.file("--learner", o.learner, "what examples/fewshot saved; how it rejects is kept there, too");
  program.word("--labelled", o.labelled, {},
               "folder with a sub-folder a class: .png images, or vectors in .csv or .npz");
  program.word("--unlabelled", o.unlabelled, {}, "folder of items to be told");
  program.flag("--invert", o.invert, "images are light on dark");
  program.word("--calibrate", o.calibrate, {}, "classes held back from training, which say when to reject: a folder,")
      .shown = "a file of characters, or what the learner was validated on";
  program.whole("--episodes", o.episodes, "tasks that calibrate", 2);
  return program.run(argc, argv, [&] { classify(program, o); });
}
