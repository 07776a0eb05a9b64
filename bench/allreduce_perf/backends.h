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
//   auto+guard, ...       the same with a guard, as in training
std::string backend_help();

// Throws Error where `spec` is none of them.
void check_backend(const std::string& spec);

// The first that is one of our algorithms. Throws Error where none is.
std::string first_of_ours(const std::vector<std::string>& specs);

// To be called before MPI starts: what Open MPI must be told by then.
void prepare_backends(const std::vector<std::string>& specs);

// Collective, on the main thread.
std::unique_ptr<Communicator> make_backend(const std::string& spec,
                                           const PerfOptions& options);

// One all-reduce of the largest size by the first of our algorithms among
// --backends, recorded into the file of --trace. Throws Error where it cannot
// be written. Collective.
void write_trace(const PerfOptions& options);

}  // namespace ringlet
