// Rows for operators, broadcasting, comparisons and selection (ops/arithmetic.hpp).

#include <cmath>

#include "graft/ops/reduce.hpp"
#include "op_table.hpp"

using namespace graft;

namespace {

template <class F>
OpRow operator_row(const char* name, OpCall call, BadCall mismatch, F reference) {
  return {.name = name,
          .family = "operator",
          .call = std::move(call),
          .inputs = {{{3, 4}, -2, 2}, {{3, 4}, 0.5, 2}},
          .reference = [reference](const Arrays& x) { return by_pair(joined(x), x[0], x[1], reference); },
          .variants = broadcasts,
          .large = {{40, 1, 600}, {2, 600}},
          .errors = {std::move(mismatch)}};
}
template <class F>
OpRow number_row(const char* name, OpCall call, F reference) {
  return {.name = name,
          .family = "operator",
          .call = std::move(call),
          .inputs = {{{3, 4}, 0.5, 2}},
          .reference = [reference](const Arrays& x) { return by_number(x[0], reference); },
          .variants = {{{}}, {{1}}, {{0, 2}}},
          .large = {{3, 16411}},
          .rows_of = {0}};
}
#define OPERATOR(symbol, op)                                                                         \
  operator_row(                                                                                      \
      #op ", operator", [](const auto& x) { return x[0] symbol x[1]; },                              \
      bad_operator<ShapeError>([](const auto& x) { return x[0] symbol wrong_length(x[0]); }, "[5]"), \
      [](double a, double b) { return a symbol b; }),                                                \
      number_row(                                                                                    \
          #op ", tensor and number", [](const auto& x) { return x[0] symbol 3; },                    \
          [](double a) { return a symbol 3; }),                                                      \
      number_row(                                                                                    \
          #op ", number and tensor", [](const auto& x) { return 3.5 symbol x[0]; },                  \
          [](double a) { return 3.5 symbol a; }),

const bool operator_rows = add_op_rows({
    OPERATOR(+, add) OPERATOR(-, subtract) OPERATOR(*, multiply) OPERATOR(/, divide) number_row(
        "multiply, negation", [](const auto& x) { return -x[0]; }, [](double a) { return -a; }),
    number_row(
        "pow, number", [](const auto& x) { return pow(x[0], 2.5); }, [](double a) { return std::pow(a, 2.5); }),
    number_row(
        "maximum, number", [](const auto& x) { return maximum(x[0], 0); }, [](double a) { return a; }),
    number_row(
        "minimum, number", [](const auto& x) { return minimum(x[0], 0); }, [](double) { return 0.0; }),
});

// Comparisons: no gradient; equal numbers are among the test points because both inputs are rounded to halves.
template <class T>
Tensor<T> halves(const Tensor<T>& x) {
  return floor(x.detach() * 2) * 0.5;
}
#define COMPARISON(symbol)                                                                                       \
  OpRow {                                                                                                        \
    .name = "operator" #symbol, .family = "comparison",                                                          \
    .call = [](const auto& x) { return cast<ScalarOf<decltype(x)>>(halves(x[0]) symbol halves(x[1])); },         \
    .inputs = {{{6, 8}, -1, 1}, {{6, 8}, -1, 1}},                                                                \
    .reference =                                                                                                 \
        [](const Arrays& x) {                                                                                    \
          return by_pair(joined(x), x[0], x[1],                                                                  \
                         [](double a, double b) { return double(std::floor(a * 2) symbol std::floor(b * 2)); }); \
        },                                                                                                       \
    .variants = broadcasts, .large = {{40, 1, 600}, {2, 600}},                                                   \
    .errors = {bad_operator<ShapeError>([](const auto& x) { return x[0] symbol wrong_length(x[0]); }, "[5]")},   \
    .orders = 0                                                                                                  \
  }
#define LOGICAL(symbol)                                                                                            \
  OpRow {                                                                                                          \
    .name = "operator" #symbol, .family = "comparison",                                                            \
    .call = [](const auto& x) { return cast<ScalarOf<decltype(x)>>((x[0] > 0) symbol(x[1] > 0)); },                \
    .inputs = {{{6, 8}, -1, 1}, {{6, 8}, -1, 1}},                                                                  \
    .reference =                                                                                                   \
        [](const Arrays& x) {                                                                                      \
          return by_pair(joined(x), x[0], x[1], [](double a, double b) { return double((a > 0) symbol(b > 0)); }); \
        },                                                                                                         \
    .variants = broadcasts, .large = {{40, 1, 600}, {2, 600}},                                                     \
    .errors = {bad_operator<ShapeError>([](const auto& x) { return (x[0] > 0) symbol(wrong_length(x[0]) > 0); },   \
                                        "[5]")},                                                                   \
    .orders = 0                                                                                                    \
  }
const bool comparison_rows = add_op_rows({
    COMPARISON(<),
    COMPARISON(<=),
    COMPARISON(>),
    COMPARISON(>=),
    COMPARISON(==),
    COMPARISON(!=),
    LOGICAL(&&),
    LOGICAL(||),
    {.name = "operator!",
     .family = "comparison",
     .call = [](const auto& x) { return cast<ScalarOf<decltype(x)>>(!(x[0] > 0)); },
     .inputs = {{{6, 8}}},
     .reference = [](const Arrays& x) { return by_number(x[0], [](double a) { return double(!(a > 0)); }); },
     .variants = {{{}}, {{0}}},
     .large = {{3, 16411}},
     .orders = 0},
});

/// A mask over `shape` that is neither constant nor periodic in a power of two.
Tensor<bool> mask_for(const Shape& shape) {
  const Tensor<double> numbers = arange<double>(shape.count());
  const Tensor<double> turned = sin(numbers * 3 + 1);
  return reshape(turned > 0.2, shape);
}
bool in_mask(std::size_t i) { return std::sin(static_cast<double>(i) * 3 + 1) > 0.2; }

const bool selection_rows = add_op_rows({
    {.name = "where",
     .family = "where",
     .call = [](const auto& x) { return where(mask_for(x[0].shape()), x[0], x[1]); },
     .inputs = {{{3, 4}}, {{3, 4}}},
     .reference =
         [](const Arrays& x) {
           std::vector<double> out(joined(x).count());
           for (std::size_t i = 0; i < out.size(); ++i) {
             const std::size_t a = broadcast_offset(i, joined(x), x[0].shape()),
                               b = broadcast_offset(i, joined(x), x[1].shape());
             out[i] = in_mask(a) ? x[0].data()[a] : x[1].data()[b];
           }
           return array(joined(x), out);
         },
     .variants = broadcasts,
     .large = {{40, 1, 600}, {2, 600}},
     .errors = {bad<ShapeError>([](const auto& x) { where(mask_for({5}), x[0], x[1]); }, "mask [5]"),
                bad<ShapeError>(
                    [](const auto& x) {
                      where(mask_for({3, 4}), x[0], wrong_length(x[0]));
                    },
                    "b [5]")}},
    {.name = "where, numbers and a wider mask",
     .family = "where",
     .call =
         [](const auto& x) {
           return where(mask_for({3, 4}), x[0], 2) * where(mask_for({3, 4}), -1, x[0]);
         },
     .inputs = {{{4}}},
     .reference =
         [](const Arrays& x) {
           std::vector<double> out(12);
           for (std::size_t i = 0; i < out.size(); ++i) {
             const double v = x[0].data()[broadcast_offset(i, {3, 4}, x[0].shape())];
             out[i] = in_mask(i) ? -v : 2 * v;
           }
           return array({3, 4}, out);
         },
     .variants = {{{}}, {{1}}, {{3, 1}}},
     .large = {{3, 4}}},
    {.name = "cast",
     .family = "cast",
     .call = [](const auto& x) { return cast<ScalarOf<decltype(x)>>(square(cast<double>(x[0]))); },
     .inputs = {{{3, 4}}},
     .reference = [](const Arrays& x) { return by_number(x[0], [](double a) { return a * a; }); },
     .variants = {{{}}, {{0, 4}}, {{1}}},
     .large = {{3, 16411}}},
    {.name = "leaky_relu",
     .family = "map",
     .call = [](const auto& x) { return leaky_relu(x[0], 0.2); },
     .inputs = {{{3, 7}, -2, 2, true, {0}}},
     .reference = [](const Arrays& x) { return by_number(x[0], [](double a) { return a > 0 ? a : 0.2 * a; }); },
     .variants = {{{}}, {{0, 4}}, {{1}}},
     .large = {{3, 16411}},
     .rows_of = {0}},
    {.name = "elu",
     .family = "map",
     .call = [](const auto& x) { return elu(x[0], 1.3); },
     .inputs = {{{3, 7}, -2, 2, true, {0}}},
     .reference =
         [](const Arrays& x) { return by_number(x[0], [](double a) { return a > 0 ? a : 1.3 * std::expm1(a); }); },
     .variants = {{{}}, {{0, 4}}, {{1}}},
     .large = {{3, 16411}},
     .rows_of = {0}},
    {.name = "clamp",
     .family = "map",
     .call = [](const auto& x) { return clamp(x[0], -0.5, 1); },
     .inputs = {{{3, 7}, -2, 2, true, {-0.5, 1}}},
     .reference =
         [](const Arrays& x) { return by_number(x[0], [](double a) { return std::fmin(std::fmax(a, -0.5), 1.0); }); },
     .variants = {{{}}, {{0, 4}}, {{1}}},
     .large = {{3, 16411}},
     .errors = {bad<ValueError>([](const auto& x) { clamp(x[0], 1, 0); }, "above high")},
     .rows_of = {0}},
    {.name = "clamp, tensors",
     .family = "map",
     .call = [](const auto& x) { return clamp(x[0], x[1], x[2]); },
     .inputs = {{{3, 7}, -2, 2, true, {-0.75, 0.75}}, {{3, 7}, -0.77, -0.73}, {{7}, 0.73, 0.77}},
     .reference =
         [](const Arrays& x) {
           const Tensor<double> raised =
               by_pair(joined({x[0], x[1]}), x[0], x[1], [](double a, double b) { return std::fmax(a, b); });
           return by_pair(joined({raised, x[2]}), raised, x[2], [](double a, double b) { return std::fmin(a, b); });
         },
     .variants = {{{}, {}, {}}, {{0, 4}, {4}, {}}, {{1}, {1}, {1}}, {{2, 3}, {}, {3}}},
     .large = {{3, 16411}, {16411}, {}},
     .errors = {bad<ShapeError>([](const auto& x) { clamp(x[0], x[1], wrong_length(x[0])); }, "[5]")}},
});

}  // namespace
