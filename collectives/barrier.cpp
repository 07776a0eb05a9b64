#include "collectives/barrier.h"

namespace ringlet {

// In round k each rank tells the rank 2^k further on that it has come, and
// waits for the word of the rank 2^k before it. Who has finished round k has
// heard, through others, of the 2^(k+1) - 1 ranks before it:
//
//   round 0   0 -> 1 -> 2 -> 3 -> 0
//   round 1   0 -> 2, 1 -> 3, 2 -> 0, 3 -> 1
void dissemination_barrier(Journal& journal) {
  const int rank = journal.transport().rank();
  const int size = journal.transport().size();
  Place round{Phase::kBarrier, 0};
  for (int distance = 1; distance < size; distance *= 2, ++round.step) {
    const int before = (rank + size - distance) % size;
    auto receive = journal.receive(round, before, nullptr, 0);
    auto send = journal.send(round, (rank + distance) % size, nullptr, 0);
    journal.wait(receive);
    journal.wait(send);
  }
}

}  // namespace ringlet
