#include "bench/measure/noise.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>
#include <string>

#include "support/catch.h"

using namespace ringlet;

namespace {

// `n` times around 1, their quartiles `spread` apart.
std::vector<double> steady(std::size_t n, double spread) {
  std::mt19937_64 random(30);
  std::vector<double> times;
  for (std::size_t i = 0; i < n; ++i) {
    const double place = static_cast<double>(i) / static_cast<double>(n - 1);
    times.push_back(1 + spread * 2 * (place - 0.5));
  }
  for (std::size_t left = n; left > 1; --left) {
    std::swap(times[left - 1], times[random() % left]);
  }
  return times;
}

// The same values, arranged so that neither half is slower.
std::vector<double> without_drift(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  std::vector<double> halves[2];
  for (std::size_t i = 0; i < times.size(); ++i) {
    halves[(i + 1) / 2 % 2].push_back(times[i]);
  }
  halves[0].insert(halves[0].end(), halves[1].begin(), halves[1].end());
  return halves[0];
}

}  // namespace

TEST_CASE("Times that are all the same are quiet") {
  const Noise noise = noise_of(std::vector<double>(20, 3e-6));
  CHECK(noise.spread == 0);
  CHECK(noise.drift == 0);
  CHECK(noise.outliers == 0);
  CHECK(noise.grade == NoiseGrade::kQuiet);
}

TEST_CASE("The spread is the interquartile range and decides the grade") {
  struct Row {
    double spread;
    NoiseGrade grade;
  };
  const auto row =
      GENERATE(Row{0.04, NoiseGrade::kQuiet}, Row{0.06, NoiseGrade::kFair},
               Row{0.14, NoiseGrade::kFair}, Row{0.16, NoiseGrade::kNoisy},
               Row{0.48, NoiseGrade::kNoisy}, Row{0.52, NoiseGrade::kUseless});
  CAPTURE(row.spread);
  const Noise noise = noise_of(without_drift(steady(40, row.spread)));
  CHECK(noise.spread == Approx(row.spread));
  CHECK(std::abs(noise.drift) < 0.02);
  CHECK(noise.outliers == 0);
  CHECK(noise.grade == row.grade);
}

TEST_CASE("The unit of the times does not matter") {
  std::vector<double> times = steady(21, 0.3);
  const Noise seconds = noise_of(times);
  for (double& time : times) time *= 1e6;
  const Noise microseconds = noise_of(times);
  CHECK(microseconds.spread == Approx(seconds.spread));
  CHECK(microseconds.drift == Approx(seconds.drift));
  CHECK(microseconds.outliers == seconds.outliers);
}

TEST_CASE("A step between the halves is drift, with its sign") {
  // Ten of one level and eleven of the other.
  std::vector<double> times(21, 1.0);
  std::fill(times.begin(), times.begin() + 10, 0.9);
  CHECK(noise_of(times).drift == Approx(1 / 0.9 - 1));
  std::reverse(times.begin(), times.end());
  // 21 times: the eleventh belongs to the second half.
  CHECK(noise_of(times).drift == Approx(-0.1));
}

TEST_CASE("Drift alone decides the grade") {
  struct Row {
    double drift;
    NoiseGrade grade;
  };
  const auto row =
      GENERATE(Row{0.045, NoiseGrade::kQuiet}, Row{0.055, NoiseGrade::kFair},
               Row{-0.055, NoiseGrade::kFair}, Row{0.14, NoiseGrade::kFair},
               Row{0.16, NoiseGrade::kNoisy}, Row{-0.48, NoiseGrade::kNoisy},
               Row{-0.52, NoiseGrade::kUseless});
  CAPTURE(row.drift);
  // Three levels: each half's median lies between two of them, and so does
  // each quartile, but three times nearer to the middle one.
  const double step = row.drift / (1 + row.drift / 2);
  std::vector<double> times(20, 1);
  std::fill(times.begin(), times.begin() + 5, 1 - step);
  std::fill(times.end() - 5, times.end(), 1 + step);
  const Noise noise = noise_of(times);
  CHECK(noise.drift == Approx(row.drift));
  CHECK(noise.spread == Approx(std::abs(step) / 2));
  CHECK(noise.outliers == 0);
  CHECK(noise.grade == row.grade);
}

TEST_CASE("Two modes are spread") {
  std::vector<double> times;
  for (int i = 0; i < 10; ++i) times.insert(times.end(), {1.0, 3.0});
  const Noise noise = noise_of(times);
  CHECK(noise.spread == Approx(1));
  CHECK(noise.outliers == 0);
  CHECK(noise.grade == NoiseGrade::kUseless);
}

TEST_CASE("Interruptions are outliers and leave the spread alone") {
  struct Row {
    std::size_t interrupted;
    NoiseGrade grade;
  };
  const auto row =
      GENERATE(Row{0, NoiseGrade::kQuiet}, Row{1, NoiseGrade::kQuiet},
               Row{2, NoiseGrade::kFair}, Row{3, NoiseGrade::kNoisy},
               Row{4, NoiseGrade::kNoisy});
  std::vector<double> times = without_drift(steady(20, 0.01));
  for (std::size_t i = 0; i < row.interrupted; ++i) times[5 * i] = 40;
  const Noise noise = noise_of(times);
  CAPTURE(row.interrupted);
  CHECK(noise.outliers == Approx(static_cast<double>(row.interrupted) / 20));
  CHECK(noise.spread < 0.04);
  CHECK(noise.grade == row.grade);
}

TEST_CASE("A clock's tick and a fast time are no outliers") {
  std::vector<double> times(20, 1e-6);
  times[3] = 1.05e-6;
  times[7] = 0.2e-6;
  CHECK(noise_of(times).outliers == 0);
  times[3] = 1.11e-6;
  CHECK(noise_of(times).outliers == 0.05);
}

TEST_CASE("Few times are useless however alike they are") {
  CHECK(noise_of(std::vector<double>(5, 1)).grade == NoiseGrade::kUseless);
  CHECK(noise_of(std::vector<double>(6, 1)).grade == NoiseGrade::kQuiet);
  CHECK(noise_of({1}).grade == NoiseGrade::kUseless);
  const Noise none = noise_of({});
  CHECK(none.spread == 0);
  CHECK(none.drift == 0);
  CHECK(none.outliers == 0);
  CHECK(none.grade == NoiseGrade::kUseless);
}

TEST_CASE("A yardstick makes a grade worse and never better") {
  const std::vector<double> quiet(20, 1);
  const std::vector<double> noisy = without_drift(steady(20, 0.3));
  CHECK(noise_of(quiet, {5, 5}).grade == NoiseGrade::kQuiet);
  CHECK(noise_of(quiet, {5, 5.5}).grade == NoiseGrade::kFair);
  CHECK(noise_of(quiet, {5, 4}).grade == NoiseGrade::kNoisy);
  CHECK(noise_of(quiet, {5, 4}).drift == 0);  // the numbers are the row's
  CHECK(noise_of(noisy, {5, 5}).grade == NoiseGrade::kNoisy);
  CHECK(noise_of(quiet, {5}).grade == NoiseGrade::kQuiet);
}

TEST_CASE("Times that are none are refused by their place") {
  CHECK_THROWS_WITH(noise_of({1, 2, std::nan("")}),
                    "time 3 of 3 is nan, expected a positive finite number");
  CHECK_THROWS_AS(noise_of({1, 0}), std::invalid_argument);
  CHECK_THROWS_AS(noise_of({1, -1}), std::invalid_argument);
  CHECK_THROWS_AS(noise_of({INFINITY}), std::invalid_argument);
  CHECK_THROWS_AS(noise_of({1, 1}, {1, 0}), std::invalid_argument);
}

TEST_CASE("Grades have names") {
  CHECK(std::string(name_of(NoiseGrade::kQuiet)) == "quiet");
  CHECK(std::string(name_of(NoiseGrade::kFair)) == "fair");
  CHECK(std::string(name_of(NoiseGrade::kNoisy)) == "noisy");
  CHECK(std::string(name_of(NoiseGrade::kUseless)) == "useless");
}
