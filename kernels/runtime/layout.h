#pragma once

#include <cstddef>

namespace ringlet {

// How the elements of a tensor lie in memory.
//   kPlain      row-major in the order of the shape (NCHW for activations)
//   kChannelsLast  [n][h][w][c]: NHWC, for CUDA; weights [k][kh][kw][c]
//   kBlocked8   [n][c/8][h][w][8]: oneDNN's nChw8c, for AVX2
//   kBlocked16  [n][c/16][h][w][16]: oneDNN's nChw16c, for AVX-512
// A blocked tensor rounds its channels up to whole blocks; the lanes beyond
// the last channel are always zero, and every kernel keeps them so.
enum class Layout { kPlain, kChannelsLast, kBlocked8, kBlocked16 };

// Channels of a block: 8 or 16, and 1 for layouts without blocks.
constexpr std::size_t block_of(Layout layout) {
  switch (layout) {
    case Layout::kBlocked8:
      return 8;
    case Layout::kBlocked16:
      return 16;
    case Layout::kPlain:
    case Layout::kChannelsLast:
      break;
  }
  return 1;
}

constexpr std::size_t round_up(std::size_t value, std::size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace ringlet
