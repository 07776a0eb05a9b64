// Runs under mpirun: mpi_failure BACK_END. The last rank throws while work is
// in flight that the others never join, as they are busy for ever. The job must
// end with status 3.
#include <fmt/format.h>

#include <chrono>
#include <thread>

#include "collectives/communicator.h"
#include "collectives/mpi_scope.h"
#include "kernels/runtime/error.h"

namespace ringlet {
namespace {

void run(const char* back_end) {
  const auto mpi = start_mpi();
  const auto communicator = make_communicator(back_end);
  constexpr std::size_t kCount = 1 << 20;
  const Buffer data = communicator->allocate(kCount * sizeof(float));
  const auto launch = [&] {
    return communicator->all_reduce_async(data.data(), kCount, Dtype::kF32,
                                          ReduceOp::kSum);
  };
  launch();
  if (communicator->rank() == communicator->size() - 1) {
    launch();
    throw Error("the last rank has no more data");
  }
  while (true) std::this_thread::sleep_for(std::chrono::seconds(1));
}

}  // namespace
}  // namespace ringlet

int main(int, char** argv) {
  try {
    ringlet::run(argv[1]);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    ringlet::abort_job(3);
  }
}
