#pragma once

#include <cstdint>
#include <vector>

#include "collectives/clock.h"
#include "collectives/communicator.h"
#include "collectives/ledger.h"
#include "collectives/recorder.h"

namespace ringlet {

// All that one rank knows of what it did: what traces are made from.
struct RankTrace {
  std::vector<Event> events;
  std::uint64_t dropped = 0;  // events that there was no room for
  // When the communicator was made, and now.
  std::vector<ClockReading> clock;
  Ledger ledger;  // since it was cleared
};

// The traces of all ranks, by rank, on rank 0; nothing on the others. Measures
// the clocks once more. Collective, while no work is in flight; rank 0 needs
// room for all of them, 88 bytes per event. It is not recorded itself, but the
// ledger counts it from here on. Throws Error where nothing is recorded.
std::vector<RankTrace> gather_traces(Communicator& communicator);

}  // namespace ringlet
