#include "collectives/launch.h"

#include <charconv>
#include <climits>
#include <cstring>

#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

using Lookup = std::function<const char*(const char*)>;

struct LauncherVariables {
  const char* launcher;
  const char* rank;
  const char* size;
  const char* local_rank = nullptr;
  const char* local_size = nullptr;
};

// In this order: an mpirun may itself run inside a Slurm step. A Slurm batch
// script has SLURM_NTASKS too, but only what srun starts has a step.
constexpr LauncherVariables kLaunchers[] = {
    {"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
     "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"},
    {"PMI", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"},
    {"Slurm", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"},
};

int number(const Lookup& variable, const char* name, int least, int most) {
  const char* text = variable(name);
  const char* end = text + std::strlen(text);
  int value = 0;
  const auto [parsed, error] = std::from_chars(text, end, value);
  if (error != std::errc() || parsed != end || value < least || value > most) {
    throw Error(
        fmt::format("environment variable {} is '{}', expected a number from "
                    "{} to {}",
                    name, text, least, most));
  }
  return value;
}

}  // namespace

LaunchInfo launch_info_from(const Lookup& variable) {
  for (const LauncherVariables& names : kLaunchers) {
    if (!variable(names.rank) || !variable(names.size)) continue;
    LaunchInfo info;
    info.launcher = names.launcher;
    info.size = number(variable, names.size, 1, INT_MAX);
    info.rank = number(variable, names.rank, 0, info.size - 1);
    if (names.local_rank && variable(names.local_rank) &&
        variable(names.local_size)) {
      info.local_size = number(variable, names.local_size, 1, info.size);
      info.local_rank =
          number(variable, names.local_rank, 0, info.local_size - 1);
    }
    return info;
  }
  return {};
}

}  // namespace ringlet
