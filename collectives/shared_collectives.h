#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "collectives/communicator.h"
#include "collectives/host_communicator.h"
#include "collectives/host_memory.h"
#include "collectives/ledger.h"
#include "collectives/transport.h"

namespace ringlet {

// What the owner of a slice makes of its host's sum before everybody on the
// host gets it: `count` elements at `data`, which may be none. Of an average,
// the call has the op, and the host's sum is not divided.
using BetweenHosts =
    std::function<void(void* data, std::size_t count, const Collective& call)>;

// "shared": collectives of ranks on one host by what they all have mapped. No
// message carries data: the transport is for setting up and for comparing
// clocks. With `between` these are the ranks of one host among several, and
// all_reduce is all that is asked of them. Collective. Throws Error, on all
// ranks, where they are not on one host or cannot map each other's memory.
std::unique_ptr<HostCollectives> make_shared_collectives(
    std::unique_ptr<Transport> transport, const CommunicatorOptions& options,
    std::shared_ptr<Ledger> ledger, BetweenHosts between = nullptr);

}  // namespace ringlet
