#pragma once

#include <string>
#include <vector>

#include "collectives/guard/call_log.h"

namespace ringlet {

// What a job that has ended badly leaves for its reader, in one page: the
// verdict, how far each rank was, the last calls of all ranks side by side,
// versions, and what to try.
std::string crash_card(const std::string& verdict, const std::string& advice,
                       const std::vector<CallLog>& ranks);

// Where the ranks of a run keep their last calls while it goes on, and after it
// if it has not ended in good order.
std::string call_log_folder(const std::string& run);
std::string call_log_path(const std::string& run, int rank);
std::string crash_card_path(const std::string& run);

// Those that a run has left, by rank. Throws Error where there are none.
std::vector<CallLog> read_call_logs(const std::string& run);

// What they say of themselves about the end, where nobody was left to say it.
std::string verdict_after_death(const std::vector<CallLog>& ranks);

}  // namespace ringlet
