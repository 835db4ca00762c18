// Methods against their own controls: the order, the differences, and the correction by hand.

#include <cmath>

#include "catch.hpp"
#include "graft/evaluate/controls.hpp"
#include "messages.hpp"

using namespace graft;

TEST_CASE("the strongest control comes first and the base last", "[evaluate]") {
  // By p of signed ranks: of five pairs with one sign 2 / 2^5.
  const std::map<std::string, std::vector<double>> figures{{"base", {1, 2, 3, 4, 5}},
                                                           {"weak", {1, 1, 1, 1, 1}},
                                                           {"strong", {3, 4, 5, 6, 7}},
                                                           {"method", {3.5, 4.1, 5.2, 6.3, 7.4}},
                                                           {"other", {1, 2, 3, 4, 5}}};
  const auto found =
      compare_with_controls(figures, {{"method", {"weak", "strong"}}, {"other", {}}, {"base", {}}}, "base");
  REQUIRE(found.size() == 4);
  const char* others[] = {"strong", "weak", "base", "base"};
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(found[i].name == (i < 3 ? "method" : "other"));
    CHECK(found[i].other == others[i]);
    CHECK(found[i].primary == (i == 0 || i == 3));
  }
  CHECK(found[0].difference.mean == Approx(0.3));
  CHECK(found[0].p == Approx(1.0 / 16));
  CHECK(found[0].p_holm == Approx(2.0 / 16));  // the smaller of two
  CHECK(found[1].difference.mean == Approx(4.3));
  CHECK(found[1].p_holm == 1);
  CHECK(found[2].difference.mean == Approx(2.3));
  CHECK(found[3].difference.mean == 0);
  CHECK(found[3].p_holm == 1);
  CHECK(compare_with_controls(figures, {{"method", {"base"}}}, "base").size() == 1);
}

TEST_CASE("what is compared, and how it is told", "[evaluate]") {
  const std::vector<ControlledMethod> methods{{"b", {"c", "d"}}, {"e", {"c"}}, {"a", {}}};
  CHECK(names_to_compare(methods, "a") == std::vector<std::string>{"a", "b", "c", "d", "e"});
  const auto figures = figures_of({"a", "b"}, 2, [](const std::string& name, Index seed) {
    return (name == "a" ? 0.25 : 0.5) + 0.5 * static_cast<double>(seed);
  });
  CHECK(figures == std::map<std::string, std::vector<double>>{{"a", {0.25, 0.75}}, {"b", {0.5, 1}}});
  // Half widths 12.706 s / sqrt(2) with s = 0.35355; both pairs differ by 1/4.
  CHECK(controlled_text(figures, {{"b", {}}}, "a") ==
        "a                                         50.00 +- 317.66\n"
        "b                                         75.00 +- 317.66\n\n"
        "b minus a                                +25.00 +-  0.00   p 0.500, by Holm over methods 0.500\n");
  const std::vector<ResultRow> rows = controlled_rows(figures, {{"b", {}}}, "a", "accuracy");
  REQUIRE(rows.size() == 3);
  CHECK(rows[1].name == "b");
  CHECK(rows[1].metric == "accuracy");
  CHECK(rows[1].value == 0.75);
  CHECK(rows[2].name == "b");
  CHECK(rows[2].metric == "accuracy minus a");
  CHECK(rows[2].value == 0.25);
  CHECK(rows[2].n == 2);
  CHECK(refusal_fault("compare_with_controls", "no figures of c", [&] {
          controlled_text({{"a", {1}}, {"b", {1}}}, {{"b", {"c"}}}, "a");
        }) == "");
}

TEST_CASE("what comparisons with controls refuse", "[evaluate]") {
  CHECK(refusal_fault("figures_of", "0 items",
                      [] { figures_of({"a"}, 0, [](const std::string&, Index) { return 1; }); }) == "");
  const std::map<std::string, std::vector<double>> figures{{"a", {1, 2}}, {"b", {1}}, {"c", {1, std::nan("")}}};
  const auto with = [&](const std::string& control, Site site = Site::current()) {
    compare_with_controls(figures, {{"a", {control}}}, "a", site);
  };
  CHECK(refusal_fault("compare_with_controls", "no figures of d", [&] { with("d"); }) == "");
  CHECK(refusal_fault("compare_with_controls", "2 values against 1", [&] { with("b"); }) == "");
  CHECK(refusal_fault("compare_with_controls", "nan", [&] { with("c"); }) == "");
}
