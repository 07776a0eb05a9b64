#include "bench/profile/allocations.h"

#include <atomic>
#include <cerrno>
#include <cstdlib>

// glibc's own allocator under the names that it keeps for such a purpose.
extern "C" {
void* __libc_malloc(std::size_t bytes);
void* __libc_calloc(std::size_t count, std::size_t bytes);
void* __libc_realloc(void* memory, std::size_t bytes);
void* __libc_memalign(std::size_t alignment, std::size_t bytes);
}

namespace {

std::atomic<std::size_t> all_bytes{0}, all_calls{0}, all_large_calls{0};

void count(std::size_t bytes) {
  all_bytes.fetch_add(bytes, std::memory_order_relaxed);
  all_calls.fetch_add(1, std::memory_order_relaxed);
  if (bytes > ringlet::kLargeAllocation) {
    all_large_calls.fetch_add(1, std::memory_order_relaxed);
  }
}

}  // namespace

extern "C" {

void* malloc(std::size_t bytes) {
  count(bytes);
  return __libc_malloc(bytes);
}

void* calloc(std::size_t items, std::size_t bytes) {
  count(items * bytes);
  return __libc_calloc(items, bytes);
}

void* realloc(void* memory, std::size_t bytes) {
  count(bytes);
  return __libc_realloc(memory, bytes);
}

void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  count(bytes);
  return __libc_memalign(alignment, bytes);
}

void* memalign(std::size_t alignment, std::size_t bytes) {
  count(bytes);
  return __libc_memalign(alignment, bytes);
}

int posix_memalign(void** memory, std::size_t alignment, std::size_t bytes) {
  count(bytes);
  *memory = __libc_memalign(alignment, bytes);
  return *memory == nullptr ? ENOMEM : 0;
}

}  // extern "C"

namespace ringlet {

AllocationCounts allocation_counts() {
  return {all_bytes, all_calls, all_large_calls};
}

}  // namespace ringlet
