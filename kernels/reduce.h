#pragma once

#include <cstddef>

#include "kernels/runtime/device.h"
#include "kernels/runtime/dtype.h"

namespace ringlet {

// How the ranks' elements are combined. kAvg adds; dividing by the number of
// ranks is a step of its own (scale), after the last addition.
enum class ReduceOp { kSum, kProd, kMin, kMax, kAvg };

// "sum", "prod", "min", "max", "avg".
constexpr const char* name_of(ReduceOp op) {
  switch (op) {
    case ReduceOp::kSum:
      return "sum";
    case ReduceOp::kProd:
      return "prod";
    case ReduceOp::kMin:
      return "min";
    case ReduceOp::kAvg:
      return "avg";
    case ReduceOp::kMax:
      break;
  }
  return "max";
}

// The kernels of collectives, on arrays of `count` elements in host memory.
// They run on the calling thread alone, since ranks and progress threads fill
// the cores already. f16 and bf16 are widened to float, combined, and rounded
// once at the end.

// accumulator[i] = accumulator[i] op operand[i]. The two must not overlap. One
// read of each and one write, so about 16 GB/s of traffic from DRAM and several
// times that from cache.
void reduce(void* accumulator, const void* operand, std::size_t count,
            Dtype dtype, ReduceOp op);

// result[i] = operands[0][i] op ... op operands[operand_count-1][i], combined
// in a balanced binary tree over the operands: with five of them
// ((0+1) + (2+3)) + 4. The order depends on nothing else, so an element's bits
// do not change with its place; and a tree over 2^a operands, each made by a
// tree over 2^b others, is the tree over all of them. All of `results` get the
// result; any may be one of the operands. Each operand is read once, each
// result written once.
void reduce_tree(void* const* results, std::size_t result_count,
                 const void* const* operands, std::size_t operand_count,
                 std::size_t count, Dtype dtype, ReduceOp op);

inline void reduce_tree(void* result, const void* const* operands,
                        std::size_t operand_count, std::size_t count,
                        Dtype dtype, ReduceOp op) {
  reduce_tree(&result, 1, operands, operand_count, count, dtype, op);
}

// data[i] = data[i] * factor; floating types only.
void scale(void* data, std::size_t count, Dtype dtype, double factor);

// target[i] = source[i] * factor, rounded to nearest in f16 or bf16: what goes
// on the wire. A value too large becomes an infinity.
void narrow(void* target, Dtype dtype, const float* source, std::size_t count,
            float factor);
// target[i] = source[i] of that type, exactly.
void widen(float* target, const void* source, Dtype dtype, std::size_t count);

// The same where the arrays lie, with the same bits. On CUDA it is enqueued, as
// all of a thread's work there, and reads and writes at the GPU's rate.
void reduce(Device device, void* accumulator, const void* operand,
            std::size_t count, Dtype dtype, ReduceOp op);
void reduce_tree(Device device, void* result, const void* const* operands,
                 std::size_t operand_count, std::size_t count, Dtype dtype,
                 ReduceOp op);
void scale(Device device, void* data, std::size_t count, Dtype dtype,
           double factor);
void narrow(Device device, void* target, Dtype dtype, const float* source,
            std::size_t count, float factor);
void widen(Device device, float* target, const void* source, Dtype dtype,
           std::size_t count);

// What the CUDA library implements.
namespace cuda {

void reduce(void* accumulator, const void* operand, std::size_t count,
            Dtype dtype, ReduceOp op);
void reduce_tree(void* result, const void* const* operands,
                 std::size_t operand_count, std::size_t count, Dtype dtype,
                 ReduceOp op);
void scale(void* data, std::size_t count, Dtype dtype, double factor);
void narrow(void* target, Dtype dtype, const float* source, std::size_t count,
            float factor);
void widen(float* target, const void* source, Dtype dtype, std::size_t count);

}  // namespace cuda

}  // namespace ringlet
