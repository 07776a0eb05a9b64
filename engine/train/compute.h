#pragma once

#include <string>

#include "kernels/runtime/device.h"
#include "kernels/runtime/dtype.h"

namespace ringlet {

// Where a model computes, which is where its parameters lie, and in which type
// its activations are and its convolutions and linear layers multiply.
// Parameters, their gradients and batch norm's statistics are f32 always.
struct ComputeOptions {
  Device device = Device::kCpu;
  Dtype dtype = Dtype::kF32;
  bool tf32 = false;  // f32 may be multiplied in TF32
  bool nccl = false;  // gradients between GPUs by NCCL
  bool graph = true;  // whether a GPU may go through steps by itself

  bool operator==(const ComputeOptions&) const = default;
};

// From --device (auto, cpu, cuda) and --precision (auto, f32, tf32, bf16, f16):
// auto takes a GPU where one can be used, and there bf16. The CPU has f32 and,
// with AVX-512, bf16. Throws an Error that names the option where they do not
// fit, or no GPU can be used.
ComputeOptions compute_options(const std::string& device,
                               const std::string& precision);

// "f32", "tf32", "bf16", "f16".
std::string precision_name(const ComputeOptions& options);

}  // namespace ringlet
