#pragma once

#include <memory>

#include "collectives/communicator.h"

namespace ringlet {

// The collectives of `host`, which must outlive this one, on arrays in a GPU's
// memory: each is copied to the host, which waits for it, combined there, and
// copied back. For back ends that do not take such arrays (gpu_communicator.h).
std::unique_ptr<Communicator> make_staged_communicator(Communicator& host);

}  // namespace ringlet
