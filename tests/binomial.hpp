#pragma once
// Counts that are random, held to their chances.

#include <cmath>

/// A count of n trials with chance p is within five standard deviations.
inline bool near(double found, double n, double p) { return std::abs(found - n * p) < 5 * std::sqrt(n * p * (1 - p)); }
