#include "collectives/schedules.h"

namespace ringlet {

// What first comes to mind, and what the ring is better than
// ----------------------------------------------------------
// Rank 0 receives everybody's array, one after the other, adds each to its
// own, and sends the sum back to everybody, one after the other:
//
//   step 0      1 ---> 0        step 3      0 ---> 1
//   step 1      2 ---> 0        step 4      0 ---> 2
//   step 2      3 ---> 0        step 5      0 ---> 3
//
// 2 (N-1) steps. All ranks together send 2 (N-1) S, not a byte more than with
// the ring; but all of it goes through rank 0's link, (N-1) S in and as much
// out, while the other links idle. So the time grows with N, where the ring's
// stays below that of 2 S.
//
// Every element is added in the order of the ranks, so the bits depend on
// neither count nor slice.

NaiveSchedule::NaiveSchedule(int rank, int ranks, std::size_t count,
                             std::size_t slice_elements)
    : Schedule(rank, ranks, count, slice_elements) {
  const auto others = static_cast<std::size_t>(ranks - 1);
  steps_ = ranks == 1 ? 0 : 2 * (rank == 0 ? others : 1);
  cut(count);
}

Exchange NaiveSchedule::operator[](std::size_t index) const {
  const auto others = static_cast<std::size_t>(ranks() - 1);
  const std::size_t mine = index / slices();  // counted by this rank
  const std::size_t slice = index % slices();
  const bool reducing = mine < steps_ / 2;
  const std::size_t turn =
      rank() == 0 ? mine % others : static_cast<std::size_t>(rank() - 1);
  const int peer = rank() == 0 ? static_cast<int>(turn) + 1 : 0;
  const bool sends = reducing == (rank() != 0);
  const Message message{peer, 0, share({0, count()}, slices(), slice)};
  return {.phase = reducing ? Phase::kReduce : Phase::kBroadcast,
          .step = turn + (reducing ? 0 : others),
          .slice = slice,
          .send = sends ? message : Message{},
          .receive = sends ? Message{} : message,
          .arrival = reducing ? Arrival::kSecondOperand : Arrival::kReplaces};
}

}  // namespace ringlet
