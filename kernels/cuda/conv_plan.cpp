#include "kernels/cuda/conv_plan.h"

#include <algorithm>
#include <utility>

#include "kernels/cuda/check.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/cudnn_descriptor.h"
#include "kernels/cuda/families.h"
#include "kernels/runtime/error.h"

namespace ringlet::cuda {

void check_cudnn(cudnnStatus_t status, const char* call, const char* file,
                 int line) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  char reason[1024] = "";
  cudnnGetLastErrorString(reason, sizeof reason);
  fail_check(file, line,
             failure_of(call) + cudnnGetErrorString(status) +
                 (reason[0] == '\0' ? "" : ": ") + reason);
}

cudnnDataType_t cudnn_type(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF16:
      return CUDNN_DATA_HALF;
    case Dtype::kBF16:
      return CUDNN_DATA_BFLOAT16;
    default:
      return CUDNN_DATA_FLOAT;
  }
}

namespace {

// The names by which a plan is told where x, the weights and y lie.
enum TensorId : std::int64_t { kX = 1, kWeight = 2, kY = 3 };

// [n, c, h, w] in channels last.
CudnnDescriptor tensor(TensorId id, Dtype dtype, std::size_t n, std::size_t c,
                       std::size_t h, std::size_t w) {
  constexpr std::int64_t kAlignment = 16;
  const auto sizes = [](std::initializer_list<std::size_t> values) {
    return std::vector<std::int64_t>(values.begin(), values.end());
  };
  CudnnDescriptor result(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  result.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, std::int64_t{id});
  result.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE,
             cudnn_type(dtype));
  result.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, kAlignment);
  result.set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64,
             sizes({n, c, h, w}));
  result.set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64,
             sizes({h * w * c, 1, w * c, c}));
  result.finalize();
  return result;
}

CudnnDescriptor convolution(const ConvShape& s) {
  const auto twice = [](std::size_t value) {
    return std::vector<std::int64_t>(2, static_cast<std::int64_t>(value));
  };
  CudnnDescriptor conv(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  conv.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64,
           std::int64_t{2});
  conv.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE,
           CUDNN_DATA_FLOAT);
  // What deep learning calls a convolution does not mirror the kernel.
  conv.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE,
           CUDNN_CROSS_CORRELATION);
  conv.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64,
           twice(s.padding));
  conv.set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64,
           twice(s.padding));
  conv.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, twice(1));
  conv.set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64,
           twice(s.stride));
  conv.finalize();
  return conv;
}

// The names of a pass's attributes in cuDNN.
struct PassNames {
  cudnnBackendDescriptorType_t operation;
  cudnnBackendAttributeName_t x, weight, y, conv, alpha, beta;
};

PassNames names_of(ConvPass pass) {
  switch (pass) {
    case ConvPass::kForward:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
    case ConvPass::kBackwardData:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
    case ConvPass::kBackwardWeights:
      break;
  }
  return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
}

// The engines that cuDNN's heuristics propose, each with its settings.
std::vector<CudnnDescriptor> configurations(const CudnnDescriptor& graph,
                                            cudnnBackendHeurMode_t mode) {
  constexpr std::size_t kMost = 32;
  CudnnDescriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, mode);
  if (!heuristics.try_finalize()) return {};
  std::vector<CudnnDescriptor> results;
  std::vector<cudnnBackendDescriptor_t> handles;
  for (std::size_t i = 0; i < kMost; ++i) {
    results.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    handles.push_back(results.back().handle());
  }
  std::int64_t count = 0;
  RINGLET_CUDNN(cudnnBackendGetAttribute(
      heuristics.handle(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
      CUDNN_TYPE_BACKEND_DESCRIPTOR, kMost, &count, handles.data()));
  // It may know of more than there was room for.
  const auto written =
      std::min<std::int64_t>(count, static_cast<std::int64_t>(kMost));
  results.erase(results.begin() + static_cast<std::ptrdiff_t>(written),
                results.end());
  return results;
}

std::vector<cudnnBackendNumericalNote_t> notes_of(
    const CudnnDescriptor& configuration) {
  const CudnnDescriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t handle = engine.handle();
  std::int64_t count = 0;
  RINGLET_CUDNN(cudnnBackendGetAttribute(
      configuration.handle(), CUDNN_ATTR_ENGINECFG_ENGINE,
      CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &handle));
  std::vector<cudnnBackendNumericalNote_t> notes(
      CUDNN_NUMERICAL_NOTE_TYPE_COUNT);
  RINGLET_CUDNN(cudnnBackendGetAttribute(
      handle, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
      CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &count, notes.data()));
  notes.resize(std::min(static_cast<std::size_t>(count), notes.size()));
  return notes;
}

bool is_wanted(const ConvKey& key, const CudnnDescriptor& configuration) {
  const auto notes = notes_of(configuration);
  const auto has = [&](cudnnBackendNumericalNote_t note) {
    return std::find(notes.begin(), notes.end(), note) != notes.end();
  };
  if (has(CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC) ||
      has(CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION)) {
    return false;
  }
  if (key.args.dtype != Dtype::kF32 || key.tf32) return true;
  return !has(CUDNN_NUMERICAL_NOTE_TENSOR_CORE) &&
         !has(CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS);
}

// All that a plan was made from lives as long as it.
using Parts = std::vector<CudnnDescriptor>;

// A graph of one operation, the last of the parts; nothing where cuDNN does not
// take such an operation.
Parts graph_of(const ConvKey& key) {
  const ConvShape& s = key.args.shape;
  const Dtype dtype = key.args.dtype;
  const PassNames names = names_of(key.pass);
  Parts parts;
  parts.push_back(tensor(kX, dtype, s.n, s.c, s.h, s.w));
  parts.push_back(
      tensor(kWeight, key.weight_dtype, s.k, s.c, s.kernel_h, s.kernel_w));
  parts.push_back(tensor(kY, dtype, s.n, s.k, s.out_h(), s.out_w()));
  parts.push_back(convolution(s));
  CudnnDescriptor operation(names.operation);
  operation.set(names.x, parts[0]);
  operation.set(names.weight, parts[1]);
  operation.set(names.y, parts[2]);
  operation.set(names.conv, parts[3]);
  operation.set(names.alpha, CUDNN_TYPE_FLOAT, 1.0f);
  operation.set(names.beta, CUDNN_TYPE_FLOAT, 0.0f);
  if (!operation.try_finalize()) return {};
  CudnnDescriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE,
            cudnn_handle());
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operation);
  if (!graph.try_finalize()) return {};
  parts.push_back(std::move(operation));
  parts.push_back(std::move(graph));
  return parts;
}

// What cuDNN has compiled for a graph.
class GraphPlan final : public ConvPlan {
 public:
  GraphPlan(std::shared_ptr<const Parts> graph, CudnnDescriptor configuration,
            CudnnDescriptor plan, std::size_t workspace_bytes)
      : graph_(std::move(graph)),
        configuration_(std::move(configuration)),
        plan_(std::move(plan)),
        workspace_bytes_(workspace_bytes) {}

  void run(const void* x, const void* weight, const void* y) override {
    CudnnDescriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64,
             std::vector<std::int64_t>{kX, kWeight, kY});
    pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR,
             std::vector<const void*>{x, weight, y});
    pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR,
             workspace(workspace_bytes_));
    pack.finalize();
    RINGLET_CUDNN(
        cudnnBackendExecute(cudnn_handle(), plan_.handle(), pack.handle()));
  }

 private:
  std::shared_ptr<const Parts> graph_;
  CudnnDescriptor configuration_, plan_;
  std::size_t workspace_bytes_;
};

}  // namespace

cudnnHandle_t cudnn_handle() {
  struct Handle {
    cudnnHandle_t value = nullptr;
    Handle() {
      cudaStream_t own = stream();  // made before it, so it ends after it
      RINGLET_CUDNN(cudnnCreate(&value));
      RINGLET_CUDNN(cudnnSetStream(value, own));
    }
    ~Handle() { cudnnDestroy(value); }
  };
  thread_local Handle handle;
  return handle.value;
}

std::string conv_library() {
  const std::size_t version = cudnnGetVersion();  // 91900 is 9.19.0
  return "cuDNN " + std::to_string(version / 10000) + "." +
         std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

std::vector<ConvPlanPtr> offer_plans(const ConvKey& key, std::size_t most) {
  // More would hardly be worth what a faster engine gains.
  constexpr std::int64_t kLargeWorkspace = std::int64_t{512} << 20;
  const auto graph = std::make_shared<const Parts>(graph_of(key));
  if (graph->empty()) return {};
  std::vector<ConvPlanPtr> plans, greedy;
  for (const auto mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    for (CudnnDescriptor& configuration : configurations(graph->back(), mode)) {
      if (plans.size() == most) return plans;
      if (!is_wanted(key, configuration)) continue;
      CudnnDescriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE,
               cudnn_handle());
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration);
      if (!plan.try_finalize()) continue;
      const std::int64_t bytes =
          plan.number(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
      (bytes > kLargeWorkspace ? greedy : plans)
          .push_back(std::make_unique<GraphPlan>(
              graph, std::move(configuration), std::move(plan),
              static_cast<std::size_t>(bytes)));
    }
  }
  return plans.empty() ? std::move(greedy) : std::move(plans);
}

}  // namespace ringlet::cuda
