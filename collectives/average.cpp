#include "collectives/average.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/reduce.h"

namespace ringlet {

void average_tree(std::span<void* const> targets,
                  std::span<const void* const> operands, std::size_t count,
                  Dtype dtype) {
  constexpr std::size_t kElements = 4096;
  std::vector<const void*> blocks(operands.size());
  for (std::size_t begin = 0; begin < count; begin += kElements) {
    const std::size_t length = std::min(kElements, count - begin);
    const std::size_t skip = begin * size_of(dtype);
    for (std::size_t i = 0; i < operands.size(); ++i) {
      blocks[i] = static_cast<const std::byte*>(operands[i]) + skip;
    }
    auto* first = static_cast<std::byte*>(targets[0]) + skip;
    reduce_tree(first, blocks.data(), blocks.size(), length, dtype,
                ReduceOp::kSum);
    scale(first, length, dtype, 1.0 / static_cast<double>(operands.size()));
    for (void* target : targets.subspan(1)) {
      std::memcpy(static_cast<std::byte*>(target) + skip, first,
                  length * size_of(dtype));
    }
  }
}

}  // namespace ringlet
