#include "apps/train_device.h"

#include <fmt/format.h>

#include "collectives/gpu/gpu_communicator.h"
#include "collectives/gpu/nccl_communicator.h"
#include "collectives/mpi_scope.h"
#include "engine/io/run_directory.h"
#include "engine/parallel/agreement.h"
#include "engine/train/trial_step.h"
#include "kernels/runtime/cuda_library.h"
#include "kernels/runtime/error.h"
#include "kernels/runtime/threads.h"

namespace ringlet {

void check_nccl(const ComputeOptions& compute) {
  if (compute.device == Device::kCpu) {
    throw Error("--comm nccl on the CPU: expected --device cuda");
  }
  if (const std::string why_not = why_no_nccl(); !why_not.empty()) {
    throw Error("--comm nccl: " + why_not + "; expected auto");
  }
}

bool takes_nccl(const TrainOptions& options, const ComputeOptions& compute,
                Communicator& communicator) {
  if (options.comm == "nccl") return true;
  if (compute.device == Device::kCpu || communicator.size() == 1) return false;
  const bool able = options.comm.empty() && options.virtual_ranks == 0 &&
                    why_no_nccl().empty() &&
                    launch_info().local_size <= cuda::library().gpu_count();
  std::int32_t all = able;
  communicator.all_reduce(&all, 1, Dtype::kI32, ReduceOp::kMin);
  return all == 1;
}

std::string prepare_gpu(
    const std::function<std::unique_ptr<Module>()>& make_model,
    const Dataset& data, const TrainPlan& plan, const ComputeOptions& compute,
    const std::string& known, bool tune, Communicator& communicator) {
  if (compute.device == Device::kCpu) return "";
  const auto shards =
      static_cast<std::size_t>(communicator.size()) * plan.shards;
  cuda::Library& gpu = cuda::library();
  const std::string before = gather_text(communicator, known).front();
  // All ranks at the same time, so that none waits for long.
  agree(communicator, [&] {
    gpu.set_conv_choices(before);
    gpu.set_conv_tuning(tune && gpu.conv_choices().empty());
    try_step(make_model, data.train, (plan.global_batch + shards - 1) / shards,
             compute);
    gpu.set_conv_tuning(false);
  });
  const std::string choices =
      gather_text(communicator, gpu.conv_choices()).front();
  if (communicator.rank() > 0) gpu.set_conv_choices(choices);
  return choices;
}

std::string gpu_name(const ComputeOptions& compute) {
  if (compute.device == Device::kCpu) return "";
  return cuda::library().describe();
}

std::string gpu_of(const ComputeOptions& compute) {
  if (compute.device == Device::kCpu) return "";
  cuda::Library& gpu = cuda::library();
  return fmt::format(", GPU {} of {}: {}", own_gpu(), gpu.gpu_count(),
                     gpu.describe());
}

std::string warning_of(const LaunchInfo& self, const ComputeOptions& compute,
                       int threads) {
  if (compute.device == Device::kCuda &&
      self.local_size > cuda::library().gpu_count()) {
    return fmt::format(
        "{} ranks share {} GPU(s) on {} and take turns: one rank for each is "
        "faster",
        self.local_size, cuda::library().gpu_count(), host_info().hostname);
  }
  if (self.local_size * threads > host_cores()) {
    return fmt::format(
        "{} ranks x {} threads on the {} cores of {} slow each other down: "
        "take fewer --threads or ranks",
        self.local_size, threads, host_cores(), host_info().hostname);
  }
  if (threads > allowed_core_count()) {
    return fmt::format(
        "rank {} has {} threads for {} core(s): the launcher binds it; "
        "mpirun --bind-to none does not",
        self.rank, threads, allowed_core_count());
  }
  return "";
}

}  // namespace ringlet
