#pragma once
// Easy tasks first, as the model itself finds them easy. Kumar, Packer, Koller, "Self-paced learning for latent
// variable models", NeurIPS 2010, whose 1 / K is lambda here.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "graft/common/scheduler.hpp"
#include "graft/core/options.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `SelfPaced`.
struct SelfPacedOptions {
  double lambda = 0;  ///< the threshold of the first round; 0: from the losses, so that half of the tasks are below it
  double growth = 1.3;  ///< factor of the threshold from round to round, above 1; the authors'
};

/// [tasks]: v_i = 1[L_i < lambda], the minimum over v of sum_i v_i L_i - lambda sum_i v_i. A loss that is not finite is
/// unknown, and its task admitted. Throws ShapeError, ValueError for a lambda that is NaN.
inline Tensor<bool> self_paced_admitted(const Tensor<double>& losses, double lambda, Site site = Site::current()) {
  detail::check_per_task("self_paced_admitted", "losses", losses, site);
  if (std::isnan(lambda)) fail("self_paced_admitted", "lambda is NaN", {}, site);
  return generate(losses.shape(), [&](Index i) {
    const double loss = host(losses)[static_cast<std::size_t>(i)];
    return !std::isfinite(loss) || loss < lambda;
  });
}

/// Uniform, as `uniform_tasks`, among the tasks whose latest loss is below a threshold that grows by a factor each
/// round: more and more of them, in the end all; the one of lowest loss if there would be none. A threshold that is to
/// come from the losses is set when all are known, to `growth` times their lower median (of losses that are not above
/// 0: to the first above it); until then everything is admitted. Throws ValueError for no tasks or places.
struct SelfPaced {
  Buffer<double> lambda;  ///< []: the threshold of the next round, 0 as long as there is none
  SelfPacedOptions options;
  GRAFT_FIELDS(lambda)
  GRAFT_CONFIG(options)

  /// Throws ValueError for options outside their range.
  explicit SelfPaced(SelfPacedOptions o = {}, Site site = Site::current())
      : lambda{Tensor<double>(o.lambda)}, options(o) {
    detail::check_option<double>("SelfPaced", "lambda", o.lambda, detail::Range::not_negative, site);
    detail::check_option<double>("SelfPaced", "growth", o.growth, detail::Range::positive, site);
    if (o.growth <= 1) fail("SelfPaced", {"growth is ", o.growth, ", expected above 1"}, {}, site);
  }

  std::vector<Index> operator()(const ScheduleInput& input, Site site = Site::current()) {
    constexpr double kAll = std::numeric_limits<double>::infinity();
    detail::check_schedule("SelfPaced", input, site);
    const List<double> losses = detail::known_losses(input);
    double threshold = lambda.value.item();
    const bool known = std::none_of(losses.begin(), losses.end(), [](double loss) { return std::isnan(loss); });
    if (threshold == 0 && known) {
      List<double> sorted = losses;
      std::sort(sorted.begin(), sorted.end());
      const auto half = sorted.begin() + (input.tasks - 1) / 2;
      const auto above = std::find_if(half, sorted.end(), [](double loss) { return loss > 0; });
      threshold = above == sorted.end() ? kAll : options.growth * *above;
    }
    lambda.value = Tensor<double>(options.growth * threshold);
    Tensor<bool> admitted = self_paced_admitted(from_vector(losses), threshold > 0 ? threshold : kAll, site);
    if (std::none_of(host(admitted).begin(), host(admitted).end(), [](bool v) { return v; })) {
      const Index easiest = std::min_element(losses.begin(), losses.end()) - losses.begin();
      admitted = generate({input.tasks}, [&](Index i) { return i == easiest; });
    }
    return detail::uniform_of_marked(admitted, input, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
