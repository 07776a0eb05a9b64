#include "support/cudacpu/recording.h"

#include <map>
#include <mutex>
#include <new>
#include <optional>
#include <stdexcept>
#include <utility>

namespace cudacpu {
namespace {

thread_local std::optional<Work> t_recorded;

struct Pinned {
  std::mutex mutex;
  std::map<const std::byte*, std::size_t> sizes;
};

// Made and kept like the device's memory.
Pinned& g_pinned = *new Pinned;
Pinned& pinned() { return g_pinned; }

}  // namespace

void enqueue(std::function<void()> action) {
  if (!t_recorded) return action();
  t_recorded->push_back(std::move(action));
}

void begin_recording() {
  if (t_recorded) throw std::runtime_error("cudacpu: records already");
  t_recorded.emplace();
}

Work end_recording() {
  if (!t_recorded) throw std::runtime_error("cudacpu: does not record");
  return *std::exchange(t_recorded, std::nullopt);
}

bool is_recording() { return t_recorded.has_value(); }

void* allocate_pinned(std::size_t bytes) {
  auto* memory = static_cast<std::byte*>(::operator new(bytes));
  const std::lock_guard lock(pinned().mutex);
  pinned().sizes[memory] = bytes;
  return memory;
}

void free_pinned(void* memory) {
  {
    const std::lock_guard lock(pinned().mutex);
    pinned().sizes.erase(static_cast<const std::byte*>(memory));
  }
  ::operator delete(memory);
}

bool is_pinned(const void* memory) {
  const auto* byte = static_cast<const std::byte*>(memory);
  const std::lock_guard lock(pinned().mutex);
  const auto after = pinned().sizes.upper_bound(byte);
  if (after == pinned().sizes.begin()) return false;
  const auto& [begin, bytes] = *std::prev(after);
  return byte < begin + bytes;
}

}  // namespace cudacpu
