#pragma once

#include <functional>
#include <memory>
#include <string>

#include "collectives/communicator.h"
#include "collectives/launch.h"
#include "engine/data/image_set.h"
#include "engine/nn/module.h"
#include "engine/train/compute.h"
#include "engine/train/options.h"

// Which GPU a rank of `ringlet train` takes, and what it says of it.
namespace ringlet {

// Throws an Error where --comm nccl cannot be.
void check_nccl(const ComputeOptions& compute);

// Whether the ranks sum their gradients by NCCL: if they are asked to, and by
// themselves where each of several has a GPU of its own. Collective.
bool takes_nccl(const TrainOptions& options, const ComputeOptions& compute,
                Communicator& communicator);

// On a GPU: tries a step on a rank's share of the batch, as in try_step, and
// lets all ranks compute convolutions as rank 0 found it fastest; or by
// `known`, what such a run found before, where that is for such a GPU; without
// `tune` by what cuDNN proposes first, which no clock decides. Gives
// what counts from now on, "" on the CPU. Collective.
std::string prepare_gpu(
    const std::function<std::unique_ptr<Module>()>& make_model,
    const Dataset& data, const TrainPlan& plan, const ComputeOptions& compute,
    const std::string& known, bool tune, Communicator& communicator);

// "NVIDIA H200, driver 13.0, CUDA 13.0, cuDNN 9.19.0"; "" on the CPU.
std::string gpu_name(const ComputeOptions& compute);

// Behind a rank's line: ", GPU 0 of 1: ..."; "" on the CPU.
std::string gpu_of(const ComputeOptions& compute);

// Why this rank may be slow; "" where nothing speaks for it.
std::string warning_of(const LaunchInfo& self, const ComputeOptions& compute,
                       int threads);

}  // namespace ringlet
