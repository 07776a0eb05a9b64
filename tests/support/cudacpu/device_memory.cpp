#include "support/cudacpu/device_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>

#include "support/cudacpu/sanitizers.h"

namespace cudacpu {
namespace {

constexpr std::size_t kAlignment = 256;  // cudaMalloc's
constexpr std::size_t kPage = 4096;
constexpr std::size_t kAddresses = std::size_t{64} << 30;

// At least one byte lies between two allocations.
std::size_t stride_of(std::size_t bytes) {
  return (bytes / kAlignment + 1) * kAlignment;
}

struct Arena {
  std::mutex mutex;
  std::byte* begin;
  std::size_t used = 0, in_use = 0;
  int file = memfd_create("device", MFD_CLOEXEC);
  using Pieces = std::map<const void*, std::size_t>;  // their bytes
  Pieces sizes;                                       // of what is allocated
  Pieces opened, pinned;  // of other processes, and of the host
  int accesses = 0;       // DeviceAccess alive

  Arena() {
    if (ftruncate(file, kAddresses) != 0) throw std::bad_alloc();
    void* memory = mmap(nullptr, kAddresses, PROT_NONE,
                        MAP_SHARED | MAP_NORESERVE, file, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    begin = static_cast<std::byte*>(memory);
  }

  // The piece that `pointer` lies in, or at whose end: that is a pointer too,
  // of an empty array, say.
  static std::optional<Pieces::value_type> find(const Pieces& pieces,
                                                const void* pointer) {
    const auto after = pieces.upper_bound(pointer);
    if (after == pieces.begin()) return std::nullopt;
    const auto& piece = *std::prev(after);
    const auto offset = static_cast<const std::byte*>(pointer) -
                        static_cast<const std::byte*>(piece.first);
    if (static_cast<std::size_t>(offset) > piece.second) return std::nullopt;
    return piece;
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
  const auto at = reinterpret_cast<std::uintptr_t>(memory);
  const std::uintptr_t first = (at + kPage - 1) / kPage * kPage;
  const std::uintptr_t end = (at + bytes) / kPage * kPage;
  if (end > first) {
    madvise(reinterpret_cast<void*>(first), end - first, MADV_REMOVE);
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
  return all.find(all.sizes, pointer) || all.find(all.opened, pointer);
}

SharedMemory share_device(const void* memory) {
  Arena& all = arena();
  const std::lock_guard lock(all.mutex);
  const auto found = all.find(all.sizes, memory);
  if (!found) throw std::runtime_error("cudacpu: shared what is not allocated");
  const auto* start = static_cast<const std::byte*>(found->first);
  return {getpid(), all.file, static_cast<std::size_t>(start - all.begin),
          found->second};
}

void* open_device(const SharedMemory& shared) {
  if (shared.process == getpid()) return nullptr;
  const std::string path = "/proc/" + std::to_string(shared.process) + "/fd/" +
                           std::to_string(shared.file);
  const int file = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (file < 0) return nullptr;
  const std::size_t skip = shared.offset % kPage;
  void* mapped =
      mmap(nullptr, skip + shared.bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
           file, static_cast<off_t>(shared.offset - skip));
  close(file);
  if (mapped == MAP_FAILED) return nullptr;
  std::byte* memory = static_cast<std::byte*>(mapped) + skip;
  Arena& all = arena();
  const std::lock_guard lock(all.mutex);
  all.opened[memory] = shared.bytes;
  return memory;
}

void close_device(void* memory) {
  Arena& all = arena();
  const std::lock_guard lock(all.mutex);
  const auto found = all.opened.find(memory);
  if (found == all.opened.end()) {
    throw std::runtime_error("cudacpu: closed what is not open");
  }
  const std::size_t skip = reinterpret_cast<std::uintptr_t>(memory) % kPage;
  munmap(static_cast<std::byte*>(memory) - skip, skip + found->second);
  all.opened.erase(found);
}

void* allocate_pinned(std::size_t bytes) {
  auto* memory = static_cast<std::byte*>(::operator new(bytes));
  const std::lock_guard lock(arena().mutex);
  arena().pinned[memory] = bytes;
  return memory;
}

void free_pinned(void* memory) {
  {
    const std::lock_guard lock(arena().mutex);
    arena().pinned.erase(memory);
  }
  ::operator delete(memory);
}

bool is_pinned(const void* memory) {
  const std::lock_guard lock(arena().mutex);
  return arena().find(arena().pinned, memory).has_value();
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
