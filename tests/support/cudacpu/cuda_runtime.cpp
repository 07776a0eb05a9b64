// The functions of the CUDA runtime that Ringlet calls, on the host: one
// device with two multiprocessors. Other functions are missing on purpose: who
// calls one does not link.

#include <cuda_runtime_api.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "support/cudacpu/device_memory.h"
#include "support/cudacpu/streams.h"

namespace {

constexpr int kMultiprocessors = 2;

// Bytes of the device; CUDACPU_MEMORY_MB says how many.
std::size_t memory_bytes() {
  constexpr std::size_t kMegabyte = 1 << 20, kMegabytes = 4096;
  static const std::size_t bytes = [] {
    const char* said = std::getenv("CUDACPU_MEMORY_MB");
    return (said == nullptr ? kMegabytes : std::strtoull(said, nullptr, 10)) *
           kMegabyte;
  }();
  return bytes;
}

template <typename Action>
cudaError_t with_access(cudaStream_t stream, const Action& action) {
  cudacpu::enqueue(stream, [action] {
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

cudacpu::StreamHandle stream_of(cudaStream_t stream) {
  return reinterpret_cast<cudacpu::StreamHandle>(stream);
}

struct Event {
  std::mutex mutex;  // guards the rest: another thread may look
  cudacpu::Mark mark;
  std::chrono::steady_clock::time_point moment;
  bool shared = false;  // with other processes

  cudacpu::Mark marked() {
    const std::lock_guard lock(mutex);
    return mark;
  }
};
Event& event_of(cudaEvent_t event) { return *reinterpret_cast<Event*>(event); }

// What a handle for another process holds. It needs no more, since there
// streams cannot be late: what was before is done when it is recorded.
struct SharedEvent {
  int process;
};

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
  properties->totalGlobalMem = memory_bytes();
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
  if (cudacpu::device_bytes_in_use() + bytes > memory_bytes()) {
    return cudaErrorMemoryAllocation;
  }
  *memory = cudacpu::allocate_device(bytes);
  return cudaSuccess;
}
// Waits for the device, as CUDA's.
cudaError_t cudaFree(void* memory) {
  cudacpu::run_all_streams();
  if (memory != nullptr) cudacpu::free_device(memory);
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *total = memory_bytes();
  *free = memory_bytes() - cudacpu::device_bytes_in_use();
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes,
                            cudaMemcpyKind, cudaStream_t stream) {
  if (cudacpu::is_recording() &&
      !(may_be_recorded(to) && may_be_recorded(from))) {
    return cudaErrorStreamCaptureUnsupported;
  }
  return with_access(stream, [=] { std::memcpy(to, from, bytes); });
}
cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes,
                            cudaStream_t stream) {
  return with_access(stream, [=] { std::memset(memory, value, bytes); });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = reinterpret_cast<cudaStream_t>(cudacpu::make_stream());
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags,
                                         int) {
  return cudaStreamCreateWithFlags(stream, flags);
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = *greatest = 0;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  cudacpu::drop_stream(stream_of(stream));
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  cudacpu::end_of(stream_of(stream)).run();
  return refused_while_recording();
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event,
                                unsigned) {
  cudacpu::enqueue(stream, [mark = event_of(event).marked()] { mark.run(); });
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  cudacpu::run_all_streams();
  return refused_while_recording();
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = reinterpret_cast<cudaEvent_t>(new Event());
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = reinterpret_cast<cudaEvent_t>(new Event());
  event_of(*event).shared = (flags & cudaEventInterprocess) != 0;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete reinterpret_cast<Event*>(event);
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const cudacpu::Mark mark = cudacpu::end_of(stream_of(stream));
  Event& recorded = event_of(event);
  const std::lock_guard lock(recorded.mutex);
  recorded.mark = mark;
  recorded.moment = std::chrono::steady_clock::now();
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  event_of(event).marked().run();
  return cudaSuccess;
}
// Who asks again finds it done.
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const cudacpu::Mark mark = event_of(event).marked();
  if (mark.is_done()) return cudaSuccess;
  mark.run();
  return cudaErrorNotReady;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin,
                                 cudaEvent_t end) {
  *milliseconds = std::chrono::duration<float, std::milli>(
                      event_of(end).moment - event_of(begin).moment)
                      .count();
  return cudaSuccess;
}

cudaError_t cudaIpcGetMemHandle(cudaIpcMemHandle_t* handle, void* memory) {
  const cudacpu::SharedMemory shared = cudacpu::share_device(memory);
  std::memcpy(handle, &shared, sizeof(shared));
  return cudaSuccess;
}
cudaError_t cudaIpcOpenMemHandle(void** memory, cudaIpcMemHandle_t handle,
                                 unsigned) {
  cudacpu::SharedMemory shared;
  std::memcpy(&shared, &handle, sizeof(shared));
  *memory = cudacpu::open_device(shared);
  return *memory != nullptr ? cudaSuccess : cudaErrorDeviceUninitialized;
}
cudaError_t cudaIpcCloseMemHandle(void* memory) {
  cudacpu::close_device(memory);
  return cudaSuccess;
}
cudaError_t cudaIpcGetEventHandle(cudaIpcEventHandle_t* handle,
                                  cudaEvent_t event) {
  if (!event_of(event).shared) return cudaErrorInvalidResourceHandle;
  const SharedEvent shared{getpid()};
  std::memcpy(handle, &shared, sizeof(shared));
  return cudaSuccess;
}
cudaError_t cudaIpcOpenEventHandle(cudaEvent_t* event,
                                   cudaIpcEventHandle_t handle) {
  SharedEvent shared;
  std::memcpy(&shared, &handle, sizeof(shared));
  if (shared.process == getpid()) return cudaErrorDeviceUninitialized;
  return cudaEventCreateWithFlags(event, cudaEventInterprocess);
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
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes,
                              std::size_t* count) {
  if (nodes != nullptr) return cudaErrorInvalidValue;
  *count = reinterpret_cast<cudacpu::Work*>(graph)->size();
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
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  cudacpu::enqueue(stream, [work = *reinterpret_cast<cudacpu::Work*>(graph)] {
    for (const auto& action : work) action();
  });
  return cudaSuccess;
}

}  // extern "C"
