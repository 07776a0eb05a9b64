#include "collectives/broadcast.h"

namespace ringlet {

// The ranks that have the data double in each round. Counted from the root,
// eight ranks (a rank's parent is itself without its lowest set bit):
//
//   round 0   0 ----------> 4
//   round 1   0 ----> 2     4 ----> 6
//   round 2   0 -> 1  2 -> 3  4 -> 5  6 -> 7
void tree_broadcast(Transport& transport, void* data, std::size_t bytes,
                    int root) {
  const int size = transport.size();
  const int place = (transport.rank() - root + size) % size;
  const auto rank_at = [&](int other) { return (other + root) % size; };

  int bit = 1;
  while (bit < size && (place & bit) == 0) bit *= 2;
  if (place != 0) {
    const auto receive = transport.irecv(rank_at(place - bit), data, bytes);
    transport.wait(*receive);
  }
  for (bit /= 2; bit > 0; bit /= 2) {
    if (place + bit >= size) continue;
    const auto send = transport.isend(rank_at(place + bit), data, bytes);
    transport.wait(*send);
  }
}

}  // namespace ringlet
