#pragma once

#include <memory>

#include "collectives/communicator.h"
#include "collectives/transport.h"

namespace ringlet {

// The back end "ring": ring all-reduce, binomial-tree broadcast and
// dissemination barrier, over any transport. Throws Error where an option is
// out of range.
std::unique_ptr<Communicator> make_ring_communicator(
    std::unique_ptr<Transport> transport,
    const CommunicatorOptions& options = {});

}  // namespace ringlet
