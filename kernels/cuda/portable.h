#pragma once

// What kernel bodies are written in, so that nvcc compiles them for the GPU and
// g++ for the tests' emulator (tests/support/cudacpu): CUDA C++, but
//   - shared memory by SHARED and DYNAMIC_SHARED, launches by launch();
//   - half types for storage only, arithmetic in float;
//   - shuffles and votes by all lanes of their mask from one line, no return
//     before a barrier, no waiting for other blocks;
//   - no PTX, cooperative groups, textures or CUB.

#ifdef __CUDACC__

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "kernels/cuda/check.h"

// An array of the block: SHARED(float, sums, [8][33]);
#define SHARED(type, name, dimensions) __shared__ type name dimensions
// That of the size given to launch(); at most one in a kernel.
#define DYNAMIC_SHARED(type, name)                                      \
  extern __shared__ __align__(16) unsigned char dynamic_shared_bytes[]; \
  type* name = reinterpret_cast<type*>(dynamic_shared_bytes)

// kernel<<<grid, block, shared_bytes, stream>>>(arguments...)
template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block,
            std::size_t shared_bytes, cudaStream_t stream,
            Arguments&&... arguments) {
  kernel<<<grid, block, shared_bytes, stream>>>(
      static_cast<Parameters>(arguments)...);
  RINGLET_CUDA(cudaGetLastError());
}

#else
#include <cudacpu.h>
#endif
