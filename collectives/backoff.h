#pragma once

#include <chrono>

namespace ringlet {

// How often to poll in a tight loop before giving the core away: about 5
// microseconds' worth where each thread of each rank has a core of its own,
// hardly at all where they share cores. (A rank that spins on a core its
// partner needs stops both until the scheduler's next tick, 4 ms later.)
int spin_budget(int ranks_on_host, int threads_per_rank, int cores);

// Cores of this host.
int host_cores();

// What a loop that polls does between two polls: spins while its budget lasts,
// then yields the core each time. If nobody is held up it sleeps instead, for
// growing times up to half a millisecond.
class Backoff {
 public:
  explicit Backoff(int spins) : spins_left_(spins) {}

  void pause(bool urgent);

 private:
  int spins_left_;
  std::chrono::microseconds sleep_{20};
};

}  // namespace ringlet
