#pragma once

#include <cstddef>

#include "kernels/runtime/layout.h"

namespace ringlet {

// The sizes of a [n, c, h, w] activation.
struct ActivationShape {
  std::size_t n, c, h, w;

  std::size_t pixels() const { return h * w; }
  // Elements in memory: channels rounded up to whole blocks.
  std::size_t storage_count(Layout layout) const {
    return n * round_up(c, block_of(layout)) * pixels();
  }
};

// Elementwise kernels over `count` floats, padding lanes included (each maps
// zero to zero). All read and write each array once.
class ElementwiseKernels {
 public:
  virtual ~ElementwiseKernels() = default;

  // y = max(x, 0)
  virtual void relu(std::size_t count, const float* x, float* y) = 0;
  // dx = y > 0 ? dy : 0, from the output that was saved.
  virtual void relu_backward(std::size_t count, const float* y, const float* dy,
                             float* dx) = 0;
  // y = a + b; y may be a or b.
  virtual void add(std::size_t count, const float* a, const float* b,
                   float* y) = 0;

  // Copies an activation between two layouts; padding lanes become zero.
  virtual void reorder(const ActivationShape& shape, Layout from,
                       const float* x, Layout to, float* y) = 0;
};

}  // namespace ringlet
