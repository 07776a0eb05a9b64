#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <thread>

#include "apps/commands.h"
#include "collectives/mpi_scope.h"
#include "engine/parallel/agreement.h"
#include "kernels/runtime/threads.h"

namespace {

using namespace ringlet;
using std::chrono::milliseconds;

constexpr const char* kUsage =
    "Usage: ringlet COMMAND [options]\n"
    "\n"
    "  train    trains a ResNet; under mpirun -np N, data-parallel on N ranks\n"
    "  launch   starts another command on N ranks, by mpirun with sane "
    "settings\n"
    "  explain  draws an all-reduce algorithm, step by step\n"
    "\n"
    "ringlet COMMAND --help tells more.\n";

int run(int argc, char** argv) {
  check_processor();
  const std::string command = argc > 1 ? argv[1] : "";
  if (command == "train") return train_command(argc - 1, argv + 1);
  if (command == "launch") return launch_command(argc - 1, argv + 1);
  if (command == "explain") return explain_command(argc - 1, argv + 1);
  if (command != "--help" && command != "-h") {
    throw SharedError(fmt::format(
        "{}, expected train, launch or explain; see ringlet --help",
        command.empty() ? "no command"
                        : fmt::format("unknown command '{}'", command)));
  }
  if (launch_info().rank == 0) fmt::print("{}", kUsage);
  return 0;
}

// Who this is; rank 0 where the launcher's account of it is the error.
LaunchInfo self_or_first() {
  try {
    return launch_info();
  } catch (const Error&) {
    return {};
  }
}

// Prints the error once for the whole job, then ends all ranks. An error that
// every rank has is rank 0's to print, and the others wait until it has; one
// that a rank has alone is its own, but should several fail together the lowest
// comes first, and ends the others while they wait.
[[noreturn]] void fail(const std::exception& error) {
  constexpr milliseconds kHeadStart{100}, kLongest{1000}, kWait{2000};
  const LaunchInfo self = self_or_first();
  const bool shared = dynamic_cast<const SharedError*>(&error) != nullptr;
  if (shared && self.rank > 0) std::this_thread::sleep_for(kWait);
  std::this_thread::sleep_for(std::min(kHeadStart * self.rank, kLongest));
  if (!shared && self.size > 1) {
    fmt::print(stderr, "ringlet: rank {}: {}\n", self.rank, error.what());
  } else if (self.rank == 0) {
    fmt::print(stderr, "ringlet: {}\n", error.what());
  }
  std::fflush(nullptr);
  abort_job(1);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    fail(error);
  }
}
