#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "kernels/runtime/dtype.h"

// What the launchers of a thread share. Each thread has its own, on the device
// that it uses.
namespace ringlet::cuda {

// The GPU on which this process works: before any thread's first work.
void use_gpu(int number);
int used_gpu();

// The stream on which this thread's kernels run: its own, or that of the last
// use_stream; null: its own again.
cudaStream_t stream();
void use_stream(cudaStream_t stream);

// Memory for partial results, of at least so many bytes, at a multiple of 256:
// for one launch, since the next call may hand out the same.
void* scratch(std::size_t bytes);

// The same for a library's own use, apart from that of our kernels.
void* workspace(std::size_t bytes);

// kCounters zeros, which a kernel leaves as zeros: see is_last_of_column.
constexpr unsigned kCounters = 1024;
unsigned* counters();

// Multiprocessors of the device.
unsigned multiprocessors();

// Blocks of `threads` for `items`, one each: as many as are needed, but not
// more than fill the device a few times over; kernels go round in them.
unsigned blocks_for(std::size_t items, unsigned threads);

}  // namespace ringlet::cuda
