// How far a linear model gets on the built-in pictures: softmax regression on
// their pixels by plain SGD. Prints the accuracy on held-out pictures after
// each epoch. It should stay under 60 % (a network passes 95 %).
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "engine/data/data_loader.h"
#include "engine/data/synthetic.h"

namespace ringlet {
namespace {

constexpr std::size_t kClassCount = 10;
constexpr std::size_t kBatch = 64;
constexpr std::uint32_t kEpochs = 20;
constexpr float kLearningRate = 1e-3f;  // 1e-2 ends as high, 1e-4 lower

using Scores = std::array<float, kClassCount>;

class SoftmaxRegression {
 public:
  explicit SoftmaxRegression(std::size_t inputs)
      : inputs_(inputs), weights_(kClassCount * inputs) {}

  Scores scores(const float* x) const {
    Scores scores = bias_;
    for (std::size_t c = 0; c < kClassCount; ++c) {
      const float* w = weights_.data() + c * inputs_;
      for (std::size_t i = 0; i < inputs_; ++i) scores[c] += w[i] * x[i];
    }
    return scores;
  }

  void step(const Batch& batch) {
    const std::size_t n = batch.labels.count();
    std::vector<Scores> errors;  // of all before the weights move
    for (std::size_t i = 0; i < n; ++i) {
      errors.push_back(softmax(scores(batch.images.data() + i * inputs_)));
      errors[i][label(batch, i)] -= 1;
    }
    const float rate = kLearningRate / static_cast<float>(n);
    for (std::size_t i = 0; i < n; ++i) {
      const float* x = batch.images.data() + i * inputs_;
      for (std::size_t c = 0; c < kClassCount; ++c) {
        float* w = weights_.data() + c * inputs_;
        const float change = rate * errors[i][c];
        for (std::size_t at = 0; at < inputs_; ++at) w[at] -= change * x[at];
        bias_[c] -= change;
      }
    }
  }

  // Of `batch`, how many get their largest score for their label.
  std::size_t correct(const Batch& batch) const {
    std::size_t correct = 0;
    for (std::size_t i = 0; i < batch.labels.count(); ++i) {
      const Scores s = scores(batch.images.data() + i * inputs_);
      const auto best = std::max_element(s.begin(), s.end()) - s.begin();
      correct += static_cast<std::size_t>(best) == label(batch, i);
    }
    return correct;
  }

 private:
  static std::size_t label(const Batch& batch, std::size_t i) {
    return static_cast<std::size_t>(batch.labels.data<std::int32_t>()[i]);
  }

  static Scores softmax(Scores scores) {
    const float largest = *std::max_element(scores.begin(), scores.end());
    float sum = 0;
    for (float& s : scores) sum += s = std::exp(s - largest);
    for (float& s : scores) s /= sum;
    return scores;
  }

  std::size_t inputs_;
  std::vector<float> weights_;  // [class][input]
  Scores bias_{};
};

void run() {
  const Dataset data = make_synthetic();
  DataLoader train(data.train, DistributedSampler({data.train.count(), kBatch}),
                   {});
  DataLoader test(data.test, DistributedSampler({data.test.count(), kBatch}),
                  {});
  SoftmaxRegression model(data.train.image_bytes());
  for (std::uint32_t epoch = 0; epoch < kEpochs; ++epoch) {
    train.start(epoch);
    while (const std::optional<Batch> batch = train.next()) model.step(*batch);
    test.start(0);
    std::size_t correct = 0;
    while (const std::optional<Batch> batch = test.next()) {
      correct += model.correct(*batch);
    }
    fmt::print("softmax regression, epoch {:2}: {:.1f} % of {} pictures\n",
               epoch + 1,
               100.0 * static_cast<double>(correct) /
                   static_cast<double>(data.test.count()),
               data.test.count());
  }
}

}  // namespace
}  // namespace ringlet

int main() { ringlet::run(); }
