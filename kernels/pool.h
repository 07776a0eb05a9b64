#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/elementwise.h"
#include "kernels/runtime/layout.h"

namespace ringlet {

// A square window; taps beyond the border never win and are not counted.
struct MaxPoolShape {
  ActivationShape x;
  std::size_t kernel, stride, padding;

  std::size_t out_h() const {
    return (x.h + 2 * padding - kernel) / stride + 1;
  }
  std::size_t out_w() const {
    return (x.w + 2 * padding - kernel) / stride + 1;
  }
  ActivationShape y() const { return {x.n, x.c, out_h(), out_w()}; }
};

class PoolKernels {
 public:
  virtual ~PoolKernels() = default;

  // winner[i], one byte per element of y in memory, is the tap (row * kernel +
  // column) whose value y took, the first among equals; kernel <= 15.
  virtual void max_forward(const MaxPoolShape& shape, Layout layout,
                           const float* x, float* y, std::uint8_t* winner) = 0;
  // dx is overwritten: dy goes to the winners.
  virtual void max_backward(const MaxPoolShape& shape, Layout layout,
                            const float* dy, const std::uint8_t* winner,
                            float* dx) = 0;

  // y[n, c], plain, is the mean over the pixels of x.
  virtual void average_forward(const ActivationShape& shape, Layout layout,
                               const float* x, float* y) = 0;
  virtual void average_backward(const ActivationShape& shape, Layout layout,
                                const float* dy, float* dx) = 0;
};

}  // namespace ringlet
