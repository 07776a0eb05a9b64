#pragma once

#include <array>
#include <chrono>
#include <cstddef>

namespace ringlet {

using Clock = std::chrono::steady_clock;

// Seconds since it was made.
class Stopwatch {
 public:
  double seconds(Clock::time_point now = Clock::now()) const {
    return std::chrono::duration<double>(now - start_).count();
  }

 private:
  Clock::time_point start_ = Clock::now();
};

// What a training step spends its time on. kCommunication is what backward did
// not hide: the wait for the last buckets. kDevice is a whole step on a GPU
// that the host did not follow.
enum class StepPhase {
  kData,
  kForward,
  kBackward,
  kCommunication,
  kOptimizer,
  kDevice
};
inline constexpr std::size_t kStepPhases = 6;

constexpr const char* name_of(StepPhase phase) {
  constexpr const char* kNames[kStepPhases] = {
      "data", "forward", "backward", "communication", "optimizer", "device"};
  return kNames[static_cast<std::size_t>(phase)];
}

// Splits a step's wall-clock time into its phases without a gap:
//
//   StepTimer timer;
//   batch = loader.next();       timer.lap(StepPhase::kData);
//   loss = model.forward(batch); timer.lap(StepPhase::kForward);
//
// Cost: one reading of the clock per lap, about 25 ns.
class StepTimer {
 public:
  explicit StepTimer(Clock::time_point now = Clock::now()) : last_(now) {}

  // The time since the start or the last lap was spent on `phase`.
  void lap(StepPhase phase, Clock::time_point now = Clock::now()) {
    seconds_[static_cast<std::size_t>(phase)] +=
        std::chrono::duration<double>(now - last_).count();
    last_ = now;
  }

  double seconds(StepPhase phase) const {
    return seconds_[static_cast<std::size_t>(phase)];
  }
  // The sum of the phases.
  double total() const {
    double sum = 0;
    for (const double phase : seconds_) sum += phase;
    return sum;
  }

 private:
  std::array<double, kStepPhases> seconds_{};
  Clock::time_point last_;
};

}  // namespace ringlet
