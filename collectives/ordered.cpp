#include "collectives/ordered.h"

#include <vector>

#include "collectives/schedules.h"

namespace ringlet {

// Everybody sends each rank its chunk, and the owner adds
// -------------------------------------------------------
// The ring adds a chunk up while it travels, so the order in which an element's
// N contributions are added depends on the chunk it lies in: cut the array in
// another way, and its last bits change. Here the contributions travel as they
// are, and the owner of a chunk adds all N of them in one fixed order, a
// balanced binary tree over the ranks. Four ranks, chunk 1, which is rank 1's:
//
//   rank 0 --- a1 ---> |                                       ring
//   rank 1     b1      | rank 1: (a1 + b1) + (c1 + d1) = SUM1  all-gather
//   rank 2 --- c1 ---> |                                       --------->
//   rank 3 --- d1 ---> |
//
// In step t rank r sends to rank r+t and receives from rank r-t, so that no two
// ranks send to the same one. N-1 messages of S/N, then the ring's all-gather:
// 2 (N-1)/N S like the ring, but on a real ring of cables the messages to
// far-off ranks would cross many links.
//
// The tree over ranks composes: if each of N = 2^a ranks has first added 2^b
// shards in a balanced tree of its own, the whole is the balanced tree over all
// 2^(a+b) shards, the same for any a. Which is how training gets the same bits
// on 1, 2, 4 and 8 ranks.
//
// A chunk goes in slices. While slice s is being added, slice s+1 is on its
// way: the scratch has room for two slices from each other rank.

OrderedSchedule::OrderedSchedule(int rank, int ranks, std::size_t count,
                                 std::size_t slice_elements)
    : Schedule(rank, ranks, count, slice_elements),
      gather_(rank, ranks, count, slice_elements,
              RingSchedule::Part::kAllGather) {
  cut(gather_.chunk(0).count);
}

Exchange OrderedSchedule::operator[](std::size_t index) const {
  if (index >= gather_.size()) return gather_[index - gather_.size()];
  const std::size_t step = index / slices();
  const std::size_t slice = index % slices();
  const int distance = static_cast<int>(step) + 1;
  const int to = (rank() + distance) % ranks();
  const int from = (rank() + ranks() - distance) % ranks();
  const auto message = [&](int peer, int owner) -> Message {
    const auto chunk = static_cast<std::size_t>(owner);
    return {peer, chunk, share(gather_.chunk(chunk), slices(), slice)};
  };
  return {.phase = Phase::kReduceScatter,
          .step = step,
          .slice = slice,
          .send = message(to, to),
          .receive = message(from, rank()),
          .arrival = Arrival::kSecondOperand};
}

namespace {

// The first half of an OrderedSchedule, in which what arrives waits for the
// rest of its slice.
class OrderedReduceScatter {
 public:
  OrderedReduceScatter(Journal& journal, void* data,
                       const OrderedSchedule& schedule, Dtype dtype,
                       ReduceOp op, const Scratch& scratch)
      : journal_(journal),
        data_(static_cast<std::byte*>(data)),
        schedule_(schedule),
        dtype_(dtype),
        op_(op),
        scratch_(scratch),
        ranks_(static_cast<std::size_t>(schedule.ranks())),
        rank_(static_cast<std::size_t>(schedule.rank())) {}

  void run() {
    const std::size_t slices = schedule_.slices();
    for (std::size_t s = 0; s < slices + 1; ++s) {
      if (s < slices) start(s);
      if (s > 0) finish(s - 1);
    }
  }

 private:
  struct InFlight {
    std::vector<Journal::Message> receives, sends;
  };

  Exchange exchange(std::size_t step, std::size_t slice) const {
    return schedule_[step * schedule_.slices() + slice];
  }
  std::byte* at(Range range) const {
    return data_ + range.begin * size_of(dtype_);
  }
  // Where what arrives in this step lands: from the rank step+1 before.
  std::byte* slot(std::size_t slice, std::size_t step) const {
    const std::size_t index = slice % 2 * (ranks_ - 1) + step;
    return scratch_.memory.data() + index * scratch_.slice_bytes;
  }

  void start(std::size_t slice) {
    const std::size_t width = size_of(dtype_);
    InFlight& messages = in_flight_[slice % 2];
    for (std::size_t step = 0; step + 1 < ranks_; ++step) {
      const auto [phase, number, s, send, receive, arrival] =
          exchange(step, slice);
      if (receive.range.count > 0) {
        messages.receives.push_back(
            journal_.receive({phase, step, receive.chunk, slice}, receive.peer,
                             slot(slice, step), receive.range.count * width));
      }
      if (send.range.count > 0) {
        messages.sends.push_back(journal_.send({phase, step, send.chunk, slice},
                                               send.peer, at(send.range),
                                               send.range.count * width));
      }
    }
  }

  void finish(std::size_t slice) {
    InFlight messages = std::move(in_flight_[slice % 2]);
    in_flight_[slice % 2] = {};
    for (Journal::Message& message : messages.receives) journal_.wait(message);
    const Exchange last = exchange(ranks_ - 2, slice);
    const Range mine = last.receive.range;
    if (mine.count > 0) {
      journal_.reduce({last.phase, last.step, rank_, slice}, kNone,
                      (ranks_ - 1) * mine.count * size_of(dtype_),
                      [&] { add(mine, slice); });
    }
    for (Journal::Message& message : messages.sends) journal_.wait(message);
  }

  void add(Range mine, std::size_t slice) const {
    std::vector<const void*> operands(ranks_);
    for (std::size_t from = 0; from < ranks_; ++from) {
      const std::size_t distance = (rank_ + ranks_ - from) % ranks_;
      operands[from] = distance == 0 ? at(mine) : slot(slice, distance - 1);
    }
    reduce_tree(scratch_.device(), at(mine), operands.data(), ranks_,
                mine.count, dtype_, op_);
  }

  Journal& journal_;
  std::byte* data_;
  const OrderedSchedule& schedule_;
  Dtype dtype_;
  ReduceOp op_;
  const Scratch& scratch_;
  std::size_t ranks_, rank_;
  InFlight in_flight_[2];
};

}  // namespace

void ordered_all_reduce(Journal& journal, void* data, std::size_t count,
                        Dtype dtype, ReduceOp op, const Scratch& scratch) {
  const Transport& transport = journal.transport();
  if (transport.size() == 1) return;
  const OrderedSchedule schedule(transport.rank(), transport.size(), count,
                                 scratch.slice_bytes / size_of(dtype));
  OrderedReduceScatter(journal, data, schedule, dtype, op, scratch).run();
  run_schedule(schedule.gather(), journal, data, dtype, op, scratch);
}

}  // namespace ringlet
