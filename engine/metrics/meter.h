#pragma once

namespace ringlet {

// A running mean over samples: loss and accuracy of an epoch, whose batches
// may differ in size.
class Meter {
 public:
  Meter() = default;
  // One that has seen samples already.
  Meter(double sum, double samples) : sum_(sum), samples_(samples) {}

  // `mean` of `samples` more samples.
  void add(double mean, double samples = 1) {
    sum_ += mean * samples;
    samples_ += samples;
  }

  double sum() const { return sum_; }
  double samples() const { return samples_; }
  // 0 before the first sample.
  double mean() const { return samples_ > 0 ? sum_ / samples_ : 0; }

 private:
  double sum_ = 0;
  double samples_ = 0;
};

}  // namespace ringlet
