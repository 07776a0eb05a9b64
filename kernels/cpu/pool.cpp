#include "kernels/pool.h"

#include <algorithm>
#include <limits>

#include "kernels/cpu/floats.h"
#include "kernels/cpu/tiles.h"

namespace ringlet::cpu {
namespace {

// Taps of a window that lie inside the picture, in one direction.
struct Span {
  std::size_t first_tap, taps, start;

  Span(std::size_t out, std::size_t kernel, std::size_t stride,
       std::size_t padding, std::size_t size) {
    const std::size_t corner = out * stride;  // in padded coordinates
    first_tap = corner < padding ? padding - corner : 0;
    start = corner + first_tap - padding;
    const std::size_t rest = kernel - first_tap;
    taps = start >= size ? 0 : std::min(rest, size - start);
  }
};

struct Window {
  Span rows, columns;
  Window(const MaxPoolShape& s, std::size_t row, std::size_t column)
      : rows(row, s.kernel, s.stride, s.padding, s.x.h),
        columns(column, s.kernel, s.stride, s.padding, s.x.w) {}
};

template <std::size_t B, typename T>
void max_of_window(const MaxPoolShape& s, const Window& window, const T* x,
                   T* y, std::uint8_t* winner) {
  Vec<B> best = Vec<B>{} - std::numeric_limits<float>::infinity();
  // A window that holds nothing but -infinity still has a winner inside.
  const auto first_tap = static_cast<std::int32_t>(
      window.rows.first_tap * s.kernel + window.columns.first_tap);
  auto best_tap = first_tap - typename VecOf<B>::Int{};
  for (std::size_t r = 0; r < window.rows.taps; ++r) {
    for (std::size_t c = 0; c < window.columns.taps; ++c) {
      const std::size_t row = window.rows.start + r;
      const std::size_t column = window.columns.start + c;
      const Vec<B> v = load<B>(x + (row * s.x.w + column) * B);
      const auto tap =
          static_cast<std::int32_t>((window.rows.first_tap + r) * s.kernel +
                                    window.columns.first_tap + c);
      const auto better = (v > best) | (v != v);  // NaN wins, as in PyTorch
      best = better ? v : best;
      best_tap = better ? tap - typename VecOf<B>::Int{} : best_tap;
    }
  }
  store<B>(y, best);
  for (std::size_t i = 0; i < B; ++i) {
    winner[i] = static_cast<std::uint8_t>(best_tap[i]);
  }
}

template <std::size_t B>
void scatter_to_winners(const MaxPoolShape& s, std::size_t row,
                        std::size_t column, const float* dy,
                        const std::uint8_t* winner, float* dx) {
  for (std::size_t i = 0; i < B; ++i) {
    const std::size_t x_row = row * s.stride + winner[i] / s.kernel - s.padding;
    const std::size_t x_column =
        column * s.stride + winner[i] % s.kernel - s.padding;
    dx[(x_row * s.x.w + x_column) * B + i] += dy[i];
  }
}

class Pool final : public PoolKernels {
 public:
  void max_forward(const MaxPoolShape& shape, const void* x, void* y,
                   std::uint8_t* winner) override {
    check(shape);
    const std::size_t y_pixels = shape.out_h() * shape.out_w();
    with_element(shape.x.dtype, [&]<typename T>(T) {
      Tiles(shape.x).each([&]<std::size_t B>(std::size_t tile) {
        const T* x_tile = as<T>(x) + tile * shape.x.pixels() * B;
        for (std::size_t p = 0; p < y_pixels; ++p) {
          const std::size_t at = (tile * y_pixels + p) * B;
          const Window window(shape, p / shape.out_w(), p % shape.out_w());
          max_of_window<B>(shape, window, x_tile, as<T>(y) + at, winner + at);
        }
      });
    });
  }

  void max_backward(const MaxPoolShape& shape, const void* dy,
                    const std::uint8_t* winner, void* dx) override {
    const std::size_t y_pixels = shape.out_h() * shape.out_w();
    const Dtype dtype = shape.x.dtype;
    const FloatInput from(dy, dtype, shape.y().storage_count());
    const FloatOutput to(dx, dtype, shape.x.storage_count());
    Tiles(shape.x).each([&]<std::size_t B>(std::size_t tile) {
      float* dx_tile = to.data() + tile * shape.x.pixels() * B;
      std::fill_n(dx_tile, shape.x.pixels() * B, 0.0f);
      for (std::size_t p = 0; p < y_pixels; ++p) {
        const std::size_t at = (tile * y_pixels + p) * B;
        scatter_to_winners<B>(shape, p / shape.out_w(), p % shape.out_w(),
                              from.data() + at, winner + at, dx_tile);
      }
    });
  }

  void average_forward(const Activation& shape, const void* x,
                       void* y) override {
    const Tiles tiles(shape);
    const std::size_t pixels = tiles.pixels;
    const FloatOutput to(y, shape.dtype, shape.n * shape.c);
    with_element(shape.dtype, [&]<typename T>(T) {
      tiles.each([&]<std::size_t B>(std::size_t tile) {
        Vec<B> sum{};
        for (std::size_t p = 0; p < pixels; ++p) {
          sum += load<B>(as<T>(x) + (tile * pixels + p) * B);
        }
        const Vec<B> mean = sum / static_cast<float>(pixels);
        std::memcpy(to.data() + first_average(tiles, tile), &mean,
                    tiles.channels(tile) * sizeof(float));
      });
    });
  }

  void average_backward(const Activation& shape, const void* dy,
                        void* dx) override {
    const Tiles tiles(shape);
    const std::size_t pixels = tiles.pixels;
    const FloatInput from(dy, shape.dtype, shape.n * shape.c);
    with_element(shape.dtype, [&]<typename T>(T) {
      tiles.each([&]<std::size_t B>(std::size_t tile) {
        const Vec<B> share =
            load_part<B>(from.data() + first_average(tiles, tile),
                         tiles.channels(tile)) /
            static_cast<float>(pixels);
        for (std::size_t p = 0; p < pixels; ++p) {
          store<B>(as<T>(dx) + (tile * pixels + p) * B, share);
        }
      });
    });
  }

 private:
  // Where a tile's channels begin in a plain [n, c] array.
  static std::size_t first_average(const Tiles& tiles, std::size_t tile) {
    return tiles.picture(tile) * tiles.c + tiles.first_channel(tile);
  }

  static void check(const MaxPoolShape& shape) {
    constexpr std::size_t kLargestKernel = 15;  // taps are kept in one byte
    RINGLET_CHECK(
        shape.kernel <= kLargestKernel && shape.padding * 2 <= shape.kernel,
        "max_pool: kernel {} (at most {}), padding {} (at most half "
        "of the kernel)",
        shape.kernel, kLargestKernel, shape.padding);
  }
};

}  // namespace

std::unique_ptr<PoolKernels> make_pool() { return std::make_unique<Pool>(); }

}  // namespace ringlet::cpu
