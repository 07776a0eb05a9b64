#pragma once

#include <memory>

#include "collectives/communicator.h"

namespace ringlet {

// The collectives of `host`, which must outlive this one, on arrays in a GPU's
// memory: they are copied to the host, combined there, and copied back. What
// the library below knows of GPUs does not matter. Cost beyond the host's: two
// copies over the bus.
//
// Belongs to the thread whose work makes the arrays: a collective begins after
// all that this thread has enqueued on the GPU, and what it enqueues after
// wait() finds the results. allocate() gives memory of the GPU, with a double
// in the memory that `host` reduces best.
std::unique_ptr<Communicator> make_staged_communicator(Communicator& host);

}  // namespace ringlet
