#pragma once

#include <vector>

namespace ringlet {

// What a row of a table may be used for:
//   kQuiet    differences of about 5 % show
//   kFair     differences of about 15 % show
//   kNoisy    factors show, 1.5 or 2; differences do not
//   kUseless  nothing: measure again on a quieter machine, or more often
enum class NoiseGrade { kQuiet, kFair, kNoisy, kUseless };

// "quiet", "fair", "noisy", "useless".
const char* name_of(NoiseGrade grade);

// How the repeated times of one row scatter. All three are relative, robust
// against a few wild values, and 0 for times that are all the same.
struct Noise {
  // Interquartile range / median. The 95 % interval of the median of 20 normal
  // values is about 0.9 times as wide.
  double spread;
  // Median of the second half / median of the first half - 1, with a sign: the
  // machine became slower (positive) or faster during the measurement.
  double drift;
  // Share of the times that were interrupted: above the third quartile by three
  // interquartile ranges (Tukey, "Exploratory Data Analysis": far out), and
  // above the median by a tenth, so that a clock's tick is none. Long times
  // only: nothing makes an operation faster than it is. Never above 1/4, beyond
  // which they are the spread.
  double outliers;
  // The worst that one of the three alone would give.
  NoiseGrade grade;
};

// The noise of positive times, in any unit, in the order of measurement. Fewer
// than 6 are kUseless whatever they are, since their median has no interval
// (statistics.h); none have a spread, drift and share of 0.
//
// `yardstick`: repeated times (or speeds) of a fixed piece of work in the same
// process, such as the memory limit (memory_limit.h) before and after. Where
// it is worse than the times, the grade is the yardstick's: a row that repeats
// well on a machine whose speed changes cannot stand beside the next one.
// Fewer than two say nothing and are ignored.
//
// Throws std::invalid_argument where a value is not positive and finite.
Noise noise_of(const std::vector<double>& times,
               const std::vector<double>& yardstick = {});

}  // namespace ringlet
