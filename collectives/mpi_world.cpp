#include "collectives/mpi_world.h"

#include <string>

#include "kernels/runtime/check.h"

namespace ringlet {

void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  std::string reason(MPI_MAX_ERROR_STRING, '\0');
  int length = 0;
  if (MPI_Error_string(code, reason.data(), &length) != MPI_SUCCESS) {
    reason = fmt::format("unknown error {}", code);
  } else {
    reason.resize(static_cast<std::size_t>(length));
  }
  throw Error(fmt::format("{} failed: {}", call, reason));
}

MpiWorld::MpiWorld() : scope_(start_mpi()), info_(launch_info()) {
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &comm_), "MPI_Comm_dup");
}

MpiWorld::~MpiWorld() {
  if (!unwinding_) MPI_Comm_free(&comm_);
}

std::vector<int> MpiWorld::host_ranks() const {
  MPI_Comm host = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(comm_, MPI_COMM_TYPE_SHARED, info_.rank,
                                MPI_INFO_NULL, &host),
            "MPI_Comm_split_type");
  std::vector<int> ranks(static_cast<std::size_t>(info_.local_size));
  check_mpi(
      MPI_Allgather(&info_.rank, 1, MPI_INT, ranks.data(), 1, MPI_INT, host),
      "MPI_Allgather");
  check_mpi(MPI_Comm_free(&host), "MPI_Comm_free");
  return ranks;
}

}  // namespace ringlet
