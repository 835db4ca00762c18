// Function: calls what it holds, shares it among copies, says that it is empty.

#include <memory>

#include "catch.hpp"
#include "graft/core/function.hpp"

using namespace graft;

TEST_CASE("a function calls what it was made of", "[core]") {
  const auto adding = [](int offset) -> Function<int(int, int&)> {
    return [offset](int x, int& seen) {
      ++seen;
      return x + offset;
    };
  };
  const Function<int(int, int&)> add = adding(3);
  int seen = 0;
  CHECK(add(4, seen) == 7);
  const Function<int(int, int&)> copy = add;
  CHECK(copy(5, seen) == 8);
  CHECK(seen == 2);
  CHECK(static_cast<bool>(add));
}

TEST_CASE("copies of a function share what it holds", "[core]") {
  const auto kept = std::make_shared<int>(1);
  {
    const Function<int()> one = [kept] { return *kept; };
    const Function<int()> two = one;
    CHECK(kept.use_count() == 2);
    CHECK(two() == 1);
  }
  CHECK(kept.use_count() == 1);
}

TEST_CASE("an empty function is false, and an error to call", "[core]") {
  const Function<int()> none;
  CHECK_FALSE(static_cast<bool>(none));
  CHECK_THROWS_WITH(none(), contains("called while empty"));
}
