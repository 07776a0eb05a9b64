#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>

#include "collectives/transport.h"

namespace ringlet {

// How a transport is slowed down. As it stands not at all.
struct NetworkShape {
  // Both ways between two ranks, instead of the values of all the others.
  struct Link {
    int a = 0;
    int b = 0;
    double latency = 0;
    double bandwidth = 0;
  };

  static constexpr double kUnlimited = std::numeric_limits<double>::infinity();

  double latency = 0;             // seconds
  double bandwidth = kUnlimited;  // bytes/s of each rank, out and in at once
  double jitter = 0;              // seconds: up to this much more latency
  std::uint64_t seed = 0;         // of the jitter
  std::optional<Link> slow_link = {};
};

// Makes `inner`, a transport over MPI or between threads, as slow as a network
// that one does not have. Every rank wraps its own, with the same shape.
//
// Each rank goes by its own clock alone, and holds requests back:
//
// - A message sets out for its receiver when that finds it there, while it
//   tests or waits for this or another request. It takes the rank's way in for
//   bytes / bandwidth, one after the other, and the receive is done `latency`
//   and a random part of `jitter` after that, in order for each peer.
// - A send takes the rank's way out for bytes / bandwidth, in the order of the
//   isends, and is done when it has passed, and the inner one is done.
//
// So a message sets out when both sides are there, as by rendezvous; latencies
// of several run side by side, and beside what the receiver computes. A message
// over the slow link takes up the ways at both ends for as long as it takes.
// Nothing is ever done too early. What it takes `inner` to carry a message
// comes on top. Where that is small and cores are free, latencies from 100
// microseconds on, and bandwidths, are meant to be met within 5 %;
// bench/shape_check measures it.
//
// No thread is started. A wait yields the core at first and just before its
// end, and sleeps in between. Throws Error for a time outside 0 .. 1e9 seconds,
// for less than 1 byte/s and for ranks that are none.
std::unique_ptr<Transport> make_shaped_transport(
    std::unique_ptr<Transport> inner, const NetworkShape& shape);

}  // namespace ringlet
