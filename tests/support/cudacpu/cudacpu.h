#pragma once

// What a kernel sees when g++ compiles it: CUDA's keywords and built-in
// functions, on the host. Each CUDA thread is a call; one that waits becomes a
// fiber. Only what the kernels in kernels/cuda use is here.
//
// Not shown by this: speed, the rounding of the GPU's
// own fast functions, and memory orders weaker than ThreadSanitizer's.

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#include "support/cudacpu/block.h"
#include "support/cudacpu/device_memory.h"
#include "support/cudacpu/streams.h"

#undef __global__
#undef __device__
#undef __host__
#undef __shared__
#undef __forceinline__
#undef __launch_bounds__
#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
#define __forceinline__ inline
#define __shared__ _Pragma("GCC error \"use SHARED instead of __shared__\"")

#define threadIdx (::cudacpu::g_here.thread_index)
#define blockIdx (::cudacpu::g_here.block_index)
#define blockDim (::cudacpu::g_here.block_size)
#define gridDim (::cudacpu::g_here.grid_size)

// An array of the block: SHARED(float, sums, [8][33]);
#define SHARED(type, name, dimensions)            \
  using name##_type = type dimensions;            \
  static const char name##_key = 0;               \
  name##_type& name = *static_cast<name##_type*>( \
      ::cudacpu::shared_array(&name##_key, sizeof(name##_type)))
// That of the size given to launch(); at most one in a kernel.
#define DYNAMIC_SHARED(type, name) \
  type* name = static_cast<type*>(::cudacpu::dynamic_shared_array())

// Where in the kernel a built-in function was called.
#define CUDACPU_PLACE \
  const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(CUDACPU_PLACE) { cudacpu::sync_block(file, line); }
inline void __syncwarp(unsigned mask = ~0u, CUDACPU_PLACE) {
  cudacpu::warp_call(
      {.op = cudacpu::WarpOp::kSync, .mask = mask, .file = file, .line = line});
}

namespace cudacpu {

template <typename T>
T shuffle(WarpOp op, unsigned mask, T value, int argument, int width,
          const char* file, int line) {
  static_assert(sizeof(T) <= 8, "a shuffle of more than 8 bytes");
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = warp_call({op, mask, bits, argument, width, file, line});
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline std::uint64_t vote(WarpOp op, unsigned mask, int predicate,
                          const char* file, int line) {
  return warp_call({.op = op,
                    .mask = mask,
                    .value = predicate != 0,
                    .file = file,
                    .line = line});
}

}  // namespace cudacpu

template <typename T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32, CUDACPU_PLACE) {
  return cudacpu::shuffle(cudacpu::WarpOp::kShuffle, mask, value, lane, width,
                          file, line);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32,
                 CUDACPU_PLACE) {
  return cudacpu::shuffle(cudacpu::WarpOp::kShuffleUp, mask, value,
                          static_cast<int>(distance), width, file, line);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32,
                   CUDACPU_PLACE) {
  return cudacpu::shuffle(cudacpu::WarpOp::kShuffleDown, mask, value,
                          static_cast<int>(distance), width, file, line);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32,
                  CUDACPU_PLACE) {
  return cudacpu::shuffle(cudacpu::WarpOp::kShuffleXor, mask, value, bits,
                          width, file, line);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, CUDACPU_PLACE) {
  return static_cast<unsigned>(
      cudacpu::vote(cudacpu::WarpOp::kBallot, mask, predicate, file, line));
}
inline int __any_sync(unsigned mask, int predicate, CUDACPU_PLACE) {
  return static_cast<int>(
      cudacpu::vote(cudacpu::WarpOp::kAny, mask, predicate, file, line));
}
inline int __all_sync(unsigned mask, int predicate, CUDACPU_PLACE) {
  return static_cast<int>(
      cudacpu::vote(cudacpu::WarpOp::kAll, mask, predicate, file, line));
}

// Ordered more strongly than on a GPU, since ThreadSanitizer does not know
// __threadfence.
template <typename T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*address).fetch_add(value);
}
inline void __threadfence() {}

// A load past the first-level cache, which other blocks' stores do not reach.
template <typename T>
T __ldcg(const T* address) {
  return *address;
}
using std::max;
using std::min;

namespace cudacpu {

template <typename T>
void check_argument(const T& argument, std::size_t number) {
  if constexpr (std::is_pointer_v<T>) check_kernel_pointer(argument, number);
}

}  // namespace cudacpu

// kernel<<<grid, block, shared_bytes, stream>>>(arguments...)
template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block,
            std::size_t shared_bytes, cudaStream_t stream,
            Arguments&&... arguments) {
  const std::tuple<Parameters...> values(static_cast<Parameters>(arguments)...);
  std::apply(
      [](const auto&... value) {
        std::size_t number = 0;
        (cudacpu::check_argument(value, ++number), ...);
      },
      values);
  cudacpu::enqueue(stream, [=] {
    auto call = [&] { std::apply(kernel, values); };
    cudacpu::run_grid(
        grid, block, shared_bytes,
        [](void* body) { (*static_cast<decltype(call)*>(body))(); }, &call);
  });
}
