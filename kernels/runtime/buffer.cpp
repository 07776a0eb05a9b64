#include "kernels/runtime/buffer.h"

#include <fmt/format.h>
#include <sanitizer/asan_interface.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <iterator>
#include <map>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "kernels/runtime/error.h"
#include "kernels/runtime/layout.h"

namespace ringlet {
namespace {

constexpr std::size_t kAlignment = 64;  // a cache line, a zmm register
constexpr std::size_t kPage = 4096;     // rounding of what is larger
constexpr std::size_t kLarge = std::size_t{1} << 20;
constexpr std::size_t kGrowth = std::size_t{16} << 20;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

// One range of addresses that grows and never shrinks. A request takes the
// smallest free piece that holds it; what is released joins its free
// neighbours. Backward frees the activations in the reverse order of their
// making, so that they become one piece again, of which the gradients of
// earlier, larger layers are cut: the peak stays near what is in use.
class Arena {
 public:
  explicit Arena(bool huge_pages = false) : huge_pages_(huge_pages) {}

  std::byte* acquire(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    auto best = by_size_.lower_bound({bytes, nullptr});
    if (best == by_size_.end()) {
      grow(bytes);
      best = by_size_.lower_bound({bytes, nullptr});
    }
    const auto [size, start] = *best;
    by_size_.erase(best);
    by_start_.erase(start);
    if (size > bytes) add_piece(start + bytes, size - bytes);
    stats_.bytes_in_use += bytes;
    return start;
  }

  void release(std::byte* start, std::size_t bytes) {
    ASAN_POISON_MEMORY_REGION(start, bytes);
    const std::lock_guard lock(mutex_);
    stats_.bytes_in_use -= bytes;
    add_joined(start, bytes);
  }

  AllocatorStats stats() {
    const std::lock_guard lock(mutex_);
    return stats_;
  }

 private:
  // Asks for memory right behind the range; the system may give other
  // addresses, where the pieces then join nothing.
  void grow(std::size_t bytes) {
    if (end_ == nullptr) end_ = room_to_grow();
    std::size_t at_end = 0;
    if (!by_start_.empty()) {
      const auto& [start, size] = *std::prev(by_start_.end());
      if (start + size == end_) at_end = size;
    }
    std::size_t added = round_up(bytes - at_end, kGrowth);
    std::byte* start = map(end_, added);
    if (start != end_ && added < bytes) {
      munmap(start, added);
      added = round_up(bytes, kGrowth);
      start = map(nullptr, added);
    }
    end_ = start + added;
    ASAN_POISON_MEMORY_REGION(start, added);
    stats_.bytes_from_system += added;
    ++stats_.blocks_from_system;
    add_joined(start, added);
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

  void add_piece(std::byte* start, std::size_t bytes) {
    by_start_.emplace(start, bytes);
    by_size_.emplace(bytes, start);
  }

  void add_joined(std::byte* start, std::size_t bytes) {
    auto next = by_start_.lower_bound(start);
    if (next != by_start_.begin()) {
      const auto before = std::prev(next);
      if (before->first + before->second == start) {
        start = before->first;
        bytes += before->second;
        by_size_.erase({before->second, before->first});
        by_start_.erase(before);
      }
    }
    if (next != by_start_.end() && start + bytes == next->first) {
      bytes += next->second;
      by_size_.erase({next->second, next->first});
      by_start_.erase(next);
    }
    add_piece(start, bytes);
  }

  const bool huge_pages_;
  std::mutex mutex_;
  // The free pieces, twice.
  std::map<std::byte*, std::size_t> by_start_;
  std::set<std::pair<std::size_t, std::byte*>> by_size_;
  std::byte* end_ = nullptr;  // of the range
  AllocatorStats stats_;
};

// Small blocks have a range of their own: they come and go in another order,
// and one that stays would split the large pieces. Never destroyed: Buffers in
// static objects may outlive any order of ends.
struct Arenas {
  Arena small, large, huge_pages{true};

  static Arenas& get() {
    static auto* arenas = new Arenas;
    return *arenas;
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
