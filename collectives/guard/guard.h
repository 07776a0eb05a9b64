#pragma once

#include <memory>
#include <string>

#include "collectives/communicator.h"
#include "collectives/host_communicator.h"
#include "collectives/transport.h"

namespace ringlet {

// A back end whose calls are checked, watched and remembered: all ranks come to
// the same call before it begins (call_check.h), none waits in silence
// (watchdog.h), and the last ones outlive the rank (call_log.h). It uses
// `control`, over the same ranks, to set up, and to check calls between hosts.
// `watch`, too, is over them, but its messages are the watchdogs' own, from
// other threads; null on all ranks where the watchdogs of hosts do without each
// other. Collective.
std::unique_ptr<HostCollectives> make_guarded_collectives(
    std::unique_ptr<HostCollectives> collectives,
    std::unique_ptr<Transport> control, std::unique_ptr<Transport> watch,
    const GuardOptions& options);

}  // namespace ringlet
