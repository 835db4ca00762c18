// What an encoder of images learns without labels is worth to a few-shot learner: characters of alphabets that nobody
// has seen, told apart by an encoder that was never trained, that was pre-trained by one of the objectives of
// graft/pretrain.hpp, or that was trained on episodes with labels. See docs/pretrain.md.

#include "experiment.hpp"
#include "graft/data/character_folds.hpp"
#include "graft/data/glyphs.hpp"
#include "graft/fewshot/episode_learner.hpp"
#include "graft/fewshot/protonet.hpp"
#include "graft/fewshot/simpleshot.hpp"
#include "graft/graft.hpp"
#include "graft/multitask.hpp"
#include "graft/pretrain.hpp"
#include "graft/protocol/episode_training.hpp"

using namespace graft;

/// Images of some classes, without their labels.
struct Unlabelled {
  const ItemSet& set;
  std::vector<Index> items, classes;

  Unlabelled(const ItemSet& all, const std::vector<Index>& of) : set(all) {
    for (const Index c : of)
      for (const Index item : all.items[c]) {
        items.push_back(item);
        classes.push_back(c);
      }
  }
  /// `count` of them, each drawn from all.
  Tensor<> draw(Index count, const Random& random) const {
    std::vector<Index> chosen, shown;
    for (Index i = 0; i < count; ++i) {
      const auto at = static_cast<std::size_t>(random.below(static_cast<std::uint64_t>(i), std::ssize(items)));
      chosen.push_back(items[at]);
      shown.push_back(classes[at]);
    }
    return set.inputs(chosen, shown);
  }
};

struct Settings : examples::ExperimentSettings {
  std::string data = "glyphs";
  Index batch = 64;
  double rate = 3e-3;
};

/// An encoder of an arm, and the seconds of its training.
std::pair<Backbone, double> train_encoder(const std::string& arm, const Settings& o, const CharacterClasses& characters,
                                          const CharacterFold& parts, const Unlabelled& images, Index rounds,
                                          const Random& random) {
  const BackboneOptions sizes{.size = characters.images().height};
  const Backbone start = backbones().make("conv4", sizes, random.stream("encoder"), {});
  const ProtocolOptions protocol{.tasks_per_round = 2, .seed = random.bits(0), .clip = 10};
  const TrainOptions how{arm, rounds, 1, 0, true, {}, examples::Program::stop()};  // the last model is taken
  if (arm == "random") return {start, 0};
  if (arm == "supervised") {
    const EpisodeTraining training{{.ways = 10, .shots = 1, .queries = 2},
                                   protocol,
                                   aggregators().make("mean", std::ssize(parts.tasks.names)),
                                   o.rate,
                                   how};
    const auto trained = train_on_episodes(EpisodeLearner<Backbone, ProtoNetHead>{start, {}}, characters.items(),
                                           parts.tasks.by_alphabet, EpisodeSuite(), training);
    return {trained.model.embedding, trained.seconds};
  }
  const Pretraining model{start, image_pretexts().make(arm, sizes, random.stream("pretext"))};
  const auto objective = [&](const Pretraining& m, const Random& r) {
    return m(images.draw(o.batch, r.stream("images")), Context(Phase::training, r.stream("training")));
  };
  const auto trained = run_pretraining(model, objective, [](const Pretraining&) { return 1.0; },
                                       {.protocol = protocol, .learning_rate = o.rate, .train = how});
  return {trained.model.encoder, trained.seconds};
}

void compare(examples::Program& program, Settings& o) {
  o.by_profile(program, {2, 1, 10}, {6, 2, 120});
  const CharacterClasses characters(o.data == "glyphs" ? make_glyphs() : load_characters(o.data), o.data);
  const auto work = [&](const ExperimentUnit& unit, Index rounds, Index, Index tests) -> UnitResult {
    const Random random = Random(program.seed).stream("seed", unit.seed).stream("fold", unit.fold);
    const CharacterFold parts = character_fold(characters, unit.fold, 6, 3, Random(0).stream("folds"));
    std::vector<Index> upright = parts.tasks.all;
    std::erase_if(upright, [](Index c) { return c % 4 != 0; });
    const Unlabelled images(characters.items(), upright);
    const auto [encoder, seconds] = train_encoder(unit.arm, o, characters, parts, images, rounds, random);
    EpisodeSuite asked(2);
    for (Index i = 0; i < tests; ++i)
      for (const Index shots : {1, 5})
        asked[shots == 5].push_back(characters.items().draw(parts.test.all, {.ways = 5, .shots = shots, .queries = 10},
                                                            random.stream("test", i).stream(shots == 5)));
    // Cosines to the mean feature of the training images, the same for every arm.
    const Tensor<> features = encoder(images.draw(512, random.stream("base")), Context());
    const EpisodeLearner<Backbone, SimpleShotHead<>> learner{encoder, {.base_mean = {mean_feature(features)}}};
    return {episode_accuracies(learner, characters, asked, program.stop()), unit.arm == "random" ? 0 : rounds, seconds};
  };
  examples::run_experiment(program, o, {"5-way 1-shot", "5-way 5-shot"}, characters.items().fingerprints, work);
}

int main(int argc, char** argv) {
  examples::Program program("pretraining",
                            "Few-shot accuracy of encoders that were pre-trained without labels, in equal time.");
  Settings o;
  program.file("--data", o.data, "characters, an .npz file in Omniglot's layout");
  program.whole("--batch", o.batch, "images of a step of pre-training", 2, 10000);
  program.real("--rate", o.rate, "the highest learning rate", 0, 1);
  o.arms = {"random", "rotation", "masked_images", "denoising", "contrastive", "supervised"};
  o.controls = {"random"};
  o.tests = 300;
  o.add_to(program, {}, 6);
  return program.run(argc, argv, [&] { compare(program, o); });
}
