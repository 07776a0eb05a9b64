// How fast a training step is, and why: images/s, the time by phase and by
// kind of kernel, the share of the processor's peak that is reached, and what
// a step asks of the system. The pictures are random and stay in memory, so
// that nothing but the step is measured. Also under mpirun; of several --comm,
// each takes a step in turn, and they are compared.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "bench/measure/order.h"
#include "bench/measure/statistics.h"
#include "bench/profile/allocations.h"
#include "bench/profile/fma_peak.h"
#include "bench/profile/kernel_profile.h"
#include "collectives/communicator.h"
#include "collectives/launch.h"
#include "collectives/mpi_scope.h"
#include "engine/autograd/ops.h"
#include "engine/metrics/process_usage.h"
#include "engine/metrics/stopwatch.h"
#include "engine/optim/sgd.h"
#include "engine/parallel/data_parallel.h"
#include "kernels/runtime/error.h"
#include "kernels/runtime/philox.h"
#include "kernels/runtime/threads.h"
#include "models/resnet.h"

namespace {

using namespace ringlet;
using nlohmann::ordered_json;

constexpr std::size_t kClasses = 10;
constexpr std::int64_t kPixels = 32;  // both ways, as in CIFAR-10
constexpr double kPeakSeconds = 0.5;
constexpr double kGiga = 1e9;

struct Options {
  std::string model = "resnet50", conv = "auto", json;
  std::vector<std::string> comms;
  std::size_t batch = 128, steps = 10, warmup = 3;
  int threads = 0;
  bool each = false;
};

// One step of this rank.
struct Step {
  StepTimer time;
  long page_faults;
  AllocationCounts allocated;
};

// This rank's equal part of the batch.
struct Samples {
  Tensor images, labels;
  std::size_t global_count;

  Samples(std::size_t batch, const Communicator& ranks) : global_count(batch) {
    const auto n = static_cast<std::int64_t>(
        batch / static_cast<std::size_t>(ranks.size()));
    images = Tensor({n, 3, kPixels, kPixels});
    labels = Tensor({n}, Dtype::kI32);
    PhiloxStream random(1, RandomPurpose::kSyntheticData, 0,
                        static_cast<std::uint32_t>(ranks.rank()));
    for (std::size_t i = 0; i < images.count(); ++i) {
      images.data()[i] = 2 * random.uniform() - 1;
    }
    for (std::size_t i = 0; i < labels.count(); ++i) {
      labels.data<std::int32_t>()[i] =
          static_cast<std::int32_t>(random.below(kClasses));
    }
  }
};

class Training {
 public:
  Training(const Options& options, Communicator& communicator)
      : samples_(options.batch, communicator),
        model_(make_resnet(options.model, {.classes = kClasses})),
        parallel_((model_->initialize(1), *model_), communicator),
        sgd_(parallel_.arena(), {.momentum = 0.9f, .weight_decay = 5e-4f}) {
    model_->train();
  }

  Step step() {
    const long faults = process_usage().page_faults;
    const AllocationCounts before = allocation_counts();
    StepTimer timer;
    parallel_.start_step();
    const Variable logits = model_->forward(Variable(samples_.images));
    const CrossEntropyOutput out = cross_entropy(
        logits, samples_.labels, {.global_batch = samples_.global_count});
    timer.lap(StepPhase::kForward);
    backward(out.loss);
    timer.lap(StepPhase::kBackward);
    parallel_.finalize();
    timer.lap(StepPhase::kCommunication);
    if (!parallel_.gradients_are_finite()) {
      throw Error("a gradient is not finite");
    }
    sgd_.step(kRate);
    timer.lap(StepPhase::kOptimizer);
    const AllocationCounts after = allocation_counts();
    return {timer,
            process_usage().page_faults - faults,
            {after.bytes - before.bytes, after.calls - before.calls,
             after.large_calls - before.large_calls}};
  }

 private:
  static constexpr float kRate = 1e-3f;

  Samples samples_;
  std::unique_ptr<ResNet> model_;
  DataParallel parallel_;
  SGD sgd_;
};

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

ordered_json kernels_of(const KernelProfile& profile, std::size_t steps) {
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

double flops_of(const KernelProfile& profile) {
  double flops = 0;
  for (const auto& entry : profile.entries()) flops += entry.flops;
  return flops;
}

ordered_json measure(const Options& options, Communicator& communicator) {
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

// Steps with each back end in turn, in a new order in each round; ratios are of
// the times of a round, to the last back end's.
ordered_json compare(
    const Options& options,
    const std::vector<std::unique_ptr<Communicator>>& communicators) {
  const std::size_t n = communicators.size();
  std::vector<std::unique_ptr<Training>> trainings;
  for (const auto& communicator : communicators) {
    trainings.push_back(std::make_unique<Training>(options, *communicator));
  }
  std::vector<std::vector<double>> seconds(n), exposed(n);
  for (std::size_t i = 0; i < options.warmup + options.steps; ++i) {
    for (const std::size_t k : shuffled(n, 1, i)) {
      communicators[k]->barrier();
      const Step step = trainings[k]->step();
      if (i < options.warmup) continue;
      seconds[k].push_back(step.time.total());
      exposed[k].push_back(step.time.seconds(StepPhase::kCommunication));
    }
  }
  ordered_json result = ordered_json::array();
  for (std::size_t k = 0; k < n; ++k) {
    const Estimate wait = median_estimate(exposed[k]);
    const Estimate ratio = paired_ratio(seconds[k], seconds.back());
    result.push_back({{"communicator", communicators[k]->name()},
                      {"model", options.model},
                      {"batch", options.batch},
                      {"ranks", communicators[k]->size()},
                      {"threads", kernel_threads()},
                      {"steps", options.steps},
                      {"images_per_second",
                       static_cast<double>(options.batch) / median(seconds[k])},
                      {"exposed_communication",
                       {{"median", wait.median},
                        {"low", wait.interval.low},
                        {"high", wait.interval.high}}},
                      {"time_ratio",
                       {{"median", ratio.median},
                        {"low", ratio.interval.low},
                        {"high", ratio.interval.high}}}});
  }
  return result;
}

void print_comparison(const ordered_json& results) {
  const auto& first = results.front();
  fmt::print("{}, batch {} on {} ranks of {} thread(s); {} steps of each\n",
             first["model"].get<std::string>(), first["batch"].dump(),
             first["ranks"].dump(), first["threads"].dump(),
             first["steps"].dump());
  fmt::print("{:<20} {:>8}  {:<28}  {}\n", "", "images/s",
             "exposed communication, ms",
             "step's time / " +
                 results.back()["communicator"].get<std::string>() + "'s");
  for (const auto& r : results) {
    const auto& wait = r["exposed_communication"];
    const auto& ratio = r["time_ratio"];
    fmt::print("{:<20} {:8.1f}  {:<28}  {:.3f} [{:.3f} {:.3f}]\n",
               r["communicator"].get<std::string>(),
               r["images_per_second"].get<double>(),
               fmt::format("{:.1f} [{:.1f} {:.1f}]",
                           1e3 * wait["median"].get<double>(),
                           1e3 * wait["low"].get<double>(),
                           1e3 * wait["high"].get<double>()),
               ratio["median"].get<double>(), ratio["low"].get<double>(),
               ratio["high"].get<double>());
  }
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

int run(Options options) {
  const LaunchInfo launched = launch_info();
  const int threads = options.threads > 0
                          ? options.threads
                          : std::max(1, host_cores() / launched.local_size);
  set_kernel_threads(threads);
  if (options.conv == "direct") set_conv_algorithm(ConvAlgorithm::kDirect);
  if (options.comms.empty()) {
    options.comms = {launched.size > 1 ? "auto" : "solo"};
  }
  std::vector<std::unique_ptr<Communicator>> communicators;
  for (const std::string& comm : options.comms) {
    communicators.push_back(make_communicator(comm));
  }
  Communicator& communicator = *communicators.front();
  const auto ranks = static_cast<std::size_t>(communicator.size());
  if (options.batch % ranks != 0 || options.batch == 0) {
    throw Error(fmt::format("--batch-size {}: expected a multiple of {} ranks",
                            options.batch, ranks));
  }
  const bool several = communicators.size() > 1;
  const ordered_json result = several ? compare(options, communicators)
                                      : measure(options, communicator);
  if (communicator.rank() > 0) return 0;
  if (several) {
    print_comparison(result);
  } else if (!options.each) {
    print_table(result);
  }
  if (!options.json.empty()) {
    std::ofstream file(options.json);
    if (!(file << result.dump(1) << std::endl)) {
      throw Error(options.json + ": cannot write");
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app("Measures training steps; under mpirun -np N, on N ranks.",
               "train_perf");
  app.option_defaults()->always_capture_default();
  app.add_option("--model", o.model, "Network, with the CIFAR stem")
      ->check(CLI::IsMember(resnet_names()));
  app.add_option("--batch-size", o.batch, "Pictures of all ranks in a step");
  app.add_option("--steps", o.steps, "Steps to measure")
      ->check(CLI::PositiveNumber);
  app.add_option("--warmup", o.warmup, "Steps before them");
  app.add_option("--threads", o.threads, "Of the kernels, per rank")
      ->default_str("cores / ranks");
  app.add_option("--comm", o.comms, "All-reduce; several, as ring,mpi,auto")
      ->delimiter(',')
      ->default_str("auto; solo for one rank")
      ->check(CLI::IsMember(communicator_names()));
  app.add_option("--conv", o.conv, "Convolutions")
      ->check(CLI::IsMember({"auto", "direct"}));
  app.add_option("--json", o.json, "File for the figures");
  app.add_flag("--each", o.each,
               "Print begin and end of each step instead of the table");
  CLI11_PARSE(app, argc, argv);
  try {
    return run(o);
  } catch (const std::exception& error) {
    fmt::print(stderr, "train_perf: {}\n", error.what());
    abort_job(1);
  }
}
