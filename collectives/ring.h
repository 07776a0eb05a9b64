#pragma once

#include <cstddef>

#include "collectives/transport.h"
#include "kernels/reduce.h"
#include "kernels/runtime/buffer.h"
#include "kernels/runtime/dtype.h"

namespace ringlet {

// What a ring works with, made once and used for every call: room for `window`
// slices that have arrived and are not added yet. Small enough to stay in the
// core's cache.
struct RingScratch {
  RingScratch(std::size_t slice, std::size_t slices_in_flight)
      : slice_bytes(slice),
        window(slices_in_flight),
        memory(Buffer::allocate(slice * slices_in_flight)) {}

  std::size_t slice_bytes;  // at least one element of any dtype
  std::size_t window;       // at least 1
  Buffer memory;
};

// All-reduce in place by the ring of ring_schedule.h; every rank of `transport`
// calls it with the same count, dtype, op, slice and window. Each rank sends
// 2 (N-1)/N of the bytes, in 2 (N-1) steps, with at most `window` slices in
// flight each way. Throws what the transport throws; the data are then lost.
void ring_all_reduce(Transport& transport, void* data, std::size_t count,
                     Dtype dtype, ReduceOp op, const RingScratch& scratch);

}  // namespace ringlet
