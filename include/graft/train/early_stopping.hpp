#pragma once
// The stopping rules of papers on graphs, which are part of what they report: when training ends, and the model of
// which epoch counts.

#include <algorithm>
#include <limits>
#include <span>
#include <vector>

#include "graft/core/options.hpp"
#include "graft/evaluate/intervals.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Looks at the validation figures of every epoch:
///
///     EarlyStopping stopping{.patience = 100};
///     while (!stopping.ends) {
///       ...
///       stopping.look(loss, accuracy);
///       if (stopping.counts) best = net;
///     }
///
/// `window`: the end is when the loss is above the mean of that many before it, and the last model counts (the code of
/// Kipf, Welling 2017). `patience`: the end is after so many epochs in a row without a loss as low or an accuracy as
/// high as the best so far, and the last model with both counts (the code of Velickovic et al. 2018). Neither: training
/// never ends, and the last model counts.
struct EarlyStopping {
  Index window = 0, patience = 0;
  bool counts = false;  ///< the model of this epoch is the one, so far
  bool ends = false;
  double least = std::numeric_limits<double>::infinity(), highest = 0;
  std::vector<double> losses = {};  ///< of all epochs
  Index worse = 0;                  ///< epochs in a row that were neither

  void look(double loss, double accuracy) {
    const bool lower = loss <= least, higher = accuracy >= highest;
    least = std::min(least, loss);
    highest = std::max(highest, accuracy);
    worse = lower || higher ? 0 : worse + 1;
    counts = patience == 0 || (lower && higher);
    const auto before = static_cast<Index>(losses.size());
    ends = patience > 0 && worse >= patience;
    if (window > 0 && before > window)
      ends = ends || loss > mean_interval(std::span(losses).last(static_cast<std::size_t>(window))).mean;
    losses.push_back(loss);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
