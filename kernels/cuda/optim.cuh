#pragma once

#include "kernels/cuda/pack.cuh"
#include "kernels/optim.h"

namespace ringlet::cuda {

// What the kernel of SGD is told; see SgdArgs.
template <typename Half>
struct SgdArrays {
  const float* grad;
  float* momentum_buffer;
  float* parameter;
  const unsigned char* decays;
  Half* half_copy;
};

struct SgdConstants {
  float lr, gradient_scale, momentum, weight_decay;
  bool nesterov;
};

// One element. Written with fmaf, so that both compilers round alike.
__device__ inline void sgd_element(const SgdConstants& c, bool decays, float g,
                                   float& m, float& p) {
  g = fmaf(decays ? c.weight_decay : 0.0f, p, g * c.gradient_scale);
  m = fmaf(c.momentum, m, g);
  p = fmaf(-c.lr, c.nesterov ? fmaf(c.momentum, m, g) : m, p);
}

// Packs of eight, then the rest: elements [first, count) in packs of P.
template <int P, typename Half>
__device__ void sgd_range(const SgdConstants& constants,
                          const SgdArrays<Half>& arrays, std::size_t first,
                          std::size_t count) {
  for (std::size_t i = first + global_thread() * P; i + P <= count;
       i += global_threads() * P) {
    const Floats<P> g = load<P>(arrays.grad + i);
    Floats<P> m = load<P>(arrays.momentum_buffer + i);
    Floats<P> p = load<P>(arrays.parameter + i);
    const unsigned bits =
        arrays.decays == nullptr ? ~0u : arrays.decays[i / 8] >> i % 8;
#pragma unroll
    for (int j = 0; j < P; ++j) {
      sgd_element(constants, (bits >> j & 1) != 0, g.v[j], m.v[j], p.v[j]);
    }
    store<P>(arrays.momentum_buffer + i, m);
    store<P>(arrays.parameter + i, p);
    if (arrays.half_copy != nullptr) store<P>(arrays.half_copy + i, p);
  }
}

template <typename Half>
__global__ void sgd(std::size_t count, SgdArrays<Half> arrays,
                    const SgdStep* step, SgdConstants constants) {
  if (step->skip != 0) return;
  constants.lr = step->lr;
  constants.gradient_scale = step->gradient_scale;
  const std::size_t packed = count / kPack * kPack;
  sgd_range<kPack>(constants, arrays, 0, packed);
  sgd_range<1>(constants, arrays, packed, count);
}

constexpr int kNormThreads = 256;

// Sums in double: first of each thread, then of each block, then, by the last
// block, of all.
__global__ void __launch_bounds__(kNormThreads)
    sum_of_squares(std::size_t count, const float* values, double* partial,
                   unsigned* counters, double* result) {
  constexpr int kWarps = kNormThreads / 32;
  SHARED(double, sums, [kWarps]);
  // One column of blocks, as is_last_of_column wants it.
  const std::size_t thread =
      std::size_t{blockIdx.y} * kNormThreads + threadIdx.x;
  const std::size_t threads = std::size_t{gridDim.y} * kNormThreads;
  const std::size_t packed = count / kPack * kPack;
  double sum = 0;
  for (std::size_t i = thread * kPack; i < packed; i += threads * kPack) {
    const Floats<kPack> pack = load<kPack>(values + i);
#pragma unroll
    for (int j = 0; j < kPack; ++j) {
      const auto value = static_cast<double>(pack.v[j]);
      sum = fma(value, value, sum);
    }
  }
  for (std::size_t i = packed + thread; i < count; i += threads) {
    const auto value = static_cast<double>(values[i]);
    sum = fma(value, value, sum);
  }
  const auto block_sum = [&](double mine) {
    mine = warp_sum(mine);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = mine;
    __syncthreads();
    double all = 0;
    for (int i = 0; i < kWarps; ++i) all += sums[i];
    return all;
  };
  const double mine = block_sum(sum);
  if (threadIdx.x == 0) partial[blockIdx.y] = mine;
  if (!is_last_of_column(counters)) return;
  sum = 0;
  for (unsigned i = threadIdx.x; i < gridDim.y; i += kNormThreads) {
    sum += __ldcg(partial + i);
  }
  const double total = block_sum(sum);
  if (threadIdx.x == 0) *result = total;
}

constexpr int kLarsThreads = 512;

// A block for each range.
__global__ void __launch_bounds__(kLarsThreads) lars_ranges(LarsArgs args) {
  SHARED(double, sums, [2][kLarsThreads]);
  SHARED(float, factors, [2]);
  if (args.step->skip != 0) return;
  const FlatRange range = args.ranges[blockIdx.x];
  const float* parameter = args.parameter + range.begin;
  float* grad = args.grad + range.begin;
  double squares = 0, squares_of_grad = 0;
  for (std::size_t i = threadIdx.x; i < range.count; i += kLarsThreads) {
    const auto p = static_cast<double>(parameter[i]);
    const auto g = static_cast<double>(grad[i]);
    squares = fma(p, p, squares);
    squares_of_grad = fma(g, g, squares_of_grad);
  }
  sums[0][threadIdx.x] = squares;
  sums[1][threadIdx.x] = squares_of_grad;
  __syncthreads();
  const float scale = args.step->gradient_scale;
  if (threadIdx.x == 0) {
    for (int i = 1; i < kLarsThreads; ++i) {
      squares += sums[0][i];
      squares_of_grad += sums[1][i];
    }
    const LarsFactors found =
        lars_factors(sqrt(squares), sqrt(squares_of_grad) * scale, args.trust,
                     args.weight_decay);
    factors[0] = found.ratio;
    factors[1] = found.decay;
  }
  __syncthreads();
  // sgd() is to multiply by the scale.
  const float ratio = factors[0], decay = factors[1] / scale;
  for (std::size_t i = threadIdx.x; i < range.count; i += kLarsThreads) {
    grad[i] = ratio * fmaf(decay, parameter[i], grad[i]);
  }
}

__global__ void moving_average(EmaArgs args) {
  if (args.step != nullptr && args.step->skip != 0) return;
  const float rate = 1 - args.decay;
  for (std::size_t i = global_thread(); i < args.count; i += global_threads()) {
    args.average[i] =
        fmaf(rate, args.values[i] - args.average[i], args.average[i]);
  }
}

constexpr int kHashThreads = 256;

// A block for each range.
__global__ void __launch_bounds__(kHashThreads) hash_ranges(HashArgs args) {
  SHARED(unsigned long long, sums, [kHashThreads]);
  const FlatRange range = args.ranges[blockIdx.x];
  const auto* bits =
      reinterpret_cast<const std::uint32_t*>(args.values + range.begin);
  unsigned long long sum = 0;
  for (std::size_t i = threadIdx.x; i < range.count; i += kHashThreads) {
    sum += hash_term(bits[i], i);
  }
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (int i = 1; i < kHashThreads; ++i) sum += sums[i];
  args.hashes[blockIdx.x] = sum;
}

}  // namespace ringlet::cuda
