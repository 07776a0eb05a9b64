#include "collectives/communicator.h"

#include <atomic>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

#include "collectives/algorithm_communicator.h"
#include "collectives/conformance.h"
#include "collectives/forwarding_transport.h"
#include "collectives/schedule.h"
#include "collectives/strict_transport.h"
#include "kernels/runtime/check.h"
#include "support/catch.h"
#include "support/spawn_ranks.h"

namespace ringlet {
namespace {

using testing::Arrays;
using testing::check_conformance;
using testing::spawn_ranks;
using testing::spawn_transports;

TEST_CASE("every algorithm over threads conforms", "[slow]") {
  const std::string algorithm = GENERATE(from_range(algorithm_names()));
  const CommunicatorOptions options = {
      .slice_bytes = static_cast<std::size_t>(GENERATE(16, 1024)),
      .window = static_cast<std::size_t>(GENERATE(1, 3))};
  const Arrays arrays = GENERATE(Arrays::kPrivate, Arrays::kAllocated);
  // To the others all memory is the same.
  if (arrays == Arrays::kAllocated && algorithm != "shared") return;
  for (int ranks = 1; ranks <= 8; ++ranks) {
    CAPTURE(algorithm, ranks, options.slice_bytes, options.window);
    spawn_ranks(
        ranks,
        [&](Communicator& communicator) {
          check_conformance(communicator, options.slice_bytes, arrays);
        },
        options, algorithm);
  }
}

TEST_CASE("hierarchical conforms whatever hosts its ranks are on", "[slow]") {
  const auto [ranks, per_host] = GENERATE(table<int, int>(
      {{3, 1}, {4, 2}, {6, 2}, {6, 3}, {8, 4}, {3, 3}, {1, 1}}));
  const CommunicatorOptions options = {
      .slice_bytes = static_cast<std::size_t>(GENERATE(64, 4096))};
  const Arrays arrays = GENERATE(Arrays::kPrivate, Arrays::kAllocated);
  CAPTURE(ranks, per_host, options.slice_bytes);
  ThreadWorld world(ranks, per_host);
  spawn_transports(world, [&](std::unique_ptr<Transport> transport) {
    check_conformance(*make_algorithm_communicator(
                          "hierarchical", std::move(transport), options),
                      options.slice_bytes, arrays);
  });
}

// One host's ranks have their arrays in shared memory, the others' do not.
TEST_CASE("hosts may hold what they reduce in different memory") {
  const CommunicatorOptions options = {.slice_bytes = 1024};
  constexpr std::size_t kCount = 20011;
  ThreadWorld world(6, 2);
  spawn_transports(world, [&](std::unique_ptr<Transport> transport) {
    const auto communicator = make_algorithm_communicator(
        "hierarchical", std::move(transport), options);
    const Buffer shared = communicator->allocate(kCount * sizeof(float));
    std::vector<float> own(kCount);
    auto* data = communicator->rank() / 2 == 1
                     ? reinterpret_cast<float*>(shared.data())
                     : own.data();
    for (int round = 1; round < 4; ++round) {
      for (std::size_t i = 0; i < kCount; ++i) {
        data[i] = static_cast<float>(i % 1000) * static_cast<float>(round);
      }
      communicator->all_reduce(data, kCount, Dtype::kF32, ReduceOp::kSum);
      for (std::size_t i = 0; i < kCount; ++i) {
        const float sum =
            6 * static_cast<float>(i % 1000) * static_cast<float>(round);
        RINGLET_CHECK(data[i] == sum, "element {} is {}", i, data[i]);
      }
    }
  });
}

TEST_CASE("hierarchical refuses hosts with different numbers of ranks") {
  ThreadWorld world(5, 2);
  std::atomic<int> refused = 0;
  spawn_transports(world, [&](std::unique_ptr<Transport> transport) {
    try {
      make_algorithm_communicator("hierarchical", std::move(transport));
    } catch (const Error& error) {
      refused +=
          error.what() == std::string(
                              "hierarchical: expected the same number of ranks "
                              "on each host; rank 0's has 2, rank 4's has 1");
    }
  });
  CHECK(refused == 5);
}

TEST_CASE("every schedule keeps MPI's rules where ranks run apart", "[slow]") {
  const std::string algorithm = GENERATE(from_range(schedule_names()));
  const CommunicatorOptions options = {.slice_bytes = 256, .window = 2};
  for (int ranks = 2; ranks <= 5; ++ranks) {
    CAPTURE(algorithm, ranks);
    spawn_transports(ranks, [&](std::unique_ptr<Transport> transport) {
      testing::TransportLog log;
      const auto communicator = make_algorithm_communicator(
          algorithm, testing::make_strict_transport(std::move(transport), log),
          options);
      check_conformance(*communicator, options.slice_bytes);
    });
  }
}

// Shards that are first added in a tree of one's own, then across ranks.
TEST_CASE("ordered has the same bits however its tree is spread over ranks") {
  constexpr std::size_t kShards = 8, kCount = 1009;
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<std::vector<float>> shards(kShards, std::vector<float>(kCount));
  for (auto& shard : shards) {
    for (float& value : shard) value = normal(random);
  }
  const auto sum_on = [&](std::size_t ranks, std::size_t slice_bytes) {
    std::vector<std::vector<float>> results(ranks);
    spawn_ranks(
        static_cast<int>(ranks),
        [&](Communicator& communicator) {
          const auto rank = static_cast<std::size_t>(communicator.rank());
          std::vector<const void*> own;
          for (std::size_t i = 0; i < kShards / ranks; ++i) {
            own.push_back(shards[rank * kShards / ranks + i].data());
          }
          std::vector<float> sum(kCount);
          reduce_tree(sum.data(), own.data(), own.size(), kCount, Dtype::kF32,
                      ReduceOp::kSum);
          communicator.all_reduce(sum.data(), kCount, Dtype::kF32,
                                  ReduceOp::kSum);
          results[rank] = sum;
        },
        {.slice_bytes = slice_bytes}, "ordered");
    for (const auto& result : results) {
      RINGLET_CHECK(result == results[0], "ranks differ");
    }
    return results[0];
  };
  const std::vector<float> expected = sum_on(1, 4096);
  for (const std::size_t ranks : {1, 2, 4, 8}) {
    for (const std::size_t slice_bytes : {8, 52, 4096}) {
      CAPTURE(ranks, slice_bytes);
      CHECK((sum_on(ranks, slice_bytes) == expected));
    }
  }
}

TEST_CASE("the ring keeps MPI's rules and its window where ranks run apart",
          "[slow]") {
  const CommunicatorOptions options = {.slice_bytes = 256, .window = 2};
  for (int ranks = 1; ranks <= 5; ++ranks) {
    CAPTURE(ranks);
    std::vector<testing::TransportLog> logs(static_cast<std::size_t>(ranks));
    spawn_transports(ranks, [&](std::unique_ptr<Transport> transport) {
      auto& log = logs[static_cast<std::size_t>(transport->rank())];
      const auto communicator = make_algorithm_communicator(
          "ring", testing::make_strict_transport(std::move(transport), log),
          options);
      check_conformance(*communicator, options.slice_bytes);
    });
    for (const testing::TransportLog& log : logs) {
      // The most are the slices of a long broadcast, which land in place. Two
      // that are to be added in one slot of the scratch would overlap.
      const std::size_t most = ranks > 1 ? 8 * options.window : 0;
      CHECK(log.most_sends_in_flight == most);
      CHECK(log.most_receives_in_flight == most);
    }
  }
}

TEST_CASE("the ring sends 2 (N-1)/N of the bytes") {
  constexpr std::size_t kCount = 1200;
  std::vector<testing::TransportLog> logs(4);
  spawn_transports(4, [&](std::unique_ptr<Transport> transport) {
    auto& log = logs[static_cast<std::size_t>(transport->rank())];
    const auto communicator = make_algorithm_communicator(
        "ring", testing::make_strict_transport(std::move(transport), log));
    std::vector<float> data(kCount);
    communicator->all_reduce(data.data(), kCount, Dtype::kF32, ReduceOp::kSum);
  });
  for (const testing::TransportLog& log : logs) {
    CHECK(log.bytes_sent == 2 * 3 * kCount / 4 * sizeof(float));
  }
}

TEST_CASE("solo conforms") {
  const auto communicator = make_communicator("solo");
  CHECK(communicator->name() == "solo");
  CHECK(communicator->size() == 1);
  check_conformance(*communicator, 64);
}

TEST_CASE("nobody leaves a barrier before everybody has come") {
  constexpr int kRounds = 50;
  for (int ranks = 1; ranks <= 8; ++ranks) {
    std::atomic<int> arrivals = 0;
    spawn_ranks(ranks, [&](Communicator& communicator) {
      for (int round = 1; round <= kRounds; ++round) {
        if (communicator.rank() == round % ranks) std::this_thread::yield();
        ++arrivals;
        communicator.barrier();
        RINGLET_CHECK(arrivals >= round * ranks, "left a barrier early");
        communicator.barrier();
      }
    });
  }
}

// The last one that rank 2 waits for is never joined by the others.
TEST_CASE(
    "an exception that unwinds past work in flight leaves nobody waiting") {
  std::vector<std::vector<float>> arrays(3, std::vector<float>(1000));
  const auto body = [&](Communicator& communicator) {
    auto& data = arrays[static_cast<std::size_t>(communicator.rank())];
    const auto launch = [&] {
      return communicator.all_reduce_async(data.data(), data.size(),
                                           Dtype::kF32, ReduceOp::kSum);
    };
    Work last;
    for (int i = 0; i <= communicator.rank(); ++i) last = launch();
    if (communicator.rank() == 1) throw Error("rank 1 has no more");
    if (communicator.rank() == 2) last.wait();
  };
  CHECK_THROWS_WITH(spawn_ranks(3, body), "rank 1 has no more");
}

// A transport whose cable breaks after some messages.
class FailingTransport final : public ForwardingTransport {
 public:
  FailingTransport(std::unique_ptr<Transport> inner, int messages)
      : ForwardingTransport(std::move(inner)), left_(messages) {}

  RequestPtr isend(int peer, const void* data, std::size_t bytes) override {
    if (left_-- == 0) throw Error("the cable broke");
    return ForwardingTransport::isend(peer, data, bytes);
  }

 private:
  int left_;
};

TEST_CASE("an error on the progress thread reaches the waits and later calls") {
  std::vector<std::string> messages;
  const auto collect = [&](const auto& call) {
    try {
      call();
      messages.push_back("no error");
    } catch (const Error& error) {
      messages.push_back(error.what());
    }
  };
  const auto body = [&](std::unique_ptr<Transport> transport) {
    if (transport->rank() == 0) {
      transport = std::make_unique<FailingTransport>(std::move(transport), 2);
    }
    const auto communicator =
        make_algorithm_communicator("ring", std::move(transport));
    std::vector<float> good(8), bad(8);
    const auto launch = [&](std::vector<float>& data) {
      return communicator->all_reduce_async(data.data(), data.size(),
                                            Dtype::kF32, ReduceOp::kSum);
    };
    Work first = launch(good), second = launch(bad);
    first.wait();
    if (communicator->rank() != 0) return second.wait();
    collect([&] { second.wait(); });
    collect([&] { first.wait(); });
    collect([&] { communicator->barrier(); });
    collect([&] { launch(bad); });
    throw Error("rank 0 ends");
  };
  CHECK_THROWS_WITH(spawn_transports(2, body), "rank 0 ends");
  CHECK(messages == std::vector<std::string>{"the cable broke", "no error",
                                             "the cable broke",
                                             "the cable broke"});
}

TEST_CASE("calls that cannot be meant are refused") {
  spawn_ranks(2, [](Communicator& communicator) {
    std::int32_t value = 1;
    std::string message;
    try {
      communicator.all_reduce(&value, 1, Dtype::kI32, ReduceOp::kAvg);
    } catch (const Error& error) {
      message = error.what();
    }
    RINGLET_CHECK(message.find("avg of i32") != std::string::npos,
                  "an average of integers gave '{}'", message);
  });
  CHECK_THROWS_WITH(
      spawn_ranks(
          1, [](Communicator&) {}, {}, "rign"),
      "unknown all-reduce algorithm 'rign', expected ring, "
      "naive, tree, recursive_doubling, ordered, shared, hierarchical");
}

TEST_CASE("the options of a ring are checked") {
  const auto make = [](const CommunicatorOptions& options) {
    spawn_ranks(
        1, [](Communicator&) {}, options);
  };
  CHECK_THROWS_WITH(make({.slice_bytes = 7}),
                    "ring: a slice of 7 bytes, expected 8 to 1073741824");
  CHECK_THROWS_WITH(make({.window = 0}),
                    "window of 0 slices, expected at least 1");
}

TEST_CASE("make_communicator names what it knows, and refuses solo to a job") {
  CHECK_THROWS_WITH(
      make_communicator("rign"),
      "unknown communicator 'rign', expected solo, auto, mpi, ring, "
      "naive, tree, recursive_doubling, ordered, shared, hierarchical");
  setenv("OMPI_COMM_WORLD_RANK", "1", 1);
  setenv("OMPI_COMM_WORLD_SIZE", "4", 1);
  CHECK_THROWS_WITH(make_communicator("solo"),
                    "communicator 'solo' is for one rank, but Open MPI started "
                    "4: use ring or mpi");
  unsetenv("OMPI_COMM_WORLD_RANK");
  unsetenv("OMPI_COMM_WORLD_SIZE");
}

}  // namespace
}  // namespace ringlet
