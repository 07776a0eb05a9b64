#pragma once

#include <cstdint>

#include "kernels/cuda/pack.cuh"
#include "kernels/reduce.h"

namespace ringlet::cuda {

// An element type in memory, and the type in which it is computed.
template <typename T>
struct Element {
  using Wide = T;
  __device__ static T load(T value) { return value; }
  __device__ static T store(T value) { return value; }
};
template <typename T>
struct HalfElement {
  using Wide = float;
  __device__ static float load(T value) { return to_float(value); }
  __device__ static T store(float value) { return from_float<T>(value); }
};
template <>
struct Element<__half> : HalfElement<__half> {};
template <>
struct Element<__nv_bfloat16> : HalfElement<__nv_bfloat16> {};

// As on the CPU: a NaN on the left stays with min and max, one on the right
// does not.
template <ReduceOp kOp, typename Wide>
__device__ Wide combine_two(Wide a, Wide b) {
  switch (kOp) {
    case ReduceOp::kProd:
      return static_cast<Wide>(a * b);
    case ReduceOp::kMin:
      return b < a ? b : a;
    case ReduceOp::kMax:
      return a < b ? b : a;
    case ReduceOp::kSum:
    case ReduceOp::kAvg:
      break;
  }
  return static_cast<Wide>(a + b);
}

// 16 bytes of elements.
template <typename T>
struct alignas(16) Line {
  static constexpr std::size_t kCount = 16 / sizeof(T);
  T items[kCount];
};

// accumulator[i] = accumulator[i] op operand[i], for arrays that begin at the
// same distance, `head` elements, from the next multiple of 16 bytes: those one
// by one, then whole lines, then the rest.
template <ReduceOp kOp, typename T>
__global__ void reduce_arrays(T* __restrict__ accumulator,
                              const T* __restrict__ operand, std::size_t count,
                              std::size_t head) {
  using E = Element<T>;
  const auto combine = [](T a, T b) {
    return E::store(combine_two<kOp>(E::load(a), E::load(b)));
  };
  constexpr std::size_t kLine = Line<T>::kCount;
  const std::size_t lines = (count - head) / kLine;
  for (std::size_t i = global_thread(); i < lines; i += global_threads()) {
    const std::size_t at = head + i * kLine;
    auto line = *reinterpret_cast<const Line<T>*>(accumulator + at);
    const auto other = *reinterpret_cast<const Line<T>*>(operand + at);
#pragma unroll
    for (std::size_t j = 0; j < kLine; ++j) {
      line.items[j] = combine(line.items[j], other.items[j]);
    }
    *reinterpret_cast<Line<T>*>(accumulator + at) = line;
  }
  // What lies before and behind the lines, counted as one range.
  const std::size_t singles = count - lines * kLine;
  for (std::size_t i = global_thread(); i < singles; i += global_threads()) {
    const std::size_t at = i < head ? i : i + lines * kLine;
    accumulator[at] = combine(accumulator[at], operand[at]);
  }
}

// As many ranks as `ordered` has on GPUs.
constexpr unsigned kTreeLevels = 6, kTreeOperands = 1 << kTreeLevels;

template <typename T>
struct TreeOperands {
  const T* arrays[kTreeOperands];
  unsigned count;
};

// result[i] = the tree over operands[0][i], operands[1][i], ...; the result may
// be one of them. It is built as a binary counter counts: sums[b] is that of
// 2^b neighbours which waits for the next 2^b.
template <ReduceOp kOp, typename T>
__global__ void reduce_arrays_as_tree(T* result, TreeOperands<T> operands,
                                      std::size_t count) {
  using E = Element<T>;
  using Wide = typename E::Wide;
  for (std::size_t i = global_thread(); i < count; i += global_threads()) {
    Wide sums[kTreeLevels + 1];
    for (unsigned r = 0; r < operands.count; ++r) {
      Wide sum = E::load(operands.arrays[r][i]);
      unsigned level = 0;
      for (; (r >> level & 1) != 0; ++level) {
        sum = combine_two<kOp>(sums[level], sum);
      }
      sums[level] = sum;
    }
    // What is left over, from the right.
    unsigned level = 0;
    while ((operands.count >> level & 1) == 0) ++level;
    Wide sum = sums[level];
    for (++level; operands.count >> level != 0; ++level) {
      if ((operands.count >> level & 1) != 0) {
        sum = combine_two<kOp>(sums[level], sum);
      }
    }
    result[i] = E::store(sum);
  }
}

// data[i] = data[i] * factor
template <typename T>
__global__ void scale_array(T* data, std::size_t count,
                            typename Element<T>::Wide factor) {
  for (std::size_t i = global_thread(); i < count; i += global_threads()) {
    data[i] = Element<T>::store(Element<T>::load(data[i]) * factor);
  }
}

// target[i] = source[i] * factor, and the way back.
template <typename T>
__global__ void narrow_array(T* target, const float* source, std::size_t count,
                             float factor) {
  for (std::size_t i = global_thread(); i < count; i += global_threads()) {
    target[i] = from_float<T>(source[i] * factor);
  }
}
template <typename T>
__global__ void widen_array(float* target, const T* source, std::size_t count) {
  for (std::size_t i = global_thread(); i < count; i += global_threads()) {
    target[i] = to_float(source[i]);
  }
}

}  // namespace ringlet::cuda
