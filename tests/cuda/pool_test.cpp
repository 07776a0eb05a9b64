#include <algorithm>

#include "cuda/support.h"
#include "kernels/cuda/families.h"

using namespace ringlet;
using namespace ringlet::testing;

namespace {

const std::vector<std::size_t> kChannels = {1, 5, 8, 33, 64};

Activation of(std::size_t n, std::size_t c, std::size_t h, std::size_t w,
              Dtype dtype) {
  return {n, c, h, w, Layout::kChannelsLast, dtype};
}

// The windows' largest values and where they were, and what comes back to x.
struct Expected {
  std::vector<double> y, dx;
  std::vector<std::uint8_t> winner;
};

Expected expect(const MaxPoolShape& s, const std::vector<double>& x,
                const std::vector<double>& dy) {
  Expected e;
  e.y.resize(s.y().storage_count());
  e.dx.resize(x.size());
  e.winner.resize(e.y.size());
  for (std::size_t i = 0; i < e.y.size(); ++i) {
    const std::size_t c = i % s.x.c, pixel = i / s.x.c;
    const std::size_t column = pixel % s.out_w();
    const std::size_t row = pixel / s.out_w() % s.out_h();
    const std::size_t picture = pixel / s.out_w() / s.out_h();
    std::size_t best = x.size();
    for (std::size_t tap = 0; tap < s.kernel * s.kernel; ++tap) {
      const std::size_t r = row * s.stride + tap / s.kernel - s.padding;
      const std::size_t k = column * s.stride + tap % s.kernel - s.padding;
      if (r >= s.x.h || k >= s.x.w) continue;  // below zero wraps around
      const std::size_t at = ((picture * s.x.h + r) * s.x.w + k) * s.x.c + c;
      if (best == x.size() || x[at] > x[best]) {
        best = at;
        e.winner[i] = static_cast<std::uint8_t>(tap);
      }
    }
    e.y[i] = x[best];
    e.dx[best] += dy[i];
  }
  return e;
}

// Few different values, so that there are ties, and sums that are exact.
std::vector<double> small_numbers(std::size_t count, std::uint32_t seed) {
  std::vector<double> values = random_values(count, seed, -8, 8);
  for (double& value : values) value = std::round(value);
  return values;
}

void check_max_pool(const MaxPoolShape& s) {
  INFO(name_of(s.x.dtype) << " c " << s.x.c << " h " << s.x.h << " w " << s.x.w
                          << " kernel " << s.kernel << " stride " << s.stride
                          << " padding " << s.padding);
  std::vector<double> x = small_numbers(s.x.storage_count(), 1);
  std::vector<double> dy = small_numbers(s.y().storage_count(), 2);
  const AnyArray in(x, s.x.dtype), gradient(dy, s.x.dtype);
  const Expected wanted = expect(s, x, dy);
  in_all_orders([&] {
    const auto pool = cuda::make_pool();
    const AnyArray y(dy.size(), s.x.dtype), dx(x.size(), s.x.dtype);
    const DeviceArray<std::uint8_t> winner(dy.size());
    pool->max_forward(s, in.data(), y.data(), winner.data());
    pool->max_backward(s, gradient.data(), winner.data(), dx.data());
    CHECK((y.values() == wanted.y));
    CHECK((winner.to_host() == wanted.winner));
    CHECK((dx.values() == wanted.dx));
    return Bits{y.raw(), dx.raw()};
  });
}

}  // namespace

TEST_CASE("CUDA max-pools, and sends gradients back to the winners") {
  for (const Dtype dtype : kActivationTypes) {
    for (const std::size_t c : kChannels) {
      check_max_pool({of(2, c, 9, 8, dtype), 3, 2, 1});  // ImageNet's stem
      check_max_pool({of(1, c, 7, 5, dtype), 2, 2, 0});
      check_max_pool({of(3, c, 4, 4, dtype), 3, 1, 1});
      check_max_pool({of(1, c, 5, 5, dtype), 5, 3, 2});
    }
  }
}

TEST_CASE("CUDA's global average is the mean over pixels, and its gradient") {
  for (const Dtype dtype : kActivationTypes) {
    for (const std::size_t c : kChannels) {
      const Activation shape = of(3, c, 4, 5, dtype);
      INFO(name_of(dtype) << " c " << c);
      std::vector<double> x = random_values(shape.storage_count(), 1);
      std::vector<double> dy = random_values(shape.n * c, 2);
      const AnyArray in(x, dtype), gradient(dy, dtype);
      const auto pixels = static_cast<double>(shape.pixels());
      std::vector<double> mean(dy.size()), back(x.size());
      for (std::size_t i = 0; i < x.size(); ++i) {
        const std::size_t at = i / c / shape.pixels() * c + i % c;
        mean[at] += x[i] / pixels;
        back[i] = dy[at] / pixels;
      }
      in_all_orders([&] {
        const auto pool = cuda::make_pool();
        const AnyArray y(dy.size(), dtype), dx(x.size(), dtype);
        pool->average_forward(shape, in.data(), y.data());
        pool->average_backward(shape, gradient.data(), dx.data());
        CHECK(largest_error(y.values(), mean) < 2 * rounding(dtype));
        CHECK(largest_error(dx.values(), back) < rounding(dtype));
        return Bits{y.raw(), dx.raw()};
      });
    }
  }
}
