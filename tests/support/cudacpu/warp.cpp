#include <algorithm>

#include "support/cudacpu/machine.h"

namespace cudacpu {

const char* name_of(WarpOp op) {
  constexpr const char* kNames[] = {
      "__syncwarp",      "__shfl_sync",   "__shfl_up_sync", "__shfl_down_sync",
      "__shfl_xor_sync", "__ballot_sync", "__any_sync",     "__all_sync"};
  return kNames[static_cast<int>(op)];
}

// The last lane of the mask to arrive finds all lanes' answers. Only
// __syncwarp orders their memory accesses, as in CUDA's model.
std::uint64_t Machine::warp_call(const LaneCall& call) {
  const int warp = current_ / kLanes;
  char& ordering = orderings_.warp[ordering_][warp];
  if (call.op == WarpOp::kSync) tsan::release(ordering);
  const int thread = current_;
  const unsigned bit = 1u << thread % kLanes;
  const int size = std::min(thread_count_ - warp * kLanes, kLanes);
  const unsigned lanes = size == kLanes ? ~0u : (1u << size) - 1;
  self().call = call;
  if ((call.mask & bit) == 0) {
    fail("%s at %s:%d: the caller's lane is not in the mask", name_of(call.op),
         call.file, call.line);
  }
  check_lanes(call, lanes);
  in_call_[warp] |= bit;
  if ((in_call_[warp] & call.mask) != call.mask) {
    wait(Thread::kInWarpCall);
  } else {
    self().state = Thread::kInWarpCall;
    in_call_[warp] &= ~call.mask;
    answer_lanes(call);
  }
  if (call.op == WarpOp::kSync) tsan::acquire(ordering);
  return threads_[thread].answer;
}

void Machine::check_lanes(const LaneCall& call, unsigned lanes) {
  if ((call.mask & ~lanes) != 0) {
    fail("%s at %s:%d: the mask names a lane beyond the block",
         name_of(call.op), call.file, call.line);
  }
  if ((call.mask & gone_[current_ / kLanes]) != 0) {
    fail("%s at %s:%d: a lane of the mask has exited", name_of(call.op),
         call.file, call.line);
  }
}

namespace {

// The lane whose value lane `index` gets by a shuffle.
int source_lane(const LaneCall& call, int index) {
  const int base = index & ~(call.width - 1), end = base + call.width;
  const int argument = call.argument;
  switch (call.op) {
    case WarpOp::kShuffle:
      return base + (argument & (call.width - 1));
    case WarpOp::kShuffleUp:
      return index - argument < base ? index : index - argument;
    case WarpOp::kShuffleDown:
      return index + argument >= end ? index : index + argument;
    case WarpOp::kShuffleXor:
      return (index ^ argument) >= end ? index : index ^ argument;
    default:
      return index;
  }
}

}  // namespace

void Machine::answer_lanes(const LaneCall& call) {
  unsigned ballot = 0;
  for (int i = 0; i < kLanes; ++i) {
    if ((call.mask >> i & 1) == 0) continue;
    const LaneCall& other = lane(i).call;
    const bool same = lane(i).state == Thread::kInWarpCall &&
                      other.op == call.op && other.mask == call.mask &&
                      other.line == call.line;
    if (!same) {
      fail("divergent warp: lane %d is in %s at %s:%d, others in %s at %s:%d",
           i, name_of(other.op), other.file, other.line, name_of(call.op),
           call.file, call.line);
    }
    if (other.value != 0) ballot |= 1u << i;
  }
  for (int i = 0; i < kLanes; ++i) {
    if ((call.mask >> i & 1) == 0) continue;
    const int source = source_lane(lane(i).call, i);
    if ((call.mask >> source & 1) == 0) {
      fail("%s at %s:%d: lane %d reads lane %d, which is not in the mask",
           name_of(call.op), call.file, call.line, i, source);
    }
    switch (call.op) {
      case WarpOp::kBallot:
        lane(i).answer = ballot;
        break;
      case WarpOp::kAny:
        lane(i).answer = ballot != 0;
        break;
      case WarpOp::kAll:
        lane(i).answer = ballot == call.mask;
        break;
      default:
        lane(i).answer = lane(source).call.value;
    }
  }
  for (int i = 0; i < kLanes; ++i) {
    if ((call.mask >> i & 1) != 0) wake(current_ / kLanes * kLanes + i);
  }
}

}  // namespace cudacpu
