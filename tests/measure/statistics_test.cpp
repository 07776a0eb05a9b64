#include "bench/measure/statistics.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>

#include "support/catch.h"

using namespace ringlet;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// n, n - 1, ..., 1: the k-th smallest value is k.
std::vector<double> countdown(int n) {
  std::vector<double> values;
  for (int value = n; value > 0; --value) values.push_back(value);
  return values;
}

// exp of a normal value: like times, with a long tail; the median is 1.
std::vector<double> lognormal(std::size_t n, double sigma,
                              std::mt19937_64& random) {
  std::lognormal_distribution<double> draw(0, sigma);
  std::vector<double> values(n);
  for (double& value : values) value = draw(random);
  return values;
}

bool contains(Interval interval, double value) {
  return interval.low <= value && value <= interval.high;
}

}  // namespace

TEST_CASE("Quantiles lie between neighbours") {
  CHECK(quantile({3, 1, 2, 4}, 0) == 1);
  CHECK(quantile({3, 1, 2, 4}, 0.25) == Approx(1.75));
  CHECK(median({3, 1, 2, 4}) == 2.5);
  CHECK(median({3, 1, 2}) == 2);
  CHECK(quantile({3, 1, 2, 4}, 1) == 4);
  CHECK(median({7}) == 7);
  CHECK(quantile({}, 0.5) == 0);
}

// Tables of the sign test's interval: Le Boudec, table A.1; Conover, "Practical
// Nonparametric Statistics", table A3.
TEST_CASE("The median's interval has the ranks of the tables") {
  struct Row {
    int n, low, high;
  };
  const auto row = GENERATE(
      Row{6, 1, 6}, Row{7, 1, 7}, Row{8, 1, 8}, Row{9, 2, 8}, Row{10, 2, 9},
      Row{11, 2, 10}, Row{12, 3, 10}, Row{15, 4, 12}, Row{20, 6, 15},
      Row{25, 8, 18}, Row{30, 10, 21}, Row{50, 18, 33}, Row{70, 27, 44});
  CAPTURE(row.n);
  const Estimate estimate = median_estimate(countdown(row.n));
  CHECK(estimate.median == (row.n + 1) / 2.0);
  CHECK(estimate.interval.low == row.low);
  CHECK(estimate.interval.high == row.high);
  CHECK(bounded(estimate.interval));
}

TEST_CASE("The median's interval holds for very many values") {
  // Normal approximation: n/2 -+ 1.96 sqrt(n)/2. 2^-5000 is 0 in a double.
  const Interval interval = median_estimate(countdown(5000)).interval;
  CHECK(interval.low == Approx(2500 - 69).margin(1.5));
  CHECK(interval.low + interval.high == 5001);
}

TEST_CASE("Fewer than six values leave the median unbounded") {
  const int n = GENERATE(1, 2, 5);
  const Estimate estimate = median_estimate(countdown(n));
  CHECK(estimate.median == (n + 1) / 2.0);
  CHECK_FALSE(bounded(estimate.interval));
  CHECK(estimate.interval.low == -kInfinity);
  CHECK(estimate.interval.high == kInfinity);
  CHECK(kFewestForInterval == 6);
}

TEST_CASE("No values have no median") {
  const Estimate none = median_estimate({});
  CHECK(std::isnan(none.median));
  CHECK_FALSE(bounded(none.interval));
  CHECK_FALSE(bounded({0, kInfinity}));
  CHECK_FALSE(bounded({-kInfinity, 0}));
  CHECK(bounded({0, 1}));
}

TEST_CASE("Values that are no numbers are refused by their place") {
  CHECK_THROWS_WITH(median_estimate({1, 2, std::nan(""), 4}),
                    "value 3 of 4 is nan, expected a finite number");
  CHECK_THROWS_AS(quantile({kInfinity}, 0.5), std::invalid_argument);
}

TEST_CASE("The median's interval covers the median of skewed values") {
  std::mt19937_64 random(20);
  struct Row {
    std::size_t n;
    double coverage;  // of the binomial distribution
  };
  const auto row = GENERATE(Row{6, 0.9688}, Row{11, 0.9883}, Row{20, 0.9586},
                            Row{41, 0.9725});
  int covered = 0;
  for (int sample = 0; sample < 2000; ++sample) {
    const auto values = lognormal(row.n, 1, random);
    covered += contains(median_estimate(values).interval, 1);
  }
  CAPTURE(row.n, covered);
  CHECK(covered >= 0.94 * 2000);
  CHECK(covered / 2000.0 == Approx(row.coverage).margin(0.013));
}

TEST_CASE("A ratio of pairs is free of what slows both down") {
  std::mt19937_64 random(21);
  std::normal_distribution<double> noise(0, 0.01);
  std::vector<double> a, b;
  for (int i = 0; i < 20; ++i) {
    const double machine = 1 + 0.2 * i;  // five times slower at the end
    a.push_back(1.5 * machine * std::exp(noise(random)));
    b.push_back(1.0 * machine * std::exp(noise(random)));
  }
  const Estimate ratio = paired_ratio(a, b);
  CHECK(ratio.median == Approx(1.5).epsilon(0.01));
  CHECK(contains(ratio.interval, 1.5));
  CHECK(ratio.interval.high / ratio.interval.low < 1.04);
  // Out of order the same values say next to nothing.
  std::reverse(b.begin(), b.end());
  const Interval apart = paired_ratio(a, b).interval;
  CHECK(apart.high / apart.low > 1.5);
}

TEST_CASE("A ratio's interval has the order statistics' ranks") {
  std::vector<double> ones(10, 2);
  std::vector<double> doubled = countdown(10);
  for (double& value : doubled) value *= 2;
  const Estimate ratio = paired_ratio(doubled, ones);
  CHECK(ratio.median == Approx(std::sqrt(30)));  // of 5 and 6, in logarithms
  CHECK(ratio.interval.low == Approx(2));
  CHECK(ratio.interval.high == Approx(9));
}

TEST_CASE("A ratio of swapped pairs is the inverse") {
  std::mt19937_64 random(22);
  const auto a = lognormal(12, 0.5, random);
  const auto b = lognormal(12, 0.5, random);
  const Estimate one = paired_ratio(a, b);
  const Estimate other = paired_ratio(b, a);
  CHECK(other.median == Approx(1 / one.median));
  CHECK(other.interval.low == Approx(1 / one.interval.high));
  CHECK(other.interval.high == Approx(1 / one.interval.low));
}

TEST_CASE("A ratio's interval covers it where one side has the longer tail") {
  std::mt19937_64 random(23);
  std::exponential_distribution<double> wait(1);
  int covered = 0;
  for (int sample = 0; sample < 2000; ++sample) {
    std::vector<double> a, b;
    for (int pair = 0; pair < 20; ++pair) {
      a.push_back(1 + wait(random));
      b.push_back(1);
    }
    covered += contains(paired_ratio(a, b).interval, 1 + std::log(2.0));
  }
  CAPTURE(covered);
  CHECK(covered >= 1880);
}

TEST_CASE("Few pairs give a ratio between zero and infinity") {
  const Estimate ratio = paired_ratio({2, 4}, {1, 2});
  CHECK(ratio.median == Approx(2));
  CHECK(ratio.interval.low == 0);
  CHECK(ratio.interval.high == kInfinity);
  CHECK(std::isnan(paired_ratio({}, {}).median));
}

TEST_CASE("What is no pair of positive numbers is refused") {
  CHECK_THROWS_WITH(paired_ratio({1, 2}, {1}),
                    "expected pairs, got 2 and 1 values");
  CHECK_THROWS_WITH(paired_ratio({1, 2}, {1, 0}),
                    StartsWith("pair 2 is 2.000000 and 0.000000"));
  CHECK_THROWS_AS(paired_ratio({-1}, {1}), std::invalid_argument);
  CHECK_THROWS_AS(paired_ratio({1}, {std::nan("")}), std::invalid_argument);
  CHECK_THROWS_AS(paired_ratio({kInfinity}, {1}), std::invalid_argument);
}

TEST_CASE("Student's quantiles are those of the tables") {
  struct Row {
    std::size_t freedom;
    double quantile;
  };
  const auto row =
      GENERATE(Row{1, 12.706}, Row{2, 4.303}, Row{3, 3.182}, Row{4, 2.776},
               Row{5, 2.571}, Row{10, 2.228}, Row{15, 2.131}, Row{20, 2.086},
               Row{30, 2.042}, Row{100, 1.984}, Row{1000, 1.962});
  CAPTURE(row.freedom);
  CHECK(student_95(row.freedom) == Approx(row.quantile).margin(0.0006));
  CHECK(student_95(0) == kInfinity);
}
