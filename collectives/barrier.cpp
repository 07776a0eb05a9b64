#include "collectives/barrier.h"

namespace ringlet {

// In round k each rank tells the rank 2^k further on that it has come, and
// waits for the word of the rank 2^k before it. Who has finished round k has
// heard, through others, of the 2^(k+1) - 1 ranks before it:
//
//   round 0   0 -> 1 -> 2 -> 3 -> 0
//   round 1   0 -> 2, 1 -> 3, 2 -> 0, 3 -> 1
void dissemination_barrier(Transport& transport) {
  const int rank = transport.rank();
  const int size = transport.size();
  for (int distance = 1; distance < size; distance *= 2) {
    const int before = (rank + size - distance) % size;
    const auto receive = transport.irecv(before, nullptr, 0);
    const auto send = transport.isend((rank + distance) % size, nullptr, 0);
    transport.wait(*receive);
    transport.wait(*send);
  }
}

}  // namespace ringlet
