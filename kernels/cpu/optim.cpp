#include "kernels/optim.h"

#include "kernels/cpu/families.h"

namespace ringlet::cpu {
namespace {

class Optim final : public OptimKernels {
 public:
  void sgd(const SgdArgs& args) override {
    const float* __restrict grad = args.grad;
    float* __restrict buffer = args.momentum_buffer;
    float* __restrict parameter = args.parameter;
    const float own = args.nesterov ? 1.0f : 0.0f;
    const float share = args.nesterov ? args.momentum : 1.0f;
#pragma omp parallel for simd
    for (std::size_t i = 0; i < args.count; ++i) {
      const float g = grad[i] + args.weight_decay * parameter[i];
      const float m = args.momentum * buffer[i] + g;
      buffer[i] = m;
      parameter[i] -= args.lr * (own * g + share * m);
    }
  }

  // x * 0 is 0 for finite x and NaN for all others.
  bool all_finite(std::size_t count, const float* values) override {
    float sum = 0;
#pragma omp parallel for simd reduction(+ : sum)
    for (std::size_t i = 0; i < count; ++i) sum += values[i] * 0.0f;
    return sum == 0;
  }
};

}  // namespace

std::unique_ptr<OptimKernels> make_optim() { return std::make_unique<Optim>(); }

}  // namespace ringlet::cpu
