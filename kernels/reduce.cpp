#include "kernels/reduce.h"

#include "kernels/runtime/cuda_library.h"

namespace ringlet {

void reduce(Device device, void* accumulator, const void* operand,
            std::size_t count, Dtype dtype, ReduceOp op) {
  if (device == Device::kCpu) {
    return reduce(accumulator, operand, count, dtype, op);
  }
  cuda::library().reduce(accumulator, operand, count, dtype, op);
}

void reduce_tree(Device device, void* result, const void* const* operands,
                 std::size_t operand_count, std::size_t count, Dtype dtype,
                 ReduceOp op) {
  if (device == Device::kCpu) {
    return reduce_tree(result, operands, operand_count, count, dtype, op);
  }
  cuda::library().reduce_tree(result, operands, operand_count, count, dtype,
                              op);
}

void scale(Device device, void* data, std::size_t count, Dtype dtype,
           double factor) {
  if (device == Device::kCpu) return scale(data, count, dtype, factor);
  cuda::library().scale(data, count, dtype, factor);
}

void narrow(Device device, void* target, Dtype dtype, const float* source,
            std::size_t count, float factor) {
  if (device == Device::kCpu) {
    return narrow(target, dtype, source, count, factor);
  }
  cuda::library().narrow(target, dtype, source, count, factor);
}

void widen(Device device, float* target, const void* source, Dtype dtype,
           std::size_t count) {
  if (device == Device::kCpu) return widen(target, source, dtype, count);
  cuda::library().widen(target, source, dtype, count);
}

}  // namespace ringlet
