#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/runtime/dtype.h"

namespace ringlet {

// What may change from step to step, in the device's memory, so that a step
// that was recorded once can be repeated.
struct SgdStep {
  float lr;
  float gradient_scale = 1;  // by which the gradients are to be multiplied
  std::uint32_t skip = 0;    // nothing is changed unless it is 0
};

// By what gradients of that norm are to be multiplied so that it does not
// exceed `most`, by the formula of PyTorch's clip_grad_norm_. 0: no limit.
constexpr float clip_factor(double norm, float most) {
  constexpr double kTiny = 1e-6;
  const double factor = static_cast<double>(most) / (norm + kTiny);
  return most == 0 || factor > 1 ? 1 : static_cast<float>(factor);
}

// One of several arrays that lie in one: its place, in floats.
struct FlatRange {
  std::size_t begin, count;
};

struct HashArgs {
  const float* values;
  const FlatRange* ranges;  // one behind the other
  std::size_t range_count;
  std::uint64_t* hashes;  // one for each range
};

struct SgdArgs {
  std::size_t count;
  const float* grad;
  float* momentum_buffer;  // in and out; starts at zero
  float* parameter;        // in and out
  const SgdStep* step;
  float momentum;
  float weight_decay;
  bool nesterov;
  // One bit per element, low bits first: whether it decays. Null: all do.
  const std::uint8_t* decays = nullptr;
  // The new parameters once more, in f16 or bf16, or null.
  void* half_copy = nullptr;
  Dtype half_dtype = Dtype::kBF16;
  // What to hash once it is done, of arrays of `count`: as hash() does, but
  // while it is in the caches.
  std::span<const HashArgs> hashes = {};
};

// What element number `index` of a range adds to its hash, modulo 2^64. Any
// change of one element changes the hash, since the factor is odd; and the
// order of adding does not matter.
constexpr std::uint64_t hash_term(std::uint32_t bits, std::size_t index) {
  constexpr std::uint32_t kGoldenRatio = 0x9E3779B1;
  const auto odd = static_cast<std::uint32_t>(2 * index + 1);
  return std::uint64_t{bits} * static_cast<std::uint32_t>(odd * kGoldenRatio);
}

// Layer-wise adaptive rates, before sgd() without decay.
struct LarsArgs {
  const float* parameter;
  float* grad;  // in and out
  const FlatRange* ranges;
  std::size_t range_count;
  const SgdStep* step;
  float trust;
  float weight_decay;
};

// What becomes of a parameter's gradient, given the norms of both: nothing
// where one of them is zero.
struct LarsFactors {
  float ratio = 1;
  float decay = 0;
};
constexpr LarsFactors lars_factors(double parameter_norm, double gradient_norm,
                                   float trust, float weight_decay) {
  if (parameter_norm == 0 || gradient_norm == 0) return {};
  return {
      static_cast<float>(
          static_cast<double>(trust) * parameter_norm /
          (gradient_norm + static_cast<double>(weight_decay) * parameter_norm)),
      weight_decay};
}

// An exponential moving average of some values: average = decay average +
// (1 - decay) value.
struct EmaArgs {
  std::size_t count;
  const float* values;
  float* average;  // in and out
  float decay;
  const SgdStep* step = nullptr;  // nothing is changed where it is to skip
};

class OptimKernels {
 public:
  virtual ~OptimKernels() = default;

  // PyTorch's SGD: g = grad + weight_decay p; m = momentum m + g;
  // p -= lr (nesterov ? g + momentum m : m). Reads three arrays, writes two.
  virtual void sgd(const SgdArgs& args) = 0;

  // *result = the sum of the squares of `count` floats, in double precision and
  // in an order that depends on `count` and the kind of device alone; finite
  // exactly if they all are. Reads them once.
  virtual void squared_norm(std::size_t count, const float* values,
                            double* result) = 0;

  // LARS (You, Gitman and Ginsburg, "Large batch training of convolutional
  // networks", 2017), as NVIDIA Apex's LARC computes it: for each range
  // g = r (g + weight_decay p), r = trust |p| / (|g| + weight_decay |p|).
  // Reads both arrays twice, writes one. Nothing is changed in a step to skip.
  virtual void lars(const LarsArgs& args) = 0;

  // Reads two arrays, writes one.
  virtual void ema(const EmaArgs& args) = 0;

  // Hashes the bits of each range. Reads them once.
  virtual void hash(const HashArgs& args) = 0;
};

}  // namespace ringlet
