// Episodes over drawings that silently ask for one of four notions: the character, who drew it, how it is turned, or
// its alphabet. What one metric, heads, conditioning and attention over the support make of it. See docs/notions.md.

#include "experiment.hpp"
#include "graft/common/backbones.hpp"
#include "graft/data/character_folds.hpp"
#include "graft/data/glyphs.hpp"
#include "graft/data/notions.hpp"
#include "graft/fewshot/mahalanobis.hpp"
#include "graft/fewshot/protonet.hpp"
#include "graft/fewshot/ridge.hpp"
#include "graft/fewshot/tadam.hpp"
#include "graft/graft.hpp"
#include "graft/multitask.hpp"
#include "graft/protocol/exchange.hpp"

using namespace graft;
using Learner = ExchangeLearner<Backbone, AnyEpisodeLearner>;

/// An embedding that is told the notion, by a second channel, and has a linear map for each.
struct Told {
  Conv4<> conv;
  Linear<> maps;
  GRAFT_FIELDS(conv, maps)
  Tensor<> operator()(const Tensor<>& x, ContextRef) const {
    const auto notion = static_cast<Index>(host(x)[1]);
    return slice(maps(conv(slice(x, 3, 0, 1))), 1, 64 * notion, 64 * notion + 64);
  }
};

Learner make_learner(const std::string& arm, Index tasks, Index ways, const Random& random) {
  const bool wide = arm.starts_with("wide_");
  const Conv4<> conv(random.stream("conv"), wide ? Conv4Options{.channels = {48, 48, 96, 96}} : Conv4Options());
  const std::string head = wide ? arm.substr(5) : arm;
  const ExchangeOptions exchange{.on = arm.ends_with("exchange"), .uniform = arm == "uniform_exchange"};
  EpisodeLearner<Backbone, AnyEpisodeLearner> own{ImageEmbedding{conv, {}},
                                                  examples::graph_transformer(arm, random.stream("head"))};
  if (head == "protonet" || head == "separate" || head == "oracle") own.head = ProtoNetHead();
  if (head == "ridge") own.head = RidgeHead<>();
  if (head == "mahalanobis") own.head = MahalanobisHead<>();
  if (head == "film")  // starts as protonet
    own = {SameItems(), Tadam(conv.blocks, {32, 32, 64, 64}, random.stream("film"), {.alpha = 1, .squared = true})};
  if (head == "oracle") own.embedding = Told{conv, Linear<>(64, 4 * 64, random.stream("maps"))};
  return {own, tasks, ways, random, exchange};
}

struct Settings : examples::ExperimentSettings {
  std::string data = "glyphs";
};

void compare(examples::Program& program, Settings& o) {
  o.by_profile(program, {2, 1, 10}, {6, 2, 180});
  const CharacterClasses characters(o.data == "glyphs" ? make_glyphs() : load_characters(o.data), o.data);
  const EpisodeOptions sizes{.ways = 4, .shots = 5, .queries = 5};
  const auto work = [&](const ExperimentUnit& unit, Index rounds, Index checks, Index tests) -> UnitResult {
    const Random random = Random(program.seed).stream("seed", unit.seed).stream("fold", unit.fold);
    const CharacterFold parts = character_fold(characters, unit.fold, 6, 3, Random(0).stream("folds"));
    const Notions trained(characters, parts.tasks), chosen(characters, parts.validation), asked(characters, parts.test);
    const auto shown = [&](Episode<> e, Notion notion) {
      if (unit.arm == "oracle")
        for (Tensor<>* x : {&e.support.x, &e.query.x})
          *x = concat<float>({*x, full<float>(x->shape(), static_cast<float>(notion))}, 3);
      return e;
    };
    const auto answers = [&](const Learner& own, const Notions& from, Notion notion, Index count, const char* name) {
      const Random draws = random.stream(name).stream(name_of(notion));
      const bool permuted = unit.arm == "permuted_labels" && &from == &asked;
      const auto draw = [&](Index i) {
        Episode<> e = shown(from.draw(notion, sizes, draws.stream("episode", i)), notion);
        return permuted ? examples::with_permuted_labels(std::move(e), draws.stream("permuted", i)) : e;
      };
      return drawn_accuracies(own, count, draw, program.stop());
    };
    std::vector<std::vector<Notion>> groups{{std::begin(kNotions), std::end(kNotions)}};  // a learner each
    if (unit.arm == "separate") groups = {{Notion::character}, {Notion::drawer}, {Notion::turn}, {Notion::alphabet}};
    UnitResult result{std::vector<std::vector<double>>(5), rounds};
    for (const std::vector<Notion>& notions : groups) {
      const Index steps = std::max(rounds / std::ssize(groups), Index{1});
      const std::vector<NotionTask> tasks = trained.even_tasks(notions);
      const Index count = std::ssize(tasks);
      EpisodeTraining how = examples::training_of(unit, random, steps, checks, 2e-3, 4);
      if (unit.arm.ends_with("grad")) how.aggregator = aggregators().make(unit.arm, count);
      const auto draw = [&](Index task, const Random& draws) {
        const NotionTask& own = tasks[task];
        return shown(trained.draw(own, sizes, draws), own.notion);
      };
      const auto validate = [&](const Learner& own) {
        std::vector<std::vector<double>> kinds;
        for (const Notion notion : notions) kinds.push_back(answers(own, chosen, notion, 25, "validation"));
        return mean_figure(kinds);
      };
      const auto best = train_on_episodes(make_learner(unit.arm, count, 4, random), count, draw, validate, how);
      result.seconds += best.seconds;
      for (const Notion notion : notions) {
        const auto own = answers(best.model, asked, notion, tests, "test");
        result.figures[0].insert(result.figures[0].end(), own.begin(), own.end());
        result.figures[1 + static_cast<std::size_t>(notion)] = own;
      }
    }
    return result;
  };
  examples::run_experiment(program, o, {"all", "character", "drawer", "turn", "alphabet"},
                           characters.items().fingerprints, work);
}

int main(int argc, char** argv) {
  examples::Program program("notions", "Few-shot episodes that ask for one of four notions without saying which.");
  Settings o;
  program.file("--data", o.data, "characters, an .npz file in Omniglot's layout");
  o.arms = {"protonet", "ridge",   "mahalanobis", "film",   "separate",
            "oracle",   "learner", "pcgrad",      "upgrad", "exchange"};
  o.controls = {"ridge", "mahalanobis", "wide_ridge", "wide_mahalanobis"};
  o.add_to(program, {"wide_protonet", "wide_ridge", "wide_mahalanobis", "no_graph", "no_transformer", "random_edges",
                     "uniform_attention", "uniform_exchange", "permuted_labels"}, 6);
  return program.run(argc, argv, [&] { compare(program, o); });
}
