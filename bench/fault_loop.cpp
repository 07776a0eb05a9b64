// A program for faults: under mpirun, all-reduces of two buckets per step, as
// training makes them, whose sums every rank checks. What one rank does to the
// others is the back end's to say; bench/faults.py runs it.
//
//   mpirun -np 3 fault_loop ring --fault rank=1,op=all_reduce#40,kind=stop
//
// Exit status: 0 all sums right; 4 a wrong sum; else what the error has.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <string>
#include <thread>

#include "collectives/communicator.h"
#include "collectives/guard/fault.h"
#include "collectives/guard/watchdog.h"
#include "collectives/mpi_scope.h"
#include "engine/parallel/agreement.h"
#include "kernels/runtime/threads.h"

namespace {

using namespace ringlet;

constexpr int kWrong = 4;

struct Options {
  std::string back_end = "auto";
  std::string fault, run;
  bool check_calls = true;
  double timeout = 60;
  int steps = 50, step_ms = 4, slow_rank = -1;
};

// The least and the most of what lies in the middle: a value that only some
// elements have is wrong.
bool holds(const float* data, std::size_t count, float value) {
  const auto [least, most] = std::minmax_element(data, data + count);
  return *least == value && *most == value;
}

int run(const Options& options) {
  set_kernel_threads(1);
  const auto mpi = start_mpi();
  Watchdog::handle_sigterm();
  const auto communicator = make_communicator(
      options.back_end,
      {.guard = GuardOptions{.check_calls = options.check_calls,
                             .timeout_seconds = options.timeout},
       .fault = options.fault});
  if (!options.run.empty()) communicator->keep_calls(options.run);
  constexpr std::size_t kFirst = 262'144, kSecond = 10'000;
  const Buffer memory =
      communicator->allocate((kFirst + kSecond) * sizeof(float));
  auto* data = reinterpret_cast<float*>(memory.data());
  const int rank = communicator->rank(), ranks = communicator->size();
  const int milliseconds =
      options.step_ms * (rank == options.slow_rank ? 2 : 1);
  for (int step = 1; step <= options.steps; ++step) {
    communicator->set_training_step(step);
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    std::fill_n(data, kFirst, static_cast<float>(step));
    std::fill_n(data + kFirst, kSecond, static_cast<float>(-step));
    Work first = communicator->all_reduce_async(data, kFirst, Dtype::kF32,
                                                ReduceOp::kSum, 0);
    Work second = communicator->all_reduce_async(
        data + kFirst, kSecond, Dtype::kF32, ReduceOp::kSum, 1);
    first.wait();
    second.wait();
    const auto sum = static_cast<float>(step * ranks);
    if (!holds(data, kFirst, sum) || !holds(data + kFirst, kSecond, -sum)) {
      fmt::print(stderr, "rank {}: a wrong sum in step {}\n", rank, step);
      std::fflush(nullptr);
      abort_job(kWrong);
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("All-reduces in which something goes wrong", "fault_loop");
  app.add_option("backend", options.back_end, "Back end")
      ->check(CLI::IsMember(communicator_names()));
  app.add_option("--fault", options.fault, fault_help());
  app.add_option("--run", options.run, "Folder for calls and crash card");
  app.add_flag("!--no-check", options.check_calls, "Do not compare calls");
  app.add_option("--timeout", options.timeout, "Seconds; 0: no watchdog");
  app.add_option("--steps", options.steps, "Steps");
  app.add_option("--step-ms", options.step_ms, "Milliseconds between them");
  app.add_option("--slow", options.slow_rank,
                 "A rank that takes twice as long");
  CLI11_PARSE(app, argc, argv);
  try {
    return run(options);
  } catch (const std::exception& error) {
    end_job("ringlet", error);
  }
}
