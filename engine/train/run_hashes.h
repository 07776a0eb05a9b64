#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "collectives/communicator.h"
#include "engine/data/image_set.h"
#include "engine/data/sampler.h"
#include "engine/io/hash_log.h"
#include "engine/parallel/data_parallel.h"
#include "engine/train/options.h"
#include "kernels/optim.h"

namespace ringlet {

// Follows a training by hashes of what it computes: see StepHashes. Cost: some
// arithmetic in each step on rank 0, while the optimizer has it in the caches.
class RunHashes {
 public:
  // `options`, `parallel` and `communicator` must outlive this. Reads all of
  // `images` once.
  RunHashes(const TrainOptions& options, const TrainPlan& plan,
            const ImageSet& images, Communicator& communicator,
            const DataParallel& parallel);

  // For SGD::step(): gradients and weights, on rank 0 where there is a log;
  // none elsewhere.
  std::span<const HashArgs> wanted() const;

  // What the step that has just ended was, on rank 0; null elsewhere, and where
  // there is no log. `hashed`: SGD::step() was given wanted().
  std::shared_ptr<const StepHashes> of_step(
      std::size_t step, double loss, double gradient_norm,
      const std::vector<StepHashes::Shard>& shards, bool hashed);

  // Compares the ranks' weights, where that has become due since the last call,
  // and after the last step.
  // Throws a SharedError that names the step, the bucket, the parameters and
  // the ranks whose weights are other than most ranks'. Collective.
  void check_weights(std::size_t step);

 private:
  // As it lies in the device's memory.
  std::vector<std::uint64_t> result_of(const HashArgs& args) const;
  std::uint64_t data_of(std::size_t step);

  const TrainOptions& options_;
  std::size_t total_steps_;
  DistributedSampler sampler_;  // of all ranks' pictures
  Communicator& communicator_;
  const DataParallel& parallel_;
  Buffer ranges_, hashes_;        // on the arena's device
  std::array<HashArgs, 2> args_;  // gradients, weights
  std::uint64_t images_ = 0;      // what they are, on rank 0
  std::vector<std::uint32_t> order_;
  std::size_t epoch_of_order_ = 0;  // from 1; 0: none
  std::size_t checked_ = 0;         // the last step's
};

}  // namespace ringlet
