#pragma once

#include "kernels/conv.h"

namespace ringlet::cpu {

// Whether oneDNN's Winograd F(4x4, 3x3) kernels beat its direct ones: the
// committed table of algorithm choices, a function of the shape alone (oneDNN
// itself refuses Winograd below AVX-512, and the direct kernel is then used).
// bench/conv_table measures it: about twice as fast on maps of 8x8 and more,
// nothing gained on 4x4 maps, whose tiles are mostly border, and less with few
// channels.
inline bool prefers_winograd(const ConvShape& shape) {
  constexpr std::size_t kSmallestMap = 8;
  constexpr std::size_t kFewestChannels = 32;
  return shape.kernel_h == 3 && shape.kernel_w == 3 && shape.stride == 1 &&
         shape.padding == 1 && shape.h >= kSmallestMap &&
         shape.w >= kSmallestMap && shape.c >= kFewestChannels &&
         shape.k >= kFewestChannels;
}

}  // namespace ringlet::cpu
