#include <cmath>
#include <limits>
#include <vector>

#include "kernels/backend.h"
#include "kernels/runtime/threads.h"
#include "support/catch.h"

using namespace ringlet;

TEST_CASE("One value that is not finite is found wherever it stands") {
  using Limits = std::numeric_limits<float>;
  OptimKernels& optim = backend(Device::kCpu).optim;
  for (const std::size_t count : {0, 1, 7, 16, 33, 100}) {
    std::vector<float> values(count, Limits::max());
    for (std::size_t i = 0; i < count; i += 2) values[i] = -Limits::max();
    if (count > 3) values[3] = Limits::denorm_min();
    const auto all_finite = [&] {
      double squares = -1;
      optim.squared_norm(count, values.data(), &squares);
      return std::isfinite(squares);
    };
    CHECK(all_finite());
    for (std::size_t i = 0; i < count; ++i) {
      for (const float bad : {Limits::quiet_NaN(), Limits::signaling_NaN(),
                              Limits::infinity(), -Limits::infinity()}) {
        const float good = values[i];
        values[i] = bad;
        CHECK_FALSE(all_finite());
        values[i] = good;
      }
    }
  }
}

TEST_CASE("The squared norm has the same bits for any number of threads") {
  std::vector<float> values(300'001);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = std::sin(static_cast<float>(i));
  }
  const auto norm_by = [&](int threads) {
    set_kernel_threads(threads);
    double result = -1;
    backend().optim.squared_norm(values.size(), values.data(), &result);
    return result;
  };
  const int all = kernel_threads();  // one under ThreadSanitizer
  const double by_one = norm_by(1);
  CHECK(by_one == Approx(150'000.5).epsilon(1e-4));
  CHECK(norm_by(all) == by_one);
}
