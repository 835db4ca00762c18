// Runs the standing checks on every row of the op table, one section a row: `graft_tests "op table" -c softmax`.
// Also shows that the checks can fail, on ops that are wrong in one way each.

#include "catch.hpp"
#include "graft/ops/statistics.hpp"
#include "op_check.hpp"

using namespace graft;

TEST_CASE("op table", "[optable]") {
  for (const OpRow& row : op_rows()) SECTION(row.name) {
      const CheckReport report = check_op(row);
      for (const std::string& failure : report.failures) FAIL_CHECK(row.name << ": " << failure);
      CHECK(report.checks > 20);
    }
}

TEST_CASE("op table at unusual points", "[unusual]") {
  for (const OpRow& row : op_rows()) SECTION(row.name) {
      const CheckReport report = check_unusual(row);
      for (const std::string& failure : report.failures) FAIL_CHECK(row.name << ": " << failure);
      CHECK(report.checks > 0);
    }
}

TEST_CASE("op table rows have names of their own", "[optable]") {
  REQUIRE(op_rows().size() > 40);
  for (std::size_t i = 0; i < op_rows().size(); ++i)
    for (std::size_t j = 0; j < i; ++j) CHECK(op_rows()[i].name != op_rows()[j].name);
}

namespace {

/// x^2 with what a test wants to be wrong about it.
template <class Slope>
OpRow square_with_slope(Slope slope) {
  return {.name = "square, wrong",
          .family = "wrong",
          .call =
              [slope](const auto& x) {
                const auto in = x[0];
                return record("square", in.detach() * in.detach(),
                              Edge(in, [in, slope](const auto& g) { return slope(g, in); }));
              },
          .inputs = {{{2, 3}, -2, 2}},
          .reference = [](const Arrays& x) { return by_number(x[0], [](double v) { return v * v; }); },
          .large = {{3, 20000}}};
}
OpRow right_square() {
  return square_with_slope([](const auto& g, const auto& x) { return g * x * 2; });
}
bool fails_with(const OpRow& row, const std::string& text, bool unusual = false) {
  const CheckReport report = unusual ? check_unusual(row) : check_op(row);
  for (const std::string& failure : report.failures)
    if (failure.find(text) != std::string::npos) return true;
  return false;
}

}  // namespace

TEST_CASE("the op table's checks notice what is wrong", "[optable]") {
  CHECK(check_op(right_square()).failures.empty());

  CHECK(
      fails_with(square_with_slope([](const auto& g, const auto& x) { return g * x * 2.00001; }), "order 1 gradient"));
  // A slope that is right and a graph that stops there: second order is missing.
  CHECK(fails_with(square_with_slope([](const auto& g, const auto& x) { return g * x.detach() * 2; }),
                   "order 2 gradient"));
  // Right without a graph, wrong with one.
  CHECK(fails_with(square_with_slope([](const auto& g, const auto& x) { return g * x * (recording() ? 2.1 : 2.0); }),
                   "with and without a kept graph"));
  // The third order alone is wrong: 2x + c x^3 with c = 0 and a wrong derivative of its own.
  CHECK(fails_with(square_with_slope([](const auto& g, const auto& x) {
                     const auto nothing =
                         record("nothing", x.detach() * 0, Edge(x, [x](const auto& h) { return h * x * 0.1; }));
                     return g * (x * 2 + nothing - nothing.detach());
                   }),
                   "order 2 gradient"));
  CHECK(fails_with(square_with_slope([](const auto& g, const auto& x) { return sum(g * x * 2); }), "has shape"));

  OpRow row = right_square();
  row.reference = [](const Arrays& x) { return by_number(x[0], [](double v) { return v * v + 1e-9; }); };
  CHECK(fails_with(row, "values in double and the reference"));
  row.reference = [](const Arrays& x) { return array({x[0].count()}, std::vector<double>(6)); };
  CHECK(fails_with(row, "shape in double"));

  row = right_square();
  row.call = [](const auto& x) { return x[0] * x[0] + (x[0].tracked() ? 1e-14 : 0.0); };
  CHECK(fails_with(row, "same bits when it is recorded"));
#ifdef _OPENMP  // a serial build has one thread
  row.call = [](const auto& x) { return x[0] * x[0] * (1 + 1e-6 * threads()); };
  CHECK(fails_with(row, "same bits on 3 threads"));
#endif
  row.call = [](const auto& x) { return x[0] * x[0] * (1 + 1e-14 * static_cast<double>(x[0].size(0))); };
  row.rows_of = {0};
  CHECK(fails_with(row, "when no more follow"));

  row = right_square();
  row.call = [](const auto& x) {
    detail::writable(x[0])[0] += 1;
    return x[0] * x[0];
  };
  CHECK(fails_with(row, "is unchanged"));
  row = right_square();
  row.call = [kept = std::vector<AnyTensor>()](const auto& x) mutable {
    kept.push_back(x[0]);
    return x[0] * x[0];
  };
  CHECK(fails_with(row, "all memory is given back"));
  row.call = [](const auto& x) {
    std::vector<char*> blocks;
    release_cached_memory();
    return x[0] * x[0];
  };
  CHECK(fails_with(row, "asked the system for memory"));

  row = right_square();
  row.large = {};
  CHECK(fails_with(row, "large shapes"));
  row.errors = {bad<ShapeError>([](const auto& x) { reshape(x[0], {5}); }), bad<ValueError>([](const auto&) {}),
                bad<IndexError>([](const auto& x) {
                  fail<ShapeError>("square", "wrong type", {{"x", x[0].shape()}});
                })};
  CHECK(fails_with(row, "bad call 0 in double does not name square"));
  CHECK(fails_with(row, "bad call 1 in float does not throw"));
  CHECK(fails_with(row, "bad call 2 in double, tracked throws another type"));
  CHECK(fails_with(row, "bad call 2 in double does not name the caller's line"));

  // A product whose rule takes both arguments for different tensors.
  row = {.name = "product, wrong when aliased",
         .family = "wrong",
         .call =
             [](const auto& x) {
               const auto a = x[0], b = x[1];
               const double factor = a.body() == b.body() ? 2 : 1;
               return record("product", a.detach() * b.detach(),
                             Edge(a, [b, factor](const auto& g) { return g * b * factor; }),
                             Edge(b, [a, factor](const auto& g) { return g * a * factor; }));
             },
         .inputs = {{{2, 3}}, {{2, 3}}},
         .reference =
             [](const Arrays& x) {
               return by_pair({2, 3}, x[0], x[1], [](double a, double b) { return a * b; });
             },
         .large = {{3, 20000}, {3, 20000}}};
  CHECK(fails_with(row, "one tensor for several inputs"));
  row.aliasing = false;
  CHECK(check_op(row).failures.empty());
}

TEST_CASE("the checks at unusual points notice what is wrong there", "[unusual]") {
  const auto fails = [](const OpRow& row, const std::string& text) { return fails_with(row, text, true); };
  CHECK(check_unusual(right_square()).failures.empty());

  // Right near ordinary numbers; a common part is lost when squares are subtracted.
  OpRow row = right_square();
  row.call = [](const auto& x) { return mean(square(x[0])) - square(mean(x[0])); };
  CHECK(fails(row, "shifted by 1e4: input 0: value in float and double differ"));
  // The same of a gradient alone: e^(x - log of the sum) with the logarithm rounded to the size of x.
  row.call = [](const auto& x) {
    const auto in = x[0];
    const auto total = logsumexp(in.detach());
    return record("logsumexp, wrong", total, Edge(in, [in, total](const auto& g) { return g * exp(in - total); }));
  };
  CHECK(fails(row, "shifted by 1e6: input 0: gradient of input 0 in float and double differ"));
  CHECK(!fails(row, "value in float"));
  CHECK(fails(row, "zero: input 0: value in double and the reference differ"));
  row.inputs[0].never = kShifted;
  CHECK(fails(row, "says why there are points it does not go to"));
  row.inputs[0].because = "this one is wrong";
  CHECK(!fails(row, "shifted"));

  // The two ways differ at 0 alone, and forward mode takes the one that is wrong.
  row = square_with_slope(
      [](const auto& g, const auto& x) { return g * (x * 2 + (recording() ? 1 : 0) * equal(x, x - x)); });
  CHECK(check_op(row).failures.empty());
  CHECK(fails(row, "zero: input 0: gradient of input 0 in double without and with a kept graph differ"));
  CHECK(fails(row, "zero: input 0: forward mode and backward differ"));

  // Overflow inside, where the value is in range.
  row = right_square();
  row.call = [](const auto& x) { return log(exp(x[0])); };
  CHECK(fails(row, "in the tails: input 0: value in float and double differ"));

  row.call = [](const auto& x) { return where(x[0] > -10, x[0], -10); };
  CHECK(fails(row, "is NaN: values that depend on it are not NaN"));
  row.call = [](const auto& x) { return x[0] + 0 * sum(x[0]); };
  CHECK(fails(row, "is +inf: values that do not depend on it change"));
}
