#include "bench/measure/memory_limit.h"

#include <stdexcept>

#include "support/catch.h"

using namespace ringlet;

// How fast memory is depends on the machine; what is checked is that work was
// done at all: nothing moves 100 TB/s or less than 1 MB/s.
TEST_CASE("The memory's limit is that of real work") {
  // One float; not a multiple of any vector; larger than the first cache.
  const std::size_t bytes = GENERATE(4, 1004, 1 << 18);
  const MemoryLimit limit = measure_memory_limit(bytes, 3);
  for (const double speed : {limit.read, limit.copy, limit.add}) {
    CHECK(speed > 1e6);
    CHECK(speed < 1e14);
  }
}

TEST_CASE("A memory limit of nothing is refused") {
  CHECK_THROWS_AS(measure_memory_limit(3, 1), std::invalid_argument);
  CHECK_THROWS_WITH(measure_memory_limit(0, 5),
                    StartsWith("memory limit of 0 bytes, 5 repeats"));
  CHECK_THROWS_AS(measure_memory_limit(4, 0), std::invalid_argument);
}
