#include "collectives/schedules.h"

namespace ringlet {

// How a ring all-reduce works
// ---------------------------
// N ranks stand in a ring; each talks to its next and its previous rank only.
// Each rank's array is cut into N chunks. In each step every rank sends one
// chunk to the next rank and receives one from the previous rank, so that all N
// links are busy at once, in one direction, with 1/N of the data.
//
// Reduce-scatter, N-1 steps: the chunk that arrives is added to one's own, and
// the sum goes on in the next step. Chunk c sets out at rank c+1 and visits
// everybody; it ends, complete, at rank c. Three ranks with arrays a, b and c,
// chunk by chunk; [x] is sent next:
//
//             rank 0              rank 1              rank 2
//   start     a0    a1   [a2]    [b0]   b1    b2      c0   [c1]   c2
//   step 0    a0  [a1+c1] a2      b0    b1 [a2+b2] [b0+c0]  c1    c2
//   step 1  [SUM0] a1+c1  a2      b0  [SUM1] a2+b2  b0+c0   c1  [SUM2]
//
// All-gather, N-1 steps: the complete chunks go round once more, and what
// arrives replaces what was there:
//
//   step 2  SUM0  a1+c1 [SUM2] [SUM0] SUM1  a2+b2   b0+c0 [SUM1] SUM2
//   step 3  SUM0  SUM1   SUM2   SUM0  SUM1  SUM2    SUM0   SUM1  SUM2
//
// One rule covers both phases: in step t rank r sends chunk r-1-t and receives
// chunk r-2-t (mod N). What is received in a step is what is sent in the next.
//
// Each rank sends all chunks but one in either phase: 2 (N-1)/N of the array,
// less than twice its size however many ranks there are. Where only ranks add,
// no all-reduce can send less. Each chunk is added up along one path, in one
// order, and then copied, so that all ranks hold the same bits.
//
// Slices: a step done as one message would leave the link idle while its sum is
// computed, and the processor idle while it is on its way. So a chunk travels
// in S slices. Slice s of step t+1 needs slice s of step t and nothing else:
//
//   link   | t, s=0 | t, s=1 | t, s=2 | t+1, s=0 | t+1, s=1 | ...
//   adding          | t, s=0 | t, s=1 | t, s=2   | t+1, s=0 | ...

RingSchedule::RingSchedule(int rank, int ranks, std::size_t count,
                           std::size_t slice_elements, Part part)
    : Schedule(rank, ranks, count, slice_elements) {
  const auto phase = static_cast<std::size_t>(ranks - 1);
  first_step_ = part == Part::kAllGather ? phase : 0;
  steps_ = part == Part::kAll ? 2 * phase : phase;
  cut(chunk(0).count);
}

Exchange RingSchedule::operator[](std::size_t index) const {
  const auto n = static_cast<std::size_t>(ranks());
  const auto r = static_cast<std::size_t>(rank());
  const std::size_t step = first_step_ + index / slices();
  const std::size_t slice = index % slices();
  const bool adding = step < n - 1;
  // 2 N keeps the differences positive: step is at most 2 N - 3.
  const std::size_t out = (r + 2 * n - 1 - step) % n;
  const std::size_t in = (r + 2 * n - 2 - step) % n;
  return {.phase = adding ? Phase::kReduceScatter : Phase::kAllGather,
          .step = step,
          .slice = slice,
          .send = {next(), out, share(chunk(out), slices(), slice)},
          .receive = {previous(), in, share(chunk(in), slices(), slice)},
          .arrival = adding ? Arrival::kSecondOperand : Arrival::kReplaces};
}

}  // namespace ringlet
