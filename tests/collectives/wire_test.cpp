#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "collectives/algorithm_communicator.h"
#include "collectives/ledger.h"
#include "collectives/schedule.h"
#include "kernels/reduce.h"
#include "kernels/runtime/check.h"
#include "kernels/runtime/half.h"
#include "support/catch.h"
#include "support/spawn_ranks.h"

namespace ringlet {
namespace {

using testing::spawn_ranks;
using testing::spawn_transports;

constexpr std::size_t kSliceBytes = 64;

Collective sum_of(const float* input, float* output, std::size_t count,
                  Dtype wire, ReduceOp op = ReduceOp::kSum) {
  return {.kind = CollectiveKind::kAllReduce,
          .input = input,
          .output = output,
          .count = count,
          .dtype = Dtype::kF32,
          .op = op,
          .wire = wire};
}

// A rank's contribution, which any other rank can make too.
std::vector<float> values_of(int rank, std::size_t count) {
  std::mt19937 random(static_cast<unsigned>(rank) + 1);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// Half the distance of neighbours around 1, and half the least number.
double unit_of(Dtype wire) { return wire == Dtype::kF16 ? 0x1p-11 : 0x1p-8; }
constexpr double kTiny = 0x1p-25;

void check_equal_bits(Communicator& communicator,
                      const std::vector<float>& values) {
  std::vector<std::int32_t> bits;
  for (const float value : values) {
    bits.push_back(std::bit_cast<std::int32_t>(value));
  }
  auto least = bits, most = bits;
  communicator.all_reduce(least.data(), bits.size(), Dtype::kI32,
                          ReduceOp::kMin);
  communicator.all_reduce(most.data(), bits.size(), Dtype::kI32,
                          ReduceOp::kMax);
  RINGLET_CHECK(least == bits && most == bits, "ranks hold different bits");
}

// Within `roundings` times u of the sum of all magnitudes, of float64's sum.
void check_bound(const std::vector<float>& result, int ranks, Dtype wire,
                 ReduceOp op, double roundings) {
  std::vector<double> sums(result.size()), magnitudes(result.size());
  const double share = op == ReduceOp::kAvg ? 1.0 / ranks : 1;
  for (int rank = 0; rank < ranks; ++rank) {
    const auto values = values_of(rank, result.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      sums[i] += share * static_cast<double>(values[i]);
      magnitudes[i] += share * std::abs(static_cast<double>(values[i]));
    }
  }
  for (std::size_t i = 0; i < result.size(); ++i) {
    // What is beyond the first order, and float's own error.
    constexpr double kRest = 1.02;
    const double bound =
        kRest * roundings * (unit_of(wire) * magnitudes[i] + kTiny);
    const double error = std::abs(static_cast<double>(result[i]) - sums[i]);
    RINGLET_CHECK(error <= bound, "{} of {} on {} ranks: element {} is {} off",
                  name_of(op), result.size(), ranks, i, error);
  }
}

void check_sums(Communicator& communicator, Dtype wire, ReduceOp op) {
  const int ranks = communicator.size();
  // In `ordered` a contribution is rounded once, and the sum once.
  const bool once = communicator.name() == "ordered";
  const double roundings = ranks == 1 ? 0.001 : once ? 2 : ranks;
  for (const std::size_t count : {0, 1, 7, 31, 33, 255, 1009}) {
    const auto input = values_of(communicator.rank(), count);
    auto in_place = input;
    communicator.run(sum_of(in_place.data(), in_place.data(), count, wire, op));
    check_bound(in_place, ranks, wire, op, roundings);
    check_equal_bits(communicator, in_place);

    const auto kept = input;
    std::vector<float> output(count);
    communicator.run(sum_of(input.data(), output.data(), count, wire, op));
    RINGLET_CHECK(output == in_place && input == kept,
                  "with an output of its own: other sums");
  }
}

TEST_CASE("a 16-bit wire keeps its error bound and equal bits", "[slow]") {
  const std::string algorithm = GENERATE(from_range(schedule_names()));
  const Dtype wire = GENERATE(Dtype::kBF16, Dtype::kF16);
  const CommunicatorOptions options = {.slice_bytes = kSliceBytes};
  for (int ranks = 1; ranks <= 8; ++ranks) {
    CAPTURE(algorithm, ranks, name_of(wire));
    spawn_ranks(
        ranks,
        [&](Communicator& communicator) {
          check_sums(communicator, wire, ReduceOp::kSum);
          check_sums(communicator, wire, ReduceOp::kAvg);
        },
        options, algorithm);
  }
}

TEST_CASE("ordered rounds a contribution once and adds in float") {
  constexpr std::size_t kCount = 997;
  constexpr int kRanks = 7;
  spawn_ranks(
      kRanks,
      [&](Communicator& communicator) {
        std::vector<double> exact(kCount);
        for (int rank = 0; rank < kRanks; ++rank) {
          const auto values = values_of(rank, kCount);
          for (std::size_t i = 0; i < kCount; ++i) {
            exact[i] += static_cast<double>(widen(narrow<BFloat16>(values[i])));
          }
        }
        auto data = values_of(communicator.rank(), kCount);
        communicator.run(
            sum_of(data.data(), data.data(), kCount, Dtype::kBF16));
        std::size_t others = 0;
        for (std::size_t i = 0; i < kCount; ++i) {
          const auto sum = static_cast<float>(exact[i]);
          others += data[i] != widen(narrow<BFloat16>(sum));
        }
        // Where float itself rounds next to the middle of two neighbours.
        RINGLET_CHECK(others <= 1, "{} sums were rounded on the way", others);
      },
      {.slice_bytes = kSliceBytes}, "ordered");
}

TEST_CASE("a 16-bit wire carries half the bytes") {
  const std::string algorithm = GENERATE(from_range(schedule_names()));
  constexpr std::size_t kCount = 1000;
  const auto bytes_sent = [&](Communicator& communicator, Dtype wire) {
    std::vector<float> data(kCount, 1);
    communicator.clear_ledger();
    communicator.run(sum_of(data.data(), data.data(), kCount, wire));
    return communicator.ledger()->total().bytes_sent;
  };
  spawn_ranks(
      4,
      [&](Communicator& communicator) {
        const auto whole = bytes_sent(communicator, Dtype::kF32);
        const auto half = bytes_sent(communicator, Dtype::kBF16);
        RINGLET_CHECK(whole > 0 && 2 * half == whole, "{} of {} bytes", half,
                      whole);
      },
      {}, algorithm);
}

TEST_CASE("what f16 cannot hold is not finite on all ranks alike") {
  const std::string algorithm = GENERATE(from_range(schedule_names()));
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  spawn_ranks(
      3,
      [&](Communicator& communicator) {
        const bool first = communicator.rank() == 0;
        std::vector<float> data{30000, first ? 1e6f : 1.0f, first ? NAN : 2.0f,
                                1};
        auto mean = data;
        communicator.run(sum_of(data.data(), data.data(), 4, Dtype::kF16));
        RINGLET_CHECK(data[0] == kInfinity && data[1] == kInfinity &&
                          std::isnan(data[2]) && data[3] == 3,
                      "sums {} {} {} {}", data[0], data[1], data[2], data[3]);
        check_equal_bits(communicator, data);
        // Divided before it can overflow.
        communicator.run(
            sum_of(mean.data(), mean.data(), 1, Dtype::kF16, ReduceOp::kAvg));
        RINGLET_CHECK(std::abs(mean[0] - 30000) < 60, "mean {}", mean[0]);
      },
      {}, algorithm);
}

TEST_CASE("hierarchical rounds between hosts alone") {
  const int per_host = GENERATE(2, 4);
  const Dtype wire = GENERATE(Dtype::kBF16, Dtype::kF16);
  const ReduceOp op = GENERATE(ReduceOp::kSum, ReduceOp::kAvg);
  constexpr int kRanks = 4;
  // The ring, and for few bytes recursive doubling.
  const std::size_t count = GENERATE(33, 100003);
  ThreadWorld world(kRanks, per_host);
  spawn_transports(world, [&](std::unique_ptr<Transport> transport) {
    const auto communicator =
        make_algorithm_communicator("hierarchical", std::move(transport));
    auto data = values_of(communicator->rank(), count);
    communicator->run(sum_of(data.data(), data.data(), count, wire, op));
    const int hosts = kRanks / per_host;
    check_bound(data, kRanks, wire, op, hosts == 1 ? 0.001 : hosts);
    check_equal_bits(*communicator, data);
    const bool exact = std::all_of(data.begin(), data.end(), [&](float value) {
      std::uint16_t bits = 0;
      narrow(&bits, wire, &value, 1, 1);
      float back = 0;
      widen(&back, &bits, wire, 1);
      return back == value;
    });
    RINGLET_CHECK(exact == (hosts > 1),
                  "rounded on one host, or not between two");
  });
}

TEST_CASE("a wire that means nothing is refused") {
  std::atomic<int> refused = 0;
  spawn_ranks(2, [&](Communicator& communicator) {
    float data = 1;
    Collective call = sum_of(&data, &data, 1, Dtype::kBF16);
    const auto attempt = [&](const Collective& bad) {
      try {
        communicator.run(bad);
      } catch (const Error&) {
        ++refused;
      }
    };
    Collective bad = call;
    bad.op = ReduceOp::kMax;
    attempt(bad);
    bad = call;
    bad.wire = Dtype::kU8;
    attempt(bad);
    bad = call;
    bad.kind = CollectiveKind::kReduce;
    attempt(bad);
  });
  CHECK(refused == 6);
}

}  // namespace
}  // namespace ringlet
