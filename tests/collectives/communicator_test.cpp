#include "collectives/communicator.h"

#include <atomic>
#include <cstdlib>
#include <thread>
#include <vector>

#include "collectives/ring_communicator.h"
#include "conformance.h"
#include "kernels/runtime/check.h"
#include "strict_transport.h"
#include "support/catch.h"
#include "support/spawn_ranks.h"

namespace ringlet {
namespace {

using testing::check_conformance;
using testing::spawn_ranks;
using testing::spawn_transports;

TEST_CASE("the ring over threads conforms") {
  const CommunicatorOptions options = {
      .slice_bytes = static_cast<std::size_t>(GENERATE(16, 1024)),
      .window = static_cast<std::size_t>(GENERATE(1, 3))};
  for (int ranks = 1; ranks <= 8; ++ranks) {
    CAPTURE(ranks, options.slice_bytes, options.window);
    spawn_ranks(
        ranks,
        [&](Communicator& communicator) {
          check_conformance(communicator, options.slice_bytes);
        },
        options);
  }
}

TEST_CASE("the ring keeps MPI's rules and its window where ranks run apart") {
  const CommunicatorOptions options = {.slice_bytes = 16, .window = 2};
  for (int ranks = 1; ranks <= 5; ++ranks) {
    CAPTURE(ranks);
    std::vector<testing::TransportLog> logs(static_cast<std::size_t>(ranks));
    spawn_transports(ranks, [&](std::unique_ptr<Transport> transport) {
      auto& log = logs[static_cast<std::size_t>(transport->rank())];
      const auto communicator = make_ring_communicator(
          testing::make_strict_transport(std::move(transport), log), options);
      check_conformance(*communicator, options.slice_bytes);
    });
    for (const testing::TransportLog& log : logs) {
      const std::size_t most = ranks > 1 ? options.window : 0;
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
    const auto communicator = make_ring_communicator(
        testing::make_strict_transport(std::move(transport), log));
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
class FailingTransport final : public Transport {
 public:
  FailingTransport(std::unique_ptr<Transport> inner, int messages)
      : inner_(std::move(inner)), left_(messages) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  RequestPtr isend(int peer, const void* data, std::size_t bytes) override {
    if (left_-- == 0) throw Error("the cable broke");
    return inner_->isend(peer, data, bytes);
  }
  RequestPtr irecv(int peer, void* data, std::size_t bytes) override {
    return inner_->irecv(peer, data, bytes);
  }
  void wait(Request& request) override { inner_->wait(request); }
  void cancel() noexcept override { inner_->cancel(); }

 private:
  std::unique_ptr<Transport> inner_;
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
    const auto communicator = make_ring_communicator(std::move(transport));
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

TEST_CASE("the options of a ring are checked") {
  const auto make = [](const CommunicatorOptions& options) {
    spawn_ranks(
        1, [](Communicator&) {}, options);
  };
  CHECK_THROWS_WITH(make({.slice_bytes = 7}),
                    "slice of 7 bytes, expected at least 8");
  CHECK_THROWS_WITH(make({.window = 0}),
                    "window of 0 slices, expected at least 1");
}

TEST_CASE("make_communicator names what it knows, and refuses solo to a job") {
  CHECK_THROWS_WITH(make_communicator("rign"),
                    "unknown communicator 'rign', expected solo, ring or mpi");
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
