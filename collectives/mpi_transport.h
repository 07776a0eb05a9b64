#pragma once

#include <cstddef>
#include <memory>

#include "collectives/host_memory.h"
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

// What the ranks of this host share, the same for all communicators of this
// process: an array that one of them has allocated is good for the others.
// Collective. `transport` is one over MPI.
std::shared_ptr<HostMemory> mpi_host_memory(const Transport& transport);

}  // namespace ringlet
