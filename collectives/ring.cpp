#include "collectives/ring.h"

#include <algorithm>
#include <vector>

#include "collectives/ring_schedule.h"

namespace ringlet {

// Step i of the schedule is *started* (its receive is posted and its send is on
// its way), and *finished* `window` steps later (both are done, and what came
// in is added). In between, the next steps are already on the wire:
//
//   window = 2      started  | 0  1 |  2  |  3  |  4  |
//                   finished |      |  0  |  1  |  2  |   ... time
//
// Why this order is safe, with S slices per chunk and N ranks:
// - What step i sends arrived in step i-S. That one is finished, and added,
//   when i starts, because the window is at most S.
// - A receive of the reduce-scatter phase lands in slot i % window of the
//   scratch. The slot's last user, step i-window, is finished.
// - A receive of the all-gather phase lands in place, on the chunk that step
//   i-(N-1)S sent. That send is done: the step is finished, as (N-1)S >=
//   window.
// - Nobody waits for ever: of all ranks, take the one with the fewest finished
//   steps, k. The others have finished k or more, so all of them have started
//   step k, and both of its messages find their partner.
void ring_all_reduce(Transport& transport, void* data, std::size_t count,
                     Dtype dtype, ReduceOp op, const RingScratch& scratch) {
  const std::size_t width = size_of(dtype);
  const RingSchedule schedule(transport.rank(), transport.size(), count,
                              scratch.slice_bytes / width);
  const std::size_t window = std::min(scratch.window, schedule.slices());

  struct InFlight {
    Transport::RequestPtr receive, send;
  };
  std::vector<InFlight> in_flight(window);
  const auto at = [&](Range range) {
    return static_cast<std::byte*>(data) + range.begin * width;
  };
  const auto slot = [&](std::size_t i) {
    return scratch.memory.data() + i % window * scratch.slice_bytes;
  };

  const auto start = [&](std::size_t i) {
    const RingStep step = schedule[i];
    InFlight& messages = in_flight[i % window];
    if (step.receive.count > 0) {
      std::byte* target =
          step.phase == RingPhase::kReduceScatter ? slot(i) : at(step.receive);
      messages.receive = transport.irecv(schedule.previous(), target,
                                         step.receive.count * width);
    }
    if (step.send.count > 0) {
      messages.send = transport.isend(schedule.next(), at(step.send),
                                      step.send.count * width);
    }
  };

  const auto finish = [&](std::size_t i) {
    const RingStep step = schedule[i];
    InFlight messages = std::move(in_flight[i % window]);
    if (messages.receive) {
      transport.wait(*messages.receive);
      if (step.phase == RingPhase::kReduceScatter) {
        reduce(at(step.receive), slot(i), step.receive.count, dtype, op);
      }
    }
    if (messages.send) transport.wait(*messages.send);
  };

  for (std::size_t i = 0; i < schedule.size() + window; ++i) {
    if (i >= window) finish(i - window);
    if (i < schedule.size()) start(i);
  }
}

}  // namespace ringlet
