#pragma once

#include <cstddef>
#include <cstdint>

namespace ringlet {

// What simulated and shaped networks reckon with, in whole nanoseconds.
using Nanoseconds = std::int64_t;

Nanoseconds nanoseconds(double seconds);
// How long a message takes at that many bytes/s.
Nanoseconds time_of(std::size_t bytes, double bandwidth);

// One direction of a rank's connection: messages pass one after the other.
class Way {
 public:
  // When a message starts that is ready at that time.
  Nanoseconds take(Nanoseconds ready, Nanoseconds duration);

 private:
  Nanoseconds free_ = 0;
};

// Throw Error for a time outside 0 .. 1e9 seconds, for less than 1 byte/s and
// for a link between ranks that are none.
void check_time(const char* what, double seconds);
void check_bandwidth(const char* what, double bandwidth);
void check_link(int from, int to, int size);

}  // namespace ringlet
