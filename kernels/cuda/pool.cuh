#pragma once

#include "kernels/cuda/pack.cuh"

// Pooling in NHWC: a thread has P channels of one pixel, and neighbours have
// neighbouring channels.
namespace ringlet::cuda {

// Sizes of a max pool: x [n, h, w, c], y [n, out_h, out_w, c].
struct PoolWindow {
  int h, w, out_h, out_w, c;
  int kernel, stride, padding;
};

template <typename T, int P>
__global__ void max_pool(PoolWindow s, std::size_t packs, const T* x, T* y,
                         unsigned char* winner) {
  for (std::size_t i = global_thread(); i < packs; i += global_threads()) {
    const int channel = static_cast<int>(i * P % s.c);
    const std::size_t pixel = i * P / s.c;
    const int column = static_cast<int>(pixel % s.out_w);
    const int row = static_cast<int>(pixel / s.out_w % s.out_h);
    const T* picture = x + pixel / s.out_w / s.out_h * s.h * s.w * s.c;
    Floats<P> best{};
    int taps[P] = {};
    bool first = true;
    for (int tap = 0; tap < s.kernel * s.kernel; ++tap) {
      const int in_row = row * s.stride - s.padding + tap / s.kernel;
      const int in_column = column * s.stride - s.padding + tap % s.kernel;
      if (in_row < 0 || in_row >= s.h || in_column < 0 || in_column >= s.w) {
        continue;
      }
      const Floats<P> value =
          load<P>(picture + (in_row * s.w + in_column) * s.c + channel);
#pragma unroll
      for (int j = 0; j < P; ++j) {
        // NaN wins, as in PyTorch.
        const float v = value.v[j];
        if (first || v > best.v[j] || v != v) {
          best.v[j] = v;
          taps[j] = tap;
        }
      }
      first = false;
    }
    store<P>(y + i * P, best);
#pragma unroll
    for (int j = 0; j < P; ++j) {
      winner[i * P + j] = static_cast<unsigned char>(taps[j]);
    }
  }
}

// Each pixel of x looks into the windows that it was part of, in their order.
template <typename T, int P>
__global__ void max_pool_backward(PoolWindow s, std::size_t packs, const T* dy,
                                  const unsigned char* winner, T* dx) {
  for (std::size_t i = global_thread(); i < packs; i += global_threads()) {
    const int channel = static_cast<int>(i * P % s.c);
    const std::size_t pixel = i * P / s.c;
    const int column = static_cast<int>(pixel % s.w);
    const int row = static_cast<int>(pixel / s.w % s.h);
    const std::size_t picture =
        pixel / s.w / s.h * s.out_h * s.out_w * s.c + channel;
    Floats<P> sum{};
    for (int tap = 0; tap < s.kernel * s.kernel; ++tap) {
      const int from_row = row + s.padding - tap / s.kernel;
      const int from_column = column + s.padding - tap % s.kernel;
      if (from_row < 0 || from_column < 0 || from_row % s.stride != 0 ||
          from_column % s.stride != 0) {
        continue;
      }
      const int out_row = from_row / s.stride;
      const int out_column = from_column / s.stride;
      if (out_row >= s.out_h || out_column >= s.out_w) continue;
      const std::size_t at = picture + (out_row * s.out_w + out_column) * s.c;
      const Floats<P> g = load<P>(dy + at);
#pragma unroll
      for (int j = 0; j < P; ++j) {
        if (winner[at + j] == tap) sum.v[j] += g.v[j];
      }
    }
    store<P>(dx + i * P, sum);
  }
}

// y[n][c] = the mean of x[n][pixel][c]; `packs` of y.
template <typename T, int P>
__global__ void average_pool(std::size_t packs, std::size_t pixels,
                             std::size_t channels, const T* x, T* y) {
  for (std::size_t i = global_thread(); i < packs; i += global_threads()) {
    const std::size_t picture = i * P / channels;
    const T* first = x + picture * pixels * channels + i * P % channels;
    Floats<P> sum{};
    for (std::size_t pixel = 0; pixel < pixels; ++pixel) {
      const Floats<P> value = load<P>(first + pixel * channels);
#pragma unroll
      for (int j = 0; j < P; ++j) sum.v[j] += value.v[j];
    }
#pragma unroll
    for (int j = 0; j < P; ++j) sum.v[j] /= static_cast<float>(pixels);
    store<P>(y + i * P, sum);
  }
}

// dx[n][pixel][c] = dy[n][c] / pixels; `packs` of dx.
template <typename T, int P>
__global__ void average_pool_backward(std::size_t packs, std::size_t pixels,
                                      std::size_t channels, const T* dy,
                                      T* dx) {
  for (std::size_t i = global_thread(); i < packs; i += global_threads()) {
    const std::size_t picture = i * P / channels / pixels;
    Floats<P> g = load<P>(dy + picture * channels + i * P % channels);
#pragma unroll
    for (int j = 0; j < P; ++j) g.v[j] /= static_cast<float>(pixels);
    store<P>(dx + i * P, g);
  }
}

}  // namespace ringlet::cuda
