#pragma once

#include "kernels/cuda/pack.cuh"

namespace ringlet::cuda {

struct Relu {
  // Not fmaxf, which would turn a NaN into 0.
  __device__ float operator()(float x, float) const { return x < 0 ? 0.0f : x; }
};
struct ReluBackward {
  __device__ float operator()(float y, float dy) const {
    return y <= 0 ? 0.0f : dy;
  }
};
struct Add {
  __device__ float operator()(float a, float b) const { return a + b; }
};

// y = op(a, b), in packs, then the rest one by one. An op of one operand gets
// it twice.
template <typename Op, typename T>
__global__ void combine(std::size_t count, const T* a, const T* b, T* y) {
  const Op op;
  const std::size_t packs = count / kPack;
  for (std::size_t i = global_thread(); i < packs; i += global_threads()) {
    Floats<kPack> left = load<kPack>(a + i * kPack);
    const Floats<kPack> right = load<kPack>(b + i * kPack);
#pragma unroll
    for (int j = 0; j < kPack; ++j) left.v[j] = op(left.v[j], right.v[j]);
    store<kPack>(y + i * kPack, left);
  }
  for (std::size_t i = packs * kPack + global_thread(); i < count;
       i += global_threads()) {
    y[i] = from_float<T>(op(to_float(a[i]), to_float(b[i])));
  }
}

// y = x in another type.
template <typename From, typename To>
__global__ void convert(std::size_t count, const From* x, To* y) {
  for (std::size_t i = global_thread(); i < count; i += global_threads()) {
    y[i] = from_float<To>(to_float(x[i]));
  }
}

// Between [n][c][pixels] and [n][pixels][c]: y[n][j][i] = x[n][i][j], by tiles
// of 32 x 32 through shared memory, so that both sides are whole lines. One
// block per tile; blockIdx.z is the picture.
constexpr int kTransposeTile = 32;
constexpr int kTransposeRows = 8;

template <typename From, typename To>
__global__ void transpose(std::size_t rows, std::size_t columns, const From* x,
                          To* y) {
  SHARED(float, tile, [kTransposeTile][kTransposeTile + 1]);
  const std::size_t picture = blockIdx.z * rows * columns;
  const std::size_t first_row = std::size_t{blockIdx.y} * kTransposeTile;
  const std::size_t first_column = std::size_t{blockIdx.x} * kTransposeTile;
  for (unsigned r = threadIdx.y; r < kTransposeTile; r += kTransposeRows) {
    const std::size_t row = first_row + r, column = first_column + threadIdx.x;
    if (row < rows && column < columns) {
      tile[r][threadIdx.x] = to_float(x[picture + row * columns + column]);
    }
  }
  __syncthreads();
  for (unsigned c = threadIdx.y; c < kTransposeTile; c += kTransposeRows) {
    const std::size_t row = first_row + threadIdx.x, column = first_column + c;
    if (row < rows && column < columns) {
      y[picture + column * rows + row] = from_float<To>(tile[threadIdx.x][c]);
    }
  }
}

}  // namespace ringlet::cuda
