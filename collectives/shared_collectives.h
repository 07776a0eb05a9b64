#pragma once

#include <memory>

#include "collectives/communicator.h"
#include "collectives/host_communicator.h"
#include "collectives/host_memory.h"
#include "collectives/ledger.h"
#include "collectives/transport.h"

namespace ringlet {

// "shared": collectives of ranks on one host by what they all have mapped. No
// message carries data: the transport is for setting up and for comparing
// clocks. Collective. Throws Error, on all ranks, where they are not on one
// host or cannot map each other's memory.
std::unique_ptr<HostCollectives> make_shared_collectives(
    std::unique_ptr<Transport> transport, const CommunicatorOptions& options,
    std::shared_ptr<Ledger> ledger);

}  // namespace ringlet
