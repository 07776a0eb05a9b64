#include "kernels/backend.h"

#include <fmt/format.h>

#include <atomic>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>

#include "kernels/cpu/families.h"
#include "kernels/runtime/check.h"
#include "kernels/runtime/cuda_library.h"

namespace ringlet {
namespace cpu {

Layout activation_layout() {
  const auto isa = static_cast<unsigned>(dnnl::get_effective_cpu_isa());
  const auto avx512 = static_cast<unsigned>(dnnl::cpu_isa::avx512_core);
  return (isa & avx512) == avx512 ? Layout::kBlocked16 : Layout::kBlocked8;
}

void check_type(Dtype dtype) {
  RINGLET_CHECK(dtype == Dtype::kF32 || dtype == Dtype::kBF16,
                "{} on the CPU: expected f32 or bf16", name_of(dtype));
}

namespace {

struct Families {
  std::unique_ptr<ConvKernels> conv = make_conv();
  std::unique_ptr<NormKernels> norm = make_norm();
  std::unique_ptr<PoolKernels> pool = make_pool();
  std::unique_ptr<LinearKernels> linear = make_linear();
  std::unique_ptr<LossKernels> loss = make_loss();
  std::unique_ptr<ElementwiseKernels> elementwise = make_elementwise();
  std::unique_ptr<OptimKernels> optim = make_optim();
  Backend backend{
      activation_layout(), Layout::kPlain, *conv, *norm, *pool, *linear, *loss,
      *elementwise,        *optim};
};

}  // namespace
}  // namespace cpu

namespace {
std::atomic<ConvAlgorithm> g_conv_algorithm{ConvAlgorithm::kAutomatic};
thread_local Backend* t_replacements[2] = {};  // by device
}  // namespace

Backend& backend(Device device) {
  Backend* replacement = t_replacements[static_cast<int>(device)];
  if (replacement != nullptr) return *replacement;
  if (device == Device::kCuda) return cuda::library().backend();
  thread_local cpu::Families families;
  return families.backend;
}

void replace_backend(Backend* other, Device device) {
  t_replacements[static_cast<int>(device)] = other;
}

std::string backend_version() {
  const dnnl_version_t& version = *dnnl::version();
  return fmt::format("oneDNN {}.{}.{}", version.major, version.minor,
                     version.patch);
}

void set_conv_algorithm(ConvAlgorithm algorithm) {
  g_conv_algorithm = algorithm;
}
ConvAlgorithm conv_algorithm() { return g_conv_algorithm; }

}  // namespace ringlet
