#pragma once

#include <cstddef>

#include "kernels/runtime/dtype.h"

// Biases of a matrix of rows and columns, one per column.
namespace ringlet::cuda {

// y[i][j] += bias[j]
void add_bias(std::size_t rows, std::size_t columns, Dtype dtype,
              const float* bias, void* y);

// dbias[j] = the sum of dy[i][j] over i.
void sum_columns(std::size_t rows, std::size_t columns, Dtype dtype,
                 const void* dy, float* dbias);

}  // namespace ringlet::cuda
