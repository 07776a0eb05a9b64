#pragma once

#include <functional>
#include <vector>

#include "engine/autograd/variable.h"
#include "engine/tensor/tensor.h"
#include "kernels/loss.h"

// The differentiable operations, one file each under ops/: what it computes,
// what it saves, its backward. Activations are [n, c, h, w]; those that come
// from conv2d lie in the backend's layout. Errors are thrown for shapes that
// do not fit together.
namespace ringlet {

struct Conv2dOptions {
  std::size_t stride = 1;
  std::size_t padding = 0;
};

// weight [k, c, kh, kw]; bias [k] or an undefined Variable. x may be a plain
// tensor (the pictures) or in the backend's layout. Saves x.
Variable conv2d(const Variable& x, const Variable& weight, const Variable& bias,
                const Conv2dOptions& options);

// Makes batch norm's statistics those of more pictures than this rank's.
struct SharedStatistics {
  // Replaces each value of a tensor of f64 by its sum over all ranks.
  std::function<void(const Tensor&)> add_up;
  // False where this rank has no picture, and goes along with one that does not
  // count so that all make the same calls.
  bool counts = true;
};

struct BatchNormState {
  Tensor running_mean;  // [c], updated in training
  Tensor running_var;   // [c], unbiased, updated in training
  Tensor batches = {};  // i64: training steps so far; may be undefined
  float momentum = 0.1f;
  float eps = 1e-5f;
  // In training; null: the statistics are this tensor's own.
  const SharedStatistics* shared = nullptr;
};

struct BatchNormOptions {
  bool training = true;
  bool relu = false;       // fused into the same pass
  Variable residual = {};  // added before the ReLU, fused too; may be undefined
};

// One op forward and backward: normalise, add the residual, ReLU. gamma and
// beta [c]. Training uses the batch's statistics and updates the running ones;
// evaluation uses the running ones, as constants. Saves x and, with a
// ReLU, one bit per element.
Variable batch_norm(const Variable& x, const Variable& gamma,
                    const Variable& beta, const BatchNormState& state,
                    const BatchNormOptions& options);

// max(x, 0), any shape. Saves its output.
Variable relu(const Variable& x);

// a + b of equal shapes.
Variable add(const Variable& a, const Variable& b);

struct MaxPoolOptions {
  std::size_t kernel, stride, padding;
};
// Saves one byte per output element.
Variable max_pool2d(const Variable& x, const MaxPoolOptions& options);

// [n, c, h, w] -> [n, c], plain.
Variable global_average_pool(const Variable& x);

// x [n, in], weight [out, in], bias [out] -> [n, out]. Saves x.
Variable linear(const Variable& x, const Variable& weight,
                const Variable& bias);

struct CrossEntropyOptions {
  // Of mixed pictures: their second labels, [n] i32, and the share of the
  // first, an f32 scalar, both on the labels' device. Undefined: one label.
  Tensor other_labels = {}, share = {};
  float label_smoothing = 0;
  // Samples of the whole global batch, on all ranks: the loss is a sum over
  // this rank's samples divided by it, so that summing over ranks averages.
  // 0: this tensor's own count.
  std::size_t global_batch = 0;
  // By which the gradient alone is multiplied, a float on the device: see
  // CrossEntropyArgs. May be null.
  const float* gradient_scale = nullptr;
};

struct CrossEntropyOutput {
  Variable loss;  // scalar, f64
  // What read() reads: a CrossEntropyResult on the device, and what it is of.
  Buffer result;
  Tensor labels, other_labels;
  std::size_t classes;

  // Waits for the device. Throws where a label is out of range.
  CrossEntropyResult read() const;
};

// logits [n, classes], labels [n] i32. Saves the gradient, n x classes.
CrossEntropyOutput cross_entropy(const Variable& logits, const Tensor& labels,
                                 const CrossEntropyOptions& options = {});

}  // namespace ringlet
