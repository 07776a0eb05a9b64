#pragma once

#include <cstddef>

#include "collectives/run_schedule.h"
#include "kernels/reduce.h"
#include "kernels/runtime/dtype.h"

namespace ringlet {

// All-reduce in place whose bits depend on the ranks' values alone: neither on
// the count, nor on where an element stands, nor on how the data are cut (see
// reduce_tree for the order). Each rank sends 2 (N-1)/N S, as with the ring; in
// its first half in N-1 messages per slice, to all other ranks. `scratch` needs
// ordered_slots(N).
void ordered_all_reduce(Journal& journal, void* data, std::size_t count,
                        Dtype dtype, ReduceOp op, const Scratch& scratch);

// Two slices from each other rank are on their way.
constexpr std::size_t ordered_slots(int ranks) {
  return 2 * static_cast<std::size_t>(ranks - 1);
}

}  // namespace ringlet
