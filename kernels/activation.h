#pragma once

#include <cstddef>

#include "kernels/runtime/dtype.h"
#include "kernels/runtime/layout.h"

namespace ringlet {

// The sizes of a [n, c, h, w] activation, and how it lies in memory.
struct Activation {
  std::size_t n, c, h, w;
  Layout layout;
  Dtype dtype = Dtype::kF32;

  std::size_t pixels() const { return h * w; }
  // Elements in memory: channels rounded up to whole blocks.
  std::size_t storage_count() const {
    return n * round_up(c, block_of(layout)) * pixels();
  }
};

}  // namespace ringlet
