#pragma once

#include <cstddef>

namespace ringlet {

// What memory lets one core do with buffers of one size, in bytes/s, counted as
// the loop's own loads and stores (the cache may also read a line before it is
// written over, which is not counted):
//
//   read  sum += a[i]     1 byte per byte of a buffer
//   copy  b[i] = a[i]     2
//   add   a[i] += b[i]    3
//
// As in STREAM (McCalpin, "Memory Bandwidth and Machine Balance", 1995), but
// also for sizes that fit into a cache: the bound of an operation on such
// buffers, to be measured in the same process as the operation.
struct MemoryLimit {
  double read;
  double copy;
  double add;
};

// Medians of `repeats` passes of each kind, on this thread; ranks that share
// the memory call it at the same time. A pass goes over the buffer often enough
// to move at least 4 MiB, so that the clock's reading (25 ns) does not count.
// Cost: two buffers of `bytes`, and 6 bytes moved per byte and repeat. Throws
// std::invalid_argument for fewer bytes than a float or fewer than one repeat.
MemoryLimit measure_memory_limit(std::size_t bytes, int repeats);

}  // namespace ringlet
