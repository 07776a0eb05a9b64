#include "bench/measure/fit.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace ringlet {
namespace {

constexpr std::size_t kMostColumns = 8;
// What may be left of a column of length 1 without its share of the others
// before it counts as their combination. Doubles leave 1e-16; measured sizes
// that are meant to differ leave far more than this.
constexpr double kCollinear = 1e-7;
// A weight is that of a time within this factor of the measured one.
constexpr double kWeightLimit = 2;
// Rounds end when no prediction moves by more than this share.
constexpr double kSettled = 1e-12;
constexpr int kMostRounds = 100;

using Vector = std::vector<double>;
using Columns = std::vector<Vector>;

double dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

void subtract(Vector& a, double factor, const Vector& b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] -= factor * b[i];
}

[[noreturn]] void refuse(const std::string& what) {
  throw std::invalid_argument("fit: " + what);
}

void require_shape(const std::vector<Observation>& observations) {
  const std::size_t columns =
      observations.empty() ? 0 : observations[0].regressors.size();
  if (columns == 0) refuse("no observations or no regressors");
  if (columns > kMostColumns) {
    refuse(std::to_string(columns) + " regressors, expected at most " +
           std::to_string(kMostColumns));
  }
  if (observations.size() < columns) {
    refuse(std::to_string(observations.size()) +
           " observations are fewer than " + std::to_string(columns) +
           " coefficients");
  }
}

void require_numbers(const std::vector<Observation>& observations) {
  const std::size_t columns = observations[0].regressors.size();
  for (std::size_t i = 0; i < observations.size(); ++i) {
    const auto& [regressors, time] = observations[i];
    const std::string name = "observation " + std::to_string(i + 1);
    if (regressors.size() != columns) {
      refuse(name + " has " + std::to_string(regressors.size()) +
             " regressors, the first has " + std::to_string(columns));
    }
    if (!(time > 0) || !std::isfinite(time)) {
      refuse(name + " has time " + std::to_string(time) +
             ", expected a positive finite number");
    }
    for (const double regressor : regressors) {
      if (!std::isfinite(regressor)) {
        refuse(name + " has regressor " + std::to_string(regressor));
      }
    }
  }
}

// Regressors and times divided by `units`, the predicted times; each column is
// then divided by its length, since latencies and bytes differ by 1e9.
struct Problem {
  Columns columns;  // of length 1
  Vector lengths;   // what they were divided by
  Vector target;

  Problem(const std::vector<Observation>& observations, const Vector& units) {
    for (std::size_t k = 0; k < observations[0].regressors.size(); ++k) {
      Vector column;
      for (std::size_t i = 0; i < units.size(); ++i) {
        column.push_back(observations[i].regressors[k] / units[i]);
      }
      const double length = std::sqrt(dot(column, column));
      if (length == 0) {
        refuse("regressor " + std::to_string(k + 1) + " is 0 everywhere");
      }
      for (double& entry : column) entry /= length;
      columns.push_back(std::move(column));
      lengths.push_back(length);
    }
    for (std::size_t i = 0; i < units.size(); ++i) {
      target.push_back(observations[i].time / units[i]);
    }
  }
};

// The columns as Q R by modified Gram-Schmidt, twice, which is as exact as
// Householder's reflections.
struct Factors {
  Columns q;  // orthonormal
  Columns r;  // r[column][row], row <= column

  // Throws where a column is a combination of those before it.
  explicit Factors(const Columns& columns) {
    for (const Vector& column : columns) append(column);
  }

  void append(Vector column) {
    const std::size_t k = q.size();
    Vector shares(k + 1, 0);
    for (int pass = 0; pass < 2; ++pass) {
      for (std::size_t j = 0; j < k; ++j) {
        const double share = dot(q[j], column);
        subtract(column, share, q[j]);
        shares[j] += share;
      }
    }
    shares[k] = std::sqrt(dot(column, column));
    if (shares[k] < kCollinear) {
      refuse("regressor " + std::to_string(k + 1) +
             " is a combination of those before it");
    }
    for (double& entry : column) entry /= shares[k];
    q.push_back(std::move(column));
    r.push_back(std::move(shares));
  }

  // x with R x = right.
  Vector solve(Vector right) const {
    for (std::size_t k = right.size(); k-- > 0;) {
      right[k] /= r[k][k];
      for (std::size_t j = 0; j < k; ++j) right[j] -= right[k] * r[k][j];
    }
    return right;
  }

  // The least squares solution.
  Vector solve_for(const Vector& target) const {
    Vector right;
    for (const Vector& direction : q) right.push_back(dot(direction, target));
    return solve(std::move(right));
  }

  // The inverse of R^T R, in rows of one number per column.
  Vector covariance() const {
    const std::size_t n = q.size();
    Vector sum(n * n, 0);
    for (std::size_t k = 0; k < n; ++k) {
      Vector unit(n, 0);
      unit[k] = 1;
      const Vector inverse = solve(std::move(unit));  // column k of R^-1
      for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j < n; ++j) {
          sum[i * n + j] += inverse[i] * inverse[j];
        }
      }
    }
    return sum;
  }
};

// Refuses what has more than one solution.
void require_independent(const Columns& columns) {
  const Factors factors(columns);
}

// What the coefficients leave of the target in each row.
Vector residuals(const Problem& problem, const Vector& coefficients) {
  Vector left = problem.target;
  for (std::size_t k = 0; k < coefficients.size(); ++k) {
    subtract(left, coefficients[k], problem.columns[k]);
  }
  return left;
}

// The least squares solution on the columns in `chosen`, a bit each; 0 for the
// others.
Vector solve_subset(const Problem& problem, unsigned chosen) {
  Columns part;
  for (std::size_t k = 0; k < problem.columns.size(); ++k) {
    if (chosen >> k & 1) part.push_back(problem.columns[k]);
  }
  const Vector some = Factors(part).solve_for(problem.target);
  Vector all(problem.columns.size(), 0);
  auto next = some.begin();
  for (std::size_t k = 0; k < all.size(); ++k) {
    if (chosen >> k & 1) all[k] = *next++;
  }
  return all;
}

// The best solution without a negative coefficient. It is the unconstrained one
// on the columns that it uses, and all sets of columns are few enough to try.
Vector solve_nonnegative(const Problem& problem) {
  Vector best(problem.columns.size(), 0);
  double least = dot(problem.target, problem.target);
  for (unsigned chosen = 1; chosen < 1U << best.size(); ++chosen) {
    const Vector candidate = solve_subset(problem, chosen);
    if (*std::min_element(candidate.begin(), candidate.end()) < 0) continue;
    const Vector left = residuals(problem, candidate);
    const double squares = dot(left, left);
    if (squares < least) {
      least = squares;
      best = candidate;
    }
  }
  return best;
}

// The problem in units of its own solution's predictions.
Problem settled(const std::vector<Observation>& observations) {
  Vector units;
  for (const Observation& row : observations) units.push_back(row.time);
  Problem problem(observations, units);
  require_independent(problem.columns);
  double moved = 1;
  for (int round = 0; round < kMostRounds && moved > kSettled; ++round) {
    moved = 0;
    const Vector left = residuals(problem, solve_nonnegative(problem));
    for (std::size_t i = 0; i < units.size(); ++i) {
      const double time = observations[i].time;
      const double predicted = time - left[i] * units[i];
      const double unit =
          std::clamp(predicted, time / kWeightLimit, time * kWeightLimit);
      moved = std::max(moved, std::abs(unit / units[i] - 1));
      units[i] = unit;
    }
    problem = Problem(observations, units);
  }
  return problem;
}

Interval around(double middle, double half_width) {
  return {std::max(middle - half_width, 0.0), middle + half_width};
}

// Everything but the errors; still in the units of the scaled columns.
Fit fit_scaled(const Problem& problem) {
  const Factors factors(problem.columns);
  const Vector free = factors.solve_for(problem.target);  // of any sign
  const std::size_t n = free.size();
  Fit fit{};
  fit.coefficients = solve_nonnegative(problem);
  fit.covariance = factors.covariance();
  fit.freedom = problem.target.size() - n;
  const Vector left = residuals(problem, free);
  fit.scatter = fit.freedom == 0 ? 0 : std::sqrt(dot(left, left) / fit.freedom);
  for (std::size_t k = 0; k < n; ++k) {
    Interval interval{0, std::numeric_limits<double>::infinity()};
    if (fit.freedom > 0) {
      interval = around(free[k], student_95(fit.freedom) * fit.scatter *
                                     std::sqrt(fit.covariance[k * n + k]));
    }
    interval.low = std::min(interval.low, fit.coefficients[k]);
    interval.high = std::max(interval.high, fit.coefficients[k]);
    fit.intervals.push_back(interval);
  }
  return fit;
}

void unscale(Fit& fit, const Vector& lengths) {
  const std::size_t n = lengths.size();
  for (std::size_t k = 0; k < n; ++k) {
    fit.coefficients[k] /= lengths[k];
    fit.intervals[k].low /= lengths[k];
    fit.intervals[k].high /= lengths[k];
    for (std::size_t j = 0; j < n; ++j) {
      fit.covariance[k * n + j] /= lengths[k] * lengths[j];
    }
  }
}

}  // namespace

Fit fit_nonnegative(const std::vector<Observation>& observations) {
  require_shape(observations);
  require_numbers(observations);
  const Problem problem = settled(observations);
  Fit fit = fit_scaled(problem);
  unscale(fit, problem.lengths);
  Vector errors;
  for (const auto& [regressors, time] : observations) {
    errors.push_back(std::abs(predict(fit, regressors) / time - 1));
  }
  fit.relative_error = median(errors);
  fit.worst_error = *std::max_element(errors.begin(), errors.end());
  return fit;
}

double predict(const Fit& fit, const std::vector<double>& regressors) {
  if (regressors.size() != fit.coefficients.size()) {
    refuse(std::to_string(regressors.size()) + " regressors for " +
           std::to_string(fit.coefficients.size()) + " coefficients");
  }
  return dot(fit.coefficients, regressors);
}

Interval predict_interval(const Fit& fit,
                          const std::vector<double>& regressors) {
  const double time = predict(fit, regressors);
  if (fit.freedom == 0) return {0, std::numeric_limits<double>::infinity()};
  const std::size_t n = regressors.size();
  double variance = time * time;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      variance += regressors[i] * fit.covariance[i * n + j] * regressors[j];
    }
  }
  return around(time,
                student_95(fit.freedom) * fit.scatter * std::sqrt(variance));
}

}  // namespace ringlet
