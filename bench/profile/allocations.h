#pragma once

#include <cstddef>

namespace ringlet {

// What this process asked of malloc and its relatives so far. Counted by
// replacing them: only programs that link this file pay for it.
struct AllocationCounts {
  std::size_t bytes = 0;
  std::size_t calls = 0;
  std::size_t large_calls = 0;  // above kLargeAllocation
};
inline constexpr std::size_t kLargeAllocation = 64 << 10;

AllocationCounts allocation_counts();

}  // namespace ringlet
