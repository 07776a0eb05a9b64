#pragma once

#include <bit>
#include <cstdint>

namespace ringlet {

// The 16-bit floating types as they lie in memory, and their conversions, which
// round to nearest, ties to even. Nothing is computed in them: widen, compute
// in float, narrow.

// IEEE 754 binary16: 5 bits of exponent, 10 of fraction; up to 65504.
struct Half {
  std::uint16_t bits = 0;
};

// The upper half of a float: 8 bits of exponent, 7 of fraction.
struct BFloat16 {
  std::uint16_t bits = 0;
};

inline float widen(Half half) {
  return static_cast<float>(std::bit_cast<_Float16>(half.bits));
}

inline float widen(BFloat16 half) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(half.bits) << 16);
}

// Other types are computed as they are.
template <typename T>
T widen(T value) {
  return value;
}

// The type in which a T is computed.
template <typename T>
using Wide = decltype(widen(T{}));

template <typename T>
T narrow(Wide<T> value) {
  return value;
}

template <>
inline Half narrow<Half>(float value) {
  return {std::bit_cast<std::uint16_t>(static_cast<_Float16>(value))};
}

template <>
inline BFloat16 narrow<BFloat16>(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  constexpr std::uint32_t kQuietNan = 0x0040;
  const std::uint32_t rounded = bits + 0x7fff + ((bits >> 16) & 1);
  // Rounding could carry a NaN's bits over into an infinity.
  const bool is_nan = (bits & 0x7fffffff) > 0x7f800000;
  return {static_cast<std::uint16_t>(is_nan ? (bits >> 16) | kQuietNan
                                            : rounded >> 16)};
}

}  // namespace ringlet
