// Random search: budgets, distributions of draws, and what is chosen.

#include <cmath>
#include <string>
#include <vector>

#include "catch.hpp"
#include "graft/evaluate/random_search.hpp"
#include "messages.hpp"

using namespace graft;

namespace {

using Space = std::vector<SearchRange>;

const Space maml_space{{.name = "alpha", .low = 1e-3, .high = 1, .log = true},
                       {.name = "steps", .low = 1, .high = 5, .whole = true}};

}  // namespace

TEST_CASE("every method has the same budget, and the best trial by validation is chosen", "[evaluate]") {
  RandomSearch search(40, Random(1));
  int calls = 0;
  const auto validate = [&](const Configuration& c) {
    ++calls;
    return -std::abs(std::log(c.at("alpha") / 0.1)) - 0.01 * c.at("steps");
  };
  const SearchOutcome maml = search.run("maml", maml_space, validate);
  CHECK((calls == 40 && maml.trials.size() == 40 && maml.method == "maml"));
  for (const SearchTrial& trial : maml.trials) {
    CHECK(trial.validation == validate(trial.configuration));
    CHECK(trial.validation <= maml.validation());
  }
  CHECK(maml.validation() == validate(maml.chosen()));
  calls = 0;
  const SearchOutcome reptile = search.run("reptile", {{.name = "rate", .low = 0.1, .high = 0.2}}, [&](const auto& c) {
    ++calls;
    return static_cast<float>(c.at("rate"));
  });
  CHECK((calls == 40 && reptile.trials.size() == 40));
  // Without hyper-parameters every trial would be the same.
  const SearchOutcome baseline = search.run("baseline", {}, [](const Configuration& c) { return c.values.empty(); });
  CHECK((baseline.trials.size() == 1 && baseline.validation() == 1));
}

TEST_CASE("hyper-parameters are drawn evenly, on their scale", "[evaluate]") {
  const Index draws = 6000;
  RandomSearch search(draws, Random(2));
  const Space space{{.name = "linear", .low = -2, .high = 4},
                    {.name = "log", .low = 1e-4, .high = 1e2, .log = true},
                    {.name = "whole", .low = 2, .high = 4, .whole = true},
                    {.name = "log whole", .low = 1, .high = 7, .log = true, .whole = true},
                    {.name = "fixed", .low = 3, .high = 3}};
  double linear = 0, log = 0, whole[5] = {}, log_whole[8] = {};
  search.run("method", space, [&](const Configuration& c) {
    CHECK((c.at("linear") >= -2 && c.at("linear") <= 4 && c.at("log") >= 1e-4 && c.at("log") <= 1e2));
    linear += c.at("linear");
    log += std::log10(c.at("log"));
    ++whole[static_cast<int>(c.at("whole"))];
    ++log_whole[static_cast<int>(c.at("log whole"))];
    CHECK(c.at("fixed") == 3);
    return 0;
  });
  // Five deviations: a uniform variable's is its range / sqrt(12).
  const double count = static_cast<double>(draws), five = 5 * 6 / std::sqrt(12 * count);
  CHECK(std::abs(linear / count - 1) < five);
  CHECK(std::abs(log / count - -1) < five);
  const auto is_share = [&](double found, double share) {
    return std::abs(found / count - share) < 5 * std::sqrt(share * (1 - share) / count);
  };
  for (const int value : {2, 3, 4}) CHECK(is_share(whole[value], 1.0 / 3));
  for (int value = 1; value <= 7; ++value) {  // the share of [value, value + 1) in [1, 8) on the scale
    INFO(value);
    CHECK(is_share(log_whole[value], std::log((value + 1.0) / value) / std::log(8.0)));
  }
}

TEST_CASE("methods that share a range try the same values of it, whatever else they have", "[evaluate]") {
  const auto zero = [](const Configuration&) { return 0; };
  RandomSearch search(10, Random(3)), other(10, Random(3)), seed(10, Random(4));
  const SearchOutcome first = search.run("first", maml_space, zero);
  const SearchOutcome second = search.run("second", {{.name = "beta"}, maml_space[0]}, zero);
  const SearchOutcome alone = other.run("second", {{.name = "beta"}, maml_space[0]}, zero);
  const SearchOutcome seeded = seed.run("first", maml_space, zero);
  int differ = 0;
  for (std::size_t t = 0; t < 10; ++t) {
    const double alpha = first.trials[t].configuration.at("alpha");
    CHECK(second.trials[t].configuration.at("alpha") == alpha);
    CHECK(alone.trials[t].configuration.at("alpha") == alpha);
    CHECK(alone.trials[t].configuration.at("beta") == second.trials[t].configuration.at("beta"));
    differ += seeded.trials[t].configuration.at("alpha") != alpha;
  }
  CHECK(differ == 10);
}

TEST_CASE("of equal trials the first is chosen, of diverged ones none", "[evaluate]") {
  const double figures[] = {NAN, -INFINITY, 0.25, 0.5, INFINITY, 0.5};
  RandomSearch search(6, Random(5));
  int trial = 0;
  const SearchOutcome outcome =
      search.run("method", maml_space, [&](const Configuration&) { return figures[trial++]; });
  CHECK((outcome.best == 3 && outcome.validation() == 0.5 && outcome.trials.size() == 6));
  CHECK(std::isnan(outcome.trials[0].validation));
}

TEST_CASE("a search says what it chose", "[evaluate]") {
  RandomSearch search(3, Random(6));
  const Space space{{.name = "rate", .low = 0.5, .high = 0.5}, {.name = "steps", .low = 12, .high = 12, .whole = true}};
  search.run("maml", space, [](const Configuration&) { return 0.75; });
  search.run("nearest support", {}, [](const Configuration&) { return 0.5; });
  CHECK(search.text() ==
        "method           validation  trials  chosen\n"
        "maml                   0.75       3  rate 0.5, steps 12\n"
        "nearest support         0.5       1  \n");
  const std::vector<ResultRow> rows = search.rows();
  REQUIRE(rows.size() == 6);
  CHECK((rows[0].name == "maml" && rows[0].metric == "chosen-validation" && rows[0].value == 0.75));
  CHECK((rows[1].metric == "configurations-tried" && rows[1].value == 3));
  CHECK((rows[2].metric == "chosen-rate" && rows[2].value == 0.5));
  CHECK((rows[3].metric == "chosen-steps" && rows[3].value == 12));
  CHECK((rows[5].name == "nearest support" && rows[5].value == 1));
}

TEST_CASE("a random search refuses what it cannot draw or choose", "[evaluate]") {
  const char *op = "RandomSearch::run", *name = "RandomSearch";
  int calls = 0;
  const auto count = [&](const Configuration&) { return ++calls; };
  RandomSearch search(2, Random(7));
  search.run("done", {}, [](const Configuration&) { return 1; });
  CHECK(refusal_fault(name, "a budget of 0", [] { RandomSearch(0, Random(1)); }) == "");
  const auto refused = [&](const std::string& text, const Space& space, Site row = Site::current()) {
    return refusal_fault(
        op, text, [&] { search.run("new", space, count, row); }, row);
  };
  CHECK(refusal_fault(op, "done was searched", [&] { search.run("done", maml_space, count); }) == "");
  CHECK(refused("two ranges are named 'a'", {{.name = "a"}, {.name = "b"}, {.name = "a"}}) == "");
  CHECK(refused("a goes from 2 to 1", {{.name = "a", .low = 2, .high = 1}}) == "");
  CHECK(refused("a goes from nan", {{.name = "a", .low = NAN}}) == "");
  CHECK(refused("to inf", {{.name = "a", .high = INFINITY}}) == "");
  CHECK(refused("a starts at 0", {{.name = "a", .log = true}}) == "");
  CHECK(refused("whole numbers", {{.name = "a", .low = 0.5, .whole = true}}) == "");
  CHECK(calls == 0);  // refused before any trial
  const auto lost = [](const Configuration&) { return std::nan(""); };
  CHECK(refusal_fault(op, "no trial of lost", [&] { search.run("lost", maml_space, lost); }) == "");
  // What failed is not recorded: it can be searched for again.
  CHECK_THROWS_AS(search.run("broken", maml_space, [](const Configuration&) -> int { throw 3; }), int);
  search.run("broken", maml_space, count);
  search.run("lost", maml_space, count);
  CHECK(search.rows().size() == 2 + 4 + 4);

  const Configuration configuration{{{"alpha", 1}, {"steps", 2}}};
  const char* at = "Configuration::at";
  CHECK(refusal_fault(at, "no 'rate'; there are alpha, steps", [&] { configuration.at("rate"); }) == "");
  CHECK(refusal_fault(at, "there are none", [] { Configuration().at("rate"); }) == "");
}
