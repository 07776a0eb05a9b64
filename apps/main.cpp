#include <fmt/format.h>

#include <exception>
#include <string>

#include "apps/commands.h"
#include "collectives/mpi_scope.h"
#include "engine/parallel/agreement.h"
#include "kernels/runtime/threads.h"

namespace {

using namespace ringlet;

constexpr const char* kUsage =
    "Usage: ringlet COMMAND [options]\n"
    "\n"
    "  train    trains a ResNet; under mpirun -np N, data-parallel on N ranks\n"
    "  launch   starts another command on N ranks, by mpirun with sane "
    "settings\n"
    "  verify   trains some steps of a run again, in one process, and "
    "compares\n"
    "  diff     says where two runs part: step, layer and rank\n"
    "  explain  draws an all-reduce algorithm, step by step\n"
    "  crash    says where the ranks of a run were when it died\n"
    "\n"
    "ringlet COMMAND --help tells more.\n";

int run(int argc, char** argv) {
  check_processor();
  const std::string command = argc > 1 ? argv[1] : "";
  if (command == "train") return train_command(argc - 1, argv + 1);
  if (command == "launch") return launch_command(argc - 1, argv + 1);
  if (command == "verify") return verify_command(argc - 1, argv + 1);
  if (command == "diff") return diff_command(argc - 1, argv + 1);
  if (command == "explain") return explain_command(argc - 1, argv + 1);
  if (command == "crash") return crash_command(argc - 1, argv + 1);
  if (command != "--help" && command != "-h") {
    throw SharedError(fmt::format(
        "{}, expected train, launch, verify, diff, explain or crash; see "
        "ringlet --help",
        command.empty() ? "no command"
                        : fmt::format("unknown command '{}'", command)));
  }
  if (launch_info().rank == 0) fmt::print("{}", kUsage);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    end_job("ringlet", error);
  }
}
