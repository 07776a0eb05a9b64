#include <cuda_runtime_api.h>

#include <cstring>
#include <utility>

#include "kernels/augment.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/conv_choices.h"
#include "kernels/cuda/families.h"
#include "kernels/cuda/precision.h"
#include "kernels/cuda/ranges.h"
#include "kernels/cuda/stream_event.h"
#include "kernels/cuda/stream_timer.h"
#include "kernels/reduce.h"
#include "kernels/runtime/cuda_library.h"
#include "kernels/step.h"

namespace ringlet::cuda {
namespace {

struct Families {
  std::unique_ptr<ConvKernels> conv = make_conv();
  std::unique_ptr<NormKernels> norm = make_norm();
  std::unique_ptr<PoolKernels> pool = make_pool();
  std::unique_ptr<LinearKernels> linear = make_linear();
  std::unique_ptr<LossKernels> loss = make_loss();
  std::unique_ptr<ElementwiseKernels> elementwise = make_elementwise();
  std::unique_ptr<OptimKernels> optim = make_optim();
  Backend backend{Layout::kChannelsLast,
                  Layout::kChannelsLast,
                  *conv,
                  *norm,
                  *pool,
                  *linear,
                  *loss,
                  *elementwise,
                  *optim};
};

// 13000 is 13.0.
std::string version_text(int version) {
  return std::to_string(version / 1000) + "." +
         std::to_string(version % 1000 / 10);
}

class RecordedGraph final : public Graph {
 public:
  explicit RecordedGraph(cudaGraph_t graph) {
    const cudaError_t status = cudaGraphInstantiate(&graph_, graph, 0);
    static_cast<void>(cudaGraphDestroy(graph));
    check_status(status, "cudaGraphInstantiate", __FILE__, __LINE__);
  }
  ~RecordedGraph() override { static_cast<void>(cudaGraphExecDestroy(graph_)); }
  RecordedGraph(const RecordedGraph&) = delete;
  RecordedGraph& operator=(const RecordedGraph&) = delete;

  void launch() override { RINGLET_CUDA(cudaGraphLaunch(graph_, stream())); }

 private:
  cudaGraphExec_t graph_ = nullptr;
};

class CudaLibrary final : public Library {
 public:
  std::string why_none() override {
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status == cudaSuccess && count > 0) return "";
    static_cast<void>(cudaGetLastError());  // or the next check finds it
    return std::string("CUDA finds none: ") + cudaGetErrorString(status);
  }

  int gpu_count() override {
    int count = 0;
    RINGLET_CUDA(cudaGetDeviceCount(&count));
    return count;
  }
  void use_gpu(int number) override { cuda::use_gpu(number); }
  std::string describe() override {
    cudaDeviceProp gpu{};
    int driver = 0, runtime = 0;
    RINGLET_CUDA(cudaGetDeviceProperties(&gpu, used_gpu()));
    RINGLET_CUDA(cudaDriverGetVersion(&driver));
    RINGLET_CUDA(cudaRuntimeGetVersion(&runtime));
    return std::string(gpu.name) + ", driver " + version_text(driver) +
           ", CUDA " + version_text(runtime) + ", " + conv_library();
  }
  void set_allow_tf32(bool allow) override { cuda::set_allow_tf32(allow); }

  void set_conv_tuning(bool tune) override { cuda::set_conv_tuning(tune); }
  std::string conv_choices() override { return cuda::conv_choices(describe()); }
  void set_conv_choices(const std::string& text) override {
    cuda::set_conv_choices(text, describe());
  }
  void set_legacy_convolutions(bool legacy) override {
    cuda::set_legacy_convolutions(legacy);
  }

  void* allocate(std::size_t bytes) override {
    cuda::stream();  // chooses this thread's GPU
    void* memory = nullptr;
    const cudaError_t status = cudaMalloc(&memory, bytes);
    if (status == cudaErrorMemoryAllocation) {
      static_cast<void>(cudaGetLastError());
      return nullptr;
    }
    check_status(status, "cudaMalloc", __FILE__, __LINE__);
    return memory;
  }
  // At the end of the program CUDA may be gone before.
  void release(void* memory) noexcept override {
    static_cast<void>(cudaFree(memory));
  }
  MemoryInfo memory_info() override {
    MemoryInfo info{};
    RINGLET_CUDA(cudaMemGetInfo(&info.free, &info.total));
    return info;
  }

  void* allocate_pinned(std::size_t bytes) override {
    void* memory = nullptr;
    RINGLET_CUDA(cudaMallocHost(&memory, bytes));
    return memory;
  }
  void release_pinned(void* memory) noexcept override {
    static_cast<void>(cudaFreeHost(memory));
  }

  void copy(void* to, const void* from, std::size_t bytes) override {
    RINGLET_CUDA(
        cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, cuda::stream()));
  }
  void fill_with_zeros(void* memory, std::size_t bytes) override {
    RINGLET_CUDA(cudaMemsetAsync(memory, 0, bytes, cuda::stream()));
  }
  void synchronize() override {
    RINGLET_CUDA(cudaStreamSynchronize(cuda::stream()));
  }

  std::unique_ptr<Event> make_event() override {
    return std::make_unique<StreamEvent>(false);
  }
  std::unique_ptr<Timer> make_timer() override {
    return std::make_unique<StreamTimer>();
  }
  void begin_range(const char* name) override { push_range(name); }
  void end_range() override { pop_range(); }
  std::unique_ptr<Stream> make_stream() override {
    return std::make_unique<PriorityStream>();
  }
  Stream* use_stream(Stream* stream) override {
    thread_local Stream* used = nullptr;
    cuda::use_stream(stream == nullptr
                         ? nullptr
                         : static_cast<cudaStream_t>(stream->handle()));
    return std::exchange(used, stream);
  }

  std::unique_ptr<Event> make_shared_event() override {
    return std::make_unique<StreamEvent>(true);
  }
  std::unique_ptr<Event> open_event(const IpcHandle& handle) override {
    return std::make_unique<StreamEvent>(handle);
  }
  IpcHandle share_memory(void* memory) override {
    cudaIpcMemHandle_t handle;
    static_assert(sizeof(handle) == sizeof(IpcHandle));
    RINGLET_CUDA(cudaIpcGetMemHandle(&handle, memory));
    IpcHandle shared;
    std::memcpy(&shared, &handle, sizeof(shared));
    return shared;
  }
  void* open_memory(const IpcHandle& handle) override {
    cudaIpcMemHandle_t given;
    std::memcpy(&given, &handle, sizeof(given));
    void* memory = nullptr;
    cuda::stream();
    RINGLET_CUDA(
        cudaIpcOpenMemHandle(&memory, given, cudaIpcMemLazyEnablePeerAccess));
    return memory;
  }
  void close_memory(void* memory) noexcept override {
    static_cast<void>(cudaIpcCloseMemHandle(memory));
  }

  void begin_graph() override {
    // Relaxed: memory may be taken meanwhile, and other threads work on.
    RINGLET_CUDA(
        cudaStreamBeginCapture(cuda::stream(), cudaStreamCaptureModeRelaxed));
  }
  std::unique_ptr<Graph> end_graph() override {
    cudaGraph_t graph = nullptr;
    RINGLET_CUDA(cudaStreamEndCapture(cuda::stream(), &graph));
    std::size_t nodes = 0;
    RINGLET_CUDA(cudaGraphGetNodes(graph, nullptr, &nodes));
    if (nodes > 0) return std::make_unique<RecordedGraph>(graph);
    RINGLET_CUDA(cudaGraphDestroy(graph));
    return nullptr;
  }
  void drop_graph() noexcept override {
    cudaGraph_t graph = nullptr;
    static_cast<void>(cudaStreamEndCapture(cuda::stream(), &graph));
    if (graph != nullptr) static_cast<void>(cudaGraphDestroy(graph));
    static_cast<void>(cudaGetLastError());  // or the next launch finds it
  }

  Backend& backend() override {
    thread_local Families families;
    return families.backend;
  }
  void* stream() override { return cuda::stream(); }
  void reduce(void* accumulator, const void* operand, std::size_t count,
              Dtype dtype, ReduceOp op) override {
    cuda::reduce(accumulator, operand, count, dtype, op);
  }
  void reduce_tree(void* result, const void* const* operands,
                   std::size_t operand_count, std::size_t count, Dtype dtype,
                   ReduceOp op) override {
    cuda::reduce_tree(result, operands, operand_count, count, dtype, op);
  }
  void scale(void* data, std::size_t count, Dtype dtype,
             double factor) override {
    cuda::scale(data, count, dtype, factor);
  }
  void narrow(void* target, Dtype dtype, const float* source, std::size_t count,
              float factor) override {
    cuda::narrow(target, dtype, source, count, factor);
  }
  void widen(float* target, const void* source, Dtype dtype,
             std::size_t count) override {
    cuda::widen(target, source, dtype, count);
  }
  void augment(const AugmentBatch& batch) override { cuda::augment(batch); }
  void begin_step(const StepTables& tables, StepState* state) override {
    cuda::begin_step(tables, state);
  }
  void judge_step(const StepVerdict& verdict) override {
    cuda::judge_step(verdict);
  }
  void restore_if_skipped(const StepState* state, std::size_t words,
                          const void* before, void* now) override {
    cuda::restore_if_skipped(state, words, before, now);
  }
};

}  // namespace
}  // namespace ringlet::cuda

extern "C" __attribute__((visibility("default"))) ringlet::cuda::Library*
ringlet_cuda_library() {
  static ringlet::cuda::CudaLibrary library;
  return &library;
}
