#pragma once

#include "collectives/transport.h"

namespace ringlet {

// Returns when every rank has called it, after ceil(log2 N) rounds of empty
// messages.
void dissemination_barrier(Transport& transport);

}  // namespace ringlet
