#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include "kernels/runtime/device.h"

namespace ringlet {

// Of 4 KiB, or of 2 MiB where the system has them. Another process reads from
// huge pages much faster, since it looks up one for 512, so arrays that are
// communicated lie there; what only computes gains nothing, and its first use
// is slower.
enum class Pages { kSmall, kHuge };

// A shared handle to a piece of memory; the last copy gives it back.
class Buffer {
 public:
  Buffer() = default;

  // Wraps memory that somebody else made; `memory`'s deleter gives it back.
  Buffer(std::shared_ptr<std::byte> memory, std::size_t bytes,
         Device device = Device::kCpu)
      : memory_(std::move(memory)), bytes_(bytes), device_(device) {}

  // Uninitialised memory at a multiple of 64 bytes, from the process's arena
  // (see AllocatorStats). Cost after warm-up: a lock and two look-ups.
  static Buffer allocate(std::size_t bytes, Pages pages = Pages::kSmall);

  // The same on a device. What lies on kCuda is for the work of the thread that
  // asked for it; its address is a multiple of 256.
  static Buffer allocate(std::size_t bytes, Device device);

  // Memory of the host that a GPU copies to and from without a detour.
  static Buffer allocate_pinned(std::size_t bytes);

  // The memory stays until the process ends, for a library that may still write
  // to it after an error.
  void keep() const;

  std::byte* data() const { return memory_.get(); }
  std::size_t bytes() const { return bytes_; }
  Device device() const { return device_; }

 private:
  std::shared_ptr<std::byte> memory_;
  std::size_t bytes_ = 0;
  Device device_ = Device::kCpu;
};

// Memory on kCuda apart from the rest, for what a recorded graph uses: each
// time that it is launched it writes there again, so nothing else may lie there
// meanwhile.
class DevicePool {
 public:
  DevicePool();

  // While one lives, this thread's new Buffers on kCuda come from the pool.
  class Use {
   public:
    explicit Use(const DevicePool& pool);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    std::shared_ptr<void> before_;
  };

 private:
  std::shared_ptr<void> arenas_;
};

// Released memory is kept and handed out again, never returned to the operating
// system: after the first steps of a training run no step asks the system for
// memory, and none pays for page faults. (A malloc that maps and unmaps large
// blocks at each step halves the speed of CPU training.)
//
// These are of memory on the CPU.
struct AllocatorStats {
  std::size_t bytes_from_system = 0;   // ever; never shrinks
  std::size_t bytes_in_use = 0;        // in live Buffers, rounded up
  std::size_t blocks_from_system = 0;  // how often the system was asked
};
AllocatorStats allocator_stats();

}  // namespace ringlet
