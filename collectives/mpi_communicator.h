#pragma once

#include <cstddef>
#include <memory>

#include "collectives/host_communicator.h"

namespace ringlet {

// The back end "mpi": MPI's own collectives, on a communicator of its own: what
// "ring" is measured against. Starts MPI when needed. Collective, on the main
// thread.
//
// MPI counts with an int: all_reduce, reduce and broadcast of more elements are
// made in pieces of at most `largest_piece` (tests make it small);
// reduce_scatter and all_gather of 2^31 elements per rank and more are refused.
std::unique_ptr<HostCollectives> make_mpi_collectives(
    std::size_t largest_piece = std::size_t{1} << 30);

}  // namespace ringlet
