#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

#include "kernels/runtime/half.h"

namespace ringlet::cpu {

// B floats that the compiler keeps in vector registers: arithmetic and
// comparisons work lane by lane. B is the layout's channel block, 8 or 16.
template <std::size_t B>
struct VecOf {
  using Float [[gnu::vector_size(B * sizeof(float))]] = float;
  using Int [[gnu::vector_size(B * sizeof(float))]] = std::int32_t;
  using Bits [[gnu::vector_size(B * sizeof(float))]] = std::uint32_t;
  using Half [[gnu::vector_size(B * sizeof(BFloat16))]] = std::uint16_t;
};
template <std::size_t B>
using Vec = typename VecOf<B>::Float;

template <std::size_t B>
Vec<B> load(const float* p) {
  Vec<B> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

template <std::size_t B>
void store(float* p, Vec<B> v) {
  std::memcpy(p, &v, sizeof v);
}

// The same of bf16 in memory, as widen() and narrow() do it.
template <std::size_t B>
Vec<B> load(const BFloat16* p) {
  typename VecOf<B>::Half half;
  std::memcpy(&half, p, sizeof half);
  return reinterpret_cast<Vec<B>>(
      __builtin_convertvector(half, typename VecOf<B>::Bits) << 16);
}

template <std::size_t B>
void store(BFloat16* p, Vec<B> v) {
  constexpr std::uint32_t kQuietNan = 0x0040;
  const auto bits = reinterpret_cast<typename VecOf<B>::Bits>(v);
  const auto rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const auto half = __builtin_convertvector(
      v != v ? bits >> 16 | kQuietNan : rounded, typename VecOf<B>::Half);
  std::memcpy(static_cast<void*>(p), &half, sizeof half);
}

// Past the caches, for what nobody reads soon: the memory's line is not fetched
// to be overwritten. Ends with fence_streams().
template <std::size_t B>
void stream(float* p, Vec<B> v) {
#ifdef __AVX512F__
  if constexpr (B == 16) {
    _mm512_stream_ps(p, reinterpret_cast<__m512>(v));
    return;
  }
#endif
  store<B>(p, v);
}

// Makes what this thread streamed visible to others, as its stores are.
inline void fence_streams() {
#ifdef __AVX512F__
  _mm_sfence();
#endif
}

// The first `count` lanes of p, zero in the others.
template <std::size_t B>
Vec<B> load_part(const float* p, std::size_t count) {
  Vec<B> v{};
  std::memcpy(&v, p, count * sizeof(float));
  return v;
}

// max(v, 0) that lets NaN through, so that a broken step stays visible.
template <std::size_t B>
Vec<B> relu(Vec<B> v) {
  return v < 0 ? Vec<B>{} : v;
}

// One bit per lane, lane 0 lowest: set where v > 0 or v is NaN.
template <std::size_t B>
void store_positive_bits(std::uint8_t* bits, Vec<B> v) {
  std::uint32_t mask = 0;
#ifdef __AVX512F__
  if constexpr (B == 16) {
    mask = _mm512_cmp_ps_mask(reinterpret_cast<__m512>(v), _mm512_setzero_ps(),
                              _CMP_NLE_UQ);
  } else
#endif
  {
    for (std::size_t i = 0; i < B; ++i) mask |= (v[i] <= 0 ? 0u : 1u) << i;
  }
  std::memcpy(bits, &mask, B / 8);
}

// v where the lane's bit is set, else zero.
template <std::size_t B>
Vec<B> keep_where(const std::uint8_t* bits, Vec<B> v) {
  std::uint32_t mask = 0;
  std::memcpy(&mask, bits, B / 8);
#ifdef __AVX512F__
  if constexpr (B == 16) {
    return reinterpret_cast<Vec<B>>(_mm512_maskz_mov_ps(
        static_cast<__mmask16>(mask), reinterpret_cast<__m512>(v)));
  } else
#endif
  {
    typename VecOf<B>::Int lane_bit;
    for (std::size_t i = 0; i < B; ++i) lane_bit[i] = 1 << i;
    const auto all = static_cast<std::int32_t>(mask) - typename VecOf<B>::Int{};
    return (all & lane_bit) != 0 ? v : Vec<B>{};
  }
}

// A block size known when compiling.
template <std::size_t B>
using Size = std::integral_constant<std::size_t, B>;

// Calls body(Size<8>) or body(Size<16>), after the layout's block size.
template <typename Body>
void with_block(std::size_t block, Body body) {
  if (block == 16) {
    body(Size<16>{});
  } else {
    body(Size<8>{});
  }
}

}  // namespace ringlet::cpu
