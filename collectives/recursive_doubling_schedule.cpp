#include <bit>

#include "collectives/schedules.h"

namespace ringlet {

// Everybody exchanges, with a partner twice as far off in each step
// -----------------------------------------------------------------
// In step k each rank exchanges all it has added so far with the rank whose
// number differs in bit k, and both add what they get: after step k a rank has
// the sum of the 2^(k+1) ranks that share its higher bits.
//
//   step 0   0 <-> 1    2 <-> 3    4 <-> 5    6 <-> 7
//   step 1   0 <-> 2    1 <-> 3    4 <-> 6    5 <-> 7
//   step 2   0 <-> 4    1 <-> 5    2 <-> 6    3 <-> 7
//
// log2 N steps, the fewest there can be, in which every rank sends the whole
// array: the choice for small ones.
//
// Where N is no power of two, the ranks beyond the largest one, P, give what
// they have to the rank P below them first, and get the result from it at the
// end. Six ranks, P = 4:
//
//   step 0   4 -> 0, 5 -> 1      steps 1, 2 as above      step 3   0 -> 4, 1 ->
//   5
//
// Two partners add the same two operands; both put the lower rank's first, so
// that they get the same bits whatever the operation. Those depend on neither
// count nor slice.

RecursiveDoublingSchedule::RecursiveDoublingSchedule(int rank, int ranks,
                                                     std::size_t count,
                                                     std::size_t slice_elements)
    : Schedule(rank, ranks, count, slice_elements) {
  rounds_ = static_cast<std::size_t>(
      std::bit_width(static_cast<unsigned>(ranks)) - 1);
  extra_ = ranks - (1 << rounds_);
  cut(count);
}

std::size_t RecursiveDoublingSchedule::size() const {
  const bool is_extra = rank() >= (1 << rounds_);
  const std::size_t steps = is_extra ? 2 : rounds_ + (rank() < extra_ ? 2 : 0);
  return steps * slices();
}

Exchange RecursiveDoublingSchedule::operator[](std::size_t index) const {
  const int power = 1 << rounds_;
  const bool is_extra = rank() >= power;
  const bool has_extra = rank() < extra_;
  const std::size_t mine = index / slices();
  const std::size_t slice = index % slices();
  const std::size_t last = size() / slices() - 1;
  const Range range = share({0, count()}, slices(), slice);
  const std::size_t before = extra_ > 0 ? 1 : 0;  // steps before the doubling

  if (is_extra || (has_extra && (mine == 0 || mine == last))) {
    const bool reducing = mine == 0;
    const Message message{is_extra ? rank() - power : rank() + power, 0, range};
    const bool sends = reducing == is_extra;
    return {.phase = reducing ? Phase::kReduce : Phase::kBroadcast,
            .step = reducing ? 0 : rounds_ + 1,
            .slice = slice,
            .send = sends ? message : Message{},
            .receive = sends ? Message{} : message,
            .arrival = reducing ? Arrival::kSecondOperand : Arrival::kReplaces};
  }
  const std::size_t round = mine - (has_extra ? 1 : 0);
  const int partner = rank() ^ (1 << round);
  return {.phase = Phase::kExchange,
          .step = before + round,
          .slice = slice,
          .send = {partner, 0, range},
          .receive = {partner, 0, range},
          .arrival = partner < rank() ? Arrival::kFirstOperand
                                      : Arrival::kSecondOperand};
}

}  // namespace ringlet
