#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "collectives/run_schedule.h"
#include "collectives/schedule.h"
#include "kernels/runtime/check.h"

namespace ringlet::testing {

// For each element of one rank's array, a bit for each rank whose contribution
// is in it.
using Contributions = std::vector<std::uint64_t>;
using Schedules = std::vector<std::unique_ptr<Schedule>>;

inline bool overlap(Range a, Range b) {
  return a.begin < b.end() && b.begin < a.end();
}

// Carries out the schedules of all ranks in the order in which run_schedule
// does, with that `window` and synchronous sends: a message
// moves when both sides have posted it. Throws Error where messages do not fit
// together, where memory in flight is written to, where a contribution is added
// twice, and where nobody can go on.
class Simulation {
 public:
  Simulation(const Schedules& schedules, std::size_t count, std::size_t window)
      : schedules_(schedules), window_(window), ranks_(schedules.size()) {
    for (std::size_t rank = 0; rank < schedules.size(); ++rank) {
      ranks_[rank].data = Contributions(count, std::uint64_t{1} << rank);
    }
  }

  const Contributions& data(std::size_t rank) const {
    return ranks_[rank].data;
  }

  void run() {
    bool progress = true;
    while (progress) {
      progress = false;
      for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
        while (advance(rank)) progress = true;
      }
    }
    for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
      RINGLET_CHECK(ranks_[rank].finished == schedules_[rank]->size(),
                    "rank {} waits for ever in exchange {}", rank,
                    ranks_[rank].finished);
    }
  }

 private:
  struct Flight {
    Exchange exchange;
    bool sent, received;
    Contributions arrived;
  };
  struct Rank {
    Contributions data;
    std::deque<Flight> flights;
    std::size_t finished = 0;
    std::size_t started = 0;
    std::size_t last = 0;  // (step, slice) of the last exchange, as a number
  };
  using Pair = std::pair<std::size_t, std::size_t>;  // from, to

  bool advance(std::size_t index) {
    Rank& rank = ranks_[index];
    const Schedule& schedule = *schedules_[index];
    const std::size_t under_way = rank.started - rank.finished;
    if (rank.started < schedule.size()) {
      const Exchange next = schedule[rank.started];
      if (under_way < most_in_flight(schedule, next, window_)) {
        start(index, next);
        ++rank.started;
        return true;
      }
    }
    if (rank.flights.empty()) return false;
    const Flight& oldest = rank.flights.front();
    if (!oldest.sent || !oldest.received) return false;
    finish(rank);
    return true;
  }

  void start(std::size_t index, const Exchange& exchange) {
    Rank& rank = ranks_[index];
    const std::size_t order =
        exchange.step * (schedules_[index]->slices() + 1) + exchange.slice + 1;
    RINGLET_CHECK(order > rank.last, "rank {}: steps do not grow", index);
    rank.last = order;
    const bool replaces = exchange.arrival == Arrival::kReplaces;
    for (const Flight& other : rank.flights) {
      const bool lands = other.exchange.arrival == Arrival::kReplaces;
      RINGLET_CHECK(
          !(replaces && !other.sent &&
            overlap(exchange.receive.range, other.exchange.send.range)) &&
              !(lands && !other.received &&
                overlap(exchange.send.range, other.exchange.receive.range)),
          "rank {} receives into what it sends", index);
    }
    RINGLET_CHECK(
        !replaces || !overlap(exchange.receive.range, exchange.send.range),
        "rank {} receives into what it sends", index);
    rank.flights.push_back({exchange,
                            exchange.send.range.count == 0,
                            exchange.receive.range.count == 0,
                            {}});
    if (exchange.send.range.count > 0) {
      const auto peer = static_cast<std::size_t>(exchange.send.peer);
      RINGLET_CHECK(peer < ranks_.size() && peer != index, "no such peer");
      sends_[{index, peer}].push_back(exchange);
      match({index, peer});
    }
    if (exchange.receive.range.count > 0) {
      const auto peer = static_cast<std::size_t>(exchange.receive.peer);
      receives_[{peer, index}].push_back(exchange);
      match({peer, index});
    }
  }

  // Moves the first message between two ranks, if both sides are there.
  void match(const Pair& pair) {
    auto& sends = sends_[pair];
    auto& receives = receives_[pair];
    if (sends.empty() || receives.empty()) return;
    const Exchange send = sends.front(), receive = receives.front();
    sends.pop_front();
    receives.pop_front();
    RINGLET_CHECK(send.send.range == receive.receive.range &&
                      send.step == receive.step && send.slice == receive.slice,
                  "ranks {} and {} do not speak of the same", pair.first,
                  pair.second);
    Flight& out = flight_of(pair.first, send);
    Flight& in = flight_of(pair.second, receive);
    const Range range = send.send.range;
    const auto begin = ranks_[pair.first].data.begin() +
                       static_cast<std::ptrdiff_t>(range.begin);
    in.arrived.assign(begin, begin + static_cast<std::ptrdiff_t>(range.count));
    out.sent = in.received = true;
  }

  Flight& flight_of(std::size_t rank, const Exchange& exchange) {
    for (Flight& flight : ranks_[rank].flights) {
      if (flight.exchange.step == exchange.step &&
          flight.exchange.slice == exchange.slice) {
        return flight;
      }
    }
    throw Error("no such exchange is in flight");
  }

  static void finish(Rank& rank) {
    const Flight done = std::move(rank.flights.front());
    rank.flights.pop_front();
    ++rank.finished;
    const Range range = done.exchange.receive.range;
    for (const Flight& other : rank.flights) {
      RINGLET_CHECK(other.sent || range.count == 0 ||
                        !overlap(range, other.exchange.send.range),
                    "what is being sent is changed");
    }
    for (std::size_t i = 0; i < range.count; ++i) {
      std::uint64_t& element = rank.data[range.begin + i];
      if (done.exchange.arrival == Arrival::kReplaces) {
        element = done.arrived[i];
        continue;
      }
      RINGLET_CHECK((element & done.arrived[i]) == 0,
                    "a contribution is added twice");
      element |= done.arrived[i];
    }
  }

  const Schedules& schedules_;
  std::size_t window_;
  std::vector<Rank> ranks_;
  std::map<Pair, std::deque<Exchange>> sends_, receives_;
};

}  // namespace ringlet::testing
