#include "kernels/runtime/device.h"

#include <cstring>

#include "kernels/runtime/cuda_library.h"

namespace ringlet {

std::string why_no_cuda() { return cuda::why_none(); }

void copy_memory(void* to, Device to_device, const void* from,
                 Device from_device, std::size_t bytes) {
  if (bytes == 0) return;
  if (to_device == Device::kCpu && from_device == Device::kCpu) {
    std::memcpy(to, from, bytes);
    return;
  }
  cuda::library().copy(to, from, bytes);
  if (to_device != from_device) cuda::library().synchronize();
}

void fill_memory_with_zeros(void* memory, Device device, std::size_t bytes) {
  if (device == Device::kCuda) {
    return cuda::library().fill_with_zeros(memory, bytes);
  }
  std::memset(memory, 0, bytes);
}

void synchronize(Device device) {
  if (device == Device::kCuda) cuda::library().synchronize();
}

}  // namespace ringlet
