#pragma once

#include <compare>
#include <cstddef>

#include "kernels/runtime/dtype.h"
#include "kernels/runtime/layout.h"

namespace ringlet {

// Sizes of a 2-d convolution with square strides and zero padding.
struct ConvShape {
  std::size_t n, c, h, w;          // input pictures, channels, height, width
  std::size_t k;                   // output channels
  std::size_t kernel_h, kernel_w;  // taps
  std::size_t stride = 1;
  std::size_t padding = 0;

  std::size_t out_h() const {
    return (h + 2 * padding - kernel_h) / stride + 1;
  }
  std::size_t out_w() const {
    return (w + 2 * padding - kernel_w) / stride + 1;
  }
  std::size_t weight_count() const { return k * c * kernel_h * kernel_w; }

  auto operator<=>(const ConvShape&) const = default;
};

// kAutomatic takes the fastest algorithm by a committed table (CPU:
// kernels/cpu/conv_table.h). kDirect sums products one by one, which is exact
// for small integers. kWinograd takes Winograd's wherever there is a kernel for
// it. All give the same results up to
// rounding, not to the bit.
enum class ConvAlgorithm { kAutomatic, kDirect, kWinograd };

// One convolution: x and dx lie in x_layout, y and dy in the backend's
// activation layout. All four, and the weights, are of type dtype.
struct ConvArgs {
  ConvShape shape;
  Layout x_layout;
  Dtype dtype = Dtype::kF32;

  auto operator<=>(const ConvArgs&) const = default;
};

// Convolutions. Weights and their gradients are without padding, [k, c, kh, kw]
// on the CPU and [k, kh, kw, c] on CUDA; gradients and biases are f32. Cost of
// each call: 2 n k oh ow c kh kw floating-point operations; on the CPU also a
// copy of the weights into the layout that the kernel wants.
class ConvKernels {
 public:
  virtual ~ConvKernels() = default;

  // y[k] = sum over c and taps of x * weight, plus bias[k] unless null.
  virtual void forward(const ConvArgs& args, const void* x, const void* weight,
                       const float* bias, void* y) = 0;
  // dx = gradient of the loss by x.
  virtual void backward_data(const ConvArgs& args, const void* dy,
                             const void* weight, void* dx) = 0;
  // dweight, and dbias[k] unless null, are overwritten.
  virtual void backward_weights(const ConvArgs& args, const void* x,
                                const void* dy, float* dweight,
                                float* dbias) = 0;
};

}  // namespace ringlet
