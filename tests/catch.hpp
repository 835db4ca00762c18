#pragma once
// Catch2, version 2 or 3, under one set of names: Approx, contains("text"), GRAFT_SKIP("reason").

#include <cstdio>
#include <cstdlib>
#include <string>

#ifdef GRAFT_CATCH2_V3
#include <catch2/catch_all.hpp>
#else
#define CATCH_CONFIG_FAST_COMPILE
#include <catch2/catch.hpp>
#endif

#ifdef GRAFT_CATCH2_V3
using Catch::Approx;
#endif

/// Matcher for error messages: `REQUIRE_THROWS_WITH(f(), contains("matmul") && contains("[2, 3]"))`.
inline auto contains(const std::string& text) {
#ifdef GRAFT_CATCH2_V3
  return Catch::Matchers::ContainsSubstring(text);
#else
  return Catch::Matchers::Contains(text);
#endif
}
#pragma GCC poison Contains  // of an element in version 3, not of a text

/// How much of something to try: the environment variable `name`, else `usual`.
inline int amount(const char* name, int usual) {
  const char* asked = std::getenv(name);
  return asked ? std::atoi(asked) : usual;
}

/// Ends the running test case as skipped. tests/run.sh collects these lines and fails unless the name is in
/// tests/allowed_skips; Catch2's own SKIP is not in version 2.
#define GRAFT_SKIP(reason)                                                                                   \
  do {                                                                                                       \
    std::printf("\nSKIPPED %s -- %s\n", Catch::getResultCapture().getCurrentTestName().c_str(), (reason));     \
    std::fflush(stdout);                                                                                     \
    return;                                                                                                  \
  } while (false)
