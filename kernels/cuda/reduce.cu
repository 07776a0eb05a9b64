#include <string>

#include "kernels/cuda/context.h"
#include "kernels/cuda/reduce.cuh"
#include "kernels/runtime/error.h"

namespace ringlet::cuda {
namespace {

constexpr unsigned kThreads = 256;

// Calls body(T{}) with CUDA's type of that name.
template <typename Body>
void with_element_type(Dtype dtype, const Body& body) {
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
      return body(__half{});
    case Dtype::kBF16:
      return body(__nv_bfloat16{});
    case Dtype::kF32:
      break;
  }
  body(float{});
}

// The same of the 16-bit types.
template <typename Body>
void with_half_type(Dtype dtype, const Body& body) {
  if (dtype == Dtype::kF16) return body(__half{});
  if (dtype == Dtype::kBF16) return body(__nv_bfloat16{});
  throw Error(std::string(name_of(dtype)) + ": expected f16 or bf16");
}

template <typename Body>
void with_op(ReduceOp op, const Body& body) {
  switch (op) {
    case ReduceOp::kProd:
      return body.template operator()<ReduceOp::kProd>();
    case ReduceOp::kMin:
      return body.template operator()<ReduceOp::kMin>();
    case ReduceOp::kMax:
      return body.template operator()<ReduceOp::kMax>();
    case ReduceOp::kSum:
    case ReduceOp::kAvg:
      break;
  }
  body.template operator()<ReduceOp::kSum>();
}

// Elements before the first multiple of 16 bytes; all of them where the two
// arrays do not come to one together.
template <typename T>
std::size_t head_of(const T* a, const T* b, std::size_t count) {
  constexpr std::uintptr_t kLine = sizeof(Line<T>);
  const auto left = reinterpret_cast<std::uintptr_t>(a) % kLine;
  const auto right = reinterpret_cast<std::uintptr_t>(b) % kLine;
  if (left != right) return count;
  return std::min<std::size_t>(count, (kLine - left) % kLine / sizeof(T));
}

}  // namespace

void reduce(void* accumulator, const void* operand, std::size_t count,
            Dtype dtype, ReduceOp op) {
  if (count == 0) return;
  with_element_type(dtype, [&]<typename T>(T) {
    auto* to = static_cast<T*>(accumulator);
    const auto* from = static_cast<const T*>(operand);
    const std::size_t head = head_of(to, from, count);
    const std::size_t items = head == count ? count : count / Line<T>::kCount;
    with_op(op, [&]<ReduceOp kOp>() {
      launch(reduce_arrays<kOp, T>, dim3(blocks_for(items + 1, kThreads)),
             dim3(kThreads), 0, stream(), to, from, count, head);
    });
  });
}

void reduce_tree(void* result, const void* const* operands,
                 std::size_t operand_count, std::size_t count, Dtype dtype,
                 ReduceOp op) {
  if (operand_count > kTreeOperands) {
    throw Error("reduce_tree of " + std::to_string(operand_count) +
                " arrays on CUDA: expected at most " +
                std::to_string(kTreeOperands));
  }
  if (count == 0) return;
  with_element_type(dtype, [&]<typename T>(T) {
    TreeOperands<T> from{};
    from.count = static_cast<unsigned>(operand_count);
    for (std::size_t i = 0; i < operand_count; ++i) {
      from.arrays[i] = static_cast<const T*>(operands[i]);
    }
    with_op(op, [&]<ReduceOp kOp>() {
      launch(reduce_arrays_as_tree<kOp, T>, dim3(blocks_for(count, kThreads)),
             dim3(kThreads), 0, stream(), static_cast<T*>(result), from, count);
    });
  });
}

void scale(void* data, std::size_t count, Dtype dtype, double factor) {
  if (!is_floating(dtype)) {
    throw Error(std::string("scale of ") + name_of(dtype) +
                ": expected a floating type");
  }
  if (count == 0) return;
  with_element_type(dtype, [&]<typename T>(T) {
    using Wide = typename Element<T>::Wide;
    launch(scale_array<T>, dim3(blocks_for(count, kThreads)), dim3(kThreads), 0,
           stream(), static_cast<T*>(data), count, static_cast<Wide>(factor));
  });
}

void narrow(void* target, Dtype dtype, const float* source, std::size_t count,
            float factor) {
  if (count == 0) return;
  with_half_type(dtype, [&]<typename T>(T) {
    launch(narrow_array<T>, dim3(blocks_for(count, kThreads)), dim3(kThreads),
           0, stream(), static_cast<T*>(target), source, count, factor);
  });
}

void widen(float* target, const void* source, Dtype dtype, std::size_t count) {
  if (count == 0) return;
  with_half_type(dtype, [&]<typename T>(T) {
    launch(widen_array<T>, dim3(blocks_for(count, kThreads)), dim3(kThreads), 0,
           stream(), target, static_cast<const T*>(source), count);
  });
}

}  // namespace ringlet::cuda
