// Runs under mpirun, with a last rank whose system refuses memory to share: a
// job goes on with messages, says so, and is guarded as ever.
#include <fmt/format.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

#include "collectives/communicator.h"
#include "collectives/conformance.h"
#include "collectives/mpi_scope.h"
#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

using testing::Arrays;
using testing::check_conformance;

// No file of this process may have a byte, shared memory among them.
void refuse_memory() {
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit limit{};
  RINGLET_CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0, "getrlimit failed");
  limit.rlim_cur = 0;
  RINGLET_CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0, "setrlimit failed");
}

void check_is_error(const std::string& expected, const auto& action) {
  std::string message;
  try {
    action();
  } catch (const Error& error) {
    message = error.what();
  }
  RINGLET_CHECK(message.find(expected) != std::string::npos,
                "expected '{}', got '{}'", expected, message);
}

void check_all() {
  const LaunchInfo self = launch_info();
  const int last = self.size - 1;
  if (self.rank == last) refuse_memory();
  const std::string refused = fmt::format("rank {} gets no ", last);
  for (const std::string name : {"shared", "hierarchical"}) {
    check_is_error(refused, [&] { make_communicator(name); });
  }
  {
    const auto communicator = make_communicator("auto");
    for (const Arrays arrays : {Arrays::kPrivate, Arrays::kAllocated}) {
      check_conformance(*communicator, 64, arrays);
    }
  }
  // The guard's own memory is refused too.
  check_is_error("ranks differ in call 1:", [&] {
    const auto communicator =
        make_communicator("auto", {.share_memory = false});
    std::vector<float> data(2);
    communicator->all_reduce(data.data(), self.rank == last ? 1 : 2,
                             Dtype::kF32, ReduceOp::kSum);
  });
}

}  // namespace
}  // namespace ringlet

int main() {
  try {
    const auto mpi = ringlet::start_mpi();
    ringlet::check_all();
    return EXIT_SUCCESS;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    ringlet::abort_job(EXIT_FAILURE);
  }
}
