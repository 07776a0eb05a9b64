#pragma once

#include <cstdint>

#include "kernels/runtime/dtype.h"
#include "kernels/runtime/half.h"

namespace ringlet {

// Calls body(T{}) with the element type of that dtype, and returns what it
// returns.
template <typename Body>
auto with_type(Dtype dtype, const Body& body) {
  switch (dtype) {
    case Dtype::kF64:
      return body(double{});
    case Dtype::kI32:
      return body(std::int32_t{});
    case Dtype::kI64:
      return body(std::int64_t{});
    case Dtype::kU8:
      return body(std::uint8_t{});
    case Dtype::kF16:
      return body(Half{});
    case Dtype::kBF16:
      return body(BFloat16{});
    case Dtype::kF32:
      break;
  }
  return body(float{});
}

// What an element is worth, and the element that is worth it.
template <typename T>
double value_of(T element) {
  return static_cast<double>(widen(element));
}

template <typename T>
T element_of(double value) {
  return narrow<T>(static_cast<Wide<T>>(value));
}

}  // namespace ringlet
