#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/activation.h"

namespace ringlet {

// A square window; taps beyond the border never win and are not counted.
struct MaxPoolShape {
  Activation x;
  std::size_t kernel, stride, padding;

  std::size_t out_h() const {
    return (x.h + 2 * padding - kernel) / stride + 1;
  }
  std::size_t out_w() const {
    return (x.w + 2 * padding - kernel) / stride + 1;
  }
  Activation y() const {
    return {x.n, x.c, out_h(), out_w(), x.layout, x.dtype};
  }
};

// Arrays are of the activation's type.
class PoolKernels {
 public:
  virtual ~PoolKernels() = default;

  // winner[i], one byte per element of y in memory, is the tap (row * kernel +
  // column) whose value y took, the first among equals; kernel <= 15.
  virtual void max_forward(const MaxPoolShape& shape, const void* x, void* y,
                           std::uint8_t* winner) = 0;
  // dx is overwritten: dy goes to the winners.
  virtual void max_backward(const MaxPoolShape& shape, const void* dy,
                            const std::uint8_t* winner, void* dx) = 0;

  // y[n, c], plain, is the mean over the pixels of x.
  virtual void average_forward(const Activation& shape, const void* x,
                               void* y) = 0;
  virtual void average_backward(const Activation& shape, const void* dy,
                                void* dx) = 0;
};

}  // namespace ringlet
