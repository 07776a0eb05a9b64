#include "bench/measure/ulp.h"

#include <cstdint>
#include <random>

#include "kernels/runtime/half.h"
#include "support/catch.h"

using namespace ringlet;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

double float_error(double actual, double exact) {
  return ulp_error(actual, exact, 24, -126);
}
double double_error(double actual, double exact) {
  return ulp_error(actual, exact, 53, -1022);
}

}  // namespace

TEST_CASE("A neighbour is one ulp away, in every binade and format") {
  const double above_one = std::nextafter(1.0f, 2.0f);
  CHECK(float_error(above_one, 1) == 1);
  CHECK(float_error(1, above_one) == 1);
  CHECK(float_error(-1, -above_one) == 1);
  CHECK(float_error(std::nextafter(1e30f, 2e30f), 1e30f) == 1);
  CHECK(float_error(std::nextafter(-1e-30f, 0.0f), -1e-30f) == 1);
  CHECK(float_error(1 + std::ldexp(1, -24), 1) == 0.5);
  CHECK(double_error(std::nextafter(1e300, 2e300), 1e300) == 1);
  CHECK(ulp_error(1 + std::ldexp(1, -10), 1, 11, -14) == 1);  // half
  CHECK(ulp_error(1 + std::ldexp(1, -7), 1, 8, -126) == 1);   // bfloat16
  CHECK(float_error(3, 2) == std::ldexp(1, 22));
}

TEST_CASE("The unit is that of the exact value's binade") {
  // Below a power of two numbers lie twice as close.
  CHECK(float_error(std::nextafter(1.0f, 0.0f), 1) == 0.5);
  CHECK(float_error(1, std::nextafter(1.0f, 0.0f)) == 1);
}

TEST_CASE("Subnormal numbers keep the smallest normal one's unit") {
  const double tiny = std::numeric_limits<float>::denorm_min();
  const double least_normal = std::numeric_limits<float>::min();
  CHECK(float_error(tiny, 0) == 1);
  CHECK(float_error(0, tiny) == 1);
  CHECK(float_error(5 * tiny, 3 * tiny) == 2);
  CHECK(float_error(0, tiny / 4) == 0.25);
  CHECK(float_error(least_normal - tiny, least_normal) == 1);
  CHECK(float_error(tiny, -tiny) == 2);
  const double tiniest = std::numeric_limits<double>::denorm_min();
  CHECK(double_error(3 * tiniest, tiniest) == 2);
  CHECK(ulp_error(std::ldexp(1, -24), 0, 11, -14) == 1);   // half
  CHECK(ulp_error(std::ldexp(1, -133), 0, 8, -126) == 1);  // bfloat16
}

TEST_CASE("Zeros of both signs are equal, and what is not finite must match") {
  CHECK(float_error(-0.0, 0.0) == 0);
  CHECK(float_error(0.0, -0.0) == 0);
  CHECK(float_error(kInfinity, kInfinity) == 0);
  CHECK(float_error(kNan, kNan) == 0);
  CHECK(float_error(kInfinity, -kInfinity) == kInfinity);
  CHECK(float_error(kInfinity, 1) == kInfinity);
  CHECK(float_error(1, kInfinity) == kInfinity);
  CHECK(float_error(kNan, 1) == kInfinity);
  CHECK(float_error(1, kNan) == kInfinity);
  CHECK(float_error(kNan, kInfinity) == kInfinity);
}

TEST_CASE("Rounding to nearest is never off by more than half an ulp") {
  std::mt19937_64 random(50);
  // Exponents from among the subnormal numbers of half up to its largest.
  std::uniform_real_distribution<double> exponent(-26, 15);
  double worst_float = 0, worst_half = 0, worst_bfloat16 = 0;
  for (int i = 0; i < 100'000; ++i) {
    const double exact = std::exp2(exponent(random));
    const auto rounded = static_cast<float>(exact);
    worst_float = std::max(worst_float, float_error(rounded, exact));
    // From a float: the first rounding must not count.
    const double half = widen(narrow<Half>(rounded));
    worst_half = std::max(worst_half, ulp_error(half, rounded, 11, -14));
    const double bfloat16 = widen(narrow<BFloat16>(rounded));
    worst_bfloat16 =
        std::max(worst_bfloat16, ulp_error(bfloat16, rounded, 8, -126));
  }
  for (const double worst : {worst_float, worst_half, worst_bfloat16}) {
    CHECK(worst <= 0.5);
    CHECK(worst > 0.49);
  }
}
