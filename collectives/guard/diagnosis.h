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
  bool heard = true;  // of late; if not, the rest is old, or there is none
};

// Why a rank waits.
struct Diagnosis {
  std::vector<int> guilty;  // ranks; none where all do their part
  bool gone = false;        // one of them for ever
  bool sure = false;        // no other rank can know more
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

// The place of the rank that is to speak for the job: of those that are in the
// call with `self`, alive, with a watchdog that has lately shown a sign of
// life, the first on the host of a guilty one, or else the first. None, the
// number of ranks, where one has spoken before.
std::size_t speaker(const std::vector<RankReport>& ranks, std::size_t self,
                    const Diagnosis& found, std::int64_t now);
bool have_told(const std::vector<RankReport>& ranks);

// "call 36, barrier (step 7)"; "4.2 s".
std::string describe(const CallRecord& call);
std::string seconds(std::int64_t nanoseconds);  // "3.21 ms" below one

}  // namespace ringlet
