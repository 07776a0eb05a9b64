#include "kernels/cuda/bias.cuh"
#include "kernels/cuda/bias.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/families.h"

namespace ringlet::cuda {
namespace {

constexpr unsigned kThreads = 256;

}  // namespace

void add_bias(std::size_t rows, std::size_t columns, Dtype dtype,
              const float* bias, void* y) {
  const std::size_t count = rows * columns;
  if (count == 0) return;
  with_activation_type(dtype, [&]<typename T>(T) {
    launch(add_bias_kernel<T>, dim3(blocks_for(count, kThreads)),
           dim3(kThreads), 0, stream(), count, static_cast<int>(columns), bias,
           static_cast<T*>(y));
  });
}

void sum_columns(std::size_t rows, std::size_t columns, Dtype dtype,
                 const void* dy, float* dbias) {
  with_activation_type(dtype, [&]<typename T>(T) {
    const auto threads = static_cast<unsigned>(columns * 32);
    launch(sum_columns_kernel<T>, dim3((threads + kThreads - 1) / kThreads),
           dim3(kThreads), 0, stream(), rows, static_cast<int>(columns),
           static_cast<const T*>(dy), dbias);
  });
}

}  // namespace ringlet::cuda
