#include "bench/peers/open_mpi_algorithm.h"

#include <mpi.h>

#include <cstdlib>

#include "collectives/mpi_scope.h"
#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

constexpr const char* kAlgorithm = "coll_tuned_allreduce_algorithm";
constexpr const char* kSegment = "coll_tuned_allreduce_algorithm_segmentsize";
constexpr int kSegmentBytes = 1 << 20;

// Writes one of Open MPI's settings, which it reads again whenever a
// communicator is made. False where there is no such setting.
bool set(const char* name, int value) {
  int index = 0, count = 0;
  MPI_T_cvar_handle handle;
  if (MPI_T_cvar_get_index(name, &index) != MPI_SUCCESS) return false;
  if (MPI_T_cvar_handle_alloc(index, nullptr, &handle, &count) != MPI_SUCCESS) {
    return false;
  }
  const bool written = MPI_T_cvar_write(handle, &value) == MPI_SUCCESS;
  MPI_T_cvar_handle_free(&handle);
  return written;
}

}  // namespace

void prepare_open_mpi_algorithms() {
  setenv("OMPI_MCA_coll_tuned_use_dynamic_rules", "1", 1);
}

OpenMpiAlgorithm::OpenMpiAlgorithm(int number) : number_(number) {
  if (number_ == 0) return;
  start_mpi();
  int granted = 0;
  MPI_T_init_thread(MPI_THREAD_SINGLE, &granted);
  if (!set(kAlgorithm, number_) || !set(kSegment, kSegmentBytes)) {
    throw Error(fmt::format(
        "mpi:{}: this MPI has no setting {}; expected Open MPI with its tuned "
        "collectives",
        number_, kAlgorithm));
  }
}

void OpenMpiAlgorithm::release() noexcept {
  if (number_ == 0) return;
  set(kAlgorithm, 0);
  set(kSegment, 0);
  MPI_T_finalize();
  number_ = 0;
}

}  // namespace ringlet
