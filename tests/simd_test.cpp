// What is done to lanes of SIMD registers, against loops over them.

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "graft/number/compress.hpp"

using namespace graft;

TEMPLATE_TEST_CASE("what is not zero moves together, with its tags", "[number]", float, double) {
  const TestType nan = std::numeric_limits<TestType>::quiet_NaN();
  const TestType pattern[] = {0, 1, TestType(-0.0), nan, 0, 2, 3, std::numeric_limits<TestType>::denorm_min(), 0};
  for (Index count = 0; count <= 40; ++count)
    for (const bool through_places : {false, true}) {
      std::vector<TestType> values, expected;
      std::vector<std::int32_t> places, tags, expected_tags;
      for (std::int32_t i = 0; i < count; ++i) {
        values.push_back(pattern[(7 * i + count) % 9]);
        places.push_back((5 * i + 3) % static_cast<std::int32_t>(count));
        tags.push_back(100 + i);
      }
      for (std::size_t i = 0; i < values.size(); ++i) {
        const TestType value = through_places ? values[places[i]] : values[i];
        if (value == 0) continue;
        expected.push_back(value);
        expected_tags.push_back(tags[i]);
      }
      std::vector<TestType> to(static_cast<std::size_t>(count) + 16);
      std::vector<std::int32_t> to_tags(to.size());
      const Index kept = keep_nonzero(values.data(), through_places ? places.data() : nullptr, tags.data(), count,
                                      to.data(), to_tags.data());
      REQUIRE(kept == static_cast<Index>(expected.size()));
      const std::size_t bytes = expected.size() * sizeof(TestType);
      REQUIRE((bytes == 0 || std::memcmp(to.data(), expected.data(), bytes) == 0));
      REQUIRE(std::equal(expected_tags.begin(), expected_tags.end(), to_tags.begin()));
    }
}
