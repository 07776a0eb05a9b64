#pragma once

#include "kernels/cuda/pack.cuh"

namespace ringlet::cuda {

template <typename T>
__global__ void add_bias_kernel(std::size_t count, int columns,
                                const float* bias, T* y) {
  for (std::size_t i = global_thread(); i < count; i += global_threads()) {
    y[i] = from_float<T>(to_float(y[i]) + bias[i % columns]);
  }
}

// A warp per column: each lane every 32nd row.
template <typename T>
__global__ void sum_columns_kernel(std::size_t rows, int columns, const T* dy,
                                   float* dbias) {
  const int column =
      static_cast<int>((blockIdx.x * blockDim.x + threadIdx.x) / 32);
  if (column >= columns) return;  // the same for a whole warp
  float sum = 0;
  for (std::size_t row = threadIdx.x % 32; row < rows; row += 32) {
    sum += to_float(dy[row * columns + column]);
  }
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0) dbias[column] = sum;
}

}  // namespace ringlet::cuda
