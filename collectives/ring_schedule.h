#pragma once

#include <cstddef>
#include <string>

namespace ringlet {

// Elements [begin, begin + count) of the caller's array.
struct Range {
  std::size_t begin = 0;
  std::size_t count = 0;

  std::size_t end() const { return begin + count; }
  bool operator==(const Range&) const = default;
};

// Part `index` of `whole` cut into `parts` pieces whose sizes differ by at most
// one; remainders go to the first pieces. Pieces may be empty.
Range share(Range whole, std::size_t parts, std::size_t index);

enum class RingPhase { kReduceScatter, kAllGather };

// What one rank does with one slice in one step: it sends `send` to the next
// rank while it receives `receive` from the previous one. In the reduce-scatter
// phase what arrives is combined with what is there; in the all-gather phase it
// replaces it. An empty range is no message: sender and receiver both skip it.
struct RingStep {
  RingPhase phase;
  std::size_t step;   // the exchange: 0 .. 2 (size-1) - 1
  std::size_t slice;  // 0 .. slices-1, inside the two chunks
  std::size_t send_chunk;
  std::size_t receive_chunk;
  Range send;
  Range receive;
};

// The whole plan of a ring all-reduce as one rank sees it: a pure function of
// four numbers that talks to nobody, so it can be printed and tested without a
// network. ring_schedule.cpp has the picture.
//
// It reads like a constant array of size() steps, in the order in which they
// are carried out: every slice of step 0, then every slice of step 1, ...
// Nothing is stored; each look-up costs a few integer divisions.
class RingSchedule {
 public:
  // `rank` of `ranks` reduces `count` elements; a slice has at most
  // `slice_elements` (> 0) of them.
  RingSchedule(int rank, int ranks, std::size_t count,
               std::size_t slice_elements);

  int rank() const { return static_cast<int>(rank_); }
  int ranks() const { return static_cast<int>(ranks_); }
  int next() const { return static_cast<int>((rank_ + 1) % ranks_); }
  int previous() const {
    return static_cast<int>((rank_ + ranks_ - 1) % ranks_);
  }

  Range chunk(std::size_t index) const {
    return share({0, count_}, ranks_, index);
  }
  // Slices per chunk: the same number in each; 0 where there are no elements.
  std::size_t slices() const { return slices_; }

  std::size_t size() const { return 2 * (ranks_ - 1) * slices_; }
  RingStep operator[](std::size_t index) const;

 private:
  std::size_t rank_;
  std::size_t ranks_;
  std::size_t count_;
  std::size_t slices_;
};

// One line for the ring and one for each step, for people.
std::string to_string(const RingSchedule& schedule);

}  // namespace ringlet
