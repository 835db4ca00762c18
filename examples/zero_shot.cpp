// Classes that nobody has shown: drawn characters with new combinations of attributes, animals, or texts by the names
// of their classes; and what attention over the tokens of descriptions is worth. See docs/zero-shot.md.

#include "graft/data/glyph_attributes.hpp"
#include "graft/data/labelled_text.hpp"
#include "graft/evaluate/figure_table.hpp"
#include "graft/evaluate/generalised_zero_shot.hpp"
#include "graft/graft.hpp"
#include "graft/pretrain/prompt_ensemble.hpp"
#include "graft/protocol/zero_shot.hpp"
#include "program.hpp"
#include "sentences.hpp"

using namespace graft;

struct Settings : ZeroShotTraining {
  std::vector<std::string> models = zero_shot_methods().names(), poolings = description_poolings().names();
  std::string data = "glyphs", encoder;
  Index alphabets = 12, unseen = 0, splits = 5, seeds = 2, encoder_steps = 0;
};

/// Texts by a sentence encoder, with the vectors of their classes' names in some templates as signatures.
AttributedItems read_texts(const Settings& o) {
  if (o.encoder.empty())
    throw examples::UsageError("--data: " + o.data + " holds texts, which need --encoder FOLDER, a sentence encoder");
  const LabelledTexts texts = load_labelled_texts(o.data);
  const examples::SentenceEncoder encode(o.encoder);
  AttributedItems items{o.data, encode(texts.texts), from_vector(texts.labels), {}, texts.class_names, {}};
  for (std::string& name : items.class_names) std::replace(name.begin(), name.end(), '_', ' ');
  const auto prompts = fill_templates({"{}", "a text about {}", "a question about {}"}, items.class_names);
  const Index classes = std::ssize(items.class_names);
  items.signatures = prompt_ensemble(encode(prompts), repeat(arange<std::int64_t>(classes), 3), classes);
  return items;
}

void compare(examples::Program& program, Settings o) {
  if (o.steps == 0) o.steps = program.full() ? 1000 : 300;
  if (o.encoder_steps == 0) o.encoder_steps = program.full() ? 3000 : 800;
  o.stop = program.stop();
  ZeroShotTraining of_encoder = o;
  of_encoder.steps = o.encoder_steps;
  const bool drawn = o.data == "glyphs", of_numbers = o.data.ends_with(".npz"), of_texts = !drawn && !of_numbers;
  if (of_texts) std::erase_if(o.models, [](const auto& name) { return name == "dap" || name == "iap"; });
  AttributedItems all;
  if (drawn) all = attributed_glyphs({.alphabets = o.alphabets, .test_alphabets = 0, .seed = program.seed});
  if (of_texts) all = read_texts(o);
  FigureTable table(o.models, zero_shot_metrics(), o.splits, o.seeds),
      poolings(o.poolings, {"reciprocal rank", "accuracy"}, o.splits, o.seeds);
  std::array<Index, 3> sizes{};  // classes, unseen ones, numbers of a signature
  parallel_tasks(o.splits * o.seeds, [&](Index unit) {
    const Index fold = unit / o.seeds, seed = unit % o.seeds;
    const Random draw = Random(program.seed).stream("split", fold), random = draw.stream("seed", seed);
    const AttributedItems items = of_numbers ? load_attributed_items(o.data, draw.stream("halves")) : all;
    const Index unseen = o.unseen > 0 ? o.unseen : std::max(items.classes() / 5, Index{2});
    const Random of_split = draw.stream("classes");
    const ZeroShotClasses<> classes(items.signatures, of_texts
                                                          ? split_classes(items.classes(), unseen, of_split)
                                                          : split_combinations(items.signatures, unseen, of_split));
    const ZeroShotSplit split = split_zero_shot(items.labels, classes.seen, 0.25, draw.stream("items"));
    const Tensor<> raw = attribute_features(items, split, classes, of_encoder, random.stream("encoder"));
    const Tensor<> x = of_texts ? raw : standardised(raw, split.train);
    const Tensor<std::int64_t> labels = gather(items.labels, split.train), truth = gather(items.labels, split.test);
    const ZeroShotTask task{gather(x, split.train), labels, classes, gather(x, split.test), of_texts};
    for (const std::string& name : o.models)
      table.put(name, fold, seed,
                zero_shot_metrics(zero_shot_scores(name, task, o, random.stream(name)), truth, classes.seen));
    const DescribedItems described = make_described_items(draw.stream("described"));
    for (const std::string& name : o.poolings) {
      const DescriptionFigures f = description_figures(name, described, 150, o, random.stream("poolings"));
      poolings.put(name, fold, seed, {f.reciprocal_rank, f.accuracy});
    }
    if (unit == 0) sizes = {items.classes(), unseen, classes.attributes()};
  });
  if (stop_requested(program.stop())) throw Stopped("stopped before all classes were tried");
  const Random random(program.seed);
  std::printf(
      "%d classes of %d attributes, %d unseen; %d splits of the classes x %d seeds. Chance is %.1f %% among all\n"
      "classes, %.1f %% among the unseen.\n\n%s\nDescriptions of 8 tokens, one of which tells; 50 unseen "
      "classes, chance 2 %%:\n\n%s",
      int(sizes[0]), int(sizes[2]), int(sizes[1]), int(o.splits), int(o.seeds), 100.0 / double(sizes[0]),
      100.0 / double(sizes[1]), table.text("random", random).c_str(), poolings.text("mean", random).c_str());
  program.record.add(table.rows("random", random));
  program.record.add(poolings.rows("mean", random));
}

int main(int argc, char** argv) {
  examples::Program program("zero_shot", "Classes without examples, by attributes or descriptions.");
  Settings o;
  o.steps = 0;
  program.file("--data", o.data,
               "an .npz file of items with attributes, or a .tsv file of texts (default: drawn glyphs)");
  program.file("--encoder", o.encoder, "folder of a sentence encoder: config.json, model.safetensors, vocab.txt");
  program.models(o.models);
  program.names("--poolings", o.poolings, "poolings of description tokens").choices = o.poolings;
  program.whole("--alphabets", o.alphabets, "alphabets of glyphs", 1, 200);
  program.whole("--unseen", o.unseen, "unseen classes, 0 for a fifth", 0);
  program.whole("--splits", o.splits, "splits of the classes", 1, 1000);
  program.whole("--seeds", o.seeds, "seeds a split", 1, 1000);
  program.whole("--steps", o.steps, "of training a method, 0 as the profile says", 0);
  program.whole("--encoder-steps", o.encoder_steps, "of training the encoder of drawings, 0 as the profile says", 0);
  return program.run(argc, argv, [&] { compare(program, o); });
}
