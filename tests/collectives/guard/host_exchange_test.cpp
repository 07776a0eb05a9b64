#include "collectives/guard/host_exchange.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "collectives/thread_transport.h"
#include "kernels/runtime/check.h"
#include "support/catch.h"
#include "support/spawn_ranks.h"

namespace ringlet {
namespace {

using namespace std::chrono_literals;
using testing::spawn_transports;

constexpr std::int64_t kMillisecond = 1'000'000;
const std::vector<std::vector<int>> kHosts{{0, 1}, {2}, {3, 4}};

// What the first rank of a host has: its host's logs, and the others' copies.
struct Host {
  explicit Host(Transport& transport)
      : own(static_cast<std::size_t>(2) * CallLog::kBytes),
        copies(5 * HostExchange::kBytes),
        exchange(transport, kHosts, copies.data()) {
    for (const auto& ranks : kHosts) {
      if (ranks.front() != transport.rank()) continue;
      for (std::size_t i = 0; i < ranks.size(); ++i) {
        logs.emplace_back(own.data() + i * CallLog::kBytes);
        logs.back().start(ranks[i], 5, "ringlet");
      }
    }
  }

  CallLog copy_of(int rank) {
    return CallLog(
        copies.data() + static_cast<std::size_t>(rank) * HostExchange::kBytes,
        HostExchange::kCalls);
  }
  template <typename Done>
  void turn_until(const Done& done) {
    while (!done()) {
      exchange.turn(logs, kMillisecond);
      std::this_thread::sleep_for(1ms);
    }
  }

  std::vector<std::byte> own, copies;
  std::vector<CallLog> logs;
  HostExchange exchange;
};

bool is_first(const Transport& transport) {
  return transport.rank() == 0 || transport.rank() == 2 ||
         transport.rank() == 3;
}

TEST_CASE("the first ranks of hosts tell each other how far their ranks are") {
  ThreadWorld world(5);
  std::atomic<int> right = 0;
  std::atomic<bool> complete = false;
  spawn_transports(world, [&](std::unique_ptr<Transport> transport) {
    if (!is_first(*transport)) return;
    Host host(*transport);
    const std::int64_t began = host_now();
    for (CallLog& log : host.logs) {
      for (int call = 0; call <= log.rank().rank; ++call) {
        log.begin({.kind = CollectiveKind::kBarrier, .tag = call});
      }
      log.beat(log.rank().rank);
    }
    const auto knows = [&](int rank) {
      return host.copy_of(rank).rank().last.number ==
             static_cast<std::uint64_t>(rank) + 1;
    };
    host.turn_until([&] {
      bool all = true;
      for (const auto& ranks : kHosts) {
        if (ranks.front() == transport->rank()) continue;
        for (const int rank : ranks) all = all && knows(rank);
      }
      return all;
    });
    ++right;
    // On one clock a copy is as good as the log, give or take a message.
    const int other = transport->rank() == 0 ? 4 : 1;
    const RankRecord seen = host.copy_of(other).rank();
    RINGLET_CHECK(seen.waiting_for == other && seen.rank == other &&
                      seen.process_then == ProcessState::kRuns,
                  "rank {} waits for {}", seen.rank, seen.waiting_for);
    RINGLET_CHECK(seen.seen <= host_now() &&
                      seen.seen > began - 500 * kMillisecond &&
                      seen.heartbeat <= seen.seen + kMillisecond,
                  "seen {} ns after the start", seen.seen - began);
    host.turn_until([&] { return right == 3; });
    for (CallLog& log : host.logs) log.finish();
    host.exchange.close(host.logs);
    complete = complete || host.copy_of(other).rank().ended;
  });
  CHECK(right == 3);
  CHECK(complete);
}

TEST_CASE("a host that says nothing keeps nobody waiting") {
  ThreadWorld world(5);
  std::atomic<bool> silent = true;
  std::atomic<int> through = 0;
  spawn_transports(world, [&](std::unique_ptr<Transport> transport) {
    if (!is_first(*transport)) return;
    if (transport->rank() == 3) {
      while (silent) std::this_thread::sleep_for(1ms);
      return;
    }
    Host host(*transport);
    const int other = transport->rank() == 0 ? 2 : 0;
    for (int step = 1; step < 4; ++step) {
      const std::int64_t last = host.copy_of(other).rank().seen;
      host.turn_until([&] { return host.copy_of(other).rank().seen > last; });
    }
    // Who closes tells the other no more.
    ++through;
    host.turn_until([&] { return through == 2; });
    if (host.copy_of(3).started()) silent = false;
    RINGLET_CHECK(!host.copy_of(3).started(), "rank 3 has been heard of");
    const auto start = std::chrono::steady_clock::now();
    for (CallLog& log : host.logs) log.finish();
    host.exchange.close(host.logs);
    silent = false;
    RINGLET_CHECK(std::chrono::steady_clock::now() - start >= 1s,
                  "did not wait for the last word");
  });
  CHECK(!silent);
}

}  // namespace
}  // namespace ringlet
