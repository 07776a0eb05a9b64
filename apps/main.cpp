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
    "  train   trains a ResNet; under mpirun -np N, data-parallel on N ranks\n"
    "\n"
    "ringlet COMMAND --help tells more.\n";

int run(int argc, char** argv) {
  check_processor();
  const std::string command = argc > 1 ? argv[1] : "";
  if (command == "train") return train_command(argc - 1, argv + 1);
  if (launch_info().rank > 0) return command == "--help" ? 0 : 1;
  if (command == "--help" || command == "-h") {
    fmt::print("{}", kUsage);
    return 0;
  }
  if (command.empty()) {
    fmt::print(stderr, "{}", kUsage);
  } else {
    fmt::print(stderr, "ringlet: unknown command '{}', expected train\n",
               command);
  }
  return 1;
}

// Prints the error once for the whole job, then ends all ranks. An error that
// every rank has is rank 0's to print; one that a rank has alone is its own,
// but should several fail together the lowest comes first, and ends the others
// while they wait.
[[noreturn]] void fail(const std::exception& error) {
  constexpr milliseconds kHeadStart{100}, kLongest{1000};
  const LaunchInfo self = launch_info();
  const bool shared = dynamic_cast<const SharedError*>(&error) != nullptr;
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
