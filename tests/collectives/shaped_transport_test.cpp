#include "collectives/shaped_transport.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "collectives/algorithm_communicator.h"
#include "collectives/conformance.h"
#include "collectives/forwarding_transport.h"
#include "collectives/schedule.h"
#include "collectives/thread_transport.h"
#include "support/catch.h"
#include "support/spawn_ranks.h"

namespace ringlet {
namespace {

using testing::spawn_transports;

// A transport whose clock stands still until it is set.
class StoppedClock final : public ForwardingTransport {
 public:
  StoppedClock(std::unique_ptr<Transport> inner, const std::int64_t& clock)
      : ForwardingTransport(std::move(inner)), clock_(clock) {}

  std::int64_t now() const override { return clock_; }

 private:
  const std::int64_t& clock_;
};

// Ranks on one thread, with one clock in nanoseconds.
class ShapedRanks {
 public:
  ShapedRanks(int size, const NetworkShape& shape) : world_(size) {
    for (int rank = 0; rank < size; ++rank) {
      ranks_.push_back(make_shaped_transport(
          std::make_unique<StoppedClock>(world_.transport(rank), clock),
          shape));
    }
  }

  Transport& operator[](std::size_t rank) { return *ranks_[rank]; }

  // Whether the request is done at that time, and not the nanosecond before.
  bool done_at(std::int64_t time, Transport::Request& request) {
    clock = time - 1;
    const bool early = request.test();
    clock = time;
    return request.test() && !early;
  }

  std::int64_t clock = 0;

 private:
  ThreadWorld world_;
  std::vector<std::unique_ptr<Transport>> ranks_;
};

// A message of 1000 bytes lasts a microsecond.
const NetworkShape kShape = {.latency = 100e-6, .bandwidth = 1e9};

TEST_CASE("a shaped message takes its length and its latency") {
  ShapedRanks ranks(2, kShape);
  char from[1000] = {7}, to[1000] = {};
  const auto send = ranks[0].isend(1, from, sizeof from);
  ranks.clock = 500;
  const auto receive = ranks[1].irecv(0, to, sizeof to);
  CHECK_FALSE(receive->test());
  CHECK(ranks.done_at(1000, *send));
  CHECK(ranks.done_at(500 + 1000 + 100'000, *receive));
  CHECK(to[0] == 7);
  ranks[1].wait(*receive);
  ranks[0].wait(*send);
}

TEST_CASE("shaped messages pass one after the other, their latencies do not") {
  ShapedRanks ranks(3, kShape);
  char from[3000] = {}, to[3000] = {};
  const auto send_a = ranks[0].isend(2, from, 1000);
  const auto send_b = ranks[0].isend(2, from, 500);
  const auto send_c = ranks[1].isend(2, from, 2000);
  const auto receive_a = ranks[2].irecv(0, to, 1000);
  const auto receive_c = ranks[2].irecv(1, to + 1000, 2000);
  // Testing one finds the other, too.
  CHECK_FALSE(receive_a->test());
  ranks.clock = 10'000;
  const auto receive_b = ranks[2].irecv(0, to, 500);
  CHECK_FALSE(receive_b->test());
  CHECK(send_a->test());
  CHECK(send_b->test());
  CHECK(send_c->test());
  CHECK(ranks.done_at(101'000, *receive_a));
  CHECK(ranks.done_at(103'000, *receive_c));
  CHECK(ranks.done_at(110'500, *receive_b));
}

TEST_CASE("a shaped send passes after those before it") {
  ShapedRanks ranks(3, kShape);
  char from[3000] = {}, to[3000] = {};
  const auto receive_1 = ranks[1].irecv(0, to, 1000);
  const auto receive_2 = ranks[2].irecv(0, to + 1000, 2000);
  const auto send_1 = ranks[0].isend(1, from, 1000);
  const auto send_2 = ranks[0].isend(2, from, 2000);
  CHECK(ranks.done_at(1000, *send_1));
  CHECK(ranks.done_at(3000, *send_2));
}

TEST_CASE("a send is done only when it is so underneath") {
  ShapedRanks ranks(2, kShape);
  const auto send = ranks[0].isend(1, nullptr, 0);
  ranks.clock = 1'000'000;
  CHECK_FALSE(send->test());
  const auto receive = ranks[1].irecv(0, nullptr, 0);
  CHECK(send->test());
  CHECK_FALSE(receive->test());
  CHECK(ranks.done_at(1'100'000, *receive));
}

TEST_CASE("only the slow link is slow, both ways") {
  NetworkShape shape = kShape;
  shape.slow_link = {.a = 0, .b = 2, .latency = 1, .bandwidth = 1e6};
  ShapedRanks ranks(3, shape);
  char from[1000] = {}, to[1000] = {};
  for (const auto& [a, b] : {std::pair(0, 2), std::pair(2, 0)}) {
    const auto send = ranks[a].isend(b, from, 1000);
    const auto receive = ranks[b].irecv(a, to, 1000);
    const std::int64_t start = ranks.clock;
    CHECK_FALSE(receive->test());
    CHECK(ranks.done_at(start + 1'000'000, *send));
    CHECK(ranks.done_at(start + 1'001'000'000, *receive));
  }
  const auto send = ranks[0].isend(1, from, 1000);
  const auto receive = ranks[1].irecv(0, to, 1000);
  const std::int64_t start = ranks.clock;
  CHECK_FALSE(receive->test());
  CHECK(ranks.done_at(start + 101'000, *receive));
  CHECK(send->test());
}

// The time at which each of some messages is done.
std::vector<std::int64_t> arrivals(unsigned seed) {
  ShapedRanks ranks(
      2, {.latency = 100e-6, .jitter = 50e-6, .seed = std::uint64_t{seed}});
  std::vector<std::int64_t> times;
  for (int i = 0; i < 40; ++i) {
    ranks.clock = 0;
    const auto send = ranks[0].isend(1, nullptr, 0);
    const auto receive = ranks[1].irecv(0, nullptr, 0);
    while (!receive->test()) ranks.clock += 100;
    times.push_back(ranks.clock);
    CHECK(send->test());
  }
  return times;
}

TEST_CASE("jitter is the seed's, within its bounds, and keeps the order") {
  const std::vector<std::int64_t> times = arrivals(1);
  CHECK((arrivals(1) == times));
  CHECK((arrivals(2) != times));
  CHECK(times.front() >= 100'000);
  CHECK(times.back() > times.front());
  CHECK(times.back() <= 150'000);
  CHECK(std::is_sorted(times.begin(), times.end()));
}

TEST_CASE("a shaped wait returns no earlier than it may") {
  using Clock = std::chrono::steady_clock;
  const double seconds = GENERATE(100e-6, 3e-3);
  const auto start = Clock::now();
  spawn_transports(2, [&](std::unique_ptr<Transport> inner) {
    const auto rank = make_shaped_transport(
        std::move(inner), {.latency = seconds, .bandwidth = 1e3 / seconds});
    char data[1000] = {};
    for (int turn = 0; turn < 4; ++turn) {
      const bool sends = turn % 2 == rank->rank();
      rank->wait(*(sends ? rank->isend(1 - rank->rank(), data, sizeof data)
                         : rank->irecv(1 - rank->rank(), data, sizeof data)));
    }
  });
  CHECK(Clock::now() - start >= std::chrono::duration<double>(8 * seconds));
}

TEST_CASE("every algorithm over a shaped transport conforms", "[slow]") {
  const std::string algorithm = GENERATE(from_range(schedule_names()));
  const CommunicatorOptions options = {.slice_bytes = 1024, .window = 2};
  for (const int ranks : {1, 2, 3}) {
    CAPTURE(algorithm, ranks);
    spawn_transports(ranks, [&](std::unique_ptr<Transport> transport) {
      testing::check_conformance(
          *make_algorithm_communicator(
              algorithm,
              make_shaped_transport(
                  std::move(transport),
                  {.latency = 1e-6, .bandwidth = 1e9, .jitter = 10e-6}),
              options),
          options.slice_bytes);
    });
  }
}

TEST_CASE("what is held back for an hour can be cancelled, what is done not") {
  ThreadWorld world(2);
  const NetworkShape shape = {.latency = 3600};
  const auto a = make_shaped_transport(world.transport(0), shape),
             b = make_shaped_transport(world.transport(1), shape);
  const auto send = a->isend(1, nullptr, 0);
  const auto held = b->irecv(0, nullptr, 0);
  const auto never = a->irecv(1, nullptr, 0);
  std::thread other([&] { a->cancel(); });
  CHECK_THROWS_AS(a->wait(*never), Cancelled);
  other.join();
  CHECK_NOTHROW(a->wait(*send));
  std::thread late([&] { b->cancel(); });
  CHECK_THROWS_AS(b->wait(*held), Cancelled);
  late.join();
}

TEST_CASE("a shape that cannot be is refused") {
  const auto make = [](const NetworkShape& shape) {
    make_shaped_transport(ThreadWorld(2).transport(0), shape);
  };
  CHECK_THROWS_WITH(make({.latency = -1}),
                    "latency of -1 s, expected 0 to 1e9");
  CHECK_THROWS_WITH(make({.bandwidth = 0.5}),
                    "bandwidth of 0.5 bytes/s, expected at least 1");
  CHECK_THROWS_WITH(make({.jitter = 2e9}),
                    "jitter of 2000000000 s, expected 0 to 1e9");
  CHECK_THROWS_WITH(make({.slow_link = NetworkShape::Link{.a = 0, .b = 2}}),
                    "a link from rank 0 to 2, expected 0 to 1");
  CHECK_THROWS_WITH(make({.slow_link = NetworkShape::Link{.a = 0, .b = 1}}),
                    "slow link's bandwidth of 0 bytes/s, expected at least 1");
}

}  // namespace
}  // namespace ringlet
