#pragma once

#include <iosfwd>
#include <memory>

#include "engine/io/run_directory.h"
#include "engine/metrics/event_file.h"
#include "engine/metrics/jsonl.h"
#include "engine/metrics/progress.h"
#include "engine/train/trainer.h"

namespace ringlet {

// What rank 0 writes of a run: the progress on the terminal and, in the run's
// folder, metrics.jsonl with one object per step and one per epoch:
//
//   {"kind": "step", "step": 1, "epoch": 1, "loss": 2.30, "accuracy": 0.125,
//    "lr": 0.05, "gradient_norm": 1.7, "images": 32, "images_per_second": 25.1,
//    "time": {"data": 0.001, "forward": 0.4, "backward": 0.8,
//    "communication": 0.01, "optimizer": 0.01}}       times in seconds, rank 0
//                             and "skipped": true where there was no update
//   {"kind": "epoch", "epoch": 1, "seconds": 178.2, "train": {"loss": 1.9,
//    "accuracy": 0.31}, "validation": {"loss": 1.7, "accuracy": 0.45,
//    "pictures": 1000}, "ranks": [{"peak_memory_mib": 1450.2,
//    "cpu_seconds": 180.3}, ...]}            each rank's, since its start
//
// and, if the options say so, the same numbers of steps and epochs as scalars
// in tensorboard/.
class RunLog {
 public:
  // Of a run that goes on after `steps_done`. `columns` are those of `out` as a
  // terminal, 0 where it is none.
  RunLog(const RunDirectory& directory, const TrainOptions& options,
         const TrainPlan& plan, std::size_t steps_done, int columns,
         std::ostream& out);

  void step(const StepResult& result);
  void epoch(const EpochResult& result);
  void evaluating(std::size_t done, std::size_t count);

  // A line of its own above the progress.
  void note(const std::string& text);

  // Ends the progress and prints the last lines: what came of it.
  void summary();
  // The same where the run was stopped.
  void stopped();

 private:
  std::ostream& out_;
  JsonLines metrics_;
  std::optional<EventFile> events_;  // for TensorBoard, if it is wanted
  std::unique_ptr<Progress> progress_;
  const RunDirectory& directory_;
  std::size_t images_ = 0, skipped_ = 0, last_step_ = 0;
  double seconds_ = 0;
  std::optional<EvaluationResult> validation_;
};

}  // namespace ringlet
