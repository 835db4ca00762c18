#pragma once
// Numbers of other implementations of transfer methods; see make_transfer_cases.py.

#include <vector>

#include "graft/core/tensor.hpp"

namespace transfer_cases {

using namespace graft;

/// A net of two layers, tuned: the numbers that are trained, in field order, its answers, the gradients of their sum.
struct TunedCase {
  std::vector<Tensor<double>> numbers;
  Tensor<double> answers;
  std::vector<Tensor<double>> gradients;
};
struct LogisticCase {
  Tensor<double> x;
  Tensor<std::int64_t> y;
  Index ways;
  double lambda;
  Tensor<double> weight, bias, chances;
};
struct LogmeCase {
  Tensor<double> x;
  Tensor<std::int64_t> y;
  Index classes;
  double value;
};
struct TiesCase {
  Tensor<double> changes;
  double density;
  Tensor<double> merged;
};

#include "transfer_cases.inc"

}  // namespace transfer_cases
