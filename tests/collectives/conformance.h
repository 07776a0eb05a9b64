#pragma once

#include <cstddef>

#include "collectives/communicator.h"

namespace ringlet::testing {

// What every back end must do, whatever its name and the number of ranks, up to
// sixteen: all ranks call it together. Throws Error at the first thing that is
// wrong. `slice_bytes` is what the back end was made with, so that counts
// around the boundaries of slices are among the sizes. The arrays are the
// process's own, or come from Communicator::allocate.
enum class Arrays { kPrivate, kAllocated };
void check_conformance(Communicator& communicator, std::size_t slice_bytes,
                       Arrays arrays = Arrays::kPrivate);

}  // namespace ringlet::testing
