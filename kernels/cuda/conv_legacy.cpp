// Convolutions by cuDNN's interface from before the graphs: all of its
// functions are marked as deprecated, and all are there.

#include <array>

#include "kernels/cuda/context.h"
#include "kernels/cuda/conv_plan.h"
#include "kernels/cuda/cudnn_descriptor.h"

namespace ringlet::cuda {
namespace {

// A descriptor that ends with its scope.
template <typename Handle, cudnnStatus_t (*kCreate)(Handle*),
          cudnnStatus_t (*kDestroy)(Handle)>
class Legacy {
 public:
  Legacy() { RINGLET_CUDNN(kCreate(&handle_)); }
  ~Legacy() { kDestroy(handle_); }
  Legacy(const Legacy&) = delete;
  Legacy& operator=(const Legacy&) = delete;
  operator Handle() const { return handle_; }

 private:
  Handle handle_ = nullptr;
};
using Array = Legacy<cudnnTensorDescriptor_t, cudnnCreateTensorDescriptor,
                     cudnnDestroyTensorDescriptor>;
using Filter = Legacy<cudnnFilterDescriptor_t, cudnnCreateFilterDescriptor,
                      cudnnDestroyFilterDescriptor>;
using Convolution =
    Legacy<cudnnConvolutionDescriptor_t, cudnnCreateConvolutionDescriptor,
           cudnnDestroyConvolutionDescriptor>;

int as_int(std::size_t value) { return static_cast<int>(value); }

class LegacyPlan final : public ConvPlan {
 public:
  explicit LegacyPlan(const ConvKey& key)
      : pass_(key.pass), exact_(key.args.dtype == Dtype::kF32 && !key.tf32) {
    const ConvShape& s = key.args.shape;
    const cudnnDataType_t type = cudnn_type(key.args.dtype);
    RINGLET_CUDNN(cudnnSetTensor4dDescriptor(x_, CUDNN_TENSOR_NHWC, type,
                                             as_int(s.n), as_int(s.c),
                                             as_int(s.h), as_int(s.w)));
    RINGLET_CUDNN(cudnnSetFilter4dDescriptor(
        weight_, cudnn_type(key.weight_dtype), CUDNN_TENSOR_NHWC, as_int(s.k),
        as_int(s.c), as_int(s.kernel_h), as_int(s.kernel_w)));
    RINGLET_CUDNN(cudnnSetTensor4dDescriptor(
        y_, CUDNN_TENSOR_NHWC, type, as_int(s.n), as_int(s.k),
        as_int(s.out_h()), as_int(s.out_w())));
    RINGLET_CUDNN(cudnnSetConvolution2dDescriptor(
        convolution_, as_int(s.padding), as_int(s.padding), as_int(s.stride),
        as_int(s.stride), 1, 1, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT));
    RINGLET_CUDNN(cudnnSetConvolutionMathType(
        convolution_, exact_ ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH));
  }

  // Whether there is an algorithm for it; the heuristics' first is taken.
  bool find_algorithm() {
    switch (pass_) {
      case ConvPass::kForward: {
        std::array<cudnnConvolutionFwdAlgoPerf_t, kMost> found;
        const auto status = cudnnGetConvolutionForwardAlgorithm_v7(
            cudnn_handle(), x_, weight_, convolution_, y_, kMost, &count_,
            found.data());
        return take(status, found, forward_);
      }
      case ConvPass::kBackwardData: {
        std::array<cudnnConvolutionBwdDataAlgoPerf_t, kMost> found;
        const auto status = cudnnGetConvolutionBackwardDataAlgorithm_v7(
            cudnn_handle(), weight_, y_, convolution_, x_, kMost, &count_,
            found.data());
        return take(status, found, backward_data_);
      }
      case ConvPass::kBackwardWeights:
        break;
    }
    std::array<cudnnConvolutionBwdFilterAlgoPerf_t, kMost> found;
    const auto status = cudnnGetConvolutionBackwardFilterAlgorithm_v7(
        cudnn_handle(), x_, y_, convolution_, weight_, kMost, &count_,
        found.data());
    return take(status, found, backward_weights_);
  }

  void run(const void* x, const void* weight, const void* y) override {
    const float one = 1, zero = 0;
    void* memory = workspace(workspace_bytes_);
    switch (pass_) {
      case ConvPass::kForward:
        RINGLET_CUDNN(cudnnConvolutionForward(
            cudnn_handle(), &one, x_, x, weight_, weight, convolution_,
            forward_, memory, workspace_bytes_, &zero, y_,
            const_cast<void*>(y)));
        return;
      case ConvPass::kBackwardData:
        RINGLET_CUDNN(cudnnConvolutionBackwardData(
            cudnn_handle(), &one, weight_, weight, y_, y, convolution_,
            backward_data_, memory, workspace_bytes_, &zero, x_,
            const_cast<void*>(x)));
        return;
      case ConvPass::kBackwardWeights:
        RINGLET_CUDNN(cudnnConvolutionBackwardFilter(
            cudnn_handle(), &one, x_, x, y_, y, convolution_, backward_weights_,
            memory, workspace_bytes_, &zero, weight_,
            const_cast<void*>(weight)));
    }
  }

 private:
  static constexpr int kMost = 8;

  // The first that works and gives the same bits at each run.
  template <typename Results, typename Algorithm>
  bool take(cudnnStatus_t status, const Results& found, Algorithm& algorithm) {
    if (status != CUDNN_STATUS_SUCCESS) return false;
    for (int i = 0; i < count_; ++i) {
      const auto& one = found[static_cast<std::size_t>(i)];
      if (one.status != CUDNN_STATUS_SUCCESS ||
          one.determinism != CUDNN_DETERMINISTIC) {
        continue;
      }
      algorithm = one.algo;
      workspace_bytes_ = one.memory;
      if (exact_) return true;
      RINGLET_CUDNN(cudnnSetConvolutionMathType(convolution_, one.mathType));
      return true;
    }
    return false;
  }

  ConvPass pass_;
  bool exact_;  // f32, not in TF32
  Array x_, y_;
  Filter weight_;
  Convolution convolution_;
  int count_ = 0;
  cudnnConvolutionFwdAlgo_t forward_{};
  cudnnConvolutionBwdDataAlgo_t backward_data_{};
  cudnnConvolutionBwdFilterAlgo_t backward_weights_{};
  std::size_t workspace_bytes_ = 0;
};

}  // namespace

ConvPlanPtr make_legacy_plan(const ConvKey& key) {
  auto plan = std::make_unique<LegacyPlan>(key);
  if (!plan->find_algorithm()) return nullptr;
  return plan;
}

}  // namespace ringlet::cuda
