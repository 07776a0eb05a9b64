#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <memory>
#include <string>

#include "kernels/backend.h"
#include "kernels/runtime/error.h"

// CUDA's op families; each is made by the file of its name.
namespace ringlet::cuda {

std::unique_ptr<ConvKernels> make_conv();
// The library below the convolutions: "cuDNN 9.19.0".
std::string conv_library();
std::unique_ptr<NormKernels> make_norm();
std::unique_ptr<PoolKernels> make_pool();
std::unique_ptr<LinearKernels> make_linear();
std::unique_ptr<LossKernels> make_loss();
std::unique_ptr<ElementwiseKernels> make_elementwise();
std::unique_ptr<OptimKernels> make_optim();

// Calls body(T{}) with CUDA's type for f32, f16 or bf16.
template <typename Body>
void with_activation_type(Dtype dtype, const Body& body) {
  switch (dtype) {
    case Dtype::kF16:
      return body(__half{});
    case Dtype::kBF16:
      return body(__nv_bfloat16{});
    case Dtype::kF32:
      return body(float{});
    default:
      throw Error(std::string("an activation of ") + name_of(dtype) +
                  " on CUDA: expected f32, f16 or bf16");
  }
}

}  // namespace ringlet::cuda
