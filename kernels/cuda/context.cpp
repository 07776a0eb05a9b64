#include "kernels/cuda/context.h"

#include <algorithm>
#include <atomic>
#include <string>
#include <vector>

#include "kernels/cuda/check.h"
#include "kernels/cuda/precision.h"
#include "kernels/runtime/error.h"

namespace ringlet::cuda {

namespace {

std::atomic<bool> g_allow_tf32{false};
std::atomic<int> g_gpu{0};

[[noreturn]] void fail_out_of_memory(std::size_t bytes) {
  constexpr std::size_t kMiB = std::size_t{1} << 20;
  std::size_t free = 0, total = 0;
  static_cast<void>(cudaGetLastError());  // or the next check finds it
  RINGLET_CUDA(cudaMemGetInfo(&free, &total));
  throw OutOfMemoryError(
      "out of memory on the GPU: kernels need " + std::to_string(bytes / kMiB) +
      " MiB more for partial results, and " + std::to_string(free / kMiB) +
      " of " + std::to_string(total / kMiB) + " MiB are free");
}

// Memory of the device that lives as long as the thread; at the end of the
// program CUDA may be gone before.
class Memory {
 public:
  ~Memory() {
    for (void* block : blocks_) static_cast<void>(cudaFree(block));
  }

  // At least so many bytes. Where it grows, what was there before is lost, but
  // stays: a recorded graph may use it. Since it doubles at least, that is no
  // more than there is in use.
  void* at_least(std::size_t bytes) {
    if (bytes > bytes_) {
      const std::size_t larger = std::max(bytes, 2 * bytes_);
      void* block = nullptr;
      const cudaError_t status = cudaMalloc(&block, larger);
      if (status == cudaErrorMemoryAllocation) fail_out_of_memory(larger);
      check_status(status, "cudaMalloc", __FILE__, __LINE__);
      blocks_.push_back(block);
      bytes_ = larger;
    }
    return blocks_.empty() ? nullptr : blocks_.back();
  }

 private:
  std::vector<void*> blocks_;
  std::size_t bytes_ = 0;  // of the last one
};

class Context {
 public:
  Context() {
    int processors = 0;
    RINGLET_CUDA(cudaSetDevice(g_gpu));
    RINGLET_CUDA(cudaDeviceGetAttribute(&processors,
                                        cudaDevAttrMultiProcessorCount, g_gpu));
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

  cudaStream_t stream = nullptr;  // its own
  cudaStream_t used = nullptr;    // where it uses another one
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

std::string failure_of(const char* call) {
  return std::string(call) + " failed on GPU " + std::to_string(g_gpu) + ": ";
}

void check_status(cudaError_t status, const char* call, const char* file,
                  int line) {
  if (status == cudaSuccess) return;
  fail_check(file, line,
             failure_of(call) + cudaGetErrorString(status) + " (" +
                 cudaGetErrorName(status) + ")");
}

bool allow_tf32() { return g_allow_tf32; }
void set_allow_tf32(bool allow) { g_allow_tf32 = allow; }

void use_gpu(int number) { g_gpu = number; }
int used_gpu() { return g_gpu; }

cudaStream_t stream() {
  const Context& self = context();
  return self.used != nullptr ? self.used : self.stream;
}
void use_stream(cudaStream_t stream) { context().used = stream; }

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
