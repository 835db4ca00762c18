// Augmentation: maps whose outcome is known, the limits, and that an image depends on its own draw alone.

#include <algorithm>
#include <cmath>
#include <numbers>

#include "catch.hpp"
#include "gap.hpp"
#include "graft/data/augment.hpp"
#include "graft/ops/broadcast.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/reduce.hpp"

using namespace graft;

namespace {

/// Smooth hills, so that reading between pixels errs little.
Tensor<> hills(Index n, Index size) {
  return generate({n, size, size, 1}, [size](Index i, Index y, Index x, Index) {
    const double v = static_cast<double>(y) - 0.4 * static_cast<double>(size),
                 u = static_cast<double>(x) - 0.55 * static_cast<double>(size);
    return static_cast<float>(std::exp(-(v * v + 0.3 * u * u) / (20.0 + static_cast<double>(i))));
  });
}

double middle_of_mass(const Tensor<>& image, bool down) {
  double mass = 0, sum = 0;
  for (Index y = 0; y < image.size(1); ++y)
    for (Index x = 0; x < image.size(2); ++x) {
      const double ink = static_cast<double>(image.at({0, y, x, 0}));
      mass += ink;
      sum += ink * static_cast<double>(down ? y : x);
    }
  return sum / mass;
}

}  // namespace

TEST_CASE("augmentation without limits leaves images bit for bit", "[data]") {
  const Tensor<> images = hills(3, 20);
  CHECK(same_bits(augment(images, {}, Random(1)), images));
  CHECK(augment(hills(0, 20), {.degrees = 10, .alpha = 3}, Random(1)).shape() == Shape{0, 20, 20, 1});
}

TEST_CASE("an augmented image depends on its place and the stream alone", "[data][threads]") {
  const Tensor<> images = hills(5, 20);
  const AugmentOptions o{.degrees = 15, .scale = 0.1, .shear = 0.1, .shift = 2, .alpha = 8, .sigma = 3};
  set_threads(1);
  const Tensor<> one = augment(images, o, Random(3));
  for (int threads : {2, 3, 8}) {
    set_threads(threads);
    CHECK(same_bits(augment(images, o, Random(3)), one));
  }
  set_threads(0);
  CHECK(same_bits(augment(slice(images, 0, 0, 2), o, Random(3)), slice(one, 0, 0, 2)));
  CHECK_FALSE(same_bits(augment(images, o, Random(4)), one));
}

TEST_CASE("images of a group are changed alike, as the image in its place", "[data]") {
  const Tensor<> image = hills(1, 20), images = concat<float>({image, image, image}, 0);
  const AugmentOptions o{.degrees = 15, .scale = 0.1, .shear = 0.1, .shift = 2, .alpha = 8, .sigma = 3};
  const Tensor<> changed = augment(images, from_vector(std::vector<std::int64_t>{2, 0, 2}), o, Random(3));
  const Tensor<> each = augment(images, o, Random(3));
  CHECK(same_bits(slice(changed, 0, 0, 1), slice(each, 0, 2, 3)));
  CHECK(same_bits(slice(changed, 0, 1, 2), slice(each, 0, 0, 1)));
  CHECK(same_bits(slice(changed, 0, 2, 3), slice(each, 0, 2, 3)));
  CHECK_THROWS_AS(augment(images, zeros<std::int64_t>({2}), o, Random(3)), ShapeError);
}

TEST_CASE("a shift moves the middle of mass by at most its limit, and the same for all pixels", "[data]") {
  const Tensor<> image = hills(1, 40);
  double largest = 0;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const Tensor<> moved = augment(image, {.shift = 3}, Random(seed));
    const double down = middle_of_mass(moved, true) - middle_of_mass(image, true);
    largest = std::max(largest, std::abs(down));
    CHECK(std::abs(down) < 3.01);
  }
  CHECK(largest > 2);  // of 40 uniform draws in -3 .. 3
}

TEST_CASE("a turn keeps a disc about the middle and its inverse brings an image back", "[data]") {
  const auto disc = generate({1, 31, 31, 1}, [](Index, Index y, Index x, Index) {
    const double v = static_cast<double>(y - 15), u = static_cast<double>(x - 15);
    return static_cast<float>(std::exp(-(v * v + u * u) / 40));
  });
  // Bilinear reading errs by an eighth of the second derivatives, 1/20 each at the top.
  CHECK(gap(augment(disc, {.degrees = 180}, Random(2)), disc) < 0.0125);
  // What a turn does to a point is a turn: the mass keeps its distance from the middle.
  const Tensor<> image = hills(1, 41);
  const auto distance = [](const Tensor<>& of) {
    return std::hypot(middle_of_mass(of, true) - 20, middle_of_mass(of, false) - 20);
  };
  for (std::uint64_t seed = 0; seed < 10; ++seed)
    CHECK(distance(augment(image, {.degrees = 180}, Random(seed))) == Approx(distance(image)).epsilon(0.02));
}

TEST_CASE("an elastic field is smooth and as large as its weights say", "[data]") {
  // The weighted sum of independent uniform numbers of deviation alpha / sqrt(3) has that times the norm of the
  // weights: in two dimensions 1 / (4 pi sigma^2) of the variance, for a Gaussian much wider than a pixel.
  const AugmentOptions o{.alpha = 34, .sigma = 4};
  double squares = 0, steps = 0, count = 0;
  const auto groups = generate({200}, [](Index i) -> std::int64_t { return i; });
  const Tensor<> fields = detail::displacements(host(groups), 61, 61, o, Random(1));
  for (Index i = 0; i < 200; ++i)
    for (Index side = 0; side < 2; ++side)
      for (Index y = 20; y < 41; ++y)
        for (Index x = 20; x < 41; ++x) {
          const auto at = static_cast<double>(fields.at({i, side, y, x})),
                     next = static_cast<double>(fields.at({i, side, y, x + 1}));
          squares += at * at;
          steps += (next - at) * (next - at);
          ++count;
        }
  const double deviation = 34 / std::sqrt(3.0) / (2 * 4 * std::sqrt(std::numbers::pi));
  CHECK(std::sqrt(squares / count) == Approx(deviation).epsilon(0.04));
  // Neighbours differ by a derivative of the Gaussian: 1 / (sqrt(2) sigma) of the deviation.
  CHECK(std::sqrt(steps / count) == Approx(deviation / (std::sqrt(2.0) * 4)).epsilon(0.05));
}

TEST_CASE("a change of size scales distances from the middle, the same along both axes", "[data]") {
  const auto disc = generate({1, 61, 61, 1}, [](Index, Index y, Index x, Index) {
    const double v = static_cast<double>(y - 30), u = static_cast<double>(x - 30);
    return static_cast<float>(std::exp(-(v * v + u * u) / 72));
  });
  const auto spread = [](const Tensor<>& of, bool down) {
    double mass = 0, sum = 0;
    for (Index y = 0; y < 61; ++y)
      for (Index x = 0; x < 61; ++x) {
        const double ink = static_cast<double>(of.at({0, y, x, 0})), at = static_cast<double>((down ? y : x) - 30);
        mass += ink;
        sum += ink * at * at;
      }
    return std::sqrt(sum / mass);
  };
  double least = 1, most = 1;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const Tensor<> changed = augment(disc, {.scale = 0.3}, Random(seed));
    const double ratio = spread(changed, true) / spread(disc, true);
    CHECK(spread(changed, false) / spread(disc, false) == Approx(ratio).epsilon(1e-3));
    least = std::min(least, ratio);
    most = std::max(most, ratio);
  }
  CHECK(least > 0.69);
  CHECK(least < 0.8);  // of 40 uniform draws in 0.7 .. 1.3
  CHECK(most < 1.31);
  CHECK(most > 1.2);
}

TEST_CASE("a shear moves rows sideways, in proportion to their distance from the middle", "[data]") {
  const auto line = generate({1, 41, 41, 1}, [](Index, Index, Index x, Index) {
    const double u = static_cast<double>(x - 20);
    return static_cast<float>(std::exp(-u * u / 8));
  });
  double largest = 0;
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    const Tensor<> changed = augment(line, {.shear = 0.4}, Random(seed));
    const auto middle = [&](Index y) {
      double mass = 0, sum = 0;
      for (Index x = 0; x < 41; ++x) {
        const double ink = static_cast<double>(changed.at({0, y, x, 0}));
        mass += ink;
        sum += ink * static_cast<double>(x - 20);
      }
      return sum / mass;
    };
    const double slope = middle(30) / 10;
    CHECK(middle(20) == Approx(0).margin(1e-4));
    for (const Index y : {5, 12, 27, 35}) CHECK(middle(y) == Approx(slope * static_cast<double>(y - 20)).margin(0.02));
    largest = std::max(largest, std::abs(slope));
  }
  CHECK(largest < 0.401);
  CHECK(largest > 0.3);  // of 30 uniform draws in -0.4 .. 0.4
}

TEST_CASE("as many images as asked for are mirrored, pixel by pixel", "[data]") {
  const Tensor<> image = hills(1, 20), images = broadcast_to(image, {400, 20, 20, 1});
  const Tensor<> other = generate({1, 20, 20, 1}, [&](Index, Index y, Index x, Index) {
    return image.at({0, y, 19 - x, 0});
  });
  CHECK(same_bits(augment(image, {.mirror = 1}, Random(1)), other));
  Index mirrored = 0;
  const Tensor<> changed = augment(images, {.mirror = 0.25}, Random(1));
  for (Index i = 0; i < 400; ++i) {
    const bool is_mirrored = same_bits(slice(changed, 0, i, i + 1), other);
    CHECK((is_mirrored || same_bits(slice(changed, 0, i, i + 1), image)));
    mirrored += is_mirrored;
  }
  CHECK(std::abs(mirrored - 100) < 35);  // four deviations of a binomial number
}

TEST_CASE("channels are changed alike, and limits far beyond an image leave nothing of it", "[data]") {
  const Tensor<> one = hills(2, 20);
  const AugmentOptions o{.degrees = 20, .scale = 0.2, .shear = 0.2, .shift = 2, .alpha = 8};
  const Tensor<> two = augment(concat<float>({one, 2.0f * one}, 3), o, Random(3)), alone = augment(one, o, Random(3));
  CHECK(same_bits(slice(two, 3, 0, 1), alone));
  CHECK(same_bits(slice(two, 3, 1, 2), 2.0f * alone));
  CHECK(gap(augment(one, {.shift = 1e30}, Random(1)), zeros({2, 20, 20, 1})) == 0);
  CHECK(augment(one, {.alpha = 1e30, .sigma = 1e9}, Random(1)).shape() == one.shape());
}

TEST_CASE("augmentation refuses what it cannot do", "[data]") {
  CHECK_THROWS_AS(augment(zeros({2, 8, 8}), {.shift = 1}, Random(1)), ShapeError);
  CHECK_THROWS_WITH(augment(hills(1, 8), {.degrees = -1}, Random(1)), contains("augment") && contains("degrees"));
  CHECK_THROWS_WITH(augment(hills(1, 8), {.scale = 1}, Random(1)), contains("scale is 1"));
  CHECK_THROWS_WITH(augment(hills(1, 8), {.mirror = 1.5}, Random(1)), contains("mirror is 1.5"));
  CHECK_THROWS_AS(augment(hills(1, 8), {.shift = INFINITY}, Random(1)), ValueError);
  CHECK_THROWS_WITH(augment(hills(1, 8), {.alpha = 1e39}, Random(1)), contains("alpha"));
  CHECK_THROWS_AS(augment(hills(1, 8), {.alpha = 1, .sigma = 0}, Random(1)), ValueError);
}
