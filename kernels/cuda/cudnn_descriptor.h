#pragma once

#include <cudnn.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "kernels/runtime/dtype.h"

// cuDNN's backend interface, in which everything, from a tensor to a plan, is a
// descriptor with attributes: the little of it that the convolutions need.
#define RINGLET_CUDNN(call) \
  ::ringlet::cuda::check_cudnn((call), #call, __FILE__, __LINE__)

namespace ringlet::cuda {

// Throws an Error with the call's text and all that cuDNN has to say.
void check_cudnn(cudnnStatus_t status, const char* call, const char* file,
                 int line);

// This thread's, on its stream.
cudnnHandle_t cudnn_handle();
// Of an activation or of weights.
cudnnDataType_t cudnn_type(Dtype dtype);

class CudnnDescriptor {
 public:
  explicit CudnnDescriptor(cudnnBackendDescriptorType_t type) {
    RINGLET_CUDNN(cudnnBackendCreateDescriptor(type, &handle_));
  }
  ~CudnnDescriptor() {
    if (handle_ != nullptr) cudnnBackendDestroyDescriptor(handle_);
  }
  CudnnDescriptor(CudnnDescriptor&& other) noexcept
      : handle_(std::exchange(other.handle_, nullptr)) {}
  CudnnDescriptor& operator=(CudnnDescriptor&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }

  cudnnBackendDescriptor_t handle() const { return handle_; }

  // One value, or several, of the attribute's type.
  template <typename T>
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
           const std::vector<T>& values) {
    RINGLET_CUDNN(cudnnBackendSetAttribute(
        handle_, name, type, static_cast<std::int64_t>(values.size()),
        values.data()));
  }
  template <typename T>
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
           const T& value) {
    RINGLET_CUDNN(cudnnBackendSetAttribute(handle_, name, type, 1, &value));
  }
  void set(cudnnBackendAttributeName_t name, const CudnnDescriptor& value) {
    set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, value.handle_);
  }

  void finalize() { RINGLET_CUDNN(cudnnBackendFinalize(handle_)); }
  // Whether it could be: an engine may not be there for a problem.
  bool try_finalize() {
    return cudnnBackendFinalize(handle_) == CUDNN_STATUS_SUCCESS;
  }

  std::int64_t number(cudnnBackendAttributeName_t name) const {
    std::int64_t value = 0, count = 0;
    RINGLET_CUDNN(cudnnBackendGetAttribute(handle_, name, CUDNN_TYPE_INT64, 1,
                                           &count, &value));
    return value;
  }

 private:
  cudnnBackendDescriptor_t handle_ = nullptr;
};

}  // namespace ringlet::cuda
