#pragma once

#include <cstddef>

#include "kernels/runtime/dtype.h"

namespace ringlet {

// How an all-reduce combines the ranks' elements.
enum class ReduceOp { kSum, kProd, kMin, kMax };

constexpr const char* name_of(ReduceOp op) {
  switch (op) {
    case ReduceOp::kSum:
      return "sum";
    case ReduceOp::kProd:
      return "prod";
    case ReduceOp::kMin:
      return "min";
    case ReduceOp::kMax:
      break;
  }
  return "max";
}

// accumulator[i] = accumulator[i] op operand[i] for `count` elements in host
// memory. The two must not overlap. Runs on the calling thread alone (ranks
// and progress threads already fill the cores): one read of each and one
// write, so about 16 GB/s of traffic from DRAM and several times that from
// cache.
void reduce(void* accumulator, const void* operand, std::size_t count,
            Dtype dtype, ReduceOp op);

}  // namespace ringlet
