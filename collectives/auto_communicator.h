#pragma once

#include <memory>

#include "collectives/algorithm_table.h"
#include "collectives/communicator.h"
#include "collectives/host_communicator.h"

namespace ringlet {

// The back end "auto": for each size the all-reduce that the table names (null:
// the built-in one); the other collectives by shared memory where the ranks
// have it in common, else MPI's. What is started to run beside the caller is
// never MPI's, which holds a core while it waits, but the ring. A recorder sees
// what is ours. Collective, on the main thread; throws Error on all ranks where
// they have not the same table.
std::unique_ptr<HostCollectives> make_auto_collectives(
    const AlgorithmTable* table, const CommunicatorOptions& options = {});

}  // namespace ringlet
