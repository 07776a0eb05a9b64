#pragma once

#include "engine/autograd/variable.h"
#include "kernels/backend.h"
#include "kernels/runtime/check.h"

namespace ringlet {

inline std::size_t size_at(const Tensor& tensor, std::size_t axis) {
  return static_cast<std::size_t>(tensor.dim(axis));
}

inline Shape shape_of(std::initializer_list<std::size_t> sizes) {
  Shape shape;
  for (const std::size_t size : sizes) {
    shape.push_back(static_cast<std::int64_t>(size));
  }
  return shape;
}

inline Activation activation_of(const char* op, const Tensor& x) {
  RINGLET_CHECK(x.shape().size() == 4, "{} wants [n, c, h, w], got {}", op,
                to_string(x.shape()));
  return {size_at(x, 0), size_at(x, 1), size_at(x, 2),
          size_at(x, 3), x.layout(),    x.dtype()};
}

// Checks that a per-channel parameter or buffer has one value per channel.
inline void check_vector(const char* op, const char* what, const Tensor& vector,
                         std::size_t size) {
  RINGLET_CHECK(vector.shape() == shape_of({size}),
                "{} wants {} of shape [{}], got {}", op, what, size,
                to_string(vector.shape()));
}

}  // namespace ringlet
