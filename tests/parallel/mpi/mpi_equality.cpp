// Runs under mpirun: what tests/parallel proves on threads as ranks, once more
// on processes, with the back end that is named on the command line.

#include <fmt/format.h>

#include <cstdio>
#include <exception>

#include "collectives/mpi_scope.h"
#include "collectives/solo_communicator.h"
#include "kernels/backend.h"
#include "kernels/runtime/check.h"
#include "kernels/runtime/threads.h"
#include "parallel/equality.h"

namespace {

using namespace ringlet;
using namespace ringlet::testing;

void check_exact(Communicator& communicator, Communicator& alone) {
  set_conv_algorithm(ConvAlgorithm::kDirect);
  for (const std::size_t global_batch : {1, 2, 4, 16}) {
    RINGLET_CHECK(shared_gradient(communicator, global_batch, true) ==
                      shared_gradient(alone, global_batch, true),
                  "rank {}: batch {}: not one process's gradient",
                  communicator.rank(), global_batch);
  }
  set_conv_algorithm(ConvAlgorithm::kAutomatic);
}

void check_near(Communicator& communicator, Communicator& alone) {
  constexpr double kFloor = 1e-5, kFactor = 3;
  for (const std::size_t global_batch : {3, 13}) {
    const std::vector<double> exact = reference_gradient(global_batch);
    const double ours =
        distance(shared_gradient(communicator, global_batch, false), exact);
    const double one =
        distance(shared_gradient(alone, global_batch, false), exact);
    RINGLET_CHECK(ours <= std::max(kFactor * one, kFloor),
                  "batch {}: distance {} from float64, one process {}",
                  global_batch, ours, one);
  }
}

}  // namespace

int main(int, char** argv) {
  try {
    set_kernel_threads(1);
    const auto communicator = make_communicator(argv[1]);
    const auto alone = make_solo_communicator();
    check_exact(*communicator, *alone);
    check_near(*communicator, *alone);
    check_replicas_stay_identical(*communicator);
  } catch (const std::exception& error) {
    fmt::print(stderr, "mpi_equality: {}\n", error.what());
    abort_job(1);
  }
}
