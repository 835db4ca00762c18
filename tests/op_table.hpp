#pragma once
// The op table: one row an op. Every standing check (op_check.cpp) runs over every row: values in double and float
// against a reference, gradients of order 1 to 3 against finite differences, the two ways of a first-order gradient,
// aliasing, empty and size-one shapes, errors, bits at 1, 2, 3 and 8 threads, forward mode, steady-state allocations,
// leaks; and the points of op_unusual.cpp.
//
// To add an op, write a row into a tests/op_rows_<family>.cpp (any such file is built in; no other file changes):
//
//     #include "graft/ops/softmax.hpp"
//     #include "op_table.hpp"
//     using namespace graft;
//     static const bool rows = add_op_rows({
//         {// "op" or "op, which case": the part before the comma is what errors name.
//          .name = "log_softmax",
//          // The mutation check breaks a derivative of every family.
//          .family = "softmax",
//          // x is a vector of Tensor<double> or Tensor<float>.
//          .call = [](const auto& x) { return log_softmax(x[0], -1); },
//          // Shape, lowest and highest value; see Input.
//          .inputs = {{{3, 5}, -2, 2}},
//          // Plain loops in double, independent of the op; gives the shape too.
//          .reference = [](const Arrays& x) { return by_row(x[0], [](std::span<double> row) { ... }); },
//          // Further shapes, one list of shapes a variant: empty, size one, rank 1 ...
//          .variants = {{{0, 5}}, {{1, 1}}},
//          // Shapes big enough for several threads.
//          .large = {{300, 257}},
//          .errors = {bad<IndexError>([](const auto& x) { log_softmax(x[0], 7); })}},
//     });
//
// What an op takes besides real tensors (indices, masks, graphs, options) is made inside `call`, from the inputs'
// shapes, so that it fits every variant; the reference makes it the same way. A real tensor that gets no gradient is an
// input with `.tracked = false`. An op with several results gets one row a result. Kinks (relu at 0, ties of max) have
// no finite difference: keep test points away from them with the range, with `.away_from`, or with `.spaced`; `.also`
// puts elements on their other side.
// `ScalarOf<decltype(x)>` is the element type inside `call`.

#include <array>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <vector>

#include "op_references.hpp"

template <class X>
using ScalarOf = typename std::remove_cvref_t<X>::value_type::Scalar;

/// Points far from the ordinary ones at which every row is checked too; a set of bits. See op_unusual.cpp.
enum Unusual : unsigned {
  kShifted = 1,   ///< a common part of 1e4, 1e6, 1e8
  kZero = 2,      ///< nothing but zeros
  kHuge = 4,      ///< about the largest number of float
  kTiny = 8,      ///< about its smallest normal one
  kTails = 16,    ///< 20 to 100, of either sign
  kInfinite = 32, ///< one element is infinite
  kNaN = 64       ///< one element is a NaN
};

/// How one input is drawn: uniform in [low, high] or, each element at random, in one of several intervals; the same
/// numbers in every run.
struct Input {
  graft::Shape shape;
  double low = -1, high = 1;
  bool tracked = true;                 ///< false: no gradient is asked for
  std::vector<double> away_from = {};  ///< no value within 0.05 of these
  bool spaced = false;                 ///< all values different by at least (high - low) / (2 count): no ties
  unsigned never = 0;                  ///< unusual points that this input does not go to
  std::string because = {};            ///< why not
  std::string spreads = {};  ///< why its infinities and NaNs reach results that do not depend on them
  std::vector<std::array<double, 2>> also = {};  ///< further intervals: the other sides of kinks
};

/// For inputs that do not go to a point.
inline const char* const squares_leave_range = "squares of numbers of that size leave the range";

/// Rounding at unusual points that no way of computing the op avoids.
struct Rounding {
  /// Errors count relative to the product of the largest numbers of these inputs, those of second derivatives to its
  /// square: products of them are rounded before what they share cancels.
  std::vector<int> products = {};
  /// What is added to these inputs is rounded: float and double differ by as much, but not the ways in one type.
  std::vector<int> sums = {};
  std::string because = {};
};

/// A generic lambda over the inputs, held for double and for float.
struct OpCall {
  std::function<graft::Tensor<double>(const Inputs<double>&)> in_double;
  std::function<graft::Tensor<float>(const Inputs<float>&)> in_float;

  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, OpCall>) OpCall(F f) : in_double(f), in_float(f) {}
  template <class T>
  graft::Tensor<T> operator()(const Inputs<T>& x) const {
    if constexpr (std::is_same_v<T, double>)
      return in_double(x);
    else
      return in_float(x);
  }
};

/// A call that must throw exactly `E`, with a text that names the op, for plain and tracked inputs of both types.
struct BadCall {
  std::function<void(const Inputs<double>&)> in_double;
  std::function<void(const Inputs<float>&)> in_float;
  std::function<bool(const std::exception&)> is_expected;
  std::string text;        ///< what the message must contain besides the op's name
  bool names_line = true;  ///< false for operators, which cannot know their caller's line
};
template <class E, class F>
BadCall bad(F f, std::string text = "") {
  return {f, f, [](const std::exception& error) { return typeid(error) == typeid(E); }, std::move(text)};
}
/// The same for an operator.
template <class E, class F>
BadCall bad_operator(F f, std::string text = "") {
  BadCall call = bad<E>(f, std::move(text));
  call.names_line = false;
  return call;
}

struct OpRow {
  std::string name;
  std::string family;
  OpCall call;
  std::vector<Input> inputs;
  std::function<graft::Tensor<double>(const Arrays&)> reference;
  std::vector<std::vector<graft::Shape>> variants = {};
  std::vector<graft::Shape> large = {};
  std::vector<BadCall> errors = {};
  /// Derivatives that exist; 0 for piecewise constant ops.
  int orders = 3;
  /// May inputs of equal shape be one tensor?
  bool aliasing = true;
  /// False when equal inputs are a kink, as in maximum(x, x).
  bool smooth_when_aliased = true;
  /// Inputs cut along axis 0 into independent rows (as is the result): the bits of the first rows must not depend on
  /// how many follow.
  std::vector<int> rows_of = {};
  /// Relative to the largest reference value, in double.
  double value_tolerance = 1e-12;
  double float_tolerance = 2e-6;
  /// Gradients in double against finite differences, relative.
  double gradient_tolerance = 1e-6;
  /// Gradients in float against those in double, relative to the largest.
  double float_gradient_tolerance = 2e-5;
  /// Gradients in double with a kept graph against those without, relative to the largest.
  double graph_tolerance = 1e-11;
  /// Besides that of the results, at unusual points.
  Rounding rounding = {};
};

inline std::vector<OpRow>& op_rows() {
  static std::vector<OpRow> rows;
  return rows;
}
inline bool add_op_rows(std::vector<OpRow> rows) {
  for (OpRow& row : rows) op_rows().push_back(std::move(row));
  return true;
}

// ---- Pieces for rows -----------------------------------------------------------------------------------------------

/// Every way in which two shapes broadcast, empties and size-one axes included.
inline const std::vector<std::vector<graft::Shape>> broadcasts = {
    {{}, {}},  {{1}, {1}}, {{0}, {0}},          {{0, 3}, {3}},    {{3}, {4, 3}}, {{4, 1}, {3}},
    {{}, {5}}, {{5}, {}},  {{2, 1, 3}, {5, 1}}, {{1, 0}, {3, 1}}, {{4}, {4}}};
/// A tensor that broadcasts with no input of the table.
template <class T>
auto wrong_length(const graft::Tensor<T>&) {
  return graft::zeros<T>({5});
}
/// The row of the squares of a linear op, from the row of the op without `call`.
template <class Op>
OpRow squared(OpRow row, Op op) {
  row.call = [op](const auto& x) { return square(op(x)); };
  row.reference = [op = row.reference](const Arrays& x) { return by_number(op(x), [](double v) { return v * v; }); };
  return row;
}
/// Stands for the call that `squared` fills in.
inline const auto later = [](const auto& x) { return x[0]; };
