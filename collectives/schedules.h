#pragma once

#include <cstddef>

#include "collectives/schedule.h"

// One class per algorithm; each source opens with a picture, and with how many
// messages and bytes it takes. S below is the size of a rank's array, N the
// number of ranks.
namespace ringlet {

// 2 (N-1) steps, 2 (N-1)/N S sent and received by each rank: the fewest bytes
// there can be.
class RingSchedule final : public Schedule {
 public:
  enum class Part { kAll, kReduceScatter, kAllGather };

  RingSchedule(int rank, int ranks, std::size_t count,
               std::size_t slice_elements, Part part = Part::kAll);

  const char* name() const override { return "ring"; }
  std::size_t size() const override { return steps_ * slices(); }
  Exchange operator[](std::size_t index) const override;

  int next() const { return (rank() + 1) % ranks(); }
  int previous() const { return (rank() + ranks() - 1) % ranks(); }
  // Chunk `index` of the array's N; chunk r is complete at rank r after the
  // reduce-scatter.
  Range chunk(std::size_t index) const {
    return share({0, count()}, static_cast<std::size_t>(ranks()), index);
  }

 private:
  std::size_t first_step_;
  std::size_t steps_;
};

// 2 (N-1) steps at rank 0, which receives and sends (N-1) S.
class NaiveSchedule final : public Schedule {
 public:
  NaiveSchedule(int rank, int ranks, std::size_t count,
                std::size_t slice_elements);

  const char* name() const override { return "naive"; }
  std::size_t size() const override { return steps_ * slices(); }
  Exchange operator[](std::size_t index) const override;

 private:
  std::size_t steps_;  // in which this rank takes part
};

// 2 ceil(log2 N) steps; the root receives and sends ceil(log2 N) S, most ranks
// S or less. Half of it is a reduce, the other half a broadcast.
class TreeSchedule final : public Schedule {
 public:
  enum class Part { kAll, kReduce, kBroadcast };

  TreeSchedule(int rank, int ranks, std::size_t count,
               std::size_t slice_elements, Part part = Part::kAll,
               int root = 0);

  const char* name() const override { return "tree"; }
  std::size_t size() const override;
  Exchange operator[](std::size_t index) const override;

 private:
  Part part_;
  int root_;
  int place_;             // counted from the root
  std::size_t rounds_;    // ceil(log2 N)
  std::size_t children_;  // of this rank, from which it receives
};

// 2 (N-1) steps, 2 (N-1)/N S sent and received by each rank. In the first half
// the owner of a chunk gets it from everybody, to add all at once
// (ordered_all_reduce); the second is the ring's.
class OrderedSchedule final : public Schedule {
 public:
  OrderedSchedule(int rank, int ranks, std::size_t count,
                  std::size_t slice_elements);

  const char* name() const override { return "ordered"; }
  std::size_t size() const override { return 2 * gather_.size(); }
  Exchange operator[](std::size_t index) const override;

  const RingSchedule& gather() const { return gather_; }

 private:
  RingSchedule gather_;
};

// log2 N steps for a power of two, two more otherwise; log2 N S sent and
// received by each rank.
class RecursiveDoublingSchedule final : public Schedule {
 public:
  RecursiveDoublingSchedule(int rank, int ranks, std::size_t count,
                            std::size_t slice_elements);

  const char* name() const override { return "recursive_doubling"; }
  std::size_t size() const override;
  Exchange operator[](std::size_t index) const override;

 private:
  std::size_t rounds_;  // floor(log2 N)
  int extra_;           // ranks beyond the largest power of two
};

}  // namespace ringlet
