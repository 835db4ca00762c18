// What every row of the method table must satisfy; part of the tests tagged [methods].

#include <cmath>

#include "graft/model/grad.hpp"
#include "graft/ops/reduce.hpp"
#include "method_table.hpp"

using namespace graft;

namespace {

class Checker : RowChecks {
 public:
  explicit Checker(const MethodRow& row) : row_(row) {}

  CheckReport run() {
    require(!row_.paper.empty() && !row_.header.empty() && !row_.functions.empty(),
            "the row names header, paper and functions");
    require(!row_.properties.empty(), "the row has properties");
    require(!row_.errors.empty(), "the row has bad uses");
    guarded("bits: ", [&] { bits(); });
    guarded("steady state: ", [&] { steady_state(); });
    if (row_.loss) guarded("derivatives: ", [&] { derivatives(); });
    guarded("errors: ", [&] { errors(); });
    return report_;
  }

 private:
  void bits() {
    set_threads(1);
    const Random random(5);
    const Tensor<float> result = row_.run(random);
    double size = 0;
    for (float value : result.span()) size += std::abs(value);
    require(std::isfinite(size) && size > 0, "the result is finite and not zero");
    for (int threads : {1, 2, 3, 8}) {
      set_threads(threads);
      require(same_bits(row_.run(random), result), "the same bits on " + std::to_string(threads) + " threads");
    }
  }

  void steady_state() {
    set_threads(2);
    for (int i = 0; i < 5; ++i) row_.run(Random(5));
    const MemoryStats before = memory_stats();
    for (int i = 0; i < 100; ++i) row_.run(Random(5));
    const MemoryStats after = memory_stats();
    require(after.system_allocations == before.system_allocations,
            "100 repetitions asked the system for memory " +
                std::to_string(after.system_allocations - before.system_allocations) + " times");
    require(after.bytes_in_use == before.bytes_in_use,
            "100 repetitions kept " + std::to_string(after.bytes_in_use - before.bytes_in_use) + " bytes");
  }

  /// Along random directions u and v: <grad f, u> and <H u, v> against differences of f and of <grad f, u>.
  void derivatives() {
    const Tensor<double>& x = row_.loss_at;
    const Tensor<double> u = randn<double>(x.shape(), Random(1)), v = randn<double>(x.shape(), Random(2));
    const auto f = [&](const Tensor<double>& at) { return row_.loss(at); };
    const auto along = [&](const Tensor<double>& at, const Tensor<double>& direction) {
      return sum(grad(f, at) * direction).item();
    };
    const auto close = [&](double value, double expected, const std::string& what) {
      require(std::abs(value - expected) <= 1e-6 * (0.01 + std::abs(expected)),
              what + " is " + std::to_string(value) + ", by finite differences " + std::to_string(expected));
    };
    close(along(x, u), slope_at_zero([&](double t) { return f(x + t * u).item(); }), "the first derivative");
    const double second = sum(hvp(f, x, u).second * v).item();
    close(second, slope_at_zero([&](double t) { return along(x + t * v, u); }), "the second derivative");
    require(second != 0, "the second derivative is not zero");
  }

  void errors() {
    for (std::size_t e = 0; e < row_.errors.size(); ++e) {
      const BadUse& use = row_.errors[e];
      const std::string which = "bad use " + std::to_string(e);
      bool thrown = false;
      try {
        use.run();
      } catch (const std::exception& error) {
        thrown = true;
        const std::string what = error.what();
        const auto has = [&](const std::string& part) { return what.find(part) != std::string::npos; };
        bool named = false;
        for (const std::string& function : row_.functions) named |= has("graft: " + function + ": ");
        require(named, which + " does not name the method: " + what);
        require(use.is_expected(error), which + " throws another type, saying: " + what);
        require(has(use.text), which + " does not say \"" + use.text + "\": " + what);
        require(has("method_"), which + " does not name the caller's line: " + what);
      }
      require(thrown, which + " does not throw");
    }
  }

  const MethodRow& row_;
};

}  // namespace

CheckReport check_method(const MethodRow& row) { return Checker(row).run(); }
