#include <bit>

#include "collectives/schedules.h"

namespace ringlet {

// A binomial tree, up and down again
// ----------------------------------
// In round k those ranks that still have something to give, and whose number
// has bit k, send all they have added so far to the rank without that bit, and
// are done; after ceil(log2 N) rounds rank 0 has the sum. Then the same rounds
// backwards, with copies. Eight ranks:
//
//   step 0    1 -> 0    3 -> 2    5 -> 4    7 -> 6
//   step 1    2 -> 0              6 -> 4
//   step 2    4 -> 0
//   step 3    0 -> 4
//   step 4    0 -> 2              4 -> 6
//   step 5    0 -> 1    2 -> 3    4 -> 5    6 -> 7
//
// 2 ceil(log2 N) steps, far fewer than the ring's 2 (N-1): for small arrays,
// where a message costs its start and not its length. Each step carries the
// whole array, so that the time of large ones grows with log2 N, and half of
// the links idle in each step.
//
// An element is added along the tree, so the bits depend on neither count nor
// slice.

namespace {
std::size_t rounds_of(int ranks) {
  return static_cast<std::size_t>(
      std::bit_width(static_cast<unsigned>(ranks - 1)));
}
}  // namespace

TreeSchedule::TreeSchedule(int rank, int ranks, std::size_t count,
                           std::size_t slice_elements, Part part, int root)
    : Schedule(rank, ranks, count, slice_elements),
      part_(part),
      root_(root),
      place_((rank - root + ranks) % ranks),
      rounds_(rounds_of(ranks)),
      children_(0) {
  // A rank receives in the rounds below its lowest set bit, where there is
  // somebody to receive from.
  for (std::size_t round = 0; round < rounds_; ++round) {
    const int bit = 1 << round;
    if ((place_ & bit) != 0) break;
    if (place_ + bit < ranks) ++children_;
  }
  cut(count);
}

std::size_t TreeSchedule::size() const {
  const std::size_t one_way = (children_ + (place_ == 0 ? 0 : 1)) * slices();
  return part_ == Part::kAll ? 2 * one_way : one_way;
}

Exchange TreeSchedule::operator[](std::size_t index) const {
  const std::size_t neighbours = children_ + (place_ == 0 ? 0 : 1);
  const std::size_t turn = index / slices();
  const std::size_t slice = index % slices();
  const bool reducing = part_ != Part::kBroadcast && turn < neighbours;
  // Downwards the rounds are those of the way up, the last one first.
  const std::size_t neighbour =
      reducing ? turn : neighbours - 1 - turn % neighbours;
  const bool is_parent = neighbour == children_;
  // The children of place p are p + 1, p + 2, p + 4, ..., as many as there are.
  const std::size_t round =
      is_parent ? static_cast<std::size_t>(
                      std::countr_zero(static_cast<unsigned>(place_)))
                : neighbour;
  const int bit = 1 << round;
  const int peer = (is_parent ? place_ - bit : place_ + bit) + root_;
  const Message message{peer % ranks(), 0,
                        share({0, count()}, slices(), slice)};
  const bool sends = reducing == is_parent;
  const std::size_t before = part_ == Part::kAll ? rounds_ : 0;
  return {.phase = reducing ? Phase::kReduce : Phase::kBroadcast,
          .step = reducing ? round : before + rounds_ - 1 - round,
          .slice = slice,
          .send = sends ? message : Message{},
          .receive = sends ? Message{} : message,
          .arrival = reducing ? Arrival::kSecondOperand : Arrival::kReplaces};
}

}  // namespace ringlet
