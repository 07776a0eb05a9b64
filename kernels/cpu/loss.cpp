#include "kernels/loss.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/floats.h"

namespace ringlet::cpu {
namespace {

class Loss final : public LossKernels {
 public:
  void cross_entropy(const CrossEntropyArgs& args) override {
    const std::size_t count = args.n * args.classes;
    const FloatInput all(args.logits, args.dtype, count);
    const FloatOutput gradients(args.dlogits, args.dtype, count);
    CrossEntropyResult& result = *args.result;
    result = {};
    for (std::size_t i = 0; i < args.n; ++i) {
      const float* logits = all.data() + i * args.classes;
      const Target target = target_of(args, i);
      if (target.label >= args.classes || target.other >= args.classes) {
        if (result.bad_label < 0) result.bad_label = static_cast<long>(i);
        result.loss = std::numeric_limits<double>::quiet_NaN();
        continue;
      }
      const double total = log_sum_exp(args, logits);
      result.loss += total - expected_logit(args, logits, target);
      const float* largest = std::max_element(logits, logits + args.classes);
      result.correct += largest == logits + target.label;
      if (args.dlogits != nullptr) {
        gradient(args, logits, target, total,
                 gradients.data() + i * args.classes);
      }
    }
    result.loss *= static_cast<double>(args.scale);
  }

 private:
  // Classes, one of which is too large where a label was out of range.
  struct Target {
    std::size_t label, other;
    double share;  // of the first
  };

  static Target target_of(const CrossEntropyArgs& args, std::size_t i) {
    const auto label = static_cast<std::size_t>(args.labels[i]);
    if (args.other_labels == nullptr) return {label, label, 1};
    return {label, static_cast<std::size_t>(args.other_labels[i]),
            static_cast<double>(*args.share)};
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
                               const float* logits, const Target& target) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::size_t k = 0; k < args.classes; ++k) {
      sum += static_cast<double>(logits[k]);
    }
    const double smoothing = args.label_smoothing;
    const double hot =
        target.share * static_cast<double>(logits[target.label]) +
        (1 - target.share) * static_cast<double>(logits[target.other]);
    return (1 - smoothing) * hot +
           smoothing * sum / static_cast<double>(args.classes);
  }

  static void gradient(const CrossEntropyArgs& args, const float* logits,
                       const Target& target, double total, float* dlogits) {
    const double smoothing = args.label_smoothing;
    const double elsewhere = smoothing / static_cast<double>(args.classes);
    const double first = (1 - smoothing) * target.share;
    const double second = (1 - smoothing) * (1 - target.share);
    const double scale =
        static_cast<double>(args.scale) *
        static_cast<double>(args.gradient_scale ? *args.gradient_scale : 1.0f);
#pragma omp simd
    for (std::size_t k = 0; k < args.classes; ++k) {
      const double softmax = std::exp(static_cast<double>(logits[k]) - total);
      const double wanted = elsewhere + (k == target.label ? first : 0.0) +
                            (k == target.other ? second : 0.0);
      dlogits[k] = static_cast<float>((softmax - wanted) * scale);
    }
  }
};

}  // namespace

std::unique_ptr<LossKernels> make_loss() { return std::make_unique<Loss>(); }

}  // namespace ringlet::cpu
