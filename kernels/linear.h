#pragma once

#include <cstddef>

#include "kernels/runtime/dtype.h"

namespace ringlet {

struct LinearArgs {
  std::size_t n, in, out;
  Dtype dtype = Dtype::kF32;  // of x, y, the weights, dx and dy
};

// y[n, out] = x[n, in] weight[out, in]^T + bias[out], all row-major. Biases and
// gradients of parameters are f32.
class LinearKernels {
 public:
  virtual ~LinearKernels() = default;

  virtual void forward(const LinearArgs& args, const void* x,
                       const void* weight, const float* bias, void* y) = 0;
  virtual void backward_data(const LinearArgs& args, const void* dy,
                             const void* weight, void* dx) = 0;
  // dweight and dbias are overwritten.
  virtual void backward_weights(const LinearArgs& args, const void* x,
                                const void* dy, float* dweight,
                                float* dbias) = 0;
};

}  // namespace ringlet
