#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace ringlet {

// Learning rates as a pure function of the step, counted from 0 over the whole
// run, so that a resumed run continues as if it had never stopped. The formulas
// are PyTorch's, stepped once per optimizer step:
//
//   constant    base_lr
//   multistep   base_lr * gamma^(milestones reached), MultiStepLR
//   cosine      base_lr down to 0 along half a cosine, CosineAnnealingLR
//   onecycle    up from base_lr / 25 to base_lr in the first 30 % of the steps
//               and down to base_lr / 250,000, both along half a cosine,
//               OneCycleLR
enum class ScheduleKind { kConstant, kMultiStep, kCosine, kOneCycle };

// From the names above; throws an Error that lists them.
ScheduleKind parse_schedule(const std::string& name);

struct ScheduleOptions {
  ScheduleKind kind = ScheduleKind::kConstant;
  double base_lr = 0.1;
  std::vector<double> milestones = {};  // multistep: epochs, from the start
  double gamma = 0.1;                   // multistep
  // Linear warm-up (Goyal et al., "Accurate, large minibatch SGD", 2017): over
  // W = warmup_epochs * steps_per_epoch steps, step s takes (s + 1) / (W + 1)
  // of the rate with which the schedule starts, so step W is the first at full
  // rate. Cosine and one-cycle spread over the steps that remain after it.
  double warmup_epochs = 0;
  std::size_t steps_per_epoch = 1;
  std::size_t total_steps = 1;
};

// The rate of step `step`; beyond total_steps that of the end.
double learning_rate(const ScheduleOptions& options, std::size_t step);

}  // namespace ringlet
