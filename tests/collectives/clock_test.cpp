#include "collectives/clock.h"

#include <cstdlib>
#include <mutex>

#include "collectives/skewed_transport.h"
#include "support/catch.h"
#include "support/spawn_ranks.h"

namespace ringlet {
namespace {

using testing::SkewedTransport;
using testing::spawn_transports;

constexpr std::int64_t kSecond = 1'000'000'000;

std::vector<ClockReading> readings_on(
    int ranks, const std::function<std::int64_t(int)>& skew) {
  std::vector<ClockReading> readings(static_cast<std::size_t>(ranks));
  spawn_transports(ranks, [&](std::unique_ptr<Transport> transport) {
    const int rank = transport->rank();
    SkewedTransport skewed(std::move(transport), skew(rank));
    readings[static_cast<std::size_t>(rank)] = measure_clock(skewed);
  });
  return readings;
}

TEST_CASE("threads have one clock") {
  for (int ranks = 1; ranks <= 5; ++ranks) {
    for (const ClockReading& reading :
         readings_on(ranks, [](int) { return 0; })) {
      CHECK(std::abs(reading.ahead) <= reading.error);
    }
  }
}

TEST_CASE("a clock that is off is found to be, within the error that is told") {
  const auto skew = [](int rank) {
    return (rank % 2 == 0 ? rank : -rank) * kSecond + 12345;
  };
  const auto readings = readings_on(4, skew);
  CHECK(readings[0].ahead == 0);
  CHECK(readings[0].error == 0);
  for (int rank = 1; rank < 4; ++rank) {
    const ClockReading& reading = readings[static_cast<std::size_t>(rank)];
    CHECK(std::abs(reading.ahead - (skew(rank) - skew(0))) <= reading.error);
    CHECK(reading.error > 0);
    CHECK(reading.error < kSecond);
  }
}

// The worst that can be: all of the round trip is on one way.
TEST_CASE("a slow way to or from rank 0 is within the error, too") {
  const int slow = GENERATE(0, 1);
  ClockReading reading{};
  spawn_transports(2, [&](std::unique_ptr<Transport> transport) {
    const int rank = transport->rank();
    SkewedTransport skewed(std::move(transport), 0,
                           std::chrono::milliseconds(rank == slow ? 2 : 0));
    const ClockReading mine = measure_clock(skewed);
    if (rank == 1) reading = mine;
  });
  CHECK(std::abs(reading.ahead) > 500'000);
  CHECK(std::abs(reading.ahead) <= reading.error);
}

TEST_CASE("times are moved by what the clock was off, then") {
  CHECK(on_first_ranks_clock(500, {}) == 500);
  CHECK(on_first_ranks_clock(500, {{100, 40, 1}}) == 460);
  // 40 ahead at 100, 240 ahead at 1100: it gains a fifth.
  const std::vector<ClockReading> drifting{{100, 40, 1}, {1100, 240, 1}};
  CHECK(on_first_ranks_clock(100, drifting) == 60);
  CHECK(on_first_ranks_clock(600, drifting) == 460);
  CHECK(on_first_ranks_clock(1100, drifting) == 860);
  CHECK(on_first_ranks_clock(1600, drifting) == 1260);
}

}  // namespace
}  // namespace ringlet
