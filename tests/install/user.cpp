// What a user's first program may look like.

#include <cstdio>

#include "graft/graft.hpp"

int main() {
  using namespace graft;
  // d/dx sum(x^2) = 2 x = 6 at x = 3.
  const Tensor<> slope = grad([](const Tensor<>& x) { return sum(x * x); }, Tensor<>(3.0f));
  std::printf("graft %d.%d.%d: slope %g\n", GRAFT_VERSION_MAJOR, GRAFT_VERSION_MINOR, GRAFT_VERSION_PATCH,
              static_cast<double>(slope.item()));
}
