#include "kernels/runtime/arena.h"

#include <sanitizer/asan_interface.h>

#include <iterator>

namespace ringlet {

std::byte* Arena::acquire(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  auto best = by_size_.lower_bound({bytes, nullptr});
  if (best == by_size_.end()) {
    add_memory(bytes);
    best = by_size_.lower_bound({bytes, nullptr});
  }
  const auto [size, start] = *best;
  by_size_.erase(best);
  by_start_.erase(start);
  if (size > bytes) add_piece(start + bytes, size - bytes);
  stats_.bytes_in_use += bytes;
  return start;
}

void Arena::release(std::byte* start, std::size_t bytes) {
  if (guarded_) ASAN_POISON_MEMORY_REGION(start, bytes);
  const std::lock_guard lock(mutex_);
  stats_.bytes_in_use -= bytes;
  add_joined(start, bytes);
}

AllocatorStats Arena::stats() {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void Arena::add_memory(std::size_t bytes) {
  std::size_t at_end = 0;
  if (!by_start_.empty()) {
    const auto& [start, size] = *std::prev(by_start_.end());
    if (start + size == end_) at_end = size;
  }
  const Piece added = grow(end_, at_end, bytes);
  end_ = added.start + added.bytes;
  if (guarded_) ASAN_POISON_MEMORY_REGION(added.start, added.bytes);
  stats_.bytes_from_system += added.bytes;
  ++stats_.blocks_from_system;
  add_joined(added.start, added.bytes);
}

void Arena::add_piece(std::byte* start, std::size_t bytes) {
  by_start_.emplace(start, bytes);
  by_size_.emplace(bytes, start);
}

void Arena::add_joined(std::byte* start, std::size_t bytes) {
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

}  // namespace ringlet
