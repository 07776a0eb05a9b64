#pragma once

#include <functional>

#include "engine/autograd/ops.h"
#include "engine/data/data_loader.h"
#include "engine/nn/module.h"
#include "engine/parallel/data_parallel.h"
#include "engine/parallel/step_buffers.h"
#include "engine/train/step_phases.h"

namespace ringlet {

// What a rank computes of a step: forward and backward over the shards of its
// batch, one after the other. The loss is divided by the global batch, so that
// gradients and losses of all shards of all ranks only have to be added.
class MicroBatches {
 public:
  // All must outlive this.
  MicroBatches(Module& model, DataParallel& parallel,
               const StepBuffers& buffers, float label_smoothing)
      : model_(model),
        parallel_(parallel),
        buffers_(buffers),
        label_smoothing_(label_smoothing) {}

  // Is told of each shard that has a picture, after its backward.
  using Done =
      std::function<void(std::size_t shard, const CrossEntropyOutput&)>;

  // Afterwards the gradients are the sums over the ranks. `gradient_scale`:
  // CrossEntropyOptions::gradient_scale. `phases` is at kForward before, and at
  // kCommunication after it.
  void run(const Batch& batch, const float* gradient_scale, StepPhases& phases,
           const Done& done) const;

 private:
  Module& model_;
  DataParallel& parallel_;
  const StepBuffers& buffers_;
  float label_smoothing_;
};

}  // namespace ringlet
