#include "engine/tensor/tensor.h"

#include <fmt/ranges.h>

#include "kernels/backend.h"
#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

Activation activation_of(const Tensor& tensor) {
  const Shape& shape = tensor.shape();
  if (shape.size() != 4 && tensor.layout() == Layout::kPlain) {
    return {1, tensor.count(), 1, 1, Layout::kPlain, tensor.dtype()};
  }
  RINGLET_CHECK(shape.size() == 4,
                "an activation has the shape [n, c, h, w], got {}",
                to_string(shape));
  const auto size = [&](std::size_t i) {
    return static_cast<std::size_t>(shape[i]);
  };
  return {size(0), size(1), size(2), size(3), tensor.layout(), tensor.dtype()};
}

}  // namespace

std::size_t element_count(const Shape& shape) {
  std::size_t count = 1;
  for (const std::int64_t size : shape) {
    RINGLET_CHECK(size >= 0, "a negative size in shape {}", to_string(shape));
    count *= static_cast<std::size_t>(size);
  }
  return count;
}

std::string to_string(const Shape& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

Tensor::Tensor(Shape shape, Dtype dtype, Layout layout, Device device)
    : shape_(std::move(shape)), dtype_(dtype), layout_(layout) {
  buffer_ = Buffer::allocate(bytes(), device);
}

Tensor::Tensor(Shape shape, Dtype dtype, Layout layout, Buffer buffer,
               std::size_t offset_bytes)
    : shape_(std::move(shape)),
      dtype_(dtype),
      layout_(layout),
      buffer_(std::move(buffer)),
      offset_bytes_(offset_bytes) {
  RINGLET_CHECK(offset_bytes_ + bytes() <= buffer_.bytes(),
                "a view of {} bytes from byte {} on does not fit a buffer of "
                "{} bytes",
                bytes(), offset_bytes_, buffer_.bytes());
}

Tensor Tensor::zeros(Shape shape, Dtype dtype, Layout layout, Device device) {
  Tensor tensor(std::move(shape), dtype, layout, device);
  tensor.fill_zero();
  return tensor;
}

Tensor Tensor::of(Shape shape, const std::vector<float>& values) {
  Tensor tensor(std::move(shape));
  RINGLET_CHECK(values.size() == tensor.count(), "{} values for shape {}",
                values.size(), to_string(tensor.shape()));
  std::copy(values.begin(), values.end(), tensor.data());
  return tensor;
}

std::size_t Tensor::count() const { return element_count(shape_); }

std::size_t Tensor::storage_count() const {
  if (layout_ == Layout::kPlain) return count();
  return activation_of(*this).storage_count();
}

Tensor Tensor::reshaped(Shape shape) const {
  RINGLET_CHECK(layout_ == Layout::kPlain && element_count(shape) == count(),
                "cannot see a tensor {} as {}", to_string(shape_),
                to_string(shape));
  return Tensor(std::move(shape), dtype_, layout_, buffer_, offset_bytes_);
}

// The first axis is the outermost in every layout.
Tensor Tensor::rows(std::int64_t begin, std::int64_t count) const {
  RINGLET_CHECK(
      !shape_.empty() && begin >= 0 && count >= 0 && begin + count <= shape_[0],
      "rows {} to {} of a tensor {}", begin, begin + count, to_string(shape_));
  Shape shape = shape_;
  shape[0] = count;
  const std::size_t of_row =
      shape_[0] == 0 ? 0 : bytes() / static_cast<std::size_t>(shape_[0]);
  return Tensor(std::move(shape), dtype_, layout_, buffer_,
                offset_bytes_ + static_cast<std::size_t>(begin) * of_row);
}

Tensor Tensor::to_layout(Layout layout, Dtype dtype) const {
  Tensor copy(shape_, dtype, layout, device());
  copy.copy_from(*this);
  return copy;
}

Tensor Tensor::clone() const {
  Tensor copy(shape_, dtype_, layout_, device());
  copy.copy_from(*this);
  return copy;
}

Tensor Tensor::to(Device device) const {
  if (device == this->device()) return *this;
  Tensor copy(shape_, dtype_, layout_, device);
  copy.copy_from(*this);
  return copy;
}

Tensor Tensor::to_host() const {
  if (layout_ == Layout::kPlain) return to(Device::kCpu);
  return to_layout(Layout::kPlain).to(Device::kCpu);
}

void Tensor::copy_from(const Tensor& source) const {
  RINGLET_CHECK(shape_ == source.shape_, "copy of {} into {}",
                to_string(source.shape_), to_string(shape_));
  if (layout_ == source.layout_ && dtype_ == source.dtype_) {
    copy_memory(raw(), device(), source.raw(), source.device(), bytes());
  } else if (device() == source.device()) {
    backend(device()).elementwise.reorder(activation_of(source), source.raw(),
                                          layout_, dtype_, raw());
  } else if (device() == Device::kCpu) {
    // A GPU knows all that lies on it.
    copy_from(source.to_layout(layout_, dtype_));
  } else {
    copy_from(source.to(device()));
  }
}

void Tensor::fill_zero() const {
  fill_memory_with_zeros(raw(), device(), bytes());
}

std::vector<float> Tensor::to_vector() const {
  const Tensor host = to_host();
  return {host.data(), host.data() + count()};
}

double Tensor::item() const {
  RINGLET_CHECK(count() == 1, "item() of a tensor {}", to_string(shape_));
  const Tensor host = to_host();
  return dtype_ == Dtype::kF64 ? *host.data<double>() : *host.data();
}

void Tensor::check_type(Dtype expected) const {
  RINGLET_CHECK(dtype_ == expected, "a tensor of {} used as {}",
                name_of(dtype_), name_of(expected));
}

}  // namespace ringlet
