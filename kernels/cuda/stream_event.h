#pragma once

#include <cuda_runtime_api.h>

#include <cstring>

#include "kernels/cuda/check.h"
#include "kernels/cuda/context.h"
#include "kernels/runtime/cuda_library.h"

namespace ringlet::cuda {

class StreamEvent final : public Event {
 public:
  explicit StreamEvent(bool shared) {
    const unsigned flags =
        cudaEventDisableTiming | (shared ? cudaEventInterprocess : 0);
    stream();  // chooses this thread's GPU
    RINGLET_CUDA(cudaEventCreateWithFlags(&event_, flags));
  }
  explicit StreamEvent(const IpcHandle& handle) {
    cudaIpcEventHandle_t given;
    static_assert(sizeof(given) == sizeof(handle));
    std::memcpy(&given, &handle, sizeof(given));
    stream();
    RINGLET_CUDA(cudaIpcOpenEventHandle(&event_, given));
  }
  ~StreamEvent() override { static_cast<void>(cudaEventDestroy(event_)); }
  StreamEvent(const StreamEvent&) = delete;
  StreamEvent& operator=(const StreamEvent&) = delete;

  void record() override { RINGLET_CUDA(cudaEventRecord(event_, stream())); }
  void enqueue_wait() override {
    RINGLET_CUDA(cudaStreamWaitEvent(stream(), event_, 0));
  }
  bool done() override {
    const cudaError_t status = cudaEventQuery(event_);
    if (status == cudaErrorNotReady) {
      static_cast<void>(cudaGetLastError());  // or the next check finds it
      return false;
    }
    check_status(status, "cudaEventQuery", __FILE__, __LINE__);
    return true;
  }
  IpcHandle share() override {
    cudaIpcEventHandle_t handle;
    RINGLET_CUDA(cudaIpcGetEventHandle(&handle, event_));
    IpcHandle shared;
    std::memcpy(&shared, &handle, sizeof(shared));
    return shared;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

// Of the highest priority that the GPU has.
class PriorityStream final : public Stream {
 public:
  PriorityStream() {
    int least = 0, greatest = 0;
    stream();  // chooses this thread's GPU
    RINGLET_CUDA(cudaDeviceGetStreamPriorityRange(&least, &greatest));
    RINGLET_CUDA(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking,
                                              greatest));
  }
  ~PriorityStream() override {
    static_cast<void>(cudaStreamSynchronize(stream_));
    static_cast<void>(cudaStreamDestroy(stream_));
  }
  PriorityStream(const PriorityStream&) = delete;
  PriorityStream& operator=(const PriorityStream&) = delete;

  void* handle() override { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

}  // namespace ringlet::cuda
