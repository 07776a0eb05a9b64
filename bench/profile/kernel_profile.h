#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "kernels/backend.h"

namespace ringlet {

// Counts and times the calls of this thread's kernels on one device, by putting
// itself between the engine and the backend for as long as it lives. Cost: two
// readings of the clock per call, on CUDA two events.
class KernelProfile {
 public:
  struct Entry {
    const char* name;  // "conv forward", ...
    double seconds = 0;
    double flops = 0;  // nominal: 2 per multiply-add, padding included
    double bytes = 0;  // of the arrays, each once per pass over it
    std::size_t calls = 0;
  };

  explicit KernelProfile(Device device = Device::kCpu);
  ~KernelProfile();
  KernelProfile(const KernelProfile&) = delete;
  KernelProfile& operator=(const KernelProfile&) = delete;

  // Those that were called since the last reset(); waits for the device.
  std::vector<Entry> entries();
  void reset();

 private:
  struct Families;
  std::unique_ptr<Families> families_;
};

}  // namespace ringlet
