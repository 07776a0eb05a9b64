#include "collectives/mpi_scope.h"

#include <mpi.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "collectives/backoff.h"
#include "collectives/mpi_world.h"
#include "kernels/runtime/check.h"
#include "kernels/runtime/threads.h"

namespace ringlet {
namespace {

std::mutex scope_mutex;
std::weak_ptr<MpiScope> current_scope;

// The threads of a rank that may want a core at the same time: those that
// compute, and the one on which collectives make progress.
int busy_threads() { return kernel_threads() + 1; }

// Inside its own blocking calls Open MPI spins, and it learns only of more
// ranks than cores, not of their threads. Somebody's own setting stays.
void let_mpi_yield(const LaunchInfo& launched) {
  if (launched.local_size * busy_threads() > host_cores()) {
    setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0);
  }
}

bool mpi_is_running() {
  int started = 0, ended = 0;
  check_mpi(MPI_Initialized(&started), "MPI_Initialized");
  check_mpi(MPI_Finalized(&ended), "MPI_Finalized");
  return started && !ended;
}

void check_thread_level(int granted) {
  constexpr const char* kNames[] = {"MPI_THREAD_SINGLE", "MPI_THREAD_FUNNELED",
                                    "MPI_THREAD_SERIALIZED",
                                    "MPI_THREAD_MULTIPLE"};
  static_assert(MPI_THREAD_SINGLE == 0 && MPI_THREAD_MULTIPLE == 3);
  if (granted < MPI_THREAD_SERIALIZED) {
    throw Error(
        fmt::format("MPI grants thread level {}, expected at least "
                    "MPI_THREAD_SERIALIZED",
                    kNames[granted]));
  }
}

LaunchInfo info_from_mpi() {
  LaunchInfo info;
  check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &info.rank), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &info.size), "MPI_Comm_size");
  MPI_Comm host = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, info.rank,
                                MPI_INFO_NULL, &host),
            "MPI_Comm_split_type");
  check_mpi(MPI_Comm_rank(host, &info.local_rank), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(host, &info.local_size), "MPI_Comm_size");
  check_mpi(MPI_Comm_free(&host), "MPI_Comm_free");
  return info;
}

std::string describe(const LaunchInfo& info) {
  return fmt::format("rank {} of {}, local rank {} of {}", info.rank, info.size,
                     info.local_rank, info.local_size);
}

// Of the launchers only Open MPI's mpirun is sure to give all four numbers. One
// whose MPI is not ours starts N worlds of one rank each.
void check_same(const LaunchInfo& launched, const LaunchInfo& actual) {
  const bool same =
      launched.launcher == "Open MPI"
          ? launched == actual
          : launched.size == actual.size && launched.rank == actual.rank;
  if (launched.launcher.empty() || same) return;
  throw Error(fmt::format(
      "{} says {}; MPI says {}: were this program and its launcher "
      "built with the same MPI?",
      launched.launcher == "Open MPI" ? "Open MPI's mpirun" : launched.launcher,
      describe(launched), describe(actual)));
}

bool all_have_threads(int granted) {
  int least = granted;
  check_mpi(
      MPI_Allreduce(MPI_IN_PLACE, &least, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD),
      "MPI_Allreduce");
  return least == MPI_THREAD_MULTIPLE;
}

// What launch_info() and mpi_allows_threads() answer while MPI runs.
LaunchInfo info_while_running;
bool threads_while_running = false;

}  // namespace

MpiScope::MpiScope(const LaunchInfo& launched) {
  RINGLET_CHECK(gettid() == getpid(), "MPI must start on the main thread");
  let_mpi_yield(launched);
  info_while_running = launched;
  const int level = launched.local_size < launched.size ? MPI_THREAD_MULTIPLE
                                                        : MPI_THREAD_SERIALIZED;
  int granted = 0;
  check_mpi(MPI_Init_thread(nullptr, nullptr, level, &granted),
            "MPI_Init_thread");
  check_thread_level(granted);
  check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN),
            "MPI_Comm_set_errhandler");
  LaunchInfo actual = info_from_mpi();
  actual.launcher = launched.launcher;
  check_same(launched, actual);
  info_while_running = actual;
  threads_while_running = all_have_threads(granted);
}

MpiScope::~MpiScope() {
  if (!unwinding_ && MPI_Finalize() != MPI_SUCCESS) {
    std::fputs("MPI_Finalize failed\n", stderr);
  }
}

std::shared_ptr<MpiScope> start_mpi() {
  const std::lock_guard lock(scope_mutex);
  std::shared_ptr<MpiScope> scope = current_scope.lock();
  if (!scope) {
    int ended = 0;
    check_mpi(MPI_Finalized(&ended), "MPI_Finalized");
    RINGLET_CHECK(!ended, "MPI has ended and cannot be started again");
    scope = std::make_shared<MpiScope>(launch_info());
    current_scope = scope;
  }
  return scope;
}

LaunchInfo launch_info() {
  return mpi_is_running() ? info_while_running : launch_info_from(&getenv);
}

bool mpi_allows_threads() { return threads_while_running; }

void abort_job(int status) {
  std::fflush(nullptr);
  if (mpi_is_running()) MPI_Abort(MPI_COMM_WORLD, status);
  std::_Exit(status);
}

}  // namespace ringlet
