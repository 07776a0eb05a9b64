#include "engine/autograd/parameter_arena.h"

#include <cstring>

namespace ringlet {

ParameterArena::ParameterArena(const std::vector<Variable>& parameters,
                               const Allocate& allocate_gradients) {
  for (auto it = parameters.rbegin(); it != parameters.rend(); ++it) {
    slots_.push_back({*it, count_, it->data().count()});
    count_ += it->data().count();
  }
  values_ = Buffer::allocate(count_ * sizeof(float));
  gradients_ = allocate_gradients(count_ * sizeof(float));
  std::memset(gradients_.data(), 0, gradients_.bytes());
  for (const Slot& slot : slots_) {
    const Shape& shape = slot.parameter.data().shape();
    const std::size_t offset = slot.begin * sizeof(float);
    slot.parameter.set_data(
        Tensor(shape, Dtype::kF32, Layout::kPlain, values_, offset));
    slot.parameter.set_grad_memory(
        Tensor(shape, Dtype::kF32, Layout::kPlain, gradients_, offset));
  }
}

void ParameterArena::zero_grad() const {
  for (const Slot& slot : slots_) slot.parameter.zero_grad();
}

}  // namespace ringlet
