#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "collectives/schedule.h"

namespace ringlet {

// What all ranks do and hold in one step of an all-reduce.
struct TracedMessage {
  int from, to;
  std::size_t chunk;
  Range range;
  bool combined;  // with what is there; else it replaces that
};

struct TracedStep {
  std::size_t step;
  Phase phase;
  std::vector<TracedMessage> messages;
  // After the step: holdings[rank][chunk] has bit r where the contribution of
  // rank r is in it.
  std::vector<std::vector<std::uint64_t>> holdings;
};

// Carries out the schedule `name` of all of 1 to 64 ranks on bits instead of
// numbers, without sending anything. `count` elements, in one slice per
// message. Ring and ordered: one chunk per rank; the others work on the whole
// array, which is one chunk.
std::vector<TracedStep> trace_schedule(const std::string& name, int ranks,
                                       std::size_t count);

}  // namespace ringlet
