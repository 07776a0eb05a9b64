#include "kernels/cuda/context.h"

#include <algorithm>
#include <atomic>
#include <string>

#include "kernels/cuda/check.h"
#include "kernels/cuda/precision.h"
#include "kernels/runtime/error.h"

namespace ringlet::cuda {

void check_status(cudaError_t status, const char* call, const char* file,
                  int line) {
  if (status == cudaSuccess) return;
  fail_check(file, line,
             std::string(call) + " failed: " + cudaGetErrorString(status) +
                 " (" + cudaGetErrorName(status) + ")");
}

namespace {

std::atomic<bool> g_allow_tf32{false};

// Memory of the device that lives as long as the thread; at the end of the
// program CUDA may be gone before.
class Memory {
 public:
  ~Memory() { static_cast<void>(cudaFree(data_)); }

  // At least so many bytes; what was there before is lost where it grows.
  void* at_least(std::size_t bytes) {
    if (bytes > bytes_) {
      void* larger = nullptr;
      RINGLET_CUDA(cudaMalloc(&larger, bytes));
      // Waits for kernels that still use it.
      RINGLET_CUDA(cudaFree(data_));
      data_ = larger;
      bytes_ = bytes;
    }
    return data_;
  }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

class Context {
 public:
  Context() {
    int device = 0, processors = 0;
    RINGLET_CUDA(cudaGetDevice(&device));
    RINGLET_CUDA(cudaDeviceGetAttribute(
        &processors, cudaDevAttrMultiProcessorCount, device));
    multiprocessors = static_cast<unsigned>(processors);
    RINGLET_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    constexpr std::size_t kBytes = kCounters * sizeof(unsigned);
    void* memory = counters_.at_least(kBytes);
    RINGLET_CUDA(cudaMemsetAsync(memory, 0, kBytes, stream));
    counters = static_cast<unsigned*>(memory);
  }
  ~Context() { static_cast<void>(cudaStreamDestroy(stream)); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  cudaStream_t stream = nullptr;
  unsigned multiprocessors;
  unsigned* counters;
  Memory scratch, workspace;

 private:
  Memory counters_;
};

Context& context() {
  thread_local Context context;
  return context;
}

}  // namespace

bool allow_tf32() { return g_allow_tf32; }
void set_allow_tf32(bool allow) { g_allow_tf32 = allow; }

cudaStream_t stream() { return context().stream; }

void* scratch(std::size_t bytes) { return context().scratch.at_least(bytes); }

void* workspace(std::size_t bytes) {
  return context().workspace.at_least(bytes);
}

unsigned* counters() { return context().counters; }

unsigned multiprocessors() { return context().multiprocessors; }

unsigned blocks_for(std::size_t items, unsigned threads) {
  constexpr std::size_t kBlocksPerProcessor = 8;
  const std::size_t needed = (items + threads - 1) / threads;
  return static_cast<unsigned>(std::clamp<std::size_t>(
      needed, 1, kBlocksPerProcessor * multiprocessors()));
}

}  // namespace ringlet::cuda
