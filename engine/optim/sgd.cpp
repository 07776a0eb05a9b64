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
  for (const ParameterArena::Slot& slot : arena.slots()) {
    const bool spared =
        options.no_decay_bn_bias && slot.parameter.data().shape().size() == 1;
    const float decay = spared ? 0.0f : options.weight_decay;
    if (segments_.empty() || segments_.back().weight_decay != decay) {
      segments_.push_back({slot.begin, 0, decay});
    }
    segments_.back().count += slot.count;
  }
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
  for (const Segment& segment : segments_) {
    backend(momentum_.device())
        .optim.sgd({.count = segment.count,
                    .grad = arena_.gradients() + segment.begin,
                    .momentum_buffer = momentum_.data() + segment.begin,
                    .parameter = arena_.values() + segment.begin,
                    .lr = lr,
                    .momentum = options_.momentum,
                    .weight_decay = segment.weight_decay,
                    .nesterov = options_.nesterov});
  }
}

}  // namespace ringlet
