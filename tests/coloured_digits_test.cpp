// Digits of several domains: drawn, coloured, turned; parts and batches of a domain; the rules by which a model for an
// unseen domain is chosen.

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "graft/data/coloured_digits.hpp"
#include "graft/data/drawn_digits.hpp"
#include "graft/evaluate/domain_results.hpp"
#include "graft/evaluate/domain_selection.hpp"
#include "graft/ops/compare.hpp"
#include "graft/ops/prototypes.hpp"
#include "graft/ops/reduce.hpp"

using namespace graft;

namespace {

/// Image i of 2 x 2 pixels is all of ink i + 1, a digit i % 10.
LabelledSet<> plain_digits(Index count) {
  return {generate({count, 2, 2, 1}, [](Index i, Index, Index, Index) { return static_cast<float>(i + 1); }),
          generate({count}, [](Index i) -> std::int64_t { return i % 10; })};
}
/// The number of an image of `plain_digits`, from its ink in either channel.
Index number_of(const Tensor<>& x, Index i) {
  return static_cast<Index>(std::max(x.at({i, 0, 0, 0}), x.at({i, 0, 0, x.size(3) - 1}))) - 1;
}

DomainCandidate candidate(const std::string& configuration, Index step, std::vector<double> training,
                          std::vector<double> left_out, double oracle, double test) {
  return {configuration, step, std::move(training), std::move(left_out), oracle, test};
}

}  // namespace

TEST_CASE("drawn digits: ten classes of the same drawings for a seed, ink in [0, 1], told apart by class means",
          "[data]") {
  const ItemSet set = draw_digits({.each = 30, .size = 14});
  CHECK(set.classes() == 10);
  CHECK(set.class_names[7] == "digit 7");
  const LabelledSet<> all = labelled_items(set);
  CHECK(all.x.shape() == Shape{300, 14, 14, 1});
  CHECK((min(all.x).item() >= 0 && max(all.x).item() <= 1));
  for (Index digit = 0; digit < 10; ++digit) {
    CHECK(set.items[digit].size() == 30);
    CHECK(max(slice(all.x, 0, 30 * digit, 30 * digit + 30)).item() > 0.5);
  }
  // The first drawings of a longer list are those of a shorter one, on any number of threads.
  set_threads(3);
  const LabelledSet<> more = labelled_items(draw_digits({.each = 40, .size = 14}));
  set_threads(0);
  CHECK(same_bits(slice(all.x, 0, 30, 60), slice(more.x, 0, 40, 70)));
  CHECK(!same_bits(all.x, labelled_items(draw_digits({.each = 30, .size = 14, .seed = 2})).x));

  const LabelledSet<> others = labelled_items(draw_digits({.each = 30, .size = 14, .seed = 2}));
  const Tensor<> rows = reshape(all.x, {300, 196});
  const auto right = [&](const Tensor<>& x, const Tensor<std::int64_t>& y) {
    const Tensor<> distances = squared_distances(reshape(x, {x.size(0), 196}), prototypes(rows, all.y, 10));
    const Tensor<std::int64_t> nearest = argmin(distances, 1);
    Index count = 0;
    for (Index i = 0; i < y.count(); ++i) count += nearest.at({i}) == y.at({i});
    return static_cast<double>(count) / static_cast<double>(y.count());
  };
  CHECK(right(others.x, others.y) > 0.8);
  // Without variation all drawings of a digit are one.
  const LabelledSet<> alike = labelled_items(draw_digits({.each = 2, .variation = 0}));
  CHECK(same_bits(slice(alike.x, 0, 0, 1), slice(alike.x, 0, 1, 2)));
  CHECK_THROWS_WITH(draw_digits({.each = 0}), contains("graft: draw_digits: 0 drawings"));
  CHECK_THROWS_WITH(draw_digits({.pen = 0}), contains("pen is 0"));
  CHECK_THROWS_WITH(draw_digits({.variation = 3}), contains("variation 3"));
}

TEST_CASE("coloured digits: every image once, ink in the channel of its colour", "[data]") {
  const LabelledSet<> digits = plain_digits(100);
  const DomainData data = coloured_digits(digits, Random(3));
  CHECK(data.classes == 2);
  CHECK((data.names == std::vector<std::string>{"90% colour", "80% colour", "10% colour"}));
  std::vector<int> seen(100);
  for (const auto& [x, y] : data.domains) {
    CHECK(x.shape() == Shape{y.count(), 2, 2, 2});
    CHECK((y.count() == 33 || y.count() == 34));
    for (Index i = 0; i < y.count(); ++i) {
      const bool second = x.at({i, 0, 0, 1}) > 0;
      for (Index p = 0; p < 4; ++p) {
        CHECK(x.at({i, p / 2, p % 2, second}) == static_cast<float>(number_of(x, i) + 1));
        CHECK(x.at({i, p / 2, p % 2, !second}) == 0);
      }
      ++seen[number_of(x, i)];
    }
  }
  CHECK((seen == std::vector<int>(100, 1)));
  CHECK(same_bits(coloured_digits(digits, Random(3)).domains[1].x, data.domains[1].x));
  CHECK(!same_bits(coloured_digits(digits, Random(4)).domains[1].x, data.domains[1].x));
}

TEST_CASE("coloured digits: digits tell 75 % of the labels, colours 90, 80 and 10 %", "[data]") {
  const DomainData data = coloured_digits(plain_digits(30000), Random(1));
  for (std::size_t e = 0; e < 3; ++e) {
    const auto& [x, y] = data.domains[e];
    double by_digit = 0, by_colour = 0, ones = 0;
    const auto items = static_cast<double>(y.count());
    for (Index i = 0; i < y.count(); ++i) {
      by_digit += (number_of(x, i) % 10 >= 5) == (y.at({i}) == 1);
      by_colour += (x.at({i, 0, 0, 1}) > 0) == (y.at({i}) == 1);
      ones += y.at({i}) == 1;
    }
    // Five standard errors of 10000 draws.
    CHECK(by_digit / items == Approx(0.75).margin(5 * std::sqrt(0.75 * 0.25 / items)));
    const double colour = std::vector{0.9, 0.8, 0.1}[e];
    CHECK(by_colour / items == Approx(colour).margin(5 * std::sqrt(colour * (1 - colour) / items)));
    CHECK(ones / items == Approx(0.5).margin(5 * 0.5 / std::sqrt(items)));
  }
  // Without flips all three agree, and with certain ones colour and label never do.
  const DomainData sure = coloured_digits(plain_digits(20), Random(1), {.label_flip = 0, .colour_flip = {0, 1}});
  for (std::size_t e = 0; e < 2; ++e)
    for (Index i = 0; i < 10; ++i) {
      const auto& [x, y] = sure.domains[e];
      CHECK((number_of(x, i) % 10 >= 5) == (y.at({i}) == 1));
      CHECK((x.at({i, 0, 0, 1}) > 0) == ((y.at({i}) == 1) == (e == 0)));
    }
}

TEST_CASE("coloured digits: what is refused", "[data]") {
  const LabelledSet<> digits = plain_digits(10);
  CHECK_THROWS_AS(coloured_digits({zeros({10, 2, 2, 3}), digits.y}, Random(1)), ShapeError);
  CHECK_THROWS_AS(coloured_digits({digits.x, zeros<std::int64_t>({9})}, Random(1)), ShapeError);
  CHECK_THROWS_AS(coloured_digits({}, Random(1)), ShapeError);
  CHECK_THROWS_WITH(coloured_digits(plain_digits(2), Random(1)), contains("coloured_digits: 2 items for 3 domains"));
  CHECK_THROWS_WITH(coloured_digits(digits, Random(1), {.colour_flip = {}}), contains("0 domains"));
  CHECK_THROWS_WITH(coloured_digits(digits, Random(1), {.colour_flip = {0.1, 1.5}}), contains("colour_flip is 1.5"));
  CHECK_THROWS_WITH(coloured_digits(digits, Random(1), {.label_flip = -0.1}), contains("label_flip is -0.1"));
}

TEST_CASE("turned images: right angles move pixels, four of them move none, the middle stays", "[data]") {
  // [[1, 2, 3], [4, 5, 6], [7, 8, 9]] counter-clockwise: [[3, 6, 9], [2, 5, 8], [1, 4, 7]].
  const Tensor<> image = reshape(arange<float>(9) + 1, {1, 3, 3, 1});
  const Tensor<> quarter = turned_images(image, 90);
  const std::vector<float> expected{3, 6, 9, 2, 5, 8, 1, 4, 7};
  for (Index p = 0; p < 9; ++p) CHECK(quarter.at({0, p / 3, p % 3, 0}) == Approx(expected[p]).margin(1e-5));
  const Tensor<> random = randn({4, 6, 6, 2}, Random(1));
  Tensor<> round = random;
  for (int turn = 0; turn < 4; ++turn) round = turned_images(round, 90);
  CHECK(max(abs(round - random)).item() < 1e-5);
  CHECK(same_bits(turned_images(random, 0), random));
  CHECK(max(abs(turned_images(random, 180) - flip(flip(random, 1), 2))).item() < 1e-5);
  CHECK(max(abs(turned_images(random, -90) - turned_images(random, 270))).item() < 1e-5);
  // By 45 degrees the middle pixel stays, the corners come from outside, and a pixel beside the middle from
  // (cos 45, sin 45) = 0.7071 away on both sides: bilinear between four.
  const Tensor<> turned = turned_images(image, 45);
  CHECK(turned.at({0, 1, 1, 0}) == Approx(5).margin(1e-5));
  const double a = std::sqrt(0.5), b = 1 - a;
  CHECK(turned.at({0, 1, 2, 0}) == Approx(b * b * 5 + a * b * 6 + a * b * 8 + a * a * 9).epsilon(1e-5));
  CHECK_THROWS_AS(turned_images(zeros({3, 3}), 10), ShapeError);
  CHECK_THROWS_WITH(turned_images(image, std::numeric_limits<double>::infinity()), contains("degrees is inf"));
}

TEST_CASE("rotated digits: every image once, turned by its domain's angle", "[data]") {
  const LabelledSet<> digits = plain_digits(20);
  const DomainData data = rotated_digits(digits, Random(1), {0, 90});
  CHECK((data.names == std::vector<std::string>{"0 degrees", "90 degrees"}));
  CHECK(data.classes == 10);
  std::vector<int> seen(20);
  for (const auto& [x, y] : data.domains)
    for (Index i = 0; i < y.count(); ++i) {
      ++seen[std::lround(x.at({i, 0, 0, 0})) - 1];
      CHECK(y.at({i}) == (std::lround(x.at({i, 0, 0, 0})) - 1) % 10);
    }
  CHECK((seen == std::vector<int>(20, 1)));
  CHECK(rotated_digits(digits, Random(1)).domains.size() == 6);
  CHECK_THROWS_WITH(rotated_digits(digits, Random(1), {}), contains("rotated_digits: 20 items for 0 domains"));
}

TEST_CASE("a domain in two parts, and batches of domains", "[data]") {
  const LabelledSet<> digits = plain_digits(10);
  const SplitDomain parts = split_domain(digits, 0.2, Random(1));
  CHECK((parts.first.y.count() == 8 && parts.second.y.count() == 2));
  std::vector<int> seen(10);
  for (const LabelledSet<>& part : {parts.first, parts.second})
    for (Index i = 0; i < part.y.count(); ++i) {
      ++seen[number_of(part.x, i)];
      CHECK(part.y.at({i}) == number_of(part.x, i) % 10);
    }
  CHECK((seen == std::vector<int>(10, 1)));
  CHECK(split_domain(digits, 0.999, Random(1)).first.y.count() == 1);
  CHECK_THROWS_WITH(split_domain(digits, 1, Random(1)), contains("a share of 1 of 10 items"));
  CHECK_THROWS_WITH(split_domain(plain_digits(1), 0.5, Random(1)), contains("1 items"));
  CHECK_THROWS_AS(split_domain({digits.x, zeros<std::int64_t>({2})}, 0.5, Random(1)), ShapeError);

  const auto batches = draw_batches({digits, plain_digits(3)}, 4, Random(1));
  CHECK(same_bits(batches[1].x, plain_digits(3).x));
  std::vector<int> drawn(10);
  for (Index i = 0; i < 4; ++i) ++drawn[number_of(batches[0].x, i)];
  for (const int times : drawn) CHECK(times <= 1);
  CHECK(batches[0].y.count() == 4);
  CHECK(same_bits(draw_batches({digits}, 4, Random(1))[0].x, batches[0].x));  // whatever other domains there are
  CHECK_THROWS_WITH(draw_batches({digits}, 0, Random(1)), contains("batches of 0 items"));
  const LabelledSet<> twice = joined({digits, plain_digits(3)});
  CHECK((twice.x.size(0) == 13 && number_of(twice.x, 12) == 2 && twice.y.at({12}) == 2));
  CHECK_THROWS_WITH(joined({}), contains("joined: there are no sets"));
  CHECK_THROWS_AS(joined({digits, {zeros({1, 2, 3, 1}), zeros<std::int64_t>({1})}}), ShapeError);
  ItemSet nothing;
  nothing.source = "nothing";
  CHECK_THROWS_WITH(labelled_items(nothing), contains("nothing has no items"));
}

TEST_CASE("three rules choose three models, each by its own figures", "[data]") {
  // The training domains prefer the early stop of a, leaving one out prefers b's first step, the oracle sees last steps
  // only: c at 20 has less than b at 10, which is not b's last.
  const std::vector<DomainCandidate> all{
      candidate("a", 10, {0.9, 0.7}, {0.1, 0.1}, 0.2, 0.21), candidate("a", 20, {0.8, 0.7}, {0.2, 0.2}, 0.3, 0.31),
      candidate("b", 10, {0.7, 0.7}, {0.6, 0.8}, 0.9, 0.41), candidate("b", 20, {0.6, 0.6}, {0.5, 0.5}, 0.4, 0.42),
      candidate("c", 20, {0.5, 0.5}, {0.3, 0.3}, 0.8, 0.51)};
  const DomainChoice training = choose_by(DomainSelection::training_domains, all);
  CHECK((training.candidate == 0 && training.test == 0.21));
  CHECK(training.validation == Approx(0.8).epsilon(1e-15));
  const DomainChoice left_out = choose_by(DomainSelection::leave_one_domain_out, all);
  CHECK((left_out.candidate == 2 && left_out.test == 0.41));
  const DomainChoice oracle = choose_by(DomainSelection::oracle, all);
  CHECK((oracle.candidate == 4 && oracle.test == 0.51 && oracle.validation == 0.8));
  // Each result says by what.
  CHECK(training.text() == "0.210 (training domains)");
  CHECK(left_out.text() == "0.410 (leave one domain out)");
  CHECK(oracle.text() == "0.510 (oracle)");
  CHECK(domain_selections().size() == 3);
  CHECK(choose_by(DomainSelection::oracle, {all[2]}).test == 0.41);  // its last step then
}

TEST_CASE("rules do not read test figures, keep the earlier of equals, and refuse what is missing", "[data]") {
  const double none = std::numeric_limits<double>::quiet_NaN();
  const std::vector<DomainCandidate> equal{candidate("a", 1, {0.5}, {}, none, 0.1),
                                           candidate("b", 1, {0.5}, {}, none, 0.9)};
  CHECK(choose_by(DomainSelection::training_domains, equal).candidate == 0);
  CHECK_THROWS_WITH(choose_by(DomainSelection::leave_one_domain_out, equal),
                    contains("configuration 'a' has 0 after step 1"));
  CHECK_THROWS_WITH(choose_by(DomainSelection::oracle, equal), contains("configuration 'a' has after step 1"));
  CHECK_THROWS_WITH(choose_by(DomainSelection::oracle, {}), contains("choose_by: there are no candidates"));
  CHECK_THROWS_WITH(choose_by(DomainSelection::training_domains, {equal[0], equal[0]}),
                    contains("two candidates of configuration 'a' after step 1"));
  CHECK_THROWS_WITH(
      choose_by(DomainSelection::training_domains, {equal[0], candidate("b", 1, {0.5, 0.5}, {}, none, 0.9)}),
      contains("configuration 'b' has 2"));
  CHECK_THROWS_WITH(choose_by(DomainSelection::training_domains, {candidate("a", 1, {0.5}, {}, none, none)}),
                    contains("nan in the test domain"));
}

TEST_CASE("candidates for a test domain are put together from runs that left out one or two domains", "[data]") {
  const std::vector<DomainRun> runs{{"a", 5, 0, 0, {0.10, 0.11, 0.12}, {0.20, 0.21, 0.22}},
                                    {"a", 5, 0, 1, {0.30, 0.31, 0.32}, {0.40, 0.41, 0.42}},
                                    {"a", 5, 2, 0, {0.50, 0.51, 0.52}, {0.60, 0.61, 0.62}},
                                    {"a", 9, 0, 1, {0.70, 0.71, 0.72}, {0.80, 0.81, 0.82}},
                                    {"a", 5, 1, 1, {0.90, 0.91, 0.92}, {0.95, 0.96, 0.97}}};
  const auto of_first = domain_candidates(runs, 0);
  REQUIRE(of_first.size() == 1);
  CHECK((of_first[0].configuration == "a" && of_first[0].step == 5));
  CHECK((of_first[0].test == 0.10 && of_first[0].oracle == 0.20));
  CHECK((of_first[0].training == std::vector{0.21, 0.22}));
  CHECK((of_first[0].left_out == std::vector{0.31, 0.52}));  // on 1 without 0 and 1, on 2 without 0 and 2
  const auto of_second = domain_candidates(runs, 1);
  REQUIRE(of_second.size() == 1);
  CHECK((of_second[0].test == 0.91 && of_second[0].left_out.empty()));  // none without 1 and 2
  CHECK_THROWS_WITH(domain_candidates(runs, 2), contains("domain_candidates: no run leaves out domain 2 alone"));
  CHECK_THROWS_WITH(domain_candidates(runs, 3), contains("test domain 3 of 3"));
  CHECK_THROWS_WITH(domain_candidates({}, 0), contains("test domain 0 of 0"));
  CHECK_THROWS_WITH(domain_candidates({{"a", 1, 0, 0, {0.1}, {}}}, 0), contains("figures of 1 and 0 domains"));
  CHECK_THROWS_WITH(domain_candidates({{"a", 1, 0, 2, {0.1}, {0.1}}}, 0), contains("without domains 0 and 2 of 1"));
}

TEST_CASE("results stand under their rule, with their mean over domains and the difference to the first method",
          "[data]") {
  // Two domains, two configurations; every run leaves out one. b is better by the training domains, a by the oracle.
  const auto runs = [](double a, double b) {
    return std::vector<DomainRun>{{"a", 1, 0, 0, {a, 0}, {0.9, 0.1}},       {"a", 1, 1, 1, {0, a + 0.1}, {0.1, 0.9}},
                                  {"a", 1, 0, 1, {0.5, 0.5}, {0, 0}},       {"b", 1, 0, 0, {b, 0}, {0.8, 0.2}},
                                  {"b", 1, 1, 1, {0, b + 0.1}, {0.2, 0.8}}, {"b", 1, 0, 1, {0.4, 0.4}, {0, 0}}};
  };
  DomainResults results({"left", "right"});
  for (const double shift : {0.0, 0.02}) {
    results.add("erm", runs(0.5, 0.3));
    results.add("other", runs(0.6 + shift, 0.4));
  }
  CHECK(results.figure("erm", DomainSelection::training_domains, 0).mean == Approx(0.3).epsilon(1e-14));
  CHECK(results.figure("erm", DomainSelection::training_domains, 1).mean == Approx(0.4).epsilon(1e-14));
  CHECK(results.figure("erm", DomainSelection::training_domains, 2).mean == Approx(0.35).epsilon(1e-14));
  CHECK(results.figure("erm", DomainSelection::leave_one_domain_out, 2).mean == Approx(0.55).epsilon(1e-14));
  CHECK(results.figure("other", DomainSelection::oracle, 2).mean == Approx(0.66).epsilon(1e-14));
  CHECK(results.gain("other", DomainSelection::oracle).mean == Approx(0.11).epsilon(1e-12));
  CHECK(results.gain("other", DomainSelection::oracle).n == 2);
  CHECK(results.gain("other", DomainSelection::training_domains).mean == Approx(0.1).epsilon(1e-12));
  CHECK_THAT(results.text(), contains("chosen by: oracle") && contains("less that of erm") && contains("66.0 +-"));
  const auto rows = results.rows();
  CHECK(rows.size() == 18);
  CHECK((rows[0].metric == "accuracy in left, training domains" && rows[17].metric == "accuracy in the mean, oracle"));
  CHECK(rows[17].name == "other");
  CHECK_THROWS_WITH(results.figure("irm", DomainSelection::oracle, 0), contains("no results of 'irm'"));
  CHECK_THROWS_WITH(results.figure("erm", DomainSelection::oracle, 3), contains("domain 3 of 2"));
  CHECK_THROWS_WITH(results.add("erm", {}), contains("runs of 0 domains, of 2"));
}
