#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "collectives/guard/call_log.h"
#include "collectives/guard/process_state.h"

namespace ringlet {

// What is known of a rank of the job.
struct RankReport {
  RankRecord record;
  ProcessState process = ProcessState::kRuns;
};

// Why a rank waits.
struct Diagnosis {
  std::vector<int> guilty;  // ranks; none where all do their part
  bool gone = false;        // one of them for ever
  std::string text;         // one line: who waits where, for whom, and why
  std::string advice;       // what to try
};

// Why the rank at `self` of `ranks`, which is in a call, waits: for those that
// have not come to the call; if all have, for those in it that are stopped,
// gone, or wait for nobody themselves. `now` is host_now().
Diagnosis diagnose(const std::vector<RankReport>& ranks, std::size_t self,
                   std::int64_t now);

// Which ranks have died, where somebody has ended the job for it; `guilty` is
// empty if none has.
Diagnosis diagnose_death(const std::vector<RankReport>& ranks,
                         std::int64_t now);

// Whether a rank is able to speak for the job: alive, with a watchdog that has
// lately shown a sign of life.
bool can_speak(const RankReport& rank, std::int64_t now);

// "call 36, barrier (step 7)"; "4.2 s".
std::string describe(const CallRecord& call);
std::string seconds(std::int64_t nanoseconds);  // "3.21 ms" below one

}  // namespace ringlet
