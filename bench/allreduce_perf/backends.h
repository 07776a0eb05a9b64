#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bench/allreduce_perf/options.h"
#include "collectives/communicator.h"

namespace ringlet {

// What can be measured: a name, and what some can be given behind a colon.
//   ring, naive, tree, recursive_doubling, ordered[:SLICE]  ours, over MPI
//   shared, hierarchical                                    by shared memory
//   auto                                                    by the table
//   mpi                   MPI's own, without a line of ours around the call
//   mpi:N                 Open MPI's tuned all-reduce algorithm N, 1 to 6
//   mpi_communicator      MPI's own through our interface: what that costs
//   gloo                  Gloo's all-reduce over TCP on this host
//   ring+bf16, +f16, ...  ours, or nccl, with 16 bits on the wire; not shared
//   auto+guard, ...       the same with a guard, as in training
// and of arrays on a GPU:
//   nccl                  NCCL's
//   ring+pinned, ...      ours by way of pinned host memory, not by CUDA IPC
std::string backend_help();

// Throws Error where `spec` is none of them, for arrays there.
void check_backend(const std::string& spec, Device device);

bool is_nccl(const std::string& spec);

// See Collective.
Dtype wire_of(const std::string& spec);

// Takes those out that cannot run here, the same on all ranks, and says why.
// Throws Error where none is left. Collective.
std::vector<std::string> drop_impossible(PerfOptions& options,
                                         Communicator& control);

// The first that is one of our algorithms. Throws Error where none is.
std::string first_of_ours(const std::vector<std::string>& specs);

// To be called before MPI starts: what Open MPI must be told by then.
void prepare_backends(const std::vector<std::string>& specs);

// For arrays of the host; not nccl. Collective, on the main thread.
std::unique_ptr<Communicator> make_backend(const std::string& spec,
                                           const PerfOptions& options);

// One all-reduce of the largest size by the first of our algorithms among
// --backends, recorded into the file of --trace. Throws Error where it cannot
// be written. Collective.
void write_trace(const PerfOptions& options);

}  // namespace ringlet
