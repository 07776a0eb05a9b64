#include "kernels/runtime/buffer.h"

#include <fmt/format.h>
#include <sanitizer/asan_interface.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "kernels/runtime/arena.h"
#include "kernels/runtime/cuda_library.h"
#include "kernels/runtime/error.h"
#include "kernels/runtime/layout.h"

namespace ringlet {
namespace {

constexpr std::size_t kAlignment = 64;  // a cache line, a zmm register
constexpr std::size_t kPage = 4096;     // rounding of what is larger
constexpr std::size_t kLarge = std::size_t{1} << 20;
constexpr std::size_t kGrowth = std::size_t{16} << 20;
constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kCudaAlignment = 256;
constexpr std::size_t kCudaGrowth = std::size_t{32} << 20;

std::atomic<std::size_t> g_cuda_bytes = 0;

double mebibytes(std::size_t bytes) {
  return static_cast<double>(bytes) / (1 << 20);
}

// One range of the process's addresses that grows and never shrinks.
class HostArena final : public Arena {
 public:
  explicit HostArena(bool huge_pages = false) : huge_pages_(huge_pages) {}

 private:
  // Asks for memory right behind the range; the system may give other
  // addresses, where the pieces then join nothing.
  Piece grow(std::byte* end, std::size_t at_end, std::size_t bytes) override {
    if (end == nullptr) end = room_to_grow();
    Piece added{nullptr, round_up(bytes - at_end, kGrowth)};
    added.start = map(end, added.bytes);
    if (added.start != end && added.bytes < bytes) {
      munmap(added.start, added.bytes);
      added.bytes = round_up(bytes, kGrowth);
      added.start = map(nullptr, added.bytes);
    }
    return added;
  }

  std::byte* map(std::byte* wished, std::size_t bytes) const {
    void* memory = mmap(wished, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
      throw Error(
          fmt::format("out of memory: the system refuses {} bytes", bytes));
    }
    // A wish: where the system has none, small pages do.
    if (huge_pages_) madvise(memory, bytes, MADV_HUGEPAGE);
    return static_cast<std::byte*>(memory);
  }

  // An address behind which as much is free as the machine has memory.
  static std::byte* room_to_grow() {
    const auto bytes = static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) *
                       static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    void* room = mmap(nullptr, bytes, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) return nullptr;  // anywhere, then
    munmap(room, bytes);
    const auto address = reinterpret_cast<std::uintptr_t>(room);
    return reinterpret_cast<std::byte*>(round_up(address, kHugePage));
  }

  const bool huge_pages_;
};

// The GPU's memory comes in chunks.
class CudaArena final : public Arena {
 public:
  using Arena::Arena;
  ~CudaArena() override {
    for (const Piece& chunk : chunks_) {
      cuda::library().release(chunk.start);
      g_cuda_bytes -= chunk.bytes + kCudaAlignment;
    }
  }

 private:
  Piece grow(std::byte*, std::size_t, std::size_t bytes) override {
    // One byte more than is handed out, so that pieces of two chunks never
    // join.
    const std::size_t chunk = round_up(bytes + 1, kCudaGrowth);
    void* memory = cuda::library().allocate(chunk);
    if (memory == nullptr) fail(chunk);
    g_cuda_bytes += chunk;
    chunks_.push_back(
        {static_cast<std::byte*>(memory), chunk - kCudaAlignment});
    return chunks_.back();
  }

  [[noreturn]] static void fail(std::size_t chunk) {
    const auto [free, total] = cuda::library().memory_info();
    throw OutOfMemoryError(fmt::format(
        "out of memory on the GPU: {:.0f} MiB more are needed, and {:.0f} of "
        "{:.0f} MiB are free; this process has taken {:.0f} MiB",
        mebibytes(chunk), mebibytes(free), mebibytes(total),
        mebibytes(g_cuda_bytes)));
  }

  std::vector<Piece> chunks_;
};

// Small blocks have a range of their own: they come and go in another order,
// and one that stays would split the large pieces. Never destroyed: Buffers in
// static objects may outlive any order of ends.
struct Arenas {
  HostArena small, large, huge_pages{true};

  static Arenas& get() {
    static auto* arenas = new Arenas;
    return *arenas;
  }
};

// Each thread has its own, as it has a stream: what is given back may still be
// used by work that was enqueued, and the thread's next work comes after that.
struct CudaArenas {
  explicit CudaArenas(bool guarded = true) : small(guarded), large(guarded) {}

  CudaArena small, large;

  // Those that this thread uses now.
  static std::shared_ptr<CudaArenas>& used() {
    thread_local auto arenas = std::make_shared<CudaArenas>();
    return arenas;
  }
};

}  // namespace

Buffer Buffer::allocate(std::size_t bytes, Pages pages) {
  // At least one byte more than asked for: nothing shares an address with its
  // neighbour's end, and blocks of 2^k bytes start in different cache sets.
  const std::size_t rounded =
      round_up(bytes + 1, bytes < kPage ? kAlignment : kPage);
  Arenas& arenas = Arenas::get();
  Arena& arena = rounded < kLarge         ? arenas.small
                 : pages == Pages::kSmall ? arenas.large
                                          : arenas.huge_pages;
  std::byte* memory = arena.acquire(rounded);
  ASAN_UNPOISON_MEMORY_REGION(memory, bytes);
  return Buffer(std::shared_ptr<std::byte>(memory,
                                           [&arena, rounded](std::byte* start) {
                                             arena.release(start, rounded);
                                           }),
                bytes);
}

Buffer Buffer::allocate(std::size_t bytes, Device device) {
  if (device == Device::kCpu) return allocate(bytes);
  const std::shared_ptr<CudaArenas>& arenas = CudaArenas::used();
  const std::size_t rounded = round_up(bytes + 1, kCudaAlignment);
  Arena& arena = rounded < kLarge ? arenas->small : arenas->large;
  std::byte* memory = arena.acquire(rounded);
  ASAN_UNPOISON_MEMORY_REGION(memory, bytes);
  return Buffer(
      std::shared_ptr<std::byte>(memory,
                                 [arenas, &arena, rounded](std::byte* start) {
                                   arena.release(start, rounded);
                                 }),
      bytes, device);
}

Buffer Buffer::allocate_pinned(std::size_t bytes) {
  void* memory = cuda::library().allocate_pinned(bytes);
  return Buffer(
      std::shared_ptr<std::byte>(
          static_cast<std::byte*>(memory),
          [](std::byte* pinned) { cuda::library().release_pinned(pinned); }),
      bytes);
}

// A graph uses what was released when it was recorded.
DevicePool::DevicePool() : arenas_(std::make_shared<CudaArenas>(false)) {}

DevicePool::Use::Use(const DevicePool& pool)
    : before_(
          std::exchange(CudaArenas::used(),
                        std::static_pointer_cast<CudaArenas>(pool.arenas_))) {}

DevicePool::Use::~Use() {
  CudaArenas::used() = std::static_pointer_cast<CudaArenas>(before_);
}

AllocatorStats allocator_stats() {
  Arenas& arenas = Arenas::get();
  AllocatorStats sum;
  for (Arena* arena : {&arenas.small, &arenas.large, &arenas.huge_pages}) {
    const AllocatorStats stats = arena->stats();
    sum.bytes_from_system += stats.bytes_from_system;
    sum.bytes_in_use += stats.bytes_in_use;
    sum.blocks_from_system += stats.blocks_from_system;
  }
  return sum;
}

void Buffer::keep() const {
  static std::mutex mutex;
  static auto* kept = new std::vector<Buffer>;  // not destroyed at the end
  const std::lock_guard lock(mutex);
  kept->push_back(*this);
}

}  // namespace ringlet
