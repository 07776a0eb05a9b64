#pragma once

#include <memory>

#include "collectives/communicator.h"
#include "collectives/host_communicator.h"
#include "collectives/ledger.h"
#include "collectives/transport.h"

namespace ringlet {

// "hierarchical": an all-reduce for several ranks on each of several hosts,
// through memory inside a host and by messages between hosts. The other
// collectives go round the ring and along the tree as if there were no hosts.
// Collective. Throws Error, on all ranks, where hosts have different numbers of
// ranks, or the ranks of one cannot map each other's memory.
std::unique_ptr<HostCollectives> make_hierarchical_collectives(
    std::unique_ptr<Transport> transport, const CommunicatorOptions& options,
    std::shared_ptr<Ledger> ledger);

}  // namespace ringlet
