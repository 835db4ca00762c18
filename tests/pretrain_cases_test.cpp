// Losses of pre-training, and their gradients, against those of other implementations (make_pretrain_cases.py).

#include <cmath>
#include <vector>

#include "catch.hpp"
#include "gap.hpp"
#include "graft/model/grad.hpp"
#include "graft/pretrain/augmentation_pairs.hpp"
#include "graft/pretrain/masked_images.hpp"
#include "graft/pretrain/memory_queue.hpp"
#include "graft/pretrain/siglip.hpp"

using namespace graft;

namespace {

using Numbers = Tensor<double>;
struct PairCase {
  double temperature;
  Numbers a, b;
  double loss;
  Numbers gradient_a, gradient_b;
};
struct QueueCase {
  double temperature;
  Numbers stored, queries, keys;
  double loss;
  Numbers gradient_queries, gradient_keys;
};
struct SiglipCase {
  Numbers a, b;
  double scale, bias, loss;
  Numbers gradient_a, gradient_b;
  double gradient_scale, gradient_bias;
};
struct MaskedCase {
  bool normalise;
  Numbers images, hidden, drawn;
  double loss;
  Numbers gradient;
};
#include "pretrain_cases.inc"

}  // namespace

TEST_CASE("NT-Xent and its gradients are those of lightly", "[pretrain]") {
  for (const PairCase& c : kNtXent) {
    const auto loss = [&](const Numbers& x) {
      const Index n = c.a.size(0);
      return nt_xent(slice(x, 0, 0, n), slice(x, 0, n, 2 * n), c.temperature);
    };
    const auto [value, gradient] = value_and_grad(loss, concat(std::vector{c.a, c.b}, 0));
    CHECK(value.item() == Approx(c.loss).margin(1e-13));
    CHECK(gap(gradient, concat(std::vector{c.gradient_a, c.gradient_b}, 0)) < 1e-13);
  }
}

TEST_CASE("MoCo's loss and its gradients are those of lightly with a bank of keys", "[pretrain]") {
  for (const QueueCase& c : kQueue) {
    MemoryQueue<double> queue(c.stored.size(0), c.stored.size(1));
    queue.enqueue(c.stored);
    const auto loss = [&](const Numbers& x) {
      const Index n = c.queries.size(0);
      return queue_info_nce(slice(x, 0, 0, n), slice(x, 0, n, 2 * n), queue, c.temperature, false);
    };
    const auto [value, gradient] = value_and_grad(loss, concat(std::vector{c.queries, c.keys}, 0));
    CHECK(value.item() == Approx(c.loss).epsilon(1e-13));
    CHECK(gap(gradient, concat(std::vector{c.gradient_queries, c.gradient_keys}, 0)) < 1e-12);
  }
}

TEST_CASE("SigLIP and its gradients are those of open_clip", "[pretrain]") {
  for (const SiglipCase& c : kSiglip) {
    const auto with = [&](const Numbers& x, const Numbers& numbers) {
      const Index n = c.a.size(0);
      return siglip_loss(slice(x, 0, 0, n), slice(x, 0, n, 2 * n), slice(numbers, 0, 0, 1), slice(numbers, 0, 1, 2));
    };
    const Numbers both = concat(std::vector{c.a, c.b}, 0), numbers = tensor<double>({c.scale, c.bias});
    CHECK(with(both, numbers).item() == Approx(c.loss).epsilon(1e-13));
    CHECK(gap(grad([&](const Numbers& x) { return with(x, numbers); }, both),
              concat(std::vector{c.gradient_a, c.gradient_b}, 0)) < 1e-13);
    CHECK(gap(grad([&](const Numbers& x) { return with(both, x); }, numbers),
              tensor<double>({c.gradient_scale, c.gradient_bias})) < 1e-13);
  }
}

TEST_CASE("the masked autoencoder's loss and its gradient are those of transformers", "[pretrain]") {
  for (const MaskedCase& c : kMasked) {
    const MaskedImageOptions o{.patch = 2, .normalise = c.normalise};
    const auto loss = [&](const Numbers& drawn) {
      return masked_image_loss(drawn, reshape(c.images, {2, 6, 6, 2}), c.hidden > 0.5, o);
    };
    const auto [value, gradient] = value_and_grad(loss, reshape(c.drawn, {2, 9, 8}));
    CHECK(value.item() == Approx(c.loss).epsilon(1e-12));
    CHECK(gap(reshape(gradient, {2, 72}), c.gradient) < 1e-12);
  }
}
