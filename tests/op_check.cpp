// What every row of the op table must satisfy; part of the tests tagged [optable].

#include "op_check.hpp"

#include <cmath>
#include <random>

#include "op_point.hpp"
#include "graft/model/grad.hpp"

using namespace graft;
using namespace point;

namespace {

class Checker : RowChecks {
 public:
  explicit Checker(const OpRow& row) : row_(row) {}

  CheckReport run(bool gradients_only) {
    guarded("", [&] { at_shapes(shapes_of(row_), 0, gradients_only); });
    if (gradients_only) return report_;
    int purpose = 100;
    for (const auto& shapes : row_.variants) {
      purpose += 100;
      std::string where = "at";
      for (const Shape& shape : shapes) where += " " + to_string(shape);
      guarded(where + ": ", [&] { at_shapes(shapes, purpose, false); });
    }
    guarded("errors: ", [&] { errors(); });
    guarded("threads: ", [&] { threads(); });
    guarded("steady state: ", [&] { steady_state(); });
    return report_;
  }

 private:
  void within(double difference, double bound, const std::string& what) {
    require(difference <= bound, what + " differ by " + text(difference) + ", allowed " + text(bound));
  }

  void at_shapes(const std::vector<Shape>& shapes, int purpose, bool gradients_only) {
    require(shapes.size() == row_.inputs.size(), "as many shapes as inputs");
    const Arrays inputs = draw_all(row_, shapes, purpose);
    const Arrays before = copies(inputs);
    values<double>(inputs, row_.value_tolerance);
    values<float>(inputs, row_.float_tolerance);
    const Point point(row_, inputs, purpose + 50);
    const Index in_use = memory_stats().bytes_in_use;
    if (point.differentiable() && row_.orders > 0) {
      gradients(point, row_.orders);
      two_ways(point);
      if (!gradients_only) {
        forward_mode(point);
        if (row_.aliasing) aliasing(inputs, purpose);
      }
    }
    require(memory_stats().bytes_in_use == in_use, "all memory is given back after differentiating");
    if (!gradients_only) {
      graph_changes_no_value<double>(inputs);
      graph_changes_no_value<float>(inputs);
      if (!row_.rows_of.empty() && purpose == 0) independent_rows(inputs);
    }
    for (std::size_t i = 0; i < inputs.size(); ++i)
      require(same_bits(inputs[i], before[i]), "input " + std::to_string(i) + " is unchanged");
  }

  static Arrays copies(const Arrays& xs) {
    Arrays copied;
    for (const Numbers& x : xs) copied.push_back(from_span(x.span(), x.shape()));
    return copied;
  }

  template <class T>
  void values(const Arrays& inputs, double tolerance) {
    const char* type = sizeof(T) == 8 ? "double" : "float";
    const Tensor<T> value = row_.call(convert<T>(inputs));
    const Numbers expected = row_.reference(inputs);
    require(value.shape() == expected.shape(), std::string("shape in ") + type + " is " + to_string(value.shape()) +
                                                   ", the reference has " + to_string(expected.shape()));
    if (!(value.shape() == expected.shape())) return;
    within(gap(value, expected), tolerance * largest(expected),
           std::string("values in ") + type + " and the reference");
  }

  void gradients(const Point& point, int orders) {
    const Arrays xs = point.tracked<double>();
    for (int order = 1; order <= orders; ++order) {
      const Arrays g = point.gradient_of_phi(order - 1, xs, false);
      const Arrays& direction = point.direction(order);
      double product = 0, size = 0;
      for (std::size_t i = 0; i < g.size(); ++i) {
        require(g[i].shape() == xs[i].shape(), "gradient of input " + std::to_string(i) + " has shape " +
                                                   to_string(g[i].shape()) + " instead of " + to_string(xs[i].shape()));
        if (!(g[i].shape() == xs[i].shape())) return;
        for (std::size_t j = 0; j < g[i].span().size(); ++j) {
          const double term = g[i].data()[j] * direction[i].data()[j];
          product += term;
          size += std::abs(term);
        }
      }
      const double expected = point.finite_difference(
          direction, [&](const Arrays& at) { return std::vector<double>{point.phi(order - 1, at).item()}; })[0];
      const double difference = std::isfinite(product - expected) ? std::abs(product - expected) : INFINITY;
      within(
          difference, row_.gradient_tolerance * (0.01 + size),
          "order " + std::to_string(order) + " gradient " + text(product) + " and finite difference " + text(expected));
    }
  }

  /// First-order gradients of kernels, of replays and of the other type.
  void two_ways(const Point& point) {
    const Arrays kernel = point.gradient<double>(), replay = point.gradient<double>(true);
    const Inputs<float> in_float = point.gradient<float>();
    const double size = largest(kernel);
    for (std::size_t i = 0; i < kernel.size(); ++i) {
      const std::string which = " of input " + std::to_string(i);
      within(gap(replay[i], kernel[i]), row_.graph_tolerance * size, "gradients with and without a kept graph" + which);
      within(gap(in_float[i], kernel[i]), row_.float_gradient_tolerance * size,
             "gradients in float and double" + which);
    }
  }

  void forward_mode(const Point& point) {
    const auto f = [&](const Arrays& xs) { return point.value(xs); };
    const Numbers tangent = jvp(f, point.tracked<double>(), point.direction(0)).second;
    const std::vector<double> expected = point.finite_difference(point.direction(0), [&](const Arrays& at) {
      const Numbers value = point.value(at);
      return std::vector<double>(value.span().begin(), value.span().end());
    });
    require(tangent.span().size() == expected.size(), "jvp has the value's shape");
    if (tangent.span().size() != expected.size()) return;
    const Numbers as_numbers = from_vector(expected, tangent.shape());
    within(gap(tangent, as_numbers), row_.gradient_tolerance * (0.01 + largest(as_numbers)),
           "jvp and finite differences");
  }

  /// Tracked inputs of equal shape become one tensor: its gradient is the sum of theirs.
  void aliasing(Arrays inputs, int purpose) {
    std::vector<std::size_t> source(inputs.size());
    bool any = false;
    OpRow merged = row_;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      source[i] = i;
      for (std::size_t j = 0; j < i && source[i] == i; ++j)
        if (row_.inputs[i].tracked && row_.inputs[j].tracked && source[j] == j &&
            inputs[i].shape() == inputs[j].shape())
          source[i] = j;
      if (source[i] == i) continue;
      any = true;
      // The shared numbers must be allowed for both.
      Input& shared = merged.inputs[source[i]];
      const double low = std::max(shared.low, row_.inputs[i].low), high = std::min(shared.high, row_.inputs[i].high);
      if (low < high) shared.low = low, shared.high = high;
      for (double point : row_.inputs[i].away_from) shared.away_from.push_back(point);
      shared.spaced |= row_.inputs[i].spaced;
      if (shared.also != row_.inputs[i].also) shared.also.clear();
    }
    if (!any) return;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      std::mt19937_64 random = generator(row_.name, purpose + 60 + static_cast<int>(i));
      if (source[i] == i)
        inputs[i] = draw(merged.inputs[i], inputs[i].shape(), random);
      else
        merged.inputs[i].tracked = false;
    }
    for (std::size_t i = 0; i < inputs.size(); ++i) inputs[i] = inputs[source[i]];
    const auto share = [source, call = row_.call](const auto& xs) {
      auto shared = xs;
      for (std::size_t i = 0; i < xs.size(); ++i) shared[i] = xs[source[i]];
      return call(shared);
    };
    merged.call = OpCall(share);
    const Point together(merged, inputs, purpose + 70), apart(row_, inputs, purpose + 70);
    const std::string before = where_;
    where_ += "one tensor for several inputs: ";
    // Both points draw the same weights: these come first.
    const Arrays shared_gradient = together.gradient<double>(), own = apart.gradient<double>();
    const Arrays shared_replay = together.gradient<double>(true);
    for (std::size_t t = 0; t < shared_gradient.size(); ++t) {
      std::vector<double> total(shared_gradient[t].span().size(), 0.0);
      for (std::size_t a = 0; a < own.size(); ++a)
        if (source[apart.input_of(a)] == together.input_of(t))
          for (std::size_t i = 0; i < total.size(); ++i) total[i] += own[a].data()[i];
      const Numbers expected = from_vector(total, shared_gradient[t].shape());
      within(gap(shared_gradient[t], expected), 1e-13 * largest(own), "gradient and the sum of the gradients apart");
      within(gap(shared_replay[t], expected), row_.graph_tolerance * largest(own),
             "replayed gradient and the sum of the gradients apart");
    }
    if (row_.smooth_when_aliased) gradients(together, row_.orders < 2 ? row_.orders : 2);
    where_ = before;
  }

  template <class T>
  void graph_changes_no_value(const Arrays& arrays) {
    const Inputs<T> plain = convert<T>(arrays);
    Inputs<T> tracked = plain;
    for (std::size_t i = 0; i < tracked.size(); ++i)
      if (row_.inputs[i].tracked) tracked[i] = variable(plain[i]);
    const Tensor<T> value = row_.call(plain);
    require(same_bits(row_.call(tracked), value), "the value has the same bits when it is recorded");
    Recording off(false);
    require(same_bits(row_.call(tracked), value), "the value has the same bits when recording is off");
  }

  Numbers first_rows(const Numbers& x, Index rows) {
    const Index width = x.size(0) == 0 ? 0 : x.count() / x.size(0);
    return from_span(x.span().first(static_cast<std::size_t>(rows * width)), x.shape().with(0, rows));
  }
  void independent_rows(const Arrays& inputs) {
    const Index all = inputs[row_.rows_of[0]].size(0);
    for (Index rows : {Index{1}, all / 2, all - 1}) {
      if (rows < 1 || rows >= all) continue;
      Arrays fewer = inputs;
      for (int i : row_.rows_of) fewer[i] = first_rows(inputs[i], rows);
      const auto of_type = [&]<class T>(T) {
        const Tensor<T> whole = row_.call(convert<T>(inputs)), part = row_.call(convert<T>(fewer));
        require(part.count() <= whole.count() &&
                    std::memcmp(whole.data(), part.data(), sizeof(T) * part.span().size()) == 0,
                "the first " + std::to_string(rows) + " rows have the same bits when no more follow");
      };
      of_type(0.0);
      of_type(0.0f);
    }
  }

  void errors() {
    const std::string op = row_.name.substr(0, row_.name.find(','));
    const Arrays inputs = draw_all(row_, shapes_of(row_), 0);
    for (std::size_t e = 0; e < row_.errors.size(); ++e) {
      const BadCall& call = row_.errors[e];
      const auto attempt = [&]<class T>(const std::function<void(const Inputs<T>&)>& run, bool tracked,
                                        const std::string& how) {
        Inputs<T> xs = convert<T>(inputs);
        const Inputs<T> before = convert<T>(inputs);
        if (tracked)
          for (std::size_t i = 0; i < xs.size(); ++i)
            if (row_.inputs[i].tracked) xs[i] = variable(xs[i]);
        const std::string which = "bad call " + std::to_string(e) + how;
        bool thrown = false;
        try {
          run(xs);
        } catch (const std::exception& error) {
          thrown = true;
          const std::string what = error.what();
          const auto has = [&](const std::string& part) { return what.find(part) != std::string::npos; };
          require(call.is_expected(error), which + " throws another type, saying: " + what);
          require(has("graft: " + op + ": "), which + " does not name " + op + ": " + what);
          require(has(call.text), which + " does not say \"" + call.text + "\": " + what);
          require(!call.names_line || has("op_rows_"), which + " does not name the caller's line: " + what);
          require(dynamic_cast<const ShapeError*>(&error) == nullptr || has("["), which + " shows no shape: " + what);
        }
        require(thrown, which + " does not throw");
        for (std::size_t i = 0; i < xs.size(); ++i)
          require(same_bits(xs[i].detach(), before[i]), which + " leaves input " + std::to_string(i) + " unchanged");
      };
      attempt(call.in_double, false, " in double");
      attempt(call.in_double, true, " in double, tracked");
      attempt(call.in_float, false, " in float");
      attempt(call.in_float, true, " in float, tracked");
    }
  }

  void threads() {
    require(row_.large.size() == row_.inputs.size(), "the row gives large shapes for all inputs");
    if (row_.large.size() != row_.inputs.size()) return;
    const Arrays inputs = draw_all(row_, row_.large, 40);
    const auto of_type = [&]<class T>(T, std::initializer_list<int> counts) {
      const Inputs<T> xs = convert<T>(inputs);
      set_threads(1);
      const Point point(row_, inputs, 90);
      const bool differentiable = point.differentiable() && row_.orders > 0;
      const Tensor<T> value = row_.call(xs);
      const Inputs<T> gradient = differentiable ? point.template gradient<T>() : Inputs<T>();
      const Inputs<T> replay = differentiable ? point.template gradient<T>(true) : Inputs<T>();
      for (int count : counts) {
        set_threads(count);
        const std::string on = " on " + std::to_string(count) + " threads";
        require(same_bits(row_.call(xs), value), "the value has the same bits" + on);
        if (!differentiable) continue;
        const Inputs<T> again = point.template gradient<T>(), replayed = point.template gradient<T>(true);
        for (std::size_t i = 0; i < again.size(); ++i) {
          require(same_bits(again[i], gradient[i]),
                  "the gradient of input " + std::to_string(i) + " has the same bits" + on);
          require(same_bits(replayed[i], replay[i]),
                  "the replayed gradient of input " + std::to_string(i) + " has the same bits" + on);
        }
      }
      set_threads(0);
    };
    of_type(0.0f, {1, 2, 3, 8});
    of_type(0.0, {3});
    if (!row_.rows_of.empty()) independent_rows(inputs);
  }

  void steady_state() {
    const Inputs<float> xs = convert<float>(draw_all(row_, shapes_of(row_), 0));
    const Tensor<float> weights = ones<float>(row_.call(xs).shape());
    const auto step = [&] {
      if (row_.orders > 0)
        vjp([&](const Inputs<float>& at) { return row_.call(at); }, xs, weights);
      else
        row_.call(xs);
    };
    for (int i = 0; i < 5; ++i) step();
    const Index before = memory_stats().system_allocations;
    for (int i = 0; i < 20; ++i) step();
    const Index asked = memory_stats().system_allocations - before;
    require(asked == 0, "20 steps after the first asked the system for memory " + std::to_string(asked) + " times");
  }

  const OpRow& row_;
};

}  // namespace

CheckReport check_op(const OpRow& row, bool gradients_only) { return Checker(row).run(gradients_only); }
