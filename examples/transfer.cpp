// Few-shot transfer: a trained encoder is tuned, in several ways, on 1 to 32 labelled items of each of some new
// classes. By default a small Transformer of images that was trained as a plain classifier of some alphabets'
// characters, and characters of others; or a published encoder of sentences, and texts. See docs/transfer.md.

#include "graft/data/character_folds.hpp"
#include "graft/data/glyphs.hpp"
#include "graft/data/labelled_text.hpp"
#include "graft/evaluate/curve_picture.hpp"
#include "graft/evaluate/metrics.hpp"
#include "graft/io/published.hpp"
#include "graft/io/wordpiece.hpp"
#include "graft/transfer.hpp"
#include "program.hpp"

using namespace graft;

struct Settings {
  std::string data, model;
  std::vector<std::string> tuners = {"linear_probe", "fine_tune", "lp_ft", "bitfit", "lora", "prefix", "setfit"};
  Index ways = 10, queries = 12, shots = 32, seeds = 5, pretraining = 0, steps = 100;
  double rate = 1;
};
struct Source {
  TransferEncoder encoder;
  ItemSet items;
  std::vector<Index> classes;  // that are new to the encoder
};

/// A classifier of the characters of most alphabets, without its head; the classes are those of the others.
Source glyph_source(const Settings& o, const Random& random) {
  const CharacterClasses characters(make_glyphs({.alphabets = 18, .drawers = o.shots + o.queries}), "glyphs");
  const CharacterFold parts = character_fold(characters, 0, 3, 1, Random(0).stream("folds"));
  std::vector<Index> images, shown;
  List<std::int64_t> labels;
  std::int64_t classes = 0;
  for (const Index c : parts.tasks.all) {
    if (c % 4 != 0) continue;  // not upright: each character stands at four turns
    for (const Index image : characters.items().items[c])
      images.push_back(image), shown.push_back(c), labels.push_back(classes);
    ++classes;
  }
  const LabelledSet<> base{characters.items().inputs(images, shown), from_vector(labels)};
  const BodyHead fresh{PatchTransformer<>(random.stream("body")), Linear<>()};
  Context context(Phase::training, random.stream("pre-training"));
  const TunerMethod training{FineTune{}, {.steps = int(o.pretraining), .batch = 64}};
  return {transfer_encoder(training.adapt(fresh, base, {}, context).model.body), characters.items(), parts.test.all};
}
/// A published encoder and the texts of a file.
Source text_source(const Settings& o) {
  const LabelledTexts all = load_labelled_texts(o.data);
  const TokenBatch tokens = WordPiece(o.model + "/vocab.txt").encode(all.texts, 64);
  const Tensor<std::int64_t> ids = tokens.ids * cast<std::int64_t>(tokens.mask);  // to the encoder, 0 is no token
  const ItemSet items = token_items(ids, from_vector(all.labels), all.class_names, o.data);
  return {transfer_encoder(load_bert(o.model)), items, items.all_classes()};
}

void transfer(examples::Program& program, Settings& o) {
  if (o.model.empty() != o.data.empty())
    throw examples::UsageError("--model FOLDER reads the texts of --data FILE.tsv");
  if (o.pretraining == 0) o.pretraining = program.full() ? 4000 : 1000;
  const Random random(program.seed);
  const Source source = o.data.empty() ? glyph_source(o, random.stream("source")) : text_source(o);
  o.ways = std::min(o.ways, Index{std::ssize(source.classes)});
  source.items.check("test", source.classes, {.ways = o.ways, .shots = o.shots, .queries = o.queries}, "the data");
  std::vector<double> shots;
  for (Index k = 1; k <= o.shots; k *= 2) shots.push_back(static_cast<double>(k));
  const Index kinds = std::ssize(shots);
  std::printf("\nAccuracy in %% of %d new classes, mean of %d seeds, by items of each:\n\n%-14s%9s", int(o.ways),
              int(o.seeds), "", "trained");
  for (const double k : shots) std::printf("%13d", int(k));
  std::vector<Curve> curves;
  for (const std::string& name : o.tuners) {
    const double start = program.record.seconds();
    List<double> right(kinds * o.seeds), trained(kinds * o.seeds);
    parallel_tasks(kinds * o.seeds, [&](Index i) {  // the same items for all tuners
      if (stop_requested(examples::Program::stop())) throw Stopped("graft: stopped in tuning");
      const Random own = random.stream("seed", i % o.seeds);
      const auto k = static_cast<Index>(shots[i / o.seeds]);
      const Episode<> task = source.items.episode(
          source.items.draw(source.classes, {.ways = o.ways, .shots = k, .queries = o.queries}, own.stream("task")));
      Context context(Phase::evaluation, own.stream("tuning", k));
      const TunedTask known = make_tuner({.tuner = name, .rate = o.rate, .steps = int(o.steps)})
                                  .adapt({source.encoder, {}}, task.support, {}, context);
      right[i] = accuracy(known.predict(task.query.x), task.query.y);
      trained[i] = static_cast<double>(known.trained);
    });
    std::printf("\n%-14s%9d", name.c_str(), int(trained[0]));
    curves.push_back({name, shots, {}});
    const double seconds = (program.record.seconds() - start) / static_cast<double>(kinds);
    for (Index k = 0; k < kinds; ++k) {
      const Interval of = mean_interval(std::span(right).subspan(std::size_t(k * o.seeds), std::size_t(o.seeds)));
      std::printf("  %5.1f ± %3.1f", 100 * of.mean, 100 * of.ci95);
      curves.back().y.push_back(100 * of.mean);
      const std::string items = std::to_string(int(shots[std::size_t(k)]));
      program.record.add({name, items + "_shot_accuracy", of.mean, of.ci95, o.seeds, seconds});
    }
  }
  std::printf("\n");
  if (!program.picture.empty())
    curve_picture(curves, {.x_name = "items of each new class", .y_name = "accuracy, %", .log_x = true})
        .write(program.picture);
}

int main(int argc, char** argv) {
  examples::Program program("transfer", "Tunes a trained encoder on few items of new classes, in several ways.");
  Settings o;
  program.names("--tuner", o.tuners, "what is compared").choices = tuners().names();
  program.file("--data", o.data, "texts with classes, .tsv; default: generated characters");
  program.file("--model", o.model, "folder with config.json, model.safetensors and vocab.txt of an encoder of texts");
  program.whole("--ways", o.ways, "classes of a task, at most", 2, 1000);
  program.whole("--shots", o.shots, "labelled items of each class, at most: 1, 2, 4 and so on", 1, 1000);
  program.whole("--queries", o.queries, "items of each class that are asked for", 1, 1000);
  program.whole("--seeds", o.seeds, "tasks for each number of items", 1, 1000);
  program.whole("--pretraining", o.pretraining, "steps of the encoder's training", 1).shown = "1000; full 4000";
  program.whole("--steps", o.steps, "steps of tuning", 0, 100000);
  program.real("--rate", o.rate, "factor of every tuner's learning rate", 0, 1000);
  program.pictures("file for the curves, .svg");
  return program.run(argc, argv, [&] { transfer(program, o); });
}
