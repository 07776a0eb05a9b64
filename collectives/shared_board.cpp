#include "collectives/shared_board.h"

#include <fmt/format.h>

#include <cstring>
#include <new>
#include <tuple>

#include "collectives/backoff.h"

namespace ringlet {
namespace {

constexpr int kNotGivenUp = 0;

}  // namespace

// A call, as its rank has come to it. Two of each rank take turns: nobody
// writes the line of call s+2 before all have come to call s+1, and who has
// come there has read those of call s.
struct alignas(64) SharedBoard::Line {
  std::atomic<std::uint64_t> sequence;  // written last
  std::uint64_t count;
  std::int32_t root, tag;
  std::uint8_t kind, dtype, op, device, wire;
  // Places, or what a few elements need: they travel in the same cache line.
  alignas(8) std::byte data[32];

  void describe_call(const Collective& call) {
    count = call.count;
    root = call.root;
    tag = call.tag;
    kind = static_cast<std::uint8_t>(call.kind);
    dtype = static_cast<std::uint8_t>(call.dtype);
    op = static_cast<std::uint8_t>(call.op);
    device = static_cast<std::uint8_t>(call.device);
    wire = static_cast<std::uint8_t>(call.wire);
  }
  Collective call() const {
    return {.kind = static_cast<CollectiveKind>(kind),
            .count = count,
            .dtype = static_cast<Dtype>(dtype),
            .op = static_cast<ReduceOp>(op),
            .root = root,
            .tag = tag,
            .device = static_cast<Device>(device),
            .wire = static_cast<Dtype>(wire)};
  }
  auto signature() const {
    return std::tie(kind, count, dtype, op, root, tag, device, wire);
  }
};

struct SharedBoard::Rank {
  Line lines[2];
  alignas(64) std::atomic<std::uint64_t> meetings;
  // Whether this rank has given up: 1 + the rank that was the first to do so.
  // What it had done before counts.
  alignas(64) std::atomic<int> gave_up;
  alignas(64) std::byte slots[2][kSlotBytes];
};

SharedBoard::SharedBoard(HostMemory& memory, Transport& transport, int spins)
    : memory_(memory),
      spins_(spins),
      gave_up_first_(memory.job_rank(memory.rank())),
      own_(memory.allocate(transport, sizeof(Rank))) {
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
  const SharedPlace place = *memory.find(own_.data(), sizeof(Rank));
  for (int rank = 0; rank < memory.size(); ++rank) {
    // Zeros are what a new Rank holds, so that nobody need wait for another's
    // constructor.
    ranks_.push_back(
        std::launder(reinterpret_cast<Rank*>(memory.at(rank, place))));
  }
}

SharedBoard::Rank& SharedBoard::of(int rank) const {
  return *ranks_[static_cast<std::size_t>(rank)];
}

SharedBoard::Line& SharedBoard::line_of(int rank) const {
  return of(rank).lines[sequence_ % 2];
}

std::byte* SharedBoard::slot(int rank, std::size_t bytes) const {
  Line& line = line_of(rank);
  return bytes <= sizeof line.data ? line.data : of(rank).slots[sequence_ % 2];
}

SharedBoard::Places SharedBoard::places(int rank) const {
  Places places;
  std::memcpy(&places, line_of(rank).data, sizeof places);
  return places;
}

void SharedBoard::give_up() noexcept {
  of(memory_.rank())
      .gave_up.store(1 + gave_up_first_, std::memory_order_release);
}

void SharedBoard::arrive(const Collective& call, const Places* places) {
  Line& line = line_of(memory_.rank());
  line.describe_call(call);
  if (places != nullptr) std::memcpy(line.data, places, sizeof *places);
  line.sequence.store(sequence_, std::memory_order_release);
}

void SharedBoard::wait_for(const std::atomic<std::uint64_t>& counter,
                           std::uint64_t value, int rank) {
  const auto there = [&] {
    return counter.load(std::memory_order_acquire) >= value;
  };
  if (there()) return;
  waiting_for_.store(memory_.job_rank(rank), std::memory_order_relaxed);
  Backoff backoff(spins_);
  while (!there()) {
    if (cancelled_) throw Cancelled("gave up waiting for another rank");
    const int first = of(rank).gave_up.load(std::memory_order_acquire);
    if (first != kNotGivenUp && !there()) {
      gave_up_first_ = first - 1;
      throw Cancelled(fmt::format("rank {} gave up", first - 1));
    }
    backoff.pause(urgent_);
  }
  waiting_for_.store(kNobody, std::memory_order_relaxed);
}

bool SharedBoard::all_agree() {
  const int self = memory_.rank();
  bool same = true;
  for (int rank = 0; rank < memory_.size(); ++rank) {
    if (rank == self) continue;
    const Line& line = line_of(rank);
    wait_for(line.sequence, sequence_, rank);
    same = same && line.signature() == line_of(self).signature();
  }
  return same;
}

void SharedBoard::await_all() {
  if (!all_agree()) throw_mismatch();
}

Collective SharedBoard::call_of(int rank) const { return line_of(rank).call(); }

void SharedBoard::throw_mismatch() const {
  std::string text = fmt::format("ranks differ in call {}:", sequence_);
  for (int rank = 0; rank < memory_.size(); ++rank) {
    text += fmt::format("{} rank {} {}", rank > 0 ? ";" : "",
                        memory_.job_rank(rank), describe(call_of(rank)));
  }
  throw MismatchError(text);
}

void SharedBoard::meet() {
  ++meetings_;
  const int self = memory_.rank();
  of(self).meetings.store(meetings_, std::memory_order_release);
  for (int rank = 0; rank < memory_.size(); ++rank) {
    if (rank != self) wait_for(of(rank).meetings, meetings_, rank);
  }
}

}  // namespace ringlet
