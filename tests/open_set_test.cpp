// "None of these": features and answers by hand, fits with a known minimum, rules in files.

#include <array>
#include <cmath>
#include <vector>

#include "catch.hpp"
#include "files.hpp"
#include "graft/fewshot/episode_learner.hpp"
#include "graft/fewshot/protonet.hpp"
#include "graft/train/open_set.hpp"
#include "messages.hpp"

using namespace graft;

namespace {

/// Answers to `each` queries of either kind from normal logits of 3 ways: the known ones' label is raised by `raise`.
OpenSetAnswers noisy_answers(Index each, double raise, const Random& random) {
  const auto labels = generate({each}, [](Index i) { return i % 3; });
  return {randn({each, 3}, random.stream("known")) + raise * one_hot<float>(labels, 3), labels,
          randn({each, 3}, random.stream("unknown"))};
}
/// How much a score's chance of a known item minus its share may be off: it is fitted, so it is right on average.
double mean_of(const Tensor<double>& x) { return mean(x).item(); }

/// Items are vectors around the corners of a cube, `each` a corner.
ItemSet corners(Index classes, Index each, double noise) {
  const auto labels = episode_labels(classes, each);
  const Tensor<> centres = generate({classes, 6}, [](Index i) { return static_cast<float>(i / 6 >> i % 6 & 1); });
  return vector_items(gather(centres, labels, 0) + noise * randn({classes * each, 6}, Random(3)), labels);
}
struct Same {
  GRAFT_FIELDS()
  Tensor<> operator()(const Tensor<>& x, Context&) const { return x; }
};
/// A learner as calibrate_rejection asks for one.
struct Nearest {
  AdaptedLearner<Same, ProtoNetHead, float> adapt(const LabelledSet<>& support) const {
    return HeadMethod<ProtoNetHead>().adapt(EpisodeLearner<Same, ProtoNetHead>(), support);
  }
};

}  // namespace

TEST_CASE("features of logits by hand", "[train]") {
  const Tensor<double> f = open_set_features(tensor<float>({{1, 3, 0}, {2, 2, 2}, {1e6f, 1e6f - 1, 1e6f - 2}}));
  REQUIRE(f.shape() == Shape{3, 4});
  const std::array<double, 12> expected = {
      3,   2, 3 - std::log(std::exp(1.) + std::exp(3.) + 1), 2.5, 2, 0, -std::log(3.), 0,
      1e6, 1, -std::log(1 + std::exp(-1.) + std::exp(-2.)),  1.5};
  for (std::size_t i = 0; i < 12; ++i) {
    INFO(i);
    CHECK(host(f)[i] == Approx(expected[i]).epsilon(1e-14).margin(1e-14));
  }
  CHECK(open_set_features(zeros<float>({0, 3})).shape() == Shape{0, 4});
  CHECK_THROWS_AS(open_set_features(zeros<float>({4, 1})), ShapeError);
  CHECK_THROWS_AS(open_set_features(zeros<float>({4})), ShapeError);
  CHECK(message<ValueError>([] {
          open_set_features(tensor<float>({{0, 1}, {NAN, 0}}));
        }).find("query 1") != std::string::npos);
}

TEST_CASE("a rule's chances are a logistic regression's: right on average, of known and unknown alike", "[train]") {
  // At the minimum of a logistic loss with a bias the mean chance of known is the share of known items, a half. A ridge
  // of 1e-4 moves it by less than the tolerance.
  const OpenSetAnswers one = noisy_answers(1500, 3, Random(1)), other = noisy_answers(1500, 3, Random(2));
  const Rejection rule = fit_rejection(one, other);
  double known = 0, unknown = 0;
  for (const OpenSetAnswers* half : {&one, &other}) {
    const auto none = [&](const Tensor<>& logits) {
      return mean_of(slice(open_set_answers(rule, logits).probabilities, 1, 3, 4));
    };
    known += 0.5 * (1 - none(half->known));
    unknown += 0.5 * (1 - none(half->unknown));
  }
  CHECK(0.5 * (known + unknown) == Approx(0.5).margin(1e-3));
  CHECK(known > unknown + 0.2);

  // 95 % of the known queries are accepted, by definition; classes and "none" share one.
  Index accepted = 0, right = 0;
  for (const OpenSetAnswers* half : {&one, &other}) {
    const OpenSetResult result = open_set_answers(rule, half->known);
    const Tensor<double> total = sum(result.probabilities, {1});
    for (Index i = 0; i < 1500; ++i) {
      const auto at = static_cast<std::size_t>(i);
      accepted += host(result.labels)[at] < 3;
      right += host(result.labels)[at] == host(half->labels)[at];
      CHECK(std::abs(host(total)[at] - 1) < 1e-12);
    }
  }
  CHECK(accepted >= 2850);
  CHECK(accepted <= 2860);
  CHECK(right < accepted);

  REQUIRE(rule.figures.size() == 4);
  for (const OpenSetFigures& f : rule.figures) {
    INFO(f.score);
    CHECK(f.auroc > 0.7);
    CHECK(f.fpr95 < 0.9);
    CHECK(f.ece < 0.05);  // chances that are fitted to as many queries are true ones
    CHECK(f.auroc <= rule.figures[0].auroc + 0.01);
  }
  CHECK(rule.text().find("maximum logit") != std::string::npos);
}

TEST_CASE("the figures of a single score are rejection_figures of it", "[train]") {
  const OpenSetAnswers one = noisy_answers(400, 2, Random(3)), other = noisy_answers(300, 2, Random(4));
  const Rejection rule = fit_rejection(one, other);
  const auto of = [&](const OpenSetAnswers& half, auto score) {
    return rejection_figures(score(half.known), score(half.unknown));
  };
  const auto check = [&](std::size_t place, const char* name, auto score) {
    const RejectionFigures a = of(one, score), b = of(other, score);
    INFO(name);
    CHECK(rule.figures[place].score == name);
    CHECK(rule.figures[place].auroc == Approx(0.5 * (a.auroc + b.auroc)).epsilon(1e-4));
    CHECK(rule.figures[place].fpr95 == Approx(0.5 * (a.fpr95 + b.fpr95)).epsilon(1e-2));
  };
  check(1, "maximum logit", [](const Tensor<>& z) { return max(z, {1}); });
  check(2, "maximum softmax", [](const Tensor<>& z) { return max(softmax(z, 1), {1}); });
  check(3, "energy", [](const Tensor<>& z) { return logsumexp(z, {1}); });
}

TEST_CASE("a rule that separates, one that cannot, and one of a single direction", "[train]") {
  // Known queries at (9, 0) or (0, 9) with one mistake, unknown ones at (1, 0): every score separates.
  const OpenSetAnswers apart{tensor<float>({{9, 0}, {0, 9}, {9, 0}, {0, 9}}), tensor<std::int64_t>({0, 1, 0, 0}),
                             tensor<float>({{1, 0}, {0, 1}})};
  const Rejection rule = fit_rejection(apart, apart);
  for (const OpenSetFigures& f : rule.figures) {
    CHECK(f.auroc == 1);
    CHECK(f.fpr95 == 0);
  }
  CHECK(same_bits(open_set_answers(rule, tensor<float>({{9, 0}, {0, 9}, {1, 0}})).labels,
                  tensor<std::int64_t>({0, 1, 2})));
  // Guo et al.'s temperature: three of four right with 9 / T between the logits, so softmax is 3/4.
  CHECK(rule.temperature == Approx(9 / std::log(3.)).epsilon(1e-6));

  // Equal logits of known and unknown: nothing can be told, no weight is given, the chance is a half.
  const OpenSetAnswers alike{apart.known, apart.labels, apart.known};
  const Rejection none = fit_rejection(alike, alike);
  for (const OpenSetFigures& f : none.figures) CHECK(f.auroc == 0.5);
  for (const double weight : none.weights) CHECK(std::abs(weight) < 1e-9);
  CHECK(std::abs(none.bias) < 1e-9);

  // All answers right: no temperature is best, 1 is taken.
  OpenSetAnswers right = apart;
  right.labels = tensor<std::int64_t>({0, 1, 0, 1});
  CHECK(fit_rejection(right, right).temperature == 1);
}

TEST_CASE("answers that no rule can be made of are refused", "[train]") {
  const OpenSetAnswers good = noisy_answers(30, 2, Random(5));
  const auto with = [&](auto change) {
    OpenSetAnswers bad = good;
    change(bad);
    return [bad, good] { fit_rejection(good, bad); };
  };
  CHECK_THROWS_AS(with([](auto& a) { a.unknown = zeros<float>({4, 2}); })(), ShapeError);
  CHECK_THROWS_AS(with([](auto& a) { a.unknown = zeros<float>({0, 3}); })(), ShapeError);
  CHECK_THROWS_AS(with([](auto& a) { a.labels = a.labels + 1; })(), IndexError);
  CHECK_THROWS_AS(with([](auto& a) { a.known = a.known * INFINITY; })(), ValueError);
  CHECK_THROWS_AS(with([](auto& a) { a.unknown = a.unknown * NAN; })(), ValueError);
  CHECK_THROWS_AS(with([](auto& a) { a.known = zeros<float>({30, 3}); })(), ValueError);
  const Rejection rule = fit_rejection(good, good);
  CHECK_THROWS_AS(open_set_answers(rule, zeros<float>({2, 4})), ShapeError);
  CHECK_THROWS_AS(open_set_answers(rule, tensor<float>({{0, 1, NAN}})), ValueError);
}

TEST_CASE("a learner is calibrated on classes that are not its task's", "[train]") {
  const ItemSet set = corners(24, 8, 0.3);
  const OpenSetOptions options{.ways = 3, .shots = 2, .unknown = 4, .queries = 3, .episodes = 60};
  const Rejection rule = calibrate_rejection(Nearest(), set, set.all_classes(), options, Random(1));
  CHECK((rule.ways == 3 && rule.shots == 2 && rule.episodes == 60 && rule.classes == 24));
  CHECK(rule.figures[0].auroc > 0.8);
  for (const int threads : {1, 3}) {
    set_threads(threads);
    const Rejection again = calibrate_rejection(Nearest(), set, set.all_classes(), options, Random(1));
    CHECK((again.weights == rule.weights && again.bias == rule.bias && again.threshold == rule.threshold));
  }
  set_threads(0);

  // A task of further corners: an item at a corner of the task, and one far from all.
  const auto few = Nearest().adapt(
      {tensor<float>({{0, 0, 0, 0, 0, 0}, {1, 1, 1, 0, 0, 0}, {0, 0, 1, 1, 0, 0}}), tensor<std::int64_t>({0, 1, 2})});
  Rejection of_task = rule;
  const OpenSetResult result = open_set_answers(
      of_task, few.predict(tensor<float>({{1, 1, 1, 0, 0, 0}, {0, 0, 0, 0, 0, 0}, {5, -5, 5, -5, 5, -5}})));
  CHECK(same_bits(result.labels, tensor<std::int64_t>({1, 0, 3})));

  const auto refused = [&](OpenSetOptions o, Index classes) {
    return message<ValueError>([&] {
      std::vector<Index> some = set.all_classes();
      some.resize(classes);
      calibrate_rejection(Nearest(), set, some, o, Random(1));
    });
  };
  CHECK(refused(options, 7).find("need 8 or more") != std::string::npos);
  CHECK(refused({.ways = 1}, 24).find("1 ways") != std::string::npos);
  CHECK(refused({.episodes = 1}, 24).find("1 episodes") != std::string::npos);
  CHECK(file_error([&] {
          calibrate_rejection(Nearest(), set, set.all_classes(), {.ways = 3, .shots = 7, .queries = 2}, Random(1));
        }).find("8 items") != std::string::npos);
  StopFlag stop;
  stop.request();
  CHECK_THROWS_AS(calibrate_rejection(Nearest(), set, set.all_classes(), options, Random(1), &stop), Stopped);
}

TEST_CASE("rules lie beside a learner in its file", "[train][io]") {
  const Folder folder;
  const std::string path = folder / "learner.npz";
  const Tensor<> weights = tensor<float>({1, 2});
  save_checkpoint(path, weights, {{"kept", std::string("text")}});
  CHECK_FALSE(load_rejection(path, 3, 0));

  Rejection rule = fit_rejection(noisy_answers(60, 2, Random(6)), noisy_answers(60, 2, Random(7)));
  rule.shots = 2;
  rule.episodes = 9;
  rule.classes = 11;
  save_rejection(path, rule);
  Rejection second = rule;
  second.shots = 5;
  second.threshold = 0.25;
  save_rejection(path, second);
  const std::optional<Rejection> read = load_rejection(path, 3, 2);
  REQUIRE(read);
  CHECK((read->weights == rule.weights && read->bias == rule.bias && read->threshold == rule.threshold));
  CHECK((read->temperature == rule.temperature && read->score == rule.score && read->episodes == 9));
  CHECK((read->classes == 11 && read->ways == 3 && read->shots == 2));
  CHECK(read->text() == rule.text());
  CHECK(load_rejection(path, 3, 5)->threshold == 0.25);
  CHECK_FALSE(load_rejection(path, 5, 2));
  Tensor<> loaded = zeros<float>({2});
  CHECK(std::get<std::string>(load_checkpoint(path, loaded).at("kept")) == "text");
  CHECK(same_bits(loaded, weights));

  // A part that is missing is said.
  ArrayFile file = read_npz(path);
  file.arrays.erase("@meta/rejection/3-way 2-shot/bias");
  write_npz(path, file.arrays);
  CHECK(refusal(path, [&] { load_rejection(path, 3, 2); }).find("bias") != std::string::npos);
  put(path, "nothing");
  refusal(path, [&] { save_rejection(path, rule); });
}
