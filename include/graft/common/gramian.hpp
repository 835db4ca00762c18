#pragma once
// What aggregators see of the tasks' gradients on the host: their inner products, or lengths and cosines, and the
// numbers that a user gives by task.

#include <algorithm>
#include <cmath>

#include "graft/common/aggregator.hpp"
#include "graft/common/checks.hpp"
#include "graft/core/options.hpp"

namespace graft {
inline namespace GRAFT_ABI {
namespace detail {

/// A Gramian [tasks, tasks] in units of `unit`^2, a power of 4 that brings the largest square to between 1 and 4. So
/// numbers are near 1 whatever the gradients' scale, and scaling all gradients by a power of 2 changes no bit of them.
class HostGramian {
 public:
  /// Throws ShapeError for what is not square, ValueError without tasks, for numbers that are not finite and for
  /// squares below 0.
  HostGramian(const char* op, const Tensor<double>& gramian, Site site) {
    if (gramian.rank() != 2 || gramian.size(0) != gramian.size(1))
      fail<ShapeError>(op, "expected a Gramian [tasks, tasks]", {{"gramian", gramian.shape()}}, site);
    tasks_ = gramian.size(0);
    if (tasks_ == 0) fail(op, "there are no tasks", {{"gramian", gramian.shape()}}, site);
    const auto given = [&, numbers = std::data(host(gramian))](Index i, Index j) { return numbers[i * tasks_ + j]; };
    double largest = 0;
    for (Index i = 0; i < tasks_; ++i) {
      for (Index j = 0; j < tasks_; ++j)
        if (!std::isfinite(given(i, j)) || (i == j && given(i, j) < 0))
          fail(op, {"the inner product of gradients ", i, " and ", j, " is ", given(i, j)},
               {{"gramian", gramian.shape()}}, site);
      largest = std::max(largest, given(i, i));
    }
    const int exponent = largest == 0 ? 0 : std::ilogb(largest), half = (exponent - (exponent & 1)) / 2;
    unit_ = std::ldexp(1.0, half);
    numbers_ = List<double>(tasks_ * tasks_);
    for (Index i = 0; i < tasks_; ++i)
      for (Index j = 0; j < tasks_; ++j) numbers_[i * tasks_ + j] = std::ldexp(given(i, j), -2 * half);
  }

  Index tasks() const { return tasks_; }
  double unit() const { return unit_; }
  double operator()(Index i, Index j) const { return numbers_[i * tasks_ + j]; }
  const List<double>& numbers() const { return numbers_; }

 private:
  Index tasks_ = 0;
  double unit_ = 1;
  List<double> numbers_;
};

/// Lengths and cosines of the gradients behind a Gramian; a gradient of 0 has cosine 0 with all, itself too.
class Cosines {
 public:
  /// Throws as HostGramian.
  Cosines(const char* op, const Tensor<double>& gramian, Site site) : Cosines(HostGramian(op, gramian, site)) {}
  explicit Cosines(const HostGramian& gramian) : tasks_(gramian.tasks()), lengths_(tasks_), cosines_(tasks_ * tasks_) {
    List<double> scaled(tasks_);
    for (Index i = 0; i < tasks_; ++i) {
      scaled[i] = std::sqrt(gramian(i, i));
      lengths_[i] = scaled[i] * gramian.unit();
    }
    for (Index i = 0; i < tasks_; ++i)
      for (Index j = 0; j < tasks_; ++j)
        if (scaled[i] > 0 && scaled[j] > 0)
          cosines_[i * tasks_ + j] = i == j ? 1 : std::clamp(gramian(i, j) / scaled[i] / scaled[j], -1.0, 1.0);
  }

  Index tasks() const { return tasks_; }
  double length(Index i) const { return lengths_[i]; }
  double operator()(Index i, Index j) const { return cosines_[i * tasks_ + j]; }
  /// [tasks, tasks]
  Tensor<double> matrix() const { return from_vector(cosines_, {tasks_, tasks_}); }

 private:
  Index tasks_;
  List<double> lengths_, cosines_;
};

/// What a user gave by task, `usual` for each where nothing was given. Throws ValueError unless there are `tasks`
/// numbers, finite and 0 or more.
inline List<double> task_numbers(const char* op, const char* name, const List<double>& given, Index tasks, double usual,
                                 Site site) {
  if (given.empty()) return List<double>(tasks, usual);
  if (given.size() != tasks) fail(op, {given.size(), " numbers of ", name, " for ", tasks, " tasks"}, {}, site);
  for (double number : given) check_option<double>(op, name, number, Range::not_negative, site);
  return given;
}

/// What a user gave for all tasks, for those behind the rows of a round; empty where nothing was given. Throws as
/// `task_numbers` and `check_ids`.
inline List<double> by_row(const char* op, const char* name, const List<double>& given, const TaskGradients& gradients,
                           Site site) {
  List<double> result;
  if (given.empty()) return result;
  const List<double> all = task_numbers(op, name, given, gradients.all_tasks, 0, site);
  check_ids(op, gradients, site);
  for (Index task : gradients.ids) result.push_back(all[task]);
  return result;
}

}  // namespace detail
}  // namespace GRAFT_ABI
}  // namespace graft
