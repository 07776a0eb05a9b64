#pragma once

#include <cstddef>

namespace ringlet {

struct LinearShape {
  std::size_t n, in, out;
};

// y[n, out] = x[n, in] weight[out, in]^T + bias[out], all row-major.
class LinearKernels {
 public:
  virtual ~LinearKernels() = default;

  virtual void forward(const LinearShape& shape, const float* x,
                       const float* weight, const float* bias, float* y) = 0;
  virtual void backward_data(const LinearShape& shape, const float* dy,
                             const float* weight, float* dx) = 0;
  // dweight and dbias are overwritten.
  virtual void backward_weights(const LinearShape& shape, const float* x,
                                const float* dy, float* dweight,
                                float* dbias) = 0;
};

}  // namespace ringlet
