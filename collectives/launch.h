#pragma once

#include <functional>
#include <string>

namespace ringlet {

// What a job's ranks know of each other before any communicator exists.
struct LaunchInfo {
  int rank = 0;
  int size = 1;
  int local_rank = 0;  // among the ranks of this host
  int local_size = 1;
  std::string launcher;  // who told, such as "Open MPI"; "" for one process

  bool operator==(const LaunchInfo&) const = default;
};

// What the launcher's environment says: Open MPI's mpirun, then PMI (MPICH and
// its relatives), then a Slurm step; one process alone otherwise. Local rank
// and size stay 0 and 1 where the launcher does not give both; once MPI runs,
// what MPI says of them counts (mpi_scope.h). Throws Error
// naming a variable that is not a number in its range. `variable` is getenv, or
// a test's.
LaunchInfo launch_info_from(
    const std::function<const char*(const char*)>& variable);

}  // namespace ringlet
