#pragma once
// Numbers at every exponent of a type, and how far a value is from the exact one in units of its last place.

#include <cmath>
#include <limits>
#include <random>
#include <vector>

using Wide = long double;
template <class T>
using Limits = std::numeric_limits<T>;

/// One unit in the last place of a T near x.
template <class T>
Wide unit(Wide x) {
  int exponent = Limits<T>::min_exponent;
  if (std::fabs(x) >= Limits<T>::min()) std::frexp(x, &exponent);
  return std::ldexp(Wide(1), exponent - Limits<T>::digits);
}

/// Numbers of both signs at every exponent, denormal ones included, and evenly spread ones where functions are curved.
template <class T, int Density = 1>
const std::vector<T>& everywhere() {
  static const std::vector<T> numbers = [] {
    std::vector<T> made;
    std::mt19937_64 engine(1);
    std::uniform_real_distribution<double> fraction(1, 2);
    for (int e = Limits<T>::min_exponent - Limits<T>::digits; e < Limits<T>::max_exponent; ++e)
      for (int i = 0; i < (sizeof(T) == 4 ? 16 : 4) * Density; ++i) {
        const T x = static_cast<T>(std::ldexp(i == 0 ? 1 : fraction(engine), e));
        made.insert(made.end(), {x, -x});
      }
    for (const double width : {1.0, 10.0, 100.0, 750.0}) {
      std::uniform_real_distribution<double> number(-width, width);
      for (int i = 0; i < (1 << 13) * Density; ++i) made.push_back(static_cast<T>(number(engine)));
    }
    while (made.size() % 16 != 0) made.push_back(T(1));
    return made;
  }();
  return numbers;
}

/// Whether `value` is what `exact` rounds to at the ends of the range, where there is no error to measure: an infinity,
/// a NaN, or below the smallest normal number, where zero will do.
template <class T>
bool is_end(T value, Wide exact, bool& right) {
  const T rounded = static_cast<T>(exact);
  if (std::isnan(rounded)) {
    right = std::isnan(value);
  } else if (std::isinf(rounded) || std::isinf(value)) {
    right = value == rounded;
  } else if (std::fabs(exact) < Limits<T>::min()) {
    right = std::fabs(value - exact) <= Limits<T>::min();
  } else {
    return false;
  }
  return true;
}
