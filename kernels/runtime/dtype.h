#pragma once

#include <cstddef>

namespace ringlet {

// Element types of tensors and of collectives.
enum class Dtype { kF32, kF64, kI32, kI64, kU8, kF16, kBF16 };

// Bytes of one element.
constexpr std::size_t size_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF64:
    case Dtype::kI64:
      return 8;
    case Dtype::kU8:
      return 1;
    case Dtype::kF16:
    case Dtype::kBF16:
      return 2;
    case Dtype::kF32:
    case Dtype::kI32:
      break;
  }
  return 4;
}

constexpr bool is_floating(Dtype dtype) {
  return dtype == Dtype::kF32 || dtype == Dtype::kF64 || dtype == Dtype::kF16 ||
         dtype == Dtype::kBF16;
}

// "f32", "f64", "i32", "i64", "u8", "f16", "bf16".
constexpr const char* name_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF32:
      return "f32";
    case Dtype::kF64:
      return "f64";
    case Dtype::kI32:
      return "i32";
    case Dtype::kI64:
      return "i64";
    case Dtype::kF16:
      return "f16";
    case Dtype::kBF16:
      return "bf16";
    case Dtype::kU8:
      break;
  }
  return "u8";
}

}  // namespace ringlet
