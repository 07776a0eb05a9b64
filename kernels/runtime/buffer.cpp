#include "kernels/runtime/buffer.h"

#include <fmt/format.h>

#include <cstdlib>
#include <map>
#include <mutex>
#include <vector>

#include "kernels/runtime/error.h"

namespace ringlet {
namespace {

constexpr std::size_t kAlignment = 64;       // a cache line, a zmm register
constexpr std::size_t kPageRounding = 4096;  // for blocks above one page
constexpr double kLargestWaste = 1.25;       // a block serves down to 80 %

class BlockCache {
 public:
  std::byte* acquire(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    auto block = free_.lower_bound(bytes);
    if (block != free_.end() &&
        static_cast<double>(block->first) <=
            static_cast<double>(bytes) * kLargestWaste) {
      std::byte* memory = block->second.back();
      block->second.pop_back();
      sizes_[memory].requested = bytes;
      stats_.bytes_in_use += bytes;
      if (block->second.empty()) free_.erase(block);
      return memory;
    }
    auto* memory =
        static_cast<std::byte*>(std::aligned_alloc(kAlignment, bytes));
    if (memory == nullptr) {
      throw Error(
          fmt::format("out of memory: the system refuses {} bytes", bytes));
    }
    sizes_[memory] = {bytes, bytes};
    stats_.bytes_in_use += bytes;
    stats_.bytes_from_system += bytes;
    ++stats_.blocks_from_system;
    return memory;
  }

  void release(std::byte* memory) {
    const std::lock_guard lock(mutex_);
    const Block& block = sizes_.at(memory);
    stats_.bytes_in_use -= block.requested;
    free_[block.size].push_back(memory);
  }

  AllocatorStats stats() {
    const std::lock_guard lock(mutex_);
    return stats_;
  }

 private:
  struct Block {
    std::size_t size;
    std::size_t requested;
  };

  std::mutex mutex_;
  std::map<std::size_t, std::vector<std::byte*>> free_;  // by block size
  std::map<std::byte*, Block> sizes_;
  AllocatorStats stats_;
};

// Never destroyed: Buffers in static objects may outlive any order of ends.
BlockCache& block_cache() {
  static auto* cache = new BlockCache;
  return *cache;
}

}  // namespace

Buffer Buffer::allocate(std::size_t bytes) {
  const std::size_t unit = bytes < kPageRounding ? kAlignment : kPageRounding;
  const std::size_t rounded = (bytes / unit + 1) * unit;
  std::byte* memory = block_cache().acquire(rounded);
  return Buffer(std::shared_ptr<std::byte>(
                    memory, [](std::byte* p) { block_cache().release(p); }),
                bytes);
}

AllocatorStats allocator_stats() { return block_cache().stats(); }

}  // namespace ringlet
