#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/runtime/buffer.h"
#include "kernels/runtime/device.h"
#include "kernels/runtime/dtype.h"
#include "kernels/runtime/layout.h"

namespace ringlet {

// Sizes of a tensor's dimensions; {} is a scalar.
using Shape = std::vector<std::int64_t>;

// Product of the sizes; 1 for a scalar. Throws where a size is negative.
std::size_t element_count(const Shape& shape);
// "[64, 3, 32, 32]".
std::string to_string(const Shape& shape);

// A typed, shaped view of a shared Buffer. Copies share the memory. A Tensor
// knows nothing of gradients: that is Variable's (engine/autograd).
class Tensor {
 public:
  Tensor() = default;

  // Uninitialised memory. A blocked layout needs a shape [n, c, h, w]; its
  // channels are then rounded up to whole blocks, see Layout.
  explicit Tensor(Shape shape, Dtype dtype = Dtype::kF32,
                  Layout layout = Layout::kPlain, Device device = Device::kCpu);

  // A view of `buffer`, which must hold the elements from `offset_bytes` on.
  Tensor(Shape shape, Dtype dtype, Layout layout, Buffer buffer,
         std::size_t offset_bytes);

  static Tensor zeros(Shape shape, Dtype dtype = Dtype::kF32,
                      Layout layout = Layout::kPlain,
                      Device device = Device::kCpu);
  // f32 with these values, row-major, on the CPU.
  static Tensor of(Shape shape, const std::vector<float>& values);

  bool defined() const { return buffer_.data() != nullptr; }
  const Shape& shape() const { return shape_; }
  std::int64_t dim(std::size_t axis) const { return shape_.at(axis); }
  Dtype dtype() const { return dtype_; }
  Layout layout() const { return layout_; }
  Device device() const { return buffer_.device(); }

  // Elements of the shape, without padding.
  std::size_t count() const;
  // Elements in memory: count() plus what a blocked layout pads.
  std::size_t storage_count() const;
  std::size_t bytes() const { return storage_count() * size_of(dtype_); }

  // Address of the first element, on the device; T must be the element type.
  template <typename T = float>
  T* data() const {
    check_type(dtype_code<T>());
    return reinterpret_cast<T*>(buffer_.data() + offset_bytes_);
  }
  const Buffer& buffer() const { return buffer_; }
  void* raw() const { return buffer_.data() + offset_bytes_; }

  // The same memory seen with another shape; plain layout only.
  Tensor reshaped(Shape shape) const;
  // The same memory from index `begin` to `begin` + `count` of the first axis.
  Tensor rows(std::int64_t begin, std::int64_t count) const;
  // A copy of the elements in another layout, in new memory.
  Tensor to_layout(Layout layout) const { return to_layout(layout, dtype_); }
  // The same in another type: of f32 and bf16, and f16 on CUDA.
  Tensor to_layout(Layout layout, Dtype dtype) const;
  // A copy in new memory.
  Tensor clone() const;
  // The same on that device: this tensor if it lies there, or a copy.
  Tensor to(Device device) const;
  // The same, plain and on the CPU: what files and messages hold.
  Tensor to_host() const;
  // Overwrites the elements. Shapes must be equal; devices, layouts and types
  // may differ as in to_layout().
  void copy_from(const Tensor& source) const;
  void fill_zero() const;

  // The elements in row-major order, whatever the layout and the device; f32
  // only.
  std::vector<float> to_vector() const;
  // The value of a tensor of one element, f32 or f64.
  double item() const;

 private:
  template <typename T>
  static constexpr Dtype dtype_code();
  void check_type(Dtype expected) const;

  Shape shape_;
  Dtype dtype_ = Dtype::kF32;
  Layout layout_ = Layout::kPlain;
  Buffer buffer_;
  std::size_t offset_bytes_ = 0;
};

template <typename T>
constexpr Dtype Tensor::dtype_code() {
  if constexpr (std::is_same_v<T, float>) {
    return Dtype::kF32;
  } else if constexpr (std::is_same_v<T, double>) {
    return Dtype::kF64;
  } else if constexpr (std::is_same_v<T, std::int32_t>) {
    return Dtype::kI32;
  } else if constexpr (std::is_same_v<T, std::int64_t>) {
    return Dtype::kI64;
  } else {
    static_assert(std::is_same_v<T, std::uint8_t>, "no such element type");
    return Dtype::kU8;
  }
}

}  // namespace ringlet
