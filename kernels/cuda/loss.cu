#include "kernels/cuda/context.h"
#include "kernels/cuda/families.h"
#include "kernels/cuda/loss.cuh"

namespace ringlet::cuda {
namespace {

class Loss final : public LossKernels {
 public:
  void cross_entropy(const CrossEntropyArgs& args) override {
    with_activation_type(args.dtype, [&]<typename T>(T) {
      launch(softmax_cross_entropy<T>, dim3(1), dim3(kLossWarps * 32), 0,
             stream(), static_cast<int>(args.n), static_cast<int>(args.classes),
             static_cast<const T*>(args.logits), args.labels, args.other_labels,
             args.share, args.label_smoothing, args.scale, args.gradient_scale,
             static_cast<T*>(args.dlogits), args.result);
    });
  }
};

}  // namespace

std::unique_ptr<LossKernels> make_loss() { return std::make_unique<Loss>(); }

}  // namespace ringlet::cuda
