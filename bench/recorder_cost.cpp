// What recording costs: all-reduces of ResNet-50's gradients with and without a
// recorder, in turns, under mpirun. Each round has one of either; their ratio
// does not know how busy the machine is, as two runs one after the other would.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <vector>

#include "bench/measure/statistics.h"
#include "collectives/communicator.h"
#include "collectives/mpi_scope.h"
#include "collectives/recorder.h"
#include "engine/metrics/stopwatch.h"
#include "kernels/runtime/error.h"

namespace {

using namespace ringlet;

struct Options {
  std::string comm = "ring";
  std::size_t count = 23'520'842;  // parameters of ResNet-50 for ten classes
  std::size_t rounds = 60, warmup = 4;
};

// Of the slowest rank.
double seconds(Communicator& communicator, std::vector<float>& data) {
  communicator.barrier();
  const Stopwatch watch;
  communicator.all_reduce(data.data(), data.size(), Dtype::kF32,
                          ReduceOp::kSum);
  double taken = watch.seconds();
  communicator.all_reduce(&taken, 1, Dtype::kF64, ReduceOp::kMax);
  return taken;
}

// Nanoseconds for one event, by itself. The fastest of some passes, which are
// short enough that nobody comes in between: what it takes of the processor.
double event_cost(Recorder& recorder) {
  constexpr std::size_t kEvents = 10'000;
  std::vector<double> passes;
  for (int pass = 0; pass < 200; ++pass) {
    recorder.clear();
    const Stopwatch watch;
    for (std::size_t i = 0; i < kEvents; ++i) {
      Event event{};
      event.begin = Clock::now().time_since_epoch().count();
      event.end = Clock::now().time_since_epoch().count();
      recorder.add(event);
    }
    passes.push_back(watch.seconds() / kEvents * 1e9);
  }
  recorder.clear();
  return quantile(passes, 0);
}

void print_estimate(const char* what, const std::vector<double>& values,
                    double unit) {
  const Estimate estimate = median_estimate(values);
  fmt::print(
      "{:<18} {:8.4f} (95 % {:.4f} to {:.4f}; all {:.4f} to "
      "{:.4f})\n",
      what, estimate.median * unit, estimate.interval.low * unit,
      estimate.interval.high * unit, quantile(values, 0) * unit,
      quantile(values, 1) * unit);
}

void run(const Options& options) {
  const auto mpi = start_mpi();
  const auto recorder = std::make_shared<Recorder>();
  const auto without = make_communicator(options.comm);
  const auto with = make_communicator(options.comm, {.recorder = recorder});
  if (with->recorder() == nullptr) {
    throw Error(fmt::format("--comm {}: records nothing", options.comm));
  }
  const double event_ns = event_cost(*recorder);
  // Zeros, since nothing else stays the same when it is summed again and again.
  std::vector<float> data(options.count);
  std::vector<double> off, on, ratios;
  std::size_t events = 0;
  for (std::size_t i = 0; i < options.warmup + options.rounds; ++i) {
    double without_it = 0, with_it = 0;
    // Whoever is first would have the colder caches each time.
    if (i % 2 == 0) without_it = seconds(*without, data);
    recorder->clear();
    with_it = seconds(*with, data);
    events = recorder->events().size();
    if (i % 2 == 1) without_it = seconds(*without, data);
    if (i < options.warmup) continue;
    off.push_back(without_it);
    on.push_back(with_it);
    ratios.push_back(with_it / without_it);
  }
  if (with->rank() > 0) return;
  fmt::print("{} of {} bytes on {} ranks, {} rounds\n", options.comm,
             options.count * sizeof(float), with->size(), options.rounds);
  print_estimate("ms without", off, 1e3);
  print_estimate("ms with", on, 1e3);
  print_estimate("with / without", ratios, 1);
  fmt::print(
      "{} events per round at {:.0f} ns each: {:.3f} % of the fastest\n",
      events, event_ns,
      100 * static_cast<double>(events) * event_ns * 1e-9 / quantile(off, 0));
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app("Measures what recording costs; under mpirun -np N.",
               "recorder_cost");
  app.option_defaults()->always_capture_default();
  app.add_option("--comm", o.comm, "One of our algorithms");
  app.add_option("--count", o.count, "Floats");
  app.add_option("--rounds", o.rounds, "Pairs of all-reduces");
  app.add_option("--warmup", o.warmup, "Rounds before them");
  CLI11_PARSE(app, argc, argv);
  try {
    run(o);
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "recorder_cost: {}\n", error.what());
    abort_job(1);
  }
}
