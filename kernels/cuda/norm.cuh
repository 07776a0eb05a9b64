#pragma once

#include "kernels/cuda/pack.cuh"

// Batch norm over an activation in NHWC, seen as a matrix of rows (pixels) and
// channels. A block is a tile of 8 packs of P channels times 32 rows that walks
// down the matrix: each thread keeps its channels, so what it must know of them
// stays in registers, and each row of a tile is whole cache lines. Blocks with
// the same blockIdx.x share their channels and divide the rows.
//
// Sums go from thread to block (shared memory, rows in order), from blocks to
// the last of them (global memory, blocks in order, in double precision), so
// that their bits depend on the shape and the grid alone.
namespace ringlet::cuda {

constexpr int kTilePacks = 8;
constexpr int kTileRows = 32;
constexpr int kTileThreads = kTilePacks * kTileRows;

struct Matrix {
  std::size_t rows;
  int channels;
  std::size_t rows_per_block;
};

// This thread's part of the matrix.
template <int P>
struct TilePart {
  int channel;             // the first of its P
  bool inside;             // whether the matrix has them
  std::size_t begin, end;  // rows, in steps of kTileRows

  __device__ explicit TilePart(const Matrix& matrix) {
    channel = static_cast<int>((blockIdx.x * kTilePacks + threadIdx.x) * P);
    inside = channel < matrix.channels;
    const std::size_t first = blockIdx.y * matrix.rows_per_block;
    begin = first + threadIdx.y;
    end = first + matrix.rows_per_block;
    if (end > matrix.rows) end = matrix.rows;
    if (!inside) begin = end;
  }
};

// Calls body(offset) for the element that begins each of the thread's packs.
template <int P, typename Body>
__device__ void each_pack(const Matrix& matrix, const TilePart<P>& part,
                          const Body& body) {
#pragma unroll 4
  for (std::size_t row = part.begin; row < part.end; row += kTileRows) {
    body(row * matrix.channels + part.channel);
  }
}

template <int P>
__device__ Floats<P> channels_of(const TilePart<P>& part, const float* values) {
  Floats<P> mine{};
  if (!part.inside) return mine;
#pragma unroll
  for (int i = 0; i < P; ++i) mine.v[i] = values[part.channel + i];
  return mine;
}

template <int P>
struct TwoSums {
  Floats<P> first{}, second{};
};

// Where a block leaves its sums: partial[blockIdx.y][first or second][channel].
// Calls finish(channel, first, second) with those over all rows, as doubles, in
// the last block, for each channel of its tile.
template <int P, typename Finish>
__device__ void join_sums(const Matrix& matrix, const TwoSums<P>& mine,
                          float* partial, unsigned* counters,
                          const Finish& finish) {
  constexpr int kChannels = kTilePacks * P;
  SHARED(float, sums, [2][P][kTileThreads]);
  const int thread = threadIdx.y * kTilePacks + threadIdx.x;
#pragma unroll
  for (int i = 0; i < P; ++i) {
    sums[0][i][thread] = mine.first.v[i];
    sums[1][i][thread] = mine.second.v[i];
  }
  __syncthreads();
  // Two sums of each channel; the tile has more threads than that.
  static_assert(2 * kChannels <= kTileThreads);
  const int channel = thread % kChannels, which = thread / kChannels;
  const int global = blockIdx.x * kChannels + channel;
  const bool mine_to_join = which < 2 && global < matrix.channels;
  if (mine_to_join) {
    float sum = 0;
    for (int row = 0; row < kTileRows; ++row) {
      sum += sums[which][channel % P][row * kTilePacks + channel / P];
    }
    partial[(blockIdx.y * 2 + which) * matrix.channels + global] = sum;
  }
  if (!is_last_of_column(counters)) return;
  SHARED(double, totals, [2][kChannels]);
  if (mine_to_join) {
    double total = 0;
#pragma unroll 4
    for (unsigned block = 0; block < gridDim.y; ++block) {
      total += static_cast<double>(
          __ldcg(partial + (block * 2 + which) * matrix.channels + global));
    }
    totals[which][channel] = total;
  }
  __syncthreads();
  if (mine_to_join && which == 0) {
    finish(global, totals[0][channel], totals[1][channel]);
  }
}

struct StatisticsOutput {
  float eps, momentum;
  float* running_mean;
  float* running_var;
  long long* batches;
  float* mean;
  float* inv_std;

  // Of a channel, over n rows.
  __device__ void write(int channel, double channel_mean, double var,
                        double n) const {
    if (var < 0) var = 0;
    const double unbiased = var * (n / (n - 1));
    running_mean[channel] +=
        momentum * (static_cast<float>(channel_mean) - running_mean[channel]);
    running_var[channel] +=
        momentum * (static_cast<float>(unbiased) - running_var[channel]);
    mean[channel] = static_cast<float>(channel_mean);
    inv_std[channel] =
        static_cast<float>(1 / sqrt(var + static_cast<double>(eps)));
    if (channel == 0 && batches != nullptr) ++*batches;
  }
};

// Of all rows, or with `all`, NormKernels::sums, that and nothing else. Sums
// are taken of x minus the first row, a value of x's own size, so that a large
// mean takes nothing of the variance's precision.
template <typename T, int P>
__global__ void __launch_bounds__(kTileThreads)
    batch_norm_statistics(Matrix matrix, const T* x, float* partial,
                          unsigned* counters, StatisticsOutput out,
                          double* all) {
  const TilePart<P> part(matrix);
  Floats<P> shift{};
  if (part.inside) shift = load<P>(x + part.channel);
  TwoSums<P> sums;
  each_pack(matrix, part, [&](std::size_t offset) {
    const Floats<P> value = load<P>(x + offset);
#pragma unroll
    for (int i = 0; i < P; ++i) {
      const float d = value.v[i] - shift.v[i];
      sums.first.v[i] += d;
      sums.second.v[i] = fmaf(d, d, sums.second.v[i]);
    }
  });
  join_sums(matrix, sums, partial, counters,
            [&](int channel, double sum, double squares) {
              const auto n = static_cast<double>(matrix.rows);
              const double shifted = sum / n;
              const double mean =
                  static_cast<double>(to_float(x[channel])) + shifted;
              const double var = squares / n - shifted * shifted;
              if (all == nullptr) return out.write(channel, mean, var, n);
              if (channel == 0) all[0] = n;
              all[1 + channel] = n * mean;
              all[1 + matrix.channels + channel] = n * (var + mean * mean);
            });
}

__global__ void batch_norm_statistics_of(int channels, const double* sums,
                                         StatisticsOutput out) {
  const auto i = static_cast<int>(global_thread());
  if (i >= channels) return;
  const double n = sums[0], mean = sums[1 + i] / n;
  out.write(i, mean, sums[1 + channels + i] / n - mean * mean, n);
}

__global__ void inverse_standard_deviation(int count, const float* var,
                                           float eps, float* inv_std) {
  const auto i = static_cast<int>(global_thread());
  if (i < count) inv_std[i] = 1 / sqrtf(var[i] + eps);
}

// What a thread must know of its channels to normalise them. Forward and
// backward find the sign of a ReLU's input by this very expression.
template <int P>
struct Normalizer {
  Floats<P> scale, mean, beta;

  __device__ Normalizer(const TilePart<P>& part, const float* gamma,
                        const float* beta_, const float* mean_,
                        const float* inv_std)
      : scale(channels_of(part, gamma)),
        mean(channels_of(part, mean_)),
        beta(channels_of(part, beta_)) {
    const Floats<P> factor = channels_of(part, inv_std);
#pragma unroll
    for (int i = 0; i < P; ++i) scale.v[i] *= factor.v[i];
  }
  __device__ float operator()(int i, float x) const {
    return fmaf(scale.v[i], x - mean.v[i], beta.v[i]);
  }
};

// How backward knows where the ReLU let through, which is all but x <= 0: it
// had none; by the sign of what x becomes; by a mask, since a residual was
// added: a bit per element where a thread has eight, a byte where it has one.
enum class ReluKind { kNone, kBySign, kByMask };

template <typename T, int P>
__global__ void __launch_bounds__(kTileThreads)
    batch_norm_apply(Matrix matrix, const T* __restrict__ x, const float* gamma,
                     const float* beta, const float* mean, const float* inv_std,
                     const T* __restrict__ residual, bool relu,
                     T* __restrict__ y, unsigned char* __restrict__ mask) {
  const TilePart<P> part(matrix);
  const Normalizer<P> normalize(part, gamma, beta, mean, inv_std);
  each_pack(matrix, part, [&](std::size_t offset) {
    Floats<P> value = load<P>(x + offset);
#pragma unroll
    for (int i = 0; i < P; ++i) value.v[i] = normalize(i, value.v[i]);
    if (residual != nullptr) {
      const Floats<P> added = load<P>(residual + offset);
#pragma unroll
      for (int i = 0; i < P; ++i) value.v[i] += added.v[i];
    }
    if (relu) {
      unsigned char bits = 0;
#pragma unroll
      for (int i = 0; i < P; ++i) {
        bits |= static_cast<unsigned char>(!(value.v[i] <= 0)) << i;
        // Not fmaxf, which would turn a NaN into 0.
        value.v[i] = value.v[i] < 0 ? 0.0f : value.v[i];
      }
      if (mask != nullptr) mask[offset / P] = bits;
    }
    store<P>(y + offset, value);
  });
}

// dy as it comes through the ReLU.
template <ReluKind kRelu, typename T, int P>
__device__ Floats<P> through_relu(const Normalizer<P>& normalize,
                                  const Floats<P>& x, const T* dy,
                                  const unsigned char* mask,
                                  std::size_t offset) {
  Floats<P> g = load<P>(dy + offset);
  if (kRelu == ReluKind::kBySign) {
#pragma unroll
    for (int i = 0; i < P; ++i) {
      if (normalize(i, x.v[i]) <= 0) g.v[i] = 0;
    }
  }
  if (kRelu == ReluKind::kByMask) {
    const unsigned char bits = mask[offset / P];
#pragma unroll
    for (int i = 0; i < P; ++i) {
      if ((bits >> i & 1) == 0) g.v[i] = 0;
    }
  }
  return g;
}

// What both passes of backward read.
template <typename T>
struct BackwardInput {
  const T* __restrict__ x;
  const T* __restrict__ dy;
  const unsigned char* __restrict__ mask;
  const float* gamma;
  const float* beta;
  const float* mean;
  const float* inv_std;
};

// dbeta = the sum of g, dgamma that of g times the normalised x; and what the
// second pass subtracts, mean_g and slope, zero where the statistics were
// constants. With `all`, NormKernels::gradient_sums, they follow from those.
template <ReluKind kRelu, typename T, int P>
__global__ void __launch_bounds__(kTileThreads)
    batch_norm_gradient_sums(Matrix matrix, BackwardInput<T> in,
                             bool constant_statistics, float* partial,
                             unsigned* counters, float* dgamma, float* dbeta,
                             float* mean_g, float* slope, double* all) {
  const TilePart<P> part(matrix);
  const Normalizer<P> normalize(part, in.gamma, in.beta, in.mean, in.inv_std);
  TwoSums<P> sums;
  each_pack(matrix, part, [&](std::size_t offset) {
    const Floats<P> x = load<P>(in.x + offset);
    const Floats<P> g =
        through_relu<kRelu>(normalize, x, in.dy, in.mask, offset);
#pragma unroll
    for (int i = 0; i < P; ++i) {
      sums.first.v[i] += g.v[i];
      sums.second.v[i] =
          fmaf(g.v[i], x.v[i] - normalize.mean.v[i], sums.second.v[i]);
    }
  });
  join_sums(matrix, sums, partial, counters,
            [&](int channel, double sum, double products) {
              const double inv_std = static_cast<double>(in.inv_std[channel]);
              const auto n = static_cast<double>(matrix.rows);
              const double share = constant_statistics ? 0 : 1 / n;
              dbeta[channel] = static_cast<float>(sum);
              dgamma[channel] = static_cast<float>(products * inv_std);
              if (all != nullptr) {
                all[channel] = products * inv_std;
                all[matrix.channels + channel] = sum;
                return;
              }
              mean_g[channel] = static_cast<float>(sum * share);
              slope[channel] =
                  static_cast<float>(products * inv_std * inv_std * share);
            });
}

__global__ void batch_norm_gradient_of(int channels, const double* sums,
                                       const double* count,
                                       const float* inv_std, float* mean_g,
                                       float* slope) {
  const auto i = static_cast<int>(global_thread());
  if (i >= channels) return;
  mean_g[i] = static_cast<float>(sums[channels + i] / *count);
  slope[i] =
      static_cast<float>(sums[i] * static_cast<double>(inv_std[i]) / *count);
}

// dx = scale (g - mean_g - (x - mean) slope); dresidual = g, unless null.
template <ReluKind kRelu, typename T, int P>
__global__ void __launch_bounds__(kTileThreads)
    batch_norm_gradient(Matrix matrix, BackwardInput<T> in, const float* mean_g,
                        const float* slope, T* __restrict__ dx,
                        T* __restrict__ dresidual) {
  const TilePart<P> part(matrix);
  const Normalizer<P> normalize(part, in.gamma, in.beta, in.mean, in.inv_std);
  const Floats<P> mean = channels_of(part, mean_g);
  const Floats<P> along_x = channels_of(part, slope);
  each_pack(matrix, part, [&](std::size_t offset) {
    const Floats<P> x = load<P>(in.x + offset);
    const Floats<P> g =
        through_relu<kRelu>(normalize, x, in.dy, in.mask, offset);
    Floats<P> result;
#pragma unroll
    for (int i = 0; i < P; ++i) {
      const float centred = x.v[i] - normalize.mean.v[i];
      result.v[i] =
          normalize.scale.v[i] * (g.v[i] - mean.v[i] - centred * along_x.v[i]);
    }
    if (dresidual != nullptr) store<P>(dresidual + offset, g);
    store<P>(dx + offset, result);
  });
}

}  // namespace ringlet::cuda
