#pragma once
// What training shows while it runs.

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <string>
#include <utility>

#include "graft/io/file.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Seconds that have gone by since it was made.
class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// What the numbers of a training are called.
struct TrainWords {
  std::string step = "step", items = "items", metric = "metric";
};

/// Where training stands: means since the last line.
struct TrainFigures {
  Index step = 0;
  double loss = 0, metric = 0;  ///< a metric that is NaN was not measured
  Index dropped = 0;            ///< items since the last line
};

/// A bar with figures on a terminal, lines otherwise; nothing when quiet. A standard output that cannot be written ends
/// the run with a FileError.
class Progress {
 public:
  /// Of `steps` steps, `first` are done already.
  Progress(std::string name, TrainWords words, Index steps, Index first, bool quiet)
      : name_(std::move(name)),
        words_(std::move(words)),
        steps_(steps),
        first_(first),
        quiet_(quiet),
        terminal_(isatty(fileno(stdout)) != 0) {}

  /// Counts items that were trained on, for the rate.
  void count(Index items) { items_ += items; }
  /// Redraws the bar, ten times a second at most.
  void bar(const TrainFigures& f) {
    if (quiet_ || !terminal_ || drawn_.seconds() < 0.1) return;
    drawn_ = Stopwatch();
    const double share = static_cast<double>(f.step) / static_cast<double>(steps_);
    const double left = run_.seconds() / static_cast<double>(std::max(f.step - first_, Index{1})) *
                        static_cast<double>(steps_ - f.step);
    const auto filled = static_cast<std::size_t>(24 * share);
    std::printf("\r\033[K%-16s [%s%s] %3.0f %%  %s  %s  %d:%02d left", name_.c_str(), std::string(filled, '#').c_str(),
                std::string(24 - filled, '.').c_str(), 100 * share, figures(f).c_str(), rate().c_str(),
                static_cast<int>(left) / 60, static_cast<int>(left) % 60);
    flush_output();
  }
  /// A line that stays.
  void line(const TrainFigures& f, double validation) {
    if (quiet_) return;
    std::printf("%s%-16s %s %lld of %lld  %s  validation %.4f  %s  %.0f s\n", terminal_ ? "\r\033[K" : "",
                name_.c_str(), words_.step.c_str(), static_cast<long long>(f.step), static_cast<long long>(steps_),
                figures(f).c_str(), validation, rate().c_str(), run_.seconds());
    flush_output();
  }

 private:
  std::string rate() const {
    char text[32];
    std::snprintf(text, sizeof text, "%.0f ", static_cast<double>(items_) / run_.seconds());
    return text + words_.items + "/s";
  }
  std::string figures(const TrainFigures& f) const {
    char loss[32], metric[32];
    std::snprintf(loss, sizeof loss, "loss %.3f  ", f.loss);
    std::snprintf(metric, sizeof metric, " %.3f", f.metric);
    return loss + (std::isnan(f.metric) ? "" : words_.metric + metric) +
           (f.dropped > 0 ? "  dropped " + std::to_string(f.dropped) : "");
  }

  std::string name_;
  TrainWords words_;
  Index steps_, first_, items_ = 0;
  bool quiet_, terminal_;
  Stopwatch run_, drawn_;
};

}  // namespace GRAFT_ABI
}  // namespace graft
