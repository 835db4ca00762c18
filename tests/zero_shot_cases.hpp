#pragma once
// Numbers of other implementations of what zero-shot methods are judged by; see make_zero_shot_cases.py.

#include <vector>

#include "graft/core/tensor.hpp"

namespace zero_shot_cases {

using namespace graft;

using Rows = std::vector<std::vector<double>>;
struct ProtocolCase {
  Rows scores;
  std::vector<std::int64_t> labels, seen;
  std::vector<double> gammas;
  Rows seen_and_unseen;
  double area, best;
};
struct SpaceCase {
  Rows points, queries;
  std::vector<std::int64_t> right;
  Index k;
  double reciprocal;
  std::vector<std::int64_t> counts;
  double skewness;
};
#include "zero_shot_cases.inc"

inline Tensor<double> matrix(const Rows& rows) {
  std::vector<double> all;
  for (const auto& row : rows) all.insert(all.end(), row.begin(), row.end());
  return from_vector(all, {std::ssize(rows), std::ssize(rows[0])});
}

}  // namespace zero_shot_cases
