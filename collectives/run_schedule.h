#pragma once

#include <algorithm>
#include <cstddef>

#include "collectives/journal.h"
#include "collectives/schedule.h"
#include "kernels/reduce.h"
#include "kernels/runtime/buffer.h"
#include "kernels/runtime/dtype.h"

namespace ringlet {

// What a schedule is carried out with, made once and used for every call: room
// for `window` slices that have arrived and are not added yet, or for more
// where an algorithm wants `slots`.
struct Scratch {
  // Of any dtype.
  static constexpr std::size_t kLargestElement = 8;

  Scratch(std::size_t slice, std::size_t slices_in_flight,
          std::size_t slots = 0, Device device = Device::kCpu)
      : slice_bytes(slice / kLargestElement * kLargestElement),
        window(slices_in_flight),
        memory(
            Buffer::allocate(slice_bytes * std::max(window, slots), device)) {}

  // Where the schedules' data lie too.
  Device device() const { return memory.device(); }

  std::size_t slice_bytes;  // whole elements; at least one
  std::size_t window;       // at least 1
  Buffer memory;
};

// How many exchanges may be under way once this one of the schedule is: what is
// added needs room in the scratch; what lands in place does not, and with more
// of it under way ranks wait less for each other's every slice.
inline std::size_t most_in_flight(const Schedule& schedule,
                                  const Exchange& exchange,
                                  std::size_t window) {
  constexpr std::size_t kInPlace = 8;
  const bool adds = exchange.arrival != Arrival::kReplaces;
  return std::min(adds ? window : kInPlace * window, schedule.slices());
}

// Carries out a schedule on `data`, in place, over the journal's transport;
// every rank of it calls it with its schedule of the same collective, and the
// same dtype, op and window. Throws what the transport throws; the data are
// then lost.
void run_schedule(const Schedule& schedule, Journal& journal, void* data,
                  Dtype dtype, ReduceOp op, const Scratch& scratch);

}  // namespace ringlet
