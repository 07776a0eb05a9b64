#pragma once

#include <optional>

#include "collectives/activity.h"
#include "engine/metrics/stopwatch.h"

namespace ringlet {

// Goes through the phases of a training step: times them, without a gap, and
// shows each as the Activity of the same name.
//
//   StepPhases phases(communicator, 12);   // the step begins with its data
//   batch = loader.next();
//   phases.start(StepPhase::kForward);     // the data are there
//   ...
//   const StepTimer& time = phases.end();
class StepPhases {
 public:
  // Shows nothing.
  StepPhases() = default;
  // Of step `step`, as in the metrics. The communicator must outlive this.
  StepPhases(const Communicator& ranks, std::size_t step);

  // `phase` begins, and the one before is over. `pass`: over which part of the
  // rank's batch.
  void start(StepPhase phase, std::size_t pass = 0);
  // The last one is over.
  const StepTimer& end();

 private:
  void show(std::size_t pass);

  const Communicator* ranks_ = nullptr;
  std::size_t step_ = 0;
  StepPhase phase_ = StepPhase::kData;
  StepTimer timer_;
  std::optional<Activity> activity_;
};

}  // namespace ringlet
