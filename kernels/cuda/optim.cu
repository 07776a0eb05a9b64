#include "kernels/cuda/context.h"
#include "kernels/cuda/families.h"
#include "kernels/cuda/optim.cuh"

namespace ringlet::cuda {
namespace {

class Optim final : public OptimKernels {
 public:
  void sgd(const SgdArgs& args) override {
    if (args.count == 0) return;
    args.half_dtype == Dtype::kF16 ? run<__half>(args)
                                   : run<__nv_bfloat16>(args);
    for (const HashArgs& one : args.hashes) hash(one);
  }

  void squared_norm(std::size_t count, const float* values,
                    double* result) override {
    const unsigned blocks = blocks_for(count / kPack + 1, kNormThreads);
    launch(sum_of_squares, dim3(1, blocks), dim3(kNormThreads), 0, stream(),
           count, values,
           static_cast<double*>(scratch(blocks * sizeof(double))), counters(),
           result);
  }

  void lars(const LarsArgs& args) override {
    if (args.range_count == 0) return;
    launch(lars_ranges, dim3(static_cast<unsigned>(args.range_count)),
           dim3(kLarsThreads), 0, stream(), args);
  }

  void ema(const EmaArgs& args) override {
    if (args.count == 0) return;
    constexpr unsigned kThreads = 256;
    launch(moving_average, dim3(blocks_for(args.count, kThreads)),
           dim3(kThreads), 0, stream(), args);
  }

  void hash(const HashArgs& args) override {
    launch(hash_ranges, dim3(static_cast<unsigned>(args.range_count)),
           dim3(kHashThreads), 0, stream(), args);
  }

 private:
  template <typename Half>
  static void run(const SgdArgs& args) {
    constexpr unsigned kThreads = 256;
    const SgdArrays<Half> arrays{args.grad, args.momentum_buffer,
                                 args.parameter, args.decays,
                                 static_cast<Half*>(args.half_copy)};
    const SgdConstants constants{.lr = 0,
                                 .gradient_scale = 0,
                                 .momentum = args.momentum,
                                 .weight_decay = args.weight_decay,
                                 .nesterov = args.nesterov};
    launch(cuda::sgd<Half>, dim3(blocks_for(args.count / kPack + 1, kThreads)),
           dim3(kThreads), 0, stream(), args.count, arrays, args.step,
           constants);
  }
};

}  // namespace

std::unique_ptr<OptimKernels> make_optim() { return std::make_unique<Optim>(); }

}  // namespace ringlet::cuda
