#pragma once

#include <memory>

#include "collectives/algorithm_table.h"
#include "collectives/communicator.h"

namespace ringlet {

// The back end "auto": for each size the all-reduce that the table names, MPI's
// for the other collectives. Collective, on the main thread; throws Error on
// all ranks where they have not the same table.
std::unique_ptr<Communicator> make_auto_communicator(
    const AlgorithmTable& table);

}  // namespace ringlet
