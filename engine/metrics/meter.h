#pragma once

namespace ringlet {

// A running mean over samples: loss and accuracy of an epoch, whose batches
// may differ in size.
class Meter {
 public:
  // `mean` of `samples` more samples.
  void add(double mean, double samples = 1) {
    sum_ += mean * samples;
    samples_ += samples;
  }

  double samples() const { return samples_; }
  // 0 before the first sample.
  double mean() const { return samples_ > 0 ? sum_ / samples_ : 0; }

 private:
  double sum_ = 0;
  double samples_ = 0;
};

}  // namespace ringlet
