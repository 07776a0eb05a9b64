// How fast a training step is, and why: images/s, the time by phase and by
// kind of kernel, the share of the processor's peak that is reached, and what
// a step asks of the system. The pictures are random and stay in memory, so
// that nothing but the step is measured. Also under mpirun; of several --comm,
// each takes a step in turn, and they are compared.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>

#include "bench/train_perf/reports.h"
#include "collectives/launch.h"
#include "collectives/mpi_scope.h"
#include "kernels/backend.h"
#include "kernels/conv.h"
#include "kernels/runtime/error.h"
#include "kernels/runtime/threads.h"

namespace {

using namespace ringlet;

int run(TrainPerfOptions options) {
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
  const nlohmann::ordered_json result = several
                                            ? compare(options, communicators)
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
  TrainPerfOptions o;
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
