#include "support/cudacpu/device_memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>

#include "support/cudacpu/sanitizers.h"

namespace cudacpu {
namespace {

constexpr std::size_t kAlignment = 256;  // cudaMalloc's
constexpr std::size_t kAddresses = std::size_t{64} << 30;

// At least one byte lies between two allocations.
std::size_t stride_of(std::size_t bytes) {
  return (bytes / kAlignment + 1) * kAlignment;
}

struct Arena {
  std::mutex mutex;
  std::byte* begin;
  std::size_t used = 0, in_use = 0;
  std::map<const void*, std::size_t> sizes;  // of what is allocated
  int accesses = 0;                          // DeviceAccess alive

  Arena() {
    void* memory = mmap(nullptr, kAddresses, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    begin = static_cast<std::byte*>(memory);
  }

  void protect(int protection) {
    if (used > 0) mprotect(begin, used, protection);
  }

  // Takes what was freed at the end back, so that there is less to protect.
  void shrink() {
    std::size_t end = 0;
    if (!sizes.empty()) {
      const auto& [memory, bytes] = *sizes.rbegin();
      end = static_cast<std::size_t>(static_cast<const std::byte*>(memory) -
                                     begin) +
            stride_of(bytes);
    }
    mprotect(begin + end, used - end, PROT_NONE);
    used = end;
  }
};

// Made before any thread, since ThreadSanitizer does not see what this file
// does at first use; never destroyed, since it may be needed at exit.
Arena& g_arena = *new Arena;
Arena& arena() { return g_arena; }

}  // namespace

void* allocate_device(std::size_t bytes) {
  Arena& all = arena();
  const std::lock_guard lock(all.mutex);
  const std::size_t stride = stride_of(bytes);
  if (all.used + stride > kAddresses) throw std::bad_alloc();
  std::byte* memory = all.begin + all.used;
  all.used += stride;
  if (all.accesses > 0) all.protect(PROT_READ | PROT_WRITE);
  asan::forbid(memory, stride);
  asan::allow(memory, bytes);
  all.sizes[memory] = bytes;
  all.in_use += bytes;
  return memory;
}

void free_device(void* memory) {
  Arena& all = arena();
  const std::lock_guard lock(all.mutex);
  const auto found = all.sizes.find(memory);
  if (found == all.sizes.end()) {
    throw std::runtime_error("cudacpu: freed what is not allocated");
  }
  const std::size_t bytes = found->second;
  all.in_use -= bytes;
  all.sizes.erase(found);
  asan::forbid(memory, bytes);
  // The last page may be the next one's first.
  constexpr std::size_t kPage = 4096;
  const auto at = reinterpret_cast<std::uintptr_t>(memory);
  const std::uintptr_t first = (at + kPage - 1) / kPage * kPage;
  const std::uintptr_t end = (at + bytes) / kPage * kPage;
  if (end > first) {
    madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTNEED);
  }
  all.shrink();
}

std::size_t device_bytes_in_use() {
  Arena& all = arena();
  const std::lock_guard lock(all.mutex);
  return all.in_use;
}

bool is_device_memory(const void* pointer) {
  Arena& all = arena();
  const std::lock_guard lock(all.mutex);
  const auto after = all.sizes.upper_bound(pointer);
  if (after == all.sizes.begin()) return false;
  const auto& [memory, bytes] = *std::prev(after);
  const auto offset = static_cast<const std::byte*>(pointer) -
                      static_cast<const std::byte*>(memory);
  // One past the end is a pointer too: of an empty array, say.
  return static_cast<std::size_t>(offset) <= bytes;
}

DeviceAccess::DeviceAccess() {
  Arena& all = arena();
  const std::lock_guard lock(all.mutex);
  if (all.accesses++ == 0) all.protect(PROT_READ | PROT_WRITE);
}

DeviceAccess::~DeviceAccess() {
  Arena& all = arena();
  const std::lock_guard lock(all.mutex);
  if (--all.accesses == 0) all.protect(PROT_NONE);
}

void check_kernel_pointer(const void* pointer, std::size_t argument) {
  if (pointer == nullptr || is_device_memory(pointer)) return;
  throw std::runtime_error("cudacpu: argument " + std::to_string(argument) +
                           " of a kernel is no pointer to device memory");
}

}  // namespace cudacpu
