#pragma once

#include <functional>
#include <vector>

#include "collectives/communicator.h"
#include "engine/data/image_set.h"
#include "engine/nn/module.h"
#include "engine/train/compute.h"

namespace ringlet {

struct EvaluationResult {
  double loss;      // mean over the pictures
  double accuracy;  // share of right answers, 0 to 1
  std::size_t pictures;
};

// Mean loss and top-1 accuracy over a set in evaluation mode. The ranks share
// the pictures so that each is counted exactly once; all get the same result.
// Leaves the model in the mode it was in. `shards`: virtual ranks of each rank;
// the bits depend on the number of all of them alone. `on_progress` is told
// after each batch how many pictures the ranks are through with together.
EvaluationResult evaluate(
    Module& model, const ImageSet& images, Communicator& communicator,
    const ComputeOptions& compute = {}, std::size_t shards = 1,
    const std::function<void(std::size_t done)>& on_progress = nullptr);

// What the model says of each picture in evaluation mode, in this process
// alone: logits [pictures, classes], plain on the CPU. Leaves the model in the
// mode it was in. f32 only.
Tensor classify(Module& model, const ImageSet& images, Device device);

// Of what shards add up to, along a balanced binary tree.
double tree_sum(const std::vector<double>& values);

}  // namespace ringlet
