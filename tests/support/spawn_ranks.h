#pragma once

#include <functional>
#include <memory>
#include <string>

#include "collectives/communicator.h"
#include "collectives/thread_transport.h"
#include "collectives/transport.h"

namespace ringlet::testing {

// Runs `body` on `size` threads, each a rank of one job in this process, and
// returns when all have ended. If a rank throws, the others' waits are cut
// short and the first exception is thrown here.
//
// Catch2's macros are not for use inside `body`, which runs on many threads at
// once: use RINGLET_CHECK, or collect what came out and look at it afterwards.
void spawn_transports(
    int size, const std::function<void(std::unique_ptr<Transport>)>& body);

// The same with the ranks of a world, which may be a simulated one.
void spawn_transports(
    ThreadWorld& world,
    const std::function<void(std::unique_ptr<Transport>)>& body);

// The same with a communicator of that algorithm for each rank.
void spawn_ranks(int size, const std::function<void(Communicator&)>& body,
                 const CommunicatorOptions& options = {},
                 const std::string& algorithm = "ring");

}  // namespace ringlet::testing
