#include "bench/measure/statistics.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <stdexcept>
#include <string>

namespace ringlet {
namespace {

constexpr double kConfidence = 0.95;

void require_finite(const std::vector<double>& values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    throw std::invalid_argument("value " + std::to_string(i + 1) + " of " +
                                std::to_string(values.size()) + " is " +
                                std::to_string(values[i]) +
                                ", expected a finite number");
  }
}

// The largest k (counted from 1) for which the k-th smallest and the k-th
// largest of n values enclose the median with 95 %; 0 if there is none. The
// number of values below the median is binomial (n, 1/2), so the pair fails
// with 2 P(fewer than k). The terms are kept as logarithms, since 2^-n is 0 in
// a double from n = 1075 on.
std::size_t interval_rank(std::size_t n) {
  double log_term = -static_cast<double>(n) * std::numbers::ln2;
  double below = std::exp(log_term);
  std::size_t k = 0;
  while (2 * below <= 1 - kConfidence && k < n) {
    ++k;
    log_term += std::log(static_cast<double>(n - k + 1) / k);
    below += std::exp(log_term);
  }
  return k;
}

// P(|T| < sqrt(freedom) tan(angle)) of Student's t, as a finite sum (Abramowitz
// and Stegun, 26.7.3 and 26.7.4).
double student_probability(std::size_t freedom, double angle) {
  const bool odd = freedom % 2 == 1;
  const double cosine = std::cos(angle);
  double term = odd ? cosine : 1;
  double sum = freedom == 1 ? 0 : term;
  for (std::size_t i = odd ? 3 : 2; i < freedom; i += 2) {
    term *= cosine * cosine * static_cast<double>(i - 1) / i;
    sum += term;
  }
  sum *= std::sin(angle);
  return odd ? (angle + sum) * 2 / std::numbers::pi : sum;
}

double log_of_ratio(double a, double b, std::size_t pair) {
  if (a > 0 && b > 0 && std::isfinite(a) && std::isfinite(b)) {
    return std::log(a) - std::log(b);
  }
  throw std::invalid_argument("pair " + std::to_string(pair + 1) + " is " +
                              std::to_string(a) + " and " + std::to_string(b) +
                              ", expected two positive finite numbers");
}

}  // namespace

double quantile(std::vector<double> values, double q) {
  require_finite(values);
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double place = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  const double share = place - std::floor(place);
  return values[below] * (1 - share) + values[above] * share;
}

bool bounded(Interval interval) {
  return std::isfinite(interval.low) && std::isfinite(interval.high);
}

Estimate median_estimate(const std::vector<double>& values) {
  if (values.empty()) return {std::nan(""), {}};
  Estimate estimate{median(values), {}};
  const std::size_t rank = interval_rank(values.size());
  if (rank == 0) return estimate;
  std::vector<double> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  estimate.interval = {sorted[rank - 1], sorted[sorted.size() - rank]};
  return estimate;
}

Estimate paired_ratio(const std::vector<double>& a,
                      const std::vector<double>& b) {
  if (a.size() != b.size()) {
    throw std::invalid_argument("expected pairs, got " +
                                std::to_string(a.size()) + " and " +
                                std::to_string(b.size()) + " values");
  }
  std::vector<double> logs(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    logs[i] = log_of_ratio(a[i], b[i], i);
  }
  const Estimate of_logs = median_estimate(logs);
  return {std::exp(of_logs.median),
          {std::exp(of_logs.interval.low), std::exp(of_logs.interval.high)}};
}

double student_95(std::size_t freedom) {
  if (freedom == 0) return std::numeric_limits<double>::infinity();
  double low = 0;
  double high = std::numbers::pi / 2;
  // Each round halves the angle's error: 60 leave none in a double.
  for (int round = 0; round < 60; ++round) {
    const double angle = (low + high) / 2;
    (student_probability(freedom, angle) < kConfidence ? low : high) = angle;
  }
  return std::sqrt(static_cast<double>(freedom)) * std::tan(low);
}

}  // namespace ringlet
