#pragma once

#include <filesystem>
#include <vector>

#include "collectives/rank_trace.h"

namespace ringlet {

// Writes traces, by rank, as JSON in Chrome's trace format, for
// ui.perfetto.dev and chrome://tracing; docs/tracing.md says what is in it.
// Times are on rank 0's clock, in microseconds from the first event on. A few
// hundred bytes per event. Throws Error where the file cannot be written.
//
//   const auto traces = gather_traces(*communicator);
//   if (communicator->rank() == 0) write_chrome_trace("trace.json", traces);
void write_chrome_trace(const std::filesystem::path& path,
                        const std::vector<RankTrace>& traces);

}  // namespace ringlet
