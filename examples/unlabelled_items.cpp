// What unlabelled items are worth to a few-shot learner, and distractors among them: prototypes, prototypes refined by
// soft k-means, labels that spread, and a graph-attention + Transformer learner whose unlabelled nodes send messages.
// See docs/unlabelled-items.md.

#include "experiment.hpp"
#include "graft/data/character_folds.hpp"
#include "graft/data/glyphs.hpp"
#include "graft/fewshot/soft_kmeans.hpp"
#include "graft/fewshot/tpn.hpp"
#include "graft/graft.hpp"
#include "graft/train/image_learner.hpp"

using namespace graft;

/// A transductive head that is asked each query by itself: nothing leads from one to another.
struct EachAlone {
  LabelPropagationHead<> head;
  GRAFT_FIELDS(head)

  Tensor<> operator()(const Episode<>& e, ContextRef context) const { return answer_in_pieces(head, e, 1, context); }
};

AnyEpisodeLearner make_learner(const std::string& arm, Index size, const Random& random) {
  const Random head = random.stream("head");
  const auto learner = [&](const auto& made) {
    return make_image_learner("conv", size, random.stream("embedding"), made);
  };
  const auto wide = [&](const auto& made) -> AnyEpisodeLearner {
    return EpisodeLearner{Conv4<>(random.stream("embedding"), {.channels = {48, 48, 96, 96}}), made};
  };
  if (arm == "protonet") return learner(ProtoNetHead());
  if (arm == "wide_protonet") return wide(ProtoNetHead());
  if (arm == "soft_kmeans") return learner(SoftKMeans());
  if (arm == "masked_soft_kmeans") return learner(MaskedSoftKMeans<>(head));
  if (arm == "wide_masked_soft_kmeans") return wide(MaskedSoftKMeans<>(head));
  if (arm == "label_propagation") return learner(EachAlone{LabelPropagationHead<>(LabelPropagationHeadOptions{})});
  if (arm == "tpn") return learner(EachAlone{LabelPropagationHead<>(64, head)});
  if (arm == "inductive") return learner(GraphTransformer<>(head));
  return learner(examples::graph_transformer<Sees::unlabelled>(arm, head));
}

struct Settings : examples::ExperimentSettings {
  std::string data = "glyphs";
  Index large = 25;
};

void compare(examples::Program& program, Settings& o) {
  o.by_profile(program, {2, 1, 10}, {6, 2, 180});
  const CharacterClasses characters(o.data == "glyphs" ? make_glyphs() : load_characters(o.data), o.data);
  const LabelSplit labels = split_labels(characters.items().items, 2, Random(0).stream("labels"), 4);
  const auto work = [&](const ExperimentUnit& unit, Index rounds, Index checks, Index tests) -> UnitResult {
    const Random random = Random(program.seed).stream("seed", unit.seed).stream("fold", unit.fold);
    const CharacterFold parts = character_fold(characters, unit.fold, 6, 3, Random(0).stream("folds"));
    std::vector<std::vector<Index>> large = parts.test.by_alphabet;
    std::erase_if(large, [&](const auto& alphabet) { return std::ssize(alphabet) < o.large; });
    // The labelled part of an episode is the same with and without other items.
    const bool inductive = unit.arm.ends_with("protonet") || unit.arm == "inductive";
    const Index others = inductive ? 0 : 5;
    const EpisodeOptions near{.ways = 5, .shots = 1, .queries = 10, .unlabelled = others, .distractors = others},
        far{.ways = 20, .shots = 1, .queries = 10, .unlabelled = others};
    EpisodeSuite chosen(1), asked(2);
    for (Index i = 0; i < 100; ++i)
      chosen[0].push_back(characters.items().draw(parts.validation.all, near, random.stream("validation", i)));
    for (Index i = 0; i < tests; ++i) {
      asked[0].push_back(characters.items().draw(parts.test.all, near, random.stream("test", i)));
      const Random within = random.stream("within", i);
      if (large.empty()) continue;
      const auto& own = large[within.below(0, std::ssize(large))];
      asked[1].push_back(characters.items().draw(own, far, within.stream("episode")));
    }
    EpisodeTraining how = examples::training_of(unit, random, rounds, checks, 4e-3);
    how.episode = {.ways = 10, .shots = 1, .queries = 1, .unlabelled = others, .distractors = others};
    how.unlabelled = labels.unlabelled;
    ItemSet labelled = characters.items();
    labelled.items = labels.labelled;
    const auto trained = train_on_episodes(make_learner(unit.arm, characters.images().height, random), labelled,
                                           parts.tasks.by_alphabet, chosen, how);
    return {examples::test_accuracies(unit, trained.model, characters, asked, random), rounds, trained.seconds};
  };
  examples::run_experiment(program, o, {"5-way 1-shot", "20-way within an alphabet"}, characters.items().fingerprints,
                           work);
}

int main(int argc, char** argv) {
  examples::Program program(
      "unlabelled_items",
      "Few-shot learners that see unlabelled items, on six folds of alphabets: what the items are worth.");
  Settings o;
  program.file("--data", o.data, "characters, an .npz file in Omniglot's layout");
  program.whole("--large", o.large, "characters of an alphabet that 20-way episodes are drawn within", 20);
  o.arms = {"protonet", "masked_soft_kmeans", "soft_kmeans",   "label_propagation",
            "tpn",      "learner",            "wide_protonet", "wide_masked_soft_kmeans"};
  o.controls = {"masked_soft_kmeans", "wide_masked_soft_kmeans"};
  o.add_to(program,
           {"inductive", "no_graph", "no_transformer", "random_edges", "uniform_attention", "permuted_labels"}, 6);
  return program.run(argc, argv, [&] { compare(program, o); });
}
