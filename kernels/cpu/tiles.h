#pragma once

#include <algorithm>

#include "kernels/activation.h"
#include "kernels/cpu/vec.h"
#include "kernels/runtime/check.h"
#include "kernels/runtime/layout.h"

namespace ringlet::cpu {

// A blocked activation is cut into tiles: the pixels of one picture and one
// block of B channels, contiguous in memory. Tiles are the unit of work of the
// threads and of the partial sums, so that results do not depend on how many
// threads there are.
struct Tiles {
  std::size_t n, c, blocks, pixels, block;

  explicit Tiles(const Activation& shape)
      : n(shape.n),
        c(shape.c),
        blocks(round_up(shape.c, block_of(shape.layout)) /
               block_of(shape.layout)),
        pixels(shape.pixels()),
        block(block_of(shape.layout)) {
    RINGLET_CHECK(block > 1,
                  "this kernel wants the backend's activation layout");
  }

  std::size_t count() const { return n * blocks; }
  std::size_t offset(std::size_t tile) const { return tile * pixels * block; }
  std::size_t first_channel(std::size_t tile) const {
    return tile % blocks * block;
  }
  // Channels of the tile that exist: the block size but in the last block.
  std::size_t channels(std::size_t tile) const {
    return std::min(block, c - first_channel(tile));
  }
  std::size_t picture(std::size_t tile) const { return tile / blocks; }

  // Runs body.operator()<B>(tile) for each tile, shared among the threads.
  template <typename Body>
  void each(Body body) const {
    with_block(block, [&]<std::size_t B>(Size<B>) {
#pragma omp parallel for
      for (std::size_t tile = 0; tile < count(); ++tile) {
        body.template operator()<B>(tile);
      }
    });
  }
};

}  // namespace ringlet::cpu
