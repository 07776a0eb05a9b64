#pragma once

#include "kernels/conv.h"

namespace ringlet::cpu {

// Whether oneDNN's Winograd F(4x4, 3x3) kernels beat its direct ones: the
// committed table of algorithm choices, a function of the shape alone (oneDNN
// itself refuses Winograd below AVX-512, and the direct kernel is then used).
// Made from bench/results/conv_table.txt, which bench/conv_table prints: about
// twice as fast, but less with few channels, and where a batch has so few tiles
// of 4x4 outputs that the products of its transformed tiles become thin: maps
// of 4x4 in batches of 16 gain nothing, in batches of 64 a factor of 1.7.
inline bool prefers_winograd(const ConvShape& shape) {
  constexpr std::size_t kFewestTiles = 32;
  constexpr std::size_t kFewestChannels = 32;
  constexpr std::size_t kSmallestMap = 4;  // none below was measured
  const auto tiles = [](std::size_t size) { return (size + 3) / 4; };
  return shape.kernel_h == 3 && shape.kernel_w == 3 && shape.stride == 1 &&
         shape.padding == 1 && shape.c >= kFewestChannels &&
         shape.k >= kFewestChannels && shape.h >= kSmallestMap &&
         shape.w >= kSmallestMap &&
         shape.n * tiles(shape.h) * tiles(shape.w) >= kFewestTiles;
}

}  // namespace ringlet::cpu
