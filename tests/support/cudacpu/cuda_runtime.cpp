// The functions of the CUDA runtime that Ringlet calls, on the host: one
// device with two multiprocessors, whose streams do everything at once. Other
// functions are missing on purpose: who calls one does not link.

#include <cuda_runtime_api.h>

#include <chrono>
#include <cstring>

#include "support/cudacpu/device_memory.h"
#include "support/cudacpu/recording.h"

namespace {

constexpr int kMultiprocessors = 2;
constexpr std::size_t kMemory = std::size_t{4} << 30;

template <typename Action>
cudaError_t with_access(const Action& action) {
  cudacpu::enqueue([action] {
    const cudacpu::DeviceAccess access;
    action();
  });
  return cudaSuccess;
}

// A graph may be launched when the host's memory is something else.
bool may_be_recorded(const void* memory) {
  return cudacpu::is_device_memory(memory) || cudacpu::is_pinned(memory);
}

cudaError_t refused_while_recording() {
  return cudacpu::is_recording() ? cudaErrorStreamCaptureUnsupported
                                 : cudaSuccess;
}

using Moment = std::chrono::steady_clock::time_point;

// Streams are nothing but addresses.
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
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::strcpy(properties->name, "an emulated GPU");
  properties->totalGlobalMem = kMemory;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorName(cudaError_t) { return "the emulator's error"; }
const char* cudaGetErrorString(cudaError_t) { return "not emulated"; }

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  if (bytes > kMemory - cudacpu::device_bytes_in_use()) {
    return cudaErrorMemoryAllocation;
  }
  *memory = cudacpu::allocate_device(bytes);
  return cudaSuccess;
}
cudaError_t cudaFree(void* memory) {
  if (memory != nullptr) cudacpu::free_device(memory);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *total = kMemory;
  *free = kMemory - cudacpu::device_bytes_in_use();
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes,
                            cudaMemcpyKind, cudaStream_t) {
  if (cudacpu::is_recording() &&
      !(may_be_recorded(to) && may_be_recorded(from))) {
    return cudaErrorStreamCaptureUnsupported;
  }
  return with_access([=] { std::memcpy(to, from, bytes); });
}
cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes,
                            cudaStream_t) {
  return with_access([=] { std::memset(memory, value, bytes); });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  return make_handle(stream);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return drop_handle(stream);
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return refused_while_recording();
}
cudaError_t cudaDeviceSynchronize() { return refused_while_recording(); }

// An event is when it was recorded.
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = reinterpret_cast<cudaEvent_t>(new Moment());
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete reinterpret_cast<Moment*>(event);
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  *reinterpret_cast<Moment*>(event) = std::chrono::steady_clock::now();
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin,
                                 cudaEvent_t end) {
  *milliseconds =
      std::chrono::duration<float, std::milli>(
          *reinterpret_cast<Moment*>(end) - *reinterpret_cast<Moment*>(begin))
          .count();
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
  *memory = cudacpu::allocate_pinned(bytes);
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* memory) {
  cudacpu::free_pinned(memory);
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
  cudacpu::begin_recording();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
  *graph = reinterpret_cast<cudaGraph_t>(
      new cudacpu::Work(cudacpu::end_recording()));
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long) {
  *executable = reinterpret_cast<cudaGraphExec_t>(
      new cudacpu::Work(*reinterpret_cast<cudacpu::Work*>(graph)));
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete reinterpret_cast<cudacpu::Work*>(graph);
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  delete reinterpret_cast<cudacpu::Work*>(graph);
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t) {
  for (const auto& action : *reinterpret_cast<cudacpu::Work*>(graph)) action();
  return cudaSuccess;
}

}  // extern "C"
