#include "bench/measure/fit.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <stdexcept>

#include "support/catch.h"

using namespace ringlet;

namespace {

constexpr double kAlpha = 2e-6;   // s per message
constexpr double kBeta = 4e-10;   // s per byte sent
constexpr double kGamma = 1e-10;  // s per byte added

// The ring's model: alpha, beta and gamma's factors.
std::vector<double> ring(double ranks, double bytes) {
  const double share = (ranks - 1) / ranks * bytes;
  return {2 * (ranks - 1), 2 * share, share};
}

// The tree's: log2(N) messages of all bytes each way, all added on the way up.
std::vector<double> tree(double ranks, double bytes) {
  const double levels = std::log2(ranks);
  return {2 * levels, 2 * levels * bytes, levels / 2 * bytes};
}

double exact_time(const std::vector<double>& regressors) {
  return regressors[0] * kAlpha + regressors[1] * kBeta +
         regressors[2] * kGamma;
}

// Rings and trees of 2, 4 and 8 ranks from 4 bytes to 16 MiB, each time off by
// a normal factor around 1.
std::vector<Observation> measured(double sigma, std::mt19937_64& random) {
  std::normal_distribution<double> noise(1, sigma);
  std::vector<Observation> rows;
  for (const double ranks : {2, 4, 8}) {
    for (double bytes = 4; bytes <= 16 << 20; bytes *= 8) {
      for (const auto& regressors : {ring(ranks, bytes), tree(ranks, bytes)}) {
        const double factor = sigma > 0 ? noise(random) : 1;
        rows.push_back({regressors, exact_time(regressors) * factor});
      }
    }
  }
  return rows;
}

bool contains(Interval interval, double value) {
  return interval.low <= value && value <= interval.high;
}

// alpha + S beta of two hosts.
std::vector<Observation> line(const std::vector<double>& times) {
  std::vector<Observation> rows;
  double bytes = 1;
  for (const double time : times) {
    rows.push_back({{1, bytes}, time});
    bytes *= 4;
  }
  return rows;
}

}  // namespace

TEST_CASE("A fit finds exact coefficients of times without noise") {
  std::mt19937_64 random(40);
  const Fit fit = fit_nonnegative(measured(0, random));
  REQUIRE(fit.coefficients.size() == 3);
  CHECK(fit.coefficients[0] == Approx(kAlpha).epsilon(1e-9));
  CHECK(fit.coefficients[1] == Approx(kBeta).epsilon(1e-9));
  CHECK(fit.coefficients[2] == Approx(kGamma).epsilon(1e-9));
  CHECK(fit.relative_error < 1e-9);
  CHECK(fit.worst_error < 1e-9);
  CHECK(fit.intervals[0].high / fit.intervals[0].low == Approx(1));
  const auto somewhere = ring(16, 1e6);
  CHECK(predict(fit, somewhere) == Approx(exact_time(somewhere)));
  CHECK(predict_interval(fit, somewhere).high == Approx(exact_time(somewhere)));
}

// By hand: with errors relative to a * x, the best a is the mean of time / x,
// whatever the sizes of x.
TEST_CASE("A fit weighs relative errors") {
  const Fit fit = fit_nonnegative({{{1}, 1}, {{10}, 12}, {{1000}, 1400}});
  CHECK(fit.coefficients[0] == Approx(1.2));
  CHECK(fit.relative_error == Approx(1 - 1.2 / 1.4));
  CHECK(fit.worst_error == Approx(0.2));
  // Standard deviation of time / (a x), with two degrees of freedom.
  CHECK(fit.scatter == Approx(0.2 / 1.2));
  CHECK(fit.freedom == 2);
  const double half = 4.30265 * 0.2 / std::sqrt(3.0);
  CHECK(fit.intervals[0].high == Approx(1.2 + half).epsilon(1e-5));
  CHECK(fit.intervals[0].low == Approx(1.2 - half).epsilon(1e-5));
  // And a measurement's own scatter on top, at x = 5.
  const double wider = 5 * 4.30265 * 0.2 * std::sqrt(1 + 1 / 3.0);
  const Interval predicted = predict_interval(fit, {5});
  CHECK(predicted.high == Approx(6 + wider).epsilon(1e-5));
  CHECK(predicted.low == Approx(6 - wider).epsilon(1e-5));
}

TEST_CASE("An interval ends at zero") {
  const Fit fit = fit_nonnegative({{{1}, 1}, {{1}, 2}});
  CHECK(fit.intervals[0].low == 0);
  CHECK(fit.intervals[0].high == Approx(1.5 + 12.7062 * 0.5).epsilon(1e-5));
  CHECK(predict_interval(fit, {1}).low == 0);
}

TEST_CASE("A fit is not pulled down by scatter") {
  std::mt19937_64 random(44);
  double sum = 0;
  for (int sample = 0; sample < 200; ++sample) {
    sum += fit_nonnegative(measured(0.15, random)).coefficients[0] / kAlpha;
  }
  // Weights 1 / measured^2 would give 0.95.
  CHECK(sum / 200 == Approx(1).margin(0.01));
}

TEST_CASE("A row that the model misses does not decide alone") {
  std::mt19937_64 random(45);
  auto rows = measured(0, random);
  rows[3].time *= 1000;
  const Fit fit = fit_nonnegative(rows);
  CHECK(fit.coefficients[1] == Approx(kBeta).epsilon(0.15));
  CHECK(fit.worst_error > 0.99);
}

TEST_CASE("A fit's intervals cover the coefficients") {
  std::mt19937_64 random(41);
  constexpr int kSamples = 1000;
  std::array<int, 3> covered{};
  int predicted = 0;
  const auto somewhere = ring(16, 1e6);
  std::normal_distribution<double> noise(1, 0.05);
  for (int sample = 0; sample < kSamples; ++sample) {
    const Fit fit = fit_nonnegative(measured(0.05, random));
    const double truth[] = {kAlpha, kBeta, kGamma};
    for (std::size_t k = 0; k < 3; ++k) {
      covered[k] += contains(fit.intervals[k], truth[k]);
      CHECK(contains(fit.intervals[k], fit.coefficients[k]));
    }
    predicted += contains(predict_interval(fit, somewhere),
                          exact_time(somewhere) * noise(random));
  }
  CAPTURE(covered[0], covered[1], covered[2], predicted);
  for (const int count : covered) {
    CHECK(count >= 930);
    CHECK(count <= 985);  // nor needlessly wide
  }
  CHECK(predicted >= 930);
  CHECK(predicted <= 985);
}

TEST_CASE("A fit's errors are those of its predictions") {
  std::mt19937_64 random(42);
  const auto rows = measured(0.1, random);
  const Fit fit = fit_nonnegative(rows);
  std::vector<double> errors;
  errors.reserve(rows.size());
  for (const Observation& row : rows) {
    errors.push_back(std::abs(predict(fit, row.regressors) / row.time - 1));
  }
  CHECK(fit.relative_error == Approx(median(errors)));
  CHECK(fit.worst_error ==
        Approx(*std::max_element(errors.begin(), errors.end())));
  CHECK(fit.worst_error > fit.relative_error);
}

TEST_CASE("No coefficient is negative") {
  // Times that fall with the bytes: only their weighted mean is left.
  const Fit falling = fit_nonnegative(line({8, 7, 6, 5, 4}));
  CHECK(falling.coefficients[1] == 0);
  CHECK(falling.coefficients[0] > 4);
  CHECK(falling.coefficients[0] < 8);
  CHECK(falling.intervals[1].low == 0);
  CHECK(falling.intervals[1].high >= 0);

  // Times that grow faster than the bytes: no latency.
  const Fit growing = fit_nonnegative(line({1, 8, 64, 512}));
  CHECK(growing.coefficients[0] == 0);
  CHECK(growing.coefficients[1] > 0);
}

TEST_CASE("An interval holds its coefficient where the constraint moves it") {
  // -1/2 + bytes: without the constraint both would be exact, and alpha wrong.
  const Fit fit = fit_nonnegative(line({0.5, 3.5, 15.5, 63.5, 255.5}));
  CHECK(fit.coefficients[0] == 0);
  CHECK(fit.coefficients[1] < 0.99);
  for (std::size_t k = 0; k < 2; ++k) {
    CHECK(contains(fit.intervals[k], fit.coefficients[k]));
  }
  CHECK(fit.intervals[0].low == 0);
}

TEST_CASE("A fit among non-negative coefficients is the best one") {
  std::mt19937_64 random(43);
  std::normal_distribution<double> step(0, 0.1);
  for (int sample = 0; sample < 50; ++sample) {
    auto rows = measured(0.5, random);
    for (Observation& row : rows) row.time = std::abs(row.time) + 1e-7;
    const Fit fit = fit_nonnegative(rows);
    const auto squares = [&](const std::vector<double>& coefficients) {
      double sum = 0;
      for (const auto& [regressors, time] : rows) {
        const double unit =
            std::clamp(predict(fit, regressors), time / 2, time * 2);
        double left = time;
        for (std::size_t k = 0; k < regressors.size(); ++k) {
          left -= regressors[k] * coefficients[k];
        }
        sum += left * left / (unit * unit);
      }
      return sum;
    };
    const double least = squares(fit.coefficients);
    const double scale[] = {kAlpha, kBeta, kGamma};
    for (int nearby = 0; nearby < 50; ++nearby) {
      std::vector<double> other = fit.coefficients;
      for (std::size_t k = 0; k < 3; ++k) {
        CHECK(fit.coefficients[k] >= 0);
        other[k] = std::max(0.0, other[k] + scale[k] * step(random));
      }
      CHECK(squares(other) >= least * (1 - 1e-9));
    }
  }
}

TEST_CASE("As many observations as coefficients leave no interval") {
  const Fit fit = fit_nonnegative({{{1, 0}, 2}, {{1, 3}, 8}});
  CHECK(fit.coefficients[0] == Approx(2));
  CHECK(fit.coefficients[1] == Approx(2));
  CHECK_FALSE(bounded(fit.intervals[0]));
  CHECK(fit.intervals[0].low == 0);
  CHECK_FALSE(bounded(predict_interval(fit, {1, 1})));
  CHECK(predict(fit, {1, 1}) == Approx(4));
}

TEST_CASE("A fit says what it cannot use") {
  const auto throws = [](const std::vector<Observation>& rows,
                         const std::string& what) {
    CHECK_THROWS_AS(fit_nonnegative(rows), std::invalid_argument);
    CHECK_THROWS_WITH(fit_nonnegative(rows), ContainsSubstring(what));
  };
  throws({}, "no observations");
  throws({{{}, 1}}, "no regressors");
  throws({{{1, 2}, 1}}, "1 observations are fewer than 2 coefficients");
  throws({{std::vector<double>(9, 1), 1}}, "9 regressors, expected at most 8");
  throws({{{1, 2}, 1}, {{1}, 1}}, "observation 2 has 1 regressors");
  throws({{{1}, 1}, {{1}, 0}}, "observation 2 has time 0");
  throws({{{1}, -1}}, "observation 1 has time -1");
  throws({{{1}, std::nan("")}}, "observation 1 has time nan");
  throws({{{1}, 1}, {{INFINITY}, 1}}, "observation 2 has regressor inf");
  throws({{{0, 1}, 1}, {{0, 2}, 1}}, "regressor 1 is 0 everywhere");
  throws({{{1, 2}, 1}, {{2, 4}, 5}}, "regressor 2 is a combination");
}

TEST_CASE("With one number of ranks, beta and gamma cannot be told apart") {
  std::vector<Observation> rows;
  for (double bytes = 4; bytes < 1e8; bytes *= 2) {
    rows.push_back({ring(4, bytes), exact_time(ring(4, bytes))});
  }
  CHECK_THROWS_WITH(fit_nonnegative(rows),
                    "fit: regressor 3 is a combination of those before it");
}

TEST_CASE("A prediction wants as many regressors as there are coefficients") {
  const Fit fit = fit_nonnegative(line({1, 2, 5}));
  CHECK_THROWS_WITH(predict(fit, {1}), "fit: 1 regressors for 2 coefficients");
  CHECK_THROWS_AS(predict_interval(fit, {1, 2, 3}), std::invalid_argument);
}
