#include "engine/train/step_phases.h"

namespace ringlet {
namespace {

constexpr bool is_at(StepPhase phase, EventKind kind) {
  return static_cast<int>(phase) == static_cast<int>(kind);
}
static_assert(is_at(StepPhase::kData, EventKind::kData) &&
              is_at(StepPhase::kForward, EventKind::kForward) &&
              is_at(StepPhase::kBackward, EventKind::kBackward) &&
              is_at(StepPhase::kCommunication, EventKind::kCommunication) &&
              is_at(StepPhase::kOptimizer, EventKind::kOptimizer) &&
              is_at(StepPhase::kDevice, EventKind::kDevice));

}  // namespace

StepPhases::StepPhases(const Communicator& ranks, std::size_t step)
    : ranks_(&ranks), step_(step) {
  show(0);
}

void StepPhases::start(StepPhase phase, std::size_t pass) {
  activity_.reset();
  timer_.lap(phase_);
  phase_ = phase;
  show(pass);
}

const StepTimer& StepPhases::end() {
  activity_.reset();
  timer_.lap(phase_);
  return timer_;
}

void StepPhases::show(std::size_t pass) {
  if (ranks_ == nullptr) return;
  activity_.emplace(*ranks_, static_cast<EventKind>(phase_), step_, pass);
}

}  // namespace ringlet
