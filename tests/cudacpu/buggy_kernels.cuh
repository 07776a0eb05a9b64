#pragma once

#include "support/cudacpu/cudacpu.h"

// Three kernels, each in its usual form and with bugs of the kind that people
// write: what the emulator is tested with. `bug` is none or one of those named.
namespace buggy {

enum class Bug {
  kNone,
  kTailTooLong,       // one element past the end of a global array
  kNoColumnGuard,     // threads of columns that the matrix does not have
  kSharedTooSmall,    // an index beyond a shared array
  kSharedNotWritten,  // a cell read that nobody wrote
  kExitBeforeBarrier,
  kNoBarrier,
  kNoBarrierAtEnd,
  kTwoBarriers,     // one in each branch
  kShuffleInIf,     // of all lanes, by some
  kNoAtomic,        // blocks that add to the same cell
  kMisaligned,      // 16 bytes from an address that is a multiple of 4
  kHostPointer,     // an array in the host's memory
  kReadOnHost,      // the host reads the device's
  kOrderDependent,  // what is right in one order of threads only
};

struct alignas(16) Float4 {
  float v[4];
};

// y = max(x, 0), four at a time; then the rest.
template <Bug kBug>
__global__ void relu(const float* x, float* y, int count) {
  const int fours = count / 4, stride = gridDim.x * blockDim.x;
  const int thread = blockIdx.x * blockDim.x + threadIdx.x;
  const auto* in = reinterpret_cast<const Float4*>(x);
  auto* out = reinterpret_cast<Float4*>(y);
  for (int i = thread; i < fours; i += stride) {
    const Float4 a = in[i];
    Float4 b;
    for (int j = 0; j < 4; ++j) b.v[j] = fmaxf(a.v[j], 0.0f);
    out[i] = b;
  }
  const int end = count + (kBug == Bug::kTailTooLong);
  for (int i = fours * 4 + thread; i < end; i += stride) {
    y[i] = fmaxf(x[i], 0.0f);
  }
}

// partial[block.y][c] = the sum of x[row][c] over the block's rows; blocks of
// 32 columns x 8 rows. Each column's eight sums are joined by shuffles.
template <Bug kBug>
__global__ void column_sums(const float* x, float* partial, int rows,
                            int columns, int rows_per_block) {
  SHARED(float, sums, [8][33]);
  const int tx = threadIdx.x, ty = threadIdx.y;
  const int column = blockIdx.x * 32 + tx;
  const int first = blockIdx.y * rows_per_block;
  const int end = min(rows, first + rows_per_block);
  float sum = 0;
  if (column < columns || kBug == Bug::kNoColumnGuard) {
    for (int row = first + ty; row < end; row += 8) {
      sum += x[row * columns + column];
    }
  }
  if (kBug == Bug::kSharedTooSmall) {
    sums[ty][tx + 1 + (ty == 7)] = sum;
  } else if (kBug != Bug::kSharedNotWritten || first + ty < end) {
    sums[ty][tx] = sum;
  }
  if (kBug == Bug::kExitBeforeBarrier && column >= columns) return;
  if (kBug == Bug::kTwoBarriers) {
    if (tx < 16) {
      __syncthreads();
    } else {
      __syncthreads();
    }
  } else if (kBug != Bug::kNoBarrier) {
    __syncthreads();
  }
  const int mine = ty * 4 + tx / 8, lane = tx % 8;
  const int mine_column = blockIdx.x * 32 + mine;
  sum = sums[lane][mine];
  if (kBug != Bug::kShuffleInIf || mine_column < columns) {
    for (int distance = 4; distance > 0; distance /= 2) {
      sum += __shfl_down_sync(0xffffffffu, sum, distance, 8);
    }
  }
  if (lane == 0 && mine_column < columns) {
    if (kBug == Bug::kNoAtomic) {
      partial[mine_column] += sum;
    } else {
      partial[blockIdx.y * columns + mine_column] = sum;
    }
  }
}

// The sum of each row of 64, by blocks of two warps; then, by the last block
// that is done, the sum of them all.
template <Bug kBug>
__global__ void row_sums(const float* x, float* sums, float* total,
                         unsigned* blocks_done) {
  SHARED(float, halves, [2]);
  const int thread = threadIdx.x;
  float sum = x[blockIdx.x * 64 + thread];
  for (int bits = 16; bits > 0; bits /= 2) {
    sum += __shfl_xor_sync(0xffffffffu, sum, bits);
  }
  if (thread % 32 == 0) halves[thread / 32] = sum;
  if (kBug != Bug::kNoBarrierAtEnd) __syncthreads();
  if (thread == 0) {
    sums[blockIdx.x] = halves[0] + halves[1];
    __threadfence();
    const bool last = atomicAdd(blocks_done, 1u) == gridDim.x - 1;
    if (kBug == Bug::kOrderDependent ? blockIdx.x == gridDim.x - 1 : last) {
      float all = 0;
      for (unsigned i = 0; i < gridDim.x; ++i) all += sums[i];
      *total = all;
    }
  }
}

}  // namespace buggy
