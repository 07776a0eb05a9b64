#include "collectives/shared_collectives.h"

#include <atomic>
#include <chrono>
#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "collectives/algorithm_communicator.h"
#include "collectives/ledger.h"
#include "collectives/shared_board.h"
#include "kernels/runtime/check.h"
#include "support/catch.h"
#include "support/spawn_ranks.h"

namespace ringlet {
namespace {

using testing::spawn_ranks;
using testing::spawn_transports;

// What each of three ranks throws where each makes its own call.
using Call = std::function<void(Communicator&, float*)>;
std::vector<std::string> messages_of(const std::vector<Call>& calls) {
  std::vector<std::string> messages(calls.size());
  spawn_ranks(
      static_cast<int>(calls.size()),
      [&](Communicator& communicator) {
        const auto rank = static_cast<std::size_t>(communicator.rank());
        std::vector<float> data(5000, 1);
        communicator.barrier();
        try {
          calls[rank](communicator, data.data());
          messages[rank] = "no error";
        } catch (const MismatchError& error) {
          messages[rank] = error.what();
        }
        RINGLET_CHECK(data == std::vector<float>(5000, 1), "data were touched");
      },
      {}, "shared");
  return messages;
}

TEST_CASE("ranks that make different calls all learn who makes which") {
  const auto sum = [](std::size_t count, Dtype dtype = Dtype::kF32,
                      ReduceOp op = ReduceOp::kSum, int tag = 4) -> Call {
    return [=](Communicator& communicator, float* data) {
      communicator.all_reduce(data, count, dtype, op, tag);
    };
  };
  const Call broadcast = [](Communicator& communicator, float* data) {
    communicator.broadcast(data, 4000, 1);
  };
  const Call barrier = [](Communicator& communicator, float*) {
    communicator.barrier();
  };
  const struct {
    Call odd;
    std::string text;
  } kinds[] = {
      {sum(999), "all_reduce of 999 f32, sum, bucket 4"},
      {sum(5), "all_reduce of 5 f32, sum, bucket 4"},
      {sum(1000, Dtype::kI32), "all_reduce of 1000 i32, sum, bucket 4"},
      {sum(1000, Dtype::kF32, ReduceOp::kMax),
       "all_reduce of 1000 f32, max, bucket 4"},
      {sum(1000, Dtype::kF32, ReduceOp::kSum, 5),
       "all_reduce of 1000 f32, sum, bucket 5"},
      {broadcast, "broadcast of 4000 u8 from rank 1"},
      {barrier, "barrier"},
  };
  const std::string usual = "all_reduce of 1000 f32, sum, bucket 4";
  for (const auto& [odd, text] : kinds) {
    const auto messages = messages_of({sum(1000), sum(1000), odd});
    const std::string expected = "ranks differ in call 2: rank 0 " + usual +
                                 "; rank 1 " + usual + "; rank 2 " + text;
    CHECK(messages == std::vector<std::string>(3, expected));
  }
}

TEST_CASE("who waits for a rank that has given up is told so") {
  std::vector<std::string> messages(3);
  const auto body = [&](Communicator& communicator) {
    std::vector<float> data(100000);
    communicator.barrier();  // who makes a communicator waits for messages
    if (communicator.rank() == 1) throw Error("rank 1 has had enough");
    try {
      communicator.all_reduce(data.data(), data.size(), Dtype::kF32,
                              ReduceOp::kSum);
    } catch (const Cancelled& cancelled) {
      messages[static_cast<std::size_t>(communicator.rank())] =
          cancelled.what();
      throw;
    }
  };
  CHECK_THROWS_WITH(spawn_ranks(3, body, {}, "shared"),
                    "rank 1 has had enough");
  CHECK(messages ==
        std::vector<std::string>{"rank 1 gave up", "", "rank 1 gave up"});
}

TEST_CASE("what a rank has done before it gives up counts") {
  for (int round = 0; round < 100; ++round) {
    std::atomic<int> finished = 0;
    const auto body = [&](Communicator& communicator) {
      std::vector<float> data(round % 2 == 0 ? 10 : 10000, 1);
      communicator.all_reduce(data.data(), data.size(), Dtype::kF32,
                              ReduceOp::kSum);
      RINGLET_CHECK(data == std::vector<float>(data.size(), 3), "no sum");
      ++finished;
      throw Error("enough");
    };
    CHECK_THROWS_WITH(spawn_ranks(3, body, {}, "shared"), "enough");
    CHECK(finished == 3);
  }
}

// Rank 2 dawdles before one call and again after it.
TEST_CASE("a slow rank changes nothing") {
  spawn_ranks(
      3,
      [](Communicator& communicator) {
        constexpr std::size_t kCount = 30000;
        const Buffer buffer = communicator.allocate(kCount * sizeof(float));
        auto* data = reinterpret_cast<float*>(buffer.data());
        for (int round = 1; round <= 20; ++round) {
          std::fill_n(data, kCount, static_cast<float>(communicator.rank()));
          if (communicator.rank() == round % 3) {
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
          }
          const std::size_t count = round % 2 == 0 ? kCount : 100;
          communicator.all_reduce(data, count, Dtype::kF32, ReduceOp::kSum);
          for (std::size_t i = 0; i < count; ++i) {
            RINGLET_CHECK(data[i] == 3, "round {}: element {} is {}", round, i,
                          data[i]);
          }
        }
      },
      {}, "shared");
}

std::vector<float> normal_values(std::size_t count, int seed) {
  std::mt19937 random(static_cast<unsigned>(seed));
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

TEST_CASE("the bits are ordered's, whatever way they take") {
  for (const int ranks : {1, 2, 3, 4, 7, 8}) {
    // Beside the arrival; in place, or through the stage, in several blocks.
    for (const std::size_t count : {100, 100003}) {
      const auto sum_by = [&](const char* algorithm, bool allocated) {
        std::vector<float> result;
        spawn_ranks(
            ranks,
            [&](Communicator& communicator) {
              auto values = normal_values(count, communicator.rank());
              Buffer buffer;
              float* data = values.data();
              if (allocated) {
                buffer = communicator.allocate(count * sizeof(float));
                data = reinterpret_cast<float*>(buffer.data());
                std::copy(values.begin(), values.end(), data);
              }
              communicator.all_reduce(data, count, Dtype::kF32, ReduceOp::kSum);
              if (communicator.rank() == 0) result.assign(data, data + count);
            },
            {}, algorithm);
        return result;
      };
      const std::vector<float> expected = sum_by("ordered", false);
      CAPTURE(ranks, count);
      CHECK((sum_by("shared", false) == expected));
      CHECK((sum_by("shared", true) == expected));
    }
  }
}

// One rank's array is out of the others' reach: then all take the stage.
TEST_CASE("arrays in and out of shared memory may meet in one call") {
  spawn_ranks(
      3,
      [](Communicator& communicator) {
        constexpr std::size_t kCount = 70001;
        const Buffer shared = communicator.allocate(2 * kCount * sizeof(float));
        std::vector<float> own(kCount);
        for (const bool in_place : {true, false}) {
          auto* data = reinterpret_cast<float*>(shared.data());
          if (communicator.rank() == 1) data = own.data();
          auto* sums = in_place
                           ? data
                           : reinterpret_cast<float*>(shared.data()) + kCount;
          for (std::size_t i = 0; i < kCount; ++i) {
            data[i] = static_cast<float>(i % 1000 * 3) +
                      static_cast<float>(communicator.rank());
          }
          communicator.all_reduce(data, sums, kCount, Dtype::kF32,
                                  ReduceOp::kAvg);
          for (std::size_t i = 0; i < kCount; ++i) {
            RINGLET_CHECK(sums[i] == static_cast<float>(i % 1000 * 3) + 1,
                          "element {} is {}", i, sums[i]);
          }
        }
      },
      {}, "shared");
}

TEST_CASE("shared moves 2 (N-1)/N of the bytes between ranks") {
  constexpr std::size_t kCount = 16 * 4 * 1000;  // whole lines for each rank
  std::vector<Traffic> totals(4);
  spawn_ranks(
      4,
      [&](Communicator& communicator) {
        const Buffer data = communicator.allocate(kCount * sizeof(float));
        communicator.all_reduce(data.data(), kCount, Dtype::kF32,
                                ReduceOp::kSum);
        const auto rank = static_cast<std::size_t>(communicator.rank());
        totals[rank] = communicator.ledger()->total();
      },
      {}, "shared");
  for (const Traffic& total : totals) {
    CHECK(total.bytes_sent == 2 * 3 * kCount / 4 * sizeof(float));
    CHECK(total.bytes_received == total.bytes_sent);
  }
}

TEST_CASE("ranks on several hosts are refused") {
  const auto body = [](std::unique_ptr<Transport> transport) {
    if (transport->rank() == 2) return;
    make_algorithm_communicator("shared", std::move(transport));
  };
  ThreadWorld world(3, 2);
  CHECK_THROWS_WITH(spawn_transports(world, body),
                    ContainsSubstring("shared: expected all ranks on one host; "
                                      "rank ") &&
                        ContainsSubstring("shares memory with 2 of 3 ranks"));
}

}  // namespace
}  // namespace ringlet
