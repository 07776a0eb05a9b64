#include "apps/train_ranks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "apps/train_options.h"
#include "collectives/mpi_scope.h"
#include "engine/parallel/agreement.h"
#include "kernels/runtime/threads.h"

namespace ringlet {
namespace {

// Of those that add along a tree over the ranks, so that virtual ranks get the
// same bits on any number of them.
std::string tree_algorithm(const TrainOptions& options, bool ranks,
                           const LaunchInfo& launched) {
  const std::string& wanted = options.comm;
  if (wanted == "solo" || !ranks) return "solo";
  if (wanted == "ordered" || wanted == "shared") return wanted;
  if (!wanted.empty() && wanted != "auto") {
    throw SharedError(fmt::format(
        "--comm {} with --virtual-ranks: expected auto, ordered or shared, "
        "which add along one tree",
        wanted));
  }
  // Which is not for a GPU's memory.
  const bool on_gpu = options.device != "cpu" && why_no_cuda().empty();
  return launched.local_size == launched.size && !on_gpu ? "shared" : "ordered";
}

// Where nothing would be rounded, or not as it says.
void check_wire(const TrainOptions& options) {
  if (options.wire_dtype == "f32") return;
  const std::string wire = "--wire-dtype " + options.wire_dtype;
  if (options.virtual_ranks > 0) {
    throw SharedError(fmt::format(
        "{} with --virtual-ranks: expected f32, since the bits would depend "
        "on the number of ranks",
        wire));
  }
  const bool may_send = options.comm == "auto" || options.comm == "nccl";
  if (!may_send && !sends_messages(options.comm, Device::kCpu)) {
    throw SharedError(fmt::format(
        "{} with --comm {}: expected auto, nccl, hierarchical or an algorithm "
        "that sends our messages, as ordered or ring",
        wire, options.comm));
  }
}

}  // namespace

bool sends_messages(const std::string& comm, Device device) {
  const LaunchInfo launched = launch_info();
  const bool on_gpu = device == Device::kCuda && launched.size > 1;
  if (comm == "auto") return on_gpu || launched.local_size < launched.size;
  if (comm == "nccl") return on_gpu;
  return comm != "shared" && comm != "mpi" && comm != "solo";
}

std::unique_ptr<Communicator> open_communicator(const TrainOptions& options) {
  check_wire(options);
  std::string name = options.comm;
  const LaunchInfo launched = launch_info();
  if (name == "solo" && launched.size > 1) {
    throw SharedError(fmt::format(
        "--comm solo is for one rank, but {} started {}: expected auto, ring "
        "or mpi",
        launched.launcher, launched.size));
  }
  // A rank alone has something to trace too, but not with solo.
  const bool ranks = launched.size > 1 || !options.trace.empty();
  if (options.virtual_ranks > 0)
    name = tree_algorithm(options, ranks, launched);
  // NCCL has the gradients alone.
  if (name == "nccl") name = ranks ? "auto" : "solo";
  if (name.empty()) name = ranks ? "auto" : "solo";
  CommunicatorOptions wanted = communicator_options(options);
  // A trace makes another one, which has the fault.
  if (!options.trace.empty()) wanted.fault = "";
  return make_communicator(name, wanted);
}

int threads_per_rank(const TrainOptions& options) {
  if (options.threads > 0) return static_cast<int>(options.threads);
  if (std::getenv("OMP_NUM_THREADS") != nullptr) return kernel_threads();
  // What virtual ranks would have, whatever their number: sums depend on it.
  if (options.virtual_ranks > 0) {
    return std::max(1, host_cores() / static_cast<int>(options.virtual_ranks));
  }
  const int share = host_cores() / launch_info().local_size;
  return std::clamp(share, 1, allowed_core_count());
}

}  // namespace ringlet
