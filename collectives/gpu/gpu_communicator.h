#pragma once

#include <memory>

#include "collectives/communicator.h"

namespace ringlet {

// The collectives of `host`, which must outlive this one, on arrays in a GPU's
// memory. Our algorithms and auto work there: additions are done by the GPU,
// and slices go to a rank of the same host by CUDA IPC, else by way of pinned
// memory and messages. Arrays of others (mpi, shared, hierarchical, solo) are
// copied to the host, combined there, and copied back. What the library below
// knows of GPUs does not matter.
//
// Belongs to the thread whose work makes the arrays: a collective begins after
// all that this thread has enqueued on the GPU, and what it enqueues after
// run() or wait() finds the results. allocate() gives memory of the GPU. While
// the thread records (recording.h), calls become parts of the recording, in
// which the host makes them each time.
std::unique_ptr<Communicator> make_gpu_communicator(Communicator& host);

// The ranks of a host take its GPUs in turn: which one this rank has, and its
// choice, before any work on it.
int own_gpu();
void use_own_gpu();

}  // namespace ringlet
