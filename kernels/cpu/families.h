#pragma once

#include <memory>

#include "kernels/backend.h"

// The CPU's op families; each is made by the file of its name.
namespace ringlet::cpu {

// The layout of activations: blocks of 16 channels where oneDNN runs AVX-512
// code, of 8 elsewhere. DNNL_MAX_CPU_ISA=AVX2 forces the latter.
Layout activation_layout();

// What an op gets as elements of a type is float here.
inline const float* floats(const void* p) {
  return static_cast<const float*>(p);
}
inline float* floats(void* p) { return static_cast<float*>(p); }

// Throws unless the CPU's kernels know that type.
void check_type(const char* op, Dtype dtype);

std::unique_ptr<ConvKernels> make_conv();
std::unique_ptr<NormKernels> make_norm();
std::unique_ptr<PoolKernels> make_pool();
std::unique_ptr<LinearKernels> make_linear();
std::unique_ptr<LossKernels> make_loss();
std::unique_ptr<ElementwiseKernels> make_elementwise();
std::unique_ptr<OptimKernels> make_optim();

}  // namespace ringlet::cpu
