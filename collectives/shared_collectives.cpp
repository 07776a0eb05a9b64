#include "collectives/shared_collectives.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "collectives/average.h"
#include "collectives/backoff.h"
#include "collectives/clock.h"
#include "collectives/journal.h"
#include "collectives/run_schedule.h"
#include "collectives/shared_board.h"
#include "collectives/shared_stage.h"
#include "kernels/runtime/threads.h"

namespace ringlet {
namespace {

// How ranks that share memory reduce
// ----------------------------------
// The ranks of a host have each other's arrays mapped, so nothing need be sent.
// Each array is cut into N slices, and rank r owns slice r of all of them: it
// reads them, adds them in `ordered`'s tree, and writes the sum back to all.
// Three ranks with arrays a, b and c; rank 1's part:
//
//             rank 0        rank 1        rank 2
//   before    a0 a1 a2      b0 b1 b2      c0 c1 c2
//                 \             |             /
//                  `-----> a1 + b1 + c1 <----'       SUM1
//                 /             |             \.
//   after     .. SUM1 ..    .. SUM1 ..    .. SUM1 ..
//
// 1. Arrive: each rank says which call it has come to and where its arrays lie,
//    and waits until all have. Nobody has read or written anything before.
// 2. Each rank does its slice. No two of them touch the same bytes.
// 3. Meet: each waits until all have done theirs.
//
// Every array is read once and written once, by all ranks together: 2 S of
// memory traffic per rank, the least there can be where every rank ends with
// a copy of its own. A ring over messages has 3 S, and the kernel's work.
//
// Small arrays: each rank puts its own beside its arrival, and adds everybody's
// for itself. One wait instead of two.
//
// Arrays that only their rank has mapped go through a stage that all have, a
// block at a time; a block is copied in while the one before it is reduced:
//
//   copy in | b0 | b1 | b2 |
//   reduce       | b0 | b1 | b2 |
//   copy out          | b0 | b1 | b2      each | is a meeting

constexpr std::size_t kLine = 64;
// Of a stage, which has two; small enough to stay in a core's cache.
constexpr std::size_t kMostBlockBytes = 256 << 10;
// Up to here every rank adds all arrays for itself.
constexpr std::size_t kSmallBytes = 512;
constexpr std::size_t kSmallBytesOfMany = 8 << 10;
static_assert(kSmallBytesOfMany <= SharedBoard::kSlotBytes);

class SharedCollectives final : public HostCollectives {
 public:
  SharedCollectives(std::unique_ptr<Transport> transport,
                    std::shared_ptr<HostMemory> memory,
                    const CommunicatorOptions& options,
                    std::shared_ptr<Ledger> ledger, BetweenHosts between)
      : transport_(std::move(transport)),
        memory_(std::move(memory)),
        ranks_(static_cast<std::size_t>(memory_->size())),
        rank_(static_cast<std::size_t>(memory_->rank())),
        journal_(*transport_, options.recorder, std::move(ledger)),
        own_memory_(transport_->host_ranks(), transport_->rank()),
        board_(own_memory_, *transport_,
               spin_budget(memory_->size(), kernel_threads(), host_cores())),
        between_(std::move(between)),
        small_bytes_(std::min(options.slice_bytes,
                              ranks_ > 2 ? kSmallBytesOfMany : kSmallBytes)),
        one_owner_bytes_(options.slice_bytes / 16),
        stage_(
            own_memory_, *transport_,
            std::max(between_ ? 4 * options.slice_bytes
                              : std::min(options.slice_bytes, kMostBlockBytes),
                     ranks_ * Scratch::kLargestElement)),
        inputs_(ranks_),
        outputs_(ranks_),
        operands_(ranks_) {}

  ~SharedCollectives() override {
    if (unwinding_) board_.give_up();
  }

  std::string name() const override { return "shared"; }
  int rank() const override { return memory_->rank(); }
  int size() const override { return memory_->size(); }

  void run(const Collective& call) override {
    journal_.begin_call(call);
    board_.begin();
    const std::size_t bytes = bytes_of(call, inputs_of(call));
    if (bytes == 0 || (bytes <= small_bytes_ && !between_)) {
      small(call, bytes);
    } else {
      large(call, bytes);
    }
    journal_.end_call();
  }

  Buffer allocate(std::size_t bytes) override {
    return memory_->allocate(*transport_, bytes);
  }

  bool cancel() noexcept override {
    transport_->cancel();
    board_.cancel();
    board_.give_up();
    return true;
  }
  void set_urgent(bool urgent) override {
    transport_->set_urgent(urgent);
    board_.set_urgent(urgent);
  }
  int waiting_for() const override { return board_.waiting_for(); }
  bool agrees_on_calls() const override { return true; }

  Ledger* ledger() override { return &journal_.ledger(); }
  Recorder* recorder() override { return journal_.recorder(); }
  std::optional<ClockReading> measure_clock() override {
    return ringlet::measure_clock(*transport_);
  }

 private:
  using Addresses = std::vector<std::byte*>;  // by rank

  static std::size_t bytes_of(const Collective& call, std::size_t count) {
    return count * size_of(call.dtype);
  }
  // Elements of each rank's input.
  std::size_t inputs_of(const Collective& call) const {
    const bool parts = call.kind == CollectiveKind::kReduceScatter;
    return call.count * (parts ? ranks_ : 1);
  }

  std::uint64_t place_of(const void* data, std::size_t bytes) const {
    const auto place = memory_->find(data, bytes);
    return place ? place->pack() : SharedBoard::kPrivate;
  }

  // False where an array that other ranks would touch is out of their reach.
  bool reach_arrays(const Collective& call) {
    const bool outputs = call.kind == CollectiveKind::kAllReduce ||
                         call.kind == CollectiveKind::kReduce;
    for (std::size_t r = 0; r < ranks_; ++r) {
      const int from = static_cast<int>(r);
      const auto [input, output] = board_.places(from);
      if (input == SharedBoard::kPrivate) return false;
      inputs_[r] = memory_->at(from, SharedPlace::unpack(input));
      if (!outputs) continue;
      if (output == SharedBoard::kPrivate) return false;
      outputs_[r] = memory_->at(from, SharedPlace::unpack(output));
    }
    return true;
  }

  // Everybody has everything, and takes what is its own.
  void small(const Collective& call, std::size_t bytes) {
    if (bytes > 0) std::memcpy(board_.slot(rank(), bytes), call.input, bytes);
    board_.arrive(call);
    board_.await_all();
    for (std::size_t r = 0; r < ranks_; ++r) {
      inputs_[r] = board_.slot(static_cast<int>(r), bytes);
    }
    const bool to_all = call.kind == CollectiveKind::kAllReduce;
    if (!to_all && call.kind != CollectiveKind::kReduce) {
      return do_part(call, {0, call.count}, call.count);
    }
    const std::size_t others = (ranks_ - 1) * bytes;
    if (!to_all && rank() != call.root) {
      return count(Phase::kExchange, bytes, 0);
    }
    count(Phase::kExchange, to_all ? others : 0, others);
    std::byte* target = output(call, 0);
    combine(call, 0, {0, call.count}, {&target, 1});
  }

  void large(const Collective& call, std::size_t bytes) {
    const SharedBoard::Places places{
        place_of(call.input, bytes),
        place_of(call.output, bytes_of(call, call.count))};
    board_.arrive(call, &places);
    board_.await_all();
    if (!reach_arrays(call)) return staged(call);
    if (between_) {
      between_hosts(call);
    } else {
      do_part(call, {0, call.count}, call.count);
    }
    board_.meet();
  }

  Range block(const Collective& call, std::size_t most, std::size_t b) const {
    return {b * most, std::min(most, call.count - b * most)};
  }

  // The same blocks as staged(), since the arrays of another host may go that
  // way.
  void between_hosts(const Collective& call) {
    const std::size_t most = stage_.block_bytes() / size_of(call.dtype);
    for (std::size_t begin = 0; begin < call.count; begin += most) {
      do_part(call, block(call, most, begin / most), most);
      for (std::size_t r = 0; r < ranks_; ++r) {
        inputs_[r] += bytes_of(call, most);
        outputs_[r] += bytes_of(call, most);
      }
    }
  }

  // A block at a time through the stages.
  void staged(const Collective& call) {
    const std::size_t parts = inputs_of(call) / call.count;
    const std::size_t most = stage_.block_bytes() / size_of(call.dtype) / parts;
    const std::size_t blocks = (call.count + most - 1) / most;
    stage_.copy_in(call, parts, block(call, most, 0), most, 0);
    board_.meet();
    for (std::size_t b = 0; b < blocks; ++b) {
      for (std::size_t r = 0; r < ranks_; ++r) {
        inputs_[r] = outputs_[r] = stage_.at(r, b % 2);
      }
      do_part(call, block(call, most, b), most);
      if (b + 1 < blocks) {
        stage_.copy_in(call, parts, block(call, most, b + 1), most,
                       (b + 1) % 2);
      }
      board_.meet();
      stage_.copy_out(call, block(call, most, b), b % 2);
    }
  }

  static std::byte* output(const Collective& call, std::size_t element) {
    return static_cast<std::byte*>(call.output) + bytes_of(call, element);
  }

  // What this rank does of elements `range` of the call, which begin at the
  // addresses in inputs_ and outputs_; parts of an input are `stride` elements
  // apart there.
  void do_part(const Collective& call, Range range, std::size_t stride) {
    const auto root = static_cast<std::size_t>(call.root);
    const Range mine = slice(range.count, call.dtype);
    const std::size_t all = bytes_of(call, range.count);
    const std::size_t own = bytes_of(call, mine.count);
    switch (call.kind) {
      case CollectiveKind::kAllReduce:
        count(Phase::kReduceScatter, all - own, (ranks_ - 1) * own);
        count(Phase::kAllGather, (ranks_ - 1) * own, all - own);
        if (between_) return combine_between_hosts(call, mine);
        return combine(call, 0, mine, outputs_);
      case CollectiveKind::kReduce:
        count(Phase::kReduceScatter, all - own, (ranks_ - 1) * own);
        if (rank_ == root) {
          count(Phase::kReduce, 0, all - own);
        } else {
          count(Phase::kReduce, own, 0);
        }
        return combine(call, 0, mine, {&outputs_[root], 1});
      case CollectiveKind::kReduceScatter: {
        count(Phase::kReduceScatter, (ranks_ - 1) * all, (ranks_ - 1) * all);
        std::byte* target = output(call, range.begin);
        return combine(call, rank_ * stride, {0, range.count}, {&target, 1});
      }
      case CollectiveKind::kAllGather:
        count(Phase::kAllGather, (ranks_ - 1) * all, (ranks_ - 1) * all);
        for (std::size_t r = 0; r < ranks_; ++r) {
          copy(output(call, r * call.count + range.begin), inputs_[r], all);
        }
        return;
      case CollectiveKind::kBroadcast:
        if (rank_ == root) {
          count(Phase::kBroadcast, (ranks_ - 1) * all, 0);
        } else {
          count(Phase::kBroadcast, 0, all);
          copy(output(call, range.begin), inputs_[root], all);
        }
        return;
      case CollectiveKind::kBarrier:
        return;
    }
  }

  // This rank's of `count` elements; slices of two ranks share no cache line
  // where arrays begin at one.
  Range slice(std::size_t count, Dtype dtype) const {
    if (between_ && count * size_of(dtype) <= one_owner_bytes_) {
      return {0, rank_ == 0 ? count : 0};
    }
    const std::size_t per_line = kLine / size_of(dtype);
    const std::size_t lines = (count + per_line - 1) / per_line;
    const Range mine = share({0, lines}, ranks_, rank_);
    const std::size_t begin = std::min(count, mine.begin * per_line);
    return {begin, std::min(count, mine.end() * per_line) - begin};
  }

  // Elements `range` of all inputs, from `offset` elements on, into the same
  // elements of `targets`.
  void combine(const Collective& call, std::size_t offset, Range range,
               std::span<std::byte* const> targets) {
    if (range.count == 0) return;
    if (ranks_ == 1) {
      return copy(targets[0] + bytes_of(call, range.begin),
                  inputs_[0] + bytes_of(call, offset + range.begin),
                  bytes_of(call, range.count));
    }
    for (std::size_t r = 0; r < ranks_; ++r) {
      operands_[r] = inputs_[r] + bytes_of(call, offset + range.begin);
    }
    targets_.clear();
    for (std::byte* target : targets) {
      targets_.push_back(target + bytes_of(call, range.begin));
    }
    const std::size_t bytes = bytes_of(call, range.count);
    journal_.reduce(
        {Phase::kReduceScatter, 0, rank_}, kNone, (ranks_ - 1) * bytes, [&] {
          if (call.op == ReduceOp::kAvg) {
            average_tree(targets_, operands_, range.count, call.dtype);
          } else {
            reduce_tree(targets_.data(), targets_.size(), operands_.data(),
                        ranks_, range.count, call.dtype, call.op);
          }
        });
  }

  // This host's sum into this rank's own output; there it becomes the sum of
  // all hosts, and then everybody's.
  void combine_between_hosts(const Collective& call, Range mine) {
    combine(call, 0, mine, {&outputs_[rank_], 1});
    std::byte* own = outputs_[rank_] + bytes_of(call, mine.begin);
    between_(own, mine.count, call);
    for (std::byte* theirs : outputs_) {
      copy(theirs + bytes_of(call, mine.begin), own,
           bytes_of(call, mine.count));
    }
  }

  // What other ranks read of this one's, or have written to it, are bytes
  // between ranks as much as messages are.
  void count(Phase phase, std::size_t sent, std::size_t received) {
    if (sent > 0) journal_.ledger().count_sent(phase, sent);
    if (received > 0) journal_.ledger().count_received(phase, received);
  }

  static void copy(std::byte* target, const std::byte* source,
                   std::size_t bytes) {
    if (target != source && bytes > 0) std::memcpy(target, source, bytes);
  }

  std::unique_ptr<Transport> transport_;
  std::shared_ptr<HostMemory> memory_;
  std::size_t ranks_, rank_;
  Journal journal_;
  HostMemory own_memory_;  // ends with this; memory_ may be common to several
  SharedBoard board_;
  BetweenHosts between_;
  std::size_t small_bytes_;
  // Between hosts: up to here one rank of a host talks to the others for all,
  // since what counts is the number of messages.
  std::size_t one_owner_bytes_;
  SharedStage stage_;
  // Of the call under way.
  Addresses inputs_, outputs_;
  std::vector<const void*> operands_;
  std::vector<void*> targets_;
  Unwinding unwinding_;
};

}  // namespace

std::unique_ptr<HostCollectives> make_shared_collectives(
    std::unique_ptr<Transport> transport, const CommunicatorOptions& options,
    std::shared_ptr<Ledger> ledger, BetweenHosts between) {
  const std::vector<int> ranks = transport->host_ranks();
  if (!between && ranks.size() != static_cast<std::size_t>(transport->size())) {
    throw Error(fmt::format(
        "shared: expected all ranks on one host; rank {} shares memory with "
        "{} of {} ranks",
        transport->rank(), ranks.size(), transport->size()));
  }
  std::shared_ptr<HostMemory> memory = options.memory;
  if (!memory) memory = std::make_shared<HostMemory>(ranks, transport->rank());
  return std::make_unique<SharedCollectives>(
      std::move(transport), std::move(memory), options, std::move(ledger),
      std::move(between));
}

}  // namespace ringlet
