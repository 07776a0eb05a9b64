#include "engine/autograd/parameter_arena.h"

#include "kernels/backend.h"

namespace ringlet {
namespace {

// In elements. Libraries on a GPU want weights at multiples of 16 bytes, and
// cache lines have 128, also in half precision.
std::size_t alignment_on(Device device) {
  return device == Device::kCuda ? 64 : 1;
}

}  // namespace

ParameterArena::ParameterArena(const std::vector<Variable>& parameters,
                               const ParameterArenaOptions& options) {
  const Device device =
      parameters.empty() ? Device::kCpu : parameters[0].data().device();
  for (auto it = parameters.rbegin(); it != parameters.rend(); ++it) {
    slots_.push_back({*it, count_, it->data().count()});
    count_ = round_up(count_ + it->data().count(), alignment_on(device));
  }
  const std::size_t bytes = count_ * sizeof(float);
  values_ = Buffer::allocate(bytes, device);
  gradients_ = options.allocate_gradients ? options.allocate_gradients(bytes)
                                          : Buffer::allocate(bytes, device);
  for (const Buffer& buffer : {values_, gradients_}) {
    fill_memory_with_zeros(buffer.data(), buffer.device(), bytes);
  }
  for (const Slot& slot : slots_) {
    slot.parameter.set_data(view(slot, values_));
    slot.parameter.set_grad_memory(view(slot, gradients_));
  }
  half_dtype_ = options.dtype;
  if (half_dtype_ == Dtype::kF32) return;
  half_ = Buffer::allocate(count_ * size_of(half_dtype_), device);
  for (const Slot& slot : slots_) {
    slot.parameter.set_half_copy(view(slot, half_, half_dtype_));
  }
  update_half_copy();
}

Tensor ParameterArena::view(const Slot& slot, const Buffer& memory,
                            Dtype dtype) const {
  const Tensor& value = slot.parameter.data();
  return Tensor(value.shape(), dtype, value.layout(), memory,
                slot.begin * size_of(dtype));
}

std::size_t ParameterArena::parameter_count() const {
  std::size_t count = 0;
  for (const Slot& slot : slots_) count += slot.count;
  return count;
}

void ParameterArena::zero_grad() const {
  for (const Slot& slot : slots_) slot.parameter.zero_grad();
}

void ParameterArena::update_half_copy() const {
  if (half_dtype_ == Dtype::kF32) return;
  backend(half_.device())
      .elementwise.reorder({1, count_, 1, 1, Layout::kPlain, Dtype::kF32},
                           values(), Layout::kPlain, half_dtype_, half_.data());
}

}  // namespace ringlet
