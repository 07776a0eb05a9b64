#pragma once

#include <cstddef>
#include <cstdint>

namespace ringlet {

struct CrossEntropyArgs {
  std::size_t n, classes;
  const float* logits;         // [n, classes]
  const std::int32_t* labels;  // [n], each in 0 ... classes - 1
  float label_smoothing = 0;   // share of the target spread over all classes
  // What each sample's loss counts in the whole: 1 / global batch.
  float scale;
};

struct CrossEntropyResult {
  double loss = 0;          // sum over samples, times scale
  std::size_t correct = 0;  // samples whose largest logit is the label's
};

class LossKernels {
 public:
  virtual ~LossKernels() = default;

  // Softmax cross-entropy against (1 - s) onehot + s / classes. dlogits[n,
  // classes], unless null, is the gradient of the returned loss. Throws Error
  // naming the sample where a label is out of range.
  virtual CrossEntropyResult cross_entropy(const CrossEntropyArgs& args,
                                           float* dlogits) = 0;
};

}  // namespace ringlet
