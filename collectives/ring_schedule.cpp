#include "collectives/ring_schedule.h"

#include <algorithm>

#include "kernels/runtime/check.h"

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

Range share(Range whole, std::size_t parts, std::size_t index) {
  const std::size_t base = whole.count / parts;
  const std::size_t longer = whole.count % parts;  // parts with one more
  return {whole.begin + index * base + std::min(index, longer),
          base + (index < longer ? 1 : 0)};
}

RingSchedule::RingSchedule(int rank, int ranks, std::size_t count,
                           std::size_t slice_elements)
    : rank_(static_cast<std::size_t>(rank)),
      ranks_(static_cast<std::size_t>(ranks)),
      count_(count) {
  RINGLET_CHECK(0 <= rank && rank < ranks, "rank {} of {}", rank, ranks);
  RINGLET_CHECK(slice_elements > 0, "a slice must hold an element");
  const std::size_t longest_chunk = chunk(0).count;
  slices_ = (longest_chunk + slice_elements - 1) / slice_elements;
}

RingStep RingSchedule::operator[](std::size_t index) const {
  const std::size_t step = index / slices_;
  const std::size_t slice = index % slices_;
  // 2 N keeps the differences positive: step is at most 2 N - 3.
  const std::size_t send_chunk = (rank_ + 2 * ranks_ - 1 - step) % ranks_;
  const std::size_t receive_chunk = (rank_ + 2 * ranks_ - 2 - step) % ranks_;
  return {.phase = step < ranks_ - 1 ? RingPhase::kReduceScatter
                                     : RingPhase::kAllGather,
          .step = step,
          .slice = slice,
          .send_chunk = send_chunk,
          .receive_chunk = receive_chunk,
          .send = share(chunk(send_chunk), slices_, slice),
          .receive = share(chunk(receive_chunk), slices_, slice)};
}

std::string to_string(const RingSchedule& schedule) {
  std::string text =
      fmt::format("rank {} of {}, slices per chunk: {}\n", schedule.rank(),
                  schedule.ranks(), schedule.slices());
  for (std::size_t i = 0; i < schedule.size(); ++i) {
    const RingStep step = schedule[i];
    text += fmt::format(
        "step {} {} slice {}: send chunk {} [{}, {}) to rank {}, receive chunk "
        "{} [{}, {}) from rank {}\n",
        step.step,
        step.phase == RingPhase::kReduceScatter ? "reduce-scatter"
                                                : "all-gather",
        step.slice, step.send_chunk, step.send.begin, step.send.end(),
        schedule.next(), step.receive_chunk, step.receive.begin,
        step.receive.end(), schedule.previous());
  }
  return text;
}

}  // namespace ringlet
