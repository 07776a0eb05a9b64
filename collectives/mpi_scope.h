#pragma once

#include <memory>

#include "collectives/launch.h"
#include "collectives/unwinding.h"

namespace ringlet {

// MPI, from its start to its end. Communicators over MPI hold the scope, so MPI
// ends when the last of them and the last other holder are gone; it cannot be
// started again after that, so a program that makes communicators one after the
// other holds the scope itself, in main.
//
// An exception that unwinds through the last holder leaves MPI running, because
// MPI_Finalize would wait for ranks that know of no error. `main` catches it,
// prints it and calls abort_job, which ends the other ranks too:
//
//   int main() {
//     try {
//       const auto mpi = start_mpi();
//       train(*make_communicator("ring"));
//     } catch (const std::exception& error) {
//       print(error);
//       abort_job(1);
//     }
//   }
class MpiScope {
 public:
  explicit MpiScope(const LaunchInfo& launched);
  ~MpiScope();
  MpiScope(const MpiScope&) = delete;
  MpiScope& operator=(const MpiScope&) = delete;

 private:
  Unwinding unwinding_;
};

// Starts MPI, or returns the scope that is there. Call it, and let go of the
// scope, on the main thread. MPI's errors are thrown as Error from here on; so
// is a thread level below MPI_THREAD_SERIALIZED, and a launcher whose view of
// ranks and hosts is not MPI's (a program and an mpirun of different kinds).
std::shared_ptr<MpiScope> start_mpi();

// While MPI runs: what MPI knows. Before: what the launcher's environment says,
// so that a wrong option can be reported by one rank without starting MPI.
LaunchInfo launch_info();

// While MPI runs: whether all ranks may call it from several threads at a time.
// That is asked for where there are several hosts, for the watchdogs to talk;
// on one host MPI goes without the locks.
bool mpi_allows_threads();

// Ends all ranks of the job at once, with this exit status, from any thread.
[[noreturn]] void abort_job(int status);

}  // namespace ringlet
