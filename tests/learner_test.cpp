// Few-shot learners chosen by name, their backbones, and how the harness trains and tests them.

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "catch.hpp"
#include "graft/fewshot.hpp"
#include "graft/graft.hpp"
#include "graft/protocol/few_shot_harness.hpp"

using namespace graft;

namespace {

std::string scratch(const std::string& name) {
  return (std::filesystem::temp_directory_path() / ("graft-learner-" + std::to_string(::getpid()) + "-" + name))
      .string();
}
template <class T>
bool same(const Tensor<T>& a, const Tensor<T>& b) {
  return a.shape() == b.shape() && std::memcmp(std::data(host(a)), std::data(host(b)), host(a).size_bytes()) == 0;
}
bool same_model(const FewShotLearner& a, const FewShotLearner& b) {
  return detail::model_fingerprint(a) == detail::model_fingerprint(b) && names(a) == names(b);
}

constexpr Index kWays = 3, kBase = 7;
LearnerSpec small(const std::string& method) {
  return {.method = method, .backbone = "mlp", .size = 256, .width = 16, .ways = kWays, .classes = kBase};
}
/// Images of 16 x 16 pixels in [0, 1], those of a class around a pattern of its own.
LabelledSet<> images(Index ways, Index each, const Random& random) {
  const Tensor<> centre = rand<float>({ways, 1, 256}, Random(9)), noise = rand<float>({ways, each, 256}, random);
  return {reshape(0.6 * centre + 0.4 * noise, {ways * each, 16, 16, 1}), episode_labels(ways, each)};
}
/// What `learner` is trained on.
Episode<> training_episode(const FewShotLearner& learner) {
  if (learner.trains() == Trains::classes) return {images(kBase, 2, Random(1)), {}, kBase};
  Episode<> episode{images(kWays, 2, Random(1)), images(kWays, 3, Random(2)), kWays};
  if (learner.needs().sees == Sees::unlabelled) episode.unlabelled = images(kWays, 2, Random(3)).x;
  return episode;
}
Tensor<> loss_of(const FewShotLearner& learner) {
  Context context(Phase::training, Random(4));
  return learner.train_loss(training_episode(learner), context);
}
/// Loss, gradient, and answers of one method.
struct Outcome {
  float loss = 0;
  FewShotLearner gradient;
  Tensor<> answers, after_adapting;
};
Outcome outcome(const std::string& method) {
  const FewShotLearner learner = make_learner(small(method), Random(5));
  auto [loss, gradient] = value_and_grad(loss_of, learner);
  const Episode<> test{images(kWays, 2, Random(6)), images(kWays, 4, Random(7)), kWays};
  return {loss.item(), gradient, learner(test, Context()), learner.adapt(test.support).predict(test.query.x)};
}

/// Vectors of `classes` classes around centres of their own.
ItemSet vectors(Index classes, Index each, Index width, float spread = 0.7f) {
  const Tensor<> centre = randn<float>({classes, 1, width}, Random(1)),
                 noise = randn<float>({classes, each, width}, Random(2));
  return vector_items(reshape(centre + spread * noise, {classes * each, width}), episode_labels(classes, each));
}
FewShotData vector_data(float spread = 0.7f) {
  return few_shot_classes(vectors(28, 20, 12, spread), ItemKind::vectors, 12, Random(3));
}
const auto maker = [](const LearnerSpec& spec, const Random& random, const Tensor<>& table) {
  return make_learner(spec, random, table);
};
HarnessOptions quick() {
  HarnessOptions o;
  o.ways = {5};
  o.shots = {1};
  o.tests = 100;
  o.rounds = 100;
  o.training.validation_episodes = 20;
  o.training.train.quiet = true;
  return o;
}
double mean_of(const std::vector<double>& figures) { return mean_interval(figures).mean; }

}  // namespace

TEST_CASE("every method of the list makes a learner", "[learner_test]") {
  for (const std::string& method : few_shot_methods().names()) {
    INFO(method);
    const FewShotLearner learner = make_learner(small(method), Random(5));
    CHECK(learner.name() == method);
    CHECK(learner.spec().size == 256);
    const Outcome found = outcome(method);
    CHECK(std::isfinite(found.loss));
    CHECK(all_finite(found.gradient));
    const bool trained = learner.trains() != Trains::nothing;
    CHECK(trained == (count(learner) > 0));
    if (trained) CHECK(norm(found.gradient).item() > 0);
    CHECK(found.answers.shape() == Shape{4 * kWays, kWays});
    CHECK(found.after_adapting.shape() == Shape{4 * kWays, kWays});
    CHECK(all_finite(found.answers));
    // An episode in one batch, and support and queries apart.
    const auto a = host(found.answers), b = host(found.after_adapting);
    for (std::size_t i = 0; i < a.size(); ++i) CHECK(a[i] == Approx(b[i]).epsilon(1e-3).margin(1e-3));
  }
}

TEST_CASE("a few-shot GNN of many ways is trained on all labels", "[learner_test]") {
  // Of 100 queries nine are drawn. Those of one label are not numbers: nor is the loss as soon as one of them is drawn.
  const FewShotGnnOptions sizes{.ways = 20, .width = 4, .layers = 1, .features = 4, .edge_hidden = 4};
  const detail::FewShotGnnInPieces head{FewShotGnn<>(Random(1), sizes)};
  const Tensor<std::int64_t> labels = episode_labels(20, 5);
  for (Index label = 0; label < 20; ++label) {
    const Tensor<> x = where(reshape(labels == label, {100, 1}), full<float>({100, 4}, NAN), ones({100, 4}));
    const Episode<> episode{{randn<float>({20, 4}, Random(2)), episode_labels(20, 1)}, {x, labels}, 20};
    int draws = 0;
    for (bool finite = true; finite && draws < 60; ++draws)
      finite = std::isfinite(head.loss(episode, Context(Phase::training, Random(3).stream("draw", draws))).item());
    INFO("label " << label);
    CHECK(draws < 60);  // each has a chance of 1 - C(95, 9) / C(100, 9) = 0.38
  }
}

TEST_CASE("a learner does not depend on the number of threads", "[learner_test]") {
  const int before = threads();
  for (const std::string& method : few_shot_methods().names()) {
    INFO(method);
    set_threads(1);
    const Outcome one = outcome(method);
    set_threads(3);
    const Outcome three = outcome(method);
    CHECK(one.loss == three.loss);
    CHECK(same_model(one.gradient, three.gradient));
    CHECK(same(one.answers, three.answers));
  }
  set_threads(before);
}

TEST_CASE("a learner that was saved and loaded answers with the same bits", "[learner_test]") {
  const std::string file = scratch("saved.npz");
  const Episode<> test{images(kWays, 2, Random(6)), images(kWays, 4, Random(7)), kWays};
  for (const std::string& method : few_shot_methods().names()) {
    INFO(method);
    const FewShotLearner learner = make_learner(small(method), Random(5));
    save_learner(file, learner, {{"note", std::string("mine")}});
    const FewShotLearner loaded = load_learner(file);
    CHECK(loaded.name() == method);
    CHECK(same_model(learner, loaded));
    CHECK(same(learner(test, Context()), loaded(test, Context())));
    CHECK(std::get<std::string>(read_checkpoint_metadata(file).at("note")) == "mine");
  }
  save_checkpoint(file, Linear<>(2, 2, Random(1)));
  CHECK_THROWS_WITH(load_learner(file), contains("not one of a few-shot learner"));
  save_checkpoint(file, Linear<>(2, 2, Random(1)),
                  {{"learner/method", std::string("none")},
                   {"learner/backbone", std::string("mlp")},
                   {"learner/size", std::int64_t{2}},
                   {"learner/entries", std::int64_t{1}},
                   {"learner/width", std::int64_t{8}},
                   {"learner/ways", std::int64_t{2}},
                   {"learner/classes", std::int64_t{2}}});
  CHECK_THROWS_AS(load_learner(file), FileError);
  CHECK_THROWS_WITH(load_learner(file), contains("protonet"));
  std::filesystem::remove(file);
  CHECK_THROWS_AS(load_learner(file), FileError);
}

TEST_CASE("bad learners are refused with the names that there are", "[learner_test]") {
  CHECK_THROWS_WITH(make_learner({.method = "protonets"}, Random(1)), contains("maml_plus_plus"));
  CHECK_THROWS_WITH(make_learner({.backbone = "conv5"}, Random(1)), contains("resnet"));
  CHECK_THROWS_WITH(make_learner({.width = 12}, Random(1)), contains("width is 12"));
  CHECK_THROWS_WITH(make_learner({.ways = 0}, Random(1)), contains("ways is 0"));
  CHECK_THROWS_WITH(make_learner({.size = 8}, Random(1)), contains("16 or more"));
  CHECK_THROWS_AS(make_learner({.backbone = "graph", .size = 3, .entries = 4}, Random(1), zeros<float>({4, 2})),
                  ShapeError);
  CHECK_THROWS_WITH(FewShotLearner().name(), contains("make_learner"));
  const FewShotLearner maml = make_learner(small("maml"), Random(1));
  CHECK(maml.embedding() == nullptr);
  CHECK_THROWS_WITH(maml.with_embedding(SameItems()), contains("maml"));
  const FewShotLearner protonet = make_learner(small("protonet"), Random(1));
  CHECK_THROWS_AS(protonet.adapt({rand<float>({4, 5}, Random(1)), episode_labels(2, 2)}), ShapeError);
  CHECK_THROWS_AS(protonet.adapt({rand<float>({2, 256}, Random(1)), tensor<std::int64_t>({0, -1})}), ValueError);
}

TEST_CASE("every backbone embeds the items that it is for", "[learner_test]") {
  const Tensor<> pictures = rand<float>({3, 28, 28, 1}, Random(1)), large = rand<float>({2, 40, 40, 1}, Random(2));
  for (const std::string& name : backbones().names()) {
    INFO(name);
    const bool looks = name == "conv4" || name == "resnet" || name == "vit";
    const BackboneOptions o{looks ? 28 : 6, 10, 24};
    const Backbone net = backbones().make(name, o, Random(3), {});
    const Tensor<> items =
        looks             ? pictures
        : name == "graph" ? from_vector(std::vector<float>{0, 9, 4}, {3, 1})
        : name == "text" ? from_vector(std::vector<float>{3, 4, 0, 0, 0, 0, 9, 9, 1, 1, 2, 3, 7, 0, 0, 0, 0, 0}, {3, 6})
                         : rand<float>({3, 6}, Random(4));
    CHECK(net(items, Context()).shape() == Shape{3, 24});
    CHECK(all_finite(net(items, Context())));
    if (!looks) continue;
    const Backbone wide = backbones().make(name, {40, 1, 24}, Random(3), {});
    CHECK(wide(large, Context()).shape() == Shape{2, 24});
    // Every image by itself: the norms look at one at a time.
    const Tensor<> all = net(pictures, Context()), one = net(slice(pictures, 0, 1, 2), Context());
    for (Index i = 0; i < 24; ++i)
      CHECK(host(all)[std::size_t(24 + i)] == Approx(host(one)[std::size_t(i)]).margin(1e-5));
  }
}

TEST_CASE("layers of backbones", "[learner_test]") {
  // A perceptron of one layer is a linear map.
  const Mlp<> map(6, 4, Random(1), {.hidden = {}});
  const Tensor<> x = randn<float>({5, 6}, Random(2));
  CHECK(same(map(x), map.layers[0](x)));
  CHECK(same(map(x), map(reshape(x, {5, 2, 3}))));
  CHECK_THROWS_AS(map(randn<float>({5, 7}, Random(2))), ShapeError);
  CHECK_THROWS_AS(Mlp<>(0, 4, Random(1)), ValueError);
  Mlp<> more(6, 4, Random(1), {.hidden = {5}});
  more.layers.push_back(Linear<>(4, 4, Random(2)));
  CHECK_THROWS_WITH(more(x), contains("Mlp: 1 norms for 2 hidden layers"));
  // Nodes: the rows of the table through the map.
  const Tensor<> table = randn<float>({7, 6}, Random(3));
  NodeEmbedding<> nodes(table, 4, Random(1));
  CHECK(same(nodes(from_vector(std::vector<float>{6, 0, 6}, {3, 1})),
             nodes.map(gather(table, tensor<std::int64_t>({6, 0, 6})))));
  CHECK(count(nodes) == count(nodes.map));
  CHECK_THROWS_AS(nodes(from_vector(std::vector<float>{7}, {1, 1})), IndexError);
  CHECK_THROWS_AS(nodes(from_vector(std::vector<float>{1, 2}, {1, 2})), ShapeError);
  // Texts: empty places change nothing, the order of words does.
  const TextEmbedding<> text(Random(4), {.vocabulary = 9, .length = 8, .width = 16});
  const auto of = [&](const std::vector<float>& ids) {
    return text(from_vector(ids, {1, static_cast<Index>(ids.size())}), Context());
  };
  const Tensor<> word = of({3, 5}), padded = of({3, 5, 0, 0}), turned = of({5, 3}), none = of({0, 0});
  for (std::size_t i = 0; i < 16; ++i) CHECK(host(word)[i] == Approx(host(padded)[i]).margin(1e-5));
  CHECK(max(abs(word - turned)).item() > 1e-4);
  CHECK(max(abs(none)).item() == 0);
  CHECK_THROWS_AS(of({9}), IndexError);
  CHECK_THROWS_AS(of(std::vector<float>(9, 1)), ShapeError);
  // A residual network of one block with weights of 0 answers with its shift: relu(0 + bias of both norms).
  ResNet12<> net(Random(5), {.channels = {8}, .groups = 2});
  auto& block = net.blocks[0];
  for (auto& layer : block.layers) layer.conv.weight = zeros<float>(layer.conv.weight.shape());
  block.shortcut.conv.weight = zeros<float>(block.shortcut.conv.weight.shape());
  block.layers.back().norm.bias = full<float>({8}, 2.0f);
  block.shortcut.norm.bias = full<float>({8}, -0.5f);
  CHECK(all(net(rand<float>({2, 4, 4, 1}, Random(6))) == full<float>({2, 8}, 1.5f)).item());
  CHECK_THROWS_AS(net(rand<float>({2, 1, 1, 1}, Random(6))), ShapeError);
  CHECK_THROWS_AS(ResNet12<>(Random(1), {.channels = {8}, .groups = 3}), ValueError);
}

TEST_CASE("heads without a training of their own take over an embedding", "[learner_test]") {
  const Episode<> test{images(kWays, 2, Random(6)), images(kWays, 4, Random(7)), kWays};
  const FewShotLearner baseline = make_learner(small("baseline"), Random(5));
  FewShotLearner simple = make_learner(small("simpleshot"), Random(6));
  CHECK(simple.trained_as() == "baseline");
  CHECK(baseline.trained_as() == "baseline");
  simple = simple.with_embedding(*baseline.embedding());
  const Tensor<> features = (*baseline.embedding())(images(kBase, 4, Random(8)).x, Context());
  const Tensor<> before = simple(test, Context());
  simple.see_base(features);
  const SimpleShotHead<> head{{mean_feature(features)}};
  const EpisodeLearner<Backbone, SimpleShotHead<>> by_hand{*baseline.embedding(), head};
  CHECK(same(simple(test, Context()), by_hand(test, Context())));
  CHECK(!same(simple(test, Context()), before));
  FewShotLearner protonet = make_learner(small("protonet"), Random(5));
  const Tensor<> answers = protonet(test, Context());
  protonet.see_base(features);  // does not ask for it
  CHECK(same(protonet(test, Context()), answers));
}

TEST_CASE("items embedded once give the accuracies of whole episodes", "[learner_test]") {
  const FewShotData data = vector_data();
  const EpisodeOptions options{4, 1, 5, 2};
  for (const char* method : {"protonet", "soft_kmeans", "tim", "baseline"}) {
    INFO(method);
    const FewShotLearner learner =
        make_learner({.method = method, .backbone = "mlp", .size = 12, .width = 16, .classes = 12}, Random(1));
    const std::vector<double> found = learner_accuracies(learner, data.test, options, 30, Random(5));
    const auto drawn = draw_episodes("test", data.test, options, 30, Random(5));
    for (std::size_t i = 0; i < drawn.size(); ++i) {
      Episode<> episode = data.test.items.episode(drawn[i]);
      if (learner.needs().sees != Sees::unlabelled) episode.unlabelled = {};
      CHECK(found[i] == Approx(accuracy(learner(episode, Context()), episode.query.y)).margin(0.051));
    }
  }
}

TEST_CASE("data sets of classes are dealt out without overlap", "[learner_test]") {
  const FewShotData data = vector_data();
  CHECK(data.train.tasks[0].size() == 12);
  CHECK(data.test.tasks[0].size() == 8);
  check_disjoint(data.test.items, data.train.tasks[0], data.test.tasks[0]);
  check_disjoint(data.test.items, data.validation.tasks[0], data.test.tasks[0]);
  check_disjoint(data.test.items, data.train.tasks[0], data.validation.tasks[0]);
  CHECK_THROWS_AS(few_shot_classes(vectors(5, 3, 2), ItemKind::vectors, 2, Random(1)), FileError);
  CHECK_THROWS_WITH(draw_episodes("test", data.test, {9, 1, 1}, 3, Random(1)), contains("9 ways"));
}

TEST_CASE("alphabets are held back from training", "[learner_test]") {
  const CharacterImages glyphs = make_glyphs({.alphabets = 8, .test_alphabets = 2, .drawers = 8});
  const auto alphabets_of = [&](const EpisodeSource& source) {
    std::vector<std::int64_t> found;
    for (const auto& task : source.tasks)
      for (const Index c : task) found.push_back(glyphs.character_alphabet[c / 4]);
    std::sort(found.begin(), found.end());
    found.erase(std::unique(found.begin(), found.end()), found.end());
    return found;
  };
  const FewShotData lake = few_shot_characters(glyphs, "glyphs", {.within = true, .held_back = 3}, Random(1));
  CHECK(alphabets_of(lake.test) == std::vector<std::int64_t>{3, 4, 5, 6, 7});  // none of the customary: the last five
  for (const std::int64_t a : alphabets_of(lake.train)) CHECK(a < 3);
  for (const std::int64_t a : alphabets_of(lake.validation)) CHECK(a < 3);
  REQUIRE(lake.runs.size() == 1);
  CHECK(lake.runs[0].second.runs == 15);
  // Runs of an alphabet that is trained on are none to be tested on.
  FewShotData known = lake;
  const CharacterClasses all(glyphs, "glyphs");
  known.runs.emplace_back(
      "given", make_lake_runs(all, {glyphs.alphabet_names[alphabets_of(lake.train)[0]]}, 2, Random(1)));
  CHECK_THROWS_WITH(FewShotHarness(known, {}, maker), contains("80 images are among those that are trained on"));
  CHECK_NOTHROW(FewShotHarness(lake, {}, maker));
  const FewShotData minimal = few_shot_characters(
      glyphs, "glyphs", {.within = true, .held_back = 1, .train_alphabets = {"glyphs_0", "glyphs_1"}}, Random(1));
  CHECK(alphabets_of(minimal.train) == std::vector<std::int64_t>{0, 1});
  CHECK(alphabets_of(minimal.validation) == std::vector<std::int64_t>{0, 1});
  // The last two of eight drawers validate.
  for (const auto& [source, low, high] : {std::tuple(&minimal.train, 0, 6), std::tuple(&minimal.validation, 6, 8)})
    for (const auto& task : source->tasks)
      for (const Index c : task)
        for (const Index image : source->items.items[c]) {
          CHECK(glyphs.drawer_id[image] >= low);
          CHECK(glyphs.drawer_id[image] < high);
        }
  CHECK_THROWS_WITH(few_shot_characters(glyphs, "glyphs", {.held_back = 1, .train_alphabets = {"glyphs_7"}}, Random(1)),
                    contains("tests on the alphabet"));
  CHECK_THROWS_WITH(few_shot_characters(glyphs, "glyphs", {.train_alphabets = {"Greek"}}, Random(1)),
                    contains("no training alphabet named 'Greek'; there are glyphs_0"));
  CHECK_THROWS_WITH(
      few_shot_characters(glyphs, "glyphs", {.held_back = 1, .held_back_alphabets = {"Greek"}}, Random(1)),
      contains("no alphabet named"));
}

TEST_CASE("nodes of a graph and texts become episodes", "[learner_test]") {
  const NodeLabels graph = make_communities(Random(1), {.nodes = 300, .classes = 6, .inside = 0.2, .outside = 0.01});
  const FewShotData nodes = few_shot_nodes(graph, "communities", Random(2));
  CHECK(nodes.entries == 300);
  CHECK(nodes.table.shape() == Shape{300, 200});
  CHECK(mean(square(nodes.table)).item() == Approx(1).epsilon(1e-3));
  HarnessOptions o = quick();
  o.ways = {2};
  o.rounds = 20;
  FewShotHarness harness(nodes, o, maker);
  CHECK(harness.spec().backbone == "graph");
  CHECK(mean_of(harness.run("protonet").means(0)) > 0.6);

  const std::string file = scratch("texts.tsv");
  std::string lines;
  for (int c = 0; c < 7; ++c)
    for (int i = 0; i < 20; ++i)
      lines += std::to_string(c) + "\tSay word" + std::to_string(c) + ", " + std::to_string(i) + "!\n";
  write_text(file, lines);
  const FewShotData texts = load_few_shot(file, "", {}, Random(3));
  CHECK(texts.kind == ItemKind::texts);
  // 0 and 1, "say", a word of each of the three training classes, and the 20 numbers.
  CHECK(texts.entries == 26);
  const Episode<> episode = texts.test.items.episode(texts.test.items.draw(texts.test.tasks[0], {2, 1, 1}, Random(1)));
  CHECK(host(episode.support.x)[1] == 1);  // a word of a test class alone
  CHECK(host(episode.support.x)[3] == 0);
  write_text(file, "0\tfine\nno number\n");
  CHECK_THROWS_WITH(load_few_shot(file, "", {}, Random(3)), contains("line 2"));
  std::filesystem::remove(file);
}

TEST_CASE("the harness trains methods and tests them on the same episodes", "[learner_test]") {
  const FewShotData data = vector_data();
  FewShotHarness harness(data, quick(), maker);
  for (const char* method : {"protonet", "baseline", "simpleshot", "maml"}) {
    INFO(method);
    const HarnessReport report = harness.run(method);
    CHECK(report.failure == "");
    CHECK(report.figures[0][0].size() == 100);
    CHECK(report.rounds == 100);
    CHECK(report.items == 200);
    CHECK(mean_of(report.means(0)) > 0.5);  // chance is 0.2
    CHECK(report.curves[0].y.size() == 10);
    CHECK(report.shares == (std::string(method) == "simpleshot" ? "baseline" : ""));
    // What comes back is what was tested.
    CHECK(learner_accuracies(report.learner, data.test, harness.settings()[0].episode, 100,
                             Random(1).stream("test", Index{0})) == report.figures[0][0]);
  }
  CHECK(harness.trainings({"protonet", "baseline", "simpleshot", "maml", "nearest_support"}) ==
        std::vector<std::string>{"protonet-12-way-seed-1", "baseline-seed-1", "maml-5-way-seed-1"});
  // Of the models of a training the one is kept that does best at the most ways.
  HarnessOptions o = quick();
  o.ways = {2, 5};
  const HarnessReport both = FewShotHarness(data, o, maker).run("protonet");
  const std::vector<double>& validated = both.curves[0].y;
  CHECK(mean_of(learner_accuracies(both.learner, data.validation, {5, 1, 10}, 20, Random(1).stream("validation"))) ==
        *std::max_element(validated.begin(), validated.end()));
  const HarnessReport hausdorff = harness.run("hausdorff");  // takes images
  CHECK(hausdorff.failure != "");
  const HarnessReport protonet = harness.run("protonet"), nearest = harness.run("nearest_support");
  const std::string table = harness_table({protonet, hausdorff, nearest}, harness.settings());
  CHECK(table.find("hausdorff failed") != std::string::npos);
  CHECK(harness_rows({protonet, hausdorff}, harness.settings()).size() == 3);
  CHECK(harness_rows({protonet}, harness.settings())[0].value == mean_of(protonet.means(0)));
  // A training that has seconds for fewer rounds than validations is named.
  CHECK(protonet.shortage == "");
  HarnessOptions short_of_time = quick();
  short_of_time.rounds = 0, short_of_time.budget = 1e-6;
  const HarnessReport hurried = FewShotHarness(data, short_of_time, maker).run("protonet");
  CHECK(hurried.rounds == 1);
  CHECK(harness_table({hurried}, harness.settings()).find("protonet-12-way-seed-1 (rounds: 1, validations: 10)") !=
        std::string::npos);
  // Beside the test the same of classes that were trained on, which moves nothing else.
  HarnessOptions with_gap = quick();
  with_gap.gap = true;
  FewShotHarness wider(data, with_gap, maker);
  const HarnessReport gap = wider.run("protonet");
  REQUIRE(wider.settings().size() == 2);
  CHECK(wider.settings()[1].metric == "accuracy on trained classes, 5-way 1-shot");
  CHECK(gap.figures[0] == protonet.figures[0]);
  CHECK(gap.figures[1][0] == learner_accuracies(gap.learner, data.train, wider.settings()[1].episode, 100,
                                                Random(1).stream("test", Index{1})));
  REQUIRE(harness_curves({protonet, nearest}).size() == 1);
  CHECK(harness_curves({protonet, nearest})[0].y == protonet.curves[0].y);
}

TEST_CASE("what is trained with one shot a class answers better with five", "[learner_test]") {
  const std::map<std::string, Index> slow{{"relation", 2000}, {"fewshot_gnn", 300}, {"in_context", 500}, {"arml", 500}};
  const FewShotData data = vector_data(1.2f);
  HarnessOptions options = quick();
  options.shots = {1, 5};
  options.training.train.validations = 2;
  for (const std::string& method : few_shot_methods().names()) {
    if (method == "hausdorff") continue;  // wants images
    INFO(method);
    options.rounds = slow.contains(method) ? slow.at(method) : 100;
    FewShotHarness harness(data, options, maker);
    const HarnessReport report = harness.run(method);
    REQUIRE(report.failure == "");
    const double one = mean_of(report.means(0)), five = mean_of(report.means(1));
    CHECK(one > 0.23);  // chance is 0.2
    CHECK(five > one);
  }
}

TEST_CASE("validation asks for no more items than its classes have", "[learner_test]") {
  CharacterProtocol minimal;
  minimal.train_alphabets = {"glyphs_0", "glyphs_1"};
  const FewShotData data = load_few_shot("glyphs", "", minimal, Random(1));  // five drawings of each validate
  HarnessOptions o = quick();
  o.queries = 10;
  o.unlabelled = 5;
  const FewShotHarness harness(data, o, maker);
  CHECK(harness.trainings({"protonet", "soft_kmeans"}).size() == 2);
}

TEST_CASE("two seeds, fixed ways, and a resumed harness", "[learner_test]") {
  const FewShotData data = vector_data();
  HarnessOptions o = quick();
  o.ways = {3, 5};
  o.rounds = 10;
  o.seeds = 2;
  FewShotHarness harness(data, o, maker);
  const HarnessReport whole = harness.run("anil");
  CHECK(whole.rounds == 20);  // of two trainings
  REQUIRE(whole.figures.size() == 2);
  CHECK(whole.figures[1].size() == 2);
  CHECK(whole.figures[1][0] != whole.figures[1][1]);
  const std::string folder = scratch("harness");
  std::filesystem::remove_all(folder);
  for (const bool resume : {false, true}) {
    FewShotHarness again(data, o, maker);
    const Checkpoints checkpoints(folder, resume, Identity(), again.trainings({"anil"}));
    CHECK(again.run("anil", checkpoints).figures == whole.figures);
  }
  // Rounds of a budget are taken once and kept.
  std::filesystem::remove_all(folder);
  o.rounds = 0;
  o.budget = 0.3;
  o.seeds = 1;
  std::vector<std::vector<std::vector<double>>> first;
  for (const bool resume : {false, true}) {
    FewShotHarness timed(data, o, maker);
    const Checkpoints checkpoints(folder, resume, Identity(), timed.trainings({"protonet"}));
    const HarnessReport report = timed.run("protonet", checkpoints);
    CHECK(report.rounds >= 1);
    if (resume) CHECK(report.figures == first);
    first = report.figures;
  }
  std::filesystem::remove_all(folder);
  CHECK_THROWS_AS(FewShotHarness(data, HarnessOptions{.ways = {}}, maker), ValueError);
  CHECK_THROWS_AS(FewShotHarness(data, HarnessOptions{.spec = {.backbone = "text"}}, maker), FileError);
}

TEST_CASE("training says what it lacks", "[learner_test]") {
  const FewShotData data = vector_data();
  const auto made = [](const char* method, Index classes) {
    return make_learner({.method = method, .backbone = "mlp", .size = 12, .width = 16, .classes = classes}, Random(1));
  };
  LearnerTraining how{.episode = {5, 1, 5}, .validation_episodes = 5, .train = {.steps = 2, .quiet = true}};
  CHECK_THROWS_WITH(train_learner(made("nearest_support", 5), data.train, data.validation, how),
                    contains("not trained"));
  CHECK_THROWS_WITH(train_learner(made("baseline", 5), data.train, data.validation, how),
                    contains("5 base classes, there are 12"));
  how.episode.ways = 13;
  CHECK_THROWS_AS(train_learner(made("protonet", 5), data.train, data.validation, how), FileError);
  CHECK_THROWS_AS(rounds_within(0, made("protonet", 5), data.train, data.validation, how), ValueError);
  const Episode<> batch = draw_class_batch(data.train, base_classes(data.train), 50, Random(2));
  CHECK(batch.support.x.shape() == Shape{50, 12});
  CHECK(batch.ways == 12);
  for (const std::int64_t label : host(batch.support.y)) CHECK((label >= 0 && label < 12));
}

TEST_CASE("training changes the images of a class alike, labelled or not, and classes apart", "[learner_test]") {
  // Twelve classes that look the same, each of eight equal images.
  const Tensor<> image = generate({16, 16}, [](Index y, Index x) { return y > 3 && x > 5 && y < x + 4 ? 1.0f : 0.0f; });
  const Tensor<> x = broadcast_to(reshape(image, {1, 16, 16, 1}), {96, 16, 16, 1});
  const EpisodeSource source{vector_items(x, episode_labels(12, 8)), {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}}, {"all"}};
  const FewShotLearner learner = make_learner(
      {.method = "soft_kmeans", .backbone = "mlp", .size = 256, .width = 16, .ways = 5, .classes = 12}, Random(1));
  const LearnerTraining how{.episode = {.ways = 5, .shots = 1, .queries = 2, .unlabelled = 2},
                            .change_classes = {.scale = 0.3, .shear = 0.5, .alpha = 60}};
  const detail::LearnerTasks tasks(learner, source, source, how, Site::current());
  const Episode<> episode = tasks.draw(0, Random(2));
  const auto of = [](const Tensor<>& images, Index i) { return slice(images, 0, i, i + 1); };
  for (Index c = 0; c < 5; ++c) {
    for (Index other = 0; other < 5; ++other)
      CHECK(same(of(episode.support.x, c), of(episode.support.x, other)) == (c == other));
    CHECK_FALSE(same(of(episode.support.x, c), of(x, 0)));
    for (Index i = 2 * c; i < 2 * c + 2; ++i) {
      CHECK(same(of(episode.query.x, i), of(episode.support.x, episode.query.y.at({i}))));
      CHECK(same(of(episode.unlabelled, i), of(episode.support.x, c)));
    }
  }
  // A batch of base classes shows them as they are.
  const detail::LearnerTasks batches(
      make_learner({.method = "baseline", .backbone = "mlp", .size = 256, .width = 16, .ways = 5, .classes = 12},
                   Random(1)),
      source, source, how, Site::current());
  CHECK(same(of(batches.draw(0, Random(2)).support.x, 0), of(x, 0)));
}

TEST_CASE("the harness refuses data that are too few before any training", "[learner_test]") {
  const FewShotData data = vector_data();
  HarnessOptions o = quick();
  o.ways = {9};
  CHECK_THROWS_WITH(FewShotHarness(data, o, maker), contains("impossible test episodes: 9 ways"));
  o = quick();
  o.queries = 19;  // and 5 unlabelled, of 20 items
  CHECK_THROWS_WITH(FewShotHarness(data, o, maker), contains("5 unlabelled"));
  o = quick();
  o.shots = {16};
  o.queries = 1;
  o.unlabelled = 0;
  FewShotHarness harness(data, o, maker);
  CHECK_THROWS_WITH(harness.trainings({"nearest_support", "protonet"}), contains("impossible training episodes"));
  CHECK(harness.trainings({"baseline"}).size() == 1);  // trains on no episodes
}
