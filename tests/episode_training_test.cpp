// Few-shot learners of an embedding and a head, and their training by the protocol.

#include <stdexcept>
#include <string>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "graft/data/augment.hpp"
#include "graft/data/character_classes.hpp"
#include "graft/data/graph_items.hpp"
#include "graft/graph/gin.hpp"
#include "graft/multitask.hpp"
#include "graft/nn/linear.hpp"
#include "graft/nn/mlp.hpp"
#include "graft/pretrain/rotation.hpp"
#include "graft/protocol/episode_training.hpp"
#include "graft/train/image_learner.hpp"

using namespace graft;

namespace {

struct Pixels {
  Linear<> linear;
  GRAFT_FIELDS(linear)
  Tensor<> operator()(const Tensor<>& images, Context&) const {
    return linear(reshape(images, {images.size(0), images.count() / images.size(0)}));
  }
};
using Learner = EpisodeLearner<Pixels, ProtoNetHead>;
Learner make_learner() { return {{Linear<>(256, 8, Random(1))}, {}}; }

/// The same learner, trained with a loss of its own: the cross-entropy times a factor.
struct Scaled {
  Learner learner;
  float factor = 1;
  GRAFT_FIELDS(learner)
  GRAFT_CONFIG(factor)
  Tensor<> operator()(const Episode<>& episode, Context& context) const { return learner(episode, context); }
  Tensor<> train_loss(const Episode<>& episode, Context& context) const {
    return factor * cross_entropy(learner(episode, context), episode.query.y);
  }
};

/// A learner that refuses episodes without `wanted` unlabelled items.
struct Hidden {
  Learner learner;
  Index wanted = 0;
  GRAFT_FIELDS(learner)
  GRAFT_CONFIG(wanted)
  Tensor<> operator()(const Episode<>& episode, Context& context) const {
    const Index given = episode.unlabelled.defined() ? episode.unlabelled.size(0) : 0;
    if (context.training() && given != wanted) throw std::runtime_error("unlabelled: " + std::to_string(given));
    return learner(Episode<>{episode.support, episode.query, episode.ways}, context);
  }
};

/// A character is eight pixels of full ink, the same in every drawing, amid noise of half strength.
CharacterImages patterns() {
  CharacterImages data;
  data.height = data.width = 16;
  const Random random(5);
  for (Index c = 0; c < 24; ++c) {
    data.character_alphabet.push_back(c / 6);
    const auto inked = random.stream("character").stream(static_cast<std::uint64_t>(c)).permutation(256, 8);
    for (Index d = 0; d < 8; ++d) {
      const Random noise = random.stream("drawing").stream(static_cast<std::uint64_t>(8 * c + d));
      std::vector<std::uint8_t> image;
      for (std::uint64_t i = 0; i < 256; ++i) image.push_back(static_cast<std::uint8_t>(noise.below(i, 128)));
      for (Index at : inked) image[at] = 255;
      data.images.insert(data.images.end(), image.begin(), image.end());
      data.character_id.push_back(c);
      data.alphabet_id.push_back(c / 6);
      data.drawer_id.push_back(d);
    }
  }
  data.alphabet_names = {"a", "b", "c", "d"};
  return data;
}

}  // namespace

TEST_CASE("an episode learner is its embedding and its head", "[methods][fewshot]") {
  const CharacterClasses characters(patterns(), "patterns");
  const Learner learner = make_learner();
  const Episode<> episode = characters.items().episode(characters.items().draw({0, 4, 8, 12}, {3, 2, 4}, Random(2)));
  Context context;
  const Tensor<> support = learner.embedding(episode.support.x, context),
                 query = learner.embedding(episode.query.x, context);
  // A row of a product does not depend on the other rows, so embedding all in one batch changes no bit.
  CHECK(same_bits(learner(episode, context), protonet_logits(support, episode.support.y, query, 3)));
  CHECK(names(learner) == std::vector<std::string>{"embedding.linear.weight", "embedding.linear.bias"});
}

TEST_CASE("image embeddings are as wide for images of any size", "[methods][fewshot]") {
  Context context;
  for (const std::string name : {"conv", "patch"})
    for (Index size : {16, 28, 31, 32, 48}) {
      INFO(name << " " << size);
      const ImageEmbedding embedding = make_image_embedding(name, size, Random(1));
      CHECK(embedding(rand({2, size, size, 1}, Random(2)), context).shape() == Shape{2, 64});
    }
  const ImageEmbedding conv = make_image_embedding("conv", 28, Random(1));
  const Tensor<> small = rand({2, 28, 28, 1}, Random(2)), large = rand({2, 48, 48, 1}, Random(2));
  CHECK(same_bits(conv(small, context), (*conv.conv)(small)));
  const Tensor<> maps = (*conv.conv)(large), pooled = conv(large, context);  // 3 x 3 positions
  REQUIRE(maps.shape() == Shape{2, 9 * 64});
  for (Index i = 0; i < 2; ++i)
    for (Index c = 0; c < 64; ++c) {
      double sum = 0;
      for (Index p = 0; p < 9; ++p) sum += static_cast<double>(maps.at({i, 64 * p + c}));
      CHECK(static_cast<double>(pooled.at({i, c})) == Approx(sum / 9).margin(1e-6));
    }
  // 4 x 4 pixels of 28: seven patches in a row. 31 is divided by nothing, so its one patch is the image.
  const auto patch = [](Index size) {
    return make_image_embedding("patch", size, Random(1)).patch->patches.projection.weight.size(2);
  };
  CHECK(patch(28) == 4);
  CHECK(patch(128) == 16);
  CHECK(patch(31) == 31);
  const Episode<> episode{
      {rand({2, 28, 28, 1}, Random(2)), episode_labels(2, 1)}, {rand({3, 28, 28, 1}, Random(3)), {}}, 2};
  CHECK(same_bits(make_image_learner("conv", 28, Random(1), ProtoNetHead())(episode, Context()),
                  EpisodeLearner{make_image_embedding("conv", 28, Random(1)), ProtoNetHead()}(episode, Context())));
  CHECK_THROWS_WITH(make_image_embedding("resnet", 28, Random(1)), contains("'resnet'") && contains("conv and patch"));
  CHECK_THROWS_AS(make_image_embedding("conv", 15, Random(1)), ValueError);
  CHECK_THROWS_AS(ImageEmbedding()(small, context), ValueError);
}

TEST_CASE("a learner that is trained on episodes tells their classes apart", "[train][threads]") {
  const CharacterClasses characters(patterns(), "patterns");
  const ClassPool tasks = characters.pool(true, [](Index) { return true; });
  const EpisodeOptions sizes{.ways = 5, .shots = 1, .queries = 3};
  const EpisodeSuite validation = draw_suite("validation", characters, tasks, sizes, 20, Random(1)),
                     test = draw_suite("test", characters, tasks, sizes, 40, Random(2));
  EpisodeTraining how{.episode = {.ways = 6, .shots = 1, .queries = 3},
                      .protocol = {.tasks_per_round = 2, .seed = 3},
                      .aggregator = aggregators().make("mean", 2),
                      .learning_rate = 1e-2,
                      .train = {.name = "run", .steps = 60, .validations = 4, .quiet = true}};
  const auto trained = train_on_episodes(make_learner(), characters, tasks.by_alphabet, validation, how);
  const double before = mean_figure(episode_accuracies(make_learner(), characters, test)),
               after = mean_figure(episode_accuracies(trained.model, characters, test));
  CHECK(trained.steps == 60);
  CHECK(trained.items == 120);
  CHECK(trained.figure == mean_figure(episode_accuracies(trained.model, characters, validation)));
  INFO(before << " -> " << after);
  CHECK(after > before + 0.2);  // chance is 0.2
  for (int threads : {1, 3}) {
    set_threads(threads);
    const auto again = train_on_episodes(make_learner(), characters, tasks.by_alphabet, validation, how);
    CHECK(same_bits(again.model.embedding.linear.weight, trained.model.embedding.linear.weight));
    CHECK(again.history == trained.history);
  }
  set_threads(0);
  const auto erased =
      train_on_episodes(AnyEpisodeLearner(make_learner()), characters, tasks.by_alphabet, validation, how);
  CHECK(erased.history == trained.history);
  CHECK(names(erased.model) == names(trained.model));

  CHECK_THROWS_WITH(train_on_episodes(make_learner(), characters, {}, validation, how), contains("no tasks"));
  CHECK_THAT(refusal("patterns",
                     [&] {
                       train_on_episodes(make_learner(), characters, {{0, 4}}, validation, how);
                     }),
             contains("impossible training episodes: 6 ways"));
  how.learning_rate = 1e30;  // squared distances leave the range of floats
  how.train.steps = 40;
  CHECK_THROWS_AS(train_on_episodes(make_learner(), characters, tasks.by_alphabet, validation, how), Diverged);
}

TEST_CASE("training episodes may be augmented, and a learner may have its own loss", "[train][threads]") {
  const CharacterClasses characters(patterns(), "patterns");
  const ClassPool pool = characters.pool(true, [](Index) { return true; });
  EpisodeTraining how{.episode = {.ways = 6, .shots = 1, .queries = 3},
                      .protocol = {.tasks_per_round = 2, .seed = 3},
                      .aggregator = aggregators().make("mean", 2),
                      .learning_rate = 1e-2,
                      .train = {.name = "run", .steps = 6, .validations = 1, .quiet = true}};
  const EpisodeSuite validation(1, {characters.items().draw(pool.all, {5, 1, 3}, Random(1))});
  const auto weights = [&](const auto& learner) {
    return train_on_episodes(learner, characters, pool.by_alphabet, validation, how).model;
  };
  const Tensor<> plain = weights(make_learner()).embedding.linear.weight;
  // Its own loss is what it is trained with: the cross-entropy trains as without, nothing of it trains nothing.
  CHECK(same_bits(weights(Scaled{make_learner()}).learner.embedding.linear.weight, plain));
  CHECK(same_bits(weights(Scaled{make_learner(), 0}).learner.embedding.linear.weight,
                  make_learner().embedding.linear.weight));

  AugmentOptions o;
  how.augment = [&](const Tensor<>& images, const Random& random) { return augment(images, o, random); };
  CHECK(same_bits(weights(make_learner()).embedding.linear.weight, plain));
  o.shift = 2;
  const Tensor<> moved = weights(make_learner()).embedding.linear.weight;
  CHECK_FALSE(same_bits(moved, plain));
  for (int threads : {1, 2, 3, 8}) {
    set_threads(threads);
    CHECK(same_bits(weights(make_learner()).embedding.linear.weight, moved));
  }
  set_threads(0);
  // The weights of blank images have no gradient.
  how.augment = [](const Tensor<>& images, const Random&) { return zeros<float>(images.shape()); };
  CHECK(same_bits(weights(make_learner()).embedding.linear.weight, make_learner().embedding.linear.weight));
}

TEST_CASE("learners are trained on vectors, with unlabelled items of their own pool", "[train]") {
  // Two of 256 numbers are the class's; 40 items of each of 12 classes.
  const Tensor<std::int64_t> labels = generate({480}, [](Index i) { return i % 12; });
  const Tensor<> centres = 3.0f * randn({12, 2}, Random(1)), noise = randn({480, 256}, Random(2));
  const Tensor<> x =
      concat<float>({gather(centres, labels) + slice(noise, 1, 0, 2), 2.0f * slice(noise, 1, 2, 256)}, 1);
  ItemSet set = vector_items(x, labels, {}, "vectors");
  const LabelSplit split = split_labels(set.items, 10, Random(3));
  EpisodeTraining how{.episode = {.ways = 4, .shots = 2, .queries = 5, .unlabelled = 6, .distractors = 1},
                      .protocol = {.tasks_per_round = 2, .seed = 3},
                      .aggregator = aggregators().make("mean", 2),
                      .learning_rate = 1e-2,
                      .train = {.name = "run", .steps = 150, .validations = 2, .quiet = true},
                      .unlabelled = split.unlabelled};
  const std::vector<std::vector<Index>> tasks{{0, 1, 2, 3, 4, 5}, {6, 7, 8, 9, 10, 11}};
  const EpisodeOptions asked{.ways = 4, .shots = 2, .queries = 5};
  EpisodeSuite validation(1);
  for (std::uint64_t i = 0; i < 40; ++i)
    validation[0].push_back(set.draw(set.all_classes(), asked, Random(5).stream(i)));
  ItemSet labelled = set;
  labelled.items = split.labelled;
  const auto trained = train_on_episodes(Hidden{make_learner(), 6 * 5}, labelled, tasks, validation, how);
  const double before = mean_figure(episode_accuracies(make_learner(), set, validation));
  INFO(before << " -> " << trained.figure);
  CHECK(trained.figure > before + 0.15);  // chance is 0.25
  // What every task's learner throws ends the run with its words.
  CHECK_THROWS_WITH(train_on_episodes(Hidden{make_learner(), 1}, labelled, tasks, validation, how),
                    contains("unlabelled: 30"));

  // All of this before the first round.
  how.train.steps = 1000000;
  const auto refused = [&](const EpisodeOptions& o) {
    how.episode = o;
    train_on_episodes(make_learner(), labelled, tasks, validation, how);
  };
  CHECK_THROWS_WITH(refused({.ways = 4, .shots = 2, .queries = 0}), contains("0 queries a class, whose labels"));
  CHECK_THROWS_WITH(refused({.ways = 0, .shots = 2, .queries = 1}), contains("ways >= 1"));
  CHECK_THAT(refusal("vectors", [&] { refused({.ways = 4, .shots = 8, .queries = 3}); }), contains("has 10 items"));
  CHECK_THAT(refusal("vectors", [&] { refused({.ways = 4, .shots = 2, .queries = 5, .unlabelled = 31}); }),
             contains("31 unlabelled items a class, but class 0 has 30"));
  how.episode = asked;
  validation[0][0].query[0] = 480;
  CHECK_THROWS_AS(train_on_episodes(make_learner(), labelled, tasks, validation, how), IndexError);
}

TEST_CASE("training on episodes of any origin is training on a set of items, bit for bit", "[train]") {
  const CharacterClasses characters(patterns(), "patterns");
  const ClassPool pool = characters.pool(true, [](Index) { return true; });
  EpisodeTraining how{.episode = {.ways = 6, .shots = 1, .queries = 3},
                      .protocol = {.tasks_per_round = 2, .seed = 3},
                      .aggregator = aggregators().make("mean", 2),
                      .learning_rate = 1e-2,
                      .train = {.name = "run", .steps = 6, .validations = 2, .quiet = true}};
  const EpisodeSuite validation(1, {characters.items().draw(pool.all, {5, 1, 3}, Random(1))});
  const auto by_set = train_on_episodes(make_learner(), characters, pool.by_alphabet, validation, how);
  const auto draw = [&](Index task, const Random& random) {
    const auto& classes = pool.by_alphabet[task];
    return characters.items().episode(characters.items().draw(classes, how.episode, random));
  };
  const auto validate = [&](const Learner& own) {
    return mean_figure({drawn_accuracies(own, 1, [&](Index) { return characters.items().episode(validation[0][0]); })});
  };
  const auto drawn = train_on_episodes(make_learner(), std::ssize(pool.by_alphabet), draw, validate, how);
  CHECK(same_bits(drawn.model.embedding.linear.weight, by_set.model.embedding.linear.weight));
  CHECK(drawn.history == by_set.history);
  CHECK_THROWS_WITH(train_on_episodes(make_learner(), 0, draw, validate, how), contains("no tasks"));
}

TEST_CASE("three phases of a few-shot learner: pretext, episodes of all tasks, each task's own", "[train][threads]") {
  const CharacterClasses characters(patterns(), "patterns");
  const ClassPool tasks = characters.pool(true, [](Index) { return true; });
  const EpisodeOptions sizes{.ways = 5, .shots = 1, .queries = 3};
  EpisodeSuite of_task;  // a kind each
  for (const auto& classes : tasks.by_alphabet) {
    of_task.emplace_back();
    for (Index i = 0; i < 10; ++i)
      of_task.back().push_back(characters.items().draw(classes, sizes, Random(9).stream("validation", i)));
  }
  struct Pretrained {
    Pixels encoder;
    RotationPretext<> pretext;
    GRAFT_FIELDS(encoder, pretext)
  };
  const ClassPool upright = characters.pool(false, [](Index) { return true; });
  const auto loss_on = [&](const Pretrained& own, const Random& random) {
    const Episode<> drawn = characters.items().episode(characters.items().draw(upright.all, {20, 1, 3}, random));
    Context context(Phase::training, random.stream("layers"));
    return own.pretext(own.encoder, drawn.query.x, context);
  };
  const auto options = [](const char* name, Index rounds) {
    return TrainOptions{.name = name, .steps = rounds, .validations = 3, .quiet = true};
  };
  const auto rotation = [&](const Pretrained& own) { return -static_cast<double>(loss_on(own, Random(8)).item()); };
  const auto run = [&] {
    const Pretrained start{make_learner().embedding, RotationPretext<>(8, Random(2))};
    const auto pretrained = run_pretraining(start, loss_on, rotation,
                                            {.learning_rate = 1e-2, .train = options("pretraining", 60)});
    CHECK(pretrained.figure > rotation(start) + 0.1);
    EpisodeTraining how{sizes, {.tasks_per_round = 2, .seed = 3}, MeanGradient(), 1e-2, options("together", 40)};
    const Learner encoded{pretrained.model.encoder, {}};
    auto together = train_on_episodes(encoded, characters.items(), tasks.by_alphabet, of_task, how);
    const auto answer = [&](const Learner& own, Index task, const Random& random) {
      Context context(Phase::training, random.stream("layers"));
      const ItemSet& items = characters.items();
      const Episode<> drawn = items.episode(items.draw(tasks.by_alphabet[task], sizes, random));
      return detail::answer_in_training(own, drawn, task, context);
    };
    const auto accuracy_in = [&](const Learner& own, Index task) {
      return mean_figure(episode_accuracies(own, characters, {of_task[task]}));
    };
    return std::tuple(pretrained, together,
                      adapt_tasks(together.model, std::ssize(tasks.names), answer, accuracy_in,
                                  {.learning_rate = 1e-2, .train = options("own", 10)}));
  };
  const auto same = [](const auto& one, const auto& other) {
    bool equal = true;
    for_each_parameter([&](const auto& a, const auto& b) { equal = equal && same_bits(a, b); }, one, other);
    return equal;
  };
  const auto [pretrained, together, own] = run();
  CHECK(!same(pretrained.model.encoder, make_learner().embedding));
  CHECK(!same(together.model.embedding, pretrained.model.encoder));
  CHECK(together.figure > 0.4);  // chance is 0.2
  REQUIRE(own.size() == 4);
  for (const TaskAdaptation<Learner>& one : own) {
    CHECK(one.failure.empty());
    CHECK(one.after >= one.before);
  }
  for (int threads : {1, 2, 3, 8}) {
    set_threads(threads);
    const auto [first, second, third] = run();
    CHECK(same(first.model, pretrained.model));
    CHECK(same(second.model, together.model));
    for (std::size_t task = 0; task < 4; ++task) CHECK(same(third[task].model, own[task].model));
  }
  set_threads(0);
}

TEST_CASE("whole graphs are items of episodes", "[train][graph][threads]") {
  // Rings of two colours in 7 classes, which only the edges tell apart.
  const GraphLabels necklaces = make_necklaces(Random(1), {.graphs = 140, .classes = 7});
  const ItemSet set = graph_items(necklaces, "necklaces");
  CHECK(set.classes() == 7);
  CHECK(set.items[3].size() == 20);
  const auto layers = [](Index count) {
    std::vector<Gin<Mlp<>>> own;
    for (Index l = 0; l < count; ++l)
      own.emplace_back(Mlp<>(l == 0 ? 2 : 16, 16, Random(3).stream("layer", l), {.hidden = {16}}));
    return own;
  };
  using Embedding = GraphEmbedding<Gin<Mlp<>>>;
  const auto learner_of = [&](Index depth) {
    return EpisodeLearner{Embedding({layers(depth), 2, 16, 16, Random(4)}, necklaces), ProtoNetHead()};
  };
  const EpisodeOptions sizes{.ways = 2, .shots = 5, .queries = 5};
  const Embedding embedding = learner_of(2).embedding;
  const Tensor<> some = embedding(tensor<float>({{3}, {10}, {77}}), Context());
  CHECK(some.shape() == Shape{3, 16});
  CHECK(same_bits(slice(some, 0, 1, 2), embedding(tensor<float>({{10}}), Context())));
  CHECK_THROWS_AS(embedding(tensor<float>({{140}}), Context()), IndexError);
  CHECK_THROWS_AS(embedding(tensor<float>({3, 4}), Context()), ShapeError);
  CHECK_THROWS_WITH(Embedding()(tensor<float>({{3}}), Context()), contains("has no graphs"));
  GraphLabels other = necklaces;
  other.graphs[5] = Graph(other.graphs[5].sources(), std::vector<GraphEdge>{});
  CHECK(graph_items(other, "necklaces").fingerprints != set.fingerprints);

  // Classes 0, 6 are never trained on. Without edges nothing can be learned.
  EpisodeSuite test(1);
  for (Index i = 0; i < 40; ++i) test[0].push_back(set.draw({0, 6}, sizes, Random(5).stream("test", i)));
  const auto trained = [&](Index depth) {
    const EpisodeTraining how{sizes, {.tasks_per_round = 2, .seed = 3}, MeanGradient(), 1e-2,
                              {.name = "graphs", .steps = 60, .validations = 1, .quiet = true}};
    return train_on_episodes(learner_of(depth), set, {{1, 2, 3, 4, 5}}, test, how).model;
  };
  const auto whole = trained(2);
  CHECK(mean_figure(episode_accuracies(whole, set, test)) > 0.85);
  CHECK(mean_figure(episode_accuracies(trained(0), set, test)) < 0.65);
  for (int threads : {1, 2, 3, 8}) {
    set_threads(threads);
    const auto again = trained(2);
    for_each_parameter([](const auto& a, const auto& b) { CHECK(same_bits(a, b)); }, again, whole);
  }
  set_threads(0);
}
