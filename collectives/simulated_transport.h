#pragma once

#include <limits>
#include <memory>
#include <vector>

#include "collectives/thread_transport.h"

namespace ringlet {

// What a simulated network is like. As it stands it costs nothing.
struct SimulatedNetwork {
  // The way from one rank to another, where it is not as all the others.
  struct Link {
    int from = 0;
    int to = 0;
    double latency = 0;
    double bandwidth = 0;
  };

  static constexpr double kUnlimited = std::numeric_limits<double>::infinity();

  double latency = 0;             // seconds from a byte's departure to arrival
  double bandwidth = kUnlimited;  // bytes/s of each rank, out and in at once
  double adding = kUnlimited;     // bytes/s that a rank combines
  std::vector<Link> links = {};   // exceptions, one way each
  // Seconds, by rank; 0 for ranks that are not there.
  std::vector<double> start_delays = {};
};

// Threads as ranks on a network whose clock is arithmetic: times are the same
// on every machine and in every run, bit for bit, however the threads are
// scheduled. For lessons, for tests of what an algorithm costs, and to compare
// algorithms on networks that one does not have.
//
// Each rank has a clock of its own, Transport::now(), in nanoseconds; each
// duration is rounded to a whole one. It starts at the rank's start delay, and
// moves in three ways. B is the bandwidth, or the link's:
//
// - A send takes the rank's way out for bytes / B, in the order of the isends,
//   from when it was posted or from when the way is free. Waiting for it moves
//   the clock on to when its last byte has left, since its memory is then free.
// - A message's first byte is at the receiver `latency` later. It takes the
//   receiver's way in for bytes / B, in the order of the receiver's *waits*,
//   from then on or from when the way is free. Waiting for it moves the clock
//   on to when its last byte is there:
//
//     sender     | bytes / B |
//                 ` latency `.
//     receiver                | bytes / B |
//
// - reduced(bytes) moves it by bytes / adding.
//
// So a departure depends on what the sender did, and an arrival on that and on
// what the receiver did: nothing else can show. Messages of no bytes cost their
// latency. What several ranks send to one comes in one after the other, but
// their latencies run side by side.
//
// In virtual time sends are buffered. In real time they are synchronous, as in
// ThreadWorld: a wait returns when the other side is there, so whatever would
// deadlock does so here. Whether a message has come *yet* is a matter of the
// threads' scheduling, so Request::test() throws Error: wait instead.
class SimulatedWorld final : public ThreadWorld {
 public:
  // Throws Error where the network cannot be: a rank that is none, a time
  // outside 0 .. 1e9 seconds, less than 1 byte/s.
  SimulatedWorld(int size, const SimulatedNetwork& network);

 private:
  std::unique_ptr<Transport> make_transport(int rank) override;

  std::shared_ptr<const SimulatedNetwork> network_;
};

}  // namespace ringlet
