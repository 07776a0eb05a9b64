#pragma once

#include <cstddef>

#include "kernels/runtime/dtype.h"

namespace ringlet::cuda {

// c[m, n] = a[m, k] b[k, n], all row-major; where an operand is `transposed`,
// its memory holds [k, m] or [n, k] instead.
struct Matmul {
  std::size_t m, n, k;
  Dtype in_dtype;   // of a and b
  Dtype out_dtype;  // of c; sums are taken in f32
  const void* a;
  bool a_transposed;
  const void* b;
  bool b_transposed;
  void* c;
};

// cuBLASLt on this thread's stream; the algorithm that its heuristics put first
// is kept for each kind of product. f32 is computed in TF32 where allow_tf32().
void matmul(const Matmul& args);

}  // namespace ringlet::cuda
