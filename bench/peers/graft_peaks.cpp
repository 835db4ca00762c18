// What this machine can do at most, measured as works are: multiply-adds that never leave the registers, and numbers
// that are read and written once. own.py divides by their rates.

#include "../peak.hpp"
#include "graft/core/parallel.hpp"
#include "work.hpp"

namespace peers {
namespace {

using namespace graft;

/// `steps` multiply-adds in each of several chains of batches, on every thread. The result is the FLOPs of a step.
const bool multiply_adds = add_work("peak_multiply_adds", [](const Inputs& in) {
  constexpr int chains = bench::kFmaChains<float>;
  const Index steps = in.number("steps");
  return Work{[=] {
                parallel_tasks(threads(), [&](Index) {
                  volatile float factor = 0.75f, sink = 0;
                  sink = bench::FmaChains<float, std::make_integer_sequence<int, chains>>::run(steps, factor, 0.5f);
                  (void)sink;
                });
              },
              [] { return Results{{"flops", Tensor<float>(2.0f * chains * Simd<float>::size)}}; }};
});

/// y = x for `count` numbers, a multiple of a register: their number decides which cache they come from.
const bool copy = add_work("peak_copy", [](const Inputs& in) {
  const Tensor<float> x = zeros<float>({in.number("count")});
  const Tensor<float> y = ones<float>(x.shape());
  return Work{[=] {
                const float* from = x.data();
                float* to = detail::writable(y);
                parallel_for(x.count(), Index{1} << 16, [=](Index begin, Index end) {
                  for (Index i = begin; i < end; i += Simd<float>::size)
                    Simd<float>::load(from + i).store(to + i);
                });
              },
              [] { return Results{}; }};
});

}  // namespace
}  // namespace peers
