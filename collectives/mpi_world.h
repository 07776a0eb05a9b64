#pragma once

#include <mpi.h>

#include <memory>
#include <vector>

#include "collectives/mpi_scope.h"

namespace ringlet {

// Throws Error with the call's name and MPI's reason unless `code` is success.
void check_mpi(int code, const char* call);

// A communicator of our own over all ranks, so that our messages never meet
// anybody else's. Making and ending it is collective.
class MpiWorld {
 public:
  MpiWorld();
  ~MpiWorld();
  MpiWorld(const MpiWorld&) = delete;
  MpiWorld& operator=(const MpiWorld&) = delete;

  MPI_Comm comm() const { return comm_; }
  const LaunchInfo& info() const { return info_; }
  // Of this host, rising. Collective.
  std::vector<int> host_ranks() const;

 private:
  std::shared_ptr<MpiScope> scope_;
  LaunchInfo info_;
  MPI_Comm comm_ = MPI_COMM_NULL;
  Unwinding unwinding_;
};

}  // namespace ringlet
