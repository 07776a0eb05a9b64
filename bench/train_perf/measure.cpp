#include <fmt/format.h>

#include <chrono>
#include <cstdio>

#include "bench/measure/statistics.h"
#include "bench/profile/fma_peak.h"
#include "bench/profile/kernel_profile.h"
#include "bench/train_perf/reports.h"
#include "engine/metrics/process_usage.h"
#include "kernels/runtime/threads.h"

namespace ringlet {
namespace {

using nlohmann::ordered_json;

constexpr double kPeakSeconds = 0.5;
constexpr double kGiga = 1e9;

// Every rank's value.
std::vector<double> of_all(Communicator& communicator, double mine) {
  std::vector<double> values(static_cast<std::size_t>(communicator.size()));
  values[static_cast<std::size_t>(communicator.rank())] = mine;
  communicator.all_reduce(values.data(), values.size(), Dtype::kF64,
                          ReduceOp::kSum);
  return values;
}

double total(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum;
}

// Of all ranks' cores at once.
double fma_peak(Communicator& communicator) {
  communicator.barrier();
  return total(of_all(communicator, fma_peak_gflops(kPeakSeconds)));
}

template <typename Value>
double median_of(const std::vector<Step>& steps, Value value) {
  std::vector<double> values;
  for (const Step& step : steps) {
    values.push_back(static_cast<double>(value(step)));
  }
  return median(values);
}

ordered_json kernels_of(KernelProfile& profile, std::size_t steps) {
  ordered_json kernels = ordered_json::object();
  for (const KernelProfile::Entry& entry : profile.entries()) {
    const double seconds = entry.seconds / static_cast<double>(steps);
    kernels[entry.name] = {{"seconds", seconds},
                           {"calls", entry.calls / steps}};
    if (entry.flops > 0) {
      kernels[entry.name]["gflops"] = entry.flops / entry.seconds / kGiga;
    }
  }
  return kernels;
}

double flops_of(KernelProfile& profile) {
  double flops = 0;
  for (const auto& entry : profile.entries()) flops += entry.flops;
  return flops;
}

}  // namespace

ordered_json measure(const TrainPerfOptions& options,
                     Communicator& communicator) {
  const double before = fma_peak(communicator);
  Training training(options, communicator);
  for (std::size_t i = 0; i < options.warmup; ++i) training.step();
  KernelProfile profile;
  std::vector<Step> steps;
  std::vector<double> seconds;
  for (std::size_t i = 0; i < options.steps; ++i) {
    steps.push_back(training.step());
    seconds.push_back(steps.back().time.total());
    if (!options.each || communicator.rank() > 0) continue;
    const double end =
        std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
    fmt::print(
        "{}\n",
        ordered_json{{"begin", end - seconds.back()}, {"end", end}}.dump());
    std::fflush(stdout);
  }
  const double after = fma_peak(communicator);

  const auto batch = static_cast<double>(options.batch);
  const auto speed = [&](double q) { return batch / quantile(seconds, 1 - q); };
  const double gflop_per_image =
      total(of_all(communicator, flops_of(profile))) /
      static_cast<double>(options.steps) / batch / kGiga;
  const double peak = (before + after) / 2;
  ordered_json result{
      {"model", options.model},
      {"batch", options.batch},
      {"ranks", communicator.size()},
      {"threads", kernel_threads()},
      {"communicator", communicator.name()},
      {"library", backend_version()},
      {"steps", options.steps},
      {"images_per_second",
       {{"median", speed(0.5)},
        {"q25", speed(0.25)},
        {"q75", speed(0.75)},
        {"min", speed(0)},
        {"max", speed(1)}}},
      {"gflop_per_image", gflop_per_image},
      {"fma_peak_gflops", {{"before", before}, {"after", after}}},
      {"share_of_peak", speed(0.5) * gflop_per_image / peak}};
  for (std::size_t i = 1; i < kStepPhases; ++i) {
    const auto phase = static_cast<StepPhase>(i);
    result["seconds"][name_of(phase)] = median_of(
        steps, [&](const Step& step) { return step.time.seconds(phase); });
  }
  result["kernels"] = kernels_of(profile, options.steps);
  const auto per_rank = [&](const char* name, double mine) {
    result["per_rank"][name] = of_all(communicator, mine);
  };
  per_rank("page_faults_per_step",
           median_of(steps, [](const Step& s) { return s.page_faults; }));
  per_rank("allocated_bytes_per_step",
           median_of(steps, [](const Step& s) { return s.allocated.bytes; }));
  per_rank("allocations_per_step",
           median_of(steps, [](const Step& s) { return s.allocated.calls; }));
  std::size_t large = 0;
  for (const Step& step : steps) large += step.allocated.large_calls;
  per_rank("large_allocations", static_cast<double>(large));
  per_rank("peak_memory_mib", process_usage().peak_memory_mib);
  return result;
}

void print_table(const ordered_json& r) {
  const auto& speed = r["images_per_second"];
  fmt::print("{}, batch {} on {} rank(s) of {} thread(s), {}, {}; {} steps\n",
             r["model"].get<std::string>(), r["batch"].dump(),
             r["ranks"].dump(), r["threads"].dump(),
             r["communicator"].get<std::string>(),
             r["library"].get<std::string>(), r["steps"].dump());
  fmt::print(
      "images/s       {:.1f} (median; quartiles {:.1f} to {:.1f}; all {:.1f} "
      "to {:.1f})\n",
      speed["median"].get<double>(), speed["q25"].get<double>(),
      speed["q75"].get<double>(), speed["min"].get<double>(),
      speed["max"].get<double>());
  fmt::print(
      "FMA peak       {:.0f} GFLOP/s before, {:.0f} after; {:.2f} GFLOP "
      "per image: {:.0f} % of it reached\n",
      r["fma_peak_gflops"]["before"].get<double>(),
      r["fma_peak_gflops"]["after"].get<double>(),
      r["gflop_per_image"].get<double>(),
      100 * r["share_of_peak"].get<double>());
  fmt::print("seconds        ");
  for (const auto& [phase, seconds] : r["seconds"].items()) {
    fmt::print("{} {:.3f}  ", phase, seconds.get<double>());
  }
  fmt::print("\n");
  for (const auto& [name, kernel] : r["kernels"].items()) {
    fmt::print("  {:<22} {:7.1f} ms in {:3} calls", name,
               1e3 * kernel["seconds"].get<double>(), kernel["calls"].dump());
    if (kernel.contains("gflops")) {
      fmt::print(", {:.0f} GFLOP/s", kernel["gflops"].get<double>());
    }
    fmt::print("\n");
  }
  for (const auto& [name, values] : r["per_rank"].items()) {
    fmt::print("{:<26}", name);
    for (const auto& value : values) fmt::print(" {:.0f}", value.get<double>());
    fmt::print("\n");
  }
}

}  // namespace ringlet
