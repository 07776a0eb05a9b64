#include "bench/measure/statistics.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace ringlet {

double quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double place = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  const double share = place - std::floor(place);
  return values[below] * (1 - share) + values[above] * share;
}

}  // namespace ringlet
