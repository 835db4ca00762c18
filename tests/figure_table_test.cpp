#include "graft/evaluate/figure_table.hpp"

#include <string>

#include "catch.hpp"

using namespace graft;

namespace {

/// Two methods by two metrics, over two folds of three seeds: the second is better by 0.1 everywhere.
FigureTable table() {
  FigureTable t({"plain", "better"}, {"recall", "accuracy"}, 2, 3);
  for (Index fold = 0; fold < 2; ++fold)
    for (Index seed = 0; seed < 3; ++seed) {
      const double value = 0.2 + 0.3 * static_cast<double>(fold) + 0.02 * static_cast<double>(seed);
      t.put("plain", fold, seed, {0.5, value});
      t.put("better", fold, seed, {0.25, value + 0.1});
    }
  return t;
}

}  // namespace

TEST_CASE("a table of figures gives back what was put in", "[evaluate]") {
  const FigureTable t = table();
  CHECK(t.at("accuracy", "plain")[1][2][0] == Approx(0.54));
  CHECK(t.at("recall", "better")[0][0][0] == 0.25);
}

TEST_CASE("rows of a table: means, half of the intervals, paired differences of the last metric", "[evaluate]") {
  const auto rows = table().rows("plain", Random(1));
  REQUIRE(rows.size() == 5);
  CHECK(rows[0].name == "plain");
  CHECK(rows[0].metric == "recall");
  CHECK(rows[0].value == 0.5);
  CHECK(rows[0].ci95 == 0);  // all figures are equal
  CHECK(rows[0].n == 6);
  CHECK(rows[1].value == Approx(0.37));
  CHECK(rows[1].ci95 > 0.1);  // the folds differ by 0.3
  CHECK(rows[3].value == Approx(0.47));
  CHECK(rows[4].metric == "accuracy minus plain");
  CHECK(rows[4].value == Approx(0.1));
  CHECK(rows[4].ci95 < 1e-12);  // the same everywhere
  CHECK(table().rows("nobody", Random(1)).size() == 4);
}

TEST_CASE("the text of a table has a line a name", "[evaluate]") {
  const std::string text = table().text("plain", Random(1));
  CHECK_THAT(text, contains("recall in %") && contains("accuracy, difference to plain") &&
                       contains("+10.0 [+10.0, +10.0]") && contains("plain          50.0 [ 50.0,  50.0]"));
  CHECK(std::count(text.begin(), text.end(), '\n') == 3);
  CHECK(table().text("nobody", Random(1)).find("difference") == std::string::npos);
}

TEST_CASE("tables of figures refuse places and names that they have not", "[evaluate]") {
  FigureTable t = table();
  CHECK_THROWS_AS(t.put("plain", 2, 0, {1, 1}), IndexError);
  CHECK_THROWS_AS(t.put("plain", 0, -1, {1, 1}), IndexError);
  CHECK_THROWS_WITH(t.put("plain", 0, 0, {1}), contains("1 figures for 2 metrics"));
  CHECK_THROWS_WITH(t.put("plan", 0, 0, {1, 1}), contains("no name 'plan'"));
  CHECK_THROWS_WITH(t.at("precision", "plain"), contains("no metric 'precision'"));
  CHECK_THROWS_WITH(FigureTable({}, {"a"}, 1, 1), contains("0 names"));
}
