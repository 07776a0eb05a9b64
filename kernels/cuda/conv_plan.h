#pragma once

#include <compare>
#include <memory>
#include <string>
#include <vector>

#include "kernels/conv.h"

namespace ringlet::cuda {

enum class ConvPass { kForward, kBackwardData, kBackwardWeights };

// What a plan depends on, beside the versions of cuDNN and of the GPU.
struct ConvKey {
  ConvArgs args;
  ConvPass pass;
  Dtype weight_dtype;  // of dweight in backward_weights: f32, or as args.dtype
  bool tf32;           // whether f32 may be computed so

  auto operator<=>(const ConvKey&) const = default;
};

// "forward of [128, 64, 32, 32] bf16 with 64 filters 3x3, stride 1, ...": one
// text for each key.
std::string text_of(const ConvKey& key);

// A way to compute a convolution: for one shape, type and pass.
class ConvPlan {
 public:
  virtual ~ConvPlan() = default;
  // Two of the three are read, and the pass's result is written. Enqueued on
  // this thread's stream, with this thread's workspace.
  virtual void run(const void* x, const void* weight, const void* y) = 0;
};
using ConvPlanPtr = std::unique_ptr<ConvPlan>;

// Those that cuDNN's heuristics offer, the likely fastest first, up to `most`
// of them: none where it has no engine. The same ones in the same order for the
// same GPU and version. Engines that give other bits at each run are left out,
// and for f32 without TF32 those with tensor cores.
std::vector<ConvPlanPtr> offer_plans(const ConvKey& key, std::size_t most);

// By cuDNN's former interface, which is deprecated but has been there for long:
// where the other one has no engine, and to compare it with. Null where it has
// no algorithm that gives the same bits at each run.
ConvPlanPtr make_legacy_plan(const ConvKey& key);

}  // namespace ringlet::cuda
