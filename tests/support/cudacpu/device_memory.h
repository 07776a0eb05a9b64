#pragma once

#include <cstddef>

// The "device's" memory: host memory that only kernels and copies may touch.
// Host code that uses a device pointer gets a segmentation fault, a kernel that
// gets a pointer to the host's an error, and AddressSanitizer fences each
// allocation to the byte.
namespace cudacpu {

void* allocate_device(std::size_t bytes);  // at a multiple of 256
void free_device(void* memory);            // throws for what is none
std::size_t device_bytes_in_use();

// Whether `pointer` lies in an allocation of the device.
bool is_device_memory(const void* pointer);

// What another process needs to map the allocation that `memory` lies in.
struct SharedMemory {
  int process, file;
  std::size_t offset, bytes;
};
SharedMemory share_device(const void* memory);
void* open_device(const SharedMemory& shared);  // null: there is no such
void close_device(void* memory);

// Memory of the host that a graph may copy to and from.
void* allocate_pinned(std::size_t bytes);
void free_pinned(void* memory);
bool is_pinned(const void* memory);

// The device's memory may be touched while one of these lives.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

// Throws std::runtime_error unless `pointer` is null or the device's.
void check_kernel_pointer(const void* pointer, std::size_t argument);

}  // namespace cudacpu
