#pragma once

#include "collectives/communicator.h"
#include "engine/nn/module.h"

namespace ringlet {

// Batch norm over the pictures of all ranks (SyncBatchNorm): while this lives,
// the training statistics of the model's batch norms, and what their gradients
// need of them, are summed over the ranks, each picture counting alike whatever
// rank has how many. Two all-reduces of some kilobytes for each batch norm in
// each pass, for which its rank waits; behind the buckets of gradients that are
// on their way, since one communicator does all in the order of the calls.
// Nothing is communicated in evaluation.
class SynchronisedBatchNorm {
 public:
  // Both must outlive this; the communicator is for memory where the model is.
  SynchronisedBatchNorm(Module& model, Communicator& communicator)
      : model_(model) {
    shared_.add_up = [&communicator](const Tensor& values) {
      communicator.all_reduce(values.raw(), values.count(), Dtype::kF64,
                              ReduceOp::kSum);
    };
    model.share_statistics(&shared_);
  }
  ~SynchronisedBatchNorm() { model_.share_statistics(nullptr); }
  SynchronisedBatchNorm(const SynchronisedBatchNorm&) = delete;
  SynchronisedBatchNorm& operator=(const SynchronisedBatchNorm&) = delete;

  // Whether the pictures of the next forward() are of the batch. A rank that
  // has none goes through one that is not, so that it makes the calls of the
  // others.
  void count_pictures(bool counts) { shared_.counts = counts; }

 private:
  Module& model_;
  SharedStatistics shared_;
};

}  // namespace ringlet
