#include "engine/optim/sgd.h"

#include "kernels/backend.h"

namespace ringlet {

SGD::SGD(const ParameterArena& arena, const SgdOptions& options)
    : arena_(arena),
      options_(options),
      memory_(Buffer::allocate(arena.count() * sizeof(float))),
      momentum_({static_cast<std::int64_t>(arena.count())}, Dtype::kF32,
                Layout::kPlain, memory_, 0) {
  momentum_.fill_zero();
  if (!options.no_decay_bn_bias) return;
  constexpr std::size_t kBitsPerByte = 8;
  std::vector<std::uint8_t> decays((arena.count() + kBitsPerByte - 1) /
                                   kBitsPerByte);
  for (const ParameterArena::Slot& slot : arena.slots()) {
    if (slot.parameter.data().shape().size() == 1) continue;
    for (std::size_t i = slot.begin; i < slot.begin + slot.count; ++i) {
      decays[i / kBitsPerByte] |= 1u << i % kBitsPerByte;
    }
  }
  decays_ = Tensor({static_cast<std::int64_t>(decays.size())}, Dtype::kU8);
  std::copy(decays.begin(), decays.end(), decays_.data<std::uint8_t>());
}

std::vector<std::pair<std::string, Tensor>> SGD::state() const {
  std::vector<std::pair<std::string, Tensor>> state;
  for (const ParameterArena::Slot& slot : arena_.slots()) {
    state.emplace_back(
        slot.parameter.name(),
        Tensor(slot.parameter.data().shape(), Dtype::kF32, Layout::kPlain,
               memory_, slot.begin * sizeof(float)));
  }
  return state;
}

void SGD::step(float lr) {
  const SgdStep step{.lr = lr};
  backend(momentum_.device())
      .optim.sgd({.count = arena_.count(),
                  .grad = arena_.gradients(),
                  .momentum_buffer = momentum_.data(),
                  .parameter = arena_.values(),
                  .step = &step,
                  .momentum = options_.momentum,
                  .weight_decay = options_.weight_decay,
                  .nesterov = options_.nesterov,
                  .decays = decays_.defined() ? decays_.data<std::uint8_t>()
                                              : nullptr});
}

}  // namespace ringlet
