#pragma once

#include <vector_types.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace cudacpu {

// How the threads of a block and the blocks of a grid take turns: a kernel's
// results must not depend on it. "fwd", "rev", or "rnd:SEED"; the environment's
// CUDACPU_ORDER says which holds at first.
void set_order(const std::string& order);
std::string order();

// Where the running CUDA thread is.
struct Coordinates {
  uint3 thread_index, block_index;
  dim3 block_size, grid_size;
};
extern thread_local constinit Coordinates g_here;

// Runs body(argument) once for each thread of the grid, block after block.
// Throws std::runtime_error for a launch that a GPU would refuse, and where
// the kernel's threads wait for what never comes.
void run_grid(dim3 grid, dim3 block, std::size_t shared_bytes,
              void (*body)(void*), void* argument);

// What follows is called from within a kernel. `file` and `line` are those of
// the kernel.

// __syncthreads: all threads of the block, each from the same line.
void sync_block(const char* file, int line);

// What the lanes of a warp do together.
enum class WarpOp : std::uint8_t {
  kSync,
  kShuffle,
  kShuffleUp,
  kShuffleDown,
  kShuffleXor,
  kBallot,
  kAny,
  kAll,
};

// One lane's part: `value` is what it offers, `argument` the lane, distance or
// mask that it asks for, within groups of `width` lanes.
struct LaneCall {
  WarpOp op;
  unsigned mask;
  std::uint64_t value = 0;
  int argument = 0;
  int width = 32;
  const char* file;
  int line;
};

// The lanes of the mask meet here, each from the same line; what this one
// gets.
std::uint64_t warp_call(const LaneCall& call);

// Memory of the running block, the same for the same key: exactly so long, and
// full of NaNs at first.
void* shared_array(const void* key, std::size_t bytes);
// That which the launch asked for.
void* dynamic_shared_array();

}  // namespace cudacpu
