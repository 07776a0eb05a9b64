#include <fmt/format.h>

#include <exception>
#include <string>

#include "apps/commands.h"
#include "collectives/mpi_scope.h"
#include "engine/parallel/agreement.h"
#include "kernels/runtime/threads.h"

namespace {

using namespace ringlet;

struct Command {
  const char* name;
  const char* does;
  int (*run)(int argc, char** argv);
};

constexpr Command kCommands[] = {
    {"train", "trains a ResNet; under mpirun -np N, data-parallel on N ranks",
     train_command},
    {"launch",
     "starts another command on N ranks, by mpirun with sane settings",
     launch_command},
    {"verify", "trains some steps of a run again, in one process, and compares",
     verify_command},
    {"diff", "says where two runs part: step, layer and rank", diff_command},
    {"metrics", "prints the metrics of a run as CSV", metrics_command},
    {"eval", "evaluates weights on test pictures, class by class",
     eval_command},
    {"predict", "tells what is on PNG and JPEG pictures", predict_command},
    {"export", "writes weights for torchvision", export_command},
    {"import", "checks weights of torchvision, to train from them",
     import_command},
    {"explain", "draws an all-reduce algorithm, step by step", explain_command},
    {"crash", "says where the ranks of a run were when it died", crash_command},
    {"doctor", "says what on this machine is in the way, and how to mend it",
     doctor_command}};

void print_usage() {
  fmt::print("Usage: ringlet COMMAND [options]\n\n");
  for (const Command& command : kCommands) {
    fmt::print("  {:<8} {}\n", command.name, command.does);
  }
  fmt::print("\nringlet COMMAND --help tells more.\n");
}

int run(int argc, char** argv) {
  check_processor();
  const std::string wanted = argc > 1 ? argv[1] : "";
  for (const Command& command : kCommands) {
    if (wanted == command.name) return command.run(argc - 1, argv + 1);
  }
  if (wanted != "--help" && wanted != "-h") {
    throw SharedError(
        wanted.empty()
            ? "no command; see ringlet --help"
            : fmt::format("unknown command '{}'; see ringlet --help", wanted));
  }
  if (launch_info().rank == 0) print_usage();
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
