#include <cmath>

#include "cuda/support.h"
#include "kernels/cuda/families.h"

using namespace ringlet;
using namespace ringlet::testing;

namespace {

struct Problem {
  std::size_t n, classes;
  Dtype dtype;
  double smoothing;
  std::vector<double> logits;
  std::vector<std::int32_t> labels;
  std::vector<std::int32_t> others = {};  // empty: one label only
  double share = 1;
};

struct Expected {
  double loss = 0;
  std::int64_t correct = 0;
  std::vector<double> dlogits;
};

Expected expect(const Problem& p, double scale, double gradient_scale) {
  Expected e;
  e.dlogits.resize(p.logits.size());
  const auto classes = static_cast<double>(p.classes);
  for (std::size_t i = 0; i < p.n; ++i) {
    const double* z = p.logits.data() + i * p.classes;
    const auto label = static_cast<std::size_t>(p.labels[i]);
    const double* largest = std::max_element(z, z + p.classes);
    double sum = 0;
    for (std::size_t k = 0; k < p.classes; ++k)
      sum += std::exp(z[k] - *largest);
    for (std::size_t k = 0; k < p.classes; ++k) {
      const double softmax = std::exp(z[k] - *largest) / sum;
      const auto other = static_cast<std::size_t>(
          p.others.empty() ? p.labels[i] : p.others[i]);
      const double target =
          p.smoothing / classes +
          (1 - p.smoothing) *
              ((k == label ? p.share : 0) + (k == other ? 1 - p.share : 0));
      e.dlogits[i * p.classes + k] =
          (softmax - target) * scale * gradient_scale;
      e.loss -= target * (z[k] - *largest - std::log(sum)) * scale;
    }
    e.correct += largest == z + label;
  }
  return e;
}

Problem problem(std::size_t n, std::size_t classes, Dtype dtype,
                double smoothing) {
  Problem p{n, classes, dtype, smoothing, random_values(n * classes, 1, -6, 6),
            {}};
  for (std::size_t i = 0; i < n; ++i) {
    p.labels.push_back(static_cast<std::int32_t>(i * 7 % classes));
  }
  return p;
}

}  // namespace

TEST_CASE("CUDA's cross-entropy agrees with its formula") {
  for (const Dtype dtype : kActivationTypes) {
    for (const std::size_t n : {1, 33, 70}) {
      for (const std::size_t classes : {2, 10, 33}) {
        for (const double smoothing : {0.0, 0.1}) {
          INFO(name_of(dtype) << " n " << n << " classes " << classes
                              << " smoothing " << smoothing);
          Problem p = problem(n, classes, dtype, smoothing);
          const bool mixed = n > 1;
          if (mixed) {
            p.share = 0.375;
            for (std::size_t i = 0; i < n; ++i) {
              p.others.push_back(static_cast<std::int32_t>(i * 5 % classes));
            }
          }
          const AnyArray logits(p.logits, dtype);
          const DeviceArray<std::int32_t> labels(p.labels), others(p.others);
          const DeviceArray<float> share(std::vector<float>{0.375f});
          const DeviceArray<float> gradient_scale(std::vector<float>{8.0f});
          const double scale = 1.0 / static_cast<double>(2 * n);
          const Expected wanted = expect(p, scale, 8);
          in_all_orders([&] {
            const AnyArray dlogits(p.logits.size(), dtype);
            const DeviceArray<CrossEntropyResult> result(std::size_t{1});
            cuda::make_loss()->cross_entropy(
                {.n = n,
                 .classes = classes,
                 .dtype = dtype,
                 .logits = logits.data(),
                 .labels = labels.data(),
                 .other_labels = mixed ? others.data() : nullptr,
                 .share = mixed ? share.data() : nullptr,
                 .label_smoothing = static_cast<float>(smoothing),
                 .scale = static_cast<float>(scale),
                 .gradient_scale = gradient_scale.data(),
                 .dlogits = dlogits.data(),
                 .result = result.data()});
            const CrossEntropyResult got = result.to_host()[0];
            CHECK(std::abs(got.loss - wanted.loss) < 2e-6);
            CHECK(got.correct == wanted.correct);
            CHECK(got.bad_label == -1);
            CHECK(largest_error(dlogits.values(), wanted.dlogits) <
                  2 * rounding(dtype) + 2e-6);
            return Bits{dlogits.raw()};
          });
        }
      }
    }
  }
}

TEST_CASE("CUDA's cross-entropy takes the first of equal logits") {
  Problem p = problem(2, 40, Dtype::kF32, 0);
  p.logits.assign(p.logits.size(), 1.0);
  for (const std::size_t place : {3, 35, 42, 79}) p.logits[place] = 2;
  p.labels = {3, 39};
  const AnyArray logits(p.logits, p.dtype);
  const DeviceArray<std::int32_t> labels(p.labels);
  const DeviceArray<CrossEntropyResult> result(std::size_t{1});
  cuda::make_loss()->cross_entropy({.n = 2,
                                    .classes = 40,
                                    .logits = logits.data(),
                                    .labels = labels.data(),
                                    .scale = 1,
                                    .result = result.data()});
  CHECK(result.to_host()[0].correct == 1);
}

TEST_CASE("CUDA's cross-entropy of huge logits is finite") {
  std::vector<double> huge = {3e4, -3e4, 1e4};
  const AnyArray logits(huge, Dtype::kF16);
  const DeviceArray<std::int32_t> labels(std::vector<std::int32_t>{1});
  const DeviceArray<CrossEntropyResult> result(std::size_t{1});
  cuda::make_loss()->cross_entropy({.n = 1,
                                    .classes = 3,
                                    .dtype = Dtype::kF16,
                                    .logits = logits.data(),
                                    .labels = labels.data(),
                                    .scale = 1,
                                    .result = result.data()});
  CHECK(result.to_host()[0].loss == Approx(huge[0] - huge[1]));
}

TEST_CASE("CUDA's cross-entropy names the first label out of range") {
  for (const std::int32_t bad : {-1, 10}) {
    Problem p = problem(70, 10, Dtype::kF32, 0);
    p.labels[65] = p.labels[37] = p.labels[69] = bad;
    const AnyArray logits(p.logits, p.dtype);
    const DeviceArray<std::int32_t> labels(p.labels);
    const DeviceArray<CrossEntropyResult> result(std::size_t{1});
    cuda::make_loss()->cross_entropy({.n = p.n,
                                      .classes = p.classes,
                                      .logits = logits.data(),
                                      .labels = labels.data(),
                                      .scale = 1,
                                      .result = result.data()});
    CHECK(result.to_host()[0].bad_label == 37);
    CHECK(std::isnan(result.to_host()[0].loss));
  }
}
