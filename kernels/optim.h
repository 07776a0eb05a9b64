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

  // True when none of `count` floats is NaN or infinite. Reads them once.
  virtual bool all_finite(std::size_t count, const float* values) = 0;
};

}  // namespace ringlet
