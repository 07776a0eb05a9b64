#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "collectives/algorithm_communicator.h"
#include "collectives/schedule.h"
#include "collectives/strict_transport.h"
#include "kernels/runtime/check.h"
#include "support/catch.h"
#include "support/spawn_ranks.h"

namespace ringlet {
namespace {

using testing::spawn_transports;
using Bits = std::vector<std::uint32_t>;

// How many schedules of delays are tried: 50, or what RINGLET_SCHEDULES says.
unsigned schedule_count() {
  const char* text = std::getenv("RINGLET_SCHEDULES");
  if (text == nullptr) return 50;
  const int count = std::atoi(text);
  RINGLET_CHECK(count > 0, "RINGLET_SCHEDULES is '{}', expected a number",
                text);
  return static_cast<unsigned>(count);
}

// Numbers whose combination depends on the order in its last bits: sums round,
// and of two zeros of different signs the minimum is either.
std::vector<float> operand(int rank, ReduceOp op) {
  constexpr std::size_t kCount = 211;
  std::mt19937 random(static_cast<unsigned>(rank));
  std::normal_distribution<float> normal;
  std::vector<float> values(kCount);
  for (float& value : values) {
    const float number = normal(random);
    value = op == ReduceOp::kMin ? std::copysign(0.0F, number) : number;
  }
  return values;
}

// The bits of each rank's results. Seed 0 delays nothing.
std::vector<Bits> results(const std::string& algorithm, int ranks,
                          unsigned seed) {
  std::vector<Bits> bits(static_cast<std::size_t>(ranks));
  spawn_transports(ranks, [&](std::unique_ptr<Transport> transport) {
    const int rank = transport->rank();
    testing::TransportLog log;
    if (seed > 0) {
      transport =
          testing::make_strict_transport(std::move(transport), log, seed);
    }
    const auto communicator = make_algorithm_communicator(
        algorithm, std::move(transport), {.slice_bytes = 64, .window = 2});
    for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMin}) {
      std::vector<float> data = operand(rank, op);
      communicator->all_reduce(data.data(), data.size(), Dtype::kF32, op);
      for (const float value : data) {
        bits[static_cast<std::size_t>(rank)].push_back(
            std::bit_cast<std::uint32_t>(value));
      }
    }
  });
  return bits;
}

TEST_CASE("every algorithm has the same bits under any schedule of delays",
          "[slow]") {
  const std::string algorithm = GENERATE(from_range(schedule_names()));
  const unsigned schedules = schedule_count();
  for (const int ranks : {4, 5}) {
    const std::vector<Bits> undelayed = results(algorithm, ranks, 0);
    CAPTURE(algorithm, ranks);
    CHECK(
        (undelayed == std::vector<Bits>(undelayed.size(), undelayed.front())));
    for (unsigned seed = 1; seed <= schedules; ++seed) {
      CAPTURE(seed);
      CHECK((results(algorithm, ranks, seed) == undelayed));
    }
  }
}

}  // namespace
}  // namespace ringlet
