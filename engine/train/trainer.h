#pragma once

#include <functional>
#include <optional>

#include "collectives/communicator.h"
#include "engine/data/data_loader.h"
#include "engine/metrics/stopwatch.h"
#include "engine/nn/module.h"
#include "engine/optim/sgd.h"
#include "engine/parallel/data_parallel.h"
#include "engine/train/evaluate.h"
#include "engine/train/options.h"

namespace ringlet {

// One step, as all ranks know it.
struct StepResult {
  std::size_t step;   // from 1, over the whole run
  std::size_t epoch;  // from 1
  double loss;        // mean over the global batch
  double lr;
  std::size_t images;   // of the global batch
  std::size_t correct;  // of those, before the update
  StepTimer time;       // of this rank
};

struct EpochResult {
  std::size_t epoch;  // from 1
  double train_loss, train_accuracy;
  double seconds;                              // of this epoch's training steps
  std::optional<EvaluationResult> validation;  // where one was due
};

// Who is told how the run goes on; every rank calls, one listens.
struct TrainObserver {
  std::function<void(const StepResult&)> step = [](const StepResult&) {};
  std::function<void(const EpochResult&)> epoch = [](const EpochResult&) {};
  // While an evaluation goes on: pictures seen so far, and of how many.
  std::function<void(std::size_t done, std::size_t count)> evaluating =
      [](std::size_t, std::size_t) {};
};

// The training loop, data-parallel over the communicator's ranks.
class Trainer {
 public:
  // `data`, `model` and `communicator` must outlive the trainer. The model is
  // initialised; rank 0's values count.
  Trainer(const TrainOptions& options, const TrainPlan& plan, Module& model,
          const Dataset& data, Communicator& communicator);

  // Trains for plan.total_steps, evaluating every options.eval_every epochs
  // and at the end. Afterwards all ranks hold the same parameters and buffers.
  void run(const TrainObserver& observer);

  DataParallel& parallel() { return parallel_; }
  const SGD& optimizer() const { return sgd_; }

 private:
  StepResult step(const Batch& batch, StepTimer timer);

  const TrainOptions& options_;
  TrainPlan plan_;
  Module& model_;
  const Dataset& data_;
  Communicator& communicator_;
  DataParallel parallel_;
  SGD sgd_;
  std::size_t steps_done_ = 0;
};

}  // namespace ringlet
