// The table of methods: its text and its rows say the same, and differences are paired.

#include <string>
#include <vector>

#include "catch.hpp"
#include "graft/evaluate/method_table.hpp"

using namespace graft;

TEST_CASE("methods side by side", "[evaluate]") {
  MethodTable table({{"all", "accuracy"}, {"hard", "accuracy-hard"}}, "base");
  table.add({"base", {{0.5, 0.7}, {0.25, 0.75}}, 12.4, 90, 0});
  CHECK_THROWS_WITH(table.add({"x", {{1, 2}}}), contains("1 lists of figures for 2 columns"));
  CHECK_THROWS_WITH(table.add({"x", {{1, 2}, {1}}}), contains("x has 1 figures for hard, base has 2"));
  table.add({"other", {{0.75, 0.95}, {0.5, 0.5}}, 3, 8, 2});
  // Two values a and b: Student's 0.975 quantile with one degree of freedom, 12.7062, times |a - b| / 2.
  const std::string text = table.text();
  INFO(text);
  CHECK_THAT(text, contains("60.00 +- 127.06") && contains("50.00 +- 317.66") && contains("minus base:"));
  CHECK_THAT(text, contains("+25.00 +- 0.00") && contains("+0.00 +- 317.66"));
  CHECK_THAT(text, contains("12 s\n") && contains("other: 2 of 10 training tasks dropped"));
  CHECK(text.find("base: ") == text.rfind("base: "));  // only of a method that dropped some

  const std::vector<ResultRow> rows = table.rows();
  REQUIRE(rows.size() == 8);
  const auto is = [](const ResultRow& row, const std::string& name, const std::string& metric, double value, Index n) {
    INFO(row.name << " " << row.metric);
    CHECK(row.name == name);
    CHECK(row.metric == metric);
    CHECK(row.value == Approx(value).margin(1e-12));
    CHECK(row.n == n);
  };
  is(rows[0], "base", "accuracy", 0.6, 2);
  is(rows[1], "base", "accuracy-hard", 0.5, 2);
  is(rows[2], "base", "dropped", 0, 90);
  is(rows[3], "other", "accuracy", 0.85, 2);
  is(rows[4], "other", "accuracy-hard", 0.5, 2);
  is(rows[5], "other", "dropped", 0.2, 10);
  is(rows[6], "other", "accuracy-minus-base", 0.25, 2);
  is(rows[7], "other", "accuracy-hard-minus-base", 0, 2);
  CHECK(rows[6].ci95 == Approx(0).margin(1e-12));
  CHECK(rows[7].ci95 == Approx(12.706204736174694 * 0.25));

  CHECK_THROWS_WITH(MethodTable({{"all", "accuracy"}}, "absent").text(), contains("no result of absent"));
  CHECK_THROWS_AS(MethodTable({}, "base"), ValueError);
}

TEST_CASE("seeds of a method beside what was published", "[evaluate]") {
  MethodTable table({{.head = "test", .metric = "accuracy", .deviation = true}});
  table.add({.name = "gcn", .figures = {{0.8, 0.82, 0.84}}, .published = "81.5"});
  table.add({.name = "ours", .figures = {{0.5, 0.5, 0.5}}});
  // Deviation 0.02; Student's quantile with two degrees of freedom is 4.302653: 4.302653 x 0.02 / sqrt(3) = 0.049683.
  const std::string text = table.text();
  INFO(text);
  CHECK_THAT(text, contains("82.00 +- 4.97 (2.00)") && contains("81.5") && contains("published"));
  CHECK_THAT(text, contains("50.00 +- 0.00 (0.00)") && !contains("minus"));
  CHECK(table.rows().size() == 2);
}
