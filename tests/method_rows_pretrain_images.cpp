// Rows of the method table for pretrain/: objectives of images alone.

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "binomial.hpp"
#include "catch.hpp"
#include "gap.hpp"
#include "graft/graph/grace.hpp"
#include "graft/model/arithmetic.hpp"
#include "graft/model/grad.hpp"
#include "graft/nn/linear.hpp"
#include "graft/pretrain/augmentation_pairs.hpp"
#include "graft/pretrain/masked_images.hpp"
#include "graft/pretrain/rotation.hpp"
#include "method_table.hpp"

using namespace graft;

namespace {

using Numbers = Tensor<double>;

/// A linear encoder of images as rows.
template <class T>
struct OfPixels {
  Linear<T> map;
  GRAFT_FIELDS(map)
  Tensor<T> operator()(const Tensor<T>& x) const { return map(reshape(x, {x.size(0), x.count() / x.size(0)})); }
};
/// An encoder and its objective.
template <class Encoder, class Pretext>
struct Both {
  Encoder encoder;
  Pretext pretext;
  GRAFT_FIELDS(encoder, pretext)
};

Index hidden_of(const Tensor<bool>& marks) { return std::count(host(marks).begin(), host(marks).end(), true); }
MaskedImages<double> masked(const Numbers& images, const MaskedImageOptions& o, std::uint64_t seed = 1) {
  return mask_images(images, full<double>({o.patch, o.patch, images.size(3)}, 9), Random(seed), o);
}

const bool masked_images_row = add_method_rows({{
    .name = "masked_images",
    .header = "graft/pretrain/masked_images.hpp",
    .paper = "He, Chen, Xie, Li, Dollar, Girshick, Masked autoencoders are scalable vision learners, CVPR 2022",
    .functions = {"MaskedImagePretext", "masked_image_loss", "mask_images", "patches_of", "MaskedImages",
                  "MaskedImageOptions"},
    .use = "MaskedImagePretext<>({28, 28, 1}, width, random)(encoder, images, context)",
    .run =
        [](const Random& random) {
          const Tensor<float> images = rand<float>({100, 12, 12, 1}, random.stream("images"));
          const Both<OfPixels<float>, MaskedImagePretext<float>> both{
              {Linear<float>(144, 16, random)}, MaskedImagePretext<float>({12, 12, 1}, 16, random)};
          return to_vector(grad(
              [&](const auto& m) {
                return m.pretext(m.encoder, images, Context(Phase::training, random.stream("training")));
              },
              both));
        },
    .loss =
        [](const Numbers& x) {
          const Numbers images = rand<double>({2, 4, 4, 1}, Random(2));
          const MaskedImageOptions o{.patch = 2};
          const auto [seen, hidden] = mask_images(images, reshape(slice(x, 0, 0, 4), {2, 2, 1}), Random(1), o);
          const Numbers drawn = patches_of(sin(seen), 2) + reshape(slice(x, 0, 4, 36), {2, 4, 4});
          return masked_image_loss(drawn, images, hidden, o);
        },
    .loss_at = randn<double>({36}, Random(3)),
    .errors = {bad_use<ShapeError>(
                   [] {
                     patches_of(zeros({2, 4, 4}), 2);
                   },
                   "[2, 4, 4]"),
               bad_use<ValueError>(
                   [] {
                     patches_of(zeros({2, 4, 6, 1}), 4);
                   },
                   "do not tile images of 4 x 6"),
               bad_use<ValueError>(
                   [] {
                     patches_of(zeros({2, 4, 4, 1}), 0);
                   },
                   "patches of 0"),
               bad_use<ValueError>(
                   [] {
                     masked(zeros<double>({2, 4, 4, 1}), {.rate = 1.5});
                   },
                   "rate is 1.5"),
               bad_use<ValueError>(
                   [] {
                     masked(zeros<double>({2, 4, 4, 1}), {.rate = NAN});
                   },
                   "rate is nan"),
               bad_use<ValueError>(
                   [] {
                     masked(zeros<double>({2, 4, 4, 1}), {.noise = -1});
                   },
                   "noise is -1"),
               bad_use<ShapeError>(
                   [] {
                     mask_images(zeros({2, 4, 4, 1}), zeros({2, 2, 1}), Random(1));
                   },
                   "[2, 2, 1]"),
               bad_use<ShapeError>(
                   [] {
                     masked_image_loss(zeros({2, 4, 4}), zeros({2, 8, 8, 1}), ones<bool>({2, 4}));
                   },
                   "[2, 4, 16]"),
               bad_use<ShapeError>(
                   [] {
                     masked_image_loss(zeros({2, 4, 16}), zeros({2, 8, 8, 1}), ones<bool>({2, 3}));
                   },
                   "hidden [2, 3]"),
               bad_use<ValueError>(
                   [] {
                     MaskedImagePretext<>({30, 30, 1}, 8, Random(1));
                   },
                   "30 x 30"),
               bad_use<ShapeError>(
                   [] {
                     MaskedImagePretext<>({28, 28}, 8, Random(1));
                   },
                   "[28, 28]"),
               bad_use<ShapeError>(
                   [] {
                     MaskedImagePretext<>({28, 28, 1}, 8, Random(1))(OfPixels<float>{Linear<float>(784, 9, Random(1))},
                                                                     zeros({2, 28, 28, 1}), Context());
                   },
                   "vectors of 8 numbers"),
               bad_use<ShapeError>(
                   [] {
                     MaskedImagePretext<>({28, 28, 1}, 8, Random(1))(OfPixels<float>{Linear<float>(64, 8, Random(1))},
                                                                     zeros({2, 8, 8, 1}), Context());
                   },
                   "as many numbers")},
    .properties =
        {{"patches row by row, each row by row, of images that are not square",
          [] {
            const auto images = reshape(arange<double>(8), {1, 2, 4, 1});
            // 0 1 2 3
            // 4 5 6 7
            CHECK(same_bits(patches_of(images, 2), reshape(tensor<double>({{0, 1, 4, 5}, {2, 3, 6, 7}}), {1, 2, 4})));
            const auto colours = reshape(arange<double>(16), {1, 2, 4, 2});
            CHECK(same_bits(reshape(slice(patches_of(colours, 2), 1, 1, 2), {8}),
                            tensor<double>({4, 5, 6, 7, 12, 13, 14, 15})));
          }},
         {"three quarters of the patches are hidden, rounded up, in every image, each patch as often",
          [] {
            const MaskedImageOptions o{.patch = 2};
            const auto marks = masked(zeros<double>({2000, 6, 6, 1}), o).hidden;
            const auto all = host(marks);
            std::vector<double> of_patch(9);
            for (Index i = 0; i < 2000; ++i) {
              Index hidden = 0;
              for (Index at = 0; at < 9; ++at) {
                const bool is = all[9 * i + at];
                hidden += is;
                of_patch[at] += is;
              }
              REQUIRE(hidden == 7);
            }
            for (const double count : of_patch) CHECK(near(count, 2000, 7.0 / 9));
            CHECK(hidden_of(masked(zeros<double>({3, 8, 8, 1}), o).hidden) == 3 * 12);
            CHECK(hidden_of(masked(zeros<double>({3, 8, 8, 1}), {.patch = 2, .rate = 1}).hidden) == 3 * 16);
          }},
         {"an image's patches do not depend on the other images; other streams hide others",
          [] {
            const Numbers images = rand<double>({5, 8, 8, 1}, Random(2));
            const MaskedImageOptions o{.patch = 2};
            const auto all = masked(images, o), first = masked(slice(images, 0, 0, 2), o);
            CHECK(same_bits(slice(all.seen, 0, 0, 2), first.seen));
            CHECK(same_bits(slice(all.hidden, 0, 0, 2), first.hidden));
            CHECK_FALSE(same_bits(all.hidden, masked(images, o, 2).hidden));
          }},
         {"the token stands in hidden patches, the image in the others",
          [] {
            const Numbers images = rand<double>({5, 8, 12, 2}, Random(2)), token = randn<double>({4, 4, 2}, Random(3));
            const auto [seen, hidden] = mask_images(images, token, Random(1), {.patch = 4});
            const Numbers parts = patches_of(seen, 4), before = patches_of(images, 4);
            for (Index i = 0; i < 5; ++i)
              for (Index at = 0; at < 6; ++at) {
                const auto part = [&](const Numbers& x) { return slice(slice(x, 0, i, i + 1), 1, at, at + 1); };
                const bool is = host(hidden)[6 * i + at];
                CHECK(same_bits(part(parts), is ? reshape(token, {1, 1, 32}) : part(before)));
              }
          }},
         {"what is drawn at patches that are seen counts nothing, and has no gradient",
          [] {
            const Numbers images = rand<double>({2, 8, 8, 1}, Random(2)), drawn = randn<double>({2, 16, 4}, Random(4));
            const MaskedImageOptions o{.patch = 2};
            const Tensor<bool> hidden = masked(images, o).hidden;
            const auto loss = [&](const Numbers& x) { return masked_image_loss(x, images, hidden, o); };
            const auto [value, gradient] = value_and_grad(loss, drawn);
            double sum = 0, count = 0;
            const Numbers targets = patches_of(images, 2);
            for (Index i = 0; i < 32; ++i) {
              double error = 0, slope = 0;
              for (Index k = 0; k < 4; ++k) {
                const auto at = static_cast<std::size_t>(4 * i + k);
                error += std::pow(host(drawn)[at] - host(targets)[at], 2) / 4;
                slope += std::abs(host(gradient)[at]);
              }
              const bool is = host(hidden)[i];
              CHECK((slope > 0) == is);
              if (is) sum += error, ++count;
            }
            CHECK(value.item() == Approx(sum / count).epsilon(1e-14));
            CHECK(loss(targets).item() == 0);
          }},
         {"nothing hidden and no noise: the images bit for bit, loss and gradient 0",
          [] {
            const Numbers images = rand<double>({2, 8, 8, 1}, Random(2));
            const MaskedImageOptions o{.patch = 2, .rate = 0};
            const auto [seen, hidden] = masked(images, o);
            CHECK(same_bits(seen, images));
            const auto loss = [&, marks = hidden](const Numbers& x) { return masked_image_loss(x, images, marks, o); };
            const auto [value, gradient] = value_and_grad(loss, ones<double>({2, 16, 4}));
            CHECK(value.item() == 0);
            CHECK(max(abs(gradient)).item() == 0);
          }},
         {"everywhere: the mean squared error of all pixels",
          [] {
            const Numbers images = rand<double>({2, 8, 8, 1}, Random(2)), drawn = randn<double>({2, 16, 4}, Random(4));
            const MaskedImageOptions o{.patch = 2, .everywhere = true};
            CHECK(masked_image_loss(drawn, images, zeros<bool>({2, 16}), o).item() ==
                  Approx(mean(square(drawn - patches_of(images, 2))).item()).epsilon(1e-14));
          }},
         {"noise is normal, of its deviation, and moves no mask",
          [] {
            const Numbers images = rand<double>({10, 40, 40, 1}, Random(2));
            const auto noisy = masked(images, {.rate = 0, .noise = 0.5});
            const Numbers noise = noisy.seen - images;
            // The mean of 16000 has deviation 0.5 / 126, the mean square 0.25 sqrt(2) / 126.
            CHECK(std::abs(mean(noise).item()) < 5 * 0.5 / 126);
            CHECK(std::abs(mean(square(noise)).item() - 0.25) < 5 * 0.25 * std::sqrt(2) / 126);
            CHECK(same_bits(masked(images, {.noise = 0.5}).hidden, masked(images, {}).hidden));
          }},
         {"normalised targets do not change with a patch's brightness and contrast",
          [] {
            const Numbers images = randn<double>({2, 8, 8, 1}, Random(2)), drawn = randn<double>({2, 4, 16}, Random(4));
            const MaskedImageOptions o{.normalise = true};
            const Tensor<bool> hidden = masked(images, o).hidden;
            const double value = masked_image_loss(drawn, images, hidden, o).item();
            CHECK(masked_image_loss(drawn, 1e3 * images + 7.0, hidden, o).item() == Approx(value).epsilon(1e-5));
            CHECK(std::isfinite(masked_image_loss(drawn, ones<double>({2, 8, 8, 1}), hidden, o).item()));
          }},
         {"an encoder that gives a vector a patch",
          [] {
            const Numbers images = rand<double>({2, 8, 8, 1}, Random(2));
            const MaskedImageOptions o{.per_patch = true};
            const MaskedImagePretext<double> pretext({8, 8, 1}, 16, Random(1), o);
            const auto tokens = [](const Numbers& x) { return patches_of(x, 4); };
            const Context given(Phase::training, Random(5));
            Context one = given, two = given;
            const auto [seen, hidden] = mask_images(images, pretext.token, two.stream("masks"), o);
            CHECK(same_bits(pretext(tokens, images, one),
                            masked_image_loss(pretext.decoder(patches_of(seen, 4)), images, hidden, o)));
          }},
         {"a linear encoder and decoder learn to fill in what is half of all pixels",
          [] {  // Every image is of one brightness: what is seen tells all. The loss is then 0 at its least.
            const auto images_of = [](std::uint64_t seed) {
              return broadcast_to(rand<double>({50, 1, 1, 1}, Random(seed)), {50, 4, 4, 1});
            };
            const MaskedImageOptions o{.patch = 2, .rate = 0.5};
            using Model = Both<OfPixels<double>, MaskedImagePretext<double>>;
            Model model{{Linear<double>(16, 4, Random(1))}, MaskedImagePretext<double>({4, 4, 1}, 4, Random(2), o)};
            const auto loss = [&](const Model& m, std::uint64_t seed) {
              return m.pretext(m.encoder, images_of(seed), Context(Phase::training, Random(seed)));
            };
            const double before = loss(model, 1000).item();
            for (std::uint64_t step = 0; step < 300; ++step)
              model = model - 0.2 * grad([&](const Model& m) { return loss(m, step); }, model);
            CHECK(loss(model, 1000).item() < 0.05 * before);
          }}},
}});

double nt(const Numbers& a, const Numbers& b, double temperature) { return nt_xent(a, b, temperature).item(); }

const bool augmentation_pairs_row = add_method_rows({{
    .name = "augmentation_pairs",
    .header = "graft/pretrain/augmentation_pairs.hpp",
    .paper = "Chen, Kornblith, Norouzi, Hinton, A simple framework for contrastive learning of visual representations, "
             "ICML 2020",
    .functions = {"ContrastivePretext", "nt_xent", "view_pair", "ViewPair", "ContrastiveOptions"},
    .use = "ContrastivePretext(width, random)(encoder, images, context)",
    .run =
        [](const Random& random) {
          const Tensor<float> images = rand<float>({100, 12, 12, 1}, random.stream("images"));
          const Both<OfPixels<float>, ContrastivePretext> both{{Linear<float>(144, 16, random)},
                                                               ContrastivePretext(16, random)};
          return to_vector(grad(
              [&](const auto& m) {
                return m.pretext(m.encoder, images, Context(Phase::training, random.stream("training")));
              },
              both));
        },
    .loss =
        [](const Numbers& x) {
          return nt_xent(reshape(slice(x, 0, 0, 12), {4, 3}), reshape(slice(x, 0, 12, 24), {4, 3}), 0.7);
        },
    .loss_at = randn<double>({24}, Random(3)),
    .errors = {bad_use<ShapeError>(
                   [] {
                     ContrastivePretext(5, Random(1))(OfPixels<float>{Linear<float>(9, 4, Random(1))},
                                                      zeros({2, 3, 3, 1}), Context());
                   },
                   "vectors of 5 numbers"),
               bad_use<ShapeError>(
                   [] {
                     nt_xent(zeros({2, 3}), zeros({3, 3}));
                   },
                   "[3, 3]"),
               bad_use<ShapeError>(
                   [] {
                     nt_xent(zeros({0, 3}), zeros({0, 3}));
                   },
                   "one item"),
               bad_use<ValueError>(
                   [] {
                     nt_xent(ones({2, 3}), ones({2, 3}), 0);
                   },
                   "temperature is 0"),
               bad_use<ValueError>(
                   [] {
                     nt_xent(ones({2, 3}), ones({2, 3}), NAN);
                   },
                   "temperature is nan"),
               bad_use<ValueError>([] { ContrastivePretext(8, Random(1), {.projection = 0}); }, "8 to 0 numbers"),
               bad_use<ValueError>([] { ContrastivePretext(8, Random(1), {.temperature = -1}); }, "temperature is -1")},
    .properties =
        {{"an item alone has loss 0",
          [] {
            CHECK(nt(randn<double>({1, 4}, Random(1)), randn<double>({1, 4}, Random(2)), 0.5) == 0);
          }},
         {"ln(2N - 1) when all views are alike",
          [] {
            CHECK(nt(ones<double>({5, 4}), 3.0 * ones<double>({5, 4}), 0.1) == Approx(std::log(9)).epsilon(1e-14));
          }},
         {"ln(1 + (2N - 2) e^(-1 / t)) for orthonormal items whose views are equal",
          [] {
            for (const double t : {0.1, 0.5, 3.0})
              CHECK(nt(eye<double>(6), eye<double>(6), t) == Approx(std::log1p(10 * std::exp(-1 / t))).margin(1e-14));
          }},
         {"the same formula as GRACE's of nodes",
          [] {
            const Numbers a = randn<double>({7, 4}, Random(1)), b = randn<double>({7, 4}, Random(2));
            CHECK(nt(a, b, 0.3) == Approx(grace_loss(a, b, 0.3).item()).epsilon(1e-14));
          }},
         {"symmetric in the views, blind to lengths and to the order of the items",
          [] {
            const Numbers a = randn<double>({6, 4}, Random(1)), b = randn<double>({6, 4}, Random(2));
            CHECK(nt(a, b, 0.3) == Approx(nt(b, a, 0.3)).epsilon(1e-14));
            CHECK(nt(1e3 * a, 1e-3 * b, 0.3) == Approx(nt(a, b, 0.3)).epsilon(1e-13));
            CHECK(nt(flip(a, 0), flip(b, 0), 0.3) == Approx(nt(a, b, 0.3)).epsilon(1e-13));
          }},
         {"a row of zeros is like nothing, without NaN",
          [] {
            const Numbers b = randn<double>({3, 4}, Random(2));
            const auto [value, gradient] =
                value_and_grad([&](const Numbers& a) { return nt_xent(a, b); }, zeros<double>({3, 4}));
            CHECK(std::isfinite(value.item()));
            CHECK(std::isfinite(sum(gradient).item()));
          }},
         {"views that may not change are the images, bit for bit; others differ from them and from each other",
          [] {
            const Tensor<> images = rand<float>({3, 12, 12, 1}, Random(1));
            const ViewPair same = view_pair(images, {}, Random(2));
            CHECK(same_bits(same.first, images));
            CHECK(same_bits(same.second, images));
            const ViewPair two = view_pair(images, {.degrees = 20}, Random(2));
            CHECK(gap(two.first, two.second) > 0.01);
            CHECK(gap(two.first, images) > 0.01);
          }},
         {"the pretext is NT-Xent of the projections of a pair of views",
          [] {
            const Tensor<> images = rand<float>({6, 12, 12, 1}, Random(1));
            const OfPixels<float> encoder{Linear<float>(144, 8, Random(2))};
            const ContrastivePretext pretext(8, Random(3), {.projection = 5, .temperature = 0.2});
            const Context given(Phase::training, Random(5));
            Context one = given, two = given;
            const ViewPair views = view_pair(images, pretext.options.views, two.stream("views"));
            const auto seen = [&](const Tensor<>& x) { return pretext.fc2(relu(pretext.fc1(encoder(x)))); };
            CHECK(pretext(encoder, images, one).item() ==
                  Approx(nt_xent(seen(views.first), seen(views.second), 0.2).item()).epsilon(1e-5));
          }}},
}});

const bool rotation_row = add_method_rows({{
    .name = "rotation",
    .header = "graft/pretrain/rotation.hpp",
    .paper = "Gidaris, Singh, Komodakis, Unsupervised representation learning by predicting image rotations, ICLR 2018",
    .functions = {"rotation_loss", "RotationPretext", "quarter_turns"},
    .use = "rotation_loss(net, images, context)",
    .run =
        [](const Random& random) {
          const Tensor<float> images = rand<float>({100, 12, 12, 1}, random.stream("images"));
          return to_vector(grad([&](const auto& net) { return rotation_loss(net, images, Context()); },
                                OfPixels<float>{Linear<float>(144, 4, random)}));
        },
    .loss =
        [](const Tensor<double>& x) {
          const OfPixels<double> net = from_vector(x, OfPixels<double>{Linear<double>(9, 4, Random(1))});
          return rotation_loss(net, rand<double>({3, 3, 3, 1}, Random(2)), Context());
        },
    .loss_at = randn<double>({40}, Random(3)),
    .errors = {bad_use<ShapeError>(
                   [] {
                     quarter_turns(zeros({2, 3, 4, 1}));
                   },
                   "[2, 3, 4, 1]"),
               bad_use<ShapeError>(
                   [] {
                     rotation_loss(OfPixels<float>{Linear<float>(9, 3, Random(1))}, zeros({2, 3, 3, 1}), Context());
                   },
                   "four scores"),
               bad_use<ShapeError>(
                   [] {
                     RotationPretext<>(5, Random(1))(OfPixels<float>{Linear<float>(9, 4, Random(1))},
                                                     zeros({2, 3, 3, 1}), Context());
                   },
                   "vectors of 5 numbers")},
    .properties =
        {{"a quarter turn takes the top right corner to the top left",
          [] {
            const Tensor<double> image = reshape(tensor<double>({1, 2, 3, 4}), {1, 2, 2, 1});
            const LabelledSet<double> set = quarter_turns(image);
            // 1 2    2 4    4 3    3 1
            // 3 4    1 3    2 1    4 2
            const Tensor<double> expected = tensor<double>({{1, 2, 3, 4}, {2, 4, 1, 3}, {4, 3, 2, 1}, {3, 1, 4, 2}});
            CHECK(same_bits(reshape(set.x, {4, 4}), expected));
            CHECK(same_bits(set.y, tensor<std::int64_t>({0, 1, 2, 3})));
          }},
         {"ln 4 for a model that cannot tell",
          [] {
            OfPixels<double> net{Linear<double>(9, 4, Random(1))};
            net.map.weight = zeros<double>({4, 9});
            net.map.bias = zeros<double>({4});
            CHECK(rotation_loss(net, rand<double>({3, 3, 3, 1}, Random(2)), Context()).item() ==
                  Approx(std::log(4)).epsilon(1e-14));
          }},
         {"the pretext is the loss of head(encoder(images))",
          [] {
            const Tensor<double> images = rand<double>({3, 3, 3, 1}, Random(2));
            const OfPixels<double> encoder{Linear<double>(9, 5, Random(1))};
            const RotationPretext<double> pretext(5, Random(3));
            const auto whole = [&](const Tensor<double>& x) { return pretext.head(encoder(x)); };
            CHECK(same_bits(pretext(encoder, images, Context()), rotation_loss(whole, images, Context())));
          }}},
}});

}  // namespace
