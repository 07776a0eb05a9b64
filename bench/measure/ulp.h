#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

namespace ringlet {

// |actual - exact| in units in the last place: 0.5 at most where `actual` is
// `exact` rounded to nearest. The unit is the distance between neighbouring
// numbers of the format in the binade of `exact`, [2^e, 2^(e+1)); among
// subnormal numbers it stays what it is at the smallest normal one (Muller, "On
// the definition of ulp(x)", INRIA RR-5504, 2005).
//
//              mantissa_bits (with the hidden one)   min_exponent
//   float                    24                         -126
//   double                   53                        -1022
//   half                     11                          -14
//   bfloat16                  8                         -126
//
// 2^min_exponent is the smallest normal number. +0 and -0 are equal. Two NaNs
// are equal, and so are two infinities of one sign; a NaN or an infinity beside
// anything else is infinitely wrong.
inline double ulp_error(double actual, double exact, int mantissa_bits,
                        int min_exponent) {
  if (actual == exact) return 0;
  if (std::isnan(actual) && std::isnan(exact)) return 0;
  if (!std::isfinite(actual) || !std::isfinite(exact)) {
    return std::numeric_limits<double>::infinity();
  }
  const int exponent =
      exact == 0 ? min_exponent : std::max(std::ilogb(exact), min_exponent);
  return std::scalbn(std::abs(actual - exact), mantissa_bits - 1 - exponent);
}

}  // namespace ringlet
