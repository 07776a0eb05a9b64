#include "collectives/launch.h"

#include <climits>
#include <cstdio>
#include <sstream>
#include <string>

#include "kernels/runtime/check.h"
#include "kernels/runtime/number.h"

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
  const auto value = parse_number<int>(text);
  if (!value || *value < least || *value > most) {
    throw Error(
        fmt::format("environment variable {} is '{}', expected a number from "
                    "{} to {}",
                    name, text, least, most));
  }
  return *value;
}

// Of "2(x3),1", tasks on the first, second, ... node: those on `node`, from 0;
// 0 where the text says nothing of it.
int tasks_on_node(const std::string& text, int node) {
  std::istringstream parts(text);
  std::string part;
  int next = 0;
  while (std::getline(parts, part, ',')) {
    int tasks = 0, nodes = 1;
    if (std::sscanf(part.c_str(), "%d(x%d)", &tasks, &nodes) < 1) return 0;
    next += nodes;
    if (node < next) return tasks;
  }
  return 0;
}

// Slurm gives the rank on a node, but not how many there are on this one.
void take_slurm_node(const Lookup& variable, LaunchInfo& info) {
  const char* tasks = variable("SLURM_STEP_TASKS_PER_NODE");
  if (!tasks || !variable("SLURM_NODEID") || !variable("SLURM_LOCALID")) return;
  const int node = number(variable, "SLURM_NODEID", 0, INT_MAX);
  const int local_size = tasks_on_node(tasks, node);
  if (local_size < 1 || local_size > info.size) return;
  info.local_size = local_size;
  info.local_rank = number(variable, "SLURM_LOCALID", 0, local_size - 1);
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
    if (info.launcher == "Slurm") take_slurm_node(variable, info);
    return info;
  }
  return {};
}

}  // namespace ringlet
