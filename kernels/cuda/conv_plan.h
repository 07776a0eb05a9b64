#pragma once

#include <memory>
#include <vector>

#include "kernels/conv.h"
#include "kernels/cuda/cudnn_descriptor.h"

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

// A convolution that cuDNN has compiled: for one shape, type and pass.
class ConvPlan {
 public:
  // Those that cuDNN's heuristics offer, the likely fastest first, up to `most`
  // of them: none where it has no engine. Engines that give other bits at each
  // run are left out, and for f32 without TF32 those with tensor cores.
  static std::vector<ConvPlan> offers(cudnnHandle_t handle, const ConvKey& key,
                                      std::size_t most);

  // x, weight, y: two are read, and the pass's result is written. Enqueued on
  // the handle's stream.
  void run(cudnnHandle_t handle, const void* x, const void* weight,
           const void* y, void* workspace) const;

  std::size_t workspace_bytes() const { return workspace_bytes_; }

 private:
  // All that the plan was made from lives as long as it.
  using Parts = std::vector<CudnnDescriptor>;

  ConvPlan(std::shared_ptr<const Parts> graph, CudnnDescriptor configuration,
           CudnnDescriptor plan, std::size_t workspace_bytes)
      : graph_(std::move(graph)),
        configuration_(std::move(configuration)),
        plan_(std::move(plan)),
        workspace_bytes_(workspace_bytes) {}

  static Parts graph_of(cudnnHandle_t handle, const ConvKey& key);

  std::shared_ptr<const Parts> graph_;
  CudnnDescriptor configuration_, plan_;
  std::size_t workspace_bytes_;
};

}  // namespace ringlet::cuda
