#include "collectives/network_time.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/runtime/error.h"

namespace ringlet {

Nanoseconds nanoseconds(double seconds) {
  return static_cast<Nanoseconds>(std::llround(seconds * 1e9));
}

Nanoseconds time_of(std::size_t bytes, double bandwidth) {
  return nanoseconds(static_cast<double>(bytes) / bandwidth);
}

Nanoseconds Way::take(Nanoseconds ready, Nanoseconds duration) {
  const Nanoseconds start = std::max(ready, free_);
  free_ = start + duration;
  return start;
}

void check_time(const char* what, double seconds) {
  if (!(0 <= seconds && seconds <= 1e9)) {
    throw Error(fmt::format("{} of {} s, expected 0 to 1e9", what, seconds));
  }
}

void check_bandwidth(const char* what, double bandwidth) {
  if (!(bandwidth >= 1)) {
    throw Error(
        fmt::format("{} of {} bytes/s, expected at least 1", what, bandwidth));
  }
}

void check_link(int from, int to, int size) {
  if (std::min(from, to) < 0 || std::max(from, to) >= size) {
    throw Error(fmt::format("a link from rank {} to {}, expected 0 to {}", from,
                            to, size - 1));
  }
}

}  // namespace ringlet
