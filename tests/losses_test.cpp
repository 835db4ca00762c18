// Properties of the losses: limits, closed forms, relations between them, ruled-out classes, what the graph keeps.

#include <cmath>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "graft/model/grad.hpp"
#include "graft/ops/losses.hpp"

using namespace graft;

namespace {

using Labels = Tensor<std::int64_t>;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

Tensor<double> one_hot(const Labels& labels, Index classes) {
  std::vector<double> out(labels.count() * classes);
  for (Index i = 0; i < labels.count(); ++i) out[i * classes + labels.data()[i]] = 1;
  return from_vector(out, {labels.count(), classes});
}
/// Every number is finite, and zero where `zero`.
bool finite(const Tensor<double>& x, bool zero = false) {
  for (double value : x.span())
    if (!std::isfinite(value) || (zero && value != 0)) return false;
  return true;
}
const Labels labels = tensor<std::int64_t>({2, 0, 4, 1});
Tensor<double> some_logits() { return randn<double>({4, 5}, Random(1)) * 2; }

}  // namespace

TEST_CASE("equal logits cost ln C, whatever the smoothing", "[ops]") {
  for (double smoothing : {0.0, 0.1, 0.5, 1.0})
    for (double logit : {0.0, 3.0, -700.0})
      CHECK(cross_entropy(full<double>({4, 5}, logit), labels, {.label_smoothing = smoothing}).item() ==
            Approx(std::log(5.0)).epsilon(1e-13));
}

TEST_CASE("full smoothing forgets the labels", "[ops]") {
  const auto x = some_logits();
  const CrossEntropyOptions<double> full_smoothing{.label_smoothing = 1};
  const double value = cross_entropy(x, labels, full_smoothing).item();
  CHECK(value == Approx(cross_entropy(x, tensor<std::int64_t>({0, 0, 0, 0}), full_smoothing).item()).epsilon(1e-13));
  CHECK(value == Approx(-mean(log_softmax(x)).item()).epsilon(1e-13));
}

TEST_CASE("labels and one-hot targets give the same loss and gradient", "[ops]") {
  const auto x = some_logits(), t = one_hot(labels, 5);
  for (double smoothing : {0.0, 0.3})
    for (Reduction reduction : {Reduction::mean, Reduction::sum, Reduction::none}) {
      const CrossEntropyOptions<double> options{.label_smoothing = smoothing, .reduction = reduction};
      CHECK(all_close(cross_entropy(x, labels, options), cross_entropy(x, t, options), 1e-12, 1e-15));
      const auto by_label = grad([&](const auto& v) { return sum(cross_entropy(v, labels, options)); }, x);
      const auto by_target = grad([&](const auto& v) { return sum(cross_entropy(v, t, options)); }, x);
      CHECK(all_close(by_label, by_target, 1e-12, 1e-15));
    }
}

TEST_CASE("the gradient of cross-entropy is softmax less target over n", "[ops]") {
  const auto x = some_logits();
  const auto g = grad([](const auto& v) { return cross_entropy(v, labels); }, x);
  CHECK(all_close(g, (softmax(x) - one_hot(labels, 5)) / 4, 1e-12, 1e-15));
}

TEST_CASE("targets equal to the prediction: the loss is the entropy, the gradient zero", "[ops]") {
  const auto x = some_logits(), p = softmax(x);
  const CrossEntropyOptions<double> each{.reduction = Reduction::none};
  CHECK(all_close(cross_entropy(x, p, each), -sum(p * log(p), {1}), 1e-12));
  const auto g = grad([&](const auto& v) { return cross_entropy(v, p); }, x);
  CHECK(all_close(g, zeros<double>({4, 5}), 0, 1e-16));
}

TEST_CASE("logits of any size cost what they should", "[ops]") {
  const auto x = tensor<float>({{1e4f, 0}, {-1e30f, 1e30f}});
  const auto loss = cross_entropy(x, tensor<std::int64_t>({1, 0}), {.reduction = Reduction::none});
  CHECK(loss.at({0}) == 1e4f);
  CHECK(loss.at({1}) == 2e30f);
  CHECK(cross_entropy(x, tensor<std::int64_t>({0, 1})).item() == 0);
}

TEST_CASE("a class with a logit of -inf is as if it were not there", "[ops]") {
  const auto x = tensor<double>({{0.3, -kInfinity, 1.5, -0.7}}), without = tensor<double>({{0.3, 1.5, -0.7}});
  const Labels label = tensor<std::int64_t>({2}), label_without = tensor<std::int64_t>({1});
  CHECK(cross_entropy(x, label).item() == Approx(cross_entropy(without, label_without).item()).epsilon(1e-14));
  const auto targets = tensor<double>({{0.5, 0, 0.25, 0.25}});
  for (bool keep : {false, true}) {
    const auto loss = [&](const auto& v) { return cross_entropy(v, label); };
    const auto g = grad(loss, x, {.create_graph = keep});
    const auto expected = grad([&](const auto& v) { return cross_entropy(v, label_without); }, without);
    CHECK(g.at({0, 1}) == 0);
    for (Index i : {0, 1, 2}) CHECK(g.at({0, i + (i > 0)}) == Approx(expected.at({0, i})).epsilon(1e-13));
    const auto soft = [&](const auto& v) { return cross_entropy(v[0], v[1]); };
    for (const auto& part : grad(soft, std::vector{x, targets}, {.create_graph = keep})) {
      CHECK(part.at({0, 1}) == 0);
      CHECK(finite(part));
    }
    // The label of a class that is ruled out: infinitely wrong, and no direction to go.
    const auto wrong = [&](const auto& v) { return cross_entropy(v, tensor<std::int64_t>({1})); };
    CHECK(wrong(x).item() == kInfinity);
    CHECK(finite(grad(wrong, x, {.create_graph = keep})));
  }
  CHECK(cross_entropy(x, targets).item() ==
        Approx(cross_entropy(without, tensor<double>({{0.5, 0.25, 0.25}})).item()).epsilon(1e-14));
  const auto nothing = full<double>({1, 3}, -kInfinity);
  CHECK(cross_entropy(nothing, tensor<std::int64_t>({0})).item() == kInfinity);
  CHECK(finite(grad([](const auto& v) { return cross_entropy(v, tensor<std::int64_t>({0})); }, nothing), true));
}

TEST_CASE("labels of either integer type, on any leading axes", "[ops]") {
  const auto x = some_logits();
  CHECK(same_bits(cross_entropy(x, labels), cross_entropy(x, tensor<std::int32_t>({2, 0, 4, 1}))));
  CHECK(same_bits(cross_entropy(reshape(x, {2, 2, 5}), reshape(labels, {2, 2})), cross_entropy(x, labels)));
}

TEST_CASE("a loss of no samples: the sum is 0, the mean NaN", "[ops]") {
  const auto x = zeros<double>({0, 5});
  const Labels none = zeros<std::int64_t>({0});
  CHECK(cross_entropy(x, none, {.reduction = Reduction::sum}).item() == 0);
  CHECK(std::isnan(cross_entropy(x, none).item()));
  CHECK(mse(x, x, Reduction::sum).item() == 0);
  CHECK(std::isnan(mse(x, x).item()));
}

TEST_CASE("cross-entropy keeps one number a sample for the way back", "[ops]") {
  const auto x = variable(randn<float>({500, 1000}, Random(2)));
  const Labels zero = zeros<std::int64_t>({500});
  const Index before = memory_stats().bytes_in_use;
  const auto loss = cross_entropy(x, zero);
  // 500 numbers, with room for rounding blocks up: far below the 2 MB of one array of probabilities.
  CHECK(memory_stats().bytes_in_use - before < 16 * 1024);
  CHECK(loss.tracked());
}

TEST_CASE("squared error of known differences", "[ops]") {
  const auto a = randn<double>({3, 4}, Random(5));
  CHECK(mse(a, a).item() == 0);
  CHECK(mse(a, a + 2).item() == Approx(4).epsilon(1e-14));
  CHECK(mse(a, a - 2, Reduction::sum).item() == Approx(48).epsilon(1e-14));
  const auto b = randn<double>({3, 4}, Random(6));
  CHECK(all_close(grad([&](const auto& v) { return mse(v, b); }, a), (a - b) * 2 / 12, 1e-14));
}

TEST_CASE("binary cross-entropy is cross-entropy of two classes", "[ops]") {
  // The logarithm of a sum near 1 is right to one rounding of 1, not of itself.
  for (double x : {-30.0, -2.0, 0.0, 0.5, 30.0})
    for (Index t : {0, 1}) {
      const double two = cross_entropy(tensor<double>({{0, x}}), tensor<std::int64_t>({t})).item();
      CHECK(binary_cross_entropy_with_logits(tensor<double>({x}), tensor<double>({double(t)})).item() ==
            Approx(two).epsilon(1e-12).margin(0x1p-52));
    }
}

TEST_CASE("binary cross-entropy is accurate far from 0 and smooth at 0", "[ops]") {
  const auto loss = [](double x, double t) {
    return binary_cross_entropy_with_logits(tensor<double>({x}), tensor<double>({t})).item();
  };
  CHECK(loss(-100, 0) == Approx(std::exp(-100.0)).epsilon(1e-12));
  CHECK(loss(100, 1) == Approx(std::exp(-100.0)).epsilon(1e-12));
  CHECK(loss(100, 0) == 100);
  CHECK(loss(-1e300, 1) == 1e300);
  CHECK(loss(0, 0.3) == Approx(std::log(2.0)).epsilon(1e-14));
  // Slope sigmoid(0) - t and curvature 1/4 at 0, where the formula changes branches.
  const auto at_zero = [](const auto& v) { return binary_cross_entropy_with_logits(v, tensor<double>({0.3})); };
  const auto [slope, curvature] = hvp(at_zero, tensor<double>({0}), tensor<double>({1}));
  CHECK(slope.item() == Approx(0.2).epsilon(1e-14));
  CHECK(curvature.item() == Approx(0.25).epsilon(1e-14));
}
