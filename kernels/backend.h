#pragma once

#include <string>

#include "kernels/conv.h"
#include "kernels/elementwise.h"
#include "kernels/linear.h"
#include "kernels/loss.h"
#include "kernels/norm.h"
#include "kernels/optim.h"
#include "kernels/pool.h"
#include "kernels/runtime/device.h"
#include "kernels/runtime/layout.h"

namespace ringlet {

// The op families of one device, and the layouts that activations and weights
// of convolutions have there.
// A Backend belongs to one thread: it keeps that thread's compiled primitives
// and scratch memory.
struct Backend {
  Layout activation_layout;
  Layout weight_layout;
  ConvKernels& conv;
  NormKernels& norm;
  PoolKernels& pool;
  LinearKernels& linear;
  LossKernels& loss;
  ElementwiseKernels& elementwise;
  OptimKernels& optim;
};

// The calling thread's backend. The first call of a thread makes it.
Backend& backend(Device device = Device::kCpu);

// Puts another in its place on this thread, one that counts its calls say;
// null ends that.
void replace_backend(Backend* other, Device device = Device::kCpu);

// The library under the CPU's backend: "oneDNN 2.6.3".
std::string backend_version();

// Which convolution algorithms this process takes from now on.
void set_conv_algorithm(ConvAlgorithm algorithm);
ConvAlgorithm conv_algorithm();

}  // namespace ringlet
