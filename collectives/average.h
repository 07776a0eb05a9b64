#pragma once

#include <cstddef>
#include <span>

#include "kernels/runtime/dtype.h"

namespace ringlet {

// The mean of `operands`, `count` elements each, added in reduce_tree's order,
// into all `targets`: block by block, so that an element is divided and copied
// while it is in the cache.
void average_tree(std::span<void* const> targets,
                  std::span<const void* const> operands, std::size_t count,
                  Dtype dtype);

}  // namespace ringlet
