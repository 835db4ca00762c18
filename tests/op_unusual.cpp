// Every row of the op table far from its ordinary points: the tests tagged [unusual], next to those tagged [optable],
// which sanitizers run alone. Tracked inputs, all together and each alone, are shifted by a common part, zero, at the
// ends of the type's range, or in the tails; or one element is infinite or a NaN.
//
// At each point the value, the gradient and the gradient of a gradient are taken in float, by the plain backward and
// with a kept graph, and held against double on the same numbers; and the two ways against each other, in both types.
// In double the value is held against the row's reference, where that is finite, and forward mode against backward,
// both where no element is infinite or a NaN.
// What they may differ by is kRoundings roundings of the largest number of that result, here or at the ordinary point.
// So an op that loses a common part which no rounding of its results takes away is found. Numbers that are shifted lie
// on halves, so that they, sums and small products of them are exact beside a common part up to 1e6.
//
// A row says what else is unavoidable (`rounding`), and an input which points it does not go to (`never`).
//
// An infinity or a NaN reaches exactly the results that depend on its element, and derivatives agree but for elements
// that those results depend on.

#include <cmath>
#include <limits>

#include "op_check.hpp"
#include "op_point.hpp"

using namespace graft;
using namespace point;

namespace {

constexpr double kRoundings = 64;

/// What is done to every number of an input.
struct Place {
  unsigned point;
  std::string name;
  std::function<double(double, std::mt19937_64&)> moved;
};

const std::vector<Place>& places() {
  static const std::vector<Place> all = [] {
    const auto spread = [](double low, double high) {
      return [=](double v, std::mt19937_64& random) { return std::copysign(uniform(random, low, high), v); };
    };
    std::vector<Place> list;
    for (const char* common : {"1e4", "1e6", "1e8"})
      list.push_back({kShifted, std::string("shifted by ") + common,
                      [part = std::atof(common)](double v, std::mt19937_64&) { return part + v; }});
    // Room for sums of some numbers, which no algorithm can do without.
    constexpr double most = 0x1p118, least = std::numeric_limits<float>::min();
    list.push_back({kZero, "zero", [](double, std::mt19937_64&) { return 0.0; }});
    list.push_back({kHuge, "huge", spread(most / 2, most)});
    list.push_back({kTiny, "tiny", spread(least, 2 * least)});
    list.push_back({kTails, "in the tails", spread(20, 100)});
    return list;
  }();
  return all;
}

/// One result in both types: by the plain backward, and with a kept graph (empty for the value).
template <class T>
struct Ways {
  Inputs<T> plain, kept;
};
template <class T>
using Results = std::array<Ways<T>, 3>;  // value, gradient, gradient of a gradient
constexpr const char* kNames[] = {"value", "gradient", "gradient of a gradient"};

template <class T>
Results<T> results_at(const OpRow& row, const Point& point) {
  Results<T> all;
  all[0].plain = {row.call(convert<T>(point.inputs()))};
  if (row.orders == 0 || !point.differentiable()) return all;
  const Inputs<T> xs = point.tracked<T>();
  for (int order = 0; order < std::min(row.orders, 2); ++order) {
    all[order + 1].plain = point.gradient_of_phi<T>(order, xs, false);
    all[order + 1].kept = point.gradient_of_phi<T>(order, xs, true);
  }
  return all;
}

/// The largest finite number of a list of tensors.
template <class T>
double largest_of(const Inputs<T>& xs) {
  double most = 0;
  for (const Tensor<T>& x : xs)
    for (T value : x.span())
      if (std::isfinite(value)) most = std::max(most, std::abs(static_cast<double>(value)));
  return most;
}

class UnusualChecker : RowChecks {
 public:
  explicit UnusualChecker(const OpRow& row) : row_(row) {}

  CheckReport run() {
    for (std::size_t i = 0; i < row_.inputs.size(); ++i) {
      const Input& input = row_.inputs[i];
      if (input.tracked) tracked_.push_back(i);
      require((input.never == 0) == input.because.empty(),
              "input " + std::to_string(i) + " says why there are points it does not go to");
    }
    const Rounding& rounding = row_.rounding;
    require((rounding.products.empty() && rounding.sums.empty()) == rounding.because.empty(),
            "the row says why rounding is unavoidable");
    if (tracked_.empty()) return report_;
    guarded("", [&] {
      const Arrays drawn = draw_all(row_, shapes_of(row_), 0);
      const Results<double> ordinary = results_at<double>(row_, Point(row_, drawn, 50));
      ordinary_ = {largest_of(ordinary[0].plain), std::max(largest_of(ordinary[1].kept), largest_of(ordinary[2].kept))};
      on_halves_ = drawn;
      for (std::size_t i : tracked_) on_halves_[i] = halves(drawn[i], row_.inputs[i]);
      drawn_ = drawn;
    });
    for (const Place& place : places()) {
      std::vector<std::size_t> all;
      for (std::size_t i : tracked_)
        if (!(row_.inputs[i].never & place.point)) all.push_back(i);
      if (all.size() > 1) move(place, all);
      for (std::size_t i : all) move(place, {i});
    }
    for (std::size_t i : tracked_) {
      if (!(row_.inputs[i].never & kInfinite)) {
        poison(i, std::numeric_limits<double>::infinity(), "+inf");
        poison(i, -std::numeric_limits<double>::infinity(), "-inf");
      }
      if (!(row_.inputs[i].never & kNaN)) poison(i, std::numeric_limits<double>::quiet_NaN(), "NaN");
    }
    return report_;
  }

 private:
  static Numbers halves(const Numbers& x, const Input& input) {
    if (input.spaced || !input.away_from.empty() || !input.also.empty())
      return by_number(x, [](double v) { return std::round(v * 16) / 16; });
    const double low = std::ceil(2 * input.low) / 2, high = std::floor(2 * input.high) / 2;
    return by_number(x, [=](double v) { return std::max(low, std::min(high, std::round(2 * v) / 2)); });
  }

  void move(const Place& place, const std::vector<std::size_t>& which) {
    Arrays inputs = place.point == kShifted ? on_halves_ : drawn_;
    std::string where = place.name + ":";
    for (std::size_t i : which) {
      std::mt19937_64 random = generator(row_.name + place.name, static_cast<int>(i));
      inputs[i] = by_number(inputs[i], [&](double v) { return static_cast<float>(place.moved(v, random)); });
      where += " input " + std::to_string(i);
    }
    guarded(where + ": ", [&] { compare(inputs); });
  }

  /// Largest number of the inputs in `list`, multiplied; at least 1 each.
  static double magnitude(const Arrays& inputs, const std::vector<int>& list) {
    double product = 1;
    for (int i : list) product *= std::max(1.0, largest(inputs[i]));
    return product;
  }

  /// `poisoned`: the input, if any, with an infinity or a NaN.
  void compare(const Arrays& inputs, const std::size_t* poisoned = nullptr) {
    const Point point(row_, inputs, 50);
    const Results<double> exact = results_at<double>(row_, point);
    uncompared_ = poisoned ? causes_of_not_finite(exact[0].plain[0]) : Arrays();
    only_finite_ = poisoned && !row_.inputs[*poisoned].spreads.empty();
    const Results<float> rounded = results_at<float>(row_, point);
    const double products = magnitude(inputs, row_.rounding.products), sums = magnitude(inputs, row_.rounding.sums);
    if (!poisoned) check_reference(exact[0].plain[0], row_.reference(inputs), products * sums);
    if (!poisoned) check_forward_mode(point, exact[1], products * products * sums);
    beyond_ = false;
    for (const Ways<double>& ways : exact)
      beyond_ |= std::max(largest_of(ways.plain), largest_of(ways.kept)) > std::numeric_limits<float>::max();
    for (std::size_t r = 0; r < exact.size(); ++r) {
      const std::string what = kNames[r];
      const auto skipped = [&](std::size_t i) { return r > 0 && poisoned ? &uncompared_[i] : nullptr; };
      const Arrays& reference = exact[r].kept.empty() ? exact[r].plain : exact[r].kept;
      for (std::size_t i = 0; i < reference.size(); ++i) {
        const std::string of = what + (r == 0 ? "" : " of input " + std::to_string(tracked_[i]));
        const double scale =
            std::max(largest(reference[i]), ordinary_[r == 0 ? 0 : 1]) * (r == 2 ? products * products : products);
        near(rounded[r].plain[i], reference[i], scale * sums, skipped(i), of + " in float and double");
        if (exact[r].kept.empty()) continue;
        near(rounded[r].kept[i], reference[i], scale * sums, skipped(i), of + " with a kept graph in float and double");
        near(rounded[r].plain[i], cast<double>(rounded[r].kept[i]), scale, skipped(i),
             of + " in float without and with a kept graph");
        near(exact[r].plain[i], reference[i], scale, skipped(i), of + " in double without and with a kept graph");
      }
    }
  }

  /// In double, <weights, jvp> and <gradient, direction> agree.
  void check_forward_mode(const Point& point, const Ways<double>& gradient, double rounding) {
    if (gradient.plain.empty()) return;
    const auto f = [&](const Arrays& xs) { return point.value(xs); };
    const Numbers tangent = jvp(f, point.tracked<double>(), point.direction(0)).second;
    double forward = 0, backward = 0, size = 0;
    const auto add = [&](double& total, const Numbers& a, const Numbers& b) {
      for (std::size_t i = 0; i < a.span().size(); ++i) {
        total += a.data()[i] * b.data()[i];
        size += std::abs(a.data()[i] * b.data()[i]);
      }
    };
    add(forward, tangent, point.weights());
    for (std::size_t i = 0; i < gradient.plain.size(); ++i) add(backward, gradient.plain[i], point.direction(0)[i]);
    if (!std::isfinite(forward) && !std::isfinite(backward)) return;
    const double allowed = kRoundings * std::numeric_limits<double>::epsilon() * (size + ordinary_[1]) * rounding;
    const double difference = std::abs(forward - backward);
    require(difference <= allowed, "forward mode and backward differ by " + text(difference) + ", allowed " +
                                       text(allowed) + ": " + text(forward) + " and " + text(backward));
  }

  /// At the ordinary point, the gradient of the results that are not finite in `value`: 0 for the elements that they
  /// do not depend on.
  Arrays causes_of_not_finite(const Numbers& value) const {
    if (row_.orders == 0) return {};
    const Numbers weights = by_number(value, [](double v) { return std::isfinite(v) ? 0.0 : 1.0; });
    const Point point(row_, drawn_, 50);
    return vjp([&](const Arrays& xs) { return point.value(xs); }, point.tracked<double>(), weights).second;
  }

  /// The value in double is within the row's tolerance of the reference, where that is finite.
  void check_reference(const Numbers& value, const Numbers& reference, double rounding) {
    const double allowed = row_.value_tolerance * std::max(largest(reference), ordinary_[0]) * rounding;
    double most = 0;
    for (std::size_t i = 0; i < reference.span().size(); ++i) {
      const double x = value.data()[i], y = reference.data()[i];
      if (std::isfinite(y)) most = std::max(most, std::isfinite(x) ? std::abs(x - y) : INFINITY);
    }
    require(most <= allowed,
            "value in double and the reference differ by " + text(most) + ", allowed " + text(allowed));
  }

  /// |a - b| is at most kRoundings roundings of `scale` in T; not finite in the same places, but for overflow. Elements
  /// for which `skipped` has a number other than 0 are not looked at.
  template <class T>
  void near(const Tensor<T>& a, const Numbers& b, double scale, const Numbers* skipped, const std::string& what) {
    const double unit = std::numeric_limits<T>::epsilon() / 2, least = std::numeric_limits<T>::min();
    const double allowed = kRoundings * (unit * std::min(scale, std::numeric_limits<double>::max()) + least);
    double most = 0, x_of_most = 0, y_of_most = 0;
    for (std::size_t i = 0; i < a.span().size(); ++i) {
      const double x = static_cast<double>(a.data()[i]), y = b.data()[i];
      if (x == y || (std::isnan(x) && std::isnan(y)) || (beyond_ && !std::isfinite(x))) continue;
      if (skipped && skipped->data()[i] != 0) continue;
      if (only_finite_ && !(std::isfinite(x) && std::isfinite(y))) continue;
      const double difference = std::isfinite(x) && std::isfinite(y) ? std::abs(x - y) : INFINITY;
      if (difference > most) most = difference, x_of_most = x, y_of_most = y;
    }
    require(most <= allowed, what + " differ by " + text(most) + ", allowed " + text(allowed) + ": " + text(x_of_most) +
                                 " and " + text(y_of_most));
  }

  /// One element of an input is infinite or a NaN. Results that do not depend on it keep their bits; those that do are
  /// NaN when it is one.
  void poison(std::size_t input, double number, const std::string& name) {
    if (drawn_[input].count() == 0) return;
    const auto with = [&](double other) {
      Arrays inputs = drawn_;
      std::vector<double> numbers(inputs[input].span().begin(), inputs[input].span().end());
      numbers[numbers.size() / 2] = other;
      inputs[input] = array(inputs[input].shape(), numbers);
      return inputs;
    };
    guarded("an element of input " + std::to_string(input) + " is " + name + ": ", [&] {
      const Arrays inputs = with(number);
      compare(inputs, &input);
      const Tensor<float> before = row_.call(convert<float>(drawn_)), after = row_.call(convert<float>(inputs));
      const auto moved = [](float from, float to, double size) {
        const double rounding = kRoundings / 2 * std::numeric_limits<float>::epsilon() * size;
        return !(std::abs(to - from) <= rounding || to == from);
      };
      std::vector<bool> depends(before.span().size(), false);
      const Input& drawn = row_.inputs[input];
      const double at = drawn_[input].data()[drawn_[input].count() / 2];
      for (double other : {drawn.low, drawn.high, (at + drawn.low) / 2, (at + drawn.high) / 2, -1e3, 1e3}) {
        const Tensor<float> value = row_.call(convert<float>(with(other)));
        const double size = std::max(ordinary_[0], largest_of(Inputs<float>{value}));
        for (std::size_t i = 0; i < depends.size(); ++i)
          if (moved(before.data()[i], value.data()[i], size)) depends[i] = true;
      }
      bool kept = true, spread = true;
      for (std::size_t i = 0; i < depends.size(); ++i) {
        if (depends[i])
          spread &= !std::isnan(number) || std::isnan(after.data()[i]);
        else
          kept &= !moved(before.data()[i], after.data()[i], ordinary_[0]);
      }
      require(kept || !drawn.spreads.empty(), "values that do not depend on it change");
      require(spread || row_.orders == 0, "values that depend on it are not NaN");
    });
  }

  const OpRow& row_;
  std::vector<std::size_t> tracked_;
  Arrays drawn_, on_halves_;
  std::array<double, 2> ordinary_ = {};  ///< largest value and derivative at the ordinary point
  bool beyond_ = false;                  ///< some result leaves the range of float
  Arrays uncompared_;                    ///< other than 0 for elements whose derivatives are not compared
  bool only_finite_ = false;             ///< results are compared where both are finite
};

}  // namespace

CheckReport check_unusual(const OpRow& row) { return UnusualChecker(row).run(); }
