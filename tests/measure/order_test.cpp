#include "bench/measure/order.h"

#include <algorithm>
#include <map>

#include "support/catch.h"

using namespace ringlet;

TEST_CASE("An order is a function of seed and round") {
  CHECK(shuffled(50, 7, 3) == shuffled(50, 7, 3));
  CHECK(shuffled(50, 7, 3) != shuffled(50, 7, 4));
  CHECK(shuffled(50, 7, 3) != shuffled(50, 8, 3));
  CHECK(shuffled(50, 7, 3) != shuffled(50, 3, 7));
  CHECK(shuffled(50, 7, 3) != shuffled(50, 7 + (1ull << 32), 3));
  // The same with any standard library, since the engine is the standard's.
  CHECK(shuffled(8, 1, 2) == std::vector<std::size_t>{0, 2, 3, 1, 5, 7, 4, 6});
}

TEST_CASE("An order has every number once") {
  const std::size_t n = GENERATE(0, 1, 2, 17, 1000);
  std::vector<std::size_t> order = shuffled(n, 5, 0);
  REQUIRE(order.size() == n);
  std::sort(order.begin(), order.end());
  for (std::size_t i = 0; i < n; ++i) CHECK(order[i] == i);
}

TEST_CASE("All orders are equally likely") {
  std::map<std::vector<std::size_t>, int> counts;
  constexpr int kRounds = 24'000;
  for (int round = 0; round < kRounds; ++round) ++counts[shuffled(4, 9, round)];
  REQUIRE(counts.size() == 24);
  double chi_squared = 0;
  for (const auto& [order, count] : counts) {
    chi_squared += (count - 1000.0) * (count - 1000.0) / 1000;
  }
  CHECK(chi_squared < 49.7);  // 23 degrees of freedom: exceeded once in 1000
}
