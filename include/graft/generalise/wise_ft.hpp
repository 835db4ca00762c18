#pragma once
// WiSE-FT: between a zero-shot model and its fine-tuned self. Wortsman et al., "Robust fine-tuning of zero-shot
// models", CVPR 2022: the mean of the two sets of weights keeps the robustness of the one and most of the other's gain.

#include "graft/common/needs.hpp"
#include "graft/common/weight_average.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `wise_ft`; the authors recommend 0.5 where there is no domain to choose by.
struct WiseFtOptions {
  static constexpr DataNeeds needs{.labels = false, .derivatives = 0};
  double alpha = 0.5;  ///< share of the fine-tuned model, in [0, 1]
};

/// (1 - alpha) zero_shot + alpha fine_tuned, parameter by parameter; at 0 and 1 the bits of one of them. What is no
/// parameter is the nearer one's, at 0.5 the fine-tuned's: batch norms between the two need `with_batch_statistics`.
/// Gradients flow to both. Throws ValueError for another alpha, ShapeError that names the parameter whose shapes
/// differ.
template <Model M>
M wise_ft(const M& zero_shot, const M& fine_tuned, const WiseFtOptions& options = {}, Site site = Site::current()) {
  const double a = options.alpha;
  if (!(a >= 0 && a <= 1)) fail("wise_ft", {"alpha is ", a, ", expected a number in [0, 1]"}, {}, site);
  detail::check_same_shapes("wise_ft", zero_shot, fine_tuned, site);
  if (a == 0) return zero_shot;
  if (a == 1) return fine_tuned;
  const auto between = [](double share) {
    return [share](const auto& near, const auto& far) {
      return map([share](auto x, auto y) { return share * x + (1 - share) * y; }, near, far);
    };
  };
  return a < 0.5 ? zip(between(1 - a), zero_shot, fine_tuned) : zip(between(a), fine_tuned, zero_shot);
}

}  // namespace GRAFT_ABI
}  // namespace graft
