#pragma once

#include <memory>

#include "collectives/communicator.h"

namespace ringlet {

// The back end "solo": a world of this process alone, where there is nothing to
// do. Needs no MPI.
std::unique_ptr<Communicator> make_solo_communicator();

}  // namespace ringlet
