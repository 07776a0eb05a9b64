#pragma once

#include <cstddef>

#include "kernels/cuda/portable.h"

namespace ringlet::cuda {

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(__half value) { return __half2float(value); }
__device__ inline float to_float(__nv_bfloat16 value) {
  return __bfloat162float(value);
}

// Rounds to nearest, ties to even.
template <typename T>
__device__ T from_float(float value);
template <>
__device__ inline float from_float<float>(float value) {
  return value;
}
template <>
__device__ inline __half from_float<__half>(float value) {
  return __float2half_rn(value);
}
template <>
__device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float value) {
  return __float2bfloat16_rn(value);
}

// Elements that a thread reads and writes at once: 16 bytes of a half type, 32
// of float; in arrays whose rows are no multiple of that, single elements.
constexpr int kPack = 8;

// P neighbouring elements, as floats.
template <int P>
struct Floats {
  float v[P];
};

template <typename T, int P>
struct alignas(P == 1 ? alignof(T) : 16) Pack {
  T items[P];
};

template <int P, typename T>
__device__ Floats<P> load(const T* p) {
  const auto pack = *reinterpret_cast<const Pack<T, P>*>(p);
  Floats<P> values;
#pragma unroll
  for (int i = 0; i < P; ++i) values.v[i] = to_float(pack.items[i]);
  return values;
}

template <int P, typename T>
__device__ void store(T* p, const Floats<P>& values) {
  Pack<T, P> pack;
#pragma unroll
  for (int i = 0; i < P; ++i) pack.items[i] = from_float<T>(values.v[i]);
  *reinterpret_cast<Pack<T, P>*>(p) = pack;
}

// The place of this thread among all of the grid, and how many they are; for
// one-dimensional launches.
__device__ inline std::size_t global_thread() {
  return std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
}
__device__ inline std::size_t global_threads() {
  return std::size_t{gridDim.x} * blockDim.x;
}

template <typename T>
__device__ T warp_sum(T value) {
#pragma unroll
  for (int bits = 16; bits > 0; bits /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, bits);
  }
  return value;
}

// True in all threads of that block, among those of the same blockIdx.x, which
// is the last to come here; it then sees what the others have written before.
// `counters` holds a zero for each blockIdx.x, and does so again afterwards.
__device__ inline bool is_last_of_column(unsigned* counters) {
  SHARED(bool, is_last, [1]);
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0 && threadIdx.y == 0) {
    unsigned* counter = counters + blockIdx.x;
    is_last[0] = atomicAdd(counter, 1u) == gridDim.y - 1;
    if (is_last[0]) *counter = 0;
  }
  __syncthreads();
  return is_last[0];
}

}  // namespace ringlet::cuda
