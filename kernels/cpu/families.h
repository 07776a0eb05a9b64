#pragma once

#include <memory>

#include "kernels/backend.h"
#include "kernels/runtime/half.h"

// The CPU's op families; each is made by the file of its name.
namespace ringlet::cpu {

// The layout of activations: blocks of 16 channels where oneDNN runs AVX-512
// code, of 8 elsewhere. DNNL_MAX_CPU_ISA=AVX2 forces the latter.
Layout activation_layout();

// What an op gets as elements of some type.
template <typename T>
const T* as(const void* p) {
  return static_cast<const T*>(p);
}
template <typename T>
T* as(void* p) {
  return static_cast<T*>(p);
}

// Throws unless the CPU's kernels know that type: f32 or bf16.
void check_type(Dtype dtype);

// Calls body(T{}) for the type of the elements in memory. All is computed in
// float.
template <typename Body>
void with_element(Dtype dtype, Body body) {
  check_type(dtype);
  if (dtype == Dtype::kBF16) return body(BFloat16{});
  body(float{});
}

std::unique_ptr<ConvKernels> make_conv();
std::unique_ptr<NormKernels> make_norm();
std::unique_ptr<PoolKernels> make_pool();
std::unique_ptr<LinearKernels> make_linear();
std::unique_ptr<LossKernels> make_loss();
std::unique_ptr<ElementwiseKernels> make_elementwise();
std::unique_ptr<OptimKernels> make_optim();

}  // namespace ringlet::cpu
