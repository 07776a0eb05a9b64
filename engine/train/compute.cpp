#include "engine/train/compute.h"

#include <fmt/format.h>

#include "kernels/backend.h"
#include "kernels/runtime/error.h"

namespace ringlet {
namespace {

Device device_named(const std::string& name) {
  if (name == "cpu") return Device::kCpu;
  const std::string why_not = why_no_cuda();
  if (why_not.empty()) return Device::kCuda;
  if (name == "auto") return Device::kCpu;
  throw Error(
      fmt::format("--device {}: no GPU can be used: {}; expected auto or cpu",
                  name, why_not));
}

}  // namespace

ComputeOptions compute_options(const std::string& device,
                               const std::string& precision) {
  ComputeOptions options{.device = device_named(device)};
  const bool on_gpu = options.device == Device::kCuda;
  if (precision == "f32" || (precision == "auto" && !on_gpu)) return options;
  if (!on_gpu && precision != "bf16") {
    throw Error(fmt::format(
        "--precision {} on the CPU: expected f32 or bf16, or --device cuda",
        precision));
  }
  if (!on_gpu && backend().activation_layout != Layout::kBlocked16) {
    throw Error(
        "--precision bf16 on the CPU: expected AVX-512, which oneDNN does not "
        "see here, or f32");
  }
  options.tf32 = precision == "tf32";
  if (precision == "f16") options.dtype = Dtype::kF16;
  if (precision == "bf16" || precision == "auto") options.dtype = Dtype::kBF16;
  return options;
}

std::string precision_name(const ComputeOptions& options) {
  return options.tf32 ? "tf32" : name_of(options.dtype);
}

}  // namespace ringlet
