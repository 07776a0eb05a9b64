#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/activation.h"

namespace ringlet {

// Batch normalisation over the n, h and w of an activation, with an optional
// residual addition and ReLU in the same pass:
//   y = act(gamma (x - mean) / sqrt(var + eps) + beta [+ residual])
// Per-channel arrays have c floats; x, y, residual and their gradients are of
// the activation's type.

struct BatchNormStatistics {
  Activation shape;
  const void* x;
  float eps, momentum;
  // running = (1 - momentum) running + momentum batch; the variance in it is
  // unbiased.
  float* running_mean;
  float* running_var;
  std::int64_t* batches = nullptr;  // counted up by one; may be null
  float* mean;                      // of the batch
  float* inv_std;  // 1 / sqrt(var + eps), of the biased variance
};

struct BatchNormForward {
  Activation shape;
  const void* x;
  const float* gamma;
  const float* beta;
  const float* mean;
  const float* inv_std;
  const void* residual = nullptr;  // added before the ReLU; may be null
  bool relu = false;
  void* y;
  // What backward needs to know of the ReLU beyond x, of mask_bytes(): null
  // where that is 0 or no backward is wanted.
  std::uint8_t* mask = nullptr;
};

struct BatchNormBackward {
  Activation shape;
  const void* x;
  const float* gamma;
  const float* beta;
  // What x was normalised with. They depend on x, and its gradient knows that,
  // unless they are constants: the running statistics in evaluation.
  bool constant_statistics = false;
  const float* mean;
  const float* inv_std;
  bool relu = false;
  const std::uint8_t* mask;  // what forward wrote
  const void* dy;
  void* dx;
  void* dresidual = nullptr;  // dy through the ReLU; null without a residual
  float* dgamma;
  float* dbeta;
  // Where the statistics were those of more pictures than these: what
  // gradient_sums() gave for all of them, and how many values per channel.
  const double* all_sums = nullptr;
  const double* all_count = nullptr;
};

class NormKernels {
 public:
  virtual ~NormKernels() = default;

  // One read of x. Sums are taken around a value of x's own size and joined in
  // double precision, in an order that depends on nothing but the shape.
  virtual void statistics(const BatchNormStatistics& args) = 0;

  // In parts, for statistics of more pictures than one x has. Sums that are
  // added up over all of them, [1 + 2c]: how many values a channel has, the
  // sum of each channel's values, and that of their squares.
  virtual void sums(const Activation& shape, const void* x, double* sums) = 0;
  // Does what statistics() does, by the sums; without args.shape.n and x.
  virtual void statistics_of(const BatchNormStatistics& args,
                             const double* sums) = 0;

  // inv_std[i] = 1 / sqrt(var[i] + eps)
  virtual void inverse_std(std::size_t count, const float* var, float eps,
                           float* inv_std) = 0;

  // Bytes of the mask of a batch norm with ReLU.
  virtual std::size_t mask_bytes(const Activation& shape,
                                 bool has_residual) const = 0;

  // Reads x (and the residual), writes y.
  virtual void apply(const BatchNormForward& args) = 0;

  // dgamma and dbeta alone, and both in `sums` too, [2c].
  virtual void gradient_sums(const BatchNormBackward& args, double* sums) = 0;

  // Two passes: the sums for dgamma and dbeta read x and dy, the second reads
  // them again and writes dx (and dresidual). With all_sums only that one.
  virtual void backward(const BatchNormBackward& args) = 0;
};

}  // namespace ringlet
