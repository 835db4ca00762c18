#pragma once
// The method table: one row a method (one header of fewshot/, multitask/, generalise/, protocol/ ...). Standing checks
// run over every row (method_check.cpp): the same bits at 1, 2, 3 and 8 threads and when run twice, no memory asked of
// the system and none kept over 100 repetitions, first and second derivatives against finite differences where the
// method is a loss, errors that name the method and the caller's line and come before any work. A row's properties are
// its own tests, named after what the method's paper promises: closed forms, known limits, invariances.
//
// To add a method, write a row into a tests/method_rows_<folder>.cpp (any such file is built in; no other file
// changes):
//
//     static const bool rows = add_method_rows({
//         {.name = "pcgrad",
//          .header = "graft/multitask/pcgrad.hpp",
//          .paper = "Yu et al., Gradient surgery for multi-task learning, NeurIPS 2020",
//          .functions = {"pcgrad"},                                        // the header's public functions
//          .use = "pcgrad(jacobian, random)",                              // for docs/methods.md
//          .run = [](const Random& random) { return pcgrad(...); },        // one use, big enough for several threads
//          .errors = {bad_use<ShapeError>([] { pcgrad(...); }, "[4]")},
//          .properties = {{"orthogonal to the conflicting partner", [] { CHECK(...); }}}},
//     });

#include <functional>
#include <string>
#include <typeinfo>
#include <vector>

#include "check_report.hpp"
#include "graft/core/tensor.hpp"

/// A use that must throw exactly `E`, with a text that names one of the method's functions and holds `text`.
struct BadUse {
  std::function<void()> run;
  std::function<bool(const std::exception&)> is_expected;
  std::string text;
};
template <class E, class F>
BadUse bad_use(F f, std::string text = "") {
  return {f, [](const std::exception& error) { return typeid(error) == typeid(E); }, std::move(text)};
}

/// Bad uses of several kinds, behind one another.
inline std::vector<BadUse> joined(std::vector<BadUse> some, const std::vector<BadUse>& more) {
  some.insert(some.end(), more.begin(), more.end());
  return some;
}

struct MethodProperty {
  std::string name;
  std::function<void()> check;  ///< with Catch's CHECK
};

struct MethodRow {
  std::string name;
  std::string header;
  std::string paper;
  std::vector<std::string> functions;
  std::string use = {};  ///< a line of code, for docs/methods.md
  std::function<graft::Tensor<float>(const graft::Random&)> run;
  /// A smooth scalar made with the method, at any point [n]; empty for methods that are no differentiable loss.
  std::function<graft::Tensor<double>(const graft::Tensor<double>&)> loss = {};
  graft::Tensor<double> loss_at = {};
  std::vector<BadUse> errors = {};
  std::vector<MethodProperty> properties = {};
};

inline std::vector<MethodRow>& method_rows() {
  static std::vector<MethodRow> rows;
  return rows;
}
inline bool add_method_rows(std::vector<MethodRow> rows) {
  for (MethodRow& row : rows) method_rows().push_back(std::move(row));
  return true;
}

/// The standing checks of one row; its properties are not among them.
CheckReport check_method(const MethodRow& row);

/// f(x + t v) as a function of t, differentiated at 0 by central differences, extrapolated twice: error of order
/// step^6.
template <class F>
double slope_at_zero(F f, double step = 4e-3) {
  double d[3];
  for (int level = 0; level < 3; ++level) {
    const double h = step / (1 << level);
    d[level] = (f(h) - f(-h)) / (2 * h);
  }
  const double coarse = (4 * d[1] - d[0]) / 3, fine = (4 * d[2] - d[1]) / 3;
  return (16 * fine - coarse) / 15;
}
