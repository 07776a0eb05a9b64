#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <vector>

#include "collectives/communicator.h"
#include "engine/data/data_loader.h"
#include "engine/metrics/stopwatch.h"
#include "engine/nn/module.h"
#include "engine/optim/sgd.h"
#include "engine/optim/weight_average.h"
#include "engine/parallel/data_parallel.h"
#include "engine/parallel/step_buffers.h"
#include "engine/train/evaluate.h"
#include "engine/train/micro_batches.h"
#include "engine/train/options.h"
#include "engine/train/position.h"
#include "engine/train/recorded_steps.h"
#include "engine/train/run_hashes.h"
#include "engine/train/step_phases.h"

namespace ringlet {

// One step, as all ranks know it.
struct StepResult {
  std::size_t step;   // from 1, over the whole run
  std::size_t epoch;  // from 1
  double loss;        // mean over the global batch
  double lr;
  std::size_t images;    // of the global batch
  std::size_t correct;   // of those, before the update
  double gradient_norm;  // of all ranks' sum, before it was clipped
  bool skipped;          // the loss or a gradient was not finite: no update
  std::size_t skipped_so_far;  // steps of the whole run, this one included
  StepTimer time;              // of this rank
  // On rank 0, where they are wanted; of several steps that a GPU has done by
  // itself, of the last one.
  std::shared_ptr<const StepHashes> hashes = nullptr;
};

// What a rank's process has taken of its machine so far.
struct RankUsage {
  double peak_memory_mib, cpu_seconds;
};

struct EpochResult {
  std::size_t epoch;  // from 1
  double train_loss, train_accuracy;
  double seconds;                              // of this epoch's training steps
  std::optional<EvaluationResult> validation;  // where one was due
  std::vector<RankUsage> usage;                // by rank
};

// Who is told how the run goes on; every rank calls, one listens.
struct TrainObserver {
  std::function<void(const StepResult&)> step = [](const StepResult&) {};
  std::function<void(const EpochResult&)> epoch = [](const EpochResult&) {};
  // The run can be continued from here: a checkpoint is due. Called between
  // steps, with the accuracy of an evaluation that this was the end of.
  std::function<void(const TrainPosition&, std::optional<double> accuracy)>
      checkpoint = [](const TrainPosition&, std::optional<double>) {};
  // While an evaluation goes on: pictures seen so far, and of how many.
  std::function<void(std::size_t done, std::size_t count)> evaluating =
      [](std::size_t, std::size_t) {};
};

// What somebody asks a running training for, from a signal handler say; all
// ranks do it after the same step, whichever was asked.
struct TrainRequests {
  std::atomic<bool> save{false};  // a checkpoint, and go on
  std::atomic<bool> stop{false};  // a checkpoint, and end
};

// So many steps in a row without a finite loss and gradient end the run.
inline constexpr std::size_t kMostSkipped = 20;

// The training loop, data-parallel over the communicator's ranks.
//
// A step whose loss or summed gradient holds a NaN or an infinity is skipped:
// the parameters, the momentum and batch norm's statistics stay as they were,
// on all ranks alike.
//
// A rank on a GPU goes through most steps as they were recorded
// (RecordedSteps): it then hears of requests, and tells of steps, some steps
// later.
class Trainer {
 public:
  // `data`, `model` and `communicator` must outlive the trainer. The model is
  // initialised, and on the device where it is to compute; rank 0's values
  // count.
  Trainer(const TrainOptions& options, const TrainPlan& plan, Module& model,
          const Dataset& data, Communicator& communicator,
          const ComputeOptions& compute = {});

  // Goes on from here: parameters, buffers and momentum (state of model and
  // optimizer) have been restored on all ranks.
  void resume(const TrainPosition& position);

  // Trains for plan.total_steps, evaluating every options.eval_every epochs
  // and at the end. Afterwards all ranks hold the same parameters and buffers.
  // False where `requests` stopped it before.
  bool run(const TrainObserver& observer, TrainRequests& requests);
  void run(const TrainObserver& observer) {
    TrainRequests none;
    run(observer, none);
  }

  DataParallel& parallel() { return parallel_; }
  // In the order of StepHashes: that in which backward() completes them.
  std::vector<std::string> parameter_names() const;
  const SGD& optimizer() const { return sgd_; }
  // Null where there is none.
  const WeightAverage* average() const {
    return average_ ? &*average_ : nullptr;
  }
  // The model's parameters and buffers, or their averages: what is evaluated.
  std::vector<std::pair<std::string, Tensor>> result() const;

 private:
  // Of a step, over all ranks.
  struct StepSums {
    double loss;
    std::size_t correct, images;
    double gradient_norm;
  };
  // What a rank says of a step, so that the sum over the ranks says it of all:
  // right answers, requests to save and to stop, and then for each shard of
  // each rank its loss and the hash of its gradients.
  std::vector<double> run_shards(const Batch& batch, StepPhases& phases);

  // False where it was stopped before its end.
  bool run_epoch(BatchSource& loader, const TrainObserver& observer,
                 TrainRequests& requests);
  // The next step, or some that the GPU does by itself.
  std::vector<StepResult> steps(BatchSource& loader, TrainRequests& requests);
  bool records_steps() const;
  // How many those may be; 0 where the next one is not such a step.
  std::size_t recordable_steps() const;
  std::vector<StepResult> recorded_steps(DeviceLoader& loader,
                                         std::size_t count);
  EvaluationResult validate(const TrainObserver& observer);
  std::optional<double> end_epoch(std::size_t epoch,
                                  const TrainObserver& observer);
  bool checkpoint_is_due() const;

  StepResult step(const Batch& batch, StepPhases& phases,
                  TrainRequests& requests);
  StepResult settle(const StepSums& sums, bool finite, const StepTimer& timer);
  void count(const StepResult& result);
  // Where cross_entropy finds it; null where it is 1.
  const float* set_gradient_scale() const;
  void skip();
  [[noreturn]] void fail_not_finite();

  const TrainOptions& options_;
  TrainPlan plan_;
  Module& model_;
  const Dataset& data_;
  Communicator& communicator_;
  ComputeOptions compute_;
  DataParallel parallel_;
  StepBuffers buffers_;
  std::optional<SynchronisedBatchNorm> batch_norm_;
  MicroBatches micro_batches_;
  SGD sgd_;
  std::optional<WeightAverage> average_;
  RunHashes hashes_;
  TrainPosition position_;
  Tensor gradient_scale_;  // on the device; undefined where it is always 1
  DevicePool pool_;        // of what steps make
  bool has_run_whole_batch_ = false;
  std::unique_ptr<RecordedSteps> recorded_;  // null until there are some
  // What the ranks agreed on in the last step.
  bool save_asked_ = false, stop_asked_ = false;
};

}  // namespace ringlet
