#include "kernels/loss.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/families.h"
#include "kernels/runtime/check.h"

namespace ringlet::cpu {
namespace {

class Loss final : public LossKernels {
 public:
  CrossEntropyResult cross_entropy(const CrossEntropyArgs& args,
                                   float* dlogits) override {
    CrossEntropyResult result;
    for (std::size_t i = 0; i < args.n; ++i) {
      const float* logits = args.logits + i * args.classes;
      const std::size_t label = checked_label(args, i);
      const double total = log_sum_exp(args, logits);
      result.loss += total - expected_logit(args, logits, label);
      const float* largest = std::max_element(logits, logits + args.classes);
      result.correct += largest == logits + label;
      if (dlogits) {
        gradient(args, logits, label, total, dlogits + i * args.classes);
      }
    }
    result.loss *= static_cast<double>(args.scale);
    return result;
  }

 private:
  static std::size_t checked_label(const CrossEntropyArgs& args,
                                   std::size_t i) {
    const std::int32_t label = args.labels[i];
    RINGLET_CHECK(label >= 0 && static_cast<std::size_t>(label) < args.classes,
                  "cross_entropy: sample {} has label {}, expected 0 to {}", i,
                  label, args.classes - 1);
    return static_cast<std::size_t>(label);
  }

  // log of the sum of exponentials, with the largest logit taken out so that
  // no exponential overflows.
  static double log_sum_exp(const CrossEntropyArgs& args, const float* logits) {
    const double largest = *std::max_element(logits, logits + args.classes);
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::size_t k = 0; k < args.classes; ++k) {
      sum += std::exp(static_cast<double>(logits[k]) - largest);
    }
    return largest + std::log(sum);
  }

  // The mean of the logits under the target's distribution.
  static double expected_logit(const CrossEntropyArgs& args,
                               const float* logits, std::size_t label) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::size_t k = 0; k < args.classes; ++k) {
      sum += static_cast<double>(logits[k]);
    }
    const double smoothing = args.label_smoothing;
    return (1 - smoothing) * static_cast<double>(logits[label]) +
           smoothing * sum / static_cast<double>(args.classes);
  }

  static void gradient(const CrossEntropyArgs& args, const float* logits,
                       std::size_t label, double total, float* dlogits) {
    const double smoothing = args.label_smoothing;
    const double elsewhere = smoothing / static_cast<double>(args.classes);
#pragma omp simd
    for (std::size_t k = 0; k < args.classes; ++k) {
      const double softmax = std::exp(static_cast<double>(logits[k]) - total);
      const double target = elsewhere + (k == label ? 1 - smoothing : 0.0);
      dlogits[k] = static_cast<float>((softmax - target) *
                                      static_cast<double>(args.scale));
    }
  }
};

}  // namespace

std::unique_ptr<LossKernels> make_loss() { return std::make_unique<Loss>(); }

}  // namespace ringlet::cpu
