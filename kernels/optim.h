#pragma once

#include <cstddef>

namespace ringlet {

struct SgdArgs {
  std::size_t count;
  const float* grad;
  float* momentum_buffer;  // in and out; starts at zero
  float* parameter;        // in and out
  float lr;
  float momentum;
  float weight_decay;
  bool nesterov;
};

class OptimKernels {
 public:
  virtual ~OptimKernels() = default;

  // PyTorch's SGD: g = grad + weight_decay p; m = momentum m + g;
  // p -= lr (nesterov ? g + momentum m : m). Reads three arrays, writes two.
  virtual void sgd(const SgdArgs& args) = 0;
};

}  // namespace ringlet
