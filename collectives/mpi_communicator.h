#pragma once

#include <cstddef>
#include <memory>

#include "collectives/communicator.h"
#include "collectives/host_communicator.h"

namespace ringlet {

// The back end "mpi": MPI's own MPI_Allreduce, MPI_Bcast and MPI_Barrier, on a
// communicator of its own: what "ring" is measured against. Starts MPI when
// needed. Collective, on the main thread.
//
// MPI counts with an int; larger calls are made in pieces of at most
// `largest_piece` elements (tests make it small).
std::unique_ptr<Communicator> make_mpi_communicator(
    std::size_t largest_piece = std::size_t{1} << 30);

// The same without a progress thread.
std::unique_ptr<HostCollectives> make_mpi_collectives(
    std::size_t largest_piece = std::size_t{1} << 30);

}  // namespace ringlet
