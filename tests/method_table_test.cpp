// Runs the standing checks and the properties of every row of the method table, one section each: `graft_tests "method
// table" -c pcgrad`. Also shows that the checks can fail. Tagged [methods].

#include "catch.hpp"
#include "graft/ops/reduce.hpp"
#include "method_table.hpp"

using namespace graft;

TEST_CASE("method table", "[methods]") {
  for (const MethodRow& row : method_rows()) {
    SECTION(row.name) {
      const CheckReport report = check_method(row);
      for (const std::string& failure : report.failures) FAIL_CHECK(row.name << ": " << failure);
      CHECK(report.checks > 10);
    }
    for (const MethodProperty& property : row.properties) SECTION(row.name + ": " + property.name) {
        property.check();
        SUCCEED();
      }
  }
}

TEST_CASE("method table rows have names of their own", "[methods]") {
  REQUIRE(method_rows().size() >= 4);
  for (std::size_t i = 0; i < method_rows().size(); ++i)
    for (std::size_t j = 0; j < i; ++j) CHECK(method_rows()[i].name != method_rows()[j].name);
}

namespace {

Tensor<double> cube(const Tensor<double>& x) { return sum(x * x * x); }
MethodRow right_row() {
  return {.name = "cube",
          .header = "cube.hpp",
          .paper = "-",
          .functions = {"cube"},
          .run = [](const Random& random) { return square(randn<float>({100}, random)); },
          .loss = cube,
          .loss_at = tensor<double>({0.3, -0.7}),
          .errors = {bad_use<ValueError>([] { fail("cube", "no", {}, Site::current()); }, "no")},
          .properties = {{"none", [] {}}}};
}
bool fails_with(const MethodRow& row, const std::string& text) {
  for (const std::string& failure : check_method(row).failures)
    if (failure.find(text) != std::string::npos) return true;
  return false;
}

}  // namespace

TEST_CASE("the method table's checks notice what is wrong", "[methods]") {
  CHECK(check_method(right_row()).failures.empty());

  MethodRow row = right_row();
#ifdef _OPENMP  // a serial build has one thread
  row.run = [](const Random& random) { return randn<float>({100}, random) * threads(); };
  CHECK(fails_with(row, "the same bits on 8 threads"));
#endif
  row.run = [calls = 0](const Random&) mutable { return full<float>({1}, static_cast<float>(++calls)); };
  CHECK(fails_with(row, "the same bits on 1 threads"));
  row.run = [](const Random&) { return full<float>({1}, NAN); };
  CHECK(fails_with(row, "finite"));
  row.run = [](const Random& random) {
    release_cached_memory();
    return randn<float>({100}, random);
  };
  CHECK(fails_with(row, "asked the system for memory"));
  row.run = [kept = std::vector<Tensor<float>>()](const Random& random) mutable {
    kept.push_back(randn<float>({100}, random));
    return kept.back();
  };
  CHECK(fails_with(row, "kept"));

  row = right_row();
  row.loss = [](const Tensor<double>& x) { return cube(x.detach()) + sum(x) * 0; };
  CHECK(fails_with(row, "the first derivative"));
  // The slope's own dependence on x is cut: right first order, wrong second.
  row.loss = [](const Tensor<double>& x) {
    return record("cube", cube(x.detach()), Edge(x, [x](const auto& g) { return g * (x * x * 3).detach(); }));
  };
  CHECK(fails_with(row, "the second derivative"));
  CHECK_FALSE(fails_with(row, "the first derivative"));

  row = right_row();
  row.errors = {bad_use<ValueError>([] {}), bad_use<ShapeError>([] { fail("cube", "no", {}, Site::current()); }),
                bad_use<ValueError>([] { fail("sphere", "no", {}, Site::current()); }),
                bad_use<ValueError>([] { fail("cube", "no"); }, "yes")};
  CHECK(fails_with(row, "bad use 0 does not throw"));
  CHECK(fails_with(row, "bad use 1 throws another type"));
  CHECK(fails_with(row, "bad use 2 does not name the method"));
  CHECK(fails_with(row, "bad use 3 does not say"));
  row.errors = {};
  row.properties = {};
  CHECK(fails_with(row, "has bad uses"));
  CHECK(fails_with(row, "has properties"));
}
