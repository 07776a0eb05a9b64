#pragma once

#include <cstddef>

#include "collectives/journal.h"
#include "collectives/schedule.h"
#include "kernels/reduce.h"
#include "kernels/runtime/buffer.h"
#include "kernels/runtime/dtype.h"

namespace ringlet {

// What a schedule is carried out with, made once and used for every call: room
// for `window` slices that have arrived and are not added yet. Small enough to
// stay in the core's cache.
struct Scratch {
  Scratch(std::size_t slice, std::size_t slices_in_flight)
      : slice_bytes(slice),
        window(slices_in_flight),
        memory(Buffer::allocate(slice * slices_in_flight)) {}

  std::size_t slice_bytes;  // at least one element of any dtype
  std::size_t window;       // at least 1
  Buffer memory;
};

// Carries out a schedule on `data`, in place, over the journal's transport;
// every rank of it calls it with its schedule of the same collective, and the
// same dtype, op and window. At most `window` slices are in flight each way.
// Throws what the transport throws; the data are then lost.
void run_schedule(const Schedule& schedule, Journal& journal, void* data,
                  Dtype dtype, ReduceOp op, const Scratch& scratch);

}  // namespace ringlet
