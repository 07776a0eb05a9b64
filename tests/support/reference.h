#pragma once

#include <cstdint>
#include <vector>

#include "engine/tensor/tensor.h"

// The ops again, as plainly as they can be written and in double precision:
// what the engine is compared with.
namespace ringlet::testing {

struct Array {
  std::vector<std::size_t> shape;
  std::vector<double> values;

  Array() = default;
  explicit Array(std::vector<std::size_t> sizes);
  std::size_t count() const { return values.size(); }
  double& at(std::size_t n, std::size_t c, std::size_t h, std::size_t w);
  double at(std::size_t n, std::size_t c, std::size_t h, std::size_t w) const;
};

// Uniform in [-1, 1), rounded to float so that both sides start equal.
Array random_array(std::vector<std::size_t> shape, std::uint32_t seed);
Tensor to_tensor(const Array& array);
Array to_array(const Tensor& tensor);

// |a - b| / |b| over all elements (Euclidean norms); |a| where b is zero.
double relative_distance(const Array& a, const Array& b);

Array reference_conv2d(const Array& x, const Array& weight, const Array* bias,
                       std::size_t stride, std::size_t padding);
// Training mode; residual may be null.
Array reference_batch_norm(const Array& x, const Array& gamma,
                           const Array& beta, const Array* residual, bool relu,
                           double eps);
Array reference_relu(const Array& x);
Array reference_max_pool(const Array& x, std::size_t kernel, std::size_t stride,
                         std::size_t padding);
Array reference_average_pool(const Array& x);
Array reference_linear(const Array& x, const Array& weight, const Array& bias);
double reference_cross_entropy(const Array& logits,
                               const std::vector<std::int32_t>& labels,
                               double smoothing, double global_batch);

}  // namespace ringlet::testing
