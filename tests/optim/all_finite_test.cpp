#include <limits>
#include <vector>

#include "kernels/backend.h"
#include "support/catch.h"

using namespace ringlet;

TEST_CASE("One value that is not finite is found wherever it stands") {
  using Limits = std::numeric_limits<float>;
  OptimKernels& optim = backend(Device::kCpu).optim;
  for (const std::size_t count : {0, 1, 7, 16, 33, 100}) {
    std::vector<float> values(count, Limits::max());
    for (std::size_t i = 0; i < count; i += 2) values[i] = -Limits::max();
    if (count > 3) values[3] = Limits::denorm_min();
    CHECK(optim.all_finite(count, values.data()));
    for (std::size_t i = 0; i < count; ++i) {
      for (const float bad : {Limits::quiet_NaN(), Limits::signaling_NaN(),
                              Limits::infinity(), -Limits::infinity()}) {
        const float good = values[i];
        values[i] = bad;
        CHECK_FALSE(optim.all_finite(count, values.data()));
        values[i] = good;
      }
    }
  }
}
