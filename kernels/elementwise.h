#pragma once

#include <cstddef>

#include "kernels/activation.h"

namespace ringlet {

// Elementwise kernels over `count` elements of one type, padding lanes included
// (each maps zero to zero). All read and write each array once.
class ElementwiseKernels {
 public:
  virtual ~ElementwiseKernels() = default;

  // y = max(x, 0)
  virtual void relu(std::size_t count, Dtype dtype, const void* x, void* y) = 0;
  // dx = y <= 0 ? 0 : dy, from the output that was saved.
  virtual void relu_backward(std::size_t count, Dtype dtype, const void* y,
                             const void* dy, void* dx) = 0;
  // y = a + b; y may be a or b.
  virtual void add(std::size_t count, Dtype dtype, const void* a, const void* b,
                   void* y) = 0;

  // Copies an activation to another layout and type; padding lanes become zero.
  virtual void reorder(const Activation& from, const void* x, Layout layout,
                       Dtype dtype, void* y) = 0;
};

}  // namespace ringlet
