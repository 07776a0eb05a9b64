#pragma once

#include "collectives/journal.h"

namespace ringlet {

// Returns when every rank has called it, after ceil(log2 N) rounds of empty
// messages.
void dissemination_barrier(Journal& journal);

}  // namespace ringlet
