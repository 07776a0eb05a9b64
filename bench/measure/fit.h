#pragma once

#include <cstddef>
#include <vector>

#include "bench/measure/statistics.h"

// Cost models that are linear in what is not known, such as the ring's:
//
//   T = 2(N-1) alpha + 2(N-1)/N S beta + (N-1)/N S gamma
//
// with the latency of a message alpha, the time per byte beta and the time to
// add a byte gamma. The factors before them are the regressors.

namespace ringlet {

// One measurement, best a median: time = sum of regressors[k] * coefficient k.
struct Observation {
  std::vector<double> regressors;
  double time;  // positive
};

struct Fit {
  // In the time's unit per regressor's; none is negative.
  std::vector<double> coefficients;
  // 95 % each, from 0 up; a high end of infinity where there are no more
  // observations than coefficients.
  std::vector<Interval> intervals;
  // Of |predicted / measured - 1|: the median and the largest.
  double relative_error;
  double worst_error;

  // For predictions. Rows of k numbers: the coefficients' covariance, in units
  // of the square of `scatter`, the standard deviation of measured / predicted;
  // and how many observations there are beyond the coefficients.
  std::vector<double> covariance;
  double scatter;
  std::size_t freedom;
};

// The coefficients, none negative, for which the sum of the squares of
// (measured - predicted) / predicted is least: a microsecond and a second are
// both known to some per cent. The weights 1 / predicted^2 are found in rounds,
// from 1 / measured^2 on (Carroll and Ruppert, "Transformation and Weighting in
// Regression", 1988, chapter 2); those of the measured times themselves would
// prefer rows that came out short, and with a scatter of s give times that are
// 2 s^2 too small. No weight differs by more than a factor of 4 from the first,
// so that a row that the model misses altogether does not decide alone.
//
// The intervals are Student's, of the fit without the constraint, cut off at 0
// and widened where they miss the coefficient itself. Both keep at least 95 %,
// because no true coefficient is negative (Mandelkern, "Setting confidence
// intervals for bounded parameters", Statistical Science 17, 2002). They take
// relative errors to be independent and of one size, and the model to be right:
// where relative_error is larger than the measurements' own scatter, it is not,
// and the intervals are too narrow.
//
// Throws std::invalid_argument, saying what is wrong: fewer observations than
// coefficients, none of them or more than 8, rows of different length, a time
// that is not positive, a number that is not finite, a regressor that is a
// combination of the others (S beta and S gamma are, with one N alone). Cost:
// 2^k small least squares for k coefficients, some 10 times.
Fit fit_nonnegative(const std::vector<Observation>& observations);

// The time that the model gives. Both throw std::invalid_argument where there
// are not as many regressors as coefficients.
double predict(const Fit& fit, const std::vector<double>& regressors);

// Where one more measurement would lie with 95 %: the uncertainty of the
// coefficients and the scatter of a measurement. From 0 up; unbounded where the
// coefficients are.
Interval predict_interval(const Fit& fit,
                          const std::vector<double>& regressors);

}  // namespace ringlet
