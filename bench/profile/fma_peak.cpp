#include "bench/profile/fma_peak.h"

#include <cstddef>

#include "engine/metrics/stopwatch.h"

namespace ringlet {
namespace {

// As wide as the widest registers that the program was built for.
#ifdef __AVX512F__
constexpr std::size_t kLanes = 16;
#else
constexpr std::size_t kLanes = 8;
#endif
using Lanes [[gnu::vector_size(kLanes * sizeof(float))]] = float;

// Two units with a latency of four cycles want eight in flight; a few more
// hide what the loop itself costs.
constexpr std::size_t kChains = 12;
constexpr int kRounds = 10'000;  // between two looks at the clock

// Returns a sum that depends on every operation, so that none is left out.
float burst(float factor) {
  Lanes sums[kChains];
  for (std::size_t i = 0; i < kChains; ++i) {
    sums[i] = Lanes{} + static_cast<float>(i);
  }
  const Lanes x = Lanes{} + factor, y = Lanes{} + 0.5f;
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < kChains; ++i) sums[i] = sums[i] * x + y;
  }
  Lanes total{};
  for (const Lanes& sum : sums) total += sum;
  return total[0];
}

}  // namespace

double fma_peak_gflops(double seconds) {
  double operations = 0, sink = 0;
  const Stopwatch stopwatch;
#pragma omp parallel reduction(+ : operations, sink)
  {
    while (stopwatch.seconds() < seconds) {
      sink += static_cast<double>(burst(0.999f));
      operations += 2.0 * kLanes * kChains * kRounds;
    }
  }
  // Never true, which the compiler does not know.
  if (sink < 0) return 0;
  return operations / stopwatch.seconds() / 1e9;
}

}  // namespace ringlet
