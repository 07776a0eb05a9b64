#include "engine/optim/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "kernels/runtime/error.h"

namespace ringlet {
namespace {

// PyTorch's defaults of OneCycleLR.
constexpr double kRisingShare = 0.3;
constexpr double kStartDivisor = 25;
constexpr double kEndDivisor = 1e4;

std::size_t steps_of(double epochs, const ScheduleOptions& options) {
  return static_cast<std::size_t>(
      std::llround(epochs * static_cast<double>(options.steps_per_epoch)));
}

// From `start` to `end` along half a cosine as `progress` goes from 0 to 1.
double half_cosine(double start, double end, double progress) {
  return end + (start - end) / 2 * (1 + std::cos(std::numbers::pi * progress));
}

// Milestones are compared in steps, where no rounding of epochs can move them.
double multi_step(const ScheduleOptions& options, std::size_t step) {
  const auto reached = std::count_if(
      options.milestones.begin(), options.milestones.end(),
      [&](double epoch) { return step >= steps_of(epoch, options); });
  return options.base_lr * std::pow(options.gamma, reached);
}

double one_cycle(double peak, double step, double total) {
  const double start = peak / kStartDivisor;
  const double top = kRisingShare * total - 1;  // the last rising step
  if (step <= top) return half_cosine(start, peak, step / top);
  return half_cosine(peak, start / kEndDivisor,
                     (step - top) / (total - 1 - top));
}

// The schedule without its warm-up: `step` of `total` after it.
double annealed(const ScheduleOptions& options, std::size_t step,
                std::size_t total) {
  const auto s = static_cast<double>(std::min(step, total));
  const auto n = static_cast<double>(total);
  if (options.kind == ScheduleKind::kCosine) {
    return half_cosine(options.base_lr, 0, s / n);
  }
  if (options.kind == ScheduleKind::kOneCycle) {
    return one_cycle(options.base_lr, std::min(s, n - 1), n);
  }
  return options.base_lr;
}

}  // namespace

ScheduleKind parse_schedule(const std::string& name) {
  constexpr std::pair<const char*, ScheduleKind> kNames[] = {
      {"constant", ScheduleKind::kConstant},
      {"multistep", ScheduleKind::kMultiStep},
      {"cosine", ScheduleKind::kCosine},
      {"onecycle", ScheduleKind::kOneCycle}};
  for (const auto& [known, kind] : kNames) {
    if (name == known) return kind;
  }
  throw Error(fmt::format(
      "schedule '{}', expected constant, multistep, cosine or onecycle", name));
}

double learning_rate(const ScheduleOptions& options, std::size_t step) {
  const std::size_t warmup = steps_of(options.warmup_epochs, options);
  // A run that ends inside its warm-up still needs a rate to climb to.
  const std::size_t total =
      options.total_steps > warmup ? options.total_steps - warmup : 1;
  const std::size_t after = step > warmup ? step - warmup : 0;
  const double rate = options.kind == ScheduleKind::kMultiStep
                          ? multi_step(options, std::max(step, warmup))
                          : annealed(options, after, total);
  if (step >= warmup) return rate;
  return rate * static_cast<double>(step + 1) / static_cast<double>(warmup + 1);
}

}  // namespace ringlet
