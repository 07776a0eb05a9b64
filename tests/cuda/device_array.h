#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <utility>
#include <vector>

#include "kernels/cuda/check.h"

namespace ringlet::testing {

// Elements in a GPU's memory, or in the emulator's: exactly so many.
template <typename T>
class DeviceArray {
 public:
  // Every byte is 0xFF: NaNs of all floating types.
  explicit DeviceArray(std::size_t count) : count_(count) {
    if (count_ == 0) return;
    RINGLET_CUDA(cudaMalloc(&data_, bytes()));
    constexpr int kBytesOfNan = 0xFF;
    RINGLET_CUDA(cudaMemsetAsync(data_, kBytesOfNan, bytes(), nullptr));
    RINGLET_CUDA(cudaStreamSynchronize(nullptr));
  }
  explicit DeviceArray(const std::vector<T>& values)
      : DeviceArray(values.size()) {
    copy(data_, values.data());
  }
  DeviceArray(DeviceArray&& other) noexcept
      : count_(other.count_), data_(std::exchange(other.data_, nullptr)) {}
  ~DeviceArray() { static_cast<void>(cudaFree(data_)); }
  DeviceArray& operator=(const DeviceArray&) = delete;

  std::size_t count() const { return count_; }
  std::size_t bytes() const { return count_ * sizeof(T); }
  T* data() const { return static_cast<T*>(data_); }

  // Waits for all that the device does.
  std::vector<T> to_host() const {
    RINGLET_CUDA(cudaDeviceSynchronize());
    std::vector<T> values(count_);
    copy(values.data(), data_);
    return values;
  }

 private:
  void copy(void* to, const void* from) const {
    if (count_ == 0) return;  // a vector of nothing may have no address
    RINGLET_CUDA(
        cudaMemcpyAsync(to, from, bytes(), cudaMemcpyDefault, nullptr));
    RINGLET_CUDA(cudaStreamSynchronize(nullptr));
  }

  std::size_t count_;
  void* data_ = nullptr;
};

}  // namespace ringlet::testing
