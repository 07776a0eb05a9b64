#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/elementwise.h"
#include "kernels/runtime/layout.h"

namespace ringlet {

// Batch normalisation over the n, h and w of an activation, with an optional
// residual addition and ReLU in the same pass:
//   y = act(gamma (x - mean) / sqrt(var + eps) + beta [+ residual])
// Per-channel arrays have c elements.

struct BatchNormForward {
  ActivationShape shape;
  Layout layout;
  const float* x;
  const float* gamma;
  const float* beta;
  const float* residual = nullptr;  // added before the ReLU; may be null
  bool relu = false;
  float* y;
  // One bit per element of y in memory, set where y > 0: what backward needs
  // to know of the ReLU. Null unless relu and a backward is wanted.
  std::uint8_t* mask = nullptr;
};

struct BatchNormBackward {
  ActivationShape shape;
  Layout layout;
  const float* x;
  const float* gamma;
  // What x was normalised with. They depend on x, and its gradient knows that,
  // unless they are constants: the running statistics in evaluation.
  bool constant_statistics = false;
  const float* mean;
  const float* inv_std;      // 1 / sqrt(var + eps)
  const std::uint8_t* mask;  // of the ReLU, or null where there was none
  const float* dy;
  float* dx;
  float* dresidual = nullptr;  // dy through the ReLU; null without a residual
  float* dgamma;
  float* dbeta;
};

// Bytes of a mask for one bit per element in memory.
inline std::size_t mask_bytes(const ActivationShape& shape, Layout layout) {
  return (shape.storage_count(layout) + 7) / 8;
}

class NormKernels {
 public:
  virtual ~NormKernels() = default;

  // mean[c] and the biased variance var[c] of x: one read of x. Each picture's
  // part is summed around its own mean, the parts are joined in double
  // precision (Chan, Golub and LeVeque 1979), the same for any number of
  // threads.
  virtual void batch_statistics(const ActivationShape& shape, Layout layout,
                                const float* x, float* mean, float* var) = 0;

  // Applies given statistics: reads x (and the residual), writes y.
  virtual void apply(const BatchNormForward& args, const float* mean,
                     const float* inv_std) = 0;

  // Two passes: the sums for dgamma and dbeta read x and dy, the second reads
  // them again and writes dx (and dresidual).
  virtual void backward(const BatchNormBackward& args) = 0;
};

}  // namespace ringlet
