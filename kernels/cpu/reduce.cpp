#include "kernels/reduce.h"

#include <algorithm>
#include <cstdint>

namespace ringlet {
namespace {

template <typename T, typename Combine>
void combine_all(void* accumulator, const void* operand, std::size_t count,
                 Combine combine) {
  T* __restrict a = static_cast<T*>(accumulator);
  const T* __restrict b = static_cast<const T*>(operand);
  for (std::size_t i = 0; i < count; ++i) a[i] = combine(a[i], b[i]);
}

template <typename T>
void reduce_typed(void* accumulator, const void* operand, std::size_t count,
                  ReduceOp op) {
  switch (op) {
    case ReduceOp::kSum:
      return combine_all<T>(accumulator, operand, count,
                            [](T a, T b) { return static_cast<T>(a + b); });
    case ReduceOp::kProd:
      return combine_all<T>(accumulator, operand, count,
                            [](T a, T b) { return static_cast<T>(a * b); });
    case ReduceOp::kMin:
      return combine_all<T>(accumulator, operand, count,
                            [](T a, T b) { return std::min(a, b); });
    case ReduceOp::kMax:
      return combine_all<T>(accumulator, operand, count,
                            [](T a, T b) { return std::max(a, b); });
  }
}

}  // namespace

void reduce(void* accumulator, const void* operand, std::size_t count,
            Dtype dtype, ReduceOp op) {
  switch (dtype) {
    case Dtype::kF32:
      return reduce_typed<float>(accumulator, operand, count, op);
    case Dtype::kF64:
      return reduce_typed<double>(accumulator, operand, count, op);
    case Dtype::kI32:
      return reduce_typed<std::int32_t>(accumulator, operand, count, op);
    case Dtype::kI64:
      return reduce_typed<std::int64_t>(accumulator, operand, count, op);
    case Dtype::kU8:
      return reduce_typed<std::uint8_t>(accumulator, operand, count, op);
  }
}

}  // namespace ringlet
