#pragma once

#include <cstddef>
#include <limits>
#include <vector>

// What repeated measurements say. Nothing here assumes a normal distribution:
// times have a floor and a long tail (Hoefler and Belli, "Scientific
// Benchmarking of Parallel Computing Systems", SC'15, rules 5 to 8).
//
// Everything throws std::invalid_argument, saying which value it was, where one
// is NaN or infinite.

namespace ringlet {

// The value below which a share `q` (0 to 1) of the values lies, linear between
// neighbours; 0 of no values.
double quantile(std::vector<double> values, double q);
inline double median(const std::vector<double>& values) {
  return quantile(values, 0.5);
}

// Where the true value lies with 95 %. Too few measurements leave it
// unbounded, which is what it is by default.
struct Interval {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
};
// Whether both ends are finite.
bool bounded(Interval interval);

struct Estimate {
  double median;  // NaN of no values
  Interval interval;
};

// Fewer values than this cannot bound their median with 95 %: of 5, all lie on
// one side of it once in 16 times.
inline constexpr std::size_t kFewestForInterval = 6;

// The median and its 95 % interval by order statistics: the innermost pair
// k-th smallest, k-th largest value that has at most k - 1 values on one side
// of the median with no more than 5 %, by the binomial distribution. It holds
// for any continuous distribution (Le Boudec, "Performance Evaluation of
// Computer and Communication Systems", theorem 2.1), if the values are
// independent: repeats within one process share its memory addresses and its
// neighbours, so what is claimed of a program rests on values from several
// runs of it.
Estimate median_estimate(const std::vector<double>& values);

// How many times `a` is what `b` is: the median of a[i] / b[i] and its
// interval, where a[i] and b[i] were measured right after each other, so that
// what slows both down cancels. Computed on logarithms: with a and b swapped,
// the result is the inverse. Unbounded is {0, infinity}.
//
// The interval is again the order statistics', which is the sign test's, and
// not that of Hodges and Lehmann (Wilcoxon's test) although that is some 18 %
// narrower with normal errors: it needs ratios that scatter symmetrically, and
// they do not where one of the two has the longer tail (Hollander, Wolfe,
// Chicken, "Nonparametric Statistical Methods", sections 3.1 to 3.6).
//
// Throws std::invalid_argument where the lengths differ or a value is not
// positive.
Estimate paired_ratio(const std::vector<double>& a,
                      const std::vector<double>& b);

// Within plus or minus what a variable of Student's t distribution stays with
// 95 %: 12.7 with one degree of freedom, 1.96 with infinitely many. Infinity
// with none. Cost: linear in `freedom`.
double student_95(std::size_t freedom);

}  // namespace ringlet
