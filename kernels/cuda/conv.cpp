#include "kernels/conv.h"

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <utility>

#include "kernels/cuda/bias.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/conv_choices.h"
#include "kernels/cuda/conv_plan.h"
#include "kernels/cuda/families.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/precision.h"
#include "kernels/cuda/stream_timer.h"

namespace ringlet::cuda {
namespace {

std::size_t pixels_of_y(const ConvShape& s) {
  return s.n * s.out_h() * s.out_w();
}

bool is_pointwise(const ConvShape& s) {
  return s.kernel_h == 1 && s.kernel_w == 1 && s.stride == 1 && s.padding == 0;
}

// A 1x1 convolution in channels last is a product of matrices: of the pixels,
// by their channels, and of the filters.
class MatmulPlan final : public ConvPlan {
 public:
  explicit MatmulPlan(const ConvKey& key) : key_(key) {}

  void run(const void* x, const void* weight, const void* y) override {
    const ConvShape& s = key_.args.shape;
    const std::size_t pixels = pixels_of_y(s);
    const Dtype dtype = key_.args.dtype;
    switch (key_.pass) {
      case ConvPass::kForward:
        return matmul({.m = pixels,
                       .n = s.k,
                       .k = s.c,
                       .in_dtype = dtype,
                       .out_dtype = dtype,
                       .a = x,
                       .a_transposed = false,
                       .b = weight,
                       .b_transposed = true,
                       .c = const_cast<void*>(y)});
      case ConvPass::kBackwardData:
        return matmul({.m = pixels,
                       .n = s.c,
                       .k = s.k,
                       .in_dtype = dtype,
                       .out_dtype = dtype,
                       .a = y,
                       .a_transposed = false,
                       .b = weight,
                       .b_transposed = false,
                       .c = const_cast<void*>(x)});
      case ConvPass::kBackwardWeights:
        return matmul({.m = s.k,
                       .n = s.c,
                       .k = pixels,
                       .in_dtype = dtype,
                       .out_dtype = key_.weight_dtype,
                       .a = y,
                       .a_transposed = true,
                       .b = x,
                       .b_transposed = false,
                       .c = const_cast<void*>(weight)});
    }
  }

 private:
  ConvKey key_;
};

// A plan, and its name among the choices.
struct Candidate {
  std::string name;
  ConvPlanPtr plan;
};

std::vector<Candidate> candidates_for(const ConvKey& key) {
  constexpr std::size_t kMost = 4;
  std::vector<Candidate> all;
  if (!legacy_convolutions()) {
    for (ConvPlanPtr& plan : offer_plans(key, kMost)) {
      all.push_back({"engine " + std::to_string(all.size()), std::move(plan)});
    }
    if (is_pointwise(key.args.shape)) {
      all.push_back({"matmul", std::make_unique<MatmulPlan>(key)});
    }
  }
  if (!all.empty()) return all;
  if (ConvPlanPtr legacy = make_legacy_plan(key)) {
    all.push_back({"legacy", std::move(legacy)});
  }
  return all;
}

// By cuDNN and cuBLASLt. Each kind of convolution is planned once.
class Conv final : public ConvKernels {
 public:
  void forward(const ConvArgs& args, const void* x, const void* weight,
               const float* bias, void* y) override {
    if (args.shape.n == 0) return;
    const ConvKey key = key_of(args, ConvPass::kForward);
    required(plan_for(key, x, weight, y), key).run(x, weight, y);
    if (bias != nullptr) {
      add_bias(pixels_of_y(args.shape), args.shape.k, args.dtype, bias, y);
    }
  }

  void backward_data(const ConvArgs& args, const void* dy, const void* weight,
                     void* dx) override {
    if (args.shape.n == 0) return;
    const ConvKey key = key_of(args, ConvPass::kBackwardData);
    required(plan_for(key, dx, weight, dy), key).run(dx, weight, dy);
  }

  // Where nothing gives f32 from halves, the sums are rounded to halves.
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
    if (ConvPlan* plan = plan_for(key, x, dweight, dy)) {
      plan->run(x, dweight, dy);
    } else {
      key.weight_dtype = args.dtype;
      void* rounded = scratch(s.weight_count() * size_of(args.dtype));
      required(plan_for(key, x, rounded, dy), key).run(x, rounded, dy);
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

  static ConvPlan& required(ConvPlan* plan, const ConvKey& key) {
    if (plan != nullptr) return *plan;
    throw Error("cuDNN has no deterministic way to compute the convolution " +
                text_of(key));
  }

  // Null where there is none.
  ConvPlan* plan_for(const ConvKey& key, const void* x, const void* weight,
                     const void* y) {
    if (const unsigned set = conv_choices_set(); set != choices_set_) {
      plans_.clear();
      choices_set_ = set;
    }
    auto found = plans_.find(key);
    if (found == plans_.end()) {
      found = plans_.emplace(key, choose(key, x, weight, y)).first;
    }
    return found->second.get();
  }

  ConvPlanPtr choose(const ConvKey& key, const void* x, const void* weight,
                     const void* y) {
    std::vector<Candidate> all = candidates_for(key);
    if (all.empty()) return nullptr;
    std::size_t chosen = 0;
    if (const auto name = conv_choice(key)) {
      const auto named =
          std::find_if(all.begin(), all.end(),
                       [&](const Candidate& one) { return one.name == *name; });
      if (named != all.end()) {
        chosen = static_cast<std::size_t>(named - all.begin());
      }
    } else if (conv_tuning() && all.size() > 1) {
      chosen = fastest(all, x, weight, y);
      add_conv_choice(key, all[chosen].name);
    }
    return std::move(all[chosen].plan);
  }

  // On the very arrays of the call.
  std::size_t fastest(const std::vector<Candidate>& all, const void* x,
                      const void* weight, const void* y) {
    std::size_t best = 0;
    double best_seconds = std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < all.size(); ++i) {
      const double seconds = seconds_of(*all[i].plan, x, weight, y);
      if (seconds < best_seconds) {
        best = i;
        best_seconds = seconds;
      }
    }
    return best;
  }

  // The shortest of a few runs, after one that is not counted; infinity where
  // the engine, compiled as it is, does not run.
  double seconds_of(ConvPlan& plan, const void* x, const void* weight,
                    const void* y) {
    constexpr int kRuns = 4;
    double shortest = std::numeric_limits<double>::infinity();
    try {
      for (int i = 0; i <= kRuns; ++i) {
        timer_.start();
        plan.run(x, weight, y);
        timer_.stop();
        if (i > 0) shortest = std::min(shortest, timer_.seconds());
      }
    } catch (const Error&) {
      static_cast<void>(cudaGetLastError());
      return std::numeric_limits<double>::infinity();
    }
    return shortest;
  }

  StreamTimer timer_;
  std::unique_ptr<ElementwiseKernels> convert_ = make_elementwise();
  std::map<ConvKey, ConvPlanPtr> plans_;
  unsigned choices_set_ = conv_choices_set();  // when the plans were made
};

}  // namespace

std::unique_ptr<ConvKernels> make_conv() { return std::make_unique<Conv>(); }

}  // namespace ringlet::cuda
