#include "bench/measure/noise.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "bench/measure/statistics.h"

namespace ringlet {
namespace {

// The most that a grade allows.
struct Limits {
  NoiseGrade grade;
  double spread;
  double drift;
  double outliers;
};

// The intervals of two medians of 20 values are apart where the medians differ
// by about 0.9 times the spread. Drift weighs as much as spread: rows are
// measured one after the other, so it is their error. One outlier in 20 leaves
// the 95th percentile alone and two do not; more are kNoisy, as long as the
// quartiles, and with them the median, are not touched.
constexpr Limits kLimits[] = {
    {NoiseGrade::kQuiet, 0.05, 0.05, 0.05},
    {NoiseGrade::kFair, 0.15, 0.15, 0.10},
    {NoiseGrade::kNoisy, 0.50, 0.50, 0.25},
};

// Of an outlier: interquartile ranges above the third quartile, and times the
// median.
constexpr double kFarOut = 3;
constexpr double kVisible = 1.1;

void require_positive(const std::vector<double>& times) {
  for (std::size_t i = 0; i < times.size(); ++i) {
    if (times[i] > 0 && std::isfinite(times[i])) continue;
    throw std::invalid_argument("time " + std::to_string(i + 1) + " of " +
                                std::to_string(times.size()) + " is " +
                                std::to_string(times[i]) +
                                ", expected a positive finite number");
  }
}

double drift_of(const std::vector<double>& times) {
  const auto middle =
      times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  return median({middle, times.end()}) / median({times.begin(), middle}) - 1;
}

double outliers_of(const std::vector<double>& times, double middle,
                   double third_quartile, double range) {
  const double fence =
      std::max(third_quartile + kFarOut * range, kVisible * middle);
  const auto beyond = std::count_if(times.begin(), times.end(),
                                    [fence](double t) { return t > fence; });
  return static_cast<double>(beyond) / static_cast<double>(times.size());
}

NoiseGrade grade_of(const Noise& noise) {
  for (const Limits& limits : kLimits) {
    if (noise.spread <= limits.spread &&
        std::abs(noise.drift) <= limits.drift &&
        noise.outliers <= limits.outliers) {
      return limits.grade;
    }
  }
  return NoiseGrade::kUseless;
}

// Of at least two values.
Noise graded(const std::vector<double>& times) {
  const double middle = median(times);
  const double third_quartile = quantile(times, 0.75);
  const double range = third_quartile - quantile(times, 0.25);
  Noise noise{range / middle, drift_of(times),
              outliers_of(times, middle, third_quartile, range),
              NoiseGrade::kUseless};
  noise.grade = grade_of(noise);
  return noise;
}

}  // namespace

const char* name_of(NoiseGrade grade) {
  switch (grade) {
    case NoiseGrade::kQuiet:
      return "quiet";
    case NoiseGrade::kFair:
      return "fair";
    case NoiseGrade::kNoisy:
      return "noisy";
    case NoiseGrade::kUseless:
      break;
  }
  return "useless";
}

Noise noise_of(const std::vector<double>& times,
               const std::vector<double>& yardstick) {
  require_positive(times);
  require_positive(yardstick);
  if (times.size() < 2) return {0, 0, 0, NoiseGrade::kUseless};
  Noise noise = graded(times);
  if (times.size() < kFewestForInterval) noise.grade = NoiseGrade::kUseless;
  if (yardstick.size() >= 2) {
    noise.grade = std::max(noise.grade, graded(yardstick).grade);
  }
  return noise;
}

}  // namespace ringlet
