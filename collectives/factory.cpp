#include "collectives/communicator.h"
#include "collectives/mpi_communicator.h"
#include "collectives/mpi_scope.h"
#include "collectives/mpi_transport.h"
#include "collectives/ring_communicator.h"
#include "collectives/solo_communicator.h"
#include "kernels/runtime/check.h"

namespace ringlet {

std::unique_ptr<Communicator> make_communicator(
    const std::string& name, const CommunicatorOptions& options) {
  if (name == "ring") {
    return make_ring_communicator(make_mpi_transport(), options);
  }
  if (name == "mpi") return make_mpi_communicator();
  if (name != "solo") {
    throw Error(fmt::format(
        "unknown communicator '{}', expected solo, ring or mpi", name));
  }
  const LaunchInfo launched = launch_info();
  if (launched.size > 1) {
    throw Error(fmt::format(
        "communicator 'solo' is for one rank, but {} started {}: use ring or "
        "mpi",
        launched.launcher, launched.size));
  }
  return make_solo_communicator();
}

}  // namespace ringlet
