// Rows of the method table for fewshot/: methods that compare drawings as they are, without an embedding.

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "graft/fewshot/episode_learner.hpp"
#include "graft/fewshot/hausdorff.hpp"
#include "graft/ops/compare.hpp"
#include "graft/ops/layout.hpp"
#include "heads.hpp"

using namespace graft;

namespace {

using Double = Tensor<double>;

/// Images [count, 7, 9, 1] with ink in about a quarter of the pixels.
template <class T = double>
Tensor<T> drawings(Index count, const Random& random, Index height = 7, Index width = 9) {
  const Tensor<T> noise = rand<T>({count, height, width, 1}, random);
  return where(noise > T(0.75), noise, T(0.1) * noise);
}
/// An image of `rows` x `columns` with ink at these places.
Double ink_at(std::vector<std::pair<Index, Index>> places, Index rows = 8, Index columns = 8) {
  return generate({1, rows, columns, 1}, [&](Index, Index y, Index x, Index) {
    return std::find(places.begin(), places.end(), std::pair(y, x)) != places.end() ? 1.0 : 0.0;
  });
}
double distance(const Double& a, const Double& b, const HausdorffOptions& o = {}) {
  return modified_hausdorff(a, b, o).item();
}
/// The definition, pixel by pixel.
double plain_distance(const Double& a, Index i, const Double& b, Index j, const HausdorffOptions& o) {
  const auto places = [&](const Double& x, Index image) {
    std::vector<std::array<double, 2>> ink;
    double sums[2] = {};
    for (Index r = 0; r < x.size(1); ++r)
      for (Index c = 0; c < x.size(2); ++c)
        if (x.at({image, r, c, 0}) > o.threshold) {
          ink.push_back({double(r), double(c)});
          sums[0] += double(r), sums[1] += double(c);
        }
    for (auto& place : ink)
      for (int k = 0; k < 2 && o.centred; ++k) place[k] -= sums[k] / double(ink.size());
    return ink;
  };
  const auto of_a = places(a, i), of_b = places(b, j);
  const auto one_way = [](const auto& from, const auto& to) {
    double total = 0;
    for (const auto& p : from) {
      double least = INFINITY;
      for (const auto& q : to) least = std::min(least, std::hypot(p[0] - q[0], p[1] - q[1]));
      total += least;
    }
    return total / double(from.size());
  };
  return std::max(one_way(of_a, of_b), one_way(of_b, of_a));
}
template <class T = double>
Episode<T> drawn_episode(const Random& random, Index ways = 3, Index shots = 2, Index queries = 5, Index side = 9) {
  const auto labels = [&](Index count) { return generate({count}, [&](Index i) { return std::int64_t{i % ways}; }); };
  return {{drawings<T>(ways * shots, random.stream("support"), side, side), labels(ways * shots)},
          {drawings<T>(queries, random.stream("query"), side, side), labels(queries)},
          ways};
}
struct Unchanged {
  GRAFT_FIELDS()
  template <class T>
  Tensor<T> operator()(const Tensor<T>& x) const {
    return x;
  }
};
const HausdorffOptions kAsTheyStand{.centred = false};

const bool hausdorff_row = add_method_rows({{
    .name = "modified_hausdorff",
    .header = "graft/fewshot/hausdorff.hpp",
    .paper = "Dubuisson, Jain, A modified Hausdorff distance for object matching, ICPR 1994",
    .functions = {"modified_hausdorff", "ModifiedHausdorff", "HausdorffSupport"},
    .use = "ModifiedHausdorff()(episode of images, context)",
    .run =
        [](const Random& random) {
          return ModifiedHausdorff()(drawn_episode<float>(random, 20, 1, 40, 28), Context());
        },
    .errors = {bad_use<ShapeError>(
                   [] {
                     modified_hausdorff(zeros({2, 5, 5}), zeros({2, 5, 6}));
                   },
                   "[2, 5, 6]"),
               bad_use<ShapeError>(
                   [] {
                     modified_hausdorff(zeros({2, 5, 5, 3}), zeros({2, 5, 5, 3}));
                   },
                   "height, width, 1"),
               bad_use<ShapeError>(
                   [] {
                     modified_hausdorff(zeros({2, 25}), zeros({2, 25}));
                   },
                   "[2, 25]"),
               bad_use<ValueError>(
                   [] {
                     modified_hausdorff(zeros({1, 5, 5}), zeros({1, 5, 5}), {.threshold = NAN});
                   },
                   "threshold is nan"),
               bad_use<ValueError>(
                   [] {
                     modified_hausdorff(full<float>({1, 2, 2}, NAN), zeros({1, 2, 2}));
                   },
                   "pixel 0, 0 of image 0 is nan"),
               bad_use<ValueError>(
                   [] {
                     modified_hausdorff(zeros({1, 2, 2}), full<float>({1, 2, 2}, INFINITY));
                   },
                   "inf"),
               bad_use<ShapeError>(
                   [] {
                     Episode<double> e = drawn_episode(Random(1));
                     e.support.y = zeros<std::int64_t>({5});
                     ModifiedHausdorff()(e, Context(), Site::current());
                   },
                   "labels"),
               bad_use<ShapeError>(
                   [] {
                     ModifiedHausdorff().adapt(LabelledSet<>{zeros({2, 9}), episode_labels(2, 1)});
                   },
                   "expected images"),
               bad_use<IndexError>(
                   [] {
                     Episode<double> e = drawn_episode(Random(1));
                     e.ways = 2;
                     ModifiedHausdorff()(e, Context(), Site::current());
                   },
                   "of 2 ways"),
               bad_use<ValueError>(
                   [] {
                     const Episode<double> e = drawn_episode(Random(1));
                     ModifiedHausdorff().adapt(LabelledSet<double>{e.support.x, full<std::int64_t>({6}, 1)});
                   },
                   "class 0 of 2 has no support item")},
    .properties =
        {{"the larger of the two mean distances, by hand",
          [] {
            // From the one place to the nearest of the two: 0. From the two: (0 + 3) / 2.
            const Double one = ink_at({{2, 2}}), two = ink_at({{2, 2}, {2, 5}});
            CHECK(distance(one, two, kAsTheyStand) == 1.5);
            CHECK(distance(two, one, kAsTheyStand) == 1.5);
            // About the means the two lie 1.5 to both sides of the one.
            CHECK(distance(one, two) == 1.5);
            // 3, 4, 5 from the corner; of a second place nothing changes that is nearer to the first.
            CHECK(distance(ink_at({{0, 0}}), ink_at({{3, 4}}), kAsTheyStand) == 5);
            CHECK(distance(ink_at({{0, 0}}), ink_at({{3, 4}})) == 0);
            CHECK(distance(ink_at({{0, 0}, {0, 1}}), ink_at({{3, 4}}), kAsTheyStand) ==
                  Approx((5 + std::sqrt(18.0)) / 2).epsilon(1e-14));
          }},
         {"the definition, pixel by pixel, in any batch",
          [] {
            const Double a = drawings(6, Random(3)), b = drawings(5, Random(4));
            for (const HausdorffOptions& o : {HausdorffOptions{}, kAsTheyStand, HausdorffOptions{.threshold = 0.9}}) {
              const Double all = modified_hausdorff(a, b, o);
              const Tensor<float> single = modified_hausdorff(cast<float>(a), cast<float>(b), o);
              for (Index i = 0; i < 6; ++i)
                for (Index j = 0; j < 5; ++j) {
                  CHECK(all.at({i, j}) == Approx(plain_distance(a, i, b, j, o)).epsilon(1e-12));
                  CHECK(single.at({i, j}) == Approx(all.at({i, j})).epsilon(1e-5));
                }
              CHECK(same_bits(modified_hausdorff(reshape(a, {6, 7, 9}), reshape(b, {5, 7, 9}), o), all));
            }
          }},
         {"symmetric, and 0 to itself",
          [] {
            const Double a = drawings(6, Random(3)), b = drawings(5, Random(4));
            CHECK(same_bits(modified_hausdorff(a, b), transpose(modified_hausdorff(b, a))));
            CHECK(max(modified_hausdorff(a, a) * eye<double>(6)).item() == 0);
            CHECK(min(modified_hausdorff(a, a) + eye<double>(6)).item() > 0);
          }},
         {"centred, it does not see where a drawing stands; turned by a right angle both ways, nothing changes",
          [] {
            const Double corner = ink_at({{0, 0}, {1, 0}, {1, 1}, {3, 2}}),
                         moved = ink_at({{4, 5}, {5, 5}, {5, 6}, {7, 7}});
            CHECK(distance(corner, ink_at({{4, 5}, {5, 5}, {5, 6}, {7, 7}})) == 0);
            CHECK(distance(corner, moved, kAsTheyStand) > 3);
            const Double a = drawings(1, Random(3), 8, 8), b = drawings(1, Random(4), 8, 8);
            const auto turned = [](const Double& x) {
              return reshape(transpose(flip(reshape(x, {8, 8}), 1)), {1, 8, 8, 1});
            };
            CHECK(distance(turned(a), turned(b)) == Approx(distance(a, b)).epsilon(1e-12));
          }},
         {"the size of ink above the threshold does not matter",
          [] {
            const Double a = drawings(6, Random(3)), b = drawings(5, Random(4));
            CHECK(same_bits(modified_hausdorff(cast<double>(a > 0.25), b), modified_hausdorff(a, b)));
            CHECK(distance(ink_at({{1, 1}}) * 0.25, ink_at({{1, 1}})) == 16);  // not above: no ink
          }},
         {"a drawing without ink is farther than any, and like another without",
          [] {
            const Double none = zeros<double>({1, 8, 8, 1});
            CHECK(distance(none, none) == 0);
            CHECK(distance(none, ink_at({{1, 1}})) == 16);
            CHECK(distance(ink_at({{1, 1}}), none) == 16);
            CHECK(distance(ink_at({{0, 0}}), ink_at({{7, 7}}), kAsTheyStand) < 16);
            CHECK(modified_hausdorff(zeros<double>({0, 8, 8}), none).shape() == Shape{0, 1});
          }},
         {"a query has the class of the nearest item, of several shots too",
          [] {
            const Episode<double> e = drawn_episode(Random(5));
            const Double to = modified_hausdorff(e.query.x, e.support.x), logits = ModifiedHausdorff()(e, Context());
            for (Index q = 0; q < 5; ++q)
              for (Index k = 0; k < 3; ++k)
                CHECK(logits.at({q, k}) == -std::min(to.at({q, k}), to.at({q, k + 3})));  // items 0 1 2 0 1 2
            CHECK(share_right(ModifiedHausdorff()(with_queries(e, e.support.x), Context()),
                              Episode<double>{e.support, e.support, 3}) == 1);
          }},
         {"inductive; the order of support, queries and classes does not matter",
          [] {
            const Episode<double> e = drawn_episode(Random(5));
            for (Index q = 0; q < 5; ++q)
              CHECK(same_bits(ModifiedHausdorff()(with_queries(e, slice(e.query.x, 0, q, q + 1)), Context()),
                              slice(ModifiedHausdorff()(e, Context()), 0, q, q + 1)));
            check_permutations(ModifiedHausdorff(), drawn_episode(Random(5)));
          }},
         {"adapted, called, and as the head of an embedding that leaves images as they are: the same bits",
          [] {
            const Episode<double> e = drawn_episode(Random(5));
            const ModifiedHausdorff method{{.threshold = 0.9}};
            const Double logits = method(e, Context());
            CHECK_FALSE(same_bits(ModifiedHausdorff()(e, Context()), logits));
            CHECK(same_bits(method.adapt(e.support).predict(e.query.x), logits));
            CHECK(same_bits(EpisodeLearner{Unchanged(), method}(e, Context()), logits));
            CHECK(count(method) == 0);
          }}},
}});

}  // namespace
