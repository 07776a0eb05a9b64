#pragma once

#include <optional>

#include "collectives/communicator.h"
#include "engine/nn/module.h"
#include "engine/parallel/shard_tree.h"

namespace ringlet {

struct StepBuffersOptions {
  // Whether a step leaves in batch norm's running statistics the mean over the
  // ranks; else each rank's own, of which rank 0's are evaluated and saved.
  bool averaged = false;
  // Shards that count as ranks: each begins with what was there before the
  // step, and if not averaged the first one's stay. 1: what one shard leaves,
  // the next goes on with.
  std::size_t virtual_ranks = 1;
};

// A model's buffers through the steps of a training, on their device:
//
//   buffers.start_step();
//   for (...) {
//     buffers.start_shard(i);  model.forward(...);  buffers.end_shard(i);
//   }
//   buffers.finalize();                     // averaged: a collective
//   if (nothing came of it) buffers.undo();
class StepBuffers {
 public:
  // `reducer` sums arrays on the buffers' device.
  StepBuffers(const Module::JoinedBuffers& buffers, Communicator& reducer,
              const StepBuffersOptions& options);

  void start_step() const;
  void start_shard(std::size_t shard) const;
  void end_shard(std::size_t shard) const;
  void finalize() const;
  void undo() const;

  const Tensor& all() const { return buffers_.all; }
  // What they were when the step began.
  const Tensor& before() const { return before_; }

 private:
  Module::JoinedBuffers buffers_;
  Communicator& reducer_;
  StepBuffersOptions options_;
  Tensor before_, first_;          // first_: what the first shard left
  std::optional<ShardTree> tree_;  // of several that are averaged
};

}  // namespace ringlet
