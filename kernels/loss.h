#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/runtime/dtype.h"

namespace ringlet {

// What a batch comes to, in the device's memory.
struct CrossEntropyResult {
  double loss = 0;  // sum over samples, times scale
  // Samples whose largest logit is the (first) label's.
  std::int64_t correct = 0;
  // The first sample whose label is out of range, or -1. It adds a NaN to the
  // loss.
  std::int64_t bad_label = -1;
};

struct CrossEntropyArgs {
  std::size_t n, classes;
  Dtype dtype = Dtype::kF32;   // of logits and dlogits
  const void* logits;          // [n, classes]
  const std::int32_t* labels;  // [n], each in 0 ... classes - 1
  // Mixed pictures have two labels, of which the first counts *share and the
  // other the rest; null: one only. In the device's memory.
  const std::int32_t* other_labels = nullptr;
  const float* share = nullptr;
  float label_smoothing = 0;  // share of the target spread over all classes
  // What each sample's loss counts in the whole: 1 / global batch.
  float scale;
  // By which the gradient alone is multiplied, so that small gradients do not
  // vanish in f16; null: 1. In the device's memory.
  const float* gradient_scale = nullptr;
  void* dlogits = nullptr;  // [n, classes], or null: the gradient of the loss
  CrossEntropyResult* result;
};

class LossKernels {
 public:
  virtual ~LossKernels() = default;

  // Softmax cross-entropy against (1 - s) onehot + s / classes, where of two
  // labels "onehot" is the mean, by their shares, of both.
  virtual void cross_entropy(const CrossEntropyArgs& args) = 0;
};

}  // namespace ringlet
