#include "kernels/conv.h"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <string>

#include "kernels/cuda/bias.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/conv_plan.h"
#include "kernels/cuda/families.h"
#include "kernels/cuda/precision.h"
#include "kernels/cuda/stream_timer.h"

namespace ringlet::cuda {
namespace {

constexpr const char* name_of(ConvPass pass) {
  switch (pass) {
    case ConvPass::kForward:
      return "forward";
    case ConvPass::kBackwardData:
      return "backward_data";
    case ConvPass::kBackwardWeights:
      break;
  }
  return "backward_weights";
}

std::string text_of(const ConvKey& key) {
  const ConvShape& s = key.args.shape;
  std::string text = std::string(name_of(key.pass)) + " of [";
  for (const std::size_t size : {s.n, s.c, s.h, s.w}) {
    text += std::to_string(size) + ", ";
  }
  text.resize(text.size() - 2);
  return text + "] " + ringlet::name_of(key.args.dtype) + " with " +
         std::to_string(s.k) + " filters " + std::to_string(s.kernel_h) + "x" +
         std::to_string(s.kernel_w) + ", stride " + std::to_string(s.stride) +
         ", padding " + std::to_string(s.padding);
}

// cuDNN's convolutions. Each kind is planned once: of the engines offered
// first, the fastest on the very arrays of the first call.
class Conv final : public ConvKernels {
 public:
  Conv() : convert_(make_elementwise()) {
    RINGLET_CUDNN(cudnnCreate(&handle_));
    RINGLET_CUDNN(cudnnSetStream(handle_, stream()));
  }
  ~Conv() override { cudnnDestroy(handle_); }
  Conv(const Conv&) = delete;
  Conv& operator=(const Conv&) = delete;

  void forward(const ConvArgs& args, const void* x, const void* weight,
               const float* bias, void* y) override {
    if (args.shape.n == 0) return;
    const ConvKey key = key_of(args, ConvPass::kForward);
    run(required(plan_for(key, x, weight, y), key), x, weight, y);
    if (bias != nullptr) {
      add_bias(pixels_of_y(args.shape), args.shape.k, args.dtype, bias, y);
    }
  }

  void backward_data(const ConvArgs& args, const void* dy, const void* weight,
                     void* dx) override {
    if (args.shape.n == 0) return;
    const ConvKey key = key_of(args, ConvPass::kBackwardData);
    run(required(plan_for(key, dx, weight, dy), key), dx, weight, dy);
  }

  // Where no engine gives f32 from halves, the sums are rounded to halves.
  void backward_weights(const ConvArgs& args, const void* x, const void* dy,
                        float* dweight, float* dbias) override {
    const ConvShape& s = args.shape;
    if (s.n == 0) {
      RINGLET_CUDA(cudaMemsetAsync(dweight, 0, s.weight_count() * sizeof(float),
                                   stream()));
      if (dbias != nullptr) sum_columns(0, s.k, args.dtype, dy, dbias);
      return;
    }
    ConvKey key = key_of(args, ConvPass::kBackwardWeights);
    key.weight_dtype = Dtype::kF32;
    if (const ConvPlan* plan = plan_for(key, x, dweight, dy)) {
      run(*plan, x, dweight, dy);
    } else {
      key.weight_dtype = args.dtype;
      void* rounded = scratch(s.weight_count() * size_of(args.dtype));
      run(required(plan_for(key, x, rounded, dy), key), x, rounded, dy);
      convert_->reorder({1, s.weight_count(), 1, 1, Layout::kPlain, args.dtype},
                        rounded, Layout::kPlain, Dtype::kF32, dweight);
    }
    if (dbias != nullptr) {
      sum_columns(pixels_of_y(s), s.k, args.dtype, dy, dbias);
    }
  }

 private:
  static ConvKey key_of(const ConvArgs& args, ConvPass pass) {
    if (args.x_layout != Layout::kChannelsLast) {
      throw Error("convolution on CUDA: expected channels last");
    }
    return {args, pass, args.dtype, args.dtype == Dtype::kF32 && allow_tf32()};
  }

  static std::size_t pixels_of_y(const ConvShape& s) {
    return s.n * s.out_h() * s.out_w();
  }

  static const ConvPlan& required(const ConvPlan* plan, const ConvKey& key) {
    if (plan != nullptr) return *plan;
    throw Error("cuDNN has no deterministic engine for convolution " +
                text_of(key));
  }

  // Null where cuDNN has none.
  const ConvPlan* plan_for(const ConvKey& key, const void* x,
                           const void* weight, const void* y) {
    auto found = plans_.find(key);
    if (found == plans_.end()) {
      found = plans_.emplace(key, fastest(key, x, weight, y)).first;
    }
    return found->second ? &*found->second : nullptr;
  }

  std::optional<ConvPlan> fastest(const ConvKey& key, const void* x,
                                  const void* weight, const void* y) {
    constexpr std::size_t kTried = 4;
    std::vector<ConvPlan> plans = ConvPlan::offers(handle_, key, kTried);
    if (plans.empty()) return std::nullopt;
    std::size_t best = 0;
    double best_seconds = 0;
    for (std::size_t i = 0; i < plans.size() && plans.size() > 1; ++i) {
      const double seconds = seconds_of(plans[i], x, weight, y);
      if (i == 0 || seconds < best_seconds) {
        best = i;
        best_seconds = seconds;
      }
    }
    return std::move(plans[best]);
  }

  // The shortest of a few runs, after one that is not counted; infinity where
  // the engine, compiled as it is, does not run.
  double seconds_of(const ConvPlan& plan, const void* x, const void* weight,
                    const void* y) {
    constexpr int kRuns = 4;
    double shortest = std::numeric_limits<double>::infinity();
    try {
      for (int i = 0; i <= kRuns; ++i) {
        timer_.start();
        run(plan, x, weight, y);
        timer_.stop();
        if (i > 0) shortest = std::min(shortest, timer_.seconds());
      }
    } catch (const Error&) {
      static_cast<void>(cudaGetLastError());
      return std::numeric_limits<double>::infinity();
    }
    return shortest;
  }

  void run(const ConvPlan& plan, const void* x, const void* weight,
           const void* y) {
    plan.run(handle_, x, weight, y, workspace(plan.workspace_bytes()));
  }

  cudnnHandle_t handle_ = nullptr;
  StreamTimer timer_;
  std::unique_ptr<ElementwiseKernels> convert_;
  std::map<ConvKey, std::optional<ConvPlan>> plans_;
};

}  // namespace

std::string conv_library() {
  const std::size_t version = cudnnGetVersion();  // 91900 is 9.19.0
  return "cuDNN " + std::to_string(version / 10000) + "." +
         std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

std::unique_ptr<ConvKernels> make_conv() { return std::make_unique<Conv>(); }

}  // namespace ringlet::cuda
