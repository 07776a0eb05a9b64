#pragma once

#include <functional>

#include "engine/autograd/ops.h"
#include "engine/data/data_loader.h"
#include "engine/nn/module.h"
#include "engine/parallel/data_parallel.h"
#include "engine/parallel/step_buffers.h"
#include "engine/parallel/synchronised_batch_norm.h"
#include "engine/train/step_phases.h"

namespace ringlet {

// What a rank computes of a step: forward and backward over the shards of its
// batch, one after the other. The loss is divided by the global batch, so that
// gradients and losses of all shards of all ranks only have to be added.
class MicroBatches {
 public:
  // All must outlive this. `batch_norm` is null where ranks share no
  // statistics.
  MicroBatches(Module& model, DataParallel& parallel,
               const StepBuffers& buffers, SynchronisedBatchNorm* batch_norm,
               float label_smoothing)
      : model_(model),
        parallel_(parallel),
        buffers_(buffers),
        batch_norm_(batch_norm),
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
  void run_nothing(const Batch& batch, std::size_t shard) const;

  Module& model_;
  DataParallel& parallel_;
  const StepBuffers& buffers_;
  SynchronisedBatchNorm* batch_norm_;
  float label_smoothing_;
};

}  // namespace ringlet
