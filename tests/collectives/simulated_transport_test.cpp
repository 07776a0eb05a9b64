#include "collectives/simulated_transport.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "collectives/algorithm_communicator.h"
#include "collectives/conformance.h"
#include "collectives/journal.h"
#include "collectives/ordered.h"
#include "collectives/run_schedule.h"
#include "collectives/schedules.h"
#include "collectives/strict_transport.h"
#include "kernels/runtime/check.h"
#include "support/catch.h"
#include "support/spawn_ranks.h"

namespace ringlet {
namespace {

using testing::spawn_transports;
using Times = std::vector<std::int64_t>;

// A microsecond is 1000 bytes on the wire, and 4000 that are added; alpha, beta
// and gamma as in docs/algorithms.md.
const SimulatedNetwork kNetwork = {
    .latency = 50e-6, .bandwidth = 1e9, .adding = 4e9};
constexpr std::int64_t kAlpha = 50'000;  // ns

// What each rank's clock says after `body`.
Times clocks_after(int ranks, const SimulatedNetwork& network,
                   const std::function<void(Transport&)>& body) {
  SimulatedWorld world(ranks, network);
  Times clocks(static_cast<std::size_t>(ranks));
  spawn_transports(world, [&](std::unique_ptr<Transport> transport) {
    body(*transport);
    clocks[static_cast<std::size_t>(transport->rank())] = transport->now();
  });
  return clocks;
}

// How messages are cut: by default not at all.
struct Cut {
  std::size_t slice_bytes = 1 << 20;
  std::size_t window = 1;
};

// A sum of ones.
void all_reduce(const std::string& algorithm, Transport& transport,
                std::size_t bytes, const Cut& cut = {}) {
  std::vector<std::uint8_t> data(bytes, 1);
  Journal journal(transport, nullptr);
  if (algorithm == "ordered") {
    ordered_all_reduce(
        journal, data.data(), bytes, Dtype::kU8, ReduceOp::kSum,
        Scratch(cut.slice_bytes, cut.window, ordered_slots(transport.size())));
  } else {
    run_schedule(*make_schedule(algorithm, transport.rank(), transport.size(),
                                bytes, cut.slice_bytes),
                 journal, data.data(), Dtype::kU8, ReduceOp::kSum,
                 Scratch(cut.slice_bytes, cut.window));
  }
  const auto sum = static_cast<std::uint8_t>(transport.size());
  RINGLET_CHECK(data == std::vector<std::uint8_t>(bytes, sum), "a wrong sum");
}

Times all_reduce_times(const std::string& algorithm, int ranks,
                       std::size_t bytes, const SimulatedNetwork& network,
                       const Cut& cut = {}) {
  return clocks_after(ranks, network, [&](Transport& transport) {
    all_reduce(algorithm, transport, bytes, cut);
  });
}

std::int64_t latest(const Times& times) {
  return *std::max_element(times.begin(), times.end());
}

TEST_CASE("messages take the way out, the latency and the way in") {
  SimulatedWorld world(3, kNetwork);
  const auto a = world.transport(0), b = world.transport(1),
             c = world.transport(2);
  char from[3000] = {}, to[6000] = {};
  const auto first = a->isend(2, from, 3000), second = a->isend(2, from, 1000);
  const auto other = b->isend(2, from, 2000);
  const auto receive_first = c->irecv(0, to, 3000);
  const auto receive_second = c->irecv(0, to + 3000, 1000);
  const auto receive_other = c->irecv(1, to + 4000, 2000);
  CHECK(a->now() == 0);
  a->wait(*first);
  CHECK(a->now() == 3000);
  a->wait(*second);
  CHECK(a->now() == 4000);
  b->wait(*other);
  CHECK(b->now() == 2000);
  c->wait(*receive_first);
  CHECK(c->now() == kAlpha + 3000);
  c->reduced(8000);
  CHECK(c->now() == kAlpha + 5000);
  // Came in while the rank was adding.
  c->wait(*receive_second);
  CHECK(c->now() == kAlpha + 5000);
  // In the order of the waits: from 4000 to 6000 after the latency.
  c->wait(*receive_other);
  CHECK(c->now() == kAlpha + 6000);
  c->wait(*receive_first);
  CHECK(c->now() == kAlpha + 6000);
}

TEST_CASE("a message of no bytes costs its latency") {
  CHECK((clocks_after(2, kNetwork, [](Transport& rank) {
           const auto receive = rank.irecv(1 - rank.rank(), nullptr, 0);
           rank.wait(*rank.isend(1 - rank.rank(), nullptr, 0));
           RINGLET_CHECK(rank.now() == 0, "the send took time");
           rank.wait(*receive);
         }) == Times{kAlpha, kAlpha}));
}

TEST_CASE("a network that costs nothing takes no time") {
  for (const std::string& algorithm : schedule_names()) {
    CHECK((all_reduce_times(algorithm, 3, 3000, {}) == Times(3, 0)));
  }
}

TEST_CASE("the ring takes 2 (N-1) (alpha + S/N beta) + (N-1) S/N gamma") {
  for (int ranks = 1; ranks <= 9; ++ranks) {
    CAPTURE(ranks);
    constexpr std::int64_t kChunk = 4000;
    const std::int64_t n = ranks;
    const std::int64_t expected =
        2 * (n - 1) * (kAlpha + kChunk) + (n - 1) * kChunk / 4;
    const auto bytes = static_cast<std::size_t>(n * kChunk);
    const auto size = static_cast<std::size_t>(n);
    CHECK((all_reduce_times("ring", ranks, bytes, kNetwork) ==
           Times(size, expected)));
  }
}

// All contributions set out at once, and pay one latency.
TEST_CASE("ordered takes N alpha + 2 (N-1) S/N beta + (N-1) S/N gamma") {
  for (int ranks = 2; ranks <= 9; ++ranks) {
    CAPTURE(ranks);
    constexpr std::int64_t kChunk = 4000;
    const std::int64_t n = ranks;
    const std::int64_t expected =
        n * kAlpha + 2 * (n - 1) * kChunk + (n - 1) * kChunk / 4;
    CHECK((all_reduce_times("ordered", ranks,
                            static_cast<std::size_t>(n * kChunk), kNetwork) ==
           Times(static_cast<std::size_t>(n), expected)));
  }
}

TEST_CASE("recursive doubling takes log2 N (alpha + S beta + S gamma)") {
  for (int rounds = 0; rounds <= 4; ++rounds) {
    const int ranks = 1 << rounds;
    CAPTURE(ranks);
    const std::int64_t expected = rounds * (kAlpha + 8000 + 2000);
    CHECK((all_reduce_times("recursive_doubling", ranks, 8000, kNetwork) ==
           Times(static_cast<std::size_t>(ranks), expected)));
  }
}

TEST_CASE("the tree takes log2 N (2 alpha + 2 S beta + S gamma)") {
  for (int rounds = 0; rounds <= 4; ++rounds) {
    const int ranks = 1 << rounds;
    CAPTURE(ranks);
    const Times times = all_reduce_times("tree", ranks, 8000, kNetwork);
    CHECK(latest(times) == rounds * (2 * kAlpha + 2 * 8000 + 2000));
    // Half of the ranks are leaves of the last round; the root has only sent.
    CHECK(times.back() == latest(times));
    CHECK(times[0] == rounds * (kAlpha + 2 * 8000 + 2000));
  }
}

// All send at once, so that one latency is paid each way, and rank 0 takes in
// one array while it adds the one before.
TEST_CASE("naive takes 2 alpha + 2 (N-1) S beta + S gamma") {
  for (int ranks = 2; ranks <= 9; ++ranks) {
    CAPTURE(ranks);
    const Times times = all_reduce_times("naive", ranks, 8000, kNetwork);
    CHECK(times.back() == 2 * kAlpha + 2 * (ranks - 1) * 8000 + 2000);
    CHECK(latest(times) == times.back());
    // Adding that is slower than the wire is what the others then wait for.
    SimulatedNetwork slow = kNetwork;
    slow.adding = 0.5e9;
    CHECK(latest(all_reduce_times("naive", ranks, 8000, slow)) ==
          2 * kAlpha + ranks * 8000 + (ranks - 1) * 16000);
  }
}

TEST_CASE("slices hide the adding behind the wire") {
  const SimulatedNetwork network = {
      .latency = 0, .bandwidth = 1e9, .adding = 1e9};
  const auto time = [&](std::size_t slice_bytes, std::size_t window) {
    return latest(
        all_reduce_times("ring", 2, 2'000'000, network, {slice_bytes, window}));
  };
  CHECK(time(1'000'000, 1) == 3'000'000);
  // The wire never waits.
  CHECK(time(10'000, 2) == 2'000'000);
}

TEST_CASE("virtual times are the same however threads are scheduled") {
  const std::string algorithm = GENERATE(from_range(schedule_names()));
  SimulatedNetwork network = kNetwork;
  network.links = {{.from = 1, .to = 2, .latency = 7e-5, .bandwidth = 3e8}};
  network.start_delays = {0, 3e-6, 0, 1e-3};
  const auto run = [&](Transport& transport) {
    all_reduce(algorithm, transport, 10007, {.slice_bytes = 700, .window = 3});
  };
  const Times expected = clocks_after(5, network, run);
  CHECK(latest(expected) > 1'000'000);
  for (unsigned seed = 0; seed < 20; ++seed) {
    CAPTURE(algorithm, seed);
    CHECK((clocks_after(5, network, run) == expected));
    SimulatedWorld world(5, network);
    Times delayed(5);
    spawn_transports(world, [&](std::unique_ptr<Transport> transport) {
      testing::TransportLog log;
      const auto strict =
          testing::make_strict_transport(std::move(transport), log, seed);
      run(*strict);
      delayed[static_cast<std::size_t>(strict->rank())] = strict->now();
    });
    CHECK((delayed == expected));
  }
}

// What goes once round the ring, and on, crosses a link once or twice. The two
// ranks whose last message has crossed it once are the sender and the one
// before.
TEST_CASE("a slow link costs the ring what it holds up, where it does") {
  SimulatedNetwork network = kNetwork;
  network.links = {{.from = 0, .to = 1, .latency = 50e-6, .bandwidth = 0.25e9}};
  const std::int64_t chunk = 4000, held_up = 3 * chunk;
  const std::int64_t usual = 8 * (kAlpha + chunk) + 4 * chunk / 4;
  CHECK((all_reduce_times("ring", 5, 20'000, network) ==
         Times{usual + held_up, usual + 2 * held_up, usual + 2 * held_up,
               usual + 2 * held_up, usual + held_up}));
  network.links = {{.from = 0, .to = 1, .latency = 51e-6, .bandwidth = 1e9}};
  CHECK(latest(all_reduce_times("ring", 5, 20'000, network)) == usual + 2000);
  // The way back is none of the ring's.
  network.links = {{.from = 1, .to = 0, .latency = 1, .bandwidth = 1}};
  CHECK((all_reduce_times("ring", 5, 20'000, network) == Times(5, usual)));
}

// Rank 2's lateness travels one rank per step.
TEST_CASE("a late rank delays those who have heard of it") {
  constexpr int kSteps = 3;
  constexpr std::int64_t kDelay = 1'000'000;
  SimulatedNetwork network = kNetwork;
  network.start_delays = {0, 0, kDelay * 1e-9};
  const Times clocks = clocks_after(6, network, [](Transport& rank) {
    const int size = rank.size();
    for (int step = 0; step < kSteps; ++step) {
      const int previous = (rank.rank() + size - 1) % size;
      const auto receive = rank.irecv(previous, nullptr, 0);
      rank.wait(*rank.isend((rank.rank() + 1) % size, nullptr, 0));
      rank.wait(*receive);
    }
  });
  CHECK((clocks == Times{kSteps * kAlpha, kSteps * kAlpha, kDelay,
                         kDelay + kAlpha, kDelay + 2 * kAlpha,
                         kDelay + 3 * kAlpha}));
}

TEST_CASE("a late leaf of a broadcast is late alone") {
  const auto broadcast = [](Transport& rank) {
    char data[4000] = {};
    Journal journal(rank, nullptr);
    run_schedule(TreeSchedule(rank.rank(), rank.size(), sizeof data, 1 << 20,
                              TreeSchedule::Part::kBroadcast),
                 journal, data, Dtype::kU8, ReduceOp::kSum,
                 Scratch(1 << 20, 1));
  };
  Times expected = clocks_after(4, kNetwork, broadcast);
  SimulatedNetwork network = kNetwork;
  network.start_delays = {0, 0, 0, 1e-3};
  expected[3] = 1'000'000;
  CHECK((clocks_after(4, network, broadcast) == expected));
}

TEST_CASE("every algorithm conforms on a simulated network", "[slow]") {
  const std::string algorithm = GENERATE(from_range(schedule_names()));
  const CommunicatorOptions options = {.slice_bytes = 1024, .window = 2};
  for (const int ranks : {1, 2, 3, 4, 5, 6, 7, 8, 16}) {
    CAPTURE(algorithm, ranks);
    SimulatedWorld world(ranks, kNetwork);
    spawn_transports(world, [&](std::unique_ptr<Transport> transport) {
      testing::check_conformance(*make_algorithm_communicator(
                                     algorithm, std::move(transport), options),
                                 options.slice_bytes);
    });
  }
}

TEST_CASE("a simulated message is waited for, and not tested") {
  SimulatedWorld world(2, kNetwork);
  const auto a = world.transport(0), b = world.transport(1);
  const auto send = a->isend(1, nullptr, 0);
  const auto receive = b->irecv(0, nullptr, 0);
  CHECK_THROWS_WITH(receive->test(), ContainsSubstring("wait for it"));
  const auto never = a->irecv(1, nullptr, 0);
  b->cancel();
  CHECK_THROWS_AS(a->wait(*never), Cancelled);
  CHECK_NOTHROW(a->wait(*send));
}

TEST_CASE("a network that cannot be is refused") {
  const auto make = [](const SimulatedNetwork& network) {
    SimulatedWorld(2, network);
  };
  CHECK_THROWS_WITH(make({.latency = -1}),
                    "latency of -1 s, expected 0 to 1e9");
  CHECK_THROWS_WITH(make({.bandwidth = 0}),
                    "bandwidth of 0 bytes/s, expected at least 1");
  CHECK_THROWS_WITH(make({.adding = -2}),
                    "adding of -2 bytes/s, expected at least 1");
  CHECK_THROWS_WITH(make({.links = {{.from = 0, .to = 2, .bandwidth = 1}}}),
                    "a link from rank 0 to 2, expected 0 to 1");
  CHECK_THROWS_WITH(make({.links = {{.from = 0, .to = 1}}}),
                    "bandwidth of 0 bytes/s, expected at least 1");
  CHECK_THROWS_WITH(make({.start_delays = {0, 0, 1}}),
                    "start delays of 3 ranks, expected at most 2");
  CHECK_THROWS_WITH(make({.start_delays = {-3}}),
                    "start delay of -3 s, expected 0 to 1e9");
}

}  // namespace
}  // namespace ringlet
