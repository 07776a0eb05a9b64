// The functions of the CUDA runtime that Ringlet calls, on the host: one
// device with two multiprocessors, whose streams do everything at once. Other
// functions are missing on purpose: who calls one does not link.

#include <cuda_runtime_api.h>

#include <cstring>

#include "support/cudacpu/device_memory.h"

namespace {

constexpr int kMultiprocessors = 2;

template <typename Action>
cudaError_t with_access(const Action& action) {
  const cudacpu::DeviceAccess access;
  action();
  return cudaSuccess;
}

// Streams and events are nothing but addresses.
template <typename Handle>
cudaError_t make_handle(Handle* handle) {
  *handle = reinterpret_cast<Handle>(new char);
  return cudaSuccess;
}
template <typename Handle>
cudaError_t drop_handle(Handle handle) {
  delete reinterpret_cast<char*>(handle);
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  return device == 0 ? cudaSuccess : cudaErrorInvalidDevice;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  if (attribute != cudaDevAttrMultiProcessorCount) return cudaErrorInvalidValue;
  *value = kMultiprocessors;
  return cudaSuccess;
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorName(cudaError_t) { return "the emulator's error"; }
const char* cudaGetErrorString(cudaError_t) { return "not emulated"; }

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  *memory = cudacpu::allocate_device(bytes);
  return cudaSuccess;
}
cudaError_t cudaFree(void* memory) {
  if (memory != nullptr) cudacpu::free_device(memory);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes,
                            cudaMemcpyKind, cudaStream_t) {
  return with_access([&] { std::memcpy(to, from, bytes); });
}
cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes,
                            cudaStream_t) {
  return with_access([&] { std::memset(memory, value, bytes); });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  return make_handle(stream);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return drop_handle(stream);
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }

}  // extern "C"
