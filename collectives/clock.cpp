#include "collectives/clock.h"

#include <cmath>

namespace ringlet {
namespace {

constexpr int kRounds = 32;

ClockReading ask_first_rank(Transport& transport) {
  ClockReading best{};
  for (int round = 0; round < kRounds; ++round) {
    std::int64_t time = 0;
    const std::int64_t ask = transport.now();
    const auto answer = transport.irecv(0, &time, sizeof time);
    const auto question = transport.isend(0, nullptr, 0);
    transport.wait(*question);
    transport.wait(*answer);
    const std::int64_t answered = transport.now();
    // Rounded up: the bound must hold for an odd round trip too.
    const std::int64_t error = (answered - ask + 1) / 2;
    if (round == 0 || error < best.error) {
      best = {answered, ask + (answered - ask) / 2 - time, error};
    }
  }
  return best;
}

void tell_time(Transport& transport, int peer) {
  for (int round = 0; round < kRounds; ++round) {
    transport.wait(*transport.irecv(peer, nullptr, 0));
    const std::int64_t time = transport.now();
    transport.wait(*transport.isend(peer, &time, sizeof time));
  }
}

}  // namespace

ClockReading measure_clock(Transport& transport) {
  if (transport.rank() > 0) return ask_first_rank(transport);
  for (int peer = 1; peer < transport.size(); ++peer) {
    tell_time(transport, peer);
  }
  return {transport.now(), 0, 0};
}

std::int64_t on_first_ranks_clock(std::int64_t time,
                                  const std::vector<ClockReading>& readings) {
  if (readings.empty()) return time;
  const ClockReading& first = readings.front();
  const ClockReading& last = readings.back();
  if (last.at == first.at) return time - first.ahead;
  const double drift = static_cast<double>(last.ahead - first.ahead) /
                       static_cast<double>(last.at - first.at);
  return time - first.ahead -
         std::llround(drift * static_cast<double>(time - first.at));
}

}  // namespace ringlet
