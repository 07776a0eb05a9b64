#pragma once

#include <optional>
#include <vector>

#include "engine/data/device_loader.h"
#include "engine/optim/sgd.h"
#include "engine/optim/weight_average.h"
#include "engine/parallel/data_parallel.h"
#include "engine/train/compute.h"
#include "engine/train/micro_batches.h"
#include "engine/train/options.h"
#include "engine/train/position.h"
#include "kernels/runtime/recording.h"
#include "kernels/step.h"

namespace ringlet {

// Training steps on a GPU that are recorded once and launched again for each
// step, and what becomes of them the host reads for many at once. For whole
// batches. On one rank, or on several that sum their gradients by NCCL, all
// from the gathering of the pictures to the optimizer is one CUDA graph. Where
// the host has a part in the sums, the graph is cut at each bucket: the host
// starts its all-reduce there, and goes on with the next piece of backward().
//
// The same kernels run on the same data as without it: the results are equal to
// the bit, but for the loss of three ranks or more (or of passes on two), whose
// parts are added in another order.
class RecordedSteps {
 public:
  // So many steps at most in a call of run().
  static constexpr std::size_t kMost = 16;

  // What the steps are made of. All must outlive this.
  struct Parts {
    const TrainPlan& plan;
    float clip_norm;
    const ComputeOptions& compute;
    const MicroBatches& micro_batches;
    DataParallel& parallel;
    SGD& optimizer;
    const WeightAverage* average;  // may be null
    const DeviceLoader& loader;
    const StepBuffers& buffers;
    const DevicePool& pool;  // of all that a step makes
  };

  // One such step must have run before.
  explicit RecordedSteps(const Parts& parts);

  // Does the next `count` steps, and gives what became of them; they are of one
  // epoch, at which the loader is. Changes position.loss_scale only.
  std::vector<cuda::StepRecord> run(TrainPosition& position, std::size_t count);

 private:
  // What the host and the GPU tell each other.
  struct Exchange {
    cuda::StepState state;
    cuda::StepRecord records[kMost];
  };

  void one_step() const;
  // The sum of the shards' results, on the GPU.
  CrossEntropyResult* sum(const std::vector<CrossEntropyOutput>& shards) const;
  // Where it lies on the GPU.
  Exchange* device() const {
    return reinterpret_cast<Exchange*>(device_.data());
  }

  Parts parts_;
  Buffer rates_;            // of all steps, f32
  Buffer device_, pinned_;  // an Exchange each
  Buffer sum_;              // of several shards' results
  std::optional<Recording> step_;
};

}  // namespace ringlet
