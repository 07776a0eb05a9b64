#pragma once

#include <cstddef>
#include <memory>

#include "collectives/transport.h"

namespace ringlet {

// Messages over MPI, on a communicator of their own that has all ranks of the
// job; starts MPI when needed. Collective: every rank makes it at the same
// point, on the main thread.
//
// MPI counts bytes with an int; a longer message travels in pieces of at most
// `largest_piece` bytes (tests make it small).
std::unique_ptr<Transport> make_mpi_transport(
    std::size_t largest_piece = std::size_t{1} << 30);

}  // namespace ringlet
