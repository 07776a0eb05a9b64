#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "kernels/runtime/buffer.h"

namespace ringlet {

// Memory that is handed out in pieces and comes back, and is kept. A request
// takes the smallest free piece that holds it; what is released joins its free
// neighbours. Backward frees the activations in the reverse order of their
// making, so that they become one piece again, of which the gradients of
// earlier, larger layers are cut: the peak stays near what is in use.
class Arena {
 public:
  // `guarded`: AddressSanitizer is to find who uses what was released.
  explicit Arena(bool guarded = true) : guarded_(guarded) {}
  virtual ~Arena() = default;

  std::byte* acquire(std::size_t bytes);
  void release(std::byte* start, std::size_t bytes);
  AllocatorStats stats();

 protected:
  struct Piece {
    std::byte* start;
    std::size_t bytes;
  };

  // Memory from the system so that a request for `bytes` can be met. The last
  // free piece ends at `end` with `at_end` bytes, if there is one there: memory
  // that begins at `end` joins it. Throws where the system has no more.
  virtual Piece grow(std::byte* end, std::size_t at_end, std::size_t bytes) = 0;

 private:
  void add_memory(std::size_t bytes);
  void add_piece(std::byte* start, std::size_t bytes);
  void add_joined(std::byte* start, std::size_t bytes);

  const bool guarded_;
  std::mutex mutex_;
  // The free pieces, twice.
  std::map<std::byte*, std::size_t> by_start_;
  std::set<std::pair<std::size_t, std::byte*>> by_size_;
  std::byte* end_ = nullptr;  // of what the system gave last
  AllocatorStats stats_;
};

}  // namespace ringlet
