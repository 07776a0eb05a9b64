#pragma once

#include <cuda_runtime_api.h>

#include "kernels/cuda/check.h"
#include "kernels/cuda/context.h"
#include "kernels/runtime/cuda_library.h"

namespace ringlet::cuda {

class StreamTimer final : public Timer {
 public:
  StreamTimer() {
    RINGLET_CUDA(cudaEventCreate(&begin_));
    RINGLET_CUDA(cudaEventCreate(&end_));
  }
  ~StreamTimer() override {
    static_cast<void>(cudaEventDestroy(begin_));
    static_cast<void>(cudaEventDestroy(end_));
  }
  StreamTimer(const StreamTimer&) = delete;
  StreamTimer& operator=(const StreamTimer&) = delete;

  void start() override { RINGLET_CUDA(cudaEventRecord(begin_, stream())); }
  void stop() override { RINGLET_CUDA(cudaEventRecord(end_, stream())); }
  double seconds() override {
    constexpr double kSecondsPerMillisecond = 1e-3;
    float milliseconds = 0;
    RINGLET_CUDA(cudaEventSynchronize(end_));
    RINGLET_CUDA(cudaEventElapsedTime(&milliseconds, begin_, end_));
    return kSecondsPerMillisecond * static_cast<double>(milliseconds);
  }

 private:
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

}  // namespace ringlet::cuda
