#pragma once
// Learning rates over time. A schedule is a value: a list of pieces, one after another, each of a fixed number of steps
// but the last.

#include <cmath>
#include <limits>
#include <numbers>
#include <string>
#include <vector>

#include "graft/core/errors.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Learning rate as a function of the step, from 0 on. After its last piece has ended it stays at that piece's end.
///
///     const auto rate = Schedule::warm_up(500, Schedule::cosine(1e-3, 10000));
///     optimizer.step(net, gradient, rate(step));
class Schedule {
 public:
  /// The same rate at every step.
  static Schedule constant(double rate) { return Schedule({Form::constant, rate, rate, kForever, 1, 1}); }
  /// rate factor^floor(step / every) (torch: StepLR).
  static Schedule step(double rate, Index every, double factor = 0.1, Site site = Site::current()) {
    check("Schedule::step", every, site);
    return Schedule({Form::step, rate, rate, kForever, every, factor});
  }
  /// A straight line from `from` at step 0 to `to` at step `steps`.
  static Schedule linear(double from, double to, Index steps, Site site = Site::current()) {
    check("Schedule::linear", steps, site);
    return Schedule({Form::linear, from, to, steps, 1, 1});
  }
  /// end + (rate - end) (1 + cos(pi step / steps)) / 2, then `end`. Loshchilov and Hutter, ICLR 2017 (torch:
  /// CosineAnnealingLR up to its first half period).
  static Schedule cosine(double rate, Index steps, double end = 0, Site site = Site::current()) {
    check("Schedule::cosine", steps, site);
    return Schedule({Form::cosine, rate, end, steps, 1, 1});
  }
  /// next(0) (step + 1) / steps for `steps` steps, then `next` from its beginning.
  static Schedule warm_up(Index steps, const Schedule& next, Site site = Site::current()) {
    check("Schedule::warm_up", steps, site);
    const double peak = next(0);
    return linear(peak / static_cast<double>(steps), peak * static_cast<double>(steps + 1) / static_cast<double>(steps),
                  steps)
        .then(next);
  }

  /// This schedule, then `next` from its own step 0 on. Throws ValueError after a schedule without end: give it one
  /// with `for_steps`.
  Schedule then(const Schedule& next, Site site = Site::current()) const {
    if (pieces_.back().steps == kForever) fail("Schedule::then", "the schedule before has no end", {}, site);
    Schedule joined = *this;
    for (const Piece& piece : next.pieces_) joined.pieces_.push_back(piece);
    return joined;
  }
  /// This schedule, its last piece ended after `steps` steps of that piece.
  Schedule for_steps(Index steps, Site site = Site::current()) const {
    check("Schedule::for_steps", steps, site);
    Schedule ended = *this;
    if (ended.pieces_.back().steps != kForever)
      fail("Schedule::for_steps", "the schedule has an end already", {}, site);
    ended.pieces_.back().steps = steps;
    return ended;
  }

  /// The rate at `step`. Throws ValueError for a negative step.
  double operator()(Index step, Site site = Site::current()) const {
    if (step < 0) fail("Schedule", {"step is ", step, ", expected 0 or more"}, {}, site);
    std::size_t i = 0;
    for (; i + 1 < pieces_.size() && step >= pieces_[i].steps; ++i) step -= pieces_[i].steps;
    return pieces_[i](step);
  }

 private:
  static constexpr Index kForever = std::numeric_limits<Index>::max();
  enum class Form { constant, step, linear, cosine };
  struct Piece {
    Form form;
    double from, to;
    Index steps;
    Index every;
    double factor;

    double operator()(Index step) const {
      const double done = step >= steps ? 1 : static_cast<double>(step) / static_cast<double>(steps);
      switch (form) {
        case Form::step:
          return from * std::pow(factor, static_cast<double>((step < steps ? step : steps - 1) / every));
        case Form::linear:
          return from + (to - from) * done;
        case Form::cosine:
          return to + (from - to) * (1 + std::cos(std::numbers::pi * done)) / 2;
        case Form::constant:
          break;
      }
      return from;
    }
  };

  explicit Schedule(const Piece& piece) : pieces_{piece} {}
  static void check(const char* op, Index steps, Site site) {
    if (steps < 1) fail(op, {"the number of steps is ", steps, ", expected 1 or more"}, {}, site);
  }
  std::vector<Piece> pieces_;
};

}  // namespace GRAFT_ABI
}  // namespace graft
