#pragma once

#include <cstddef>
#include <string>

namespace ringlet {

// Where memory lies and kernels run. kCpu is there on every machine; kCuda is
// the GPU that this process uses.
//
// Work on kCuda is enqueued on a stream that the calling thread has to itself:
// a function returns before the work is done, and the thread's next work comes
// after it.
enum class Device { kCpu, kCuda };

// "cpu", "cuda".
constexpr const char* name_of(Device device) {
  return device == Device::kCuda ? "cuda" : "cpu";
}

// Why this process has no kCuda, in words for the user; empty where it has.
std::string why_no_cuda();

// Copies between any two places; afterwards `from` may be overwritten, and what
// was copied to the CPU may be read.
void copy_memory(void* to, Device to_device, const void* from,
                 Device from_device, std::size_t bytes);

void fill_memory_with_zeros(void* memory, Device device, std::size_t bytes);

// Waits for all that this thread has enqueued; errors of kernels show here.
void synchronize(Device device);

}  // namespace ringlet
