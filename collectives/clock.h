#pragma once

#include <cstdint>
#include <vector>

#include "collectives/transport.h"

namespace ringlet {

// How far a rank's clock was ahead of rank 0's, all in nanoseconds. The true
// value lies within `error` of `ahead`.
struct ClockReading {
  std::int64_t at;  // on this rank's clock
  std::int64_t ahead;
  std::int64_t error;
};

// Each rank asks rank 0 for the time, one rank after the other, 32 times; the
// answer that came back soonest counts. Rank 0 read its clock between question
// and answer, so the middle of the two is off by half the round trip at most:
//
//   this rank   ask ------------- answer      ahead = (ask + answer) / 2 - t
//   rank 0             t                      error = (answer - ask) / 2
//
// Collective, with nothing in flight. On one host it finds clocks equal to a
// few microseconds; ranks that share a core may be some hundred off.
ClockReading measure_clock(Transport& transport);

// The moment `time` of a rank's clock on rank 0's, by the rank's first and last
// reading: between them the clocks drift apart evenly. No reading: unchanged.
std::int64_t on_first_ranks_clock(std::int64_t time,
                                  const std::vector<ClockReading>& readings);

}  // namespace ringlet
