#pragma once

#include <vector>

namespace ringlet {

// The value below which a share `q` (0 to 1) of the values lies, linear between
// neighbours; 0 of no values.
double quantile(std::vector<double> values, double q);
inline double median(const std::vector<double>& values) {
  return quantile(values, 0.5);
}

}  // namespace ringlet
